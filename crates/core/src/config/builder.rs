//! Collecting settings and checking them once, together.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use zraft_protocol::{Capabilities, MemberId};

use super::{
    AckServerRequests, Backoff, Config, DEFAULT_CONNECTION_TIMEOUT, DEFAULT_DETACHED_TIMEOUT,
    DEFAULT_HEARTBEAT_INTERVAL, DEFAULT_HEARTBEAT_TIMEOUT, DEFAULT_KEEP_ALIVE_INTERVAL,
    DEFAULT_MAX_IN_FLIGHT, DEFAULT_MAX_MESSAGE_SIZE, DEFAULT_MAX_QUEUED, DEFAULT_MAX_QUEUED_BYTES,
    DEFAULT_MAX_SERVER_REQUESTS, DEFAULT_REQUEST_TIMEOUT, DEFAULT_RESEND_INTERVAL,
    DEFAULT_SESSION_TIMEOUT, MaskedValues, Member, OnSessionExpired, ValidationError,
};

const MAX_MEMBERS: usize = 1024;
const MAX_TEXT: usize = 65_535;
const MAX_CAPABILITIES: usize = 65_535;
/// Capabilities travel in one message at every new session; more than this is a mistake.
const MAX_CAPABILITY_BYTES: usize = 1 << 20;
const MAX_IN_FLIGHT: usize = 1 << 20;
const MAX_QUEUED: usize = 16 << 20;
const MAX_MESSAGE_SIZE: usize = 1 << 30;
const MAX_SERVER_REQUESTS: usize = 1 << 20;

const MILLISECOND: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAYS_30: Duration = Duration::from_secs(30 * 24 * 3600);

/// Collects the settings of a client; [`ConfigBuilder::build`] checks them.
///
/// `Debug` shows neither endpoints, which are not checked yet, nor capability values.
#[derive(Clone)]
#[must_use]
pub struct ConfigBuilder {
    members: Vec<(String, String)>,
    capabilities: Vec<(String, String)>,
    connection_timeout: Duration,
    keep_alive_interval: Duration,
    session_timeout: Duration,
    request_timeout: Option<Duration>,
    resend_interval: Duration,
    detached_timeout: Duration,
    max_in_flight: usize,
    max_queued: usize,
    max_queued_bytes: usize,
    max_message_size: usize,
    max_server_requests: usize,
    ack_server_requests: AckServerRequests,
    heartbeat_interval: Duration,
    heartbeat_timeout: Duration,
    reconnect_backoff: Backoff,
    on_session_expired: OnSessionExpired,
}

impl Default for ConfigBuilder {
    fn default() -> Self {
        Self {
            members: Vec::new(),
            capabilities: Vec::new(),
            connection_timeout: DEFAULT_CONNECTION_TIMEOUT,
            keep_alive_interval: DEFAULT_KEEP_ALIVE_INTERVAL,
            session_timeout: DEFAULT_SESSION_TIMEOUT,
            request_timeout: Some(DEFAULT_REQUEST_TIMEOUT),
            resend_interval: DEFAULT_RESEND_INTERVAL,
            detached_timeout: DEFAULT_DETACHED_TIMEOUT,
            max_in_flight: DEFAULT_MAX_IN_FLIGHT,
            max_queued: DEFAULT_MAX_QUEUED,
            max_queued_bytes: DEFAULT_MAX_QUEUED_BYTES,
            max_message_size: DEFAULT_MAX_MESSAGE_SIZE,
            max_server_requests: DEFAULT_MAX_SERVER_REQUESTS,
            ack_server_requests: AckServerRequests::default(),
            heartbeat_interval: DEFAULT_HEARTBEAT_INTERVAL,
            heartbeat_timeout: DEFAULT_HEARTBEAT_TIMEOUT,
            reconnect_backoff: Backoff::default(),
            on_session_expired: OnSessionExpired::default(),
        }
    }
}

impl ConfigBuilder {
    /// Adds a member: its id and its endpoint, `tcp://host:port`, `tcp://[v6]:port` or
    /// `ipc://path`. Required, at least once. Members are asked in the order given.
    pub fn member(mut self, id: impl Into<String>, endpoint: impl Into<String>) -> Self {
        self.members.push((id.into(), endpoint.into()));
        self
    }

    /// Adds several members, each as [`member`](Self::member) does, after those given before.
    pub fn members<I, E>(mut self, members: impl IntoIterator<Item = (I, E)>) -> Self
    where
        I: Into<String>,
        E: Into<String>,
    {
        let members = members.into_iter().map(|(id, endpoint)| (id.into(), endpoint.into()));
        self.members.extend(members);
        self
    }

    /// Adds a capability: its name of letters, digits, `_` and `-`, and its value, which is not
    /// empty. Required, at least once. Of a name given twice the last value counts.
    pub fn capability(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.capabilities.push((name.into(), value.into()));
        self
    }

