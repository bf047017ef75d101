//! Applications that come with the server. They are also examples of how to write one, from small to large.
//!
//! | application | shows |
//! | --- | --- |
//! | [`Echo`] | the least an application can be |
//! | [`AppendLog`] | a bounded state, a snapshot that streams, what was executed read back by a query |
//! | [`Bank`] | commands with an encoding and errors of their own, server requests, an invariant over the whole state |
//! | [`KvStore`] | subscriptions that end with their session, ticks, O(1) snapshots of several maps |

mod append_log;
pub mod bank;
mod echo;
mod kv_store;

pub use append_log::AppendLog;
pub use bank::Bank;
pub use echo::Echo;
pub use kv_store::KvStore;

/// Bytes that an application of this module holds at most, unless told otherwise: 1 GiB.
const DEFAULT_LIMIT: u64 = 1 << 30;
