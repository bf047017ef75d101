//! The kinds of messages: a discriminator in each direction.

use crate::reason::reasons;

reasons! {
    /// The kinds of messages that clients send, by their discriminator.
    ClientMessageKind, "client message" {
        /// Opens a session.
        CreateSession = 1,
        /// Binds an existing session to this connection.
        ContinueSession = 2,
        /// Keeps the session alive.
        KeepAlive = 3,
        /// A command.
        ClientRequest = 4,
        /// Acknowledges server requests.
        ServerRequestAck = 5,
        /// Ends the session.
        CloseSession = 6,
        /// Made up by the server's socket when a peer goes; never sent by this project's client.
        ConnectionClosed = 7,
        /// A query.
        Query = 8,
    }
}

reasons! {
    /// The kinds of messages that servers send, by their discriminator.
    ServerMessageKind, "server message" {
        /// The session is open.
        SessionCreated = 1,
        /// The session is bound to this connection.
        SessionContinued = 2,
        /// The session is not opened or continued.
        SessionRejected = 3,
        /// The session's connection, or the session, ends.
        SessionClosed = 4,
        /// Answers a KeepAlive.
        KeepAliveResponse = 5,
        /// Answers a command.
        ClientResponse = 6,
        /// A request made of the client.
        ServerRequest = 7,
        /// A command has no answer.
        RequestError = 8,
        /// Answers a query.
        QueryResponse = 9,
    }
}
