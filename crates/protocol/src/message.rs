//! The messages of both directions, field by field, and their types with the discriminators on the wire. Each direction has
//! its own numbering.

use crate::{
    Capabilities, CloseReason, CorrelationId, MemberId, Nonce, Payload, RejectionReason,
    RequestErrorReason, RequestId, SessionCloseReason, SessionId, Timestamp, reason::reasons,
};

reasons! {
    /// The type of a message from client to server. The value is the discriminator on the wire.
    ClientMessageKind, "client message" {
        /// Asks for a new session.
        CreateSession = 1,
        /// Binds an existing session to this connection.
        ContinueSession = 2,
        /// Extends the session.
        KeepAlive = 3,
        /// Carries a command.
        ClientRequest = 4,
        /// Acknowledges server requests.
        ServerRequestAck = 5,
        /// Ends the session.
        CloseSession = 6,
        /// Reports that a connection ended. The server's socket produces it; this project's client never sends it.
        ConnectionClosed = 7,
        /// Carries a query.
        Query = 8,
    }
}

reasons! {
    /// The type of a message from server to client. The value is the discriminator on the wire.
    ServerMessageKind, "server message" {
        /// Confirms a new session.
        SessionCreated = 1,
        /// Confirms that an existing session is bound to this connection.
        SessionContinued = 2,
        /// Refuses to create or continue a session.
        SessionRejected = 3,
        /// Ends the session, or only its use of this connection.
        SessionClosed = 4,
        /// Answers a KeepAlive.
        KeepAliveResponse = 5,
        /// Answers a command.
        ClientResponse = 6,
        /// Carries a request that the server makes of the client.
        ServerRequest = 7,
        /// Reports that a command will get no answer.
        RequestError = 8,
        /// Answers a query.
        QueryResponse = 9,
    }
}

/// A message from a client to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientMessage {
    /// Asks for a new session. The server does not deduplicate it: each CreateSession creates another session.
    CreateSession {
        /// Describes the client to the server.
        capabilities: Capabilities,
        /// A random number that the answer repeats.
        nonce: Nonce,
    },
    /// Asks to bind an existing session to this connection.
    ContinueSession {
        /// The session to continue.
        session_id: SessionId,
        /// A random number that the answer repeats.
        nonce: Nonce,
    },
    /// Extends the session.
    KeepAlive {
        /// The client's wall clock, which the answer repeats.
        timestamp: Timestamp,
    },
    /// Carries a command. The server executes each request id at most once in a session.
    ClientRequest {
        /// The id of the command: 1, 2, 3 and so on within the session.
        request_id: RequestId,
        /// The smallest id that is neither answered nor abandoned. The server may drop the cached answers below it, and
        /// it never executes a command below it that it has not executed yet.
        lowest_pending_request_id: RequestId,
        /// The application's bytes.
        payload: Payload,
        /// The client's wall clock.
        created_at: Timestamp,
    },
    /// Acknowledges all server requests up to this id.
    ServerRequestAck {
        /// The highest id up to which every server request was delivered.
        request_id: RequestId,
    },
    /// Ends the session. There is no answer.
    CloseSession {
        /// The reason.
        reason: CloseReason,
    },
    /// Reports that a connection ended. The server's socket produces it; this project's client never sends it.
    ConnectionClosed,
    /// Carries a query.
    Query {
        /// The text that names the query; the answer repeats it.
        correlation_id: CorrelationId,
        /// The application's bytes.
        payload: Payload,
        /// The client's wall clock.
        created_at: Timestamp,
    },
}

/// A message from a server to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerMessage {
    /// Confirms a new session, which is bound to this connection.
    SessionCreated {
        /// The id of the new session.
        session_id: SessionId,
        /// The nonce of the CreateSession.
        nonce: Nonce,
    },
    /// Confirms that an existing session is bound to this connection.
    SessionContinued {
        /// The nonce of the ContinueSession.
        nonce: Nonce,
    },
    /// Refuses to create or continue a session.
    SessionRejected {
        /// The reason.
        reason: RejectionReason,
        /// The nonce of the CreateSession or ContinueSession.
        nonce: Nonce,
        /// The hint: the leader, if this member knows one.
        leader_id: Option<MemberId>,
    },
    /// Ends the session, or only its use of this connection; the reason says which.
    SessionClosed {
        /// The reason.
        reason: SessionCloseReason,
        /// The hint: the leader, if this member knows one.
        leader_id: Option<MemberId>,
    },
    /// Answers a KeepAlive.
    KeepAliveResponse {
        /// The timestamp of the KeepAlive.
        timestamp: Timestamp,
    },
    /// Answers a command.
    ClientResponse {
        /// The id of the command.
        request_id: RequestId,
        /// The application's bytes.
        result: Payload,
    },
    /// Carries a request that the server makes of the client, such as a watch notification.
    ServerRequest {
        /// The id of the server request: 1, 2, 3 and so on within the session.
        request_id: RequestId,
        /// The application's bytes.
        payload: Payload,
        /// The server's wall clock at this transmission; a redelivery has a later one.
        created_at: Timestamp,
    },
    /// Reports that a command will get no answer.
    RequestError {
        /// The id of the command.
        request_id: RequestId,
        /// The reason.
        reason: RequestErrorReason,
    },
    /// Answers a query.
    QueryResponse {
        /// The correlation id of the query.
        correlation_id: CorrelationId,
        /// The application's bytes.
        result: Payload,
    },
}

