//! The payloads of the ZIO Raft key-value store, and, with the feature `client`, a typed client.
//!
//! The store is the application that the live system ships: keys and values are text, and a session can watch keys. A
//! [`Command`] travels as a command's payload and is answered by an empty one, a [`Query`] travels as a query's and is
//! answered by a [`GetResult`], and a [`Notification`] comes as a server request.
//!
//! The live server falls silent for good when it meets a payload that does not decode, so nothing should be sent to it
//! that was not encoded here. [`Key::new`] and [`Value::new`] hold to the limits that the live command lines have; decoding
//! takes any text, since others may have written it.

// | idea | file |
// | --- | --- |
// | keys and values, with their limits | `text.rs` |
// | the payloads | `payload.rs` |
// | bytes to payloads and back | `codec.rs` |
// | what can be wrong | `error.rs` |
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
pub use client::{Error, KvClient};
pub use error::{DecodeError, ValueError};
pub use payload::{Command, GetResult, Notification, Query};
pub use text::{Key, Value};
#[cfg(feature = "client")]
pub use watch::{Change, Watch};
