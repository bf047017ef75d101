//! A durable, replicated ZIO Raft server on tokio.
//!
//! A [`Server`] is one member of a cluster, as a program runs it. It keeps its log on disk, replicates it to the other
//! members, serves clients while it leads, and runs your own state machine: an
//! [`Application`](zraft_session::Application). Every ZIO Raft client works on it. [`LocalCluster`] runs several members in
//! one process, for tests and demonstrations. A [`Member`] is what both of them run.
//!
//! This crate opens sockets and files and decides nothing. [`zraft_replica::Replica`] decides everything, without I/O.
//!
//! # A program that runs your state machine
//!
//! ```no_run
//! use zraft_server::{Server, ServerConfig};
//! use zraft_session::applications::Bank;
//!
//! #[tokio::main]
//! async fn main() -> Result<std::process::ExitCode, Box<dyn std::error::Error>> {
//!     // What `zraft init` has made, and the variables ZRAFT_*.
//!     let config = ServerConfig::load("cluster/node-1")?;
//!     let server = Server::builder().application(Bank::new()).directory("cluster/node-1").config(config);
//!     // Until SIGTERM or Ctrl+C, with a hand-over at the end.
//!     let signal = server.run().await?;
//!     Ok(signal.exit_code())
//! }
//! ```
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
//! | connections at the admin port | 64, 10 s each | new ones are closed |
//!
//! A member logs by `tracing`. No line holds what a client sent: a session id is a secret. The driver's task emits events
//! too, so a subscriber should not wait for a slow reader.
//!
//! # TLS
//!
//! Without certificates, connections are neither encrypted nor authenticated: such a member belongs on loopback or in a
//! network that it shares with no one else. [`PeerTls`] gives the peer port mutual TLS, and [`ClientTls`] gives the client
//! port TLS, with client certificates if it has a CA for them. [`AdminTls`] gives the admin port TLS.

// From top to bottom; a module uses only modules below it.
//
// | idea | file |
// | --- | --- |
// | one member as a program runs it, signals | `server.rs`, `signals.rs` |
// | members in one process | `local_cluster.rs` |
// | one member, as its owner holds it; its certificates and tokens | `member.rs`, `member/secrets.rs` |
// | the ports that it listens on | `ports.rs` |
// | the task that drives the replica | `driver.rs` |
// | the admin port: HTTP, what it answers, what it lets through | `admin.rs`, `admin/` |
// | what an operator must look at | `alarms.rs` |
// | what the owner and the admin port ask of the driver | `handle.rs` |
// | the client port | `clients.rs`, `clients/connection.rs`, `clients/stream.rs`, `clients/mailbox.rs` |
// | the peer port, and the connections to other members | `peers.rs`, `peers/listener.rs`, `peers/dialer.rs`, `peers/wire.rs` |
// | TLS of the three ports: files, dates, reasons of failures | `tls.rs`, `tls/` |
// | tokens of operators and clients | `token.rs` |
// | the thread that reads certificates or tokens again | `reader.rs` |
// | the threads that block: store, snapshots, state machine | `workers.rs`, `workers/` |
// | the data directory, a new cluster | `directory.rs` |
// | a new cluster from a backup, or from the data of one member | `recover.rs` |
// | what a file, variables and flags configure | `options.rs`, `options/` |
// | what tasks and threads tell the driver | `inputs.rs` |
// | what a member remembers of its history | `history.rs` |
// | connections that it refuses | `refusals.rs` |
// | the lines of the log | `log.rs` |
// | state, figures, and why a member ended | `status.rs` |
// | settings and limits, clocks | `config.rs`, `clock.rs` |

mod admin;
mod alarms;
mod clients;
mod clock;
mod config;
mod directory;
mod driver;
mod events;
mod handle;
mod history;
mod inputs;
mod latency;
mod local_cluster;
mod log;
mod member;
mod options;
mod peers;
mod ports;
mod reader;
mod recover;
mod refusals;
mod server;
mod signals;
mod status;
mod tls;
mod token;
mod workers;

pub use admin::{Metric, metrics};
pub use alarms::Alarm;
pub use config::{
    AdminConfig, AdminTls, ClientEndpoint, ClientTls, FEATURE_LEVEL, MemberConfig, PeerTls,
    PortLimits,
};
pub use directory::{
    CreateError, Founding, NewMember, check_vacant, create_cluster, create_directory,
    create_joining, random_cluster_id,
};
pub use events::MemberEvent;
pub use local_cluster::{LocalCluster, LocalClusterError};
pub use member::{Member, StartError};
pub use options::{ConfigError, ConfigOption, LogFormat, LogLevel, ServerConfig, TlsFiles};
pub use reader::{Reload, ReloadStatus};
pub use recover::{Backup, BackupState, Forced, RecoverError, Recovered, check_backup, force_new};
pub use server::{RunError, Server, ServerBuilder};
pub use signals::{Signal, Signals};
pub use status::{Ended, Figures, Report, Status};
pub use tls::{
    CertificateStatus, CertificateValidity, Port, TlsError, TlsFailure, peer_certificate_name,
};
pub use token::{Token, TokenError, TokenFile};
/// What a member's configuration and status are made of.
pub use zraft_replica::{
    ChangeError, ChangeTicket, Configuration, Limits, MemberInfo, MembershipChange, PeerStatus,
    RaftId, Role, SnapshotFile, Space, StopReason, Timing,
};
pub use zraft_store::{ClusterId, CrashRecord, Identity, Incarnation, Reserve, StoreError};
