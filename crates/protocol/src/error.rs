//! What is wrong with bytes that do not decode, and with values that cannot be sent.

/// A frame that is no message of this protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The frame does not begin with "zraft".
    #[error("the signature is not \"zraft\"")]
    BadSignature,
    /// A version that this crate does not speak.
    #[error("protocol version {0} is not supported")]
    UnsupportedVersion(u8),
    /// A discriminator that is no message in this direction.
    #[error("message type {0} is unknown in this direction")]
    UnknownMessage(u8),
    /// The frame ends before the field does.
    #[error("the frame ends within {field}")]
    Truncated {
        /// The field.
        field: &'static str,
    },
    /// Text that is not UTF-8.
    #[error("{field} is not valid UTF-8")]
    InvalidUtf8 {
        /// The field.
        field: &'static str,
    },
    /// A length below zero.
    #[error("{field} has a negative length")]
    NegativeLength {
        /// The field.
        field: &'static str,
    },
    /// A request id below zero.
    #[error("{field} is negative")]
    NegativeRequestId {
        /// The field.
        field: &'static str,
    },
    /// A nonce of zero.
    #[error("the nonce is zero")]
    ZeroNonce,
    /// An id without text.
    #[error("{field} is empty")]
    Empty {
        /// The field.
        field: &'static str,
    },
    /// A session without capabilities.
    #[error("there are no capabilities")]
    NoCapabilities,
    /// A reason that the protocol does not know.
    #[error("{field} {value} is unknown")]
    UnknownReason {
        /// The field.
        field: &'static str,
        /// The byte.
        value: u8,
    },
}

/// A value that the wire cannot carry. Nothing was built of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// An id that must have text has none.
    #[error("{value}: must not be empty")]
    Empty {
        /// What it was to be.
        value: &'static str,
    },
    /// More bytes than its length field can tell.
    #[error("{value}: {length} bytes are more than {limit}")]
    TooLong {
        /// What it was to be.
        value: &'static str,
        /// Its length in bytes.
        length: usize,
        /// The most that fits, in bytes.
        limit: usize,
    },
    /// More entries than their count can tell.
    #[error("{value}: {count} entries are more than {limit}")]
    TooMany {
        /// What they were to be.
        value: &'static str,
        /// How many they are.
        count: usize,
        /// The most that fit.
        limit: usize,
    },
    /// A number outside the range of its type.
    #[error("{value}: out of range")]
    OutOfRange {
        /// What it was to be.
        value: &'static str,
    },
}
