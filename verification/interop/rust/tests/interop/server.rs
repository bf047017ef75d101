//! Tests the embedded server against CLIENTs that others wrote.

use std::time::Duration;

use zraft_interop::{Library, within};
use zraft_kv::{Command, Notification};
use zraft_protocol::{
    Capabilities, ClientMessage, CloseReason, CorrelationId, Nonce, Payload, RejectionReason,
    ServerMessage, SessionCloseReason, Timestamp,
};
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
async fn session_with_commands_queries_and_keep_alives_works() {
    for library in Library::ready() {
        let cluster = cluster().await;
        let mut client = connect(library, &cluster).await;
        client.create().await;
        for id in 1..=3 {
            client.command(id, b"entry").await;
            match client.receive().await {
                ServerMessage::ClientResponse { request_id, result } => {
                    assert_eq!(request_id.get(), id);
                    assert_eq!(result.len(), 8);
                }
                other => panic!("{other:?}"),
            }
        }
        let correlation_id = CorrelationId::new("a-query").unwrap();
        let payload = Payload::new(&b"length"[..]).unwrap();
        let created_at = Timestamp::from_millis(1);
        client
            .send(&ClientMessage::Query {
                correlation_id: correlation_id.clone(),
                payload,
                created_at,
            })
            .await;
        assert!(matches!(
            client.receive().await,
            ServerMessage::QueryResponse { correlation_id: answered, .. } if answered == correlation_id
        ));
        let timestamp = Timestamp::from_millis(42);
        client.send(&ClientMessage::KeepAlive { timestamp }).await;
        assert_eq!(client.receive().await, ServerMessage::KeepAliveResponse { timestamp });
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
        client.receive().await;
        cluster.kill("node-1", KillLoss::default()).await.unwrap();
        cluster.restart("node-1").await.unwrap();
        cluster.leader_elected().await;
        let nonce = Nonce::new(8).unwrap();
        client.send(&ClientMessage::ContinueSession { session_id, nonce }).await;
        assert_eq!(client.receive().await, ServerMessage::SessionContinued { nonce });
        client.command(1, b"once").await;
        assert!(matches!(client.receive().await, ServerMessage::ClientResponse { .. }));
        assert_eq!(cluster.journal().len(), 1, "the copy is not executed");
        cluster.shutdown().await;
    }
}

#[tokio::test]
async fn a_mebibyte_goes_both_ways() {
    for library in Library::ready() {
        let cluster = TestCluster::builder().app(Echo).start().await.unwrap();
        let mut client = connect(library, &cluster).await;
        client.create().await;
        let payload: Vec<u8> = (0..1 << 20).map(|n: u32| (n % 251) as u8).collect();
        client.command(1, &payload).await;
        match client.receive().await {
            ServerMessage::ClientResponse { result, .. } => assert!(result[..] == payload[..]),
            other => panic!("{other:?}"),
        }
        cluster.shutdown().await;
    }
}

#[tokio::test]
async fn follower_rejects_and_names_the_leader() {
    for library in Library::ready() {
        let cluster = TestCluster::builder().members(3).start().await.unwrap();
        let leader = cluster.leader_elected().await;
        assert_eq!(leader.as_str(), "node-1");
        let mut client = connect_to(library, &cluster, 2, &[]).await;
        let capabilities = Capabilities::new([("kind", "interop")]).unwrap();
        let nonce = Nonce::new(-9).unwrap();
        client.send(&ClientMessage::CreateSession { capabilities, nonce }).await;
        let rejected = ServerMessage::SessionRejected {
            reason: RejectionReason::NotLeader,
            nonce,
            leader_id: Some(leader),
        };
        assert_eq!(client.receive().await, rejected);
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
        let watch = Command::Watch { key: zraft_kv::Key::new("k").unwrap() };
        let value = zraft_kv::Value::new("v").unwrap();
        let set = Command::Set { key: zraft_kv::Key::new("k").unwrap(), value: value.clone() };
        client.command(1, &watch.encode()).await;
        assert!(matches!(client.receive().await, ServerMessage::ClientResponse { .. }));
        client.command(2, &set.encode()).await;
        // The answer to a Set precedes its notification.
        assert!(matches!(client.receive().await, ServerMessage::ClientResponse { .. }));
        let request_id = match client.receive().await {
            ServerMessage::ServerRequest { request_id, payload, .. } => {
                let notification = Notification::decode(payload.as_bytes()).unwrap();
                assert_eq!((notification.key.as_str(), notification.value), ("k", value));
                request_id
            }
            other => panic!("{other:?}"),
        };
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
        // Message type 99.
        client.0.tell("send 7a726166740163").await;
        within(cluster.stats_reached(|stats| stats.engine.closed_undecodable == 1)).await;
        other.command(1, b"goes on").await;
        assert!(matches!(other.receive().await, ServerMessage::ClientResponse { .. }));
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
                let timestamp = Timestamp::from_millis(1);
                client.send(&ClientMessage::KeepAlive { timestamp }).await;
                client.receive().await;
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
