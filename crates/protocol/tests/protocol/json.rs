//! Converts messages to and from the JSON form of the vectors. Numbers are 64-bit integers.

use serde_json::{Value, json};
use zraft_protocol::{
    Capabilities, ClientMessage, CloseReason, CorrelationId, MemberId, Nonce, Payload,
    RejectionReason, RequestErrorReason, RequestId, ServerMessage, SessionCloseReason, SessionId,
    Timestamp,
};

use crate::support::{From, Message, hex, unhex};

pub(crate) fn to_json(message: &Message) -> Value {
    let mut json = match message {
        Message::Client(message) => client_to_json(message),
        Message::Server(message) => server_to_json(message),
    };
    json["type"] = message.name().into();
    json
}

fn client_to_json(message: &ClientMessage) -> Value {
    match message {
        ClientMessage::CreateSession { capabilities, nonce } => json!({
            "capabilities": capabilities.iter().map(|(k, v)| json!([k, v])).collect::<Vec<_>>(),
            "nonce": nonce.get(),
        }),
        ClientMessage::ContinueSession { session_id, nonce } => {
            json!({"sessionId": session_id.as_str(), "nonce": nonce.get()})
        }
        ClientMessage::KeepAlive { timestamp } => json!({"timestamp": timestamp.as_millis()}),
        ClientMessage::ClientRequest {
            request_id,
            lowest_pending_request_id,
            payload,
            created_at,
        } => json!({
            "requestId": request_id.get(),
            "lowestPendingRequestId": lowest_pending_request_id.get(),
            "payload": hex(payload),
            "createdAt": created_at.as_millis(),
        }),
        ClientMessage::ServerRequestAck { request_id } => json!({"requestId": request_id.get()}),
        ClientMessage::CloseSession { reason } => json!({"reason": reason.name()}),
        ClientMessage::ConnectionClosed => json!({}),
        ClientMessage::Query { correlation_id, payload, created_at } => json!({
            "correlationId": correlation_id.as_str(),
            "payload": hex(payload),
            "createdAt": created_at.as_millis(),
        }),
    }
}

fn server_to_json(message: &ServerMessage) -> Value {
    let leader = |id: &Option<MemberId>| id.as_ref().map(|id| id.as_str().to_owned());
    match message {
        ServerMessage::SessionCreated { session_id, nonce } => {
            json!({"sessionId": session_id.as_str(), "nonce": nonce.get()})
        }
        ServerMessage::SessionContinued { nonce } => json!({"nonce": nonce.get()}),
        ServerMessage::SessionRejected { reason, nonce, leader_id } => json!({
            "reason": reason.name(), "nonce": nonce.get(), "leaderId": leader(leader_id),
        }),
        ServerMessage::SessionClosed { reason, leader_id } => {
            json!({"reason": reason.name(), "leaderId": leader(leader_id)})
        }
        ServerMessage::KeepAliveResponse { timestamp } => {
            json!({"timestamp": timestamp.as_millis()})
        }
        ServerMessage::ClientResponse { request_id, result } => {
            json!({"requestId": request_id.get(), "result": hex(result)})
        }
        ServerMessage::ServerRequest { request_id, payload, created_at } => json!({
            "requestId": request_id.get(),
            "payload": hex(payload),
            "createdAt": created_at.as_millis(),
        }),
        ServerMessage::RequestError { request_id, reason } => {
            json!({"requestId": request_id.get(), "reason": reason.name()})
        }
        ServerMessage::QueryResponse { correlation_id, result } => {
            json!({"correlationId": correlation_id.as_str(), "result": hex(result)})
        }
    }
}

/// Builds the message through the public constructors, as an application would.
pub(crate) fn from_json(from: From, json: &Value) -> Message {
    let fields = Fields(json);
    match from {
        From::Client => Message::Client(client_from_json(fields)),
        From::Server => Message::Server(server_from_json(fields)),
    }
}

