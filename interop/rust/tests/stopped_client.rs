//! The client's own process, stopped and continued: it finds its answers rather than timeouts.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use tokio::process::Command;
use zraft_interop::Peer;
use zraft_test_server::{AppendLog, TestCluster};

async fn client(cluster: &TestCluster) -> Peer {
    let mut client = Peer::start(&mut Command::new(env!("CARGO_BIN_EXE_steered-client")));
    let endpoint = cluster.endpoints().into_values().next().unwrap();
    client.write(&format!("connect {endpoint}")).await;
    client.report("connected false").await;
    client
}

#[tokio::test]
async fn a_client_stopped_past_its_deadline_finds_its_answer() {
    let cluster = TestCluster::builder().app(AppendLog::default()).start().await.unwrap();
    // The answer comes while the client is stopped.
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
async fn a_client_stopped_while_its_connection_is_cut_resumes_its_session() {
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
