//! Loads the test data, and converts between bytes and hexadecimal digits.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use zraft_kv::{Command, DecodeError, GetResult, Key, Notification, Query, Value};

/// Any of the store's payloads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Payload {
    Command(Command),
    Query(Query),
    GetResult(GetResult),
    Notification(Notification),
}

impl Payload {
    /// Decodes a payload of the kind that the vectors call `kind`.
    pub(crate) fn decode(kind: &str, bytes: &Bytes) -> Result<Self, DecodeError> {
        match kind {
            "Set" | "Watch" => Command::decode(bytes).map(Self::Command),
            "Get" => Query::decode(bytes).map(Self::Query),
            "GetResult" => GetResult::decode(bytes).map(Self::GetResult),
            "Notification" => Notification::decode(bytes).map(Self::Notification),
            other => panic!("unknown kind of payload {other}"),
        }
    }

    pub(crate) fn encode(&self) -> Bytes {
        match self {
            Self::Command(command) => command.encode(),
            Self::Query(query) => query.encode(),
            Self::GetResult(result) => result.encode(),
            Self::Notification(notification) => notification.encode(),
        }
    }

    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Command(Command::Set { .. }) => "Set",
            Self::Command(Command::Watch { .. }) => "Watch",
            Self::Query(Query::Get { .. }) => "Get",
            Self::GetResult(_) => "GetResult",
            Self::Notification(_) => "Notification",
        }
    }

    pub(crate) fn key(&self) -> Option<&Key> {
        match self {
            Self::Command(Command::Set { key, .. } | Command::Watch { key })
            | Self::Query(Query::Get { key })
            | Self::Notification(Notification { key, .. }) => Some(key),
            Self::GetResult(_) => None,
        }
    }

    pub(crate) fn value(&self) -> Option<&Value> {
        match self {
            Self::Command(Command::Set { value, .. })
            | Self::Notification(Notification { value, .. }) => Some(value),
            Self::GetResult(result) => result.value.as_ref(),
            Self::Command(Command::Watch { .. }) | Self::Query(_) => None,
        }
    }
}

pub(crate) const KINDS: [&str; 4] = ["Set", "Get", "GetResult", "Notification"];

/// One line of the vector file: a payload and its bytes.
pub(crate) struct Vector {
    pub(crate) kind: String,
    pub(crate) key: Option<String>,
    pub(crate) value: Option<String>,
    pub(crate) payload: Bytes,
}

pub(crate) fn vectors() -> Vec<Vector> {
    let text = std::fs::read_to_string(testdata().join("kv-vectors.jsonl")).unwrap();
    text.lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let text = |name: &str| line[name].as_str().map(str::to_owned);
            Vector {
                kind: text("kind").unwrap(),
                key: text("key"),
                value: text("value"),
                payload: unhex(&text("hex").unwrap()),
            }
        })
        .collect()
}

pub(crate) fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata")
}

pub(crate) fn unhex(text: &str) -> Bytes {
    let text = text.trim().replace(' ', "");
    assert!(text.len().is_multiple_of(2), "hexadecimal text has an odd number of digits");
    let digits = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digits).collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
