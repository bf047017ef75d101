//! Runs the examples. Each ends with an error, or panics, if what it shows does not hold.

use zraft_test_server::{KvStore, TestCluster};

#[path = "../../examples/batching.rs"]
mod batching;
#[path = "../../examples/errors.rs"]
mod errors;
#[path = "../../examples/own_application.rs"]
mod own_application;
#[path = "../../examples/prometheus.rs"]
mod prometheus;
#[path = "../../examples/quickstart.rs"]
#[allow(dead_code, reason = "its main() expects a server at a fixed port")]
mod quickstart;
#[path = "../../examples/server_requests.rs"]
mod server_requests;
#[path = "../../examples/shutdown.rs"]
mod shutdown;
#[path = "../../examples/tracing_json.rs"]
mod tracing_json;

#[test]
fn batching_loads_every_entry() {
    batching::main().unwrap();
}

#[test]
fn errors_are_handled_and_the_command_runs_once() {
    errors::main().unwrap();
}

#[test]
fn own_application_counts_right_although_its_leader_is_killed() {
    own_application::main().unwrap();
}

#[test]
fn prometheus_gets_the_metrics() {
    prometheus::main().unwrap();
}

#[tokio::test]
async fn quickstart_stores_a_value() {
    let cluster = TestCluster::builder().app(KvStore::default()).start().await.unwrap();
    let endpoints = cluster.endpoints();
    quickstart::run(endpoints.values().next().unwrap()).await.unwrap();
    assert_eq!(cluster.executed().0, 1);
    cluster.shutdown().await;
}

#[test]
fn server_requests_are_handled() {
    server_requests::main().unwrap();
}

#[test]
fn shutdown_closes_the_session() {
    shutdown::main().unwrap();
}

#[test]
fn tracing_writes_json() {
    tracing_json::main().unwrap();
}
