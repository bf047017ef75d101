//! Converts between the bytes of messages and their JSON form.

use bytes::Bytes;
use serde_json::Value;
use zraft_protocol::{ClientMessage, ServerMessage};

use crate::messages::{from_client, from_server, hex, to_client, to_server, unhex};

/// The side that sends a message. Clients and servers use the same discriminators for different messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Side {
    /// Messages that a client sends.
    Client,
    /// Messages that a server sends.
    Server,
}

/// Decodes a message.
///
/// # Errors
/// A text that says why the bytes are not a message.
pub fn message(from: Side, frame: &Bytes) -> Result<Value, String> {
    match from {
        Side::Client => ClientMessage::decode(frame).map(|message| from_client(&message)),
        Side::Server => ServerMessage::decode(frame).map(|message| from_server(&message)),
    }
    .map_err(|error| error.to_string())
}

/// Decodes a message from a line of hexadecimal digits.
///
/// # Errors
/// A text that says why the line is not a message.
pub fn decode(from: Side, line: &str) -> Result<Value, String> {
    message(from, &Bytes::from(unhex(line)?))
}

/// Encodes a message from a line of JSON. Returns hexadecimal digits.
///
/// # Errors
/// A text that says why the line is not a message.
pub fn encode(from: Side, line: &str) -> Result<String, String> {
    let value: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let mut frame = Vec::new();
    match from {
        Side::Client => to_client(&value)?.encode(&mut frame),
        Side::Server => to_server(&value)?.encode(&mut frame),
    }
    Ok(hex(&frame))
}
