//! How a request, a connect() or a ping can fail, and whether a command may have run all the same.

use std::fmt;

use zraft_protocol::{CorrelationId, MemberId, RejectionReason, RequestId, SessionId};

use crate::config::ValidationError;

/// The id under which a request went out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestRef {
    /// A command's.
    Command(RequestId),
    /// A query's.
    Query(CorrelationId),
}

impl fmt::Display for RequestRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(id) => write!(f, "command {}", id.get()),
            Self::Query(id) => write!(f, "query {}", id.as_str()),
        }
    }
}

/// Why something did not succeed.
///
/// `sent` tells whether a command was handed to a transport: then it may have run, or may still run. It is always
/// false for a query, which is safe to repeat.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The deadline passed before the answer came.
    #[error("no answer in time{}{}", of(.id), outcome(*.sent))]
    Timeout {
        /// The id it went out under, if it did.
        id: Option<RequestRef>,
        /// It may have run.
        sent: bool,
    },
    /// The caller gave it up.
    #[error("cancelled{}{}", of(.id), outcome(*.sent))]
    Cancelled {
        /// The id it went out under, if it did.
        id: Option<RequestRef>,
        /// It may have run.
        sent: bool,
    },
    /// Too much waits already. Wait for room, or raise `maxQueued` or `maxQueuedBytes`.
    #[error("too many requests wait already; not executed")]
    Overloaded,
    /// There is no session: call connect() first.
    #[error("not connected; not executed")]
    NotConnected,
    /// The client was disconnected.
    #[error("the client is closed{}", outcome(*.sent))]
    Closed {
        /// It may have run.
        sent: bool,
    },
    /// The server ended the session; connect() opens a new one.
    #[error("the session expired{}", outcome(*.sent))]
    SessionExpired {
        /// The session that expired.
        session_id: Option<SessionId>,
        /// It may have run.
        sent: bool,
    },
    /// The server refused the session for good.
    #[error("the server rejected the session ({}){}", .reason.name(), outcome(*.sent))]
    SessionRejected {
        /// What the server gave as its reason.
        reason: RejectionReason,
        /// It may have run.
        sent: bool,
    },
    /// No session could be opened.
    #[error("no session could be opened{}: {cause}", at(.endpoint))]
    Connection {
        /// The endpoint tried last. With [`ConnectionCause::LeaderNotConfigured`], the endpoint that named the leader.
        endpoint: Option<String>,
        /// What went wrong there.
        cause: ConnectionCause,
    },
    /// The server no longer has the answer: the command's outcome cannot be known.
    #[error("the server no longer has the answer of command {}; it may have run", .request_id.get())]
    ResponseEvicted {
        /// The command.
        request_id: RequestId,
    },
    /// The request was alone in flight when members went deaf or broke off, again and again.
    #[error("given up: each member that received it failed{}", outcome(*.sent))]
    Quarantined {
        /// It may have run.
        sent: bool,
    },
    /// The answer came but cannot be used.
    #[error("unusable answer ({detail}){}", outcome(*.sent))]
    Protocol {
        /// What is wrong with it.
        detail: String,
        /// It ran, or may have.
        sent: bool,
    },
    /// The call itself is wrong.
    #[error(transparent)]
    Validation(#[from] ValidationError),
}

impl Failure {
    /// The names of all kinds.
    pub const CODES: &'static [&'static str] = &[
        "TIMEOUT",
        "CANCELLED",
        "OVERLOADED",
        "NOT_CONNECTED",
        "CLOSED",
        "SESSION_EXPIRED",
        "SESSION_REJECTED",
        "CONNECTION",
        "RESPONSE_EVICTED",
        "QUARANTINED",
        "PROTOCOL",
        "VALIDATION",
    ];

    /// The stable name of the kind, the same in every language.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Timeout { .. } => "TIMEOUT",
            Self::Cancelled { .. } => "CANCELLED",
            Self::Overloaded => "OVERLOADED",
            Self::NotConnected => "NOT_CONNECTED",
            Self::Closed { .. } => "CLOSED",
            Self::SessionExpired { .. } => "SESSION_EXPIRED",
            Self::SessionRejected { .. } => "SESSION_REJECTED",
            Self::Connection { .. } => "CONNECTION",
            Self::ResponseEvicted { .. } => "RESPONSE_EVICTED",
            Self::Quarantined { .. } => "QUARANTINED",
            Self::Protocol { .. } => "PROTOCOL",
            Self::Validation(_) => "VALIDATION",
        }
    }

    /// Whether the command may have run, or may still run. `false` means that it is safe to submit it again.
    pub fn maybe_executed(&self) -> bool {
        match self {
            Self::Timeout { sent, .. }
            | Self::Cancelled { sent, .. }
            | Self::Closed { sent }
            | Self::SessionExpired { sent, .. }
            | Self::SessionRejected { sent, .. }
            | Self::Quarantined { sent }
            | Self::Protocol { sent, .. } => *sent,
            Self::ResponseEvicted { .. } => true,
            Self::Overloaded
            | Self::NotConnected
            | Self::Connection { .. }
            | Self::Validation(_) => false,
        }
    }
}

