//! A CLIENT that others wrote, which speaks the protocol through this project's codec.

use std::time::Duration;

use bytes::Bytes;
use zraft_interop::{Library, Peer, within};
use zraft_kv::{Command, Key, Notification, Value};
use zraft_protocol::{
    Capabilities, ClientMessage, CorrelationId, MemberId, Nonce, Payload, RejectionReason,
    RequestId, ServerMessage, SessionId, Timestamp,
};

use crate::support::hex;

/// A CLIENT that sends and receives messages.
pub(crate) struct MessageClient(pub(crate) Peer);

impl MessageClient {
    pub(crate) async fn new(library: Library, endpoint: &str, arguments: &[&str]) -> Self {
        Self(Peer::client_with(library, endpoint, arguments).await)
    }

    pub(crate) async fn send(&mut self, message: &ClientMessage) {
        let mut frame = Vec::new();
        message.encode(&mut frame);
        self.0.tell(&format!("send {}", hex(&frame))).await;
    }

    /// Waits for the next message. Skips the `-` that the socket reports when a connection ends.
    pub(crate) async fn receive(&mut self) -> ServerMessage {
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

    /// Sends a message of type 99, which does not exist.
    pub(crate) async fn send_undecodable(&mut self) {
        self.0.tell("send 7a726166740163").await;
    }

    async fn ask_for_a_session(&mut self) -> (Nonce, ServerMessage) {
        let capabilities = Capabilities::new([("kind", "interop")]).unwrap();
        let nonce = Nonce::new(-9).unwrap();
        self.send(&ClientMessage::CreateSession { capabilities, nonce }).await;
        (nonce, self.receive().await)
    }

    /// Creates a session.
    pub(crate) async fn create(&mut self) -> SessionId {
        let (nonce, answer) = self.ask_for_a_session().await;
        match answer {
            ServerMessage::SessionCreated { session_id, nonce: answered } => {
                assert_eq!(answered, nonce);
                session_id
            }
            other => panic!("{other:?}"),
        }
    }

    /// Asks for a session, which this member must reject because another one leads.
    pub(crate) async fn assert_rejected_in_favour_of(&mut self, leader: MemberId) {
        let (nonce, answer) = self.ask_for_a_session().await;
        let (reason, leader_id) = (RejectionReason::NotLeader, Some(leader));
        assert_eq!(answer, ServerMessage::SessionRejected { reason, nonce, leader_id });
    }

    /// Continues the session on the socket's current connection. A message may be lost with an earlier connection, so this
    /// repeats it until it is answered.
    pub(crate) async fn resume(&mut self, session_id: &SessionId) {
        within(async {
            for nonce in 100.. {
                let nonce = Nonce::new(nonce).unwrap();
                let session_id = session_id.clone();
                self.send(&ClientMessage::ContinueSession { session_id, nonce }).await;
                let patience = Duration::from_secs(1);
                if let Ok(answer) = tokio::time::timeout(patience, self.receive()).await {
                    assert_eq!(answer, ServerMessage::SessionContinued { nonce });
                    return;
                }
            }
        })
        .await;
    }

    pub(crate) async fn command(&mut self, id: u64, payload: &[u8]) {
        self.send(&ClientMessage::ClientRequest {
            request_id: RequestId::new(id).unwrap(),
            lowest_pending_request_id: RequestId::new(id).unwrap(),
            payload: Payload::new(payload.to_vec()).unwrap(),
            created_at: Timestamp::from_millis(1),
        })
        .await;
    }

    /// Waits for the answer to this command.
    pub(crate) async fn answer(&mut self, id: u64) -> Payload {
        match self.receive().await {
            ServerMessage::ClientResponse { request_id, result } => {
                assert_eq!(request_id.get(), id);
                result
            }
            other => panic!("{other:?}"),
        }
    }

    /// Sends a query, and returns its answer.
    pub(crate) async fn query(&mut self, payload: &[u8]) -> Payload {
        let correlation_id = CorrelationId::new("a-query").unwrap();
        self.send(&ClientMessage::Query {
            correlation_id: correlation_id.clone(),
            payload: Payload::new(payload.to_vec()).unwrap(),
            created_at: Timestamp::from_millis(1),
        })
        .await;
        loop {
            match self.receive().await {
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

    /// Sends a KeepAlive, which must be answered with its timestamp.
    pub(crate) async fn keep_alive(&mut self) {
        let timestamp = Timestamp::from_millis(42);
        self.send(&ClientMessage::KeepAlive { timestamp }).await;
        assert_eq!(self.receive().await, ServerMessage::KeepAliveResponse { timestamp });
    }

    /// Sends a mebibyte to an `Echo` as command 1, which must answer with the same bytes.
    pub(crate) async fn assert_echo_of_a_mebibyte(&mut self) {
        let payload: Vec<u8> = (0..1 << 20).map(|n: u32| (n % 251) as u8).collect();
        self.command(1, &payload).await;
        assert!(self.answer(1).await[..] == payload[..]);
    }

    /// Watches a key of a `KvStore` as command 1 and sets it as command 2. Returns the number of the notification.
    pub(crate) async fn watch_and_set(&mut self) -> RequestId {
        let (key, value) = (Key::new("k").unwrap(), Value::new("v").unwrap());
        self.command(1, &Command::Watch { key: key.clone() }.encode()).await;
        self.answer(1).await;
        self.command(2, &Command::Set { key, value: value.clone() }.encode()).await;
        // The answer to a Set precedes its notification.
        self.answer(2).await;
        match self.receive().await {
            ServerMessage::ServerRequest { request_id, payload, .. } => {
                let notification = Notification::decode(payload.as_bytes()).unwrap();
                assert_eq!((notification.key.as_str(), notification.value), ("k", value));
                request_id
            }
            other => panic!("{other:?}"),
        }
    }
}
