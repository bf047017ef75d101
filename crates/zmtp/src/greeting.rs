//! The greeting: the first 64 bytes that each side sends.

use bytes::{Buf, BytesMut};

use crate::Error;

/// The length of a greeting in bytes.
pub(crate) const LEN: usize = 64;
// The position and the length of the mechanism's name, which zeros fill up.
const MECHANISM_AT: usize = 12;
const MECHANISM_LEN: usize = 20;

/// Returns our greeting: version 3.1, mechanism NULL.
pub(crate) fn ours() -> [u8; LEN] {
    let mut greeting = [0; LEN];
    greeting[0] = 0xff;
    // Peers older than version 3 read the bytes in between as a length. Live peers send this 1, and so does this crate.
    greeting[8] = 1;
    greeting[9] = 0x7f;
    greeting[10] = 3;
    greeting[11] = 1;
    greeting[MECHANISM_AT..MECHANISM_AT + 4].copy_from_slice(b"NULL");
    greeting
}

/// Removes the peer's greeting from `rx` once it is complete, and returns the peer's version.
///
/// Returns an error as soon as the received bytes show it: a peer that is not ZMTP may never send 64 bytes.
pub(crate) fn take(rx: &mut BytesMut) -> Result<Option<(u8, u8)>, Error> {
    if rx.first().is_some_and(|byte| *byte != 0xff) || rx.get(9).is_some_and(|b| *b != 0x7f) {
        return Err(Error::NotZmtp);
    }
    if let Some(major) = rx.get(10).filter(|major| **major < 3) {
        return Err(Error::UnsupportedVersion(*major));
    }
    let Some(mechanism) = rx.get(MECHANISM_AT..MECHANISM_AT + MECHANISM_LEN) else {
        return Ok(None);
    };
    let name = mechanism.split(|byte| *byte == 0).next().unwrap_or_default();
    if name != b"NULL" {
        return Err(Error::Mechanism(name.escape_ascii().to_string()));
    }
    let Some(greeting) = rx.first_chunk::<LEN>() else { return Ok(None) };
    let version = (greeting[10], greeting[11]);
    rx.advance(LEN);
    Ok(Some(version))
}
