//! Encodes messages into a buffer that the caller provides.
//!
//! [`client_request_head`], [`query_head`] and [`created_at`] write the parts around a payload, so that the caller can
//! pass a long payload to the socket without copying it. A frame is head, payload, `createdAt`, in this order.

use bytes::BufMut;

use crate::{
    ClientMessage, ClientMessageKind, CorrelationId, HEADER_LEN, MemberId, PREFIX, Payload,
    RequestId, ServerMessage, Timestamp,
};

/// Length in bytes of everything before a Query's payload, except the correlation id: header and two length fields.
pub const QUERY_HEAD: usize = HEADER_LEN + 6;

const fn header(discriminator: u8) -> [u8; HEADER_LEN] {
    let [z, r, a, f, t, version] = PREFIX;
    [z, r, a, f, t, version, discriminator]
}

/// Encodes a payload length. Panics above [`Payload::MAX_LEN`]: such a length would be negative on the wire, and a live
/// server that reads a negative length stops answering permanently.
#[inline]
fn payload_length(length: usize) -> [u8; 4] {
    assert!(length <= Payload::MAX_LEN, "a payload must have at most 2^31 - 1 bytes");
    (length as u32).to_be_bytes()
}

/// The bytes of a ClientRequest before its payload, in pieces.
///
/// The pieces are kept apart so that the compiler can hold each one in registers until it is written.
#[derive(Debug, Clone, Copy)]
pub struct ClientRequestHead {
    request_id: [u8; 8],
    lowest_pending_request_id: [u8; 8],
    payload_len: [u8; 4],
}

impl ClientRequestHead {
    /// Creates the head for a payload of `payload_len` bytes.
    ///
    /// # Panics
    /// Panics if `payload_len` is above [`Payload::MAX_LEN`].
    #[inline]
    pub fn new(
        request_id: RequestId,
        lowest_pending_request_id: RequestId,
        payload_len: usize,
    ) -> Self {
        Self {
            request_id: request_id.to_wire().to_be_bytes(),
            lowest_pending_request_id: lowest_pending_request_id.to_wire().to_be_bytes(),
            payload_len: payload_length(payload_len),
        }
    }

    /// Returns the pieces in the order in which the caller must write them.
    #[inline]
    pub fn pieces(&self) -> [&[u8]; 4] {
        const HEADER: [u8; HEADER_LEN] = header(ClientMessageKind::ClientRequest as u8);
        [&HEADER, &self.request_id, &self.lowest_pending_request_id, &self.payload_len]
    }
}

/// Writes a ClientRequest up to its payload, which is `payload_len` bytes long.
///
/// # Panics
/// Panics if `payload_len` is above [`Payload::MAX_LEN`], or if `out` is a fixed buffer without enough room.
#[inline]
pub fn client_request_head(
    out: &mut impl BufMut,
    request_id: RequestId,
    lowest_pending_request_id: RequestId,
    payload_len: usize,
) {
    let head = ClientRequestHead::new(request_id, lowest_pending_request_id, payload_len);
    for piece in head.pieces() {
        out.put_slice(piece);
    }
}

/// Writes a Query up to its payload, which is `payload_len` bytes long.
///
/// `correlation_id` must be UTF-8 of 1 to 65,535 bytes. Only the length is checked.
///
/// # Panics
/// Panics if `payload_len` is above [`Payload::MAX_LEN`], if the correlation id is empty or longer than
/// [`CorrelationId::MAX_LEN`], or if `out` is a fixed buffer without enough room.
#[inline]
pub fn query_head(out: &mut impl BufMut, correlation_id: &[u8], payload_len: usize) {
    assert!(
        (CorrelationId::MIN_LEN..=CorrelationId::MAX_LEN).contains(&correlation_id.len()),
        "a correlation id must have 1 to 65,535 bytes"
    );
    let mut head = [0; HEADER_LEN + 2];
    head[..HEADER_LEN].copy_from_slice(&const { header(ClientMessageKind::Query as u8) });
    head[HEADER_LEN..].copy_from_slice(&(correlation_id.len() as u16).to_be_bytes());
    out.put_slice(&head);
    out.put_slice(correlation_id);
    out.put_slice(&payload_length(payload_len));
}

/// Writes the `createdAt` timestamp that follows a payload.
///
/// # Panics
/// Panics if `out` is a fixed buffer without enough room.
#[inline]
pub fn created_at(out: &mut impl BufMut, created_at: Timestamp) {
    out.put_i64(created_at.as_millis());
}

fn payload(out: &mut impl BufMut, payload: &[u8]) {
    out.put_slice(&payload_length(payload.len()));
    out.put_slice(payload);
}

fn short_text(out: &mut impl BufMut, text: &[u8]) {
    out.put_u8(text.len() as u8);
    out.put_slice(text);
}

fn text(out: &mut impl BufMut, text: &[u8]) {
    out.put_u16(text.len() as u16);
    out.put_slice(text);
}

/// Writes a presence bit and, if there is an id, its length and text. They follow the bit directly, so all their bytes
/// are shifted by one bit; zeros fill the last byte.
fn optional_member_id(out: &mut impl BufMut, id: Option<&MemberId>) {
    let Some(id) = id else {
        out.put_u8(0);
        return;
    };
    let bytes = id.as_bytes();
    let length = (bytes.len() as u16).to_be_bytes();
    let mut carried = 0x80;
    for byte in length.iter().chain(bytes) {
        out.put_u8(carried | (byte >> 1));
        carried = byte << 7;
    }
    out.put_u8(carried);
}

