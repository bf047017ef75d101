//! What clients do: connect, send, and go.

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
            replica.take_client_message(connection, message);
            Ok(())
        });
    }

    pub(super) fn take_client_message(&mut self, connection: ConnectionId, message: ClientMessage) {
        if self.connections.get(connection).is_none() {
            return;
        }
        if self.is_suspended() {
            self.defer(connection, message);
        } else if self.is_serving() {
            self.serve(connection, message);
        } else {
            self.put_off(connection, message);
        }
    }

    /// Answers a client while this member does not serve.
    fn put_off(&mut self, connection: ConnectionId, message: ClientMessage) {
        match message {
            ClientMessage::CreateSession { capabilities, nonce } => {
                self.hold(connection, SessionRequest::Create { capabilities, nonce });
            }
            ClientMessage::ContinueSession { session_id, nonce } => {
                self.hold(connection, SessionRequest::Continue { session: session_id, nonce });
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
