//! Whose answer a message is, when the message itself cannot be used.

use crate::{CorrelationId, RequestId, ServerMessageKind, decode::discriminator};

/// The id in the first bytes of a server's message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeekedId {
    /// It answers this command.
    ClientResponse(RequestId),
    /// It answers this query.
    QueryResponse(CorrelationId),
    /// It is this request of the server.
    ServerRequest(RequestId),
}

/// Reads the id of a ClientResponse, QueryResponse or ServerRequest from the first bytes of a frame: 64 are enough for the
/// ids that this project makes. `None` when it cannot be read.
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
