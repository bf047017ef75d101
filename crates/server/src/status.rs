//! What a member says about itself, and why it ended.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use zraft_replica::{Configuration, HandshakeError, RaftId, Role, StopReason};
use zraft_session::{HistoryHash, RestoreError};
use zraft_store::StoreError;

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
    /// Connections of clients that were refused or closed because of a limit.
    pub clients_over_limit: u64,
    /// Connections of clients that were closed because they sent what cannot be read.
    pub clients_undecodable: u64,
    /// Connections of clients that were closed because they did not read.
    pub clients_slow: u64,
    /// Connections at the peer port that were accepted.
    pub peers: u64,
    /// Connections at the peer port that were closed because they sent what cannot be read.
    pub peers_undecodable: u64,
    /// Handshakes that a peer refused, or that this member refused.
    pub peers_refused: u64,
    /// Messages for other members that were dropped because a queue was full.
    pub peer_messages_dropped: u64,
    /// Writes of the log, each with one fsync.
    pub writes: u64,
    /// Snapshots that this member has taken.
    pub snapshots: u64,
}

/// The same figures while they are counted.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) clients: Counter,
    pub(crate) clients_over_limit: Counter,
    pub(crate) clients_undecodable: Counter,
    pub(crate) clients_slow: Counter,
    pub(crate) peers: Counter,
    pub(crate) peers_undecodable: Counter,
    pub(crate) peers_refused: Counter,
    pub(crate) peer_messages_dropped: Counter,
    pub(crate) writes: Counter,
    pub(crate) snapshots: Counter,
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
            clients_undecodable: self.clients_undecodable.get(),
            clients_slow: self.clients_slow.get(),
            peers: self.peers.get(),
            peers_undecodable: self.peers_undecodable.get(),
            peers_refused: self.peers_refused.get(),
            peer_messages_dropped: self.peer_messages_dropped.get(),
            writes: self.writes.get(),
            snapshots: self.snapshots.get(),
        }
    }

    /// Counts a handshake that failed.
    pub(crate) fn handshake_failed(&self, error: &HandshakeError) {
        match error {
            HandshakeError::Format(_) => self.peers_undecodable.add(),
            _ => self.peers_refused.add(),
        }
    }
}
