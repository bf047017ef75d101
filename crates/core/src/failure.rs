//! How a request, a connect() or a ping can fail, and whether a command may have run nevertheless.

use std::fmt;

use zraft_protocol::{CorrelationId, MemberId, RejectionReason, RequestId, SessionId};

use crate::config::ValidationError;

/// The id under which a request was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestRef {
    /// The id of a command.
    Command(RequestId),
    /// The id of a query.
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

/// Why a request, a connect() or a ping did not succeed.
///
/// The texts here are those of every client: the Rust client's errors and the Node client's show them. They name settings
/// by their Rust names, in backticks, and a binding puts its own names in their place.
///
/// `sent` is true if a command was handed to a transport: then it may have run, or may still run. It is always false for
/// a query, which is safe to repeat.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The deadline passed before the answer came.
    #[error("{} was not answered in time; {}", subject(.id), late_outcome(*.sent))]
    Timeout {
        /// The id under which the request was sent; `None` if it was not.
        id: Option<RequestRef>,
        /// True if a command was sent, so that it may have run.
        sent: bool,
    },
    /// The caller cancelled the request.
    #[error("{} was cancelled; {}", subject(.id), late_outcome(*.sent))]
    Cancelled {
        /// The id under which the request was sent; `None` if it was not.
        id: Option<RequestRef>,
        /// True if a command was sent, so that it may have run.
        sent: bool,
    },
    /// The queue is full: `max_queued` requests wait, or `max_queued_bytes` of payloads are held.
    #[error(
        "the queue is full (`max_queued` or `max_queued_bytes`); not executed: submit again once ready() \
         resolves"
    )]
    Overloaded,
    /// There is no session, and none is being opened.
    #[error("not connected; not executed: call connect() first")]
    NotConnected,
    /// The client was disconnected.
    #[error("the client was disconnected; {}", outcome(*.sent))]
    Closed {
        /// True if a command was sent, so that it may have run.
        sent: bool,
    },
    /// The server ended the session.
    #[error("the session expired; {}; connect() opens a new session", outcome(*.sent))]
    SessionExpired {
        /// The session that expired.
        session_id: Option<SessionId>,
        /// True if a command was sent, so that it may have run.
        sent: bool,
    },
    /// The server refused the session, for a reason that does not pass.
    #[error(
        "the server rejected the session ({}); {}: {}",
        .reason.name(),
        outcome_alone(*.sent),
        remedy(*.reason)
    )]
    SessionRejected {
        /// The server's reason.
        reason: RejectionReason,
        /// True if a command was sent, so that it may have run.
        sent: bool,
    },
    /// No session could be opened in time.
    #[error("no session could be opened{}: {cause}", at(.endpoint))]
    Connection {
        /// The endpoint tried last. With [`ConnectionCause::LeaderNotConfigured`], the endpoint that named the leader.
        endpoint: Option<String>,
        /// What went wrong there.
        cause: ConnectionCause,
    },
    /// The server no longer has the answer, so the outcome of the command stays unknown.
    #[error(
        "the server no longer has the answer to command {}; it may have been executed: read the state to find out",
        .request_id.get()
    )]
    ResponseEvicted {
        /// The command.
        request_id: RequestId,
    },
    /// The request was alone in flight when members became deaf or broke off, repeatedly. The client does not send it any
    /// more: its payload is probably one that the application cannot decode.
    #[error(
        "members failed each time they received this request; {}: do not submit its payload again",
        outcome_alone(*.sent)
    )]
    Quarantined {
        /// True if a command was sent, so that it may have run.
        sent: bool,
    },
    /// The answer came, and it cannot be decoded or is longer than `max_message_size`.
    #[error(
        "the answer cannot be used ({detail}); {}: raise `max_message_size` if it is too long, else repair the server",
        outcome_alone(*.sent)
    )]
    Protocol {
        /// What is wrong with the answer.
        detail: String,
        /// True if a command was sent: the server did answer, so it probably ran.
        sent: bool,
    },
    /// An argument or a setting cannot be accepted. Nothing was sent.
    #[error(transparent)]
    Validation(#[from] ValidationError),
}

impl Failure {
    /// The codes of all kinds.
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

    /// Returns the stable name of the kind, the same in every language.
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

    /// Returns true if a command may have run, or may still run. If false, it is safe to submit the request again.
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

/// The outcome alone, before advice of another kind.
fn outcome_alone(sent: bool) -> &'static str {
    if sent { "it may have been executed" } else { "not executed" }
}

/// The outcome, and what the caller can do.
fn outcome(sent: bool) -> &'static str {
    if sent {
        "it may have been executed: read the state to find out"
    } else {
        "not executed: it is safe to submit again"
    }
}

/// The outcome of a request whose late answer can still come.
fn late_outcome(sent: bool) -> &'static str {
    if sent {
        "it may have been executed: await its resolution, or read the state to find out"
    } else {
        outcome(false)
    }
}

fn subject(id: &Option<RequestRef>) -> String {
    id.as_ref().map_or_else(|| "the request".to_owned(), ToString::to_string)
}

fn remedy(reason: RejectionReason) -> &'static str {
    match reason {
        RejectionReason::InvalidCapabilities => "correct `capabilities`",
        _ => "the server's log says more",
    }
}

fn at(endpoint: &Option<String>) -> String {
    endpoint.as_ref().map(|endpoint| format!(" at {endpoint}")).unwrap_or_default()
}

/// Returns a member id from the network in a form that fits in one line of text.
fn printable(id: &MemberId) -> String {
    // The wire allows ids of up to 64 KiB. No name that a person gave a member is longer than this.
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
    /// Nothing listens at the endpoint.
    #[error("connection refused")]
    Refused,
    /// The name does not resolve.
    #[error("unknown host")]
    UnknownHost,
    /// The network or the operating system reported an error, which is the text.
    #[error("{0}")]
    Unreachable(String),
    /// There is no TLS connection: a certificate is missing, or one side does not accept the other's, or only one side
    /// speaks TLS. The text says which, and what to do.
    #[error("{0}")]
    Tls(String),
    /// There was no connection within `connection_timeout`.
    #[error("no connection within `connection_timeout`")]
    TimedOut,
    /// The peer closed before its first message: it is not a ZIO Raft client port, or refuses this socket type.
    #[error("the peer closed the connection before its first message (is this a client port?)")]
    ClosedBeforeFirstMessage,
    /// The peer completed the ZMTP handshake and never answered: it is deaf, or a member's Raft port.
    #[error("the peer completed the ZMTP handshake but never answered (is this a client port?)")]
    NeverAnswered,
    /// The connection ended: by EOF, by a reset, or because the member did not answer PINGs.
    #[error("the connection was lost")]
    Lost,
    /// The peer does not speak ZMTP 3, or broke its rules.
    #[error("{0}")]
    Zmtp(zraft_zmtp::Error),
    /// The member is not the leader, and no leader was found.
    #[error("no member leads: the cluster may be electing a leader")]
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
    /// The member ended the session's connection with a SessionClosed.
    #[error("the member closed the session's connection")]
    SessionClosed,
}

impl ConnectionCause {
    /// The names of all kinds.
    pub const NAMES: &'static [&'static str] = &[
        "refused",
        "unknownHost",
        "unreachable",
        "tls",
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

    /// Returns the name of the kind, the same in every language.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::UnknownHost => "unknownHost",
            Self::Unreachable(_) => "unreachable",
            Self::Tls(_) => "tls",
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
