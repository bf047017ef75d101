//! The Raft engine: tikv's `raft` 0.7, which no other module names.
//!
//! The wrapper adds what the engine leaves to its users and what it gets wrong. The order of things:
//!
//! - Every step, tick and proposal is followed by [`Engine::drain`], so that a Ready never spans a change of role.
//! - A leader's messages go at once, while its disk writes. Every other member's messages are promises, and go after
//!   the write that makes them true.
//! - Committed entries are handed over in order. A change of the configuration waits until a commit index that covers
//!   it is durable here: a member that forgets the commit after a crash would count votes by a configuration that it
//!   no longer has, and two leaders of one term were seen.

mod convert;
#[cfg(feature = "fingerprint")]
mod fingerprint;
mod inputs;
mod memory_log;
mod persist;
mod ready;
#[cfg(test)]
mod tests;

use std::{collections::VecDeque, ops::Range};

use raft::{
    Config, RawNode, StateRole,
    eraftpb::{Entry, Message},
};

use crate::{
    Addressed, Boot, Configuration, LogEntry, Position, RaftId, ReadRound, Role, SnapshotMeta,
    StartError, timing::Ticks,
};
use memory_log::MemoryLog;
use persist::Persistence;
use zraft_protocol::SplitMix64;

/// Bytes of entries in one Append, unless a single entry is longer. A larger message would delay the ones behind it by
/// more than a heartbeat on a link of 100 Mbit/s.
const MAX_APPEND_BYTES: u64 = 512 << 10;
/// Appends that may be unanswered per follower. Together with the above they bound what is in the sockets.
const MAX_INFLIGHT_APPENDS: usize = 64;
/// Bytes of entries that a leader may have proposed and not committed. Beyond them proposals are refused, and commands
/// wait.
const MAX_UNCOMMITTED_BYTES: u64 = 64 << 20;
/// Bytes of committed entries taken from the engine at once, so that one step stays short.
const MAX_COMMITTED_BYTES: u64 = 4 << 20;

/// What the engine wants done, in order.
#[derive(Debug)]
pub(crate) enum Event {
    Send(Addressed),
    SendSnapshot { to: RaftId, snapshot: SnapshotMeta },
    Standing(Standing),
    Committed(LogEntry),
    Configured { index: u64 },
    Installed(SnapshotMeta),
    ReadReady { round: ReadRound, index: u64 },
    Fetch(Range<u64>),
    SnapshotWanted,
}

/// A member's term, role and leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) term: u64,
    pub(crate) role: Role,
    pub(crate) leader: Option<RaftId>,
}

/// Why nothing was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    NotLeader,
    /// Leadership is being handed over.
    Transferring,
    /// As much is uncommitted as may be.
    Full,
    /// The engine turned a change of the configuration into an empty entry.
    Change,
    /// A leader cannot remove itself; it hands over first.
    OwnRemoval,
}

/// How far a member's log is replicated, as its leader knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) id: RaftId,
    pub(crate) matched: u64,
    /// Whether anything was heard from it since the leader last checked, an election timeout ago at most.
    pub(crate) active: bool,
    pub(crate) installing: bool,
}

pub(crate) struct Engine {
    id: RaftId,
    node: RawNode<MemoryLog>,
    ticks: Ticks,
    random: SplitMix64,
    /// The election timeout that was drawn, and the term and role for which it holds.
    drawn: usize,
    drawn_for: (u64, StateRole),
    standing: Standing,
    configuration: Configuration,
    persistence: Persistence,
    /// Committed entries that were not handed over yet.
    committed: VecDeque<Entry>,
    handed: u64,
    cached_log_bytes: usize,
    read_rounds: u64,
    outstanding: Option<ReadRound>,
    /// A TimeoutNow that waits for the disk.
    timeout_now: Option<Message>,
    /// The snapshot that was stepped and is not in a Ready yet.
    installing: Option<SnapshotMeta>,
    events: VecDeque<Event>,
}

