//! Encodes and decodes payloads.
//!
//! A payload is a tag byte and texts. Each text follows its length, a big-endian signed 32-bit number that is never
//! negative. Bytes after the last field are ignored. Decoded texts share the payload's bytes, and no buffer is
//! allocated from an announced length.

use bytes::{BufMut, Bytes, BytesMut};

use crate::{Command, DecodeError, GetResult, Key, Notification, Query, Value};

// The tags of the live store. An answer to a Get has a tag that says whether a value follows.
const SET: u8 = b'S';
const WATCH: u8 = b'W';
const GET: u8 = b'G';
const NOTIFICATION: u8 = b'N';
const ABSENT: u8 = 0x00;
const PRESENT: u8 = 0xff;

/// Size in bytes of the length field before a text.
const LENGTH: usize = 4;

struct Reader<'a> {
    payload: &'a Bytes,
    at: usize,
}

impl<'a> Reader<'a> {
    /// Returns the tag byte and a reader of the fields after it.
    fn tagged(payload: &'a Bytes, field: &'static str) -> Result<(u8, Self), DecodeError> {
        let tag = payload.first().ok_or(DecodeError::Truncated { field })?;
        Ok((*tag, Self { payload, at: 1 }))
    }

    fn bytes(&mut self, field: &'static str) -> Result<Bytes, DecodeError> {
        let truncated = DecodeError::Truncated { field };
        let rest = self.payload.get(self.at..).ok_or(truncated)?;
        let (length, text) = rest.split_first_chunk::<LENGTH>().ok_or(truncated)?;
        let length = usize::try_from(i32::from_be_bytes(*length))
            .map_err(|_| DecodeError::NegativeLength { field })?;
        if length > text.len() {
            return Err(truncated);
        }
        let from = self.at + LENGTH;
        self.at = from + length;
        Ok(self.payload.slice(from..self.at))
    }

    fn key(&mut self) -> Result<Key, DecodeError> {
        let field = "the key";
        Key::from_wire(self.bytes(field)?).ok_or(DecodeError::InvalidUtf8 { field })
    }

    fn value(&mut self) -> Result<Value, DecodeError> {
        let field = "the value";
        Value::from_wire(self.bytes(field)?).ok_or(DecodeError::InvalidUtf8 { field })
    }
}

/// Encodes a tag and the texts after it into a buffer of exactly their size.
fn encode(tag: u8, texts: &[&Bytes]) -> Bytes {
    let length = texts.iter().map(|text| LENGTH + text.len()).sum::<usize>();
    let mut out = BytesMut::with_capacity(1 + length);
    out.put_u8(tag);
    for text in texts {
        // The length fits: `new` limits a text to 1 MiB, and a decoded text had a length field of this size.
        out.put_u32(text.len() as u32);
        out.put_slice(text);
    }
    out.freeze()
}

impl Command {
    /// Decodes the payload of a command.
    ///
    /// # Errors
    /// Returns a [`DecodeError`] if the payload is not a command of the store.
    pub fn decode(payload: &Bytes) -> Result<Self, DecodeError> {
        match Reader::tagged(payload, "the command")? {
            (SET, mut fields) => Ok(Self::Set { key: fields.key()?, value: fields.value()? }),
            (WATCH, mut fields) => Ok(Self::Watch { key: fields.key()? }),
            (tag, _) => Err(DecodeError::UnknownTag(tag)),
        }
    }

    /// Encodes the payload.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Set { key, value } => encode(SET, &[key.as_bytes(), value.as_bytes()]),
            Self::Watch { key } => encode(WATCH, &[key.as_bytes()]),
        }
    }
}

impl Query {
    /// Decodes the payload of a query.
    ///
    /// # Errors
    /// Returns a [`DecodeError`] if the payload is not a query of the store.
    pub fn decode(payload: &Bytes) -> Result<Self, DecodeError> {
        match Reader::tagged(payload, "the query")? {
            (GET, mut fields) => Ok(Self::Get { key: fields.key()? }),
            (tag, _) => Err(DecodeError::UnknownTag(tag)),
        }
    }

    /// Encodes the payload.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Get { key } => encode(GET, &[key.as_bytes()]),
        }
    }
}

impl GetResult {
    /// Decodes the answer to a query. Every tag except zero means that a value follows.
    ///
    /// # Errors
    /// Returns a [`DecodeError`] if the payload is not an answer to a Get.
    pub fn decode(result: &Bytes) -> Result<Self, DecodeError> {
        let value = match Reader::tagged(result, "the answer")? {
            (ABSENT, _) => None,
            (_, mut fields) => Some(fields.value()?),
        };
        Ok(Self { value })
    }

    /// Encodes the payload of the answer.
    pub fn encode(&self) -> Bytes {
        match &self.value {
            None => Bytes::from_static(&[ABSENT]),
            Some(value) => encode(PRESENT, &[value.as_bytes()]),
        }
    }
}

impl Notification {
    /// Decodes the payload of a server request.
    ///
    /// # Errors
    /// Returns a [`DecodeError`] if the payload is not a notification.
    pub fn decode(payload: &Bytes) -> Result<Self, DecodeError> {
        match Reader::tagged(payload, "the notification")? {
            (NOTIFICATION, mut fields) => Ok(Self { key: fields.key()?, value: fields.value()? }),
            (tag, _) => Err(DecodeError::UnknownTag(tag)),
        }
    }

    /// Encodes the payload.
    pub fn encode(&self) -> Bytes {
        encode(NOTIFICATION, &[self.key.as_bytes(), self.value.as_bytes()])
    }
}
