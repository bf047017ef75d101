//! Encodes and decodes the messages of the ZIO Raft client-server protocol.
//!
//! Use this crate to build a client, a server or a tool that reads captured traffic. It converts between messages and
//! bytes and does nothing else: it has no socket, no clock and no session state.
//!
//! ```
//! use bytes::BytesMut;
//! use zraft_protocol::{ClientMessage, Payload, RequestId, Timestamp};
//!
//! let command = ClientMessage::ClientRequest {
//!     request_id: RequestId::new(7)?,
//!     lowest_pending_request_id: RequestId::new(5)?,
//!     payload: Payload::new("set x = 1")?,
//!     created_at: Timestamp::from_millis(1_700_000_000_000),
//! };
//!
//! let mut buffer = BytesMut::new();
//! command.encode(&mut buffer);
//! let frame = buffer.freeze();
//! assert_eq!(frame.len(), command.encoded_len());
//! assert!(frame.starts_with(b"zraft\x01\x04"));
//!
//! assert_eq!(ClientMessage::decode(&frame)?, command);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The format
//!
//! A message is a ZeroMQ message of exactly one frame: a five-byte signature, a version, a discriminator, and the
//! fields in order. All numbers are big-endian. There is no length prefix, because the frame has a length.
//!
//! # Guarantees
//!
//! - Decoding never copies a payload: the message shares the frame's bytes.
//! - Every value that can be built can be encoded. A value that the wire cannot carry is rejected with a [`ValueError`]
//!   when it is built.
//! - `Debug` output never shows a session id, a payload or the value of a capability.

mod decode;
pub mod encode;
mod error;
mod ids;
mod message;
mod peek;
mod reason;
pub mod reserved;
mod rng;
mod text;
mod value;

pub use decode::Answer;
pub use error::{DecodeError, ValueError};
pub use ids::{CorrelationId, MemberId, Nonce, RequestId, SessionId, Timestamp};
pub use message::{ClientMessage, ClientMessageKind, Field, ServerMessage, ServerMessageKind};
pub use peek::{PeekedId, peek_server};
pub use reason::{CloseReason, RejectionReason, RequestErrorReason, SessionCloseReason};
#[doc(hidden)]
pub use rng::SplitMix64;
pub use value::{Capabilities, Payload};

/// The signature: the first five bytes of every message.
pub const SIGNATURE: [u8; 5] = *b"zraft";
/// The protocol version, the sixth byte of every message. Version 1 is the only one.
pub const VERSION: u8 = 1;
/// Length in bytes of the header before the fields: signature, version and discriminator.
pub const HEADER_LEN: usize = 7;
/// Signature and version together, so that one comparison checks both.
pub(crate) const PREFIX: [u8; 6] = [b'z', b'r', b'a', b'f', b't', VERSION];
