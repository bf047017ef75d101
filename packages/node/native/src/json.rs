//! Failures, events and counters as JSON: they are too rare for a binary layout. Integers of 64 bits are text.

use bytes::Bytes;
use serde_json::{Map, Value, json};
use zraft_client::binding::core::{
    ConnectionCause, Event, Failure, RequestRef, ServerRequest, Stats,
};
use zraft_protocol::{
    ClientMessage, CorrelationId, Field, MemberId, RequestId, ServerMessage, SessionId,
};

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
        Event::ConnectionSuccess { member_id } | Event::SessionDoubted { member_id } => {
            json!({ "memberId": member_id.as_str() })
        }
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
    from_fields(message.kind().name(), message.fields())
}

fn server_message(message: &ServerMessage) -> (Value, Bytes) {
    from_fields(message.kind().name(), message.fields())
}

/// Returns a message without its payload, and the payload.
fn from_fields(kind: &str, fields: Vec<(&'static str, Field<'_>)>) -> (Value, Bytes) {
    let mut object = Map::new();
    let mut bytes = Bytes::new();
    object.insert("type".to_owned(), json!(kind));
    for (name, field) in fields {
        let value = match field {
            Field::RequestId(id) => json!(number(id)),
            Field::Nonce(nonce) => json!(nonce.get().to_string()),
            Field::Timestamp(time) => json!(time.as_millis()),
            Field::SessionId(id) => json!(id.as_str()),
            Field::CorrelationId(id) => json!(id.as_str()),
            Field::MemberId(id) => json!(id.map(MemberId::as_str)),
            Field::Reason(reason) => json!(reason),
            Field::Payload(payload) => {
                bytes = payload.as_bytes().clone();
                continue;
            }
            Field::Capabilities(entries) => json!(entries.iter().collect::<Vec<_>>()),
            // A kind of field that is new in the protocol and unknown here.
            _ => Value::Null,
        };
        object.insert(name.to_owned(), value);
    }
    (Value::Object(object), bytes)
}

/// Returns the counters by name, and the latencies by kind of request; `null` where there is no value yet.
pub(crate) fn stats(stats: &Stats) -> Value {
    let latency = stats.latency();
    let mut object = named(stats.figures());
    object["latency"] = json!({
        "commands": named(latency.commands.figures()),
        "queries": named(latency.queries.figures()),
    });
    object
}

fn named<const N: usize>(figures: [(&'static str, Option<f64>); N]) -> Value {
    figures.into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect()
}
