//! Tests the replicated server against CLIENTs that others wrote. Their sockets reconnect without a word, as those of ZIO Raft's own
//! clients do.

use std::time::Duration;

use zraft_interop::{Library, within};
use zraft_kv::{Command, Key, Notification, Value};
use zraft_protocol::{
    Capabilities, ClientMessage, CloseReason, CorrelationId, MemberId, Nonce, Payload,
    RejectionReason, ServerMessage, SessionCloseReason, Timestamp,
};
use zraft_server::LocalCluster;
use zraft_session::{
    Application,
    applications::{AppendLog, Echo, KvStore},
};

use crate::message_client::MessageClient;

/// One member, which leads.
async fn one<A: Application>(application: fn() -> A) -> LocalCluster<A> {
    let cluster = LocalCluster::start(1, application).await.unwrap();
    within(cluster.leader()).await.unwrap();
    cluster
}

async fn connect<A: Application>(
    library: Library,
    cluster: &LocalCluster<A>,
    member: u64,
    arguments: &[&str],
) -> MessageClient {
    let id = MemberId::new(format!("node-{member}")).unwrap();
    MessageClient::new(library, &cluster.endpoints()[&id], arguments).await
}

/// Sends a query, and returns its answer.
async fn query(client: &mut MessageClient, payload: &[u8]) -> Payload {
    let correlation_id = CorrelationId::new("a-query").unwrap();
    let payload = Payload::new(payload.to_vec()).unwrap();
    let created_at = Timestamp::from_millis(1);
    client
        .send(&ClientMessage::Query { correlation_id: correlation_id.clone(), payload, created_at })
        .await;
    loop {
        match client.receive().await {
            ServerMessage::QueryResponse { correlation_id: answered, result } => {
                assert_eq!(answered, correlation_id);
                return result;
            }
            // A member that starts again and applies an entry of its log answers it, too: an answer can come twice.
            ServerMessage::ClientResponse { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Returns the length of the log.
async fn length(client: &mut MessageClient) -> u64 {
    u64::from_be_bytes(query(client, &[]).await[..].try_into().unwrap())
}

#[tokio::test]
async fn session_with_commands_queries_and_keep_alives_works() {
    for library in Library::ready() {
        let cluster = one(AppendLog::new).await;
        let mut client = connect(library, &cluster, 1, &[]).await;
        client.create().await;
        for id in 1..=3 {
            client.command(id, b"entry").await;
            match client.receive().await {
                ServerMessage::ClientResponse { request_id, result } => {
                    assert_eq!(request_id.get(), id);
                    assert_eq!(result[..], (id - 1).to_be_bytes());
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(length(&mut client).await, 3);
        let timestamp = Timestamp::from_millis(42);
        client.send(&ClientMessage::KeepAlive { timestamp }).await;
        assert_eq!(client.receive().await, ServerMessage::KeepAliveResponse { timestamp });
        client.send(&ClientMessage::CloseSession { reason: CloseReason::ClientShutdown }).await;
        within(cluster.wait(1, |status| status.sessions == 0)).await.unwrap();
        cluster.stop().await;
    }
}

#[tokio::test]
async fn socket_reconnects_after_a_kill_and_a_resent_command_runs_once() {
    for library in Library::ready() {
        let mut cluster = one(AppendLog::new).await;
        let mut client = connect(library, &cluster, 1, &[]).await;
        let session_id = client.create().await;
        client.command(1, b"once").await;
        let answer = client.receive().await;
        within(cluster.kill(1)).await.unwrap();
        within(cluster.reopen(1)).await.unwrap();
        client.resume(&session_id).await;
        client.command(1, b"once").await;
        assert_eq!(client.receive().await, answer, "the answer of the first copy");
        assert_eq!(length(&mut client).await, 1);
        cluster.stop().await;
    }
}

#[tokio::test]
async fn socket_that_reconnects_unseen_is_told_to_continue_its_session() {
    for library in Library::ready() {
        let mut cluster = one(AppendLog::new).await;
        let mut client = connect(library, &cluster, 1, &[]).await;
        client.create().await;
        within(cluster.kill(1)).await.unwrap();
        within(cluster.reopen(1)).await.unwrap();
        within(cluster.leader()).await.unwrap();
        // The socket has a new connection, and the client knows nothing of it. A message can be lost with the old one.
        let told = within(async {
            loop {
                client.command(1, b"unbound").await;
                let patience = Duration::from_secs(1);
                if let Ok(told) = tokio::time::timeout(patience, client.receive()).await {
                    return told;
                }
            }
        });
        let closed = ServerMessage::SessionClosed {
            reason: SessionCloseReason::NotLeaderAnymore,
            leader_id: Some(MemberId::new("node-1").unwrap()),
        };
        assert_eq!(told.await, closed);
        cluster.stop().await;
    }
}

#[tokio::test]
async fn follower_rejects_and_names_the_leader() {
    for library in Library::ready() {
        let cluster = LocalCluster::start(3, AppendLog::new).await.unwrap();
        let leader = within(cluster.leader()).await.unwrap();
        let follower = if leader == 3 { 2 } else { 3 };
        let mut client = connect(library, &cluster, follower, &[]).await;
        let capabilities = Capabilities::new([("kind", "interop")]).unwrap();
        let nonce = Nonce::new(-9).unwrap();
        client.send(&ClientMessage::CreateSession { capabilities, nonce }).await;
        let rejected = ServerMessage::SessionRejected {
            reason: RejectionReason::NotLeader,
            nonce,
            leader_id: Some(MemberId::new(format!("node-{leader}")).unwrap()),
        };
        assert_eq!(client.receive().await, rejected);
        cluster.stop().await;
    }
}

#[tokio::test]
async fn a_mebibyte_goes_both_ways() {
    for library in Library::ready() {
        let cluster = one(|| Echo).await;
        let mut client = connect(library, &cluster, 1, &[]).await;
        client.create().await;
        let payload: Vec<u8> = (0..1 << 20).map(|n: u32| (n % 251) as u8).collect();
        client.command(1, &payload).await;
        match client.receive().await {
            ServerMessage::ClientResponse { result, .. } => assert!(result[..] == payload[..]),
            other => panic!("{other:?}"),
        }
        cluster.stop().await;
    }
}

#[tokio::test]
async fn watch_notifies_until_it_is_acknowledged() {
    for library in Library::ready() {
        let mut cluster = one(KvStore::new).await;
        let mut client = connect(library, &cluster, 1, &[]).await;
        let session_id = client.create().await;
        let key = Key::new("k").unwrap();
        let value = Value::new("v").unwrap();
        client.command(1, &Command::Watch { key: key.clone() }.encode()).await;
        assert!(matches!(client.receive().await, ServerMessage::ClientResponse { .. }));
        client.command(2, &Command::Set { key, value: value.clone() }.encode()).await;
        // The answer to a Set precedes its notification.
        assert!(matches!(client.receive().await, ServerMessage::ClientResponse { .. }));
        let pushed = client.receive().await;
        let ServerMessage::ServerRequest { request_id, ref payload, .. } = pushed else {
            panic!("{pushed:?}");
        };
        let notification = Notification::decode(payload.as_bytes()).unwrap();
        assert_eq!((notification.key.as_str(), notification.value), ("k", value));
        // It is in the log: the member that starts again sends it again.
        within(cluster.kill(1)).await.unwrap();
        within(cluster.reopen(1)).await.unwrap();
        client.resume(&session_id).await;
        match client.receive().await {
            ServerMessage::ServerRequest { request_id: again, .. } => assert_eq!(again, request_id),
            other => panic!("{other:?}"),
        }
        client.send(&ClientMessage::ServerRequestAck { request_id }).await;
        cluster.stop().await;
    }
}

#[tokio::test]
async fn undecodable_message_closes_only_its_connection() {
    for library in Library::ready() {
        let cluster = one(AppendLog::new).await;
        let mut other = connect(library, &cluster, 1, &[]).await;
        other.create().await;
        let mut client = connect(library, &cluster, 1, &[]).await;
        let session_id = client.create().await;
        // Message type 99.
        client.0.tell("send 7a726166740163").await;
        // The socket reconnects without being asked.
        client.resume(&session_id).await;
        assert_eq!(cluster.member(1).unwrap().figures().clients_undecodable, 1);
        other.command(1, b"goes on").await;
        assert!(matches!(other.receive().await, ServerMessage::ClientResponse { .. }));
        cluster.stop().await;
    }
}

#[tokio::test]
async fn dealer_is_refused_and_a_client_is_served() {
    for library in Library::ready() {
        let cluster = one(AppendLog::new).await;
        let _dealer = connect(library, &cluster, 1, &["type=DEALER"]).await;
        let mut client = connect(library, &cluster, 1, &[]).await;
        client.create().await;
        let report = within(cluster.member(1).unwrap().report()).await.unwrap();
        assert_eq!(report.connections, 1, "only the CLIENT completed a handshake");
        cluster.stop().await;
    }
}
