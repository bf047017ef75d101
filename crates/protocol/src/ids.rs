//! The ids and numbers of the protocol, each its own type.

use std::{fmt, num::NonZeroI64};

use crate::{
    ValueError,
    text::{Text, check_len},
};

/// The id of a command within its session, or of a server request. The first one is 1; 0 means "none yet".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RequestId(i64);

impl RequestId {
    /// "None yet".
    pub const ZERO: Self = Self(0);
    /// The first id of a session.
    pub const FIRST: Self = Self(1);

    /// An id.
    ///
    /// # Errors
    /// When it does not fit into the wire's signed 64 bits.
    #[inline]
    pub fn new(id: u64) -> Result<Self, ValueError> {
        match i64::try_from(id) {
            Ok(id) => Ok(Self(id)),
            Err(_) => Err(ValueError::OutOfRange { value: "request id" }),
        }
    }

    /// The number.
    #[inline]
    pub fn get(self) -> u64 {
        self.0.unsigned_abs()
    }

    /// The id after this one; the last one is followed by itself.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    #[inline]
    pub(crate) fn to_wire(self) -> i64 {
        self.0
    }
}

impl TryFrom<i64> for RequestId {
    type Error = ValueError;

    #[inline]
    fn try_from(id: i64) -> Result<Self, ValueError> {
        if id < 0 { Err(ValueError::OutOfRange { value: "request id" }) } else { Ok(Self(id)) }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Ties the answer of a session handshake to its question. Any 64 bits but zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Nonce(NonZeroI64);

impl Nonce {
    /// A nonce.
    ///
    /// # Errors
    /// When it is zero.
    pub fn new(nonce: i64) -> Result<Self, ValueError> {
        NonZeroI64::new(nonce).map(Self).ok_or(ValueError::OutOfRange { value: "nonce" })
    }

    /// The number.
    pub fn get(self) -> i64 {
        self.0.get()
    }
}

/// Milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since the epoch.
    #[inline]
    pub fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    #[inline]
    pub fn as_millis(self) -> i64 {
        self.0
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $min:literal, $max:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Text);

        impl $name {
            /// The fewest bytes it may have.
            pub const MIN_LEN: usize = $min;
            /// The most bytes its length field can tell.
            pub const MAX_LEN: usize = $max;

            /// An id of this text.
            ///
            /// # Errors
            /// When it has fewer or more bytes than the wire allows.
            pub fn new(text: impl Into<String>) -> Result<Self, ValueError> {
                let text = text.into();
                if text.len() < Self::MIN_LEN {
                    return Err(ValueError::Empty { value: $what });
                }
                check_len($what, text.len(), Self::MAX_LEN)?;
                Ok(Self(Text::from_string(text)))
            }

            /// The text.
            #[inline]
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }

            /// The text's bytes, as they are on the wire.
            #[inline]
            pub fn as_bytes(&self) -> &[u8] {
                self.0.as_bytes()
            }

            /// A copy of its own, which does not keep a receive buffer alive.
            #[must_use]
            pub fn to_detached(&self) -> Self {
                Self(self.0.to_detached())
            }

            /// Wraps text whose length was checked.
            #[inline]
            pub(crate) fn from_text(text: Text) -> Self {
                Self(text)
            }
        }
    };
}

text_id!(
    /// Names a session. Made by the server; whoever knows it can continue the session, so its `Debug` and `Display`
    /// forms are masked.
    SessionId, "session id", 1, 255
);
text_id!(
    /// Names a query. Made by the client; an opaque string to the server.
    CorrelationId, "correlation id", 1, 65_535
);
text_id!(
    /// Names a member of the cluster. May be empty on the wire.
    MemberId, "member id", 0, 65_535
);

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(***)")
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

macro_rules! shown {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.as_str()).finish()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.as_str().to_owned()
            }
        }

        impl From<&$name> for String {
            fn from(id: &$name) -> Self {
                id.as_str().to_owned()
            }
        }
    )*};
}

shown!(CorrelationId, MemberId);