impl ClientMessage {
    /// Returns the type of this message.
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
    /// Returns the type of this message.
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

/// One field of a message, as the JSON forms of messages write it.
///
/// Each JSON form has its own way to write numbers and payloads; which fields a message has, and their names, is decided
/// here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Field<'a> {
    /// The number of a command or of a server request.
    RequestId(RequestId),
    /// The number that an answer repeats.
    Nonce(Nonce),
    /// A time in milliseconds since 1970.
    Timestamp(Timestamp),
    /// The session.
    SessionId(&'a SessionId),
    /// The id of a query.
    CorrelationId(&'a CorrelationId),
    /// A member, if the server named one.
    MemberId(Option<&'a MemberId>),
    /// The name of a reason.
    Reason(&'static str),
    /// The application's bytes.
    Payload(&'a Payload),
    /// The texts by which a client describes itself.
    Capabilities(&'a Capabilities),
}

impl ClientMessage {
    /// Returns the names and values of the message's fields, in the order of the wire.
    #[must_use]
    pub fn fields(&self) -> Vec<(&'static str, Field<'_>)> {
        use Field as F;
        match self {
            Self::CreateSession { capabilities, nonce } => {
                vec![("capabilities", F::Capabilities(capabilities)), ("nonce", F::Nonce(*nonce))]
            }
            Self::ContinueSession { session_id, nonce } => {
                vec![("sessionId", F::SessionId(session_id)), ("nonce", F::Nonce(*nonce))]
            }
            Self::KeepAlive { timestamp } => vec![("timestamp", F::Timestamp(*timestamp))],
            Self::ClientRequest { request_id, lowest_pending_request_id, payload, created_at } => {
                vec![
                    ("requestId", F::RequestId(*request_id)),
                    ("lowestPendingRequestId", F::RequestId(*lowest_pending_request_id)),
                    ("payload", F::Payload(payload)),
                    ("createdAt", F::Timestamp(*created_at)),
                ]
            }
            Self::ServerRequestAck { request_id } => {
                vec![("requestId", F::RequestId(*request_id))]
            }
            Self::CloseSession { reason } => vec![("reason", F::Reason(reason.name()))],
            Self::ConnectionClosed => Vec::new(),
            Self::Query { correlation_id, payload, created_at } => vec![
                ("correlationId", F::CorrelationId(correlation_id)),
                ("payload", F::Payload(payload)),
                ("createdAt", F::Timestamp(*created_at)),
            ],
        }
    }
}

impl ServerMessage {
    /// Returns the names and values of the message's fields, in the order of the wire.
    #[must_use]
    pub fn fields(&self) -> Vec<(&'static str, Field<'_>)> {
        use Field as F;
        match self {
            Self::SessionCreated { session_id, nonce } => {
                vec![("sessionId", F::SessionId(session_id)), ("nonce", F::Nonce(*nonce))]
            }
            Self::SessionContinued { nonce } => vec![("nonce", F::Nonce(*nonce))],
            Self::SessionRejected { reason, nonce, leader_id } => vec![
                ("reason", F::Reason(reason.name())),
                ("nonce", F::Nonce(*nonce)),
                ("leaderId", F::MemberId(leader_id.as_ref())),
            ],
            Self::SessionClosed { reason, leader_id } => vec![
                ("reason", F::Reason(reason.name())),
                ("leaderId", F::MemberId(leader_id.as_ref())),
            ],
            Self::KeepAliveResponse { timestamp } => {
                vec![("timestamp", F::Timestamp(*timestamp))]
            }
            Self::ClientResponse { request_id, result } => {
                vec![("requestId", F::RequestId(*request_id)), ("result", F::Payload(result))]
            }
            Self::ServerRequest { request_id, payload, created_at } => vec![
                ("requestId", F::RequestId(*request_id)),
                ("payload", F::Payload(payload)),
                ("createdAt", F::Timestamp(*created_at)),
            ],
            Self::RequestError { request_id, reason } => {
                vec![("requestId", F::RequestId(*request_id)), ("reason", F::Reason(reason.name()))]
            }
            Self::QueryResponse { correlation_id, result } => vec![
                ("correlationId", F::CorrelationId(correlation_id)),
                ("result", F::Payload(result)),
            ],
        }
    }
}
