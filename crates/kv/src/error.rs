//! Errors for payloads that do not decode and for keys and values outside the limits.

/// The reason why bytes are not a payload of the key-value store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The tag byte does not name a payload that is allowed here.
    #[error("a payload of the key-value store cannot begin with {0:#04x} here")]
    UnknownTag(u8),
    /// The payload ends before the end of this field.
    #[error("the payload ends within {field}")]
    Truncated {
        /// The name of the field, such as "the key".
        field: &'static str,
    },
    /// A length field is negative.
    #[error("{field} has a negative length")]
    NegativeLength {
        /// The name of the field, such as "the key".
        field: &'static str,
    },
    /// A text is not UTF-8.
    #[error("{field} is not valid UTF-8")]
    InvalidUtf8 {
        /// The name of the field, such as "the key".
        field: &'static str,
    },
}

/// The reason why a key or value cannot be built: it is outside the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// The text is empty.
    #[error("the {what} must not be empty")]
    Empty {
        /// The kind of text: "key" or "value".
        what: &'static str,
    },
    /// The text has more bytes of UTF-8 than the limit.
    #[error("the {what} has {length} bytes, the limit is {limit}")]
    TooLong {
        /// The kind of text: "key" or "value".
        what: &'static str,
        /// The length of the text in bytes.
        length: usize,
        /// The greatest allowed length in bytes.
        limit: usize,
    },
}
