//! Faults of the cluster and of the network between it and its clients.
//!
//! A fault lasts until the cluster has executed a number of commands under it. When the fault's future completes, the
//! fault is healed. No fault stops all clients permanently, so each fault ends as long as clients have work.

use std::{collections::BTreeMap, num::NonZeroU32, time::Duration};

use fastrand::Rng;
use tokio::time::Instant;
use zraft_protocol::ClientMessageKind;
use zraft_test_server::{ClusterHandle, KillLoss, MessageClass, SwitchError};

use crate::proxy::{Accepting, Cut, Direction, LinkQuality, ProxyHandle};

/// The greatest number of messages dropped in a row: fewer than there are callers, so that some caller is not affected.
const MOST_LOST: u64 = 6;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// The leader is killed and restarted.
    Kill,
    /// The leader stops in order: it falls silent at once and resets its connections later.
    Stop,
    /// The leader is frozen, as by SIGSTOP, and another member is elected.
    Freeze,
    /// The leader is cut off from its peers and still believes that it leads, while another member is elected.
    CutOff,
    /// The leader becomes deaf: it answers PING but no message. Leadership is handed over.
    Deaf,
    /// A follower believes that it leads and that no session exists. Leadership is handed over to another member.
    StaleMap,
    /// Leadership is handed over.
    HandOver,
    /// Some answers are dropped.
    LostAnswers,
    /// Some commands and queries are dropped.
    LostRequests,
    /// Every connection is reset.
    Reset,
    /// Every connection ends with a FIN, possibly within a frame.
    Fin,
    /// Both directions are delayed.
    Delay,
    /// Both directions are slow.
    SlowLink,
    /// Nothing passes to or from the leader, and leadership is handed over.
    Blackhole,
    /// Nothing passes from the leader to the clients, and leadership is handed over.
    HalfOpen,
    /// The leader's connections and all new ones are reset, and leadership is handed over.
    Unreachable,
}

impl Fault {
    /// All kinds of faults.
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

    /// Returns the name in reports and on the command line.
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
    /// The moment from which the leader can answer.
    pub at: Instant,
    /// The position of the first command that this leader executes.
    pub position: u64,
}

/// Injects faults and heals them.
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

    /// Sets the number of commands executed under a fault. The default is 20.
    #[must_use]
    pub fn lasting(mut self, commands: u64) -> Self {
        self.lasts = commands;
        self
    }

    /// Returns the given faults in a random order.
    pub fn shuffled(&mut self, faults: &[Fault]) -> Vec<Fault> {
        let mut faults = faults.to_vec();
        self.rng.shuffle(&mut faults);
        faults
    }

    /// Waits until this many more commands are executed.
    pub async fn progress(&self, commands: u64) {
        let from = self.cluster.executed().0;
        self.cluster.journal_reached(from + commands).await;
    }

    /// Makes all links delayed, slow or normal, by chance. A fault may come on top of this. A fault of links resets the
    /// links that it changed to normal.
    pub fn change_weather(&mut self) {
        let link = match self.rng.u8(..4) {
            0 => self.delayed(),
            1 => self.slow(),
            _ => LinkQuality::default(),
        };
        self.proxies.values().for_each(|proxy| proxy.set_links(link));
    }

    fn delayed(&mut self) -> LinkQuality {
        LinkQuality { delay: Duration::from_millis(self.rng.u64(1..=30)), ..LinkQuality::default() }
    }

    fn slow(&mut self) -> LinkQuality {
        let bytes_per_second = NonZeroU32::new(self.rng.u32(50_000..=500_000));
        LinkQuality { bytes_per_second, ..LinkQuality::default() }
    }

    /// Injects a fault and heals it. Calls `elected` with the new leader as soon as that leader can answer.
    ///
    /// # Errors
    /// Returns an error if the cluster rejects a change, which means that something else changes its fault settings.
    pub async fn inject(
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
                at_leader.set_links(LinkQuality { blackhole: true, ..LinkQuality::default() });
                elected(self.hand_over(leader).await?);
                self.lasts().await;
                at_leader.heal();
            }
            Fault::HalfOpen => {
                let blackhole = LinkQuality { blackhole: true, ..LinkQuality::default() };
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

    /// Heals what a cancelled fault may have left behind.
    pub async fn heal(&self) {
        for (member, proxy) in &self.proxies {
            proxy.heal();
            // These calls fail for a member that is healthy, which is fine.
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

    /// Returns the other members in a random order.
    fn others(&mut self, leader: &str) -> Vec<String> {
        let mut others: Vec<_> =
            self.proxies.keys().filter(|member| *member != leader).cloned().collect();
        self.rng.shuffle(&mut others);
        others
    }

    /// Hands leadership over to a random other member and waits until that member can answer.
    pub(crate) async fn hand_over(&mut self, leader: &str) -> Result<Elected, SwitchError> {
        let next = self.others(leader).pop();
        self.cluster.step_down(next.as_deref())?;
        Ok(self.next_leader(leader).await)
    }

    /// Waits until a member other than `than` leads and can answer.
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
        // `wait_for` returns only after `elected` was set.
        elected.unwrap_or(Elected { at: Instant::now(), position: 0 })
    }

    async fn links(&self, link: LinkQuality) {
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
