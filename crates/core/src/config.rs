//! The settings of a client, their defaults and their limits.
//!
//! A [`Config`] is made by a [`ConfigBuilder`] only, so whoever holds one holds a valid one.

mod admission;
mod builder;
mod validation;

use std::fmt;
use std::time::Duration;

use zraft_protocol::{Capabilities, MemberId};

use crate::endpoint::Endpoint;

pub use admission::Admission;
pub use builder::ConfigBuilder;
pub use validation::ValidationError;

/// Default of [`Config::connection_timeout`]: 5 s.
pub const DEFAULT_CONNECTION_TIMEOUT: Duration = Duration::from_secs(5);
/// Default of [`Config::keep_alive_interval`]: 30 s.
pub const DEFAULT_KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// Default of [`Config::session_timeout`]: 90 s, as the live server has it.
pub const DEFAULT_SESSION_TIMEOUT: Duration = Duration::from_secs(90);
/// Default of [`Config::request_timeout`]: 10 s.
pub const DEFAULT_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Default of [`Config::resend_interval`]: 3 s.
pub const DEFAULT_RESEND_INTERVAL: Duration = Duration::from_secs(3);
/// Default of [`Config::detached_timeout`]: 90 s.
pub const DEFAULT_DETACHED_TIMEOUT: Duration = Duration::from_secs(90);
/// Default of [`Config::max_in_flight`]: 256.
pub const DEFAULT_MAX_IN_FLIGHT: usize = 256;
/// Default of [`Config::max_queued`]: 100,000.
pub const DEFAULT_MAX_QUEUED: usize = 100_000;
/// Default of [`Config::max_queued_bytes`]: 256 MiB.
pub const DEFAULT_MAX_QUEUED_BYTES: usize = 256 << 20;
/// Default of [`Config::max_message_size`]: 16 MiB.
pub const DEFAULT_MAX_MESSAGE_SIZE: usize = 16 << 20;
/// Default of [`Config::max_server_requests`]: 1,024.
pub const DEFAULT_MAX_SERVER_REQUESTS: usize = 1024;
/// Default of [`Config::heartbeat_interval`]: 1 s.
pub const DEFAULT_HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);
/// Default of [`Config::heartbeat_timeout`]: 10 s.
pub const DEFAULT_HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(10);

/// A member of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The name under which the cluster knows it, as leader hints give it.
    pub id: MemberId,
    /// Its client port.
    pub endpoint: Endpoint,
}

/// When a server request counts as done, so that it may be acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AckServerRequests {
    /// When the application has taken it.
    #[default]
    Delivered,
    /// When the application says that it has handled it; one at a time.
    Handled,
}

/// What follows the end of a session by expiry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnSessionExpired {
    /// Everything fails and the client is disconnected.
    #[default]
    Terminate,
    /// A new session is opened. Commands already sent settle as outcome unknown; what was not
    /// sent yet goes out in the new session.
    NewSession,
}

/// The pauses between rounds of connection attempts. Half of each is random.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Backoff {
    /// The pause after the first round in which no member answered; it doubles. Default 100 ms.
    pub initial: Duration,
    /// The longest such pause. Default 5 s.
    pub max: Duration,
    /// The pause after the first round in which members answered but none led; it grows by 1.6.
    /// Default 50 ms.
    pub election_initial: Duration,
    /// The longest such pause during the first 10 s of an election; later it may grow to `max`.
    /// Default 250 ms.
    pub election_max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(100),
            max: Duration::from_secs(5),
            election_initial: Duration::from_millis(50),
            election_max: Duration::from_millis(250),
        }
    }
}

/// The settings of a client. Valid by construction: see [`ConfigBuilder::build`].
///
/// `Debug` shows neither capability values nor anything else that is secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    pub(crate) members: Vec<Member>,
    pub(crate) capabilities: Capabilities,
    pub(crate) connection_timeout: Duration,
    pub(crate) keep_alive_interval: Duration,
    pub(crate) session_timeout: Duration,
    pub(crate) request_timeout: Option<Duration>,
    pub(crate) resend_interval: Duration,
    pub(crate) detached_timeout: Duration,
    pub(crate) max_in_flight: usize,
    pub(crate) max_queued: usize,
    pub(crate) max_queued_bytes: usize,
    pub(crate) max_message_size: usize,
    pub(crate) max_server_requests: usize,
    pub(crate) ack_server_requests: AckServerRequests,
    pub(crate) heartbeat_interval: Duration,
    pub(crate) heartbeat_timeout: Duration,
    pub(crate) reconnect_backoff: Backoff,
    pub(crate) on_session_expired: OnSessionExpired,
}

