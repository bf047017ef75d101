//! An embedded ZIO Raft cluster to test clients against: one or more members in this process, each on a loopback port,
//! with faults that a test can switch on.
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
//! | type | use it to |
//! | --- | --- |
//! | [`TestCluster`] | start and stop a cluster on sockets |
//! | [`ClusterHandle`] | control and observe a running cluster |
//! | [`Engine`] | simulate a cluster: its rules without sockets, clock and randomness |
//! | [`Application`] | choose what the cluster executes: [`KvStore`], [`AppendLog`], [`Echo`] or your own |
//! | [`Audit`] | compare the outcomes that callers were given with what the cluster executed |
//!
//! # Faults
//!
//! | fault | methods of [`ClusterHandle`] |
//! | --- | --- |
//! | a member ends, and starts again | [`stop`](ClusterHandle::stop), [`kill`](ClusterHandle::kill), [`restart`](ClusterHandle::restart) |
//! | leadership moves | [`step_down`](ClusterHandle::step_down), [`move_leadership`](ClusterHandle::move_leadership), [`set_election_pause`](ClusterHandle::set_election_pause) |
//! | a member is cut off, frozen, deaf or wrong | [`set_stale_leader`](ClusterHandle::set_stale_leader), [`set_frozen`](ClusterHandle::set_frozen), [`set_deaf`](ClusterHandle::set_deaf), [`set_stale_session_map`](ClusterHandle::set_stale_session_map), [`set_hints`](ClusterHandle::set_hints) |
//! | the network fails | [`cut_connections`](ClusterHandle::cut_connections), [`drop_messages`](ClusterHandle::drop_messages), [`deliver_all`](ClusterHandle::deliver_all) |
//! | the cluster is slow | [`set_commit_delay`](ClusterHandle::set_commit_delay), [`set_commits_per_second`](ClusterHandle::set_commits_per_second) |
//! | sessions end | [`expire_session`](ClusterHandle::expire_session), [`set_session_timeout`](ClusterHandle::set_session_timeout) |
//! | commands run twice | [`set_deduplication`](ClusterHandle::set_deduplication) |
//!
//! # How it differs from the live system
//!
//! The cluster follows the live system in what is odd about it: it does not close the connection of a dropped peer but
//! sends nothing on it, a follower answers one message of a connection and ignores the rest, and an expiry is announced
//! before it is committed. In two respects it is better, so that no peer can stop it: it closes a connection whose input
//! does not decode, and one that reaches a limit. [`ClusterHandle::stats`] counts both, and [`ClusterHandle::incidents`]
//! reports them.
//!
//! The cluster keeps everything in memory and does not authenticate clients. It is for tests, and binds a loopback
//! address by default.

// `engine` holds the rules of a cluster without I/O, so that a simulation can run it under a virtual clock. `cluster` puts
// sockets around it, adds the peers' addresses to the engine's incidents, and hands these out as a bounded stream. `apps`
// are the applications, `journal` records what members executed.

mod application;
mod apps;
mod audit;
mod cluster;
mod engine;
mod journal;

pub use application::{Application, Outcome, Rejected};
pub use apps::{AppendLog, Echo, KvStore};
pub use audit::{Audit, Findings};
pub use cluster::{
    ClusterBuilder, ClusterHandle, Incidents, StartError, Stats, TestCluster, TransportLimits,
    TransportStats,
};
pub use engine::{
    CloseHow, ClosedFor, Engine, EngineConfig, EngineStats, Hints, Incident, KillLoss, Limits,
    Listening, MemberIndex, MessageClass, Output, PeerId, SessionView, SwitchError,
};
pub use journal::{Execution, Journal};
pub use zraft_protocol::{Payload, SessionId};
pub use zraft_zmtp::Instant;
