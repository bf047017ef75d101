//! The applications that come with the cluster.

mod append_log;
mod echo;
mod kv_store;

pub use append_log::AppendLog;
pub use echo::Echo;
pub use kv_store::KvStore;
