//! Entries and their bytes. Everything is big-endian. Decoding allocates in proportion to the bytes it is given, never
//! to an announced count. Payloads share those bytes; ids and texts are copied, because sessions outlive the log.

use bytes::{BufMut, Bytes, BytesMut};
use zraft_protocol::{Payload, RequestId, SessionId};

use super::{Acknowledgement, EndReason, Entry, EntryBytes, EntryError, Genesis, Operation};
use crate::{Capabilities, CheckedSettings, Settings, Time};

const VERSION: u8 = 1;

const GENESIS: u8 = 1;
const CREATE_SESSION: u8 = 2;
const COMMAND: u8 = 3;
const ACKNOWLEDGE: u8 = 4;
const END_SESSION: u8 = 5;
const TICK: u8 = 6;
const SETTINGS: u8 = 7;

/// Bytes of version, kind and time.
const HEAD: usize = 10;
/// Bytes of the settings' numbers.
pub(crate) const SETTINGS_LEN: usize = 5 * 4 + 7 * 8;

type Result<T> = std::result::Result<T, EntryError>;

impl Entry {
    /// The version of the format that [`encode`](Self::encode) writes.
    pub const VERSION: u8 = VERSION;

    /// Returns the entry's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.encoded_len());
        self.encode_into(&mut out);
        out.freeze()
    }

    /// Returns the entry's bytes. A command's payload is not copied if it has at least
    /// [`EntryBytes::SHARE_FROM`] bytes.
    #[must_use]
    pub fn encode_shared(&self) -> EntryBytes {
        match &self.operation {
            Operation::Command { payload, .. } if payload.len() >= EntryBytes::SHARE_FROM => {
                let mut head = BytesMut::with_capacity(self.encoded_len() - payload.len());
                self.put_head(&mut head);
                EntryBytes::of_pieces(head.freeze(), payload.clone().into_bytes())
            }
            _ => self.encode().into(),
        }
    }

    /// Appends the entry's bytes, [`encoded_len`](Self::encoded_len) of them.
    ///
    /// # Panics
    /// If `out` is a fixed buffer without room for them.
    pub fn encode_into(&self, out: &mut impl BufMut) {
        self.put_head(out);
        if let Operation::Command { payload, .. } = &self.operation {
            out.put_slice(payload);
        }
    }

    /// Appends the entry's bytes up to a command's payload, which ends the encoding.
    fn put_head(&self, out: &mut impl BufMut) {
        let kind = match &self.operation {
            Operation::Genesis(_) => GENESIS,
            Operation::CreateSession { .. } => CREATE_SESSION,
            Operation::Command { .. } => COMMAND,
            Operation::Acknowledge(_) => ACKNOWLEDGE,
            Operation::EndSession { .. } => END_SESSION,
            Operation::Tick => TICK,
            Operation::Settings(_) => SETTINGS,
        };
        out.put_u8(VERSION);
        out.put_u8(kind);
        out.put_u64(self.time.as_millis());
        match &self.operation {
            Operation::Genesis(Genesis { term, seed }) => {
                out.put_u64(*term);
                out.put_slice(seed);
            }
            Operation::CreateSession { session, capabilities } => {
                put_session(out, session);
                // The protocol's own limits, 65,535 each, are those of these fields.
                out.put_u16(capabilities.len() as u16);
                for text in capabilities.iter().flat_map(|(name, value)| [name, value]) {
                    out.put_u16(text.len() as u16);
                    out.put_slice(text.as_bytes());
                }
            }
            Operation::Command { session, request_id, lowest_pending, payload } => {
                put_session(out, session);
                out.put_u64(request_id.get());
                out.put_u64(lowest_pending.get());
                out.put_u32(payload.len() as u32);
            }
            Operation::Acknowledge(acknowledgements) => {
                out.put_u32(acknowledgements.len() as u32);
                for Acknowledgement { session, up_to } in acknowledgements {
                    put_session(out, session);
                    out.put_u64(up_to.get());
                }
            }
            Operation::EndSession { session, reason } => {
                put_session(out, session);
                out.put_u8(end_reason_code(*reason));
            }
            Operation::Tick => {}
            Operation::Settings(settings) => put_settings(out, settings),
        }
    }

    /// Returns the number of bytes that [`encode`](Self::encode) returns.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let session_len = |session: &SessionId| 1 + session.as_bytes().len();
        HEAD + match &self.operation {
            Operation::Genesis(_) => 8 + 32,
            Operation::CreateSession { session, capabilities } => {
                let texts = capabilities.iter().map(|(name, value)| 4 + name.len() + value.len());
                session_len(session) + 2 + texts.sum::<usize>()
            }
            Operation::Command { session, payload, .. } => {
                session_len(session) + 8 + 8 + 4 + payload.len()
            }
            Operation::Acknowledge(acknowledgements) => {
                let each = acknowledgements.iter().map(|each| session_len(&each.session) + 8);
                4 + each.sum::<usize>()
            }
            Operation::EndSession { session, .. } => session_len(session) + 1,
            Operation::Tick => 0,
            Operation::Settings(_) => SETTINGS_LEN,
        }
    }

    /// Reads an entry. A command's payload shares `bytes`.
    ///
    /// # Errors
    /// If `bytes` is not exactly one entry of a version and kind that this member knows. The member must then stop
    /// before it applies the entry.
    pub fn decode(bytes: &Bytes) -> Result<Self> {
        Self::read(Fields::new(bytes))
    }

    /// Reads an entry from its pieces. A command's payload shares the second piece if that is what it is.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_shared(bytes: &EntryBytes) -> Result<Self> {
        let [head, payload] = bytes.pieces();
        // Only a command's payload is ever apart. Bytes that are divided elsewhere are joined.
        let apart = !payload.is_empty();
        match Self::read(Fields { bytes: head, payload: apart.then_some(payload), at: 0 }) {
            Err(_) if apart => Self::decode(&bytes.to_bytes()),
            read => read,
        }
    }

    fn read(mut fields: Fields<'_>) -> Result<Self> {
        let version = fields.u8("the version")?;
        if version != VERSION {
            return Err(EntryError::UnsupportedVersion(version));
        }
        let kind = fields.u8("the kind")?;
        let time = fields.time()?;
        let operation = match kind {
            GENESIS => {
                let term = fields.u64("the term")?;
                Operation::Genesis(Genesis { term, seed: fields.array("the seed")? })
            }
            CREATE_SESSION => {
                let session = fields.session_id()?;
                Operation::CreateSession { session, capabilities: fields.capabilities()? }
            }
            COMMAND => Operation::Command {
                session: fields.session_id()?,
                request_id: fields.request_id("the request id")?,
                lowest_pending: fields.request_id("the lowest pending id")?,
                payload: fields.payload()?,
            },
            ACKNOWLEDGE => Operation::Acknowledge(fields.acknowledgements()?),
            END_SESSION => {
                let session = fields.session_id()?;
                Operation::EndSession { session, reason: fields.end_reason()? }
            }
            TICK => Operation::Tick,
            SETTINGS => Operation::Settings(fields.settings()?),
            _ => return Err(EntryError::UnknownKind(kind)),
        };
        match fields.left() {
            0 => Ok(Self { time, operation }),
            left => Err(EntryError::TrailingBytes(left)),
        }
    }
}

