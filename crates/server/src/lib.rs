//! A durable, replicated ZIO Raft server on tokio.
//!
//! A [`Member`] is one server of a cluster. It keeps its log on disk, replicates it to the other members, serves clients
//! while it leads, and runs your own state machine: an [`Application`](zraft_session::Application). Every ZIO Raft client
//! works on it. [`LocalCluster`] runs several members in one process, for tests and demonstrations.
//!
//! This crate opens sockets and files and decides nothing. [`zraft_replica::Replica`] decides everything, without I/O.
//!
//! # A cluster in this process
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use zraft_client::RaftClient;
//! use zraft_server::LocalCluster;
//! use zraft_session::applications::AppendLog;
//!
//! let cluster = LocalCluster::start(3, AppendLog::new).await?;
//! let mut builder = RaftClient::builder().capability("client", "example");
//! for (member, endpoint) in cluster.endpoints() {
//!     builder = builder.member(member.as_str(), endpoint);
//! }
//! let client = builder.build()?;
//! client.connect().await?;
//! let position = client.submit_command("hello").await?;
//! assert_eq!(position, 0_u64.to_be_bytes()[..]);
//! client.disconnect().await;
//! cluster.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Limits
//!
//! | what | limit | beyond it |
//! | --- | --- | --- |
//! | bytes queued for a client | [`PortLimits::client_queue`] | the connection is closed; the client resumes its session |
//! | bytes queued for a member | [`PortLimits::peer_queue`] | messages are dropped; Raft sends again what matters |
//! | connections | [`PortLimits::client_connections`], [`PortLimits::peer_handshakes`] | new ones are closed |
//! | handshakes | [`PortLimits::handshake`] | the connection is closed |
//!
//! Connections are neither encrypted nor authenticated yet, so a member belongs on loopback or in a network that it
//! shares with no one else.

// From top to bottom; a module uses only modules below it.
//
// | idea | file |
// | --- | --- |
// | members in one process | `local_cluster.rs` |
// | one member, as its owner holds it | `member.rs` |
// | the task that drives the replica | `driver.rs` |
// | the client port | `clients.rs`, `clients/connection.rs`, `clients/mailbox.rs` |
// | the peer port, and the connections to other members | `peers.rs`, `peers/listener.rs`, `peers/dialer.rs`, `peers/wire.rs` |
// | the threads that block: store, snapshots, state machine | `workers.rs`, `workers/` |
// | the data directory | `directory.rs` |
// | what tasks and threads tell the driver | `inputs.rs` |
// | state, figures, and why a member ended | `status.rs` |
// | settings and limits, clocks | `config.rs`, `clock.rs` |

mod clients;
mod clock;
mod config;
mod directory;
mod driver;
mod inputs;
mod local_cluster;
mod member;
mod peers;
mod status;
mod workers;

pub use config::{FEATURE_LEVEL, MemberConfig, PortLimits};
pub use directory::{Founding, create_directory};
pub use local_cluster::{LocalCluster, LocalClusterError};
pub use member::{Member, StartError};
pub use status::{Ended, Figures, Status};
/// What a member's configuration and status are made of.
pub use zraft_replica::{
    ChangeError, ChangeTicket, Configuration, Limits, MemberInfo, MembershipChange, RaftId, Role,
    StopReason, Timing,
};
pub use zraft_store::{ClusterId, Identity, Incarnation, Reserve, StoreError};
