//! The answering peer is one that the client takes for a server.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use support::{next, serve, start};
use zraft_client::RaftClient;

fn client(endpoint: &str) -> RaftClient {
    // No PING while the bytes are counted.
    RaftClient::builder()
        .member("peer", endpoint)
        .capability("kind", "bench")
        .heartbeat_interval(Duration::from_secs(60))
        .heartbeat_timeout(Duration::from_secs(180))
        .build()
        .unwrap()
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.unwrap()
}

#[tokio::test]
async fn the_peer_opens_sessions_and_answers_commands_queries_and_keep_alives() {
    let (mut child, endpoint) = serve(&["peer"]);
    let clients = [client(&endpoint), client(&endpoint)];
    for client in &clients {
        within(client.connect()).await.unwrap();
        assert_eq!(within(client.submit_command("abc").into_future()).await.unwrap().len(), 0);
        assert_eq!(within(client.submit_query("abc").into_future()).await.unwrap().len(), 0);
        within(client.ping()).await.unwrap();
    }
    assert_ne!(clients[0].session_id(), clients[1].session_id());
    for client in &clients {
        within(client.disconnect()).await;
    }
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

#[tokio::test]
async fn answers_are_as_long_as_their_requests_when_asked_for() {
    let (mut child, endpoint) = serve(&["peer", "--answer", "equal"]);
    let client = client(&endpoint);
    within(client.connect()).await.unwrap();
    let (sent, received) = (client.stats().bytes_out, client.stats().bytes_in);
    for length in [1, 64, 300, 100_000] {
        within(client.submit_command(vec![1; length]).into_future()).await.unwrap();
        within(client.submit_query(vec![1; length]).into_future()).await.unwrap();
    }
    within(client.ping()).await.unwrap();
    assert_eq!(client.stats().bytes_out - sent, client.stats().bytes_in - received);
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn servers_end_with_their_input() {
    for arguments in [&["peer"][..], &["echo", "--kind", "zmtp"], &["echo", "--kind", "tcp"]] {
        let (mut child, endpoint) = serve(arguments);
        assert!(endpoint.starts_with("tcp://127.0.0.1:"));
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success(), "{arguments:?}");
    }
}

#[tokio::test]
async fn the_peer_tells_how_far_apart_keep_alives_came_and_of_a_session_that_sent_none() {
    let (mut child, mut said) = start(&["peer", "--keep-alives"]);
    let endpoint = next(&mut said)["endpoint"].as_str().unwrap().to_owned();
    let client = client(&endpoint);
    within(client.connect()).await.unwrap();
    within(client.disconnect()).await;
    drop(child.stdin.take());
    let told = next(&mut said);
    assert_eq!(told["keep_alives"], 1, "{told}");
    assert!(told["gap_most"].as_f64().unwrap() > 0.0, "{told}");
    assert!(child.wait().unwrap().success());
}
