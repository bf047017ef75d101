//! What a member says about itself, and why it ended.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use prometheus_client::metrics::histogram::Histogram;
use zraft_replica::{Configuration, PeerStatus, RaftId, Role, SnapshotFile, Space, StopReason};
use zraft_session::{CheckedSettings, HistoryHash, RestoreError};
use zraft_store::{CrashRecord, StoreError};

use crate::{
    CertificateValidity, MemberEvent,
    events::Events,
    refusals::{Reason, Refusals},
};

/// A member's state, as of its last step.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Status {
    /// Its role in its term.
    pub role: Role,
    /// Its term.
    pub term: u64,
    /// The leader that it knows.
    pub leader: Option<RaftId>,
    /// True if it leads and answers clients.
    pub serving: bool,
    /// True if it leads and waits for another member to take over. If it becomes false and the member still leads, no
    /// member has taken over in time.
    pub handing_over: bool,
    /// The last index of its log.
    pub last_index: u64,
    /// The index up to which entries are known to be committed.
    pub committed: u64,
    /// The index up to which its state machine has applied entries.
    pub applied: u64,
    /// False if it applies nothing, because its application has panicked twice at one entry.
    pub applies: bool,
    /// The sessions in its state.
    pub sessions: usize,
    /// The hash of all effects so far. Members that applied the same entries have the same.
    pub history: HistoryHash,
    /// The configuration that is in force here.
    pub configuration: Arc<Configuration>,
    /// Why it ended; none while it runs.
    pub ended: Option<Arc<Ended>>,
}

/// What a member knows beyond its [`Status`], at one moment.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// Its number in the Raft group.
    pub id: RaftId,
    /// Its state at that moment.
    pub status: Status,
    /// The replicated settings, as of the last entry that it has applied.
    pub settings: CheckedSettings,
    /// How far the log of each member is replicated. Only a leader knows it; the leader itself is among them.
    pub peers: Vec<PeerStatus>,
    /// How much space its disk has.
    pub space: Space,
    /// True if it leads, and client commands wait because too few disks have space.
    pub out_of_space: bool,
    /// How far the wall clock is ahead of what the leader follows without an operator's word, if it is too far.
    pub held_back: Option<Duration>,
    /// Bytes of log entries that are held in memory.
    pub log_memory: usize,
    /// The newest snapshot; none before the first one.
    pub snapshot: Option<SnapshotFile>,
    /// Connections of clients whose ZMTP handshake is complete.
    pub connections: usize,
    /// The panics that keep the application from being run, with the entry and the backtrace.
    pub stopped_by: Option<CrashRecord>,
    /// The last events of the member itself, the oldest first.
    pub events: Vec<MemberEvent>,
    /// The last refused connections that were logged, the oldest first.
    pub refusals: Vec<MemberEvent>,
    /// True if the member was asked to stop.
    pub stopping: bool,
    /// Why files with certificates, keys or tokens are not used as they are now; empty if all are used.
    pub secret_problems: Vec<String>,
    /// How long the certificates in use are valid, for each port that speaks TLS.
    pub certificates: Vec<CertificateValidity>,
    /// The wall clock at that moment.
    pub at: SystemTime,
}

/// Why a member ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Ended {
    /// [`Member::stop`](crate::Member::stop) was called.
    #[error("the member was stopped")]
    Stopped,
    /// [`Member::kill`](crate::Member::kill) was called, or the member was dropped.
    #[error("the member was killed")]
    Killed,
    /// The replica found what it cannot live with.
    #[error("{0}")]
    Replica(#[from] StopReason),
    /// The store failed.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// A verified snapshot could not be restored.
    #[error("the snapshot at entry {index} cannot be restored: {error}")]
    Restore {
        /// The index of the snapshot.
        index: u64,
        /// What is wrong with it.
        error: RestoreError,
    },
    /// The application has panicked. After the second panic at the same entry the member starts without its application: it
    /// votes and stores, and neither applies nor leads.
    #[error("the application panicked{}: {panic}; correct it before the member is started again", at(*index))]
    Application {
        /// The entry that it was applying; none if it panicked elsewhere, for example in a query.
        index: Option<u64>,
        /// The panic's message.
        panic: String,
    },
    /// A thread of the member has panicked, which is a defect of this crate.
    #[error("the {0} panicked; start the member again, and report it")]
    Panicked(&'static str),
    /// The operating system gave no random numbers.
    #[error("the operating system gives no random numbers")]
    Entropy,
}

fn at(index: Option<u64>) -> String {
    index.map(|index| format!(" at entry {index}")).unwrap_or_default()
}

impl PartialEq for Ended {
    /// Compares by kind and text, because errors of the file system cannot be compared otherwise.
    fn eq(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
            && self.to_string() == other.to_string()
    }
}

/// Figures of a member since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Figures {
    /// Connections of clients that were accepted.
    pub clients: u64,
    /// Connections of clients that were closed because there were too many.
    pub clients_over_limit: u64,
    /// Connections of clients that were closed because their handshake was not complete in time.
    pub clients_timed_out: u64,
    /// Connections of clients that were closed because they sent what cannot be read.
    pub clients_undecodable: u64,
    /// Connections of clients that were closed because their TLS handshake failed, or TLS after it.
    pub clients_tls_failed: u64,
    /// Connections of clients that were closed because they asked for a session without a valid token.
    pub clients_unauthorised: u64,
    /// Connections of clients that were closed because they did not read.
    pub clients_slow: u64,
    /// Command messages that clients sent, copies included.
    pub commands: u64,
    /// Queries that clients sent.
    pub queries: u64,
    /// Answers to commands that were sent to clients, copies included.
    pub answers: u64,
    /// Connections at the peer port that were accepted.
    pub peers: u64,
    /// Connections at the peer port that were closed because too many others were in their handshake.
    pub peers_over_limit: u64,
    /// Connections at the peer port that were closed because their handshake was not complete in time.
    pub peers_timed_out: u64,
    /// Connections at the peer port that were closed because they sent what cannot be read.
    pub peers_undecodable: u64,
    /// Connections from and to other members whose TLS handshake failed, or whose certificate was for another member.
    pub peers_tls_failed: u64,
    /// Handshakes that a peer refused, or that this member refused.
    pub peers_refused: u64,
    /// Messages for other members that were dropped because a queue was full.
    pub peer_messages_dropped: u64,
    /// Writes of the log, each with one fsync.
    pub writes: u64,
    /// Snapshots that this member has taken.
    pub snapshots: u64,
    /// Requests at the admin port.
    pub admin: u64,
    /// Requests and connections at the admin port that were refused: without the right token, from a web page, beyond
    /// a limit, unreadable, or not complete in time.
    pub admin_refused: u64,
}

