//! The cluster on sockets: tasks that carry bytes between connections and the [`Engine`](crate::Engine).
//!
//! The modules form layers, and each uses only those below it:
//!
//! | module | what it holds |
//! | --- | --- |
//! | `builder` | the settings, and the start of all tasks |
//! | `test_cluster` | the running cluster, which stops when it is dropped |
//! | `handle` | the switches and observations |
//! | `listener`, `connection`, `timer` | the tasks: one per member, one per connection, one per cluster |
//! | `shared` | the engine behind its lock, and a slot per connection |
//! | `port` | a member's listening socket |
//! | `stream`, `incidents`, `stats`, `limits` | data and sockets that know nothing of the cluster |

mod builder;
mod connection;
mod handle;
mod incidents;
mod limits;
mod listener;
mod port;
mod shared;
mod stats;
mod stream;
mod test_cluster;
mod timer;

pub use builder::{ClusterBuilder, StartError};
pub use handle::ClusterHandle;
pub use incidents::Incidents;
pub use limits::TransportLimits;
pub use stats::{Stats, TransportStats};
pub use test_cluster::TestCluster;
