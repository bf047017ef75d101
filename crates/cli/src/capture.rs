//! Reads a capture of one direction of a ZMTP connection, from the first byte of the greeting on.
//!
//! `zraft-zmtp`'s `Connection` fails at the first violation and hides what only concerns ZMTP. This reader shows every
//! frame, valid or not, and continues as long as it can tell frames apart.

use std::io::{self, Read};

use bytes::Bytes;
use serde_json::{Value, json};

use crate::{
    inspect::{self, Side},
    messages::hex,
};

const GREETING: usize = 64;
const MORE: u8 = 0x01;
const LONG: u8 = 0x02;
const COMMAND: u8 = 0x04;
/// Longer frames are skipped: clients and servers accept none of them by default.
const MAX_FRAME: u64 = zraft_zmtp::DEFAULT_MAX_FRAME as u64;

/// Calls `each` with an object for the greeting, each command and each message, and with `{"error": …}` for anything else.
/// Returns true if there was no error.
///
/// Messages have the form of [`inspect::message`]. Greeting and commands have their name in the field `zmtp`.
///
/// # Errors
/// The error of the input or of `each`.
pub fn read(
    from: Side,
    mut input: impl Read,
    mut each: impl FnMut(Value) -> io::Result<()>,
) -> io::Result<bool> {
    let mut good = true;
    let mut report = |what: Result<Value, String>| {
        good &= what.is_ok();
        each(what.unwrap_or_else(|error| json!({ "error": error })))
    };
    match greeting(&take(&mut input, GREETING as u64)?) {
        Ok((object, readable)) => {
            report(Ok(object))?;
            if let Err(error) = readable {
                report(Err(error))?;
                return Ok(false);
            }
        }
        Err(error) => {
            report(Err(error))?;
            return Ok(false);
        }
    }
    loop {
        match next(&mut input)? {
            Next::End => return Ok(good),
            Next::Cut(error) => {
                report(Err(error))?;
                return Ok(false);
            }
            Next::TooLong(length) => report(Err(format!("a frame of {length} bytes is too long")))?,
            Next::Frame { flags, .. } if flags & MORE != 0 => {
                report(Err("a part of a message of several frames".to_owned()))?;
            }
            Next::Frame { flags, body } if flags & COMMAND != 0 => report(command(&body))?,
            Next::Frame { body, .. } => report(inspect::message(from, &Bytes::from(body)))?,
        }
    }
}

/// Reads at most `length` bytes. Allocates as bytes arrive, not for an announced length.
fn take(input: &mut impl Read, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

enum Next {
    End,
    Cut(String),
    TooLong(u64),
    Frame { flags: u8, body: Vec<u8> },
}

fn next(input: &mut impl Read) -> io::Result<Next> {
    let cut = |what: &str| Next::Cut(format!("the capture ends in the middle of {what}"));
    let Some(&flags) = take(input, 1)?.first() else { return Ok(Next::End) };
    if flags & !(MORE | LONG | COMMAND) != 0 {
        return Ok(Next::Cut(format!(
            "{flags:#04x} are not the flags of a frame: the rest cannot be read"
        )));
    }
    let size = take(input, if flags & LONG == 0 { 1 } else { 8 })?;
    let length = match (flags & LONG, &size[..]) {
        (0, [short]) => u64::from(*short),
        (LONG, long) if long.len() == 8 => {
            long.iter().fold(0, |length, byte| length << 8 | u64::from(*byte))
        }
        _ => return Ok(cut("a frame's header")),
    };
    if length > MAX_FRAME {
        let passed = io::copy(&mut input.take(length), &mut io::sink())?;
        return Ok(if passed < length { cut("a frame") } else { Next::TooLong(length) });
    }
    let body = take(input, length)?;
    Ok(if (body.len() as u64) < length { cut("a frame") } else { Next::Frame { flags, body } })
}

/// Returns the greeting, and an error if this reader cannot read what follows it.
fn greeting(bytes: &[u8]) -> Result<(Value, Result<(), String>), String> {
    if bytes.first().is_some_and(|byte| *byte != 0xff) || bytes.get(9).is_some_and(|b| *b != 0x7f) {
        return Err("this is not ZMTP: it does not begin with a greeting".to_owned());
    }
    let Some(bytes) = bytes.first_chunk::<GREETING>() else {
        return Err("the capture ends in the middle of the greeting".to_owned());
    };
    let (major, minor) = (bytes[10], bytes[11]);
    let mechanism = bytes[12..32].split(|byte| *byte == 0).next().unwrap_or_default();
    let mechanism = text(mechanism);
    let readable = if major < 3 {
        Err(format!("ZMTP version {major} is not supported: the rest cannot be read"))
    } else if mechanism != "NULL" {
        Err("only the mechanism NULL is supported: the rest cannot be read".to_owned())
    } else {
        Ok(())
    };
    let object = json!({
        "zmtp": "GREETING",
        "version": format!("{major}.{minor}"),
        "mechanism": mechanism,
        "asServer": bytes[32] != 0,
    });
    Ok((object, readable))
}

fn command(body: &[u8]) -> Result<Value, String> {
    let malformed = || "a malformed command".to_owned();
    let (name, data) = short(body).ok_or_else(malformed)?;
    Ok(match name {
        b"READY" => {
            json!({"zmtp": "READY", "properties": properties(data).ok_or("a malformed READY")?})
        }
        b"ERROR" => json!({"zmtp": "ERROR", "reason": text(short(data).ok_or_else(malformed)?.0)}),
        b"PING" => {
            let (ttl, context) = data.split_first_chunk::<2>().ok_or("a PING without a TTL")?;
            let tenths = u16::from_be_bytes(*ttl);
            json!({"zmtp": "PING", "ttlTenths": tenths, "context": hex(context)})
        }
        b"PONG" => json!({"zmtp": "PONG", "context": hex(data)}),
        other => json!({"zmtp": text(other), "data": hex(data)}),
    })
}

/// Reads properties as pairs of name and value, because a peer may send a name twice.
fn properties(mut data: &[u8]) -> Option<Vec<Value>> {
    let mut properties = Vec::new();
    while !data.is_empty() {
        let (name, rest) = short(data)?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (value, rest) = rest.split_at_checked(length)?;
        properties.push(json!([text(name), text(value)]));
        data = rest;
    }
    Some(properties)
}

/// Splits off the bytes that follow their one-byte length. Returns them and the rest.
fn short(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

/// Returns bytes as text, with escapes for those that are not printable ASCII.
fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

#[cfg(test)]
mod tests;
