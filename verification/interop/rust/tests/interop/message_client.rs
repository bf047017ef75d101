//! A CLIENT that others wrote, which speaks the protocol through this project's codec.

use std::time::Duration;

use bytes::Bytes;
use zraft_interop::{Library, Peer, within};
use zraft_protocol::{
    Capabilities, ClientMessage, Nonce, Payload, RequestId, ServerMessage, SessionId, Timestamp,
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

    pub(crate) async fn create(&mut self) -> SessionId {
        let capabilities = Capabilities::new([("kind", "interop")]).unwrap();
        let nonce = Nonce::new(7).unwrap();
        self.send(&ClientMessage::CreateSession { capabilities, nonce }).await;
        match self.receive().await {
            ServerMessage::SessionCreated { session_id, nonce: answered } => {
                assert_eq!(answered, nonce);
                session_id
            }
            other => panic!("{other:?}"),
        }
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
}
