//! One direction of a ZMTP connection, from the first byte of the greeting on, as it was captured.
//!
//! `zraft-zmtp`'s `Connection` judges a peer and hides what it needs for itself. This shows everything that was said,
//! fitting or not, and goes on as long as the frames can be told apart.

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

/// Hands an object for the greeting, each command and each message to `each`, and an `{"error": …}` for what is none.
/// `false` when there was one of those.
///
/// Messages have the form of [`inspect::message`]; greeting and commands have their name as `zmtp`.
///
/// # Errors
/// When reading fails, or `each` does.
pub fn read(
    from: Side,
    mut input: impl Read,
    mut each: impl FnMut(Value) -> io::Result<()>,
) -> io::Result<bool> {
    let mut good = true;
    let mut tell = |what: Result<Value, String>| {
        good &= what.is_ok();
        each(what.unwrap_or_else(|error| json!({ "error": error })))
    };
    match greeting(&take(&mut input, GREETING as u64)?) {
        Ok((object, readable)) => {
            tell(Ok(object))?;
            if let Err(error) = readable {
                tell(Err(error))?;
                return Ok(false);
            }
        }
        Err(error) => {
            tell(Err(error))?;
            return Ok(false);
        }
    }
    loop {
        match next(&mut input)? {
            Next::End => return Ok(good),
            Next::Cut(error) => {
                tell(Err(error))?;
                return Ok(false);
            }
            Next::TooLong(length) => tell(Err(format!("a frame of {length} bytes is too long")))?,
            Next::Frame { flags, .. } if flags & MORE != 0 => {
                tell(Err("a part of a message of several frames".to_owned()))?;
            }
            Next::Frame { flags, body } if flags & COMMAND != 0 => tell(command(&body))?,
            Next::Frame { body, .. } => tell(inspect::message(from, &Bytes::from(body)))?,
        }
    }
}

/// At most this much, as it comes: nothing is set aside for what was only announced.
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
        return Ok(Next::Cut(format!("{flags:#04x} are no flags of a frame: no more can be read")));
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

/// The greeting, and whether what follows it can be read.
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
        Err(format!("version {major} of ZMTP is not known: no more can be read"))
    } else if mechanism != "NULL" {
        Err("only the mechanism NULL is known: no more can be read".to_owned())
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

/// Names and values, as pairs: nothing keeps a name from being there twice.
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

/// What a length of one byte goes before, and what comes after it.
fn short(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

/// Text where it should be, whatever it is.
fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

#[cfg(test)]
mod tests;