/// The same figures while they are counted.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) clients: Counter,
    pub(crate) clients_over_limit: Counter,
    pub(crate) clients_timed_out: Counter,
    pub(crate) clients_undecodable: Counter,
    pub(crate) clients_tls_failed: Counter,
    pub(crate) clients_unauthorised: Counter,
    pub(crate) clients_slow: Counter,
    pub(crate) commands: Counter,
    pub(crate) queries: Counter,
    pub(crate) answers: Counter,
    pub(crate) peers: Counter,
    pub(crate) peers_over_limit: Counter,
    pub(crate) peers_timed_out: Counter,
    pub(crate) peers_undecodable: Counter,
    pub(crate) peers_tls_failed: Counter,
    pub(crate) peers_refused: Counter,
    pub(crate) peer_messages_dropped: Counter,
    pub(crate) writes: Counter,
    pub(crate) snapshots: Counter,
    pub(crate) admin: Counter,
    pub(crate) admin_refused: Counter,
    pub(crate) write_times: Times,
    pub(crate) command_times: Times,
    pub(crate) events: Events,
    pub(crate) refusals: Refusals,
}

/// The upper bounds of the times that are told apart, in seconds: from a write to a fast SSD to a command that waits for
/// several elections.
const SECONDS: [f64; 15] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0,
];

/// How long writes or commands took.
#[derive(Debug)]
pub(crate) struct Times(Histogram);

impl Times {
    pub(crate) fn add(&self, time: Duration) {
        self.0.observe(time.as_secs_f64());
    }

    pub(crate) fn histogram(&self) -> &Histogram {
        &self.0
    }
}

impl Default for Times {
    fn default() -> Self {
        Self(Histogram::new(SECONDS))
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    pub(crate) fn read(&self) -> Figures {
        Figures {
            clients: self.clients.get(),
            clients_over_limit: self.clients_over_limit.get(),
            clients_timed_out: self.clients_timed_out.get(),
            clients_undecodable: self.clients_undecodable.get(),
            clients_tls_failed: self.clients_tls_failed.get(),
            clients_unauthorised: self.clients_unauthorised.get(),
            clients_slow: self.clients_slow.get(),
            commands: self.commands.get(),
            queries: self.queries.get(),
            answers: self.answers.get(),
            peers: self.peers.get(),
            peers_over_limit: self.peers_over_limit.get(),
            peers_timed_out: self.peers_timed_out.get(),
            peers_undecodable: self.peers_undecodable.get(),
            peers_tls_failed: self.peers_tls_failed.get(),
            peers_refused: self.peers_refused.get(),
            peer_messages_dropped: self.peer_messages_dropped.get(),
            writes: self.writes.get(),
            snapshots: self.snapshots.get(),
            admin: self.admin.get(),
            admin_refused: self.admin_refused.get(),
        }
    }

    /// Returns the counter of clients that were refused for this reason.
    pub(crate) fn of_clients(&self, reason: &Reason) -> &Counter {
        match reason {
            Reason::TooMany { .. } => &self.clients_over_limit,
            Reason::TimedOut => &self.clients_timed_out,
            Reason::Token(_) => &self.clients_unauthorised,
            Reason::Tls(_) => &self.clients_tls_failed,
            Reason::Garbage | Reason::Member(_) | Reason::Page(_) => &self.clients_undecodable,
        }
    }

    /// Returns the counter of connections between members that were refused for this reason.
    pub(crate) fn of_peers(&self, reason: &Reason) -> &Counter {
        match reason {
            Reason::TooMany { .. } => &self.peers_over_limit,
            Reason::TimedOut => &self.peers_timed_out,
            Reason::Tls(_) => &self.peers_tls_failed,
            Reason::Garbage => &self.peers_undecodable,
            Reason::Member(_) | Reason::Token(_) | Reason::Page(_) => &self.peers_refused,
        }
    }
}
