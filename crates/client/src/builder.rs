//! Settings to client.

use std::sync::Arc;
use std::time::Duration;

use zraft_core::{AckServerRequests, Backoff, Config, ConfigBuilder, OnSessionExpired};

use crate::client::RaftClient;
use crate::error::Error;
use crate::transport::Sockets;

/// Collects the settings of a client; [`ClientBuilder::build`] checks them and opens nothing.
///
/// Members and capabilities are required; all else has the defaults of [`Config`]. `Debug` shows
/// neither endpoints nor capability values.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct ClientBuilder {
    config: ConfigBuilder,
    own_thread: bool,
}

impl RaftClient {
    /// Returns a builder that collects the settings of a client.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }
}

macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident($value:ident: $type:ty);)*) => {
        $(
            $(#[$doc])*
            pub fn $name(mut self, $value: $type) -> Self {
                self.config = self.config.$name($value);
                self
            }
        )*
    };
}

impl ClientBuilder {
    /// Adds a member: its id and its endpoint, `tcp://host:port`, `tcp://[v6]:port` or
    /// `ipc://path`. Required, at least once. Members are asked in the order given.
    pub fn member(mut self, id: impl Into<String>, endpoint: impl Into<String>) -> Self {
        self.config = self.config.member(id, endpoint);
        self
    }

    /// Adds several members, each as [`member`](Self::member) does, after those given before.
    ///
    /// ```
    /// let members = [("node-1", "tcp://10.0.0.1:7001"), ("node-2", "tcp://10.0.0.2:7001")];
    /// let builder = zraft_client::RaftClient::builder().members(members);
    /// ```
    pub fn members<I, E>(mut self, members: impl IntoIterator<Item = (I, E)>) -> Self
    where
        I: Into<String>,
        E: Into<String>,
    {
        self.config = self.config.members(members);
        self
    }

    /// Adds a capability: its name of letters, digits, `_` and `-`, and its value, which is not
    /// empty. Required, at least once.
    pub fn capability(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.config = self.config.capability(name, value);
        self
    }

    /// The time from submitting a request to its answer; `None` waits for ever. Default 10 s.
    pub fn request_timeout(mut self, time: impl Into<Option<Duration>>) -> Self {
        self.config = self.config.request_timeout(time);
        self
    }

    settings! {
        /// The time for one attempt: resolve, connect, handshake, session answer. Default 5 s.
        connection_timeout(time: Duration);
        /// The time between two KeepAlives, at most a third of the session timeout. Default 30 s.
        keep_alive_interval(time: Duration);
        /// The server's own session timeout, which the protocol does not tell. Default 90 s.
        session_timeout(time: Duration);
        /// The least wait before a request is sent again. Default 3 s.
        resend_interval(time: Duration);
        /// How long a timed-out or cancelled command is tracked for its late answer. Default 90 s.
        detached_timeout(time: Duration);
        /// How many commands, and separately queries, may be on the wire unanswered. Default 256.
        ///
        /// This number divided by the server's rate must stay well below the request timeout:
        /// what waits in the queue can still end as not executed, what is on the wire only as
        /// unknown.
        max_in_flight(requests: usize);
        /// How many requests may wait to be sent. Default 100,000.
        max_queued(requests: usize);
        /// How many payload bytes may be held: queued, in flight and detached. Default 256 MiB.
        max_queued_bytes(bytes: usize);
        /// The longest payload in bytes, both ways. Default 16 MiB, at most 1 GiB.
        max_message_size(bytes: usize);
        /// How many server requests may wait for the application. Default 1,024.
        max_server_requests(requests: usize);
        /// When a server request may be acknowledged. Default: when it is delivered.
        ack_server_requests(when: AckServerRequests);
        /// The time between two ZMTP PINGs. Default 1 s.
        heartbeat_interval(time: Duration);
        /// How long a connection may be silent before it counts as lost. Default 10 s.
        heartbeat_timeout(time: Duration);
        /// The pauses between rounds of connection attempts.
        reconnect_backoff(backoff: Backoff);
        /// What follows the end of a session by expiry. Default: terminate.
        on_session_expired(then: OnSessionExpired);
    }

    /// Whether the connection gets a thread of its own. Default: no, it is a task of the runtime
    /// that calls [`RaftClient::connect`].
    ///
    /// A task cannot run while the application blocks every thread of its runtime, or the one
    /// thread that last woke it; a session that is not kept alive for 90 s ends. With its own
    /// thread the connection is kept alive whatever the application does, for some microseconds
    /// more per request; and the client works from any runtime, or none.
    pub fn own_thread(mut self, own_thread: bool) -> Self {
        self.own_thread = own_thread;
        self
    }

    /// Checks the settings and makes the client. Opens nothing.
    ///
    /// # Errors
    /// [`Error::Validation`] with the first setting that cannot be accepted, and what would be.
    pub fn build(self) -> Result<RaftClient, Error> {
        let config: Config = self.config.build()?;
        Ok(RaftClient::with_transport(config, self.own_thread, Arc::new(Sockets)))
    }
}
