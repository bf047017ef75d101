//! One member: what goes in, what comes out, and how the parts act on each other.

mod applying;
mod clients;
mod connections;
mod endpoints;
#[cfg(feature = "fingerprint")]
mod fingerprint;
mod hand_over;
mod handshakes;
mod lead;
mod membership;
mod messages;
mod output;
mod queries;
mod quorum;
mod receiving;
mod sessions;
mod setup;
mod snapshots;
mod space;
mod status;
mod suspension;
mod timers;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use zraft_protocol::{MemberId, Payload};
use zraft_session::{Entry, LeaderClock, Time};

use crate::{
    Boot, EntryKind, LogEntry, Now, PeerMessage, RaftId, Role, Space, StartError, StopReason, View,
    engine::{Engine, Event, Standing},
    peer::Matches,
    timing::Ticks,
};
use applying::Applying;
use connections::Connections;
use endpoints::Endpoints;
use lead::Lead;
pub use membership::{ChangeError, ChangeStatus, ChangeTicket, MembershipChange};
pub use output::{ConnectionId, Output};
use receiving::Receiving;
pub use setup::{Config, Entropy, Limits};
pub use snapshots::SnapshotFile;
use snapshots::Snapshots;
pub use status::PeerStatus;
use timers::Timers;

/// A stall of the process or the disk that is longer than this changes decisions: time that the member did not read
/// expires no session, and a leader whose own write takes longer hands over. Far above what a busy machine shows, and
/// far below the shortest session timeout.
const STALL: Duration = Duration::from_secs(1);

/// A peer whose term is further ahead than this is faulty, and its messages are ignored. A member that was away misses
/// at most one election each 10 ms or so, so this is more than a year of them. Terms have 62 bits: one message must not
/// bring a cluster near their end.
const MOST_TERMS_AHEAD: u64 = 1 << 32;

/// One member of a replicated server, as a machine without I/O.
///
/// # Calling it
///
/// 1. The shell reads a [`Boot`] record from its store, restores the state machine from the newest snapshot, and makes a
///    replica.
/// 2. It calls the method for whatever happens: a peer's message, a client's message, a durable write, a result of the
///    state machine, or the time of [`poll_timeout`](Self::poll_timeout). Any number of them may come in a row.
/// 3. It then calls [`poll_output`](Self::poll_output) until that returns nothing. Outputs are done in order; writes,
///    jobs and sends proceed at the same time. What came in between two polls shares one Append to each follower, one
///    write and one read round.
/// 4. It sleeps until the time of `poll_timeout`, or until something happens.
///
/// Every method takes the time. It must not go back. At most one [`Write`](crate::Write) is under way, and a restart
/// after any prefix of the writes is safe.
///
/// After [`Output::Stop`] every call does nothing.
pub struct Replica {
    id: RaftId,
    config: Config,
    ticks: Ticks,
    engine: Engine,
    entropy: Entropy,
    clock: LeaderClock,
    now: Now,
    /// The monotonic time up to which the engine was given ticks.
    ticked: Duration,
    /// When the leader was last heard.
    heard: Option<Duration>,
    /// When each peer was last heard. The engine's own record is empty right after each of its checks.
    peers: BTreeMap<RaftId, Duration>,
    /// As a leader, this member is not cut off before this time, unless the configuration changes.
    in_touch_until: Duration,
    /// What the peers have promised.
    matches: Matches,
    /// Where clients reach the peers.
    endpoints: Endpoints,
    /// The list of members that was in force when it last changed.
    listed: Option<Payload>,
    /// When a member first called this one removed, and which members have.
    removed_since: Option<Duration>,
    removed_by: BTreeSet<RaftId>,
    /// When this member last told its leader what it supports.
    announced: Duration,
    /// When the write under way was given out.
    write_since: Option<Duration>,
    space: Space,
    standing: Standing,
    applying: Applying,
    snapshots: Snapshots,
    receiving: Option<Receiving>,
    connections: Connections,
    timers: Timers,
    lead: Option<Lead>,
    /// The member that leadership was handed to, until a leader is known.
    successor: Option<RaftId>,
    /// The process is about to end.
    closing: bool,
    outputs: VecDeque<Output>,
    stopped: bool,
}

