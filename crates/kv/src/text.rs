//! Keys and values: text that shares the receive buffer's bytes.

use std::fmt;

use bytes::Bytes;

use crate::ValueError;

macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Bytes);

        impl $name {
            /// The greatest length in bytes of UTF-8 that [`new`](Self::new) accepts.
            pub const MAX_LEN: usize = $max;

            /// Creates it from a text.
            ///
            /// # Errors
            /// Returns [`ValueError::Empty`] for an empty text and [`ValueError::TooLong`] above
            /// [`MAX_LEN`](Self::MAX_LEN) bytes.
            pub fn new(text: impl Into<String>) -> Result<Self, ValueError> {
                let text = text.into();
                let length = text.len();
                match length {
                    0 => Err(ValueError::Empty { what: $what }),
                    1..=Self::MAX_LEN => Ok(Self(Bytes::from(text))),
                    _ => Err(ValueError::TooLong { what: $what, length, limit: Self::MAX_LEN }),
                }
            }

            /// Wraps received bytes. Returns `None` if they are not UTF-8. They may be empty, or longer than `new`
            /// accepts.
            pub(crate) fn from_wire(bytes: Bytes) -> Option<Self> {
                std::str::from_utf8(&bytes).is_ok().then_some(Self(bytes))
            }

            /// Returns the text.
            pub fn as_str(&self) -> &str {
                // Every constructor has checked that the bytes are UTF-8.
                std::str::from_utf8(&self.0).unwrap_or_default()
            }

            /// Returns the UTF-8 bytes of the text.
            pub fn as_bytes(&self) -> &Bytes {
                &self.0
            }

            /// Returns the length in bytes of UTF-8.
            pub fn len(&self) -> usize {
                self.0.len()
            }

            /// Returns true if the text is empty, which is possible only if it was decoded.
            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }

            /// Copies the text into a new allocation, so that the copy does not keep a receive buffer alive.
            #[must_use]
            pub fn to_detached(&self) -> Self {
                Self(Bytes::copy_from_slice(&self.0))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl TryFrom<&str> for $name {
            type Error = ValueError;

            fn try_from(text: &str) -> Result<Self, ValueError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = ValueError;

            fn try_from(text: String) -> Result<Self, ValueError> {
                Self::new(text)
            }
        }

        impl std::str::FromStr for $name {
            type Err = ValueError;

            fn from_str(text: &str) -> Result<Self, ValueError> {
                Self::new(text)
            }
        }
    };
}

text!(
    /// The name under which a value is stored: 1 to 256 bytes of UTF-8, the limit of ZIO Raft's command line programs.
    Key, "key", 256
);
text!(
    /// The text that is stored under a key: 1 byte to 1 MiB of UTF-8, the limit of ZIO Raft's command line programs.
    /// `Debug` shows only its length.
    Value, "value", 1024 * 1024
);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.as_str()).finish()
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({} bytes)", self.0.len())
    }
}
