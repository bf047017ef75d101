use std::time::Duration;

use zraft_protocol::{MemberId, Timestamp};

/// How a cluster behaves. Every field has the live system's value as its default, unless it says
/// otherwise.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EngineConfig {
    /// The members, in the order in which leadership goes round. The first leads at the start.
    pub members: Vec<MemberId>,
    /// How long after it was received an entry of the log is committed and executed; 1 ms.
    /// (The live system needs 5 to 15 ms.)
    pub commit_delay: Duration,
    /// How many entries of the log may be committed in a second; none: as many as come.
    /// (The live system: 100 to 190.)
    pub commits_per_second: Option<u32>,
    /// How long after the last SessionCreated, SessionContinued or KeepAlive a session expires; 90 s.
    pub session_timeout: Duration,
    /// How often expired sessions are looked for; 1 s.
    pub expiry_tick: Duration,
    /// How often server requests that wait for their acknowledgement are looked at, and how old the
    /// last sending must be for another; 10 s.
    pub redelivery_interval: Duration,
    /// How long after the loss of a leader the next one leads; 100 ms. (The live system: seconds.)
    pub election_pause: Duration,
    /// How long a stopped member stays silent before it resets its connections; 2.3 s.
    pub stop_linger: Duration,
    /// The wall clock at [`Instant::ZERO`](zraft_zmtp::Instant::ZERO), for the timestamps of server
    /// requests.
    pub wall_origin: Timestamp,
    /// What session ids are made of.
    pub seed: u64,
    /// What a peer can use up.
    pub limits: Limits,
}

impl EngineConfig {
    /// The defaults, for these members.
    pub fn new(members: Vec<MemberId>) -> Self {
        Self {
            members,
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

/// What peers and sessions can use up at most. A connection that would pass a limit is closed, and
/// counted in [`EngineStats`](super::EngineStats).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Connections of one member, dropped ones included; 4,096.
    pub peers_per_member: usize,
    /// Sessions alive in the cluster; 65,536.
    pub sessions: usize,
    /// Entries and queries waiting in the leader's log; 1,000,000.
    pub log_entries: usize,
    /// Payload bytes waiting in the leader's log; 1 GiB.
    pub log_bytes: usize,
    /// Cached answers of one session; 1,000,000.
    pub cached_answers: usize,
    /// Bytes of the cached answers of one session; 256 MiB.
    pub cached_bytes: usize,
    /// Unacknowledged server requests of one session; 65,536.
    pub server_requests: usize,
    /// Payload bytes of the unacknowledged server requests of one session; 256 MiB.
    pub server_request_bytes: usize,
    /// Executions held by the journal; 1,000,000. Older ones give way, no connection is closed.
    pub journal_entries: usize,
    /// Payload bytes held by the journal; 256 MiB. Older ones give way.
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