fn outcome(sent: bool) -> &'static str {
    if sent { "; it may have been executed" } else { "; not executed" }
}

fn of(id: &Option<RequestRef>) -> String {
    id.as_ref().map(|id| format!(" for {id}")).unwrap_or_default()
}

fn at(endpoint: &Option<String>) -> String {
    endpoint.as_ref().map(|endpoint| format!(" at {endpoint}")).unwrap_or_default()
}

/// A member id from the network, in a form that fits in one line of text.
fn printable(id: &MemberId) -> String {
    // Ids of up to 64 KiB are allowed on the wire. No name that a person gave a member is this long.
    const LONGEST: usize = 128;
    let mut text: String = id.as_str().chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if id.as_str().chars().nth(LONGEST).is_some() {
        text.push('…');
    }
    text
}

/// Why a member could not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionCause {
    /// Nothing listens there.
    #[error("connection refused")]
    Refused,
    /// The name does not resolve.
    #[error("unknown host")]
    UnknownHost,
    /// The network or the operating system said no.
    #[error("{0}")]
    Unreachable(String),
    /// No connection within `connectionTimeout`.
    #[error("no connection in time")]
    TimedOut,
    /// The peer closed before its first message: it is no ZIO Raft client port, or refuses this socket type.
    #[error("closed before the first message (is this a client port?)")]
    ClosedBeforeFirstMessage,
    /// The peer shook hands and never answered: it may be deaf, or a node's Raft port.
    #[error("shook hands but never answered (is this a client port?)")]
    NeverAnswered,
    /// The connection broke.
    #[error("connection lost")]
    Lost,
    /// The peer does not speak ZMTP 3, or broke its rules.
    #[error("{0}")]
    Zmtp(zraft_zmtp::Error),
    /// The member is not the leader, and no leader was found.
    #[error("no leader: the cluster may be electing one")]
    NoLeader,
    /// The member named a leader that is not one of the configured members, so it cannot be asked.
    #[error(
        "the leader is {}, which is not configured: add it and its client endpoint to the members",
        printable(.leader_id)
    )]
    LeaderNotConfigured {
        /// The leader's id, as the member gave it.
        leader_id: MemberId,
    },
    /// The member said that the session is unknown, which may be false.
    #[error("the member does not know the session")]
    SessionUnknown,
    /// The member ended the session's connection in words.
    #[error("the member closed the session's connection")]
    SessionClosed,
}

impl ConnectionCause {
    /// The names of all kinds, the same in every language.
    pub const NAMES: &'static [&'static str] = &[
        "refused",
        "unknownHost",
        "unreachable",
        "timedOut",
        "closedBeforeFirstMessage",
        "neverAnswered",
        "lost",
        "zmtp",
        "noLeader",
        "leaderNotConfigured",
        "sessionUnknown",
        "sessionClosed",
    ];

    /// The name of its kind.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::UnknownHost => "unknownHost",
            Self::Unreachable(_) => "unreachable",
            Self::TimedOut => "timedOut",
            Self::ClosedBeforeFirstMessage => "closedBeforeFirstMessage",
            Self::NeverAnswered => "neverAnswered",
            Self::Lost => "lost",
            Self::Zmtp(_) => "zmtp",
            Self::NoLeader => "noLeader",
            Self::LeaderNotConfigured { .. } => "leaderNotConfigured",
            Self::SessionUnknown => "sessionUnknown",
            Self::SessionClosed => "sessionClosed",
        }
    }
}
