//! The messages of both directions.

use crate::{
    Capabilities, ClientMessageKind, CloseReason, CorrelationId, MemberId, Nonce, Payload,
    RejectionReason, RequestErrorReason, RequestId, ServerMessageKind, SessionCloseReason,
    SessionId, Timestamp,
};

/// A message from a client to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientMessage {
    /// Opens a session. Not deduplicated: each one opens another.
    CreateSession {
        /// What the client says of itself.
        capabilities: Capabilities,
        /// Comes back in the answer.
        nonce: Nonce,
    },
    /// Binds an existing session to this connection.
    ContinueSession {
        /// Which.
        session_id: SessionId,
        /// Comes back in the answer.
        nonce: Nonce,
    },
    /// Keeps the session alive.
    KeepAlive {
        /// Comes back in the answer.
        timestamp: Timestamp,
    },
    /// A command.
    ClientRequest {
        /// Counts up from 1 in a session.
        request_id: RequestId,
        /// Answers below this id need not be kept, and ids below it that did not run never will.
        lowest_pending_request_id: RequestId,
        /// The application's bytes.
        payload: Payload,
        /// The client's clock.
        created_at: Timestamp,
    },
    /// Acknowledges all server requests up to this one.
    ServerRequestAck {
        /// The last one delivered.
        request_id: RequestId,
    },
    /// Ends the session. Not answered.
    CloseSession {
        /// Why.
        reason: CloseReason,
    },
    /// Made up by the server's socket when a peer goes.
    ConnectionClosed,
    /// A query.
    Query {
        /// Comes back in the answer.
        correlation_id: CorrelationId,
        /// The application's bytes.
        payload: Payload,
        /// The client's clock.
        created_at: Timestamp,
    },
}

/// A message from a server to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerMessage {
    /// The session is open.
    SessionCreated {
        /// Its id.
        session_id: SessionId,
        /// The one of the CreateSession.
        nonce: Nonce,
    },
    /// The session is bound to this connection.
    SessionContinued {
        /// The one of the ContinueSession.
        nonce: Nonce,
    },
    /// The session is not opened or continued.
    SessionRejected {
        /// Why.
        reason: RejectionReason,
        /// The one of the question.
        nonce: Nonce,
        /// Who leads, as far as this member knows.
        leader_id: Option<MemberId>,
    },
    /// The session's connection, or the session, ends.
    SessionClosed {
        /// Why.
        reason: SessionCloseReason,
        /// Who leads, as far as this member knows.
        leader_id: Option<MemberId>,
    },
    /// Answers a KeepAlive.
    KeepAliveResponse {
        /// The one of the KeepAlive.
        timestamp: Timestamp,
    },
    /// Answers a command.
    ClientResponse {
        /// Which.
        request_id: RequestId,
        /// The application's bytes.
        result: Payload,
    },
    /// A request made of the client.
    ServerRequest {
        /// Counts up from 1 in a session.
        request_id: RequestId,
        /// The application's bytes.
        payload: Payload,
        /// The server's clock at this sending.
        created_at: Timestamp,
    },
    /// A command has no answer.
    RequestError {
        /// Which.
        request_id: RequestId,
        /// Why.
        reason: RequestErrorReason,
    },
    /// Answers a query.
    QueryResponse {
        /// Which.
        correlation_id: CorrelationId,
        /// The application's bytes.
        result: Payload,
    },
}

impl ClientMessage {
    /// Its kind.
    #[inline]
    pub fn kind(&self) -> ClientMessageKind {
        match self {
            Self::CreateSession { .. } => ClientMessageKind::CreateSession,
            Self::ContinueSession { .. } => ClientMessageKind::ContinueSession,
            Self::KeepAlive { .. } => ClientMessageKind::KeepAlive,
            Self::ClientRequest { .. } => ClientMessageKind::ClientRequest,
            Self::ServerRequestAck { .. } => ClientMessageKind::ServerRequestAck,
            Self::CloseSession { .. } => ClientMessageKind::CloseSession,
            Self::ConnectionClosed => ClientMessageKind::ConnectionClosed,
            Self::Query { .. } => ClientMessageKind::Query,
        }
    }
}

impl ServerMessage {
    /// Its kind.
    #[inline]
    pub fn kind(&self) -> ServerMessageKind {
        match self {
            Self::SessionCreated { .. } => ServerMessageKind::SessionCreated,
            Self::SessionContinued { .. } => ServerMessageKind::SessionContinued,
            Self::SessionRejected { .. } => ServerMessageKind::SessionRejected,
            Self::SessionClosed { .. } => ServerMessageKind::SessionClosed,
            Self::KeepAliveResponse { .. } => ServerMessageKind::KeepAliveResponse,
            Self::ClientResponse { .. } => ServerMessageKind::ClientResponse,
            Self::ServerRequest { .. } => ServerMessageKind::ServerRequest,
            Self::RequestError { .. } => ServerMessageKind::RequestError,
            Self::QueryResponse { .. } => ServerMessageKind::QueryResponse,
        }
    }
}
