//! What befalls the cluster and the network between it and its clients.
//!
//! A fault lasts until the cluster has executed a number of commands under it, and is over, healed, when its future is.
//! None of them keeps all clients from going on for ever, so it comes to its end as long as clients have work.

use std::{collections::BTreeMap, num::NonZeroU32, time::Duration};

use fastrand::Rng;
use tokio::time::Instant;
use zraft_protocol::ClientMessageKind;
use zraft_test_server::{ClusterHandle, KillLoss, MessageClass, SwitchError};

use crate::proxy::{Accepting, Cut, Direction, Link, ProxyHandle};

/// Messages that vanish in a row at most: fewer than there are callers, so that somebody goes on at once.
const MOST_LOST: u64 = 6;

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// The leader is killed, and restarted.
    Kill,
    /// The leader is told to stop: it falls silent, and resets its connections later.
    Stop,
    /// The leader is frozen, as by SIGSTOP, and replaced.
    Freeze,
    /// The leader is cut off from the others, believes that it leads, and is replaced.
    CutOff,
    /// The leader looks at no message any more, and hands over.
    Deaf,
    /// A follower believes that it leads and that there are no sessions, and the leader hands over.
    StaleMap,
    /// The leader hands over.
    HandOver,
    /// Some answers vanish.
    LostAnswers,
    /// Some commands and queries vanish.
    LostRequests,
    /// Every connection is reset.
    Reset,
    /// Every connection ends, in order, wherever in a frame it is.
    Fin,
    /// Everything comes late, both ways.
    Delay,
    /// Little passes in a second, both ways.
    SlowLink,
    /// Nothing passes to and from the leader any more, and it hands over.
    Blackhole,
    /// Nothing comes from the leader any more, and it hands over.
    HalfOpen,
    /// The leader's connections are reset, new ones too, and it hands over.
    Unreachable,
}

impl Fault {
    /// Every one there is.
    pub const ALL: &'static [Self] = &[
        Self::Kill,
        Self::Stop,
        Self::Freeze,
        Self::CutOff,
        Self::Deaf,
        Self::StaleMap,
        Self::HandOver,
        Self::LostAnswers,
        Self::LostRequests,
        Self::Reset,
        Self::Fin,
        Self::Delay,
        Self::SlowLink,
        Self::Blackhole,
        Self::HalfOpen,
        Self::Unreachable,
    ];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Stop => "stop",
            Self::Freeze => "freeze",
            Self::CutOff => "cut off",
            Self::Deaf => "deaf",
            Self::StaleMap => "stale session map",
            Self::HandOver => "hand-over",
            Self::LostAnswers => "lost answers",
            Self::LostRequests => "lost requests",
            Self::Reset => "reset",
            Self::Fin => "fin",
            Self::Delay => "delay",
            Self::SlowLink => "slow link",
            Self::Blackhole => "blackhole",
            Self::HalfOpen => "half-open",
            Self::Unreachable => "unreachable",
        }
    }
}

/// A new leader.
#[derive(Clone, Copy, Debug)]
pub struct Elected {
    /// Since when it can answer.
    pub at: Instant,
    /// The position of the first command that it executes.
    pub position: u64,
}

/// Brings faults about, and heals them.
#[derive(Debug)]
pub struct Faults {
    cluster: ClusterHandle,
    proxies: BTreeMap<String, ProxyHandle>,
    rng: Rng,
    lasts: u64,
}

impl Faults {
    pub(crate) fn new(
        cluster: ClusterHandle,
        proxies: BTreeMap<String, ProxyHandle>,
        seed: u64,
    ) -> Self {
        Self { cluster, proxies, rng: Rng::with_seed(seed), lasts: 20 }
    }

    /// How many commands are executed under a fault; 20 unless told otherwise.
    #[must_use]
    pub fn lasting(mut self, commands: u64) -> Self {
        self.lasts = commands;
        self
    }

    /// The faults to draw from, in a random order, each once.
    pub fn shuffled(&mut self, faults: &[Fault]) -> Vec<Fault> {
        let mut faults = faults.to_vec();
        self.rng.shuffle(&mut faults);
        faults
    }

    /// Waits until so many more commands are executed.
    pub async fn progress(&self, commands: u64) {
        let from = self.cluster.executed().0;
        self.cluster.journal_reached(from + commands).await;
    }

    /// Makes all links late, or slow, or neither, as drawn: what a fault may come on top of. One that concerns links leaves
    /// those it concerned as they are without any.
    pub fn change_weather(&mut self) {
        let link = match self.rng.u8(..4) {
            0 => self.delayed(),
            1 => self.slow(),
            _ => Link::default(),
        };
        self.proxies.values().for_each(|proxy| proxy.set_links(link));
    }

    fn delayed(&mut self) -> Link {
        Link { delay: Duration::from_millis(self.rng.u64(1..=30)), ..Link::default() }
    }

    fn slow(&mut self) -> Link {
        let bytes_per_second = NonZeroU32::new(self.rng.u32(50_000..=500_000));
        Link { bytes_per_second, ..Link::default() }
    }

