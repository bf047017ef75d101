//! Messages of the ZIO Raft client-server protocol and their bytes.
//!
//! One message is one ZeroMQ message of one frame: a signature of five bytes, a version, a discriminator, and the
//! fields in order, everything big-endian. There is no length prefix; the frame gives it. This crate knows bytes and
//! nothing else: no socket, no clock, no session.
//!
//! Decoding shares the frame's bytes and never copies a payload. Whatever can be built can be encoded: a value that the
//! wire cannot carry is refused when it is made.

mod decode;
pub mod encode;
mod error;
mod ids;
mod kind;
mod message;
mod peek;
mod reason;
mod text;
mod value;

pub use decode::Answer;
pub use error::{DecodeError, ValueError};
pub use ids::{CorrelationId, MemberId, Nonce, RequestId, SessionId, Timestamp};
pub use kind::{ClientMessageKind, ServerMessageKind};
pub use message::{ClientMessage, ServerMessage};
pub use peek::{PeekedId, peek_server};
pub use reason::{CloseReason, RejectionReason, RequestErrorReason, SessionCloseReason};
pub use value::{Capabilities, Payload};

/// The first five bytes of every message.
pub const SIGNATURE: [u8; 5] = *b"zraft";
/// The version of the protocol, in the sixth byte.
pub const VERSION: u8 = 1;
/// Bytes before the fields: signature, version, discriminator.
pub const HEADER_LEN: usize = 7;
/// Signature and version.
pub(crate) const PREFIX: [u8; 6] = [b'z', b'r', b'a', b'f', b't', VERSION];
