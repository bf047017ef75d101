//! Implements ZMTP 3.1, the wire protocol of ZeroMQ, for CLIENT and SERVER sockets, without I/O.
//!
//! A [`Connection`] takes received bytes and the time, and gives bytes to write, messages and events. It opens no
//! socket and reads no clock, so it works with any runtime and can be tested in virtual time. It follows RFC 37 (ZMTP
//! 3.1) with the NULL mechanism, and RFC 41 (CLIENT and SERVER), in which every message has one frame.
//!
//! This example connects two endpoints in memory, completes the handshake and sends a message:
//!
//! ```
//! use bytes::Buf;
//! use zraft_zmtp::{Config, Connection, Event, Instant, SocketType};
//!
//! /// Plays the network: moves all bytes that wait at `from` to `to`.
//! fn transfer(from: &mut Connection, to: &mut Connection, now: Instant) {
//!     while from.tx().has_remaining() {
//!         let chunk = from.tx().chunk().to_vec();
//!         to.handle_bytes(now, &chunk);
//!         from.tx().advance(chunk.len());
//!     }
//! }
//!
//! let now = Instant::ZERO;
//! let mut client = Connection::new(Config::client(), now);
//! let mut server = Connection::new(Config::server(), now);
//!
//! // Each side has queued its greeting and its READY.
//! transfer(&mut client, &mut server, now);
//! transfer(&mut server, &mut client, now);
//!
//! // Reading them completes the handshake.
//! let Some(Event::Ready(peer)) = client.poll_event(now) else { panic!("not ready") };
//! assert_eq!(peer.socket_type, SocketType::Server);
//! assert!(matches!(server.poll_event(now), Some(Event::Ready(_))));
//!
//! client.send(b"hello")?;
//! transfer(&mut client, &mut server, now);
//! assert_eq!(server.poll_event(now), Some(Event::Message("hello".into())));
//!
//! // Without traffic, the client's next task is a PING after one second.
//! assert_eq!(client.poll_timeout(), Some(Instant::from_nanos(1_000_000_000)));
//! # Ok::<(), zraft_zmtp::NotReady>(())
//! ```

mod command;
mod config;
mod connection;
mod error;
mod event;
mod frame;
mod greeting;
#[doc(hidden)]
pub mod memory;
mod time;
mod tx;

pub use config::{Config, DEFAULT_MAX_FRAME, FRAME_ALLOWANCE, Heartbeat, SocketType};
pub use connection::{Connection, Messages};
pub use error::{Error, NotReady};
pub use event::{Event, Peer};
pub use time::Instant;
pub use tx::TxBuffer;