impl Engine {
    /// Returns the engine of a member that keeps `cached_log_bytes` of durable, applied entries in memory.
    pub(crate) fn new(
        id: RaftId,
        ticks: Ticks,
        boot: &Boot,
        seed: u64,
        cached_log_bytes: usize,
    ) -> Result<Self, StartError> {
        boot.check()?;
        let config = Config {
            id: id.get(),
            election_tick: ticks.election_min,
            heartbeat_tick: ticks.heartbeat,
            min_election_tick: ticks.election_min,
            max_election_tick: ticks.election_max,
            applied: boot.snapshot.index,
            max_size_per_msg: MAX_APPEND_BYTES,
            max_inflight_msgs: MAX_INFLIGHT_APPENDS,
            max_uncommitted_size: MAX_UNCOMMITTED_BYTES,
            max_committed_size_per_ready: MAX_COMMITTED_BYTES,
            check_quorum: true,
            pre_vote: true,
            ..Config::default()
        };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let node = RawNode::new(&config, MemoryLog::new(boot), &logger)
            .map_err(|error| StartError::Engine(error.to_string()))?;
        let term = boot.hard_state.term;
        let last_index = boot.entries.last().map_or(boot.snapshot.index, |entry| entry.index);
        let mut engine = Self {
            id,
            node,
            ticks,
            random: SplitMix64::new(seed),
            drawn: 0,
            drawn_for: (term, StateRole::Follower),
            standing: Standing { term, role: Role::Follower, leader: None },
            configuration: boot.snapshot.configuration.clone(),
            persistence: Persistence::new(boot.hard_state, last_index),
            committed: VecDeque::new(),
            handed: boot.snapshot.index,
            cached_log_bytes,
            read_rounds: 0,
            outstanding: None,
            timeout_now: None,
            installing: None,
            events: VecDeque::new(),
        };
        engine.redraw();
        Ok(engine)
    }

    pub(crate) fn standing(&self) -> Standing {
        self.standing
    }

    pub(crate) fn is_leader(&self) -> bool {
        self.standing.role == Role::Leader
    }

    pub(crate) fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    /// Returns the last entry of the log and the term that are durable.
    pub(crate) fn durable(&self) -> Position {
        self.persistence.durable()
    }

    pub(crate) fn last_index(&self) -> u64 {
        self.node.raft.raft_log.last_index()
    }

    pub(crate) fn first_index(&self) -> u64 {
        self.node.raft.raft_log.first_index()
    }

    pub(crate) fn commit(&self) -> u64 {
        self.node.raft.raft_log.committed
    }

    pub(crate) fn term_at(&self, index: u64) -> Option<u64> {
        self.node.store().term_of(index)
    }

    /// Returns the index of the first entry of the last term, which is the one that its leader began with.
    pub(crate) fn start_of_last_term(&self) -> u64 {
        self.node.store().start_of_last_term()
    }

    pub(crate) fn newest_snapshot(&self) -> &SnapshotMeta {
        self.node.store().newest_snapshot()
    }

    /// Returns the place in the log up to which everything was handed over: what a snapshot that is taken now contains.
    pub(crate) fn snapshot_point(&self) -> SnapshotMeta {
        let term = self.term_at(self.handed).unwrap_or_default();
        SnapshotMeta { index: self.handed, term, configuration: self.configuration.clone() }
    }

    /// Returns the bytes of all entries in memory.
    pub(crate) fn memory(&self) -> usize {
        self.node.store().bytes()
    }

    /// Returns true if the leader is waiting for the member that it hands over to.
    pub(crate) fn is_transferring(&self) -> bool {
        self.node.raft.lead_transferee.is_some()
    }

    /// Returns true if a change of the configuration was proposed and is not applied, or a joint one is not left.
    pub(crate) fn is_changing(&self) -> bool {
        self.node.raft.has_pending_conf() || self.configuration.is_joint()
    }

    /// Returns true if something that must be durable is not.
    pub(crate) fn is_writing(&self) -> bool {
        self.persistence.is_writing()
    }

    pub(crate) fn progress(&self) -> Vec<Progress> {
        let progress = self.node.raft.prs().iter().filter_map(|(id, progress)| {
            Some(Progress {
                id: RaftId::new(*id)?,
                matched: progress.matched,
                active: progress.recent_active || *id == self.id.get(),
                installing: progress.state == raft::ProgressState::Snapshot,
            })
        });
        let mut progress: Vec<_> = progress.collect();
        progress.sort_by_key(|progress| progress.id);
        progress
    }

    /// Returns after how many ticks something happens.
    pub(crate) fn ticks_until_due(&self) -> usize {
        let raft = &self.node.raft;
        let election = if self.is_leader() {
            raft.election_timeout().saturating_sub(raft.election_elapsed)
        } else {
            raft.randomized_election_timeout().saturating_sub(raft.election_elapsed)
        };
        if !raft.promotable() {
            // A learner waits for its leader without end.
            return self.ticks.election_max;
        }
        let heartbeat = match self.is_leader() {
            true => raft.heartbeat_timeout().saturating_sub(raft.heartbeat_elapsed()),
            false => usize::MAX,
        };
        election.min(heartbeat).max(1)
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("id", &self.id).field("standing", &self.standing).finish()
    }
}
