//! Compares the client's heap allocations and bytes per request with `bench/results/budget.json`.

use std::collections::VecDeque;

use crate::support::{budget, serve};
use bytes::Bytes;
use zraft_client::{Answer, RaftClient};

/// Returns a runtime with one thread, so that allocations of the whole client are counted.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn connected(endpoint: &str, in_flight: usize) -> RaftClient {
    let client = RaftClient::builder()
        .member("peer", endpoint)
        .capability("kind", "bench")
        .max_in_flight(in_flight)
        .build()
        .unwrap();
    client.connect().await.unwrap();
    client
}

type Submit = fn(&RaftClient, Bytes) -> Answer;

/// Submits `count` requests, 64 at a time.
async fn requests(client: &RaftClient, submit: Submit, count: usize) {
    let payload = Bytes::from(vec![7; 64]);
    let mut answers = VecDeque::with_capacity(64);
    for _ in 0..count / 64 {
        answers.extend((0..64).map(|_| submit(client, payload.clone())));
        for answer in answers.drain(..) {
            assert!(!answer.await.unwrap().is_empty());
        }
    }
}

fn cost(name: &str, submit: Submit) {
    const COUNT: usize = 64_000;
    let (mut server, endpoint) = serve(&["peer", "--answer", "equal"]);
    let runtime = runtime();
    let client = runtime.block_on(connected(&endpoint, 64));
    runtime.block_on(requests(&client, submit, COUNT / 10));
    let counted =
        allocation_counter::measure(|| runtime.block_on(requests(&client, submit, COUNT)));
    let each = counted.count_total as f64 / COUNT as f64;
    let limit = budget()["allocations"][name].as_f64().unwrap();
    assert!(each <= limit, "{name}: {each} allocations each, {limit} allowed");
    runtime.block_on(client.disconnect());
    drop(server.stdin.take());
    server.wait().unwrap();
}

#[test]
fn allocations_per_command_are_within_the_budget() {
    cost("client.command", |client, payload| client.try_submit_command(payload).unwrap());
}

#[test]
fn allocations_per_query_are_within_the_budget() {
    cost("client.query", |client, payload| client.try_submit_query(payload).unwrap());
}

#[test]
fn bytes_per_request_in_flight_are_within_the_budget_and_are_freed() {
    const COUNT: usize = 50_000;
    let (mut server, endpoint) = serve(&["peer"]);
    let runtime = runtime();
    let client = runtime.block_on(connected(&endpoint, COUNT));
    let counted = allocation_counter::measure(|| {
        let payload = Bytes::from_static(&[7; 64]);
        let submit = |_| client.try_submit_command(payload.clone()).unwrap();
        let mut answers: Vec<Answer> = (0..COUNT).map(submit).collect();
        runtime.block_on(async {
            for answer in answers.drain(..) {
                answer.await.unwrap();
            }
        });
        drop(answers);
        // After this answer the driver sleeps and frees its buffers.
        runtime.block_on(client.ping()).unwrap();
    });
    let each = counted.bytes_max as f64 / COUNT as f64;
    let limit = budget()["bytes"]["client.inFlight"].as_f64().unwrap();
    assert!(each <= limit, "{each} bytes for each request, {limit} allowed");
    // The client keeps some buffers, whose size does not depend on the number of requests.
    assert!(counted.bytes_current < 4 << 20, "{} bytes are left", counted.bytes_current);
    runtime.block_on(client.disconnect());
    drop(server.stdin.take());
    server.wait().unwrap();
}
