//! One member: what goes in, what comes out, and how the parts act on each other.

mod applying;
mod clients;
mod connections;
mod hand_over;
mod lead;
mod messages;
mod queries;
mod sessions;
mod timers;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use zraft_protocol::{MemberId, ServerMessage};
use zraft_session::{CheckedSettings, LeaderClock};

use crate::{
    Boot, Configuration, Job, LogEntry, Now, PeerMessage, RaftId, Role, StartError, StopReason,
    Timing, View, Write,
    engine::{Engine, Event, Standing},
    timing::Ticks,
};
use applying::Applying;
use connections::Connections;
use lead::Lead;
use timers::Timers;

/// A stall of the process or the disk that is longer than this changes decisions: time that the member did not read
/// expires no session, and a leader whose own write takes longer hands over. Far above what a busy machine shows, and
/// far below the shortest session timeout.
const STALL: Duration = Duration::from_secs(1);

/// Names a connection of a client. The shell never uses a name twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// How a member is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// The member's number.
    pub id: RaftId,
    /// Heartbeats and elections.
    pub timing: Timing,
    /// The seed of its election timeouts. It must differ between the members.
    pub seed: u64,
    /// The settings that the cluster's first leader proposes. Later ones are changed through the log.
    pub settings: CheckedSettings,
    /// The local limits.
    pub limits: Limits,
}

/// Limits of one member, which change no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Session messages that are held while no member leads. Beyond it they are rejected at once.
    pub held: usize,
    /// Payload bytes of commands and queries that wait on one connection. A client that sends more is told and closed.
    pub waiting_bytes: usize,
    /// Bytes of committed entries that the state machine has not applied. Beyond it a leader proposes nothing and a
    /// follower takes no entries.
    pub unapplied_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // A held message is some 100 bytes, so these are a few megabytes.
            held: 65_536,
            // Two of the largest payloads that the default settings allow.
            waiting_bytes: 32 << 20,
            unapplied_bytes: 64 << 20,
        }
    }
}

/// What the shell must do.
#[derive(Debug)]
pub enum Output {
    /// Send a message to a member. It may be lost.
    Send {
        /// The member.
        to: RaftId,
        /// The message.
        message: PeerMessage,
    },
    /// Make a write durable, then call [`Replica::persisted`].
    Write(Box<Write>),
    /// Run a job on the state machine, after all earlier ones.
    Job(Job),
    /// Send a message to a client.
    Client {
        /// The client's connection.
        connection: ConnectionId,
        /// The message.
        message: ServerMessage,
    },
    /// Close a client's connection once everything that was sent on it has been flushed. [`Replica::disconnected`] must
    /// not be called for it.
    Close(ConnectionId),
    /// Read entries back from the store, then call [`Replica::fetched`].
    Fetch {
        /// The first index.
        low: u64,
        /// The index after the last. Fewer entries may be returned.
        high: u64,
    },
    /// End the process. Nothing else comes.
    Stop(StopReason),
}

/// The secret random numbers of the operating system: it fills the bytes.
pub type Entropy = Box<dyn FnMut(&mut [u8]) + Send>;

