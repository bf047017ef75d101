//! What the machine and its driver say to each other, besides bytes.

use std::time::Duration;

use bytes::Bytes;
use zraft_protocol::MemberId;

use crate::{ConnId, ConnectKey, PingKey, RequestKey, endpoint::Endpoint, failure::Failure};

/// How long a request may take, from its submission to its answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Timeout {
    /// As the configuration's `requestTimeout` says.
    #[default]
    Default,
    /// This long.
    After(Duration),
    /// As long as it takes.
    Never,
}

/// What the driver is to do with sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Open a connection, and say how it went.
    Open {
        /// Its number.
        conn: ConnId,
        /// The member it goes to.
        member: MemberId,
        /// Where the member is.
        endpoint: Endpoint,
    },
    /// Shut down the write half, once all that was taken is written. Reading goes on.
    ShutdownWrite {
        /// Which.
        conn: ConnId,
    },
    /// Close it, or stop opening it. Nothing more is said of it.
    Close {
        /// Which.
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
    /// Anything else, in the operating system's words.
    Other(String),
}

/// How a connection ended without our closing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnEnd {
    /// The peer closed it in order.
    Eof,
    /// It broke.
    Reset,
}

/// The end of something the application asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Completion {
    /// A request is settled, for its caller.
    Request {
        /// Which.
        key: RequestKey,
        /// The answer, or why there is none.
        result: Result<Bytes, Failure>,
        /// It goes on: a `Resolution` for the same key follows. Else the key is free.
        detached: bool,
    },
    /// What became of a detached request in the end. The key is free.
    Resolution {
        /// Which.
        key: RequestKey,
        /// The late answer, or why there will never be one.
        result: Result<Bytes, Failure>,
    },
    /// A call of connect() ended.
    Connect {
        /// Which.
        key: ConnectKey,
        /// The session stands, or why it does not.
        result: Result<(), Failure>,
    },
    /// A ping was answered.
    Ping {
        /// Which.
        key: PingKey,
        /// From the keep-alive's last byte to its answer.
        result: Result<Duration, Failure>,
    },
    /// The client is disconnected, as asked: everything is settled.
    Disconnected,
}
