//! How a session loses its connection.

use zraft_protocol::SessionCloseReason;

use crate::{event::DisconnectReason, keys::MemberKey};

/// How a session lost its connection.
///
/// The network and the policy of liveness find it. The other policies conclude from it which member to ask next,
/// whether a request is to blame, and how pending requests are resent. The application sees it as a
/// [`DisconnectReason`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// The stream ended or broke.
    Broken,
    /// The peer violated ZMTP.
    Violation,
    /// No byte came for `heartbeatTimeout`.
    HeartbeatTimeout,
    /// A KeepAlive was not answered for `connectionTimeout`.
    KeepAliveTimeout,
    /// A KeepAlive could not be written: the member reads nothing.
    Stalled,
    /// KeepAlives were answered, requests were not.
    Silent,
    /// The member sent SessionClosed, and may have named a configured leader.
    Closed { reason: SessionCloseReason, hint: Option<MemberKey> },
}

impl Loss {
    pub(crate) fn reason(self) -> DisconnectReason {
        match self {
            Self::Broken | Self::Violation => DisconnectReason::ConnectionLost,
            Self::HeartbeatTimeout => DisconnectReason::HeartbeatTimeout,
            Self::KeepAliveTimeout | Self::Stalled => DisconnectReason::KeepAliveTimeout,
            Self::Silent => DisconnectReason::Silent,
            Self::Closed { reason, .. } => match reason {
                SessionCloseReason::Shutdown => DisconnectReason::ServerShutdown,
                SessionCloseReason::NotLeaderAnymore => DisconnectReason::NotLeader,
                SessionCloseReason::SessionError => DisconnectReason::SessionError,
                SessionCloseReason::ConnectionClosed => DisconnectReason::ConnectionLost,
                SessionCloseReason::SessionExpired => DisconnectReason::SessionExpired,
            },
        }
    }

    /// Returns true if the member dropped the session's connection without a reason to seek another member.
    pub(crate) fn is_drop(self) -> bool {
        matches!(self, Self::Broken | Self::Closed { reason: SessionCloseReason::SessionError, .. })
    }

    /// Returns true if the member ended the connection by a message.
    pub(crate) fn is_closed(self) -> bool {
        matches!(self, Self::Closed { .. })
    }
}
