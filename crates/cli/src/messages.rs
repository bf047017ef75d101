//! The JSON form of messages, which is also the form of the test vectors.
//!
//! Numbers are exact integers, and payloads hexadecimal digits. Secrets are shown: they are in the bytes anyway. The tests
//! of `zraft-protocol` include this file, so that there is one JSON form.

use serde_json::{Map, Value, json};
use zraft_protocol::{
    Capabilities, ClientMessage, CloseReason, CorrelationId, Field, MemberId, Nonce, Payload,
    RejectionReason, RequestErrorReason, RequestId, ServerMessage, SessionCloseReason, SessionId,
    Timestamp,
};

/// Returns bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// Reads bytes from hexadecimal digits of either case.
///
/// # Errors
/// A text if a character is not a digit, or the number of digits is odd.
pub fn unhex(text: &str) -> Result<Vec<u8>, String> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return Err("an odd number of hexadecimal digits".to_owned());
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    digits
        .chunks_exact(2)
        .map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?))
        .collect::<Option<_>>()
        .ok_or_else(|| "not hexadecimal".to_owned())
}

/// Returns the JSON form of a client's message.
pub fn from_client(message: &ClientMessage) -> Value {
    from_fields(message.kind().name(), message.fields())
}

/// Returns the JSON form of a server's message.
pub fn from_server(message: &ServerMessage) -> Value {
    from_fields(message.kind().name(), message.fields())
}

fn from_fields(kind: &str, fields: Vec<(&'static str, Field<'_>)>) -> Value {
    let mut object = Map::new();
    object.insert("type".to_owned(), json!(kind));
    for (name, field) in fields {
        let value = match field {
            Field::RequestId(id) => json!(id.get()),
            Field::Nonce(nonce) => json!(nonce.get()),
            Field::Timestamp(time) => json!(time.as_millis()),
            Field::SessionId(id) => json!(id.as_str()),
            Field::CorrelationId(id) => json!(id.as_str()),
            Field::MemberId(id) => json!(id.map(MemberId::as_str)),
            Field::Reason(reason) => json!(reason),
            Field::Payload(payload) => json!(hex(payload)),
            Field::Capabilities(entries) => {
                json!(entries.iter().map(|(name, value)| [name, value]).collect::<Vec<_>>())
            }
            // A kind of field that is new in the protocol and unknown here.
            _ => Value::Null,
        };
        object.insert(name.to_owned(), value);
    }
    Value::Object(object)
}

/// The JSON fields from which a message is built.
struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    fn of(value: &'a Value) -> Result<(&'a str, Self), String> {
        let fields = Self(value.as_object().ok_or("not a JSON object")?);
        Ok((fields.text("type")?, fields))
    }

    fn get(&self, name: &str) -> Result<&'a Value, String> {
        self.0.get(name).ok_or_else(|| format!("{name} is missing"))
    }

    fn text(&self, name: &str) -> Result<&'a str, String> {
        self.get(name)?.as_str().ok_or_else(|| format!("{name} is not text"))
    }

    fn number(&self, name: &str) -> Result<i64, String> {
        self.get(name)?.as_i64().ok_or_else(|| format!("{name} is not an integer of 64 bits"))
    }

    fn request_id(&self, name: &str) -> Result<RequestId, String> {
        RequestId::try_from(self.number(name)?).map_err(|error| error.to_string())
    }

    fn nonce(&self) -> Result<Nonce, String> {
        Nonce::new(self.number("nonce")?).map_err(|error| error.to_string())
    }

    fn timestamp(&self, name: &str) -> Result<Timestamp, String> {
        self.number(name).map(Timestamp::from_millis)
    }

    fn payload(&self, name: &str) -> Result<Payload, String> {
        Payload::new(unhex(self.text(name)?)?).map_err(|error| error.to_string())
    }

    fn session_id(&self) -> Result<SessionId, String> {
        SessionId::new(self.text("sessionId")?).map_err(|error| error.to_string())
    }

    fn correlation_id(&self) -> Result<CorrelationId, String> {
        CorrelationId::new(self.text("correlationId")?).map_err(|error| error.to_string())
    }

    fn leader_id(&self) -> Result<Option<MemberId>, String> {
        match self.0.get("leaderId") {
            None | Some(Value::Null) => Ok(None),
            Some(_) => {
                MemberId::new(self.text("leaderId")?).map(Some).map_err(|error| error.to_string())
            }
        }
    }

    fn reason<T>(&self, from_name: fn(&str) -> Option<T>) -> Result<T, String> {
        let name = self.text("reason")?;
        from_name(name).ok_or_else(|| format!("reason {name:?} is unknown"))
    }

    fn capabilities(&self) -> Result<Capabilities, String> {
        let form = || "capabilities are not an array of pairs of text".to_owned();
        let entries = self.get("capabilities")?.as_array().ok_or_else(form)?;
        let pairs: Vec<(&str, &str)> = entries
            .iter()
            .map(|entry| match entry.as_array().map(Vec::as_slice) {
                Some([name, value]) => Some((name.as_str()?, value.as_str()?)),
                _ => None,
            })
            .collect::<Option<_>>()
            .ok_or_else(form)?;
        Capabilities::new(pairs).map_err(|error| error.to_string())
    }
}