impl Replica {
    /// Returns a member that starts from what its store holds. `newest` is the file of the boot record's snapshot, which
    /// only a cluster's first snapshot lacks. `view` is the state that the state machine was restored to from it.
    ///
    /// # Errors
    /// [`StartError`] if the store's content is damaged, the timing is unusable, or the program is too old for the
    /// cluster.
    pub fn new(
        config: Config,
        boot: &Boot,
        newest: Option<SnapshotFile>,
        view: View,
        entropy: Entropy,
        now: Now,
    ) -> Result<Self, StartError> {
        let ticks = config.timing.ticks()?;
        let configuration = &boot.snapshot.configuration;
        let (needed, supported) = (configuration.feature_level(), config.feature_level);
        // The level may have risen because this member was removed.
        if needed > supported && !configuration.removed.contains(&config.id) {
            return Err(StartError::FeatureLevel { needed, supported });
        }
        let engine =
            Engine::new(config.id, ticks, boot, config.seed, config.limits.cached_log_bytes)?;
        Ok(Self {
            id: config.id,
            ticks,
            entropy,
            clock: LeaderClock::new(last_time(&boot.entries, view.time)),
            now,
            ticked: now.monotonic,
            heard: None,
            peers: BTreeMap::new(),
            in_touch_until: Duration::ZERO,
            matches: Matches::default(),
            endpoints: Endpoints::new(),
            listed: None,
            removed_since: None,
            removed_by: BTreeSet::new(),
            announced: now.monotonic,
            write_since: None,
            space: Space::Ample,
            standing: engine.standing(),
            engine,
            applying: Applying::new(boot.snapshot.index, view, config.applies),
            snapshots: Snapshots::new(newest),
            receiving: None,
            connections: Connections::default(),
            timers: Timers::default(),
            lead: None,
            successor: None,
            closing: false,
            outputs: VecDeque::new(),
            stopped: false,
            config,
        })
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Now) {
        self.enter(now, true, Self::fire_timers);
    }

    /// Takes a message that [`PeerFrame::decode`](crate::PeerFrame::decode) has read from a connection of `from`.
    pub fn peer_message(&mut self, now: Now, from: RaftId, message: &PeerMessage) {
        self.enter(now, false, |replica| {
            if message.term() > replica.standing.term.saturating_add(MOST_TERMS_AHEAD) {
                return Ok(());
            }
            // A candidate's request shows that it follows no leader.
            if !matches!(message, PeerMessage::VoteRequest { .. }) {
                replica.peers.insert(from, replica.now.monotonic);
            }
            let from_leader =
                matches!(message, PeerMessage::Append { .. } | PeerMessage::Heartbeat { .. })
                    && message.term() >= replica.standing.term;
            // A lost message: the leader sends it again once this member answers a heartbeat.
            if let PeerMessage::Append { entries, .. } = message
                && !entries.is_empty()
                && replica.applying.unapplied_bytes() > replica.config.limits.unapplied_bytes
            {
                return Ok(());
            }
            replica.step(from, message)?;
            replica.remember(from, message);
            if from_leader {
                replica.heard = Some(replica.now.monotonic);
                replica.answer_held();
                replica.announce_levels_again();
            }
            Ok(())
        });
    }

    /// Takes note that a peer's connection was lost, so that the leader probes before it sends much again.
    pub fn peer_unreachable(&mut self, now: Now, peer: RaftId) {
        self.enter(now, false, |replica| replica.engine.report_unreachable(peer));
    }

    /// Takes note that a write is durable.
    pub fn persisted(&mut self, now: Now, write: u64) {
        self.enter(now, false, |replica| {
            replica.write_since = None;
            replica.engine.persisted(write)
        });
    }

