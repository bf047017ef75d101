//! Tests the embedded server against CLIENTs that others wrote.

use std::time::Duration;

use zraft_interop::{Library, within};
use zraft_protocol::{ClientMessage, CloseReason, Nonce, ServerMessage, SessionCloseReason};
use zraft_test_server::{AppendLog, Echo, KillLoss, KvStore, TestCluster};

use crate::message_client::MessageClient;

async fn connect(library: Library, cluster: &TestCluster) -> MessageClient {
    connect_to(library, cluster, 0, &[]).await
}

async fn connect_to(
    library: Library,
    cluster: &TestCluster,
    member: usize,
    arguments: &[&str],
) -> MessageClient {
    let endpoint = cluster.endpoints().into_values().nth(member).unwrap();
    MessageClient::new(library, &endpoint, arguments).await
}

async fn cluster() -> TestCluster {
    TestCluster::builder().app(AppendLog::default()).start().await.unwrap()
}

#[tokio::test]
async fn commands_queries_and_keep_alives_are_answered_until_the_session_is_closed() {
    for library in Library::ready() {
        let cluster = cluster().await;
        let mut client = connect(library, &cluster).await;
        client.create().await;
        for id in 1..=3 {
            client.command(id, b"entry").await;
            assert_eq!(client.answer(id).await.len(), 8);
        }
        client.query(b"length").await;
        client.keep_alive().await;
        client.send(&ClientMessage::CloseSession { reason: CloseReason::ClientShutdown }).await;
        cluster.wait_for(|engine| engine.sessions().next().is_none()).await;
        cluster.shutdown().await;
    }
}

#[tokio::test]
async fn socket_reconnects_after_a_restart_and_continues_its_session() {
    for library in Library::ready() {
        let cluster = cluster().await;
        let mut client = connect(library, &cluster).await;
        let session_id = client.create().await;
        client.command(1, b"once").await;
        client.answer(1).await;
        cluster.kill("node-1", KillLoss::default()).await.unwrap();
        cluster.restart("node-1").await.unwrap();
        cluster.leader_elected().await;
        let nonce = Nonce::new(8).unwrap();
        client.send(&ClientMessage::ContinueSession { session_id, nonce }).await;
        assert_eq!(client.receive().await, ServerMessage::SessionContinued { nonce });
        client.command(1, b"once").await;
        client.answer(1).await;
        assert_eq!(cluster.journal().len(), 1, "the copy is not executed");
        cluster.shutdown().await;
    }
}

#[tokio::test]
async fn payload_of_a_mebibyte_arrives_unchanged_in_both_directions() {
    for library in Library::ready() {
        let cluster = TestCluster::builder().app(Echo).start().await.unwrap();
        let mut client = connect(library, &cluster).await;
        client.create().await;
        client.assert_echo_of_a_mebibyte().await;
        cluster.shutdown().await;
    }
}

#[tokio::test]
async fn follower_rejects_a_session_and_names_the_leader() {
    for library in Library::ready() {
        let cluster = TestCluster::builder().members(3).start().await.unwrap();
        let leader = cluster.leader_elected().await;
        assert_eq!(leader.as_str(), "node-1");
        let mut client = connect_to(library, &cluster, 2, &[]).await;
        client.assert_rejected_in_favour_of(leader).await;
        cluster.shutdown().await;
    }
}

#[tokio::test]
async fn command_without_a_session_is_a_session_error() {
    for library in Library::ready() {
        let cluster = cluster().await;
        let mut client = connect(library, &cluster).await;
        client.command(1, b"no session").await;
        let closed = ServerMessage::SessionClosed {
            reason: SessionCloseReason::SessionError,
            leader_id: None,
        };
        assert_eq!(client.receive().await, closed);
        assert_eq!(cluster.journal().len(), 0);
        cluster.shutdown().await;
    }
}