fn put_session(out: &mut impl BufMut, session: &SessionId) {
    // A session id has 1 to 255 bytes.
    out.put_u8(session.as_bytes().len() as u8);
    out.put_slice(session.as_bytes());
}

pub(crate) fn put_settings(out: &mut impl BufMut, settings: &Settings) {
    // A new setting fails to compile here until it is written.
    let Settings {
        sessions,
        cached_answers,
        cached_bytes,
        total_cached_answers,
        total_cached_bytes,
        server_requests,
        server_request_bytes,
        total_server_requests,
        total_server_request_bytes,
        payload_bytes,
        session_timeout_millis,
        application_level,
    } = settings;
    out.put_u32(*sessions);
    out.put_u32(*cached_answers);
    out.put_u64(*cached_bytes);
    out.put_u64(*total_cached_answers);
    out.put_u64(*total_cached_bytes);
    out.put_u32(*server_requests);
    out.put_u64(*server_request_bytes);
    out.put_u64(*total_server_requests);
    out.put_u64(*total_server_request_bytes);
    out.put_u32(*payload_bytes);
    out.put_u64(*session_timeout_millis);
    out.put_u32(*application_level);
}

/// Reads settings that [`put_settings`] wrote.
pub(crate) fn read_settings(bytes: &Bytes) -> Result<CheckedSettings> {
    Fields::new(bytes).settings()
}

fn end_reason_code(reason: EndReason) -> u8 {
    crate::SessionEnd::from(reason).code()
}

/// Reads fields, one after the other.
struct Fields<'a> {
    bytes: &'a Bytes,
    /// A payload that follows `bytes` apart from them.
    payload: Option<&'a Bytes>,
    at: usize,
}

impl<'a> Fields<'a> {
    fn new(bytes: &'a Bytes) -> Self {
        Self { bytes, payload: None, at: 0 }
    }