fn optional_member_id_len(id: Option<&MemberId>) -> usize {
    id.map_or(1, |id| id.as_bytes().len() + 3)
}

impl ClientMessage {
    /// Appends the encoded message, [`encoded_len`](Self::encoded_len) bytes, to `out`.
    ///
    /// # Panics
    /// Panics if `out` is a fixed buffer without enough room.
    #[inline]
    pub fn encode(&self, out: &mut impl BufMut) {
        if let Self::ClientRequest {
            request_id,
            lowest_pending_request_id,
            payload,
            created_at: clock,
        } = self
        {
            client_request_head(out, *request_id, *lowest_pending_request_id, payload.len());
            out.put_slice(payload);
            created_at(out, *clock);
            return;
        }
        if let Self::Query { correlation_id, payload, created_at: clock } = self {
            query_head(out, correlation_id.as_bytes(), payload.len());
            out.put_slice(payload);
            created_at(out, *clock);
            return;
        }
        out.put_slice(&header(self.kind().code()));
        match self {
            Self::CreateSession { capabilities, nonce } => {
                out.put_u16(capabilities.entries().len() as u16);
                for (name, value) in capabilities.entries() {
                    text(out, name.as_bytes());
                    text(out, value.as_bytes());
                }
                out.put_i64(nonce.get());
            }
            Self::ContinueSession { session_id, nonce } => {
                short_text(out, session_id.as_bytes());
                out.put_i64(nonce.get());
            }
            Self::KeepAlive { timestamp } => out.put_i64(timestamp.as_millis()),
            Self::ServerRequestAck { request_id } => out.put_i64(request_id.to_wire()),
            Self::CloseSession { reason } => out.put_u8(reason.code()),
            Self::ConnectionClosed | Self::ClientRequest { .. } | Self::Query { .. } => {}
        }
    }

    /// Returns the length of the encoded message in bytes.
    pub fn encoded_len(&self) -> usize {
        HEADER_LEN
            + match self {
                Self::CreateSession { capabilities, .. } => {
                    let entries = capabilities.entries().iter();
                    let bytes = |(name, value): &(crate::text::Text, crate::text::Text)| {
                        4 + name.as_bytes().len() + value.as_bytes().len()
                    };
                    10 + entries.map(bytes).sum::<usize>()
                }
                Self::ContinueSession { session_id, .. } => 9 + session_id.as_bytes().len(),
                Self::KeepAlive { .. } | Self::ServerRequestAck { .. } => 8,
                Self::ClientRequest { payload, .. } => 28 + payload.len(),
                Self::CloseSession { .. } => 1,
                Self::ConnectionClosed => 0,
                Self::Query { correlation_id, payload, .. } => {
                    14 + correlation_id.as_bytes().len() + payload.len()
                }
            }
    }
}

impl ServerMessage {
    /// Appends the encoded message, [`encoded_len`](Self::encoded_len) bytes, to `out`.
    ///
    /// # Panics
    /// Panics if `out` is a fixed buffer without enough room.
    #[inline]
    pub fn encode(&self, out: &mut impl BufMut) {
        out.put_slice(&header(self.kind().code()));
        match self {
            Self::SessionCreated { session_id, nonce } => {
                short_text(out, session_id.as_bytes());
                out.put_i64(nonce.get());
            }
            Self::SessionContinued { nonce } => out.put_i64(nonce.get()),
            Self::SessionRejected { reason, nonce, leader_id } => {
                out.put_u8(reason.code());
                out.put_i64(nonce.get());
                optional_member_id(out, leader_id.as_ref());
            }
            Self::SessionClosed { reason, leader_id } => {
                out.put_u8(reason.code());
                optional_member_id(out, leader_id.as_ref());
            }
            Self::KeepAliveResponse { timestamp } => out.put_i64(timestamp.as_millis()),
            Self::ClientResponse { request_id, result } => {
                out.put_i64(request_id.to_wire());
                payload(out, result);
            }
            Self::ServerRequest { request_id, payload: bytes, created_at: clock } => {
                out.put_i64(request_id.to_wire());
                payload(out, bytes);
                created_at(out, *clock);
            }
            Self::RequestError { request_id, reason } => {
                out.put_i64(request_id.to_wire());
                out.put_u8(reason.code());
            }
            Self::QueryResponse { correlation_id, result } => {
                text(out, correlation_id.as_bytes());
                payload(out, result);
            }
        }
    }

    /// Returns the length of the encoded message in bytes.
    pub fn encoded_len(&self) -> usize {
        HEADER_LEN
            + match self {
                Self::SessionCreated { session_id, .. } => 9 + session_id.as_bytes().len(),
                Self::SessionContinued { .. } | Self::KeepAliveResponse { .. } => 8,
                Self::SessionRejected { leader_id, .. } => {
                    9 + optional_member_id_len(leader_id.as_ref())
                }
                Self::SessionClosed { leader_id, .. } => {
                    1 + optional_member_id_len(leader_id.as_ref())
                }
                Self::ClientResponse { result, .. } => 12 + result.len(),
                Self::ServerRequest { payload, .. } => 20 + payload.len(),
                Self::RequestError { .. } => 9,
                Self::QueryResponse { correlation_id, result } => {
                    6 + correlation_id.as_bytes().len() + result.len()
                }
            }
    }
}