    /// Takes entries that the store read back for [`Output::Fetch`]. None is an answer too.
    pub fn fetched(&mut self, now: Now, low: u64, entries: &[LogEntry]) {
        self.enter(now, false, |replica| replica.engine.fetched(low, entries));
    }

    /// Returns what to do next, or nothing until something happens.
    pub fn poll_output(&mut self) -> Option<Output> {
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        self.propose_together();
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        if self.stopped {
            return None;
        }
        if let Some(write) = self.engine.take_write() {
            self.write_since = Some(self.now.monotonic);
            return Some(Output::Write(Box::new(write)));
        }
        self.applying.next_job().map(Output::Job)
    }

    /// Returns the monotonic time at which [`handle_timeout`](Self::handle_timeout) must be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Duration {
        // At most the ticks of an election timeout, which fit into a u32.
        let due = self.ticked + self.ticks.tick * self.engine.ticks_until_due() as u32;
        [self.timers.next(), self.leader_due()].into_iter().flatten().fold(due, Duration::min)
    }

    /// Runs an input: first time passes, then the input acts, then everything that follows from it.
    fn enter(
        &mut self,
        now: Now,
        expires: bool,
        input: impl FnOnce(&mut Self) -> Result<(), StopReason>,
    ) {
        if self.stopped {
            return;
        }
        let result = self.pass(now, expires).and_then(|()| input(self)).and_then(|()| self.act());
        self.stop_on_error(result);
    }

    fn stop_on_error(&mut self, result: Result<(), StopReason>) {
        if let Err(reason) = result {
            self.stopped = true;
            self.lead = None;
            self.outputs.push_back(Output::Stop(reason));
        }
    }

    /// Proposes what came since the last poll: each follower gets it in one Append, instead of one for each command.
    fn propose_together(&mut self) {
        let proposed = self.propose_queued();
        let result = proposed.and_then(|proposed| if proposed { self.act() } else { Ok(()) });
        self.stop_on_error(result);
    }

    /// Gives the engine the time that has passed. An input other than a timeout ends no follower's patience: it may
    /// be the leader's message.
    fn pass(&mut self, now: Now, expires: bool) -> Result<(), StopReason> {
        let stood_still = now.monotonic.saturating_sub(self.now.monotonic);
        self.now = now;
        self.notice_stall(stood_still);
        let passed = now.monotonic.saturating_sub(self.ticked);
        let tick = self.ticks.tick;
        let ticks = (passed.as_nanos() / tick.as_nanos()).min(u128::from(u32::MAX)) as u32;
        // A leader that stood still for two election timeouts must lose its leadership, and no member more than that.
        let most = self.ticks.most_without_majority();
        let mut given = ticks.min(most);
        if ticks > most {
            self.ticked = now.monotonic - tick * given;
        }
        if !expires && !self.engine.is_leader() {
            given = given.min((self.engine.ticks_until_due() - 1) as u32);
        }
        self.ticked += tick * given;
        if (self.closing || !self.config.applies) && !self.engine.is_leader() {
            // It stands in no election.
            self.engine.age(given as usize);
            return Ok(());
        }
        self.engine.tick(given as usize)?;
        self.leave_if_cut_off()?;
        // A leadership that has ended meanwhile answers the input no more.
        self.take_events()
    }

    /// Does everything that follows from an input.
    fn act(&mut self) -> Result<(), StopReason> {
        loop {
            self.take_events()?;
            if self.config.applies {
                self.take_snapshot_if_due();
            }
            let moved = self.lead_on()?;
            if !self.go_on_changing()? && !moved {
                return Ok(());
            }
        }
    }

    fn take_events(&mut self) -> Result<(), StopReason> {
        while let Some(event) = self.engine.poll() {
            self.event(event)?;
        }
        Ok(())
    }

    fn event(&mut self, event: Event) -> Result<(), StopReason> {
        match event {
            Event::Send(addressed) => self.send(addressed.to, addressed.message),
            Event::Standing(standing) => self.take_standing(standing),
            Event::Committed(entry) => {
                self.snapshots.count(entry.data.len());
                self.applying.commit(entry);
            }
            Event::Configured { index } => {
                self.applying.pass_over(index);
                self.configured();
            }
            Event::Installed(snapshot) => self.applying.restore(snapshot),
            Event::ReadReady { round, index } => self.read_ready(round, index),
            Event::Fetch(range) => {
                self.outputs.push_back(Output::Fetch { low: range.start, high: range.end });
            }
            Event::SendSnapshot { to, snapshot } => self.begin_sending(to, &snapshot)?,
            Event::SnapshotWanted => self.snapshots.want(),
        }
        Ok(())
    }

    /// Gives a message to the part that it is for.
    fn step(&mut self, from: RaftId, message: &PeerMessage) -> Result<(), StopReason> {
        let stale = message.term() < self.standing.term;
        match message {
            PeerMessage::SnapshotOffer { term, snapshot, bytes, hash } => {
                if !stale {
                    let meta = snapshot.clone();
                    let file = SnapshotFile { meta, bytes: *bytes, hash: *hash };
                    self.take_offer(from, *term, file);
                }
                Ok(())
            }
            PeerMessage::SnapshotChunk { index, offset, data, .. } => {
                if !stale {
                    self.take_chunk(from, *index, *offset, data.clone());
                }
                Ok(())
            }
            PeerMessage::SnapshotStatus { index, progress, .. } => {
                self.snapshot_status(from, *index, *progress)
            }
            PeerMessage::Level { feature_level, application_level, .. } => {
                self.take_levels(from, *feature_level, *application_level);
                Ok(())
            }
            PeerMessage::Space { space, .. } => {
                if !stale {
                    self.take_space(from, *space);
                }
                Ok(())
            }
            // It would win the election that it is asked to hold.
            PeerMessage::TimeoutNow { .. } if self.closing || !self.config.applies => Ok(()),
            _ => self.engine.step(from, message),
        }
    }

    fn send(&mut self, to: RaftId, message: PeerMessage) {
        self.outputs.push_back(Output::Send { to, message });
    }

    fn take_standing(&mut self, standing: Standing) {
        let before = std::mem::replace(&mut self.standing, standing);
        if standing.leader.is_some() {
            self.successor = None;
        }
        if before.leader != standing.leader {
            self.heard = standing.leader.map(|_| self.now.monotonic);
        }
        // A new term is a new leadership, even if this member leads again.
        if self
            .lead
            .as_ref()
            .is_some_and(|lead| lead.term != standing.term || standing.role != Role::Leader)
        {
            self.end_lead();
        }
        if standing.role == Role::Leader && self.lead.is_none() {
            self.begin_lead();
        } else {
            self.answer_held();
        }
        self.stop_sending();
        if before.leader != standing.leader {
            self.announce_levels();
        }
    }

    /// The name of the leader, for clients; none if no leader is known.
    fn hint(&self) -> Option<MemberId> {
        let leader = self.standing.leader.or(self.successor)?;
        let member = self.engine.configuration().members.get(&leader)?;
        Some(member.name.clone())
    }

    fn own_name(&self) -> Option<MemberId> {
        let member = self.engine.configuration().members.get(&self.id)?;
        Some(member.name.clone())
    }

    fn random<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        (self.entropy)(&mut bytes);
        bytes
    }
}

/// Returns the latest time of a log. No one knows how long ago it was, so it does not hold the first stamp back.
fn last_time(entries: &[LogEntry], snapshot: Time) -> Time {
    let normal = entries.iter().filter(|entry| entry.kind == EntryKind::Normal);
    // An entry that cannot be read stops the member when it is applied.
    let times = normal.filter_map(|entry| Some(Entry::decode_shared(&entry.data).ok()?.time));
    times.fold(snapshot, Time::max)
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replica").field("id", &self.id).field("standing", &self.standing).finish()
    }
}
