//! What is wrong with payloads that do not decode, and with keys and values that are not accepted.

/// Bytes that are no payload of the key-value store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The first byte stands for nothing that may come here.
    #[error("a payload of the key-value store does not begin with {0:#04x} here")]
    UnknownTag(u8),
    /// The payload ends before the field does, or the field's length runs past the end.
    #[error("the payload ends within {field}")]
    Truncated {
        /// The field.
        field: &'static str,
    },
    /// A length below zero.
    #[error("{field} has a negative length")]
    NegativeLength {
        /// The field.
        field: &'static str,
    },
    /// Text that is not UTF-8.
    #[error("{field} is not valid UTF-8")]
    InvalidUtf8 {
        /// The field.
        field: &'static str,
    },
}

/// A key or value that is not accepted. Nothing was built of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// There is no text.
    #[error("the {what} must not be empty")]
    Empty {
        /// "key" or "value".
        what: &'static str,
    },
    /// More bytes of UTF-8 than allowed.
    #[error("the {what} has {length} bytes, more than {limit}")]
    TooLong {
        /// "key" or "value".
        what: &'static str,
        /// Its length in bytes.
        length: usize,
        /// The most that is allowed, in bytes.
        limit: usize,
    },
}