    /// Brings a fault about and heals it. `elected` is told of a new leader as soon as it can answer.
    ///
    /// # Errors
    /// When a switch of the cluster cannot be thrown: something else is throwing switches.
    pub async fn befall(
        &mut self,
        fault: Fault,
        elected: &mut impl FnMut(Elected),
    ) -> Result<(), SwitchError> {
        let leader = self.cluster.leader_elected().await.to_string();
        let leader = leader.as_str();
        let at_leader = self.proxies[leader].clone();
        match fault {
            Fault::Kill => {
                let losses = [
                    KillLoss::Unreceived,
                    KillLoss::Uncommitted,
                    KillLoss::Unanswered,
                    KillLoss::Mixed,
                ];
                let loss = losses[self.rng.usize(..losses.len())];
                self.cluster.kill(leader, loss).await?;
                elected(self.next_leader(leader).await);
                self.lasts().await;
                self.cluster.restart(leader).await?;
            }
            Fault::Stop => {
                self.cluster.stop(leader)?;
                elected(self.next_leader(leader).await);
                self.lasts().await;
                self.cluster.restart(leader).await?;
            }
            Fault::Freeze => {
                self.cluster.set_frozen(leader, true)?;
                elected(self.next_leader(leader).await);
                self.lasts().await;
                self.cluster.set_frozen(leader, false)?;
            }
            Fault::CutOff => {
                self.cluster.set_stale_leader(leader, true)?;
                elected(self.next_leader(leader).await);
                self.lasts().await;
                self.cluster.set_stale_leader(leader, false)?;
            }
            Fault::Deaf => {
                self.cluster.set_deaf(leader, true)?;
                elected(self.hand_over(leader).await?);
                self.lasts().await;
                self.cluster.set_deaf(leader, false)?;
            }
            Fault::StaleMap => {
                let others = self.others(leader);
                let [stale, next, ..] = &others[..] else { return Ok(()) };
                self.cluster.set_stale_session_map(stale, Some(&[]))?;
                self.cluster.step_down(Some(next))?;
                elected(self.next_leader(leader).await);
                self.lasts().await;
                self.cluster.set_stale_session_map(stale, None)?;
            }
            Fault::HandOver => elected(self.hand_over(leader).await?),
            Fault::LostAnswers => {
                self.cluster
                    .drop_messages(MessageClass::Answers, Some(self.rng.u64(1..=MOST_LOST)));
                self.lasts().await;
                self.cluster.deliver_all();
            }
            Fault::LostRequests => {
                for kind in [ClientMessageKind::ClientRequest, ClientMessageKind::Query] {
                    let count = self.rng.u64(1..=MOST_LOST);
                    self.cluster.drop_messages(MessageClass::FromClient(kind), Some(count));
                }
                self.lasts().await;
                self.cluster.deliver_all();
            }
            Fault::Reset => self.cut(Cut::Reset).await,
            Fault::Fin => self.cut(Cut::Fin).await,
            Fault::Delay => {
                let link = self.delayed();
                self.links(link).await;
            }
            Fault::SlowLink => {
                let link = self.slow();
                self.links(link).await;
            }
            Fault::Blackhole => {
                at_leader.set_links(Link { blackhole: true, ..Link::default() });
                elected(self.hand_over(leader).await?);
                self.lasts().await;
                at_leader.heal();
            }
            Fault::HalfOpen => {
                let blackhole = Link { blackhole: true, ..Link::default() };
                at_leader.set_link(Direction::ToClient, blackhole);
                elected(self.hand_over(leader).await?);
                self.lasts().await;
                at_leader.heal();
            }
            Fault::Unreachable => {
                at_leader.set_accepting(Accepting::Reset);
                at_leader.cut(Cut::Reset).await;
                elected(self.hand_over(leader).await?);
                self.lasts().await;
                at_leader.heal();
            }
        }
        Ok(())
    }

    /// Heals whatever a fault left that was given up half way.
    pub async fn heal(&self) {
        for (member, proxy) in &self.proxies {
            proxy.heal();
            // What is whole already cannot be healed, and need not be.
            let _ = self.cluster.restart(member).await;
            let _ = self.cluster.set_frozen(member, false);
            let _ = self.cluster.set_deaf(member, false);
            let _ = self.cluster.set_stale_leader(member, false);
            let _ = self.cluster.set_stale_session_map(member, None);
        }
        self.cluster.deliver_all();
    }

    async fn lasts(&self) {
        self.progress(self.lasts).await;
    }

    /// The other members, in a random order.
    fn others(&mut self, leader: &str) -> Vec<String> {
        let mut others: Vec<_> =
            self.proxies.keys().filter(|member| *member != leader).cloned().collect();
        self.rng.shuffle(&mut others);
        others
    }

    /// The leader steps down for another member, drawn; waits until that can answer.
    pub(crate) async fn hand_over(&mut self, leader: &str) -> Result<Elected, SwitchError> {
        let next = self.others(leader).pop();
        self.cluster.step_down(next.as_deref())?;
        Ok(self.next_leader(leader).await)
    }

    /// Waits until another member than this leads and can answer.
    pub(crate) async fn next_leader(&self, than: &str) -> Elected {
        let mut elected = None;
        self.cluster
            .wait_for(|engine| {
                let other = engine.leader_id().is_some_and(|leader| leader.as_str() != than);
                if other && engine.commits() {
                    let position = engine.journal().executed();
                    elected = Some(Elected { at: Instant::now(), position });
                }
                elected.is_some()
            })
            .await;
        // It is there when the wait is over.
        elected.unwrap_or(Elected { at: Instant::now(), position: 0 })
    }

    async fn links(&self, link: Link) {
        self.proxies.values().for_each(|proxy| proxy.set_links(link));
        self.lasts().await;
        self.proxies.values().for_each(ProxyHandle::heal);
    }

    async fn cut(&self, cut: Cut) {
        for proxy in self.proxies.values() {
            proxy.cut(cut).await;
        }
    }
}
