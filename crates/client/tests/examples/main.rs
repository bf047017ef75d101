//! Runs the examples. Each ends with an error, or panics, if what it shows does not hold.

#[path = "../../examples/batching.rs"]
mod batching;
#[path = "../../examples/errors.rs"]
mod errors;
#[path = "../../examples/own_application.rs"]
mod own_application;
#[path = "../../examples/prometheus.rs"]
mod prometheus;
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