    /// The time for one attempt: resolve, connect, handshake, session answer. Default 5 s.
    pub fn connection_timeout(mut self, time: Duration) -> Self {
        self.connection_timeout = time;
        self
    }

    /// The time between two KeepAlives, at most a third of the session timeout. Default 30 s.
    pub fn keep_alive_interval(mut self, time: Duration) -> Self {
        self.keep_alive_interval = time;
        self
    }

    /// The server's own session timeout, which the protocol does not tell. Default 90 s.
    pub fn session_timeout(mut self, time: Duration) -> Self {
        self.session_timeout = time;
        self
    }

    /// The time from submitting a request to its answer; `None` waits for ever. Default 10 s.
    pub fn request_timeout(mut self, time: impl Into<Option<Duration>>) -> Self {
        self.request_timeout = time.into();
        self
    }

    /// The least wait before a request is sent again. Default 3 s.
    pub fn resend_interval(mut self, time: Duration) -> Self {
        self.resend_interval = time;
        self
    }

    /// How long a timed-out or cancelled command is tracked for its late answer. Default 90 s.
    pub fn detached_timeout(mut self, time: Duration) -> Self {
        self.detached_timeout = time;
        self
    }

    /// How many commands, and separately queries, may be on the wire unanswered. Default 256.
    ///
    /// This number divided by the server's rate must stay well below the request timeout: what
    /// waits in the queue can still end as not executed, what is on the wire only as unknown.
    pub fn max_in_flight(mut self, requests: usize) -> Self {
        self.max_in_flight = requests;
        self
    }

    /// How many requests may wait to be sent. Default 100,000.
    pub fn max_queued(mut self, requests: usize) -> Self {
        self.max_queued = requests;
        self
    }

    /// How many payload bytes may be held: queued, in flight and detached. Default 256 MiB.
    pub fn max_queued_bytes(mut self, bytes: usize) -> Self {
        self.max_queued_bytes = bytes;
        self
    }

    /// The longest payload in bytes, both ways. Default 16 MiB, at most 1 GiB.
    pub fn max_message_size(mut self, bytes: usize) -> Self {
        self.max_message_size = bytes;
        self
    }

    /// How many server requests may wait for the application. Default 1,024.
    pub fn max_server_requests(mut self, requests: usize) -> Self {
        self.max_server_requests = requests;
        self
    }

    /// When a server request may be acknowledged. Default: when it is delivered.
    pub fn ack_server_requests(mut self, when: AckServerRequests) -> Self {
        self.ack_server_requests = when;
        self
    }

    /// The time between two ZMTP PINGs. Default 1 s.
    pub fn heartbeat_interval(mut self, time: Duration) -> Self {
        self.heartbeat_interval = time;
        self
    }

    /// How long a connection may be silent before it counts as lost. Default 10 s.
    pub fn heartbeat_timeout(mut self, time: Duration) -> Self {
        self.heartbeat_timeout = time;
        self
    }

    /// The pauses between rounds of connection attempts.
    pub fn reconnect_backoff(mut self, backoff: Backoff) -> Self {
        self.reconnect_backoff = backoff;
        self
    }

    /// What follows the end of a session by expiry. Default: terminate.
    pub fn on_session_expired(mut self, then: OnSessionExpired) -> Self {
        self.on_session_expired = then;
        self
    }

    /// Checks everything and gives the configuration.
    ///
    /// # Errors
    /// The first setting that cannot be accepted, and what would be.
    pub fn build(self) -> Result<Config, ValidationError> {
        self.check_times()?;
        self.check_numbers()?;
        Ok(Config {
            members: parse_members(self.members)?,
            capabilities: parse_capabilities(self.capabilities)?,
            connection_timeout: self.connection_timeout,
            keep_alive_interval: self.keep_alive_interval,
            session_timeout: self.session_timeout,
            request_timeout: self.request_timeout,
            resend_interval: self.resend_interval,
            detached_timeout: self.detached_timeout,
            max_in_flight: self.max_in_flight,
            max_queued: self.max_queued,
            max_queued_bytes: self.max_queued_bytes,
            max_message_size: self.max_message_size,
            max_server_requests: self.max_server_requests,
            ack_server_requests: self.ack_server_requests,
            heartbeat_interval: self.heartbeat_interval,
            heartbeat_timeout: self.heartbeat_timeout,
            reconnect_backoff: self.reconnect_backoff,
            on_session_expired: self.on_session_expired,
        })
    }

