//! Failures, events and counters as JSON: they are too rare for a binary layout. Integers of 64 bits are text.

use bytes::Bytes;
use serde_json::{Map, Value, json};
use zraft_client::binding::core::{
    ConnectionCause, Event, Failure, RequestRef, ServerRequest, Stats,
};
use zraft_protocol::{ClientMessage, CorrelationId, MemberId, RequestId, ServerMessage, SessionId};

use crate::settings;

/// Returns a failure with the fields of its error class.
pub(crate) fn failure(failure: &Failure) -> Value {
    let mut value = json!({
        "code": failure.code(),
        "message": settings::in_javascript(&failure.to_string()),
        "maybeExecuted": failure.maybe_executed(),
    });
    let fields = match failure {
        Failure::Timeout { id: Some(id), .. } | Failure::Cancelled { id: Some(id), .. } => {
            reference(id)
        }
        Failure::SessionExpired { session_id, .. } => {
            json!({ "sessionId": session_id.as_ref().map(SessionId::as_str) })
        }
        Failure::SessionRejected { reason, .. } => json!({ "reason": reason.name() }),
        Failure::Connection { endpoint, cause } => {
            json!({ "endpoint": endpoint, "cause": connection_cause(cause) })
        }
        Failure::ResponseEvicted { request_id } => json!({ "requestId": number(*request_id) }),
        _ => Value::Null,
    };
    merge(&mut value, fields);
    value
}

/// Returns the failure of a call that the driver cannot begin.
pub(crate) fn closed(message: &str) -> Value {
    json!({ "code": "CLOSED", "message": message, "maybeExecuted": false })
}

fn connection_cause(cause: &ConnectionCause) -> Value {
    let mut value =
        json!({ "code": cause.name(), "message": settings::in_javascript(&cause.to_string()) });
    if let ConnectionCause::LeaderNotConfigured { leader_id } = cause {
        merge(&mut value, json!({ "leaderId": leader_id.as_str() }));
    }
    value
}

fn reference(id: &RequestRef) -> Value {
    match id {
        RequestRef::Command(id) => json!({ "requestId": number(*id) }),
        RequestRef::Query(id) => json!({ "correlationId": id.as_str() }),
    }
}

fn number(id: RequestId) -> String {
    id.get().to_string()
}

fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}

/// Returns an event, and the payload of its message if it has one.
pub(crate) fn event(event: &Event) -> (Value, Bytes) {
    let mut payload = Bytes::new();
    let fields = match event {
        Event::Connected { session_id, member_id, endpoint, resumed } => json!({
            "sessionId": session_id.as_str(),
            "memberId": member_id.as_str(),
            "endpoint": endpoint,
            "resumed": resumed,
        }),
        Event::Disconnected { reason, member_id } => {
            json!({ "reason": reason.name(), "memberId": member(member_id) })
        }
        Event::Reconnecting { attempt, member_id, endpoint } => {
            json!({ "attempt": attempt, "memberId": member_id.as_str(), "endpoint": endpoint })
        }
        Event::SessionExpired { session_id } => json!({ "sessionId": session_id.as_str() }),
        Event::StateChange { old_state, new_state } => {
            json!({ "oldState": old_state.name(), "newState": new_state.name() })
        }
        Event::ConnectionAttempt { member_id, address } => {
            json!({ "memberId": member_id.as_str(), "address": address })
        }
        Event::ConnectionSuccess { member_id } => json!({ "memberId": member_id.as_str() }),
        Event::ConnectionFailure { member_id, error } => {
            json!({ "memberId": member_id.as_str(), "error": connection_cause(error) })
        }
        Event::MessageSent { message } => {
            let (message, bytes) = client_message(message);
            payload = bytes;
            json!({ "message": message })
        }
        Event::MessageReceived { message } => {
            let (message, bytes) = server_message(message);
            payload = bytes;
            json!({ "message": message })
        }
        Event::RequestTimeout { request_id } => json!({ "requestId": request_id.map(number) }),
        Event::QueryTimeout { correlation_id } => {
            json!({ "correlationId": correlation_id.as_ref().map(CorrelationId::as_str) })
        }
        Event::ServerRequestReceived { request } => {
            payload = request.payload.clone();
            json!({ "request": server_request(request) })
        }
        Event::ProtocolError { member_id, detail } => {
            json!({ "memberId": member_id.as_str(), "detail": settings::in_javascript(detail) })
        }
        Event::RequestQuarantined { id } => reference(id),
        Event::Lagged(count) => json!({ "count": count }),
        // An event that is new in the core and unknown here has a name and no fields.
        _ => Value::Null,
    };
    let mut value = json!({ "type": event.name() });
    merge(&mut value, fields);
    (value, payload)
}

