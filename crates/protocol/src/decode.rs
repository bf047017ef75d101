//! Decodes messages from frames.
//!
//! Decoded payloads and texts share the frame's bytes. No buffer is ever allocated from an announced length: a peer
//! could announce gigabytes and send nothing.

use std::ops::Range;

use bytes::Bytes;

use crate::{
    Capabilities, ClientMessage, ClientMessageKind, CloseReason, CorrelationId, DecodeError,
    HEADER_LEN, MemberId, Nonce, PREFIX, Payload, RejectionReason, RequestErrorReason, RequestId,
    SIGNATURE, ServerMessage, ServerMessageKind, SessionCloseReason, SessionId, Timestamp, VERSION,
    text::Text, value::Builder,
};

type Result<T> = std::result::Result<T, DecodeError>;

/// Reads the fields of a frame in order.
struct Reader<'a> {
    frame: &'a Bytes,
    at: usize,
}

/// Checks the signature and the version, and returns the discriminator.
#[inline]
pub(crate) fn discriminator(frame: &[u8]) -> Result<u8> {
    match frame.first_chunk::<HEADER_LEN>() {
        Some([prefix @ .., discriminator]) if *prefix == PREFIX => Ok(*discriminator),
        _ => Err(bad_header(frame)),
    }
}

#[cold]
fn bad_header(frame: &[u8]) -> DecodeError {
    if !SIGNATURE.starts_with(&frame[..frame.len().min(SIGNATURE.len())]) {
        return DecodeError::BadSignature;
    }
    match frame.get(SIGNATURE.len()) {
        Some(&version) if version != VERSION => DecodeError::UnsupportedVersion(version),
        _ => DecodeError::Truncated { field: "the header" },
    }
}

impl<'a> Reader<'a> {
    #[inline]
    fn fields(frame: &'a Bytes) -> Self {
        Self { frame, at: HEADER_LEN }
    }

    #[inline]
    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N]> {
        match self.frame.get(self.at..).and_then(<[u8]>::first_chunk::<N>) {
            Some(bytes) => {
                self.at += N;
                Ok(*bytes)
            }
            None => Err(DecodeError::Truncated { field }),
        }
    }

    #[inline]
    fn bytes(&mut self, length: usize, field: &'static str) -> Result<Bytes> {
        match self.at.checked_add(length).filter(|end| *end <= self.frame.len()) {
            Some(end) => {
                let bytes = self.frame.slice(self.at..end);
                self.at = end;
                Ok(bytes)
            }
            None => Err(DecodeError::Truncated { field }),
        }
    }

    #[inline]
    fn i64(&mut self, field: &'static str) -> Result<i64> {
        self.array(field).map(i64::from_be_bytes)
    }

    #[inline]
    fn request_id(&mut self, field: &'static str) -> Result<RequestId> {
        let id = self.i64(field)?;
        RequestId::try_from(id).map_err(|_| DecodeError::NegativeRequestId { field })
    }

    fn nonce(&mut self) -> Result<Nonce> {
        Nonce::new(self.i64("the nonce")?).map_err(|_| DecodeError::ZeroNonce)
    }

    #[inline]
    fn timestamp(&mut self, field: &'static str) -> Result<Timestamp> {
        self.i64(field).map(Timestamp::from_millis)
    }

    #[inline]
    fn payload(&mut self, field: &'static str) -> Result<Payload> {
        let length = i32::from_be_bytes(self.array(field)?);
        let length = usize::try_from(length).map_err(|_| DecodeError::NegativeLength { field })?;
        self.bytes(length, field).map(Payload::from_wire)
    }

    #[inline]
    fn text(&mut self, length: usize, field: &'static str) -> Result<Text> {
        Text::from_utf8(self.bytes(length, field)?).ok_or(DecodeError::InvalidUtf8 { field })
    }

    #[inline]
    fn long_text(&mut self, field: &'static str) -> Result<Text> {
        let length = u16::from_be_bytes(self.array(field)?);
        self.text(usize::from(length), field)
    }

    fn session_id(&mut self) -> Result<SessionId> {
        let field = "the session id";
        let [length] = self.array(field)?;
        if length == 0 {
            return Err(DecodeError::Empty { field });
        }
        self.text(usize::from(length), field).map(SessionId::from_text)
    }

    #[inline]
    fn correlation_id(&mut self) -> Result<CorrelationId> {
        let field = "the correlation id";
        let text = self.long_text(field)?;
        if text.as_bytes().is_empty() {
            return Err(DecodeError::Empty { field });
        }
        Ok(CorrelationId::from_text(text))
    }

    fn capabilities(&mut self) -> Result<Capabilities> {
        let field = "the capabilities";
        let count = u16::from_be_bytes(self.array(field)?);
        let mut capabilities = Builder::default();
        for _ in 0..count {
            let name = self.long_text(field)?;
            let value = self.long_text(field)?;
            capabilities.put(name, value);
        }
        capabilities.build().ok_or(DecodeError::NoCapabilities)
    }

    /// Reads a presence bit and, if it is set, the id. The id follows the bit directly, so all its bytes are shifted by
    /// one bit.
    fn optional_member_id(&mut self) -> Result<Option<MemberId>> {
        let field = "the leader id";
        let rest = self.frame.get(self.at..).unwrap_or_default();
        match rest.first() {
            None => return Err(DecodeError::Truncated { field }),
            Some(first) if first & 0x80 == 0 => {
                self.at += 1;
                return Ok(None);
            }
            Some(_) => {}
        }
        let shifted = |pair: &[u8]| (pair[0] << 1) | (pair[1] >> 7);
        let mut bytes = rest.windows(2).map(shifted);
        let (Some(high), Some(low)) = (bytes.next(), bytes.next()) else {
            return Err(DecodeError::Truncated { field });
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if rest.len() < length + 3 {
            return Err(DecodeError::Truncated { field });
        }
        let text: Vec<u8> = bytes.take(length).collect();
        self.at += length + 3;
        let text = Text::from_utf8(Bytes::from(text)).ok_or(DecodeError::InvalidUtf8 { field })?;
        Ok(Some(MemberId::from_text(text)))
    }

    fn reason<T>(&mut self, field: &'static str, from_code: fn(u8) -> Option<T>) -> Result<T> {
        let [value] = self.array(field)?;
        from_code(value).ok_or(DecodeError::UnknownReason { field, value })
    }
}

