//! Reads the id of a message that cannot be decoded as a whole, such as one that is too long.

use crate::{CorrelationId, RequestId, ServerMessageKind, decode::discriminator};

/// The id that [`peek_server`] found in the first bytes of a server message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeekedId {
    /// The message answers this command.
    ClientResponse(RequestId),
    /// The message answers this query.
    QueryResponse(CorrelationId),
    /// The message is the server request with this id.
    ServerRequest(RequestId),
}

/// Reads the id of a ClientResponse, QueryResponse or ServerRequest from the first bytes of a frame.
///
/// 64 bytes are enough for every id that this project's client creates. Returns `None` if the message has another type,
/// is not valid, or if the id is not complete within `head`.
pub fn peek_server(head: &[u8]) -> Option<PeekedId> {
    let kind = ServerMessageKind::from_code(discriminator(head).ok()?)?;
    let fields = head.get(crate::HEADER_LEN..)?;
    let request_id = || RequestId::try_from(i64::from_be_bytes(*fields.first_chunk::<8>()?)).ok();
    match kind {
        ServerMessageKind::ClientResponse => request_id().map(PeekedId::ClientResponse),
        ServerMessageKind::ServerRequest => request_id().map(PeekedId::ServerRequest),
        ServerMessageKind::QueryResponse => {
            let (length, rest) = fields.split_first_chunk::<2>()?;
            let text = rest.get(..usize::from(u16::from_be_bytes(*length)))?;
            let text = std::str::from_utf8(text).ok()?;
            CorrelationId::new(text).ok().map(PeekedId::QueryResponse)
        }
        _ => None,
    }
}