impl Config {
    /// A builder with every default set; members and capabilities are still to be given.
    pub fn builder() -> ConfigBuilder {
        ConfigBuilder::default()
    }

    /// The members of the cluster, in the order in which they are asked; at least one.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// What the client tells the server about itself when it opens a session; at least one entry.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// The time for one attempt: resolve, connect, handshake, session answer.
    pub fn connection_timeout(&self) -> Duration {
        self.connection_timeout
    }

    /// The time between two KeepAlives; at most a third of [`Config::session_timeout`].
    pub fn keep_alive_interval(&self) -> Duration {
        self.keep_alive_interval
    }

    /// How long the server keeps a session from which it hears nothing. The protocol does not
    /// tell it, so it must equal the server's own setting.
    pub fn session_timeout(&self) -> Duration {
        self.session_timeout
    }

    /// The time from submitting a request to its answer; `None` waits for ever.
    pub fn request_timeout(&self) -> Option<Duration> {
        self.request_timeout
    }

    /// The least wait before a request is sent again.
    pub fn resend_interval(&self) -> Duration {
        self.resend_interval
    }

    /// How long a timed-out or cancelled command is still tracked for its late answer.
    pub fn detached_timeout(&self) -> Duration {
        self.detached_timeout
    }

    /// How many commands, and separately how many queries, may be on the wire unanswered.
    pub fn max_in_flight(&self) -> usize {
        self.max_in_flight
    }

    /// How many requests may wait to be sent.
    pub fn max_queued(&self) -> usize {
        self.max_queued
    }

    /// How many payload bytes may be held in all: queued, in flight and detached.
    pub fn max_queued_bytes(&self) -> usize {
        self.max_queued_bytes
    }

    /// The longest payload, in bytes, both ways. A frame may be 64 KiB longer.
    pub fn max_message_size(&self) -> usize {
        self.max_message_size
    }

    /// The limits that decide whether a request is taken.
    #[inline]
    pub fn admission(&self) -> Admission {
        Admission::new(self)
    }

    /// The longest payload that can be submitted, in bytes: the lower of
    /// [`Config::max_message_size`] and [`Config::max_queued_bytes`].
    pub fn max_payload(&self) -> usize {
        self.admission().max_payload()
    }

    /// How many server requests may wait for the application.
    pub fn max_server_requests(&self) -> usize {
        self.max_server_requests
    }

    /// When a server request may be acknowledged.
    pub fn ack_server_requests(&self) -> AckServerRequests {
        self.ack_server_requests
    }

    /// The time between two ZMTP PINGs.
    pub fn heartbeat_interval(&self) -> Duration {
        self.heartbeat_interval
    }

    /// How long a connection may be silent before it counts as lost.
    pub fn heartbeat_timeout(&self) -> Duration {
        self.heartbeat_timeout
    }

    /// The pauses between rounds of connection attempts.
    pub fn reconnect_backoff(&self) -> Backoff {
        self.reconnect_backoff
    }

    /// What follows the end of a session by expiry.
    pub fn on_session_expired(&self) -> OnSessionExpired {
        self.on_session_expired
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Everything is named: a field added later must be thought about here.
        let Self {
            members,
            capabilities,
            connection_timeout,
            keep_alive_interval,
            session_timeout,
            request_timeout,
            resend_interval,
            detached_timeout,
            max_in_flight,
            max_queued,
            max_queued_bytes,
            max_message_size,
            max_server_requests,
            ack_server_requests,
            heartbeat_interval,
            heartbeat_timeout,
            reconnect_backoff,
            on_session_expired,
        } = self;
        f.debug_struct("Config")
            .field("members", members)
            .field("capabilities", &MaskedValues(capabilities.iter().map(|(key, _)| key).collect()))
            .field("connection_timeout", connection_timeout)
            .field("keep_alive_interval", keep_alive_interval)
            .field("session_timeout", session_timeout)
            .field("request_timeout", request_timeout)
            .field("resend_interval", resend_interval)
            .field("detached_timeout", detached_timeout)
            .field("max_in_flight", max_in_flight)
            .field("max_queued", max_queued)
            .field("max_queued_bytes", max_queued_bytes)
            .field("max_message_size", max_message_size)
            .field("max_server_requests", max_server_requests)
            .field("ack_server_requests", ack_server_requests)
            .field("heartbeat_interval", heartbeat_interval)
            .field("heartbeat_timeout", heartbeat_timeout)
            .field("reconnect_backoff", reconnect_backoff)
            .field("on_session_expired", on_session_expired)
            .finish()
    }
}

/// Shows the names of capabilities, and a mark in place of each value.
struct MaskedValues<'a>(Vec<&'a str>);

impl fmt::Debug for MaskedValues<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter().map(|key| (key, format_args!("***")))).finish()
    }
}
