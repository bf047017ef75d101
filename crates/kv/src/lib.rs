//! Encodes and decodes the payloads of the ZIO Raft key-value store. With the feature `client` it adds a typed client.
//!
//! The key-value store is the application that ZIO Raft ships. Keys and values are text, and a session can watch keys.
//!
//! | payload | carried by | answer |
//! | --- | --- | --- |
//! | [`Command`] | a command | an empty payload |
//! | [`Query`] | a query | [`GetResult`] |
//! | [`Notification`] | a server request | an acknowledgement |
//!
//! Send a live server only payloads that this crate encoded: after a payload that it cannot decode, the server stops
//! answering permanently. [`Key::new`] and [`Value::new`] enforce the limits of ZIO Raft's own command line programs.
//! Decoding accepts any text, because other clients may have written it.
//!
//! ```
//! use zraft_kv::{Command, Key, Value};
//!
//! let command = Command::Set { key: Key::new("colour")?, value: Value::new("green")? };
//! let payload = command.encode();
//! assert_eq!(Command::decode(&payload)?, command);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

// | idea | file |
// | --- | --- |
// | keys and values, with their limits | `text.rs` |
// | the payloads | `payload.rs` |
// | encoding and decoding | `codec.rs` |
// | errors | `error.rs` |
// | the typed client | `client.rs`, `watch.rs` |

#[cfg(feature = "client")]
mod client;
mod codec;
mod error;
mod payload;
mod text;
#[cfg(feature = "client")]
mod watch;

#[cfg(feature = "client")]
pub use client::{Error, KvClient, StoreCodec};
pub use error::{DecodeError, ValueError};
pub use payload::{Command, GetResult, Notification, Query};
pub use text::{Key, Value};
#[cfg(feature = "client")]
pub use watch::{Change, Watch};
