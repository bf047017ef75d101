//! The ids and numbers of the protocol, each a separate type so that they cannot be mixed up.

use std::{fmt, num::NonZeroI64};

use crate::{
    ValueError,
    text::{Text, check_len},
};

/// The id of a command or of a server request within its session: 1, 2, 3 and so on. 0 means "none yet".
///
/// The wire carries it as a signed 64-bit number, so the largest id is 2^63 - 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RequestId(i64);

impl RequestId {
    /// The value that means "none yet".
    pub const ZERO: Self = Self(0);
    /// The first id of a session.
    pub const FIRST: Self = Self(1);

    /// Creates an id from its number.
    ///
    /// # Errors
    /// Returns [`ValueError::OutOfRange`] above 2^63 - 1, the limit of the wire's signed 64 bits.
    #[inline]
    pub fn new(id: u64) -> Result<Self, ValueError> {
        match i64::try_from(id) {
            Ok(id) => Ok(Self(id)),
            Err(_) => Err(ValueError::OutOfRange { value: "request id" }),
        }
    }

    /// Returns the number of this id.
    #[inline]
    pub fn get(self) -> u64 {
        self.0.unsigned_abs()
    }

    /// Returns the next id. The largest id returns itself; no session can reach it.
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

/// The random number that ties the answer of a session message to its request. Any 64-bit number except zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Nonce(NonZeroI64);

impl Nonce {
    /// Creates a nonce from its number.
    ///
    /// # Errors
    /// Returns [`ValueError::OutOfRange`] for zero.
    pub fn new(nonce: i64) -> Result<Self, ValueError> {
        NonZeroI64::new(nonce).map(Self).ok_or(ValueError::OutOfRange { value: "nonce" })
    }

    /// Returns the number of this nonce.
    pub fn get(self) -> i64 {
        self.0.get()
    }
}

/// A wall-clock time in milliseconds since the Unix epoch. It is informative: no protocol rule depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Creates a timestamp from milliseconds since the Unix epoch.
    #[inline]
    pub fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Returns the milliseconds since the Unix epoch.
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
            /// The smallest allowed length in bytes.
            pub const MIN_LEN: usize = $min;
            /// The greatest length in bytes that the length field on the wire can express.
            pub const MAX_LEN: usize = $max;

            /// Creates an id from its text.
            ///
            /// # Errors
            /// Returns [`ValueError::Empty`] or [`ValueError::TooLong`] if the text has fewer bytes than
            /// [`MIN_LEN`](Self::MIN_LEN) or more than [`MAX_LEN`](Self::MAX_LEN).
            pub fn new(text: impl Into<String>) -> Result<Self, ValueError> {
                let text = text.into();
                if text.len() < Self::MIN_LEN {
                    return Err(ValueError::Empty { value: $what });
                }
                check_len($what, text.len(), Self::MAX_LEN)?;
                Ok(Self(Text::from_string(text)))
            }

            /// Returns the id as text.
            #[inline]
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }

            /// Returns the UTF-8 bytes of the text, as they are on the wire.
            #[inline]
            pub fn as_bytes(&self) -> &[u8] {
                self.0.as_bytes()
            }

            /// Copies the text into a new allocation, so that the copy does not keep a receive buffer alive.
            #[must_use]
            pub fn to_detached(&self) -> Self {
                Self(self.0.to_detached())
            }

            /// Wraps a text whose length the caller has checked.
            #[inline]
            pub(crate) fn from_text(text: Text) -> Self {
                Self(text)
            }
        }
    };
}

text_id!(
    /// The text that names a session, chosen by the server. It is a bearer secret: whoever knows it can continue the
    /// session. `Debug` and `Display` therefore mask it.
    SessionId, "session id", 1, 255
);
text_id!(
    /// The text that names a query, chosen by the client. The server only copies it into the answer.
    CorrelationId, "correlation id", 1, 65_535
);
text_id!(
    /// The text that names a member of the cluster. It may be empty on the wire.
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
