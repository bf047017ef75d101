//! What clients do: connect, send, and go.

use std::time::Duration;

use zraft_protocol::ClientMessage;

use super::{ConnectionId, Replica, connections::SessionRequest};
use crate::Now;

impl Replica {
    /// Takes note of a new connection of a client.
    pub fn connected(&mut self, now: Now, connection: ConnectionId) {
        self.enter(now, false, |replica| {
            replica.connections.open(connection);
            Ok(())
        });
    }

    /// Takes note that a connection has ended. Its session goes on.
    pub fn disconnected(&mut self, now: Now, connection: ConnectionId) {
        self.enter(now, false, |replica| {
            replica.forget(connection);
            Ok(())
        });
    }

    /// Takes a message of a client. Messages on a connection that is not open are ignored.
    ///
    /// The shell has checked a token, if it wants one. Undecodable input is the shell's too: it closes the connection
    /// and calls [`disconnected`](Self::disconnected).
    pub fn client_message(&mut self, now: Now, connection: ConnectionId, message: ClientMessage) {
        self.enter(now, false, |replica| {
            let since = replica.now.monotonic;
            replica.take_client_message(connection, message, since);
            Ok(())
        });
    }

    /// `since` is when the message came: earlier than now if a suspended leader has deferred it.
    pub(super) fn take_client_message(
        &mut self,
        connection: ConnectionId,
        message: ClientMessage,
        since: Duration,
    ) {
        if self.connections.get(connection).is_none() {
            return;
        }
        if self.is_suspended() {
            self.defer(connection, message, since);
        } else if self.is_serving() {
            self.serve(connection, message);
        } else {
            self.put_off(connection, message, since);
        }
    }

    /// Answers a client while this member does not serve.
    fn put_off(&mut self, connection: ConnectionId, message: ClientMessage, since: Duration) {
        match message {
            ClientMessage::CreateSession { capabilities, nonce } => {
                self.hold(connection, SessionRequest::Create { capabilities, nonce }, since);
            }
            ClientMessage::ContinueSession { session_id, nonce } => {
                let request = SessionRequest::Continue { session: session_id, nonce };
                self.hold(connection, request, since);
            }
            ClientMessage::ConnectionClosed => {}
            ClientMessage::KeepAlive { .. }
            | ClientMessage::ClientRequest { .. }
            | ClientMessage::ServerRequestAck { .. }
            | ClientMessage::CloseSession { .. }
            | ClientMessage::Query { .. } => {
                let hint = self.hint();
                self.turn_away(connection, hint);
            }
        }
    }
}
