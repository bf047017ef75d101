//! Functions that make messages, and that take apart what the machine sent.

use bytes::Bytes;
use zraft_protocol::{ClientMessage, CorrelationId, MemberId, Payload, RequestId, SessionId};

use super::SESSION;

pub(crate) fn session() -> SessionId {
    SessionId::new(SESSION).unwrap()
}

pub(crate) fn member(id: &str) -> MemberId {
    MemberId::new(id).unwrap()
}

pub(crate) fn request(id: u64) -> RequestId {
    RequestId::new(id).unwrap()
}

/// Returns the ids of the commands among these messages.
pub(crate) fn command_ids(messages: &[ClientMessage]) -> Vec<u64> {
    messages
        .iter()
        .filter_map(|message| match message {
            ClientMessage::ClientRequest { request_id, .. } => Some(request_id.get()),
            _ => None,
        })
        .collect()
}

/// Returns the L that each command among these messages carries.
pub(crate) fn lowest_ids(messages: &[ClientMessage]) -> Vec<u64> {
    messages
        .iter()
        .filter_map(|message| match message {
            ClientMessage::ClientRequest { lowest_pending_request_id, .. } => {
                Some(lowest_pending_request_id.get())
            }
            _ => None,
        })
        .collect()
}

/// Returns the correlation ids of the queries among these messages.
pub(crate) fn correlation_ids(messages: &[ClientMessage]) -> Vec<CorrelationId> {
    messages
        .iter()
        .filter_map(|message| match message {
            ClientMessage::Query { correlation_id, .. } => Some(correlation_id.clone()),
            _ => None,
        })
        .collect()
}

/// Returns the payloads of the commands and queries among these messages, as text.
pub(crate) fn payloads(messages: &[ClientMessage]) -> Vec<String> {
    messages
        .iter()
        .filter_map(|message| match message {
            ClientMessage::ClientRequest { payload, .. } | ClientMessage::Query { payload, .. } => {
                Some(String::from_utf8_lossy(payload).into_owned())
            }
            _ => None,
        })
        .collect()
}

/// Returns the ids that the acknowledgements among these messages carry.
pub(crate) fn acks(messages: &[ClientMessage]) -> Vec<u64> {
    messages
        .iter()
        .filter_map(|message| match message {
            ClientMessage::ServerRequestAck { request_id } => Some(request_id.get()),
            _ => None,
        })
        .collect()
}

/// Counts the KeepAlives among these messages.
pub(crate) fn keep_alives(messages: &[ClientMessage]) -> usize {
    let keep_alive = |message: &&ClientMessage| matches!(message, ClientMessage::KeepAlive { .. });
    messages.iter().filter(keep_alive).count()
}

/// Returns a payload with this text.
pub(crate) fn payload(text: &str) -> Payload {
    Payload::new(Bytes::copy_from_slice(text.as_bytes())).unwrap()
}