/// An answer to a command or query, parsed in place: it borrows from the frame and copies nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<'a> {
    /// A ClientResponse: the id of the answered command, and the position of the result in the frame.
    Command(RequestId, Range<usize>),
    /// A QueryResponse: the bytes of the correlation id, not validated as UTF-8, and the position of the result in the
    /// frame.
    Query(&'a [u8], Range<usize>),
}

impl<'a> Answer<'a> {
    /// Parses a ClientResponse or a QueryResponse.
    ///
    /// Returns `None` for any other message, and for a frame that [`ServerMessage::decode`] rejects. One exception: the
    /// correlation id is not validated, so an empty id or one that is not UTF-8 is returned as it is.
    #[inline]
    pub fn read(frame: &'a [u8]) -> Option<Self> {
        let discriminator = discriminator(frame).ok()?;
        if discriminator == ServerMessageKind::ClientResponse as u8 {
            let head = frame.get(HEADER_LEN..)?.first_chunk::<12>()?;
            let [id @ .., _, _, _, _] = head;
            let id = RequestId::try_from(i64::from_be_bytes(*id)).ok()?;
            let [.., a, b, c, d] = *head;
            Some(Self::Command(id, result(frame, HEADER_LEN + 12, [a, b, c, d])?))
        } else if discriminator == ServerMessageKind::QueryResponse as u8 {
            let length = usize::from(u16::from_be_bytes(*frame.get(HEADER_LEN..)?.first_chunk()?));
            let id = frame.get(HEADER_LEN + 2..)?.get(..length)?;
            let at = HEADER_LEN + 2 + length;
            Some(Self::Query(id, result(frame, at + 4, *frame.get(at..)?.first_chunk()?)?))
        } else {
            None
        }
    }
}

/// Returns the range of a result that begins at `start`, or `None` if the length is negative or the frame ends too
/// early.
#[inline]
fn result(frame: &[u8], start: usize, length: [u8; 4]) -> Option<Range<usize>> {
    let length = usize::try_from(i32::from_be_bytes(length)).ok()?;
    let end = start.checked_add(length)?;
    (end <= frame.len()).then_some(start..end)
}

