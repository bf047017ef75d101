//! Runs the suites of the Rust client and of the Node package on replicated members.
//!
//! The suites were written for the embedded cluster. [`TestCluster`] has those of its methods that they use, under the same
//! names, and runs real members: [`LocalCluster`](zraft_server::LocalCluster), with their files in a temporary folder and
//! their ports on loopback. So a test runs on both unchanged.
//!
//! | a test | here |
//! | --- | --- |
//! | ends and starts members, moves leadership | is done by the members themselves |
//! | drops messages, cuts connections, sends wrong hints, makes a member deaf or slow | is done before the client port, by a proxy that reads ZMTP frames |
//! | reads what was executed, and which sessions exist | is noted by the application as it applies the log |
//! | expires a session, makes a server request | is done by the application, at the command of a session of the cluster's own |
//!
//! Some settings have no effect, because a real server decides for itself: what a killed member loses, how long an election
//! takes, when a session's expiry is checked and server requests are sent again.
//!
//! The tests are in `tests/client`. The program of this crate gives the same cluster to the Node package's suite.

// From top to bottom; a module uses only modules below it.
//
// | idea | file |
// | --- | --- |
// | one request of the Node suite by name | `switches.rs` |
// | settings | `builder.rs` |
// | the cluster | `cluster.rs` |
// | the proxies before the client ports | `doors.rs`, `doors/carry.rs` |
// | the application around the application of the test | `application.rs` |
// | what was executed | `record.rs` |

mod application;
mod builder;
mod cluster;
mod doors;
mod record;
pub mod switches;

pub use builder::{ClusterBuilder, StartError};
pub use cluster::{ClusterHandle, TestCluster};
pub use record::{Execution, SessionView, View};
pub use zraft_test_server::{
    AppendLog, Application, Echo, Hints, KillLoss, KvStore, MessageClass, SwitchError,
};