fn client_from_json(fields: Fields<'_>) -> ClientMessage {
    match fields.text("type") {
        "CreateSession" => {
            let entries = fields.0["capabilities"].as_array().unwrap().iter();
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let entries = entries.map(|entry| (text(&entry[0]), text(&entry[1])));
            let capabilities = Capabilities::new(entries).unwrap();
            ClientMessage::CreateSession { capabilities, nonce: fields.nonce() }
        }
        "ContinueSession" => ClientMessage::ContinueSession {
            session_id: fields.session_id(),
            nonce: fields.nonce(),
        },
        "KeepAlive" => ClientMessage::KeepAlive { timestamp: fields.timestamp("timestamp") },
        "ClientRequest" => ClientMessage::ClientRequest {
            request_id: fields.request_id("requestId"),
            lowest_pending_request_id: fields.request_id("lowestPendingRequestId"),
            payload: fields.payload("payload"),
            created_at: fields.timestamp("createdAt"),
        },
        "ServerRequestAck" => {
            ClientMessage::ServerRequestAck { request_id: fields.request_id("requestId") }
        }
        "CloseSession" => {
            ClientMessage::CloseSession { reason: fields.reason(CloseReason::from_name) }
        }
        "ConnectionClosed" => ClientMessage::ConnectionClosed,
        "Query" => ClientMessage::Query {
            correlation_id: fields.correlation_id(),
            payload: fields.payload("payload"),
            created_at: fields.timestamp("createdAt"),
        },
        other => panic!("unknown message type {other}"),
    }
}

fn server_from_json(fields: Fields<'_>) -> ServerMessage {
    match fields.text("type") {
        "SessionCreated" => {
            ServerMessage::SessionCreated { session_id: fields.session_id(), nonce: fields.nonce() }
        }
        "SessionContinued" => ServerMessage::SessionContinued { nonce: fields.nonce() },
        "SessionRejected" => ServerMessage::SessionRejected {
            reason: fields.reason(RejectionReason::from_name),
            nonce: fields.nonce(),
            leader_id: fields.leader_id(),
        },
        "SessionClosed" => ServerMessage::SessionClosed {
            reason: fields.reason(SessionCloseReason::from_name),
            leader_id: fields.leader_id(),
        },
        "KeepAliveResponse" => {
            ServerMessage::KeepAliveResponse { timestamp: fields.timestamp("timestamp") }
        }
        "ClientResponse" => ServerMessage::ClientResponse {
            request_id: fields.request_id("requestId"),
            result: fields.payload("result"),
        },
        "ServerRequest" => ServerMessage::ServerRequest {
            request_id: fields.request_id("requestId"),
            payload: fields.payload("payload"),
            created_at: fields.timestamp("createdAt"),
        },
        "RequestError" => ServerMessage::RequestError {
            request_id: fields.request_id("requestId"),
            reason: fields.reason(RequestErrorReason::from_name),
        },
        "QueryResponse" => ServerMessage::QueryResponse {
            correlation_id: fields.correlation_id(),
            result: fields.payload("result"),
        },
        other => panic!("unknown message type {other}"),
    }
}

#[derive(Clone, Copy)]
struct Fields<'a>(&'a Value);

impl<'a> Fields<'a> {
    fn text(self, name: &str) -> &'a str {
        self.0[name].as_str().unwrap()
    }

    fn number(self, name: &str) -> i64 {
        self.0[name].as_i64().unwrap()
    }

    fn request_id(self, name: &str) -> RequestId {
        RequestId::try_from(self.number(name)).unwrap()
    }

    fn nonce(self) -> Nonce {
        Nonce::new(self.number("nonce")).unwrap()
    }

    fn timestamp(self, name: &str) -> Timestamp {
        Timestamp::from_millis(self.number(name))
    }

    fn payload(self, name: &str) -> Payload {
        Payload::new(unhex(self.text(name))).unwrap()
    }

    fn session_id(self) -> SessionId {
        SessionId::new(self.text("sessionId")).unwrap()
    }

    fn correlation_id(self) -> CorrelationId {
        CorrelationId::new(self.text("correlationId")).unwrap()
    }

    fn leader_id(self) -> Option<MemberId> {
        match &self.0["leaderId"] {
            Value::Null => None,
            id => Some(MemberId::new(id.as_str().unwrap()).unwrap()),
        }
    }

    fn reason<T>(self, from_name: impl Fn(&str) -> Option<T>) -> T {
        from_name(self.text("reason")).unwrap()
    }
}
