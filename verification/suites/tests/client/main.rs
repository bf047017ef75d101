//! The Rust client's suite on replicated members: the files of `crates/client/tests/client`, unchanged.
//!
//! | file | here |
//! | --- | --- |
//! | `endpoints`, `keep_alive`, `leadership`, `scenarios`, `stress`, `tls`, `update_members` | every test runs, on real members instead of the embedded cluster |
//! | `backpressure`, `cancellation`, `events`, `hostile_peers`, `long_transfers`, `public_api`, `server_requests`, `settings`, `stalls`, `timeouts` and `closing` | no test needs a cluster: a scripted peer plays the server, or there is none |
//! | `scenario_table` | reads the sources of the suite |
//!
//! `all_tests_that_use_a_cluster_are_here` compares the first row with the sources.

#![allow(clippy::unwrap_used, reason = "test helpers may unwrap as tests do")]

// The suite calls the embedded cluster by this name.
extern crate zraft_suites as zraft_test_server;

#[path = "../../../../crates/client/tests/client/endpoints.rs"]
mod endpoints;
#[path = "../../../../crates/client/tests/client/keep_alive.rs"]
mod keep_alive;
#[path = "../../../../crates/client/tests/client/leadership.rs"]
mod leadership;
#[path = "../../../../crates/client/tests/client/scenarios.rs"]
mod scenarios;
#[path = "../../../../crates/client/tests/client/stress.rs"]
mod stress;
#[allow(dead_code, reason = "the tests that are not here use the rest")]
#[path = "../../../../crates/client/tests/client/support/mod.rs"]
mod support;
mod table;
#[path = "../../../../crates/client/tests/client/tls.rs"]
mod tls;
#[path = "../../../../crates/client/tests/client/update_members.rs"]
mod update_members;
