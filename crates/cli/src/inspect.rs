//! What lines say: bytes to messages, and messages to bytes.

use bytes::Bytes;
use serde_json::Value;
use zraft_protocol::{ClientMessage, ServerMessage};

use crate::messages::{from_client, from_server, hex, to_client, to_server, unhex};

/// Who sends a message: each side has its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Side {
    /// What a client sends.
    Client,
    /// What a server sends.
    Server,
}

/// A message from its bytes.
///
/// # Errors
/// Says what is wrong with them.
pub fn message(from: Side, frame: &Bytes) -> Result<Value, String> {
    match from {
        Side::Client => ClientMessage::decode(frame).map(|message| from_client(&message)),
        Side::Server => ServerMessage::decode(frame).map(|message| from_server(&message)),
    }
    .map_err(|error| error.to_string())
}

/// A message from a line of hexadecimal digits.
///
/// # Errors
/// Says what is wrong with it.
pub fn decode(from: Side, line: &str) -> Result<Value, String> {
    message(from, &Bytes::from(unhex(line)?))
}

/// The bytes of a message, in hexadecimal digits, from a line of JSON.
///
/// # Errors
/// Says what is wrong with it.
pub fn encode(from: Side, line: &str) -> Result<String, String> {
    let value: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let mut frame = Vec::new();
    match from {
        Side::Client => to_client(&value)?.encode(&mut frame),
        Side::Server => to_server(&value)?.encode(&mut frame),
    }
    Ok(hex(&frame))
}
