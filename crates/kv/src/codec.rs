//! Bytes to payloads and back. Texts have a length of four bytes before them, big-endian and never negative; bytes after
//! the last field are ignored. What is decoded shares the bytes it came in, and nothing is allocated by an announced
//! length.

use bytes::{BufMut, Bytes, BytesMut};

use crate::{Command, DecodeError, GetResult, Key, Notification, Query, Value};

const SET: u8 = b'S';
const WATCH: u8 = b'W';
const GET: u8 = b'G';
const NOTIFICATION: u8 = b'N';
const ABSENT: u8 = 0x00;
const PRESENT: u8 = 0xff;

/// Bytes of a text's length.
const LENGTH: usize = 4;

struct Reader<'a> {
    payload: &'a Bytes,
    at: usize,
}

impl<'a> Reader<'a> {
    /// The first byte, and a reader of what follows it.
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

/// A tag and the texts after it, in a buffer of just that size.
fn encode(tag: u8, texts: &[&Bytes]) -> Bytes {
    let length = texts.iter().map(|text| LENGTH + text.len()).sum::<usize>();
    let mut out = BytesMut::with_capacity(1 + length);
    out.put_u8(tag);
    for text in texts {
        // Made by `new`, a text is far shorter than this field can tell; decoded, it came with such a field.
        out.put_u32(text.len() as u32);
        out.put_slice(text);
    }
    out.freeze()
}

impl Command {
    /// The command in a command's payload.
    ///
    /// # Errors
    /// When the payload is none of the store's commands.
    pub fn decode(payload: &Bytes) -> Result<Self, DecodeError> {
        match Reader::tagged(payload, "the command")? {
            (SET, mut fields) => Ok(Self::Set { key: fields.key()?, value: fields.value()? }),
            (WATCH, mut fields) => Ok(Self::Watch { key: fields.key()? }),
            (tag, _) => Err(DecodeError::UnknownTag(tag)),
        }
    }

    /// The payload.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Set { key, value } => encode(SET, &[key.as_bytes(), value.as_bytes()]),
            Self::Watch { key } => encode(WATCH, &[key.as_bytes()]),
        }
    }
}

impl Query {
    /// The query in a query's payload.
    ///
    /// # Errors
    /// When the payload is none of the store's queries.
    pub fn decode(payload: &Bytes) -> Result<Self, DecodeError> {
        match Reader::tagged(payload, "the query")? {
            (GET, mut fields) => Ok(Self::Get { key: fields.key()? }),
            (tag, _) => Err(DecodeError::UnknownTag(tag)),
        }
    }

    /// The payload.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Get { key } => encode(GET, &[key.as_bytes()]),
        }
    }
}

impl GetResult {
    /// The answer in a query's result.
    ///
    /// # Errors
    /// When the result is no answer to a Get.
    pub fn decode(result: &Bytes) -> Result<Self, DecodeError> {
        let value = match Reader::tagged(result, "the answer")? {
            (ABSENT, _) => None,
            (_, mut fields) => Some(fields.value()?),
        };
        Ok(Self { value })
    }

    /// The result.
    pub fn encode(&self) -> Bytes {
        match &self.value {
            None => Bytes::from_static(&[ABSENT]),
            Some(value) => encode(PRESENT, &[value.as_bytes()]),
        }
    }
}

impl Notification {
    /// The notification in a server request's payload.
    ///
    /// # Errors
    /// When the payload is no notification.
    pub fn decode(payload: &Bytes) -> Result<Self, DecodeError> {
        match Reader::tagged(payload, "the notification")? {
            (NOTIFICATION, mut fields) => Ok(Self { key: fields.key()?, value: fields.value()? }),
            (tag, _) => Err(DecodeError::UnknownTag(tag)),
        }
    }

    /// The payload.
    pub fn encode(&self) -> Bytes {
        encode(NOTIFICATION, &[self.key.as_bytes(), self.value.as_bytes()])
    }
}
