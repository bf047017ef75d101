//! The reasons that messages give, one byte each.

macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident, $field:literal { $($(#[$variant_doc:meta])* $variant:ident = $value:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $name {
            $($(#[$variant_doc])* $variant = $value,)*
        }

        impl $name {
            /// Every one there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
            #[allow(dead_code)]
            pub(crate) const FIELD: &'static str = $field;

            /// The byte that stands for it.
            pub fn code(self) -> u8 {
                self as u8
            }

            /// What a byte stands for.
            #[inline]
            pub fn from_code(code: u8) -> Option<Self> {
                match code {
                    $($value => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// Its name.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($variant),)*
                }
            }

            /// What a name stands for.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|each| each.name() == name)
            }
        }
    };
}
pub(crate) use reasons;

reasons! {
    /// Why a client closes its session.
    CloseReason, "close reason" {
        /// It shuts down.
        ClientShutdown = 1,
    }
}

reasons! {
    /// Why a server does not open or continue a session.
    RejectionReason, "rejection reason" {
        /// The member does not lead.
        NotLeader = 1,
        /// The member does not know the session. A member that resumed or was just elected may say so falsely.
        SessionExpired = 2,
        /// The capabilities are not acceptable.
        InvalidCapabilities = 3,
        /// Anything else.
        Other = 4,
    }
}

reasons! {
    /// Why a server ends a session's connection, or the session.
    SessionCloseReason, "session close reason" {
        /// The member shuts down. The session lives on.
        Shutdown = 1,
        /// The member leads no longer. The session lives on.
        NotLeaderAnymore = 2,
        /// The connection is bound to no session.
        SessionError = 3,
        /// The connection was closed.
        ConnectionClosed = 4,
        /// The session expired.
        SessionExpired = 5,
    }
}

reasons! {
    /// Why a command has no answer.
    RequestErrorReason, "request error reason" {
        /// The server no longer keeps the answer.
        ResponseEvicted = 1,
    }
}
