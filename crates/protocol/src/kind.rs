//! The message types and their discriminators. Each direction has its own numbering.

use crate::reason::reasons;

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
