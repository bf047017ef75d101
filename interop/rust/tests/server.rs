//! The embedded server against CLIENTs that others wrote.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use zraft_interop::{Make, Peer};
use zraft_protocol::{
    Capabilities, ClientMessage, CloseReason, CorrelationId, Nonce, Payload, RequestId,
    ServerMessage, SessionId, Timestamp,
};
use zraft_test_server::{AppendLog, KillLoss, TestCluster};

struct Talker(Peer);

impl Talker {
    async fn new(make: Make, cluster: &TestCluster) -> Self {
        let endpoint = cluster.endpoints().into_values().next().unwrap();
        Self(Peer::client(make, &endpoint).await)
    }

    async fn say(&mut self, message: &ClientMessage) {
        let mut frame = Vec::new();
        message.encode(&mut frame);
        let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
        self.0.tell(&format!("send {hex}")).await;
    }

    /// The next message; what a socket makes up when a connection drops is passed over.
    async fn hear(&mut self) -> ServerMessage {
        loop {
            let hex = self.0.report("received ").await;
            if hex != "-" {
                let bytes = (0..hex.len()).step_by(2);
                let frame: Vec<u8> =
                    bytes.map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
                return ServerMessage::decode(&Bytes::from(frame)).unwrap();
            }
        }
    }

    async fn create(&mut self) -> SessionId {
        let capabilities = Capabilities::new([("kind", "interop")]).unwrap();
        let nonce = Nonce::new(7).unwrap();
        self.say(&ClientMessage::CreateSession { capabilities, nonce }).await;
        match self.hear().await {
            ServerMessage::SessionCreated { session_id, nonce: answered } => {
                assert_eq!(answered, nonce);
                session_id
            }
            other => panic!("{other:?}"),
        }
    }

    async fn command(&mut self, id: u64, payload: &[u8]) {
        self.say(&ClientMessage::ClientRequest {
            request_id: RequestId::new(id).unwrap(),
            lowest_pending_request_id: RequestId::new(id).unwrap(),
            payload: Payload::new(payload.to_vec()).unwrap(),
            created_at: Timestamp::from_millis(1),
        })
        .await;
    }
}

async fn cluster() -> TestCluster {
    TestCluster::builder().app(AppendLog::default()).start().await.unwrap()
}

#[tokio::test]
async fn a_session_with_commands_queries_and_keep_alives() {
    for make in Make::ready() {
        let cluster = cluster().await;
        let mut client = Talker::new(make, &cluster).await;
        client.create().await;
        for id in 1..=3 {
            client.command(id, b"entry").await;
            match client.hear().await {
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
            .say(&ClientMessage::Query {
                correlation_id: correlation_id.clone(),
                payload,
                created_at,
            })
            .await;
        assert!(matches!(
            client.hear().await,
            ServerMessage::QueryResponse { correlation_id: answered, .. } if answered == correlation_id
        ));
        let timestamp = Timestamp::from_millis(42);
        client.say(&ClientMessage::KeepAlive { timestamp }).await;
        assert_eq!(client.hear().await, ServerMessage::KeepAliveResponse { timestamp });
        client.say(&ClientMessage::CloseSession { reason: CloseReason::ClientShutdown }).await;
        cluster.wait_for(|engine| engine.sessions().next().is_none()).await;
        cluster.shutdown().await;
    }
}

#[tokio::test]
async fn the_socket_connects_again_after_a_restart_and_continues_its_session() {
    for make in Make::ready() {
        let cluster = cluster().await;
        let mut client = Talker::new(make, &cluster).await;
        let session_id = client.create().await;
        client.command(1, b"once").await;
        client.hear().await;
        cluster.kill("node-1", KillLoss::default()).await.unwrap();
        cluster.restart("node-1").await.unwrap();
        cluster.leader_elected().await;
        let nonce = Nonce::new(8).unwrap();
        client.say(&ClientMessage::ContinueSession { session_id, nonce }).await;
        assert_eq!(client.hear().await, ServerMessage::SessionContinued { nonce });
        client.command(1, b"once").await;
        assert!(matches!(client.hear().await, ServerMessage::ClientResponse { .. }));
        assert_eq!(cluster.journal().len(), 1, "the copy is not executed");
        cluster.shutdown().await;
    }
}
