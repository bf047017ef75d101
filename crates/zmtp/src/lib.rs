//! ZMTP 3.1 CLIENT and SERVER sockets without I/O.
//!
//! A [`Connection`] is given bytes and the time, and gives bytes, messages and events. It opens no socket and reads no
//! clock. It follows RFC 37 (ZMTP 3.1) with the NULL mechanism, and RFC 41 (CLIENT and SERVER): messages of one frame.

mod command;
mod config;
mod connection;
mod error;
mod event;
mod frame;
mod greeting;
mod time;
mod tx;

pub use config::{Config, Heartbeat, SocketType};
pub use connection::{Connection, Messages};
pub use error::{Error, NotReady};
pub use event::{Event, Peer};
pub use time::Instant;
pub use tx::TxBuffer;