    fn check_times(&self) -> Result<(), ValidationError> {
        let backoff = &self.reconnect_backoff;
        check_time("connection_timeout", self.connection_timeout, HOUR)?;
        check_time("session_timeout", self.session_timeout, DAYS_30)?;
        check_time("keep_alive_interval", self.keep_alive_interval, DAYS_30)?;
        if let Some(time) = self.request_timeout {
            check_time("request_timeout", time, DAYS_30)?;
        }
        check_time("resend_interval", self.resend_interval, HOUR)?;
        check_time("detached_timeout", self.detached_timeout, DAYS_30)?;
        check_time("heartbeat_interval", self.heartbeat_interval, HOUR)?;
        check_time("heartbeat_timeout", self.heartbeat_timeout, HOUR)?;
        check_time("reconnect_backoff.initial", backoff.initial, HOUR)?;
        check_time("reconnect_backoff.max", backoff.max, HOUR)?;
        check_time("reconnect_backoff.election_initial", backoff.election_initial, HOUR)?;
        check_time("reconnect_backoff.election_max", backoff.election_max, HOUR)?;

        let limit = self.session_timeout / 3;
        if self.keep_alive_interval > limit {
            return Err(ValidationError::KeepAliveInterval { limit });
        }
        if self.heartbeat_timeout < self.heartbeat_interval {
            let interval = self.heartbeat_interval;
            return Err(ValidationError::HeartbeatTimeout { interval });
        }
        if backoff.initial > backoff.max {
            return Err(ValidationError::Backoff {
                setting: "reconnect_backoff.initial",
                max_setting: "reconnect_backoff.max",
            });
        }
        if backoff.election_initial > backoff.election_max {
            return Err(ValidationError::Backoff {
                setting: "reconnect_backoff.election_initial",
                max_setting: "reconnect_backoff.election_max",
            });
        }
        Ok(())
    }

    fn check_numbers(&self) -> Result<(), ValidationError> {
        check_number("max_in_flight", self.max_in_flight, MAX_IN_FLIGHT)?;
        check_number("max_queued", self.max_queued, MAX_QUEUED)?;
        // Half the address space at most, so that sums of lengths cannot overflow.
        check_number("max_queued_bytes", self.max_queued_bytes, usize::MAX / 2)?;
        check_number("max_message_size", self.max_message_size, MAX_MESSAGE_SIZE)?;
        check_number("max_server_requests", self.max_server_requests, MAX_SERVER_REQUESTS)
    }
}

impl fmt::Debug for ConfigBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let members: Vec<_> = self.members.iter().map(|(id, _)| id).collect();
        let names = self.capabilities.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("ConfigBuilder")
            .field("members", &members)
            .field("capabilities", &MaskedValues(names))
            .finish_non_exhaustive()
    }
}

fn check_time(setting: &'static str, time: Duration, max: Duration) -> Result<(), ValidationError> {
    if (MILLISECOND..=max).contains(&time) {
        Ok(())
    } else {
        Err(ValidationError::Time { setting, min: MILLISECOND, max })
    }
}

fn check_number(setting: &'static str, number: usize, max: usize) -> Result<(), ValidationError> {
    if (1..=max).contains(&number) {
        Ok(())
    } else {
        Err(ValidationError::Number { setting, min: 1, max })
    }
}

fn parse_members(given: Vec<(String, String)>) -> Result<Vec<Member>, ValidationError> {
    if given.is_empty() {
        return Err(ValidationError::NoMembers);
    }
    if given.len() > MAX_MEMBERS {
        return Err(ValidationError::TooManyMembers { limit: MAX_MEMBERS });
    }
    let mut seen = HashSet::with_capacity(given.len());
    let mut members = Vec::with_capacity(given.len());
    for (index, (member, endpoint)) in given.into_iter().enumerate() {
        let position = index + 1;
        if member.is_empty() {
            return Err(ValidationError::MemberId { position });
        }
        let id =
            MemberId::new(member.as_str()).map_err(|_| ValidationError::MemberId { position })?;
        if !seen.insert(id.clone()) {
            return Err(ValidationError::DuplicateMember { member });
        }
        match endpoint.parse() {
            Ok(endpoint) => members.push(Member { id, endpoint }),
            Err(reason) => return Err(ValidationError::Endpoint { member, reason }),
        }
    }
    Ok(members)
}

fn parse_capabilities(given: Vec<(String, String)>) -> Result<Capabilities, ValidationError> {
    let too_large = ValidationError::CapabilitiesTooLarge {
        entries: MAX_CAPABILITIES,
        bytes: MAX_CAPABILITY_BYTES,
    };
    if given.is_empty() {
        return Err(ValidationError::NoCapabilities);
    }
    let mut bytes = 0;
    for (index, (name, value)) in given.iter().enumerate() {
        let name_character = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if !(1..=MAX_TEXT).contains(&name.len()) || !name.bytes().all(name_character) {
            return Err(ValidationError::CapabilityName { position: index + 1 });
        }
        if !(1..=MAX_TEXT).contains(&value.len()) {
            return Err(ValidationError::CapabilityValue { name: name.clone() });
        }
        bytes += name.len() + value.len();
    }
    if bytes > MAX_CAPABILITY_BYTES || given.len() > MAX_CAPABILITIES {
        return Err(too_large);
    }
    Capabilities::new(given).map_err(|_| too_large)
}
