//! The messages of the protocol, short enough for a test.

use zraft_protocol::{
    Capabilities, ClientMessage, CloseReason, CorrelationId, Nonce, Payload, RejectionReason,
    RequestId, ServerMessage, SessionCloseReason, SessionId, Timestamp,
};

use super::name;
use crate::tests::application::payload;

pub(crate) fn answered(message: &ServerMessage) -> Option<u64> {
    match message {
        ServerMessage::ClientResponse { request_id, .. }
        | ServerMessage::RequestError { request_id, .. } => Some(request_id.get()),
        _ => None,
    }
}

pub(crate) fn request(number: u64) -> RequestId {
    RequestId::new(number).expect("small")
}

pub(crate) fn nonce() -> Nonce {
    Nonce::new(7).expect("not 0")
}

pub(crate) fn create() -> ClientMessage {
    let entries = [("client", "test"), ("token", "secret")];
    let entries = entries.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let capabilities = Capabilities::new(entries).expect("valid");
    ClientMessage::CreateSession { capabilities, nonce: nonce() }
}

pub(crate) fn continue_session(session: &SessionId) -> ClientMessage {
    ClientMessage::ContinueSession { session_id: session.clone(), nonce: nonce() }
}

pub(crate) fn command(number: u64, lowest: u64, text: &str) -> ClientMessage {
    ClientMessage::ClientRequest {
        request_id: request(number),
        lowest_pending_request_id: request(lowest),
        payload: payload(text),
        created_at: Timestamp::from_millis(0),
    }
}

pub(crate) fn query(number: u64) -> ClientMessage {
    ClientMessage::Query {
        correlation_id: CorrelationId::new(format!("q{number}")).expect("short"),
        payload: Payload::default(),
        created_at: Timestamp::from_millis(0),
    }
}

pub(crate) fn keep_alive() -> ClientMessage {
    ClientMessage::KeepAlive { timestamp: Timestamp::from_millis(5) }
}

pub(crate) fn close_session() -> ClientMessage {
    ClientMessage::CloseSession { reason: CloseReason::ClientShutdown }
}

pub(crate) fn ack(number: u64) -> ClientMessage {
    ClientMessage::ServerRequestAck { request_id: request(number) }
}

pub(crate) fn closed(reason: SessionCloseReason, leader: Option<u64>) -> ServerMessage {
    ServerMessage::SessionClosed { reason, leader_id: leader.map(name) }
}

pub(crate) fn rejected(reason: RejectionReason, leader: Option<u64>) -> ServerMessage {
    ServerMessage::SessionRejected { reason, nonce: nonce(), leader_id: leader.map(name) }
}