/// One member of a replicated server, as a machine without I/O.
///
/// # Calling it
///
/// 1. The shell reads a [`Boot`] record from its store, restores the state machine from the newest snapshot, and makes a
///    replica.
/// 2. It calls the method for whatever happens: a peer's message, a client's message, a durable write, a result of the
///    state machine, or the time of [`poll_timeout`](Self::poll_timeout). Any number of them may come in a row.
/// 3. It then calls [`poll_output`](Self::poll_output) until that returns nothing. Outputs are done in order; writes,
///    jobs and sends proceed at the same time. What came in between two polls shares one write and one read round.
/// 4. It sleeps until the time of `poll_timeout`, or until something happens.
///
/// Every method takes the time. It must not go back. At most one [`Write`] is under way, and a restart after any prefix
/// of the writes is safe.
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
    /// When the write under way was given out.
    write_since: Option<Duration>,
    standing: Standing,
    applying: Applying,
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
    /// Returns a member that starts from what its store holds. `view` is the state that the state machine was restored
    /// to from the newest snapshot.
    ///
    /// # Errors
    /// [`StartError`] if the store's content is damaged or the timing is unusable.
    pub fn new(
        config: Config,
        boot: &Boot,
        view: View,
        entropy: Entropy,
        now: Now,
    ) -> Result<Self, StartError> {
        let ticks = config.timing.ticks()?;
        let engine = Engine::new(config.id, ticks, boot, config.seed)?;
        Ok(Self {
            id: config.id,
            ticks,
            entropy,
            clock: LeaderClock::new(view.time),
            now,
            ticked: now.monotonic,
            heard: None,
            peers: BTreeMap::new(),
            write_since: None,
            standing: engine.standing(),
            engine,
            applying: Applying::new(boot.snapshot.index, view),
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
        self.enter(now, true, |replica| {
            replica.fire_timers();
            Ok(())
        });
    }

    /// Takes a message that [`PeerFrame::decode`](crate::PeerFrame::decode) has read from a connection of `from`.
    pub fn peer_message(&mut self, now: Now, from: RaftId, message: &PeerMessage) {
        self.enter(now, false, |replica| {
            replica.peers.insert(from, replica.now.monotonic);
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
            replica.engine.step(from, message)?;
            if from_leader {
                replica.heard = Some(replica.now.monotonic);
                replica.answer_held();
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

    /// Returns the member's role.
    #[must_use]
    pub fn role(&self) -> Role {
        self.standing.role
    }

    /// Returns the member's term.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.standing.term
    }

    /// Returns the leader, if one is known.
    #[must_use]
    pub fn leader(&self) -> Option<RaftId> {
        self.standing.leader
    }

    /// Returns true if the member leads and answers clients.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.lead.as_ref().is_some_and(Lead::is_serving)
    }

    /// Returns the configuration that is in force.
    #[must_use]
    pub fn configuration(&self) -> &Configuration {
        self.engine.configuration()
    }

    /// Returns the index up to which entries are known to be committed.
    #[must_use]
    pub fn committed(&self) -> u64 {
        self.engine.commit()
    }

    /// Returns the index of the last entry of the log.
    #[must_use]
    pub fn last_index(&self) -> u64 {
        self.engine.last_index()
    }

    /// Returns the replicated state as of the last entry that the state machine reported.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.applying.view
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
        if let Err(reason) = result {
            self.stopped = true;
            self.lead = None;
            self.outputs.push_back(Output::Stop(reason));
        }
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
        let most = 2 * self.ticks.election_min as u32 + 1;
        let mut given = ticks.min(most);
        if ticks > most {
            self.ticked = now.monotonic - tick * given;
        }
        if !expires && !self.engine.is_leader() {
            given = given.min((self.engine.ticks_until_due() - 1) as u32);
        }
        self.ticked += tick * given;
        if self.closing && !self.engine.is_leader() {
            // It stands in no election any more.
            return Ok(());
        }
        self.engine.tick(given as usize)
    }

    /// Does everything that follows from an input.
    fn act(&mut self) -> Result<(), StopReason> {
        loop {
            while let Some(event) = self.engine.poll() {
                self.event(event)?;
            }
            if !self.lead_on()? {
                return Ok(());
            }
        }
    }

    fn event(&mut self, event: Event) -> Result<(), StopReason> {
        match event {
            Event::Send(addressed) => self.send(addressed.to, addressed.message),
            Event::Standing(standing) => self.take_standing(standing),
            Event::Committed(entry) => self.applying.commit(entry),
            Event::Configured { index, .. } => self.applying.pass_over(index),
            Event::Installed(snapshot) => self.applying.restore(snapshot),
            Event::ReadReady { round, index } => self.read_ready(round, index),
            Event::Fetch(range) => {
                self.outputs.push_back(Output::Fetch { low: range.start, high: range.end });
            }
            Event::SendSnapshot { to, .. } => self.engine.report_snapshot(to, false)?,
            Event::SnapshotWanted(_) => {}
        }
        Ok(())
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
    }

    /// The name of the leader, for clients; none if no leader is known.
    fn hint(&self) -> Option<MemberId> {
        let leader = self.standing.leader.or(self.successor)?;
        let member = self.engine.configuration().members.get(&leader)?;
        Some(member.name.clone())
    }

    /// Returns true if a member was heard within the last election timeout, or is this one.
    fn is_active(&self, id: RaftId) -> bool {
        let heard = self.peers.get(&id).copied();
        let silent = heard.map(|heard| self.now.monotonic.saturating_sub(heard));
        id == self.id || silent.is_some_and(|silent| silent < self.config.timing.election_min)
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

impl std::fmt::Debug for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replica").field("id", &self.id).field("standing", &self.standing).finish()
    }
}
