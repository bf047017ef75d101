//! Checks that the client accepts the answering peer as a server.

use std::time::Duration;

use crate::support::{next, serve, start};
use zraft_client::RaftClient;

fn client(endpoint: &str) -> RaftClient {
    // Send no PING while the test counts bytes.
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
async fn peer_opens_sessions_and_answers_commands_queries_and_keep_alives() {
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
async fn answers_can_be_as_long_as_their_requests() {
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
fn servers_end_with_their_standard_input() {
    for arguments in [&["peer"][..], &["echo", "--kind", "zmtp"], &["echo", "--kind", "tcp"]] {
        let (mut child, endpoint) = serve(arguments);
        assert!(endpoint.starts_with("tcp://127.0.0.1:"));
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success(), "{arguments:?}");
    }
}

#[tokio::test]
async fn peer_prints_the_times_between_keep_alives_even_of_a_session_without_any() {
    let (mut child, mut output) = start(&["peer", "--keep-alives"]);
    let endpoint = next(&mut output)["endpoint"].as_str().unwrap().to_owned();
    let client = client(&endpoint);
    within(client.connect()).await.unwrap();
    within(client.disconnect()).await;
    drop(child.stdin.take());
    let printed = next(&mut output);
    assert_eq!(printed["keep_alives"], 1, "{printed}");
    assert!(printed["gap_most"].as_f64().unwrap() > 0.0, "{printed}");
    assert!(child.wait().unwrap().success());
}
