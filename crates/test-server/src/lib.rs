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
//! | [`Application`] | choose what the cluster executes: [`KvStore`], [`AppendLog`], [`Echo`] or your own. The replicated server runs the same applications |
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
//! | sessions end | [`expire_session`](ClusterHandle::expire_session), [`forget_sessions`](ClusterHandle::forget_sessions), [`set_session_timeout`](ClusterHandle::set_session_timeout) |
//! | commands run twice | [`set_deduplication`](ClusterHandle::set_deduplication) |
//!
//! # How it differs from the replicated server
//!
//! The cluster runs the state machine of the replicated server, `zraft-session`, under the rules of the live system:
//!
//! | | live system, and this cluster | replicated server |
//! | --- | --- | --- |
//! | lowest pending id of a session | starts at 0 and rises to whatever a command says | starts at 1, at most the command's own id |
//! | a command that the application rejects without an answer | its connection is closed; its id is not used up | RequestError; its id is used up |
//! | a full cache of answers | closes the connection | makes commands wait |
//! | a session that holds too many server requests | loses the new one, and its connection is closed | ends |
//! | a copy of a command | takes an entry of the log | is answered from the cache |
//! | an unacknowledged server request | is sent again by its age | is sent again at a resume, too |
//! | expiry | counts from the last KeepAlive | counts from the last message |
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
// has an application for tests, `journal` records what members executed.

mod apps;
mod audit;
mod cluster;
mod engine;
mod journal;

pub use apps::AppendLog;
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
pub use zraft_session::applications::{Echo, KvStore};
pub use zraft_session::{
    AppSnapshot, Application, Capabilities, Command, Context, PushError, QueryContext, Random,
    Rejected, RestoreError, SessionEnd, SnapshotInput, SnapshotOutput, Time,
};
pub use zraft_zmtp::Instant;
