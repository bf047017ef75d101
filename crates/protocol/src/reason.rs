//! The reason codes in messages. Each is one byte.

macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident, $field:literal { $($(#[$variant_doc:meta])* $variant:ident = $value:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $name {
            $($(#[$variant_doc])* $variant = $value,)*
        }

        impl $name {
            /// All values, in the order of their codes.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
            #[allow(dead_code)]
            pub(crate) const FIELD: &'static str = $field;

            /// Returns the byte that stands for this value on the wire.
            pub fn code(self) -> u8 {
                self as u8
            }

            /// Returns the value for a byte on the wire, or `None` if the protocol does not define one.
            #[inline]
            pub fn from_code(code: u8) -> Option<Self> {
                match code {
                    $($value => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// Returns the name of this value, spelled as in the protocol.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($variant),)*
                }
            }

            /// Returns the value with this name, or `None` if there is none. Names are case-sensitive.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|each| each.name() == name)
            }
        }
    };
}
pub(crate) use reasons;

reasons! {
    /// The reason why a client closes its session.
    CloseReason, "close reason" {
        /// The client shuts down.
        ClientShutdown = 1,
    }
}

reasons! {
    /// The reason why a server does not create or continue a session.
    RejectionReason, "rejection reason" {
        /// The member is not the leader.
        NotLeader = 1,
        /// The member does not know the session. This can be false: a member that resumed from a pause or was just
        /// elected may not know sessions that are alive.
        SessionExpired = 2,
        /// The server does not accept the capabilities.
        InvalidCapabilities = 3,
        /// Any other reason.
        Other = 4,
    }
}

reasons! {
    /// The reason why a server ends a session, or only its use of a connection.
    SessionCloseReason, "session close reason" {
        /// The member shuts down. The session remains.
        Shutdown = 1,
        /// The member is no longer the leader. The session remains.
        NotLeaderAnymore = 2,
        /// No session is bound to the connection.
        SessionError = 3,
        /// The connection was closed.
        ConnectionClosed = 4,
        /// The session expired.
        SessionExpired = 5,
    }
}

reasons! {
    /// The reason why a command gets no answer.
    RequestErrorReason, "request error reason" {
        /// The server has dropped the cached answer, or the id is below the session's lowest pending request id. The
        /// command is not executed by this copy.
        ResponseEvicted = 1,
    }
}