#[tokio::test]
async fn watch_notifies_and_its_acknowledgement_ends_the_redelivery() {
    for library in Library::ready() {
        let cluster = TestCluster::builder().app(KvStore::new()).start().await.unwrap();
        let mut client = connect(library, &cluster).await;
        client.create().await;
        let request_id = client.watch_and_set().await;
        assert_eq!(cluster.sessions()[0].unacknowledged, 1);
        client.send(&ClientMessage::ServerRequestAck { request_id }).await;
        within(cluster.wait_for(|engine| engine.sessions().all(|it| it.unacknowledged == 0))).await;
        cluster.shutdown().await;
    }
}

#[tokio::test]
async fn undecodable_message_closes_only_its_connection() {
    for library in Library::ready() {
        let cluster = cluster().await;
        let mut other = connect(library, &cluster).await;
        other.create().await;
        let mut client = connect(library, &cluster).await;
        let session_id = client.create().await;
        client.send_undecodable().await;
        within(cluster.stats_reached(|stats| stats.engine.closed_undecodable == 1)).await;
        other.command(1, b"goes on").await;
        other.answer(1).await;
        // The socket reconnects without being asked.
        client.resume(&session_id).await;
        cluster.shutdown().await;
    }
}

#[tokio::test]
async fn dealer_is_refused_and_affects_no_one() {
    for library in Library::ready() {
        let cluster = cluster().await;
        let _dealer = connect_to(library, &cluster, 0, &["type=DEALER"]).await;
        // Either side may close when it sees the other's type. libzmq does not reconnect after that.
        within(
            cluster
                .stats_reached(|stats| stats.transport.accepted >= 1 && stats.transport.open == 0),
        )
        .await;
        let mut client = connect(library, &cluster).await;
        client.create().await;
        assert_eq!(cluster.stats().transport.handshakes, 1, "only the CLIENT completed one");
        cluster.shutdown().await;
    }
}

#[tokio::test]
async fn killed_client_leaves_its_session_unbound() {
    for library in Library::ready() {
        let cluster = cluster().await;
        let mut client = connect(library, &cluster).await;
        let session_id = client.create().await;
        client.0.kill().await;
        within(cluster.wait_for(|engine| engine.session(&session_id).is_some_and(|it| !it.bound)))
            .await;
        // Another process continues it.
        let mut client = connect(library, &cluster).await;
        client.resume(&session_id).await;
        assert!(cluster.sessions()[0].bound);
        cluster.shutdown().await;
    }
}

#[tokio::test]
async fn frozen_client_is_closed_after_its_ttl_and_reconnects() {
    for library in Library::ready() {
        let cluster = cluster().await;
        let heartbeat = ["interval=50", "timeout=500", "ttl=500"];
        let mut client = connect_to(library, &cluster, 0, &heartbeat).await;
        let session_id = client.create().await;
        // The server learns the TTL from the first PING, so repeat the freeze until it came after that.
        within(async {
            loop {
                client.0.freeze();
                let dropped = cluster.stats_reached(|stats| stats.transport.open == 0);
                let dropped = tokio::time::timeout(Duration::from_secs(2), dropped).await.is_ok();
                client.0.thaw();
                if dropped {
                    return;
                }
                client.keep_alive().await;
            }
        })
        .await;
        client.resume(&session_id).await;
        cluster.shutdown().await;
    }
}

#[tokio::test]
async fn client_leaves_a_frozen_member_and_reconnects() {
    for library in Library::ready() {
        let cluster = cluster().await;
        let heartbeat = ["interval=50", "timeout=500", "ttl=5000"];
        let mut client = connect_to(library, &cluster, 0, &heartbeat).await;
        let session_id = client.create().await;
        cluster.set_frozen("node-1", true).unwrap();
        // The client has closed its connection, or already opened a second one.
        within(
            cluster
                .stats_reached(|stats| stats.transport.open == 0 || stats.transport.accepted >= 2),
        )
        .await;
        cluster.set_frozen("node-1", false).unwrap();
        within(cluster.stats_reached(|stats| stats.transport.handshakes >= 2)).await;
        client.resume(&session_id).await;
        cluster.shutdown().await;
    }
}
