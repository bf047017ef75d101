//! Loads the test data, and converts between bytes and hexadecimal digits.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde_json::Value;
use zraft_protocol::{ClientMessage, DecodeError, ServerMessage};

use crate::messages;
pub(crate) use crate::messages::hex;

/// A message of either direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    Client(ClientMessage),
    Server(ServerMessage),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    Client,
    Server,
}

impl Message {
    pub(crate) fn decode(from: From, frame: &Bytes) -> Result<Self, DecodeError> {
        match from {
            From::Client => ClientMessage::decode(frame).map(Self::Client),
            From::Server => ServerMessage::decode(frame).map(Self::Server),
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        match self {
            Self::Client(message) => messages::from_client(message),
            Self::Server(message) => messages::from_server(message),
        }
    }

    /// Builds the message through the public constructors, as an application would.
    pub(crate) fn from_json(from: From, json: &Value) -> Self {
        match from {
            From::Client => Self::Client(messages::to_client(json).unwrap()),
            From::Server => Self::Server(messages::to_server(json).unwrap()),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Client(message) => message.encode(&mut out),
            Self::Server(message) => message.encode(&mut out),
        }
        out
    }

    pub(crate) fn encoded_len(&self) -> usize {
        match self {
            Self::Client(message) => message.encoded_len(),
            Self::Server(message) => message.encoded_len(),
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Client(message) => message.kind().name(),
            Self::Server(message) => message.kind().name(),
        }
    }

    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Client(message) => message.kind().code(),
            Self::Server(message) => message.kind().code(),
        }
    }

    /// Returns the application's bytes, or `None` if this type of message carries none.
    pub(crate) fn payload(&self) -> Option<&Bytes> {
        match self {
            Self::Client(
                ClientMessage::ClientRequest { payload, .. } | ClientMessage::Query { payload, .. },
            )
            | Self::Server(
                ServerMessage::ClientResponse { result: payload, .. }
                | ServerMessage::QueryResponse { result: payload, .. }
                | ServerMessage::ServerRequest { payload, .. },
            ) => Some(payload.as_bytes()),
            _ => None,
        }
    }
}

/// One line of the vector file: a message and its bytes.
pub(crate) struct Vector {
    pub(crate) from: From,
    pub(crate) message: Value,
    pub(crate) frame: Bytes,
}

pub(crate) fn vectors() -> Vec<Vector> {
    let text = std::fs::read_to_string(testdata().join("vectors.jsonl")).unwrap();
    text.lines().map(vector).collect()
}

fn vector(line: &str) -> Vector {
    let mut line: Value = serde_json::from_str(line).unwrap();
    let from = match line["from"].as_str().unwrap() {
        "client" => From::Client,
        "server" => From::Server,
        other => panic!("unknown sender {other} in a vector"),
    };
    let frame = unhex(line["hex"].as_str().unwrap());
    Vector { from, message: line["message"].take(), frame }
}

pub(crate) fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata")
}

/// Reads hexadecimal digits, which may have a line end behind them.
pub(crate) fn unhex(text: &str) -> Bytes {
    messages::unhex(text.trim()).unwrap().into()
}