fn member(id: &Option<MemberId>) -> Option<&str> {
    id.as_ref().map(MemberId::as_str)
}

fn server_request(request: &ServerRequest) -> Value {
    json!({
        "type": "ServerRequest",
        "requestId": number(request.request_id),
        "createdAt": request.created_at.as_millis(),
    })
}

fn client_message(message: &ClientMessage) -> (Value, Bytes) {
    let mut bytes = Bytes::new();
    let fields = match message {
        ClientMessage::CreateSession { capabilities, nonce } => json!({
            "capabilities": capabilities.iter().collect::<Vec<_>>(),
            "nonce": nonce.get().to_string(),
        }),
        ClientMessage::ContinueSession { session_id, nonce } => {
            json!({ "sessionId": session_id.as_str(), "nonce": nonce.get().to_string() })
        }
        ClientMessage::KeepAlive { timestamp } => json!({ "timestamp": timestamp.as_millis() }),
        ClientMessage::ClientRequest {
            request_id,
            lowest_pending_request_id,
            payload,
            created_at,
        } => {
            bytes = payload.as_bytes().clone();
            json!({
                "requestId": number(*request_id),
                "lowestPendingRequestId": number(*lowest_pending_request_id),
                "createdAt": created_at.as_millis(),
            })
        }
        ClientMessage::Query { correlation_id, payload, created_at } => {
            bytes = payload.as_bytes().clone();
            json!({ "correlationId": correlation_id.as_str(), "createdAt": created_at.as_millis() })
        }
        ClientMessage::ServerRequestAck { request_id } => {
            json!({ "requestId": number(*request_id) })
        }
        ClientMessage::CloseSession { reason } => json!({ "reason": reason.name() }),
        ClientMessage::ConnectionClosed => Value::Null,
    };
    (typed(message.kind().name(), fields), bytes)
}

fn server_message(message: &ServerMessage) -> (Value, Bytes) {
    let mut bytes = Bytes::new();
    let fields = match message {
        ServerMessage::SessionCreated { session_id, nonce } => {
            json!({ "sessionId": session_id.as_str(), "nonce": nonce.get().to_string() })
        }
        ServerMessage::SessionContinued { nonce } => json!({ "nonce": nonce.get().to_string() }),
        ServerMessage::SessionRejected { reason, nonce, leader_id } => json!({
            "reason": reason.name(),
            "nonce": nonce.get().to_string(),
            "leaderId": member(leader_id),
        }),
        ServerMessage::SessionClosed { reason, leader_id } => {
            json!({ "reason": reason.name(), "leaderId": member(leader_id) })
        }
        ServerMessage::KeepAliveResponse { timestamp } => {
            json!({ "timestamp": timestamp.as_millis() })
        }
        ServerMessage::ClientResponse { request_id, result } => {
            bytes = result.as_bytes().clone();
            json!({ "requestId": number(*request_id) })
        }
        ServerMessage::QueryResponse { correlation_id, result } => {
            bytes = result.as_bytes().clone();
            json!({ "correlationId": correlation_id.as_str() })
        }
        ServerMessage::ServerRequest { request_id, payload, created_at } => {
            bytes = payload.as_bytes().clone();
            json!({ "requestId": number(*request_id), "createdAt": created_at.as_millis() })
        }
        ServerMessage::RequestError { request_id, reason } => {
            json!({ "requestId": number(*request_id), "reason": reason.name() })
        }
    };
    (typed(message.kind().name(), fields), bytes)
}

fn typed(kind: &str, fields: Value) -> Value {
    let mut value = json!({ "type": kind });
    merge(&mut value, fields);
    value
}

/// Returns the counters by name; `null` where there is no value yet.
pub(crate) fn stats(stats: &Stats) -> Value {
    let figures = stats.figures().into_iter();
    Value::Object(
        figures.map(|(name, value)| (name.to_owned(), json!(value))).collect::<Map<_, _>>(),
    )
}
