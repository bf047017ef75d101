//! Keys and values: text that shares the bytes it was received in.

use std::fmt;

use bytes::Bytes;

use crate::ValueError;

macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Bytes);

        impl $name {
            /// The most bytes of UTF-8 that [`new`](Self::new) accepts.
            pub const MAX_LEN: usize = $max;

            /// Takes the text over.
            ///
            /// # Errors
            /// When it is empty or has more than [`MAX_LEN`](Self::MAX_LEN) bytes.
            pub fn new(text: impl Into<String>) -> Result<Self, ValueError> {
                let text = text.into();
                let length = text.len();
                match length {
                    0 => Err(ValueError::Empty { what: $what }),
                    1..=Self::MAX_LEN => Ok(Self(Bytes::from(text))),
                    _ => Err(ValueError::TooLong { what: $what, length, limit: Self::MAX_LEN }),
                }
            }

            /// `None` when the bytes are not UTF-8. They may be none, or more than `new` accepts.
            pub(crate) fn from_wire(bytes: Bytes) -> Option<Self> {
                std::str::from_utf8(&bytes).is_ok().then_some(Self(bytes))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                // Every way to make one has checked this.
                std::str::from_utf8(&self.0).unwrap_or_default()
            }

            /// The text's UTF-8.
            pub fn as_bytes(&self) -> &Bytes {
                &self.0
            }

            /// The length in bytes of UTF-8.
            pub fn len(&self) -> usize {
                self.0.len()
            }

            /// Whether there is no text: possible in what was decoded only.
            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }

            /// A copy of its own, which does not keep a receive buffer alive.
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
    /// What a value is stored under: 1 to 256 bytes of UTF-8.
    Key, "key", 256
);
text!(
    /// What is stored: 1 byte to 1 MiB of UTF-8. `Debug` shows its length only.
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
