use std::time::Duration;

use zraft_protocol::{MemberId, Timestamp};

/// The settings of a cluster. The defaults are the live system's values, unless a field says otherwise.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EngineConfig {
    /// The members, in the order in which they become leader. The first leads at the start.
    pub members: Vec<MemberId>,
    /// Where clients reach the members, in the same order, for clients that ask a server for the members. A member beyond
    /// the end, or with an empty text, is listed without an endpoint. Default none.
    pub endpoints: Vec<String>,
    /// The time from the arrival of an entry to its commit and execution. Default 1 ms, to keep tests fast; the live
    /// system needs 5 to 15 ms.
    pub commit_delay: Duration,
    /// The greatest number of entries committed per second; `None`, the default, sets no limit. The live system commits
    /// 100 to 190.
    pub commits_per_second: Option<u32>,
    /// The time from the last SessionCreated, SessionContinued or KeepAlive to the expiry of a session. Default 90 s.
    pub session_timeout: Duration,
    /// The interval at which the leader looks for expired sessions. Default 1 s.
    pub expiry_tick: Duration,
    /// The interval at which the leader looks for unacknowledged server requests, and the age from which it sends one
    /// again. Default 10 s.
    pub redelivery_interval: Duration,
    /// The time from the loss of a leader to the next leader. Default 100 ms, to keep tests fast; the live system needs
    /// seconds.
    pub election_pause: Duration,
    /// The time that a stopped member is silent before it resets its connections. Default 2.3 s.
    pub stop_linger: Duration,
    /// The wall clock at [`Instant::ZERO`](zraft_zmtp::Instant::ZERO), for the timestamps of server
    /// requests.
    pub wall_origin: Timestamp,
    /// The seed from which session ids and random choices are drawn. Default 0.
    pub seed: u64,
    /// The limits on what peers and sessions can use.
    pub limits: Limits,
}

impl EngineConfig {
    /// Returns the defaults for these members.
    pub fn new(members: Vec<MemberId>) -> Self {
        Self {
            members,
            endpoints: Vec::new(),
            commit_delay: Duration::from_millis(1),
            commits_per_second: None,
            session_timeout: Duration::from_secs(90),
            expiry_tick: Duration::from_secs(1),
            redelivery_interval: Duration::from_secs(10),
            election_pause: Duration::from_millis(100),
            stop_linger: Duration::from_millis(2300),
            wall_origin: Timestamp::from_millis(0),
            seed: 0,
            limits: Limits::default(),
        }
    }
}

/// Limits on what peers and sessions can use.
///
/// The engine closes a connection that would pass a limit, and counts it in [`EngineStats`](super::EngineStats). A limit
/// of 0 on cached answers or server requests counts as 1. The
/// defaults leave room for every load test of this project and bound the memory that a hostile client can fill.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Connections of one member, dropped ones included. Default 4,096.
    pub peers_per_member: usize,
    /// Sessions that exist at the same time. Default 65,536.
    pub sessions: usize,
    /// Entries and queries that wait in the leader's log. Default 1,000,000.
    pub log_entries: usize,
    /// Payload bytes that wait in the leader's log. Default 1 GiB.
    pub log_bytes: usize,
    /// Cached answers of one session. Default 1,000,000.
    pub cached_answers: usize,
    /// Payload bytes of the cached answers of one session. Default 256 MiB.
    pub cached_bytes: usize,
    /// Unacknowledged server requests of one session. Default 65,536.
    pub server_requests: usize,
    /// Payload bytes of the unacknowledged server requests of one session. Default 256 MiB.
    pub server_request_bytes: usize,
    /// Executions that the journal holds. Default 1,000,000. The journal drops the oldest; no connection is closed.
    pub journal_entries: usize,
    /// Payload bytes that the journal holds. Default 256 MiB. The journal drops the oldest.
    pub journal_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        const MIB: usize = 1 << 20;
        Self {
            peers_per_member: 4096,
            sessions: 65_536,
            log_entries: 1_000_000,
            log_bytes: 1024 * MIB,
            cached_answers: 1_000_000,
            cached_bytes: 256 * MIB,
            server_requests: 65_536,
            server_request_bytes: 256 * MIB,
            journal_entries: 1_000_000,
            journal_bytes: 256 * MIB,
        }
    }
}
