//! What is wrong with a setting or an argument.

use std::time::Duration;

use crate::endpoint::EndpointError;

/// A setting or an argument that cannot be accepted. Nothing was opened, queued or sent.
///
/// The messages name the setting and say what is accepted. They never show the text of an
/// endpoint or the value of a capability, which may be secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValidationError {
    /// No member was given.
    #[error("members: give at least one member of the cluster")]
    NoMembers,
    /// More members than any cluster has.
    #[error("members: at most {limit} members are accepted")]
    TooManyMembers {
        /// The limit.
        limit: usize,
    },
    /// A member id that is empty or longer than the protocol can carry.
    #[error("members: the id of member number {position} must have 1 to 65535 bytes")]
    MemberId {
        /// Which member, counted from 1 in the order given.
        position: usize,
    },
    /// One id given twice.
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
    #[error("capabilities: give at least one; servers refuse a session without")]
    NoCapabilities,
    /// A capability's name with characters other than letters, digits, `_` and `-`, or empty, or too long.
    #[error(
        "capabilities: the name of entry number {position} must be 1 to 65535 letters, digits, \
         '_' or '-'"
    )]
    CapabilityName {
        /// Which entry, counted from 1 in the order given.
        position: usize,
    },
    /// A capability without a value, or with one longer than the protocol can carry.
    #[error("capabilities: the value of {name:?} must have 1 to 65535 bytes")]
    CapabilityValue {
        /// The capability's name.
        name: String,
    },
    /// Capabilities too many or too long to be sent in one message.
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
        /// The setting.
        setting: &'static str,
        /// The least accepted.
        min: Duration,
        /// The most accepted.
        max: Duration,
    },
    /// A number outside its limits.
    #[error("{setting}: must be from {min} to {max}")]
    Number {
        /// The setting.
        setting: &'static str,
        /// The least accepted.
        min: usize,
        /// The most accepted.
        max: usize,
    },
    /// KeepAlives too far apart to keep the session alive when one or two are lost.
    #[error("keep_alive_interval: must be at most a third of session_timeout, here {limit:?}")]
    KeepAliveInterval {
        /// A third of the session timeout.
        limit: Duration,
    },
    /// A silence allowed that is shorter than the pause between two PINGs.
    #[error("heartbeat_timeout: must not be shorter than heartbeat_interval, here {interval:?}")]
    HeartbeatTimeout {
        /// The heartbeat interval.
        interval: Duration,
    },
    /// A pause that begins longer than it may become.
    #[error("{setting}: must not be longer than {max_setting}")]
    Backoff {
        /// The initial pause.
        setting: &'static str,
        /// Its limit.
        max_setting: &'static str,
    },
    /// A request without a payload.
    #[error("payload: must not be empty")]
    EmptyPayload,
    /// A payload longer than `max_message_size` or `max_queued_bytes`.
    #[error("payload: {length} bytes are more than {setting}, which is {limit}")]
    PayloadTooLarge {
        /// Its length in bytes.
        length: usize,
        /// The setting whose limit was hit, by its Rust name.
        setting: &'static str,
        /// The limit in bytes.
        limit: usize,
    },
    /// A second consumer of server requests.
    #[error("server_requests: already consumed; a client has one consumer of server requests")]
    SecondConsumer,
    /// A client that is to run within a tokio runtime, used outside of one.
    #[error("runtime: connect within a tokio runtime, or build the client with own_thread(true)")]
    NoRuntime,
}

impl ValidationError {
    /// The setting or argument at fault, by its Rust name.
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
            Self::EmptyPayload | Self::PayloadTooLarge { .. } => "payload",
            Self::SecondConsumer => "server_requests",
            Self::NoRuntime => "runtime",
        }
    }
}