impl ClientMessage {
    /// Decodes a message that a client sent.
    ///
    /// The message shares the frame's bytes and keeps the frame's allocation alive. Bytes after the last field are
    /// ignored.
    ///
    /// # Errors
    /// Returns a [`DecodeError`] if the frame is not a valid message in this direction.
    #[inline]
    pub fn decode(frame: &Bytes) -> Result<Self> {
        let discriminator = discriminator(frame)?;
        let kind = ClientMessageKind::from_code(discriminator)
            .ok_or(DecodeError::UnknownMessage(discriminator))?;
        let mut fields = Reader::fields(frame);
        Ok(match kind {
            ClientMessageKind::CreateSession => {
                Self::CreateSession { capabilities: fields.capabilities()?, nonce: fields.nonce()? }
            }
            ClientMessageKind::ContinueSession => {
                Self::ContinueSession { session_id: fields.session_id()?, nonce: fields.nonce()? }
            }
            ClientMessageKind::KeepAlive => {
                Self::KeepAlive { timestamp: fields.timestamp("the timestamp")? }
            }
            ClientMessageKind::ClientRequest => Self::ClientRequest {
                request_id: fields.request_id("the request id")?,
                lowest_pending_request_id: fields.request_id("the lowest pending request id")?,
                payload: fields.payload("the payload")?,
                created_at: fields.timestamp("createdAt")?,
            },
            ClientMessageKind::ServerRequestAck => {
                Self::ServerRequestAck { request_id: fields.request_id("the request id")? }
            }
            ClientMessageKind::CloseSession => Self::CloseSession {
                reason: fields.reason(CloseReason::FIELD, CloseReason::from_code)?,
            },
            ClientMessageKind::ConnectionClosed => Self::ConnectionClosed,
            ClientMessageKind::Query => Self::Query {
                correlation_id: fields.correlation_id()?,
                payload: fields.payload("the payload")?,
                created_at: fields.timestamp("createdAt")?,
            },
        })
    }
}

impl ServerMessage {
    /// Decodes a message that a server sent.
    ///
    /// The message shares the frame's bytes and keeps the frame's allocation alive. Bytes after the last field are
    /// ignored.
    ///
    /// # Errors
    /// Returns a [`DecodeError`] if the frame is not a valid message in this direction.
    #[inline]
    pub fn decode(frame: &Bytes) -> Result<Self> {
        let discriminator = discriminator(frame)?;
        let kind = ServerMessageKind::from_code(discriminator)
            .ok_or(DecodeError::UnknownMessage(discriminator))?;
        let mut fields = Reader::fields(frame);
        Ok(match kind {
            ServerMessageKind::ClientResponse => Self::ClientResponse {
                request_id: fields.request_id("the request id")?,
                result: fields.payload("the result")?,
            },
            ServerMessageKind::QueryResponse => Self::QueryResponse {
                correlation_id: fields.correlation_id()?,
                result: fields.payload("the result")?,
            },
            ServerMessageKind::SessionCreated => {
                Self::SessionCreated { session_id: fields.session_id()?, nonce: fields.nonce()? }
            }
            ServerMessageKind::SessionContinued => {
                Self::SessionContinued { nonce: fields.nonce()? }
            }
            ServerMessageKind::SessionRejected => Self::SessionRejected {
                reason: fields.reason(RejectionReason::FIELD, RejectionReason::from_code)?,
                nonce: fields.nonce()?,
                leader_id: fields.optional_member_id()?,
            },
            ServerMessageKind::SessionClosed => Self::SessionClosed {
                reason: fields.reason(SessionCloseReason::FIELD, SessionCloseReason::from_code)?,
                leader_id: fields.optional_member_id()?,
            },
            ServerMessageKind::KeepAliveResponse => {
                Self::KeepAliveResponse { timestamp: fields.timestamp("the timestamp")? }
            }
            ServerMessageKind::ServerRequest => Self::ServerRequest {
                request_id: fields.request_id("the request id")?,
                payload: fields.payload("the payload")?,
                created_at: fields.timestamp("createdAt")?,
            },
            ServerMessageKind::RequestError => Self::RequestError {
                request_id: fields.request_id("the request id")?,
                reason: fields.reason(RequestErrorReason::FIELD, RequestErrorReason::from_code)?,
            },
        })
    }
}
