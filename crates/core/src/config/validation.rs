//! Errors of settings and arguments.

use std::time::Duration;

use crate::endpoint::EndpointError;

/// A setting or an argument that cannot be accepted. Nothing was opened, queued or sent.
///
/// Each message begins with the setting's name and a colon, and says what is accepted. It names
/// other settings in backticks. It never shows the text of an endpoint or the value of a
/// capability, which may be secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValidationError {
    /// No member was given.
    #[error("members: give at least one member of the cluster")]
    NoMembers,
    /// More members than any cluster has.
    #[error("members: at most {limit} members are accepted")]
    TooManyMembers {
        /// The most members.
        limit: usize,
    },
    /// A member id that is empty or longer than the protocol can carry.
    #[error("members: the id of member number {position} must have 1 to 65535 bytes")]
    MemberId {
        /// The member's position in the order given, counted from 1.
        position: usize,
    },
    /// The same member id was given twice.
    #[error("members: {member:?} is given twice; give each member once")]
    DuplicateMember {
        /// The member's id.
        member: String,
    },
    /// A member whose endpoint cannot be used.
    #[error("members: the endpoint of {member:?}: {reason}")]
    Endpoint {
        /// The member's id.
        member: String,
        /// What is wrong with its endpoint.
        reason: EndpointError,
    },
    /// No capability was given.
    #[error("capabilities: give at least one; servers refuse a session without any")]
    NoCapabilities,
    /// A capability's name with characters other than letters, digits, `_` and `-`, or empty, or too long.
    #[error(
        "capabilities: the name of entry number {position} must be 1 to 65535 letters, digits, \
         '_' or '-'"
    )]
    CapabilityName {
        /// The entry's position in the order given, counted from 1.
        position: usize,
    },
    /// A capability without a value, or with one longer than the protocol can carry.
    #[error("capabilities: the value of {name:?} must have 1 to 65535 bytes")]
    CapabilityValue {
        /// The capability's name.
        name: String,
    },
    /// More capabilities than fit in one message.
    #[error("capabilities: at most {entries} entries and {bytes} bytes in all are accepted")]
    CapabilitiesTooLarge {
        /// The most entries.
        entries: usize,
        /// The most bytes of names and values together.
        bytes: usize,
    },
    /// A time outside its limits.
    #[error("{setting}: must be from {min:?} to {max:?}")]
    Time {
        /// The setting's Rust name.
        setting: &'static str,
        /// The least accepted.
        min: Duration,
        /// The most accepted.
        max: Duration,
    },
    /// A number outside its limits.
    #[error("{setting}: must be from {min} to {max}")]
    Number {
        /// The setting's Rust name.
        setting: &'static str,
        /// The least accepted.
        min: usize,
        /// The most accepted.
        max: usize,
    },
    /// KeepAlives too far apart to keep the session alive if one or two are lost.
    #[error("keep_alive_interval: must be at most a third of `session_timeout`, here {limit:?}")]
    KeepAliveInterval {
        /// A third of the session timeout.
        limit: Duration,
    },
    /// A connection would count as lost before the next PING is sent.
    #[error("heartbeat_timeout: must not be shorter than `heartbeat_interval`, here {interval:?}")]
    HeartbeatTimeout {
        /// The heartbeat interval.
        interval: Duration,
    },
    /// A pause whose first value is above its longest.
    #[error("{setting}: must not be longer than `{max_setting}`")]
    Backoff {
        /// The setting of the first pause.
        setting: &'static str,
        /// The setting of the longest pause.
        max_setting: &'static str,
    },
    /// A liveness query without a payload, or with one that is too long.
    #[error("liveness_query: its payload must have 1 to {limit} bytes")]
    LivenessQueryPayload {
        /// The longest payload that can be submitted.
        limit: usize,
    },
    /// A liveness query that would find a leader without its majority too late to keep the session.
    #[error(
        "liveness_query: its interval must be from 1ms to a third of `session_timeout`, here {limit:?}"
    )]
    LivenessQueryInterval {
        /// A third of the session timeout.
        limit: Duration,
    },
    /// A request without a payload.
    #[error("payload: must not be empty")]
    EmptyPayload,
    /// A payload longer than `max_message_size` or `max_queued_bytes`.
    #[error("payload: {length} bytes are more than `{setting}`, which is {limit}")]
    PayloadTooLarge {
        /// The payload's length in bytes.
        length: usize,
        /// The setting whose limit is exceeded, by its Rust name.
        setting: &'static str,
        /// The limit in bytes.
        limit: usize,
    },
    /// A second consumer of server requests.
    #[error("server_requests: already consumed; a client has one consumer of server requests")]
    SecondConsumer,
    /// TLS settings that cannot be used, or that do not fit the endpoints.
    #[error("tls: {problem}")]
    Tls {
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A client without `own_thread` was used outside a tokio runtime.
    #[error("runtime: connect within a tokio runtime, or build the client with `own_thread(true)`")]
    NoRuntime,
}

impl ValidationError {
    /// Returns the Rust name of the setting or argument at fault.
    pub fn field(&self) -> &'static str {
        match self {
            Self::NoMembers
            | Self::TooManyMembers { .. }
            | Self::MemberId { .. }
            | Self::DuplicateMember { .. }
            | Self::Endpoint { .. } => "members",
            Self::NoCapabilities
            | Self::CapabilityName { .. }
            | Self::CapabilityValue { .. }
            | Self::CapabilitiesTooLarge { .. } => "capabilities",
            Self::Time { setting, .. }
            | Self::Number { setting, .. }
            | Self::Backoff { setting, .. } => setting,
            Self::KeepAliveInterval { .. } => "keep_alive_interval",
            Self::HeartbeatTimeout { .. } => "heartbeat_timeout",
            Self::LivenessQueryPayload { .. } | Self::LivenessQueryInterval { .. } => {
                "liveness_query"
            }
            Self::EmptyPayload | Self::PayloadTooLarge { .. } => "payload",
            Self::SecondConsumer => "server_requests",
            Self::Tls { .. } => "tls",
            Self::NoRuntime => "runtime",
        }
    }
}
