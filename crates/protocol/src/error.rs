//! Errors for frames that do not decode and for values that the wire cannot carry.

/// The reason why a frame is not a valid message.
///
/// It never contains bytes of the frame, because they may be secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The frame does not begin with [`SIGNATURE`](crate::SIGNATURE).
    #[error("the frame does not begin with the signature \"zraft\"")]
    BadSignature,
    /// The frame has a protocol version other than [`VERSION`](crate::VERSION).
    #[error("protocol version {0} is not supported, only version 1")]
    UnsupportedVersion(u8),
    /// The discriminator does not name a message in this direction.
    #[error("message type {0} is unknown in this direction")]
    UnknownMessage(u8),
    /// The frame ends before the end of this field.
    #[error("the frame ends within {field}")]
    Truncated {
        /// The name of the field, such as "the payload".
        field: &'static str,
    },
    /// A text field is not UTF-8.
    #[error("{field} is not valid UTF-8")]
    InvalidUtf8 {
        /// The name of the field, such as "the payload".
        field: &'static str,
    },
    /// A length field is negative. The wire's lengths are signed, as in Scala.
    #[error("{field} has a negative length")]
    NegativeLength {
        /// The name of the field, such as "the payload".
        field: &'static str,
    },
    /// A request id is negative.
    #[error("{field} is negative")]
    NegativeRequestId {
        /// The name of the field, such as "the payload".
        field: &'static str,
    },
    /// The nonce is zero, which the protocol forbids.
    #[error("the nonce is zero")]
    ZeroNonce,
    /// A session id or correlation id is empty.
    #[error("{field} is empty")]
    Empty {
        /// The name of the field, such as "the payload".
        field: &'static str,
    },
    /// A CreateSession has no capabilities; at least one is required.
    #[error("the session has no capabilities, at least one is required")]
    NoCapabilities,
    /// A reason code is not one of the protocol's.
    #[error("{field} {value} is unknown")]
    UnknownReason {
        /// The name of the reason's type, such as "rejection reason".
        field: &'static str,
        /// The unknown code.
        value: u8,
    },
}

/// The reason why a value cannot be built: the wire cannot carry it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// A value that must not be empty is empty.
    #[error("the {value} must not be empty")]
    Empty {
        /// What the value was meant to be, such as "session id".
        value: &'static str,
    },
    /// The value has more bytes than its length field can express.
    #[error("the {value} has {length} bytes, the limit is {limit}")]
    TooLong {
        /// What the value was meant to be, such as "session id".
        value: &'static str,
        /// The length of the value in bytes.
        length: usize,
        /// The greatest length that fits, in bytes.
        limit: usize,
    },
    /// There are more entries than the count field can express.
    #[error("there are {count} {value}, the limit is {limit}")]
    TooMany {
        /// What the entries were meant to be, such as "capabilities".
        value: &'static str,
        /// The number of entries.
        count: usize,
        /// The greatest number of entries that fits.
        limit: usize,
    },
    /// A number is outside the range of its type.
    #[error("the {value} is out of range")]
    OutOfRange {
        /// What the value was meant to be, such as "session id".
        value: &'static str,
    },
}
