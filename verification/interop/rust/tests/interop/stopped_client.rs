//! Stops and continues the client's own process: it must find its answers, not time out.

use std::time::Duration;

use tokio::process::Command;
use zraft_interop::{Library, Peer};
use zraft_test_server::{AppendLog, TestCluster};

async fn client(cluster: &TestCluster) -> Peer {
    client_of(&cluster.endpoints().into_values().next().unwrap()).await
}

async fn client_of(endpoint: &str) -> Peer {
    let mut client = Peer::start(&mut Command::new(env!("CARGO_BIN_EXE_steered-client")));
    client.write(&format!("connect {endpoint}")).await;
    client.report("connected false").await;
    client
}

#[tokio::test]
async fn client_stopped_past_its_deadline_finds_its_answer() {
    let cluster = TestCluster::builder().app(AppendLog::default()).start().await.unwrap();
    // The cluster answers while the client is stopped.
    cluster.set_commit_delay(Duration::from_millis(300));
    let mut client = client(&cluster).await;
    client.write("command hello").await;
    client.report("submitted").await;
    cluster.wait_for(|engine| engine.stats().messages_received > 1).await;
    client.freeze();
    cluster.journal_reached(1).await;
    // Longer than the request timeout, 2 s, and than the heartbeat timeout, 1 s.
    tokio::time::timeout(Duration::from_secs(4), std::future::pending::<()>()).await.unwrap_err();
    client.thaw();
    client.report("answer 8").await;
    cluster.shutdown().await;
}

#[tokio::test]
async fn client_stopped_while_its_connection_is_cut_resumes_its_session() {
    let cluster = TestCluster::builder().app(AppendLog::default()).start().await.unwrap();
    let mut client = client(&cluster).await;
    client.freeze();
    cluster.cut_connections(None).await.unwrap();
    client.thaw();
    client.report("disconnected connectionLost").await;
    client.report("connected true").await;
    client.write("command again").await;
    client.report("answer 8").await;
    cluster.shutdown().await;
}

#[tokio::test]
async fn client_stopped_past_its_deadline_finds_the_answer_of_another_server() {
    for library in Library::ready() {
        let (mut peer, port) = Peer::server(library, None).await;
        let mut client = client_of(&format!("tcp://127.0.0.1:{port}")).await;
        peer.tell("hold").await;
        client.write("command hello").await;
        peer.report("held 1").await;
        client.freeze();
        peer.tell("release").await;
        // Longer than the request timeout, 2 s, and than the heartbeat timeout, 1 s.
        tokio::time::sleep(Duration::from_millis(2500)).await;
        client.thaw();
        client.report("answer 13").await;
        assert_eq!(peer.log().await.len(), 1);
    }
}
