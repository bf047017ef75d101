//! The types that the machine and its driver exchange, besides bytes.

use std::time::Duration;

use bytes::Bytes;
use zraft_protocol::MemberId;

use crate::{ConnId, ConnectKey, PingKey, RequestKey, endpoint::Endpoint, failure::Failure};

/// How long a request may take, from its submission to its answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Timeout {
    /// The setting `requestTimeout`.
    #[default]
    Default,
    /// This long.
    After(Duration),
    /// No deadline.
    Never,
}

/// What the driver has to do with sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Open a connection, then call [`handle_opened`](super::Machine::handle_opened) or
    /// [`handle_open_failed`](super::Machine::handle_open_failed).
    Open {
        /// The connection's number.
        conn: ConnId,
        /// The member it goes to.
        member: MemberId,
        /// The member's endpoint.
        endpoint: Endpoint,
    },
    /// Shut down the write half, once the socket has taken everything. Go on reading.
    ShutdownWrite {
        /// The connection's number.
        conn: ConnId,
    },
    /// Close the connection, or stop opening it. No input for it is expected any more.
    Close {
        /// The connection's number.
        conn: ConnId,
    },
}

/// Why a connection could not be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenFailure {
    /// Nothing listens there.
    Refused,
    /// The name does not resolve.
    UnknownHost,
    /// There is no TLS connection, for the reason in the text.
    Tls(String),
    /// Any other reason, in the words of the operating system.
    Other(String),
}

/// How a connection ended that the machine did not close. The machine treats both alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnEnd {
    /// The peer ended the stream in order.
    Eof,
    /// The connection broke.
    Reset,
}

/// The end of a call of the application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Completion {
    /// A request has its outcome.
    Request {
        /// The request.
        key: RequestKey,
        /// The answer, or why there is none.
        result: Result<Bytes, Failure>,
        /// The command is detached: a `Resolution` with the same key follows. If false, the key is free.
        detached: bool,
    },
    /// A detached command has settled. The key is free.
    Resolution {
        /// The command.
        key: RequestKey,
        /// The late answer, or why there will be none.
        result: Result<Bytes, Failure>,
    },
    /// A call of connect() ended.
    Connect {
        /// The call.
        key: ConnectKey,
        /// Whether there is a session, and if not, why.
        result: Result<(), Failure>,
    },
    /// A call of ping() ended.
    Ping {
        /// The call.
        key: PingKey,
        /// The time from the KeepAlive's last byte to its answer.
        result: Result<Duration, Failure>,
    },
    /// A call of disconnect() ended: everything has settled.
    Disconnected,
}
