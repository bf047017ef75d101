//! Applications that come with the server. They are also examples of how to write one, from small to large.
//!
//! | application | shows |
//! | --- | --- |
//! | [`Echo`] | the least an application can be |
//! | [`AppendLog`] | a bounded state, a snapshot that streams, a query that reads back the executed commands |
//! | [`Bank`] | commands with their own encoding and errors, server requests, an invariant over the whole state |
//! | [`KvStore`] | subscriptions that end with their session, ticks, O(1) snapshots of several maps |

mod append_log;
pub mod bank;
mod echo;
mod kv_store;

pub use append_log::AppendLog;
pub use bank::Bank;
pub use echo::Echo;
pub use kv_store::KvStore;

/// The reason of a rejection: bytes that the application has no meaning for.
const UNDECODABLE: &str = "the application cannot decode this payload";
/// The reason of a rejection: the application's limit on bytes.
const FULL: &str = "the application is full";
/// The default limit on the bytes that an application of this module holds: 1 GiB, which leaves room for a snapshot's copies
/// on a usual server.
const DEFAULT_LIMIT: u64 = 1 << 30;
