//! Incidents: what the person who runs a cluster should know.

use std::fmt;

use zraft_protocol::{CorrelationId, MemberId, RequestId};
use zraft_session::Rejected;

/// Something that the person who runs the cluster should know. `Display` writes one line.
///
/// Sessions are numbered from 1 in the order in which they were created: a session's id is a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Incident {
    /// A connection was closed because of what its peer did.
    ConnectionClosed {
        /// The member that closed it.
        member: MemberId,
        /// The peer's address, if the connection has one. The engine knows no addresses; the sockets add it.
        address: Option<String>,
        /// The session that was bound to the connection.
        session: Option<u64>,
        /// Why the member closed it.
        reason: ClosedFor,
    },
    /// A connection was closed before any message was read from it.
    ConnectionRefused {
        /// The member that closed it.
        member: MemberId,
        /// The peer's address, as in [`Self::ConnectionClosed`].
        address: Option<String>,
        /// The limit that was reached.
        limit: &'static str,
    },
    /// A member was elected. The first leader of a new cluster is not reported.
    LeaderElected {
        /// The member.
        member: MemberId,
    },
    /// The leader stepped down or stopped, and no other leads yet.
    LeaderLost {
        /// The member that led.
        member: MemberId,
    },
    /// A session expired, because no KeepAlive for it arrived in time.
    SessionExpired {
        /// The session.
        session: u64,
    },
}

/// Why a member closed a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClosedFor {
    /// The peer sent bytes that are not a message of the protocol.
    UndecodableMessage,
    /// The application refused the payload of a command.
    RejectedCommand {
        /// The id of the command.
        request_id: RequestId,
        /// Why the application refused it.
        rejected: Rejected,
    },
    /// The application refused the payload of a query.
    RejectedQuery {
        /// The id of the query.
        correlation_id: CorrelationId,
        /// Why the application refused it.
        rejected: Rejected,
    },
    /// A limit of [`Limits`](super::Limits) or [`TransportLimits`](crate::TransportLimits), by the name of its field.
    Limit(&'static str),
    /// The peer broke a rule of ZMTP or was too slow. The text says which rule.
    Transport(String),
}

impl fmt::Display for Incident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConnectionClosed { member, address, session, reason } => {
                write!(f, "{member} closed a connection{}", From(address.as_deref()))?;
                if let Some(session) = session {
                    write!(f, " (session {session})")?;
                }
                write!(f, ": {reason}")
            }
            Self::ConnectionRefused { member, address, limit } => {
                let from = From(address.as_deref());
                write!(f, "{member} refused a connection{from}: the limit {limit} is reached")
            }
            Self::LeaderElected { member } => write!(f, "{member} leads now"),
            Self::LeaderLost { member } => write!(f, "{member} does not lead any more"),
            Self::SessionExpired { session } => write!(f, "session {session} expired"),
        }
    }
}

impl fmt::Display for ClosedFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UndecodableMessage => f.write_str("it sent a message that cannot be decoded"),
            Self::RejectedCommand { request_id, rejected } => {
                write!(f, "command {} was refused: {rejected}", request_id.get())
            }
            // The id comes from the network, so it may be long or hold line ends.
            Self::RejectedQuery { correlation_id, rejected } => {
                let id = correlation_id.as_str();
                let short: String = id.chars().take(64).collect();
                write!(f, "query {} was refused: {rejected}", short.escape_debug())
            }
            Self::Limit(limit) => write!(f, "the limit {limit} is reached"),
            Self::Transport(error) => f.write_str(error),
        }
    }
}

struct From<'a>(Option<&'a str>);

impl fmt::Display for From<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => write!(f, " from {address}"),
            None => Ok(()),
        }
    }
}
