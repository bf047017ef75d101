//! The ZMTP commands READY, ERROR, PING and PONG: reading the peer's and writing ours.

use crate::{Error, SocketType, frame};

/// The longest PING context in bytes. RFC 37 sets this limit; a PONG repeats the context.
pub(crate) const MAX_CONTEXT: usize = 16;

/// A command that the peer sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command<'a> {
    Ready {
        socket_type: Option<&'a [u8]>,
    },
    Error {
        reason: &'a [u8],
    },
    Ping {
        ttl_tenths: u16,
        context: &'a [u8],
    },
    Pong,
    /// A command with another name. It is ignored, so that later ZMTP versions can add commands.
    Unknown,
}

impl<'a> Command<'a> {
    pub(crate) fn read(body: &'a [u8]) -> Result<Self, Error> {
        let malformed = Error::Protocol("a malformed command");
        let Some((name, data)) = split_short(body) else { return Err(malformed) };
        Ok(match name {
            b"READY" => Self::Ready { socket_type: socket_type(data)? },
            b"ERROR" => Self::Error { reason: split_short(data).ok_or(malformed)?.0 },
            b"PING" => {
                let Some((ttl, context)) = data.split_first_chunk::<2>() else {
                    return Err(Error::Protocol("a PING without a TTL"));
                };
                if context.len() > MAX_CONTEXT {
                    return Err(Error::Protocol("a PING with more than 16 bytes of context"));
                }
                Self::Ping { ttl_tenths: u16::from_be_bytes(*ttl), context }
            }
            b"PONG" => Self::Pong,
            _ => Self::Unknown,
        })
    }
}

/// Splits off a text that follows its one-byte length. Returns the text and the remaining bytes.
fn split_short(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

/// Finds the `Socket-Type` property of READY. Property names are case-insensitive.
fn socket_type(mut data: &[u8]) -> Result<Option<&[u8]>, Error> {
    let malformed = Error::Protocol("malformed properties in READY");
    let mut found = None;
    while !data.is_empty() {
        let Some((name, rest)) = split_short(data) else { return Err(malformed) };
        let Some((length, rest)) = rest.split_first_chunk::<4>() else { return Err(malformed) };
        let length = u32::from_be_bytes(*length) as usize;
        let Some((value, rest)) = rest.split_at_checked(length) else { return Err(malformed) };
        if name.eq_ignore_ascii_case(b"Socket-Type") {
            found = Some(value);
        }
        data = rest;
    }
    Ok(found)
}

/// Returns a whole frame with our READY.
pub(crate) fn ready(socket_type: SocketType) -> Vec<u8> {
    let mut body = b"\x05READY\x0bSocket-Type".to_vec();
    let name = socket_type.name().as_bytes();
    body.extend_from_slice(&(name.len() as u32).to_be_bytes());
    body.extend_from_slice(name);
    framed(&body)
}

/// Returns a whole frame with an ERROR. The reason is cut to 255 bytes, because its length field has one byte.
pub(crate) fn error(reason: &str) -> Vec<u8> {
    let reason = &reason.as_bytes()[..reason.len().min(255)];
    let mut body = b"\x05ERROR".to_vec();
    body.push(reason.len() as u8);
    body.extend_from_slice(reason);
    framed(&body)
}

/// Returns a whole frame with a PING without context.
pub(crate) fn ping(ttl_tenths: u16) -> [u8; 9] {
    let [high, low] = ttl_tenths.to_be_bytes();
    [frame::COMMAND, 7, 4, b'P', b'I', b'N', b'G', high, low]
}

/// Returns a whole frame with a PONG that repeats `context`.
pub(crate) fn pong(context: &[u8]) -> Vec<u8> {
    let mut body = b"\x04PONG".to_vec();
    body.extend_from_slice(context);
    framed(&body)
}

fn framed(body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::with_capacity(body.len() + 9);
    frame::write(frame::COMMAND, body.len(), |header| whole.extend_from_slice(header));
    whole.extend_from_slice(body);
    whole
}