/// Builds a client's message from its JSON form.
///
/// # Errors
/// A text that names a field that is missing, has the wrong type, or has a value that the wire cannot carry.
pub fn to_client(value: &Value) -> Result<ClientMessage, String> {
    let (kind, fields) = Fields::of(value)?;
    Ok(match kind {
        "CreateSession" => ClientMessage::CreateSession {
            capabilities: fields.capabilities()?,
            nonce: fields.nonce()?,
        },
        "ContinueSession" => ClientMessage::ContinueSession {
            session_id: fields.session_id()?,
            nonce: fields.nonce()?,
        },
        "KeepAlive" => ClientMessage::KeepAlive { timestamp: fields.timestamp("timestamp")? },
        "ClientRequest" => ClientMessage::ClientRequest {
            request_id: fields.request_id("requestId")?,
            lowest_pending_request_id: fields.request_id("lowestPendingRequestId")?,
            payload: fields.payload("payload")?,
            created_at: fields.timestamp("createdAt")?,
        },
        "ServerRequestAck" => {
            ClientMessage::ServerRequestAck { request_id: fields.request_id("requestId")? }
        }
        "CloseSession" => {
            ClientMessage::CloseSession { reason: fields.reason(CloseReason::from_name)? }
        }
        "ConnectionClosed" => ClientMessage::ConnectionClosed,
        "Query" => ClientMessage::Query {
            correlation_id: fields.correlation_id()?,
            payload: fields.payload("payload")?,
            created_at: fields.timestamp("createdAt")?,
        },
        _ => return Err(format!("clients send no {kind:?}")),
    })
}

/// Builds a server's message from its JSON form.
///
/// # Errors
/// A text that names a field that is missing, has the wrong type, or has a value that the wire cannot carry.
pub fn to_server(value: &Value) -> Result<ServerMessage, String> {
    let (kind, fields) = Fields::of(value)?;
    Ok(match kind {
        "SessionCreated" => ServerMessage::SessionCreated {
            session_id: fields.session_id()?,
            nonce: fields.nonce()?,
        },
        "SessionContinued" => ServerMessage::SessionContinued { nonce: fields.nonce()? },
        "SessionRejected" => ServerMessage::SessionRejected {
            reason: fields.reason(RejectionReason::from_name)?,
            nonce: fields.nonce()?,
            leader_id: fields.leader_id()?,
        },
        "SessionClosed" => ServerMessage::SessionClosed {
            reason: fields.reason(SessionCloseReason::from_name)?,
            leader_id: fields.leader_id()?,
        },
        "KeepAliveResponse" => {
            ServerMessage::KeepAliveResponse { timestamp: fields.timestamp("timestamp")? }
        }
        "ClientResponse" => ServerMessage::ClientResponse {
            request_id: fields.request_id("requestId")?,
            result: fields.payload("result")?,
        },
        "ServerRequest" => ServerMessage::ServerRequest {
            request_id: fields.request_id("requestId")?,
            payload: fields.payload("payload")?,
            created_at: fields.timestamp("createdAt")?,
        },
        "RequestError" => ServerMessage::RequestError {
            request_id: fields.request_id("requestId")?,
            reason: fields.reason(RequestErrorReason::from_name)?,
        },
        "QueryResponse" => ServerMessage::QueryResponse {
            correlation_id: fields.correlation_id()?,
            result: fields.payload("result")?,
        },
        _ => return Err(format!("servers send no {kind:?}")),
    })
}