    fn left(&self) -> usize {
        self.bytes.len() - self.at + self.payload.map_or(0, Bytes::len)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N]> {
        let rest = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk::<N>);
        let array = rest.ok_or(EntryError::Truncated(field))?;
        self.at += N;
        Ok(*array)
    }

    fn slice(&mut self, length: usize, field: &'static str) -> Result<Bytes> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or(EntryError::Truncated(field))?;
        let slice = self.bytes.slice(self.at..end);
        self.at = end;
        Ok(slice)
    }

    fn u8(&mut self, field: &'static str) -> Result<u8> {
        self.array(field).map(u8::from_be_bytes)
    }

    fn u16(&mut self, field: &'static str) -> Result<u16> {
        self.array(field).map(u16::from_be_bytes)
    }

    fn u32(&mut self, field: &'static str) -> Result<u32> {
        self.array(field).map(u32::from_be_bytes)
    }

    fn u64(&mut self, field: &'static str) -> Result<u64> {
        self.array(field).map(u64::from_be_bytes)
    }

    fn text(&mut self, length: usize, field: &'static str) -> Result<String> {
        let text = self.slice(length, field)?;
        let text = std::str::from_utf8(&text).map_err(|_| EntryError::Invalid(field))?;
        Ok(text.to_owned())
    }

    fn time(&mut self) -> Result<Time> {
        let millis = self.u64("the time")?;
        if millis > Time::MAX.as_millis() {
            return Err(EntryError::Invalid("the time"));
        }
        Ok(Time::from_millis(millis))
    }

    fn session_id(&mut self) -> Result<SessionId> {
        let field = "the session id";
        let length = self.u8(field)?;
        let text = self.text(length.into(), field)?;
        SessionId::new(text).map_err(|_| EntryError::Invalid(field))
    }

    fn request_id(&mut self, field: &'static str) -> Result<RequestId> {
        RequestId::new(self.u64(field)?).map_err(|_| EntryError::Invalid(field))
    }

    fn payload(&mut self) -> Result<Payload> {
        let field = "the payload";
        let length = self.u32(field)?;
        let bytes = match self.payload {
            Some(apart) if self.at == self.bytes.len() && apart.len() == length as usize => {
                self.payload = None;
                apart.clone()
            }
            _ => self.slice(length as usize, field)?,
        };
        Payload::new(bytes).map_err(|_| EntryError::Invalid(field))
    }

    fn capabilities(&mut self) -> Result<Capabilities> {
        let field = "the capabilities";
        let count = self.u16(field)?;
        let mut entries = Vec::new();
        for _ in 0..count {
            let mut text = || {
                let length = self.u16(field)?;
                self.text(length.into(), field)
            };
            entries.push((text()?, text()?));
        }
        if entries.is_empty() {
            return Ok(Capabilities::none());
        }
        let read = entries.len();
        let capabilities = zraft_protocol::Capabilities::new(entries).map(Capabilities::from);
        // A name that repeats would be dropped, and the entry would not encode to the bytes it was read from.
        capabilities
            .ok()
            .filter(|capabilities| capabilities.len() == read)
            .ok_or(EntryError::Invalid(field))
    }

    fn acknowledgements(&mut self) -> Result<Vec<Acknowledgement>> {
        let field = "the acknowledgements";
        let count = self.u32(field)?;
        let mut acknowledgements = Vec::new();
        for _ in 0..count {
            let session = self.session_id()?;
            let up_to = self.request_id(field)?;
            acknowledgements.push(Acknowledgement { session, up_to });
        }
        Ok(acknowledgements)
    }

    fn end_reason(&mut self) -> Result<EndReason> {
        let field = "the reason";
        let code = self.u8(field)?;
        let reasons = [
            EndReason::Closed,
            EndReason::Expired,
            EndReason::Abandoned,
            EndReason::CacheOverrun,
            EndReason::Removed,
        ];
        let reason = reasons.into_iter().find(|reason| end_reason_code(*reason) == code);
        reason.ok_or(EntryError::Invalid(field))
    }

    fn settings(&mut self) -> Result<CheckedSettings> {
        let field = "the settings";
        let settings = Settings {
            sessions: self.u32(field)?,
            cached_answers: self.u32(field)?,
            cached_bytes: self.u64(field)?,
            total_cached_answers: self.u64(field)?,
            total_cached_bytes: self.u64(field)?,
            server_requests: self.u32(field)?,
            server_request_bytes: self.u64(field)?,
            total_server_requests: self.u64(field)?,
            total_server_request_bytes: self.u64(field)?,
            payload_bytes: self.u32(field)?,
            session_timeout_millis: self.u64(field)?,
            application_level: self.u32(field)?,
        };
        Ok(settings.check()?)
    }
}
