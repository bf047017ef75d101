//! How a member is set up.

use zraft_session::CheckedSettings;

use crate::{RaftId, Timing};

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
    /// The highest feature level that the program supports. All members together decide which one is in use.
    pub feature_level: u32,
    /// The application's [level](zraft_session::Application::level).
    pub application_level: u32,
    /// False keeps a member alive whose application panics at an entry: it votes and stores, applies nothing and never
    /// leads. The entry is not skipped, because other members have applied it.
    pub applies: bool,
    /// The local limits.
    pub limits: Limits,
    /// Where clients reach the member, such as `tcp://10.0.0.1:7001`, for clients that ask a server for the members. The other
    /// members learn it in handshakes. None if the member does not know.
    pub client_endpoint: Option<String>,
}

/// Limits of one member, which change no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Session messages that are held while no member leads. Beyond it they are rejected at once.
    pub held: usize,
    /// Bytes of the requests that wait on one connection, with 256 for each besides its payload. A client that sends more
    /// is told and closed.
    pub waiting_bytes: usize,
    /// Bytes of committed entries that the state machine has not applied. Beyond it a leader proposes nothing and a
    /// follower takes no entries.
    pub unapplied_bytes: usize,
    /// Bytes of entries kept in memory although they are durable and applied. A follower that lags a little is served from
    /// memory; one that lags more costs disk reads.
    pub cached_log_bytes: usize,
    /// A snapshot is taken when the log has grown by this many bytes since the last one.
    pub snapshot_after: u64,
    /// Bytes of a snapshot that are sent to one member in a second, so that disk and link stay free for the log.
    pub snapshot_rate: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // A held message is some 100 bytes, so these are a few megabytes.
            held: 65_536,
            // Two of the largest payloads that the default settings allow.
            waiting_bytes: 32 << 20,
            unapplied_bytes: 64 << 20,
            // Some tens of thousands of usual commands: about a second of a busy leader.
            cached_log_bytes: 8 << 20,
            // A restart reads and applies up to this much, which takes about a second.
            snapshot_after: 64 << 20,
            // Half of a gigabit link.
            snapshot_rate: 64 << 20,
        }
    }
}

/// The secret random numbers of the operating system: it fills the bytes.
pub type Entropy = Box<dyn FnMut(&mut [u8]) + Send>;
