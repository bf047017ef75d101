//! An embedded ZIO Raft server to test clients against: one member or several, in this process, each
//! on its own loopback port, with faults to switch on.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use zraft_test_server::{AppendLog, KillLoss, TestCluster};
//!
//! let cluster = TestCluster::builder().members(3).app(AppendLog::new()).start().await?;
//! let endpoints = cluster.endpoints(); // node-1 => tcp://127.0.0.1:port, …
//! // … connect a client, send commands …
//! cluster.journal_reached(100).await;
//! let leader = cluster.leader_elected().await;
//! cluster.kill(leader.as_str(), KillLoss::Unanswered).await?;
//! cluster.leader_elected().await;
//! cluster.restart(leader.as_str()).await?;
//! let executed = cluster.journal(); // position, session, request id, payload, member
//! cluster.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! - [`TestCluster`] is the cluster on sockets, [`ClusterHandle`] its switches and windows: `stop`,
//!   `kill`, `restart`, `step_down`, `move_leadership`, `set_election_pause`, `set_stale_leader`,
//!   `set_frozen`, `set_deaf`, `set_stale_session_map`, `set_commit_delay`,
//!   `set_commits_per_second`, `set_session_timeout`, `cut_connections`, `drop_messages`,
//!   `deliver_all`, `expire_session`, `set_hints`, `set_deduplication`, `push_server_request`.
//! - [`Engine`] holds the rules alone, without sockets, clock or randomness of its own, for
//!   simulations.
//! - [`Application`] is what a cluster runs: [`KvStore`], [`AppendLog`], [`Echo`], or your own.
//!
//! It behaves as the live system does, down to what is odd about it: a peer that it drops is not
//! closed but falls silent, a follower answers once and no more, an expired session is announced
//! before it is gone. Two things it does better, so that nothing a peer sends can stop it: input that
//! does not decode, and a limit that is hit, close that one connection. They are counted in
//! [`ClusterHandle::stats`] and reported by [`ClusterHandle::incidents`].
//!
//! It keeps everything in memory and asks nobody who they are: it is for tests, and binds a loopback
//! address unless told otherwise.

mod application;
mod apps;
mod cluster;
mod engine;
mod journal;

pub use application::{Application, Outcome, Rejected};
pub use apps::{AppendLog, Echo, KvStore};
pub use cluster::{
    ClusterBuilder, ClusterHandle, Incidents, StartError, Stats, TestCluster, TransportLimits,
    TransportStats,
};
pub use engine::{
    CloseHow, ClosedFor, Engine, EngineConfig, EngineStats, Hints, Incident, KillLoss, Limits,
    Listening, MemberIndex, MessageClass, Output, PeerId, SessionView, SwitchError,
};
pub use journal::{Execution, Journal};
