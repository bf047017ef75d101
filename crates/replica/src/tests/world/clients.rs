//! The members' clients: connections, and the messages that a test sends and awaits.

use zraft_protocol::{ClientMessage, ServerMessage, SessionId};

use super::{World, messages::*};
use crate::ConnectionId;

impl World {
    pub(crate) fn connect(&mut self, number: u64) -> ConnectionId {
        self.last_connection += 1;
        let connection = ConnectionId(self.last_connection);
        self.connections.insert(connection, number);
        let clock = self.clock();
        self.replica(number).connected(clock, connection);
        connection
    }

    pub(crate) fn disconnect(&mut self, connection: ConnectionId) {
        let clock = self.clock();
        if let Some(number) = self.connections.remove(&connection) {
            self.replica(number).disconnected(clock, connection);
            self.collect(number);
        }
    }

    pub(crate) fn send(&mut self, connection: ConnectionId, message: ClientMessage) {
        let clock = self.clock();
        if let Some(number) = self.connections.get(&connection).copied() {
            self.replica(number).client_message(clock, connection, message);
            self.collect(number);
        }
    }

    /// What the client has received since the last call.
    pub(crate) fn received(&mut self, connection: ConnectionId) -> Vec<ServerMessage> {
        self.received.remove(&connection).unwrap_or_default()
    }

    pub(crate) fn is_open(&self, connection: ConnectionId) -> bool {
        self.connections.contains_key(&connection)
    }

    pub(crate) fn is_closed(&self, connection: ConnectionId) -> bool {
        self.closed.contains(&connection)
    }

    pub(crate) fn create(&mut self, connection: ConnectionId) {
        self.send(connection, create());
    }

    /// A connection with a new session.
    pub(crate) fn session(&mut self, number: u64) -> (ConnectionId, SessionId) {
        let connection = self.connect(number);
        self.create(connection);
        let mut session = None;
        self.until("the session is created", |world| {
            for message in world.received(connection) {
                let ServerMessage::SessionCreated { session_id, .. } = message else {
                    panic!("{message:?}");
                };
                session = Some(session_id);
            }
            session.is_some()
        });
        (connection, session.expect("it was created"))
    }

    /// A connection on which a session was continued.
    pub(crate) fn continued(&mut self, number: u64, session: &SessionId) -> ConnectionId {
        let connection = self.connect(number);
        self.send(connection, continue_session(session));
        let mut all = Vec::new();
        self.until("the session is continued", |world| {
            all.extend(world.received(connection));
            !all.is_empty()
        });
        assert_eq!(all.remove(0), ServerMessage::SessionContinued { nonce: nonce() });
        self.received.entry(connection).or_default().splice(0..0, all);
        connection
    }

    pub(crate) fn command(&mut self, connection: ConnectionId, request: u64, text: &str) {
        self.send(connection, command(request, 1, text));
    }

    /// Waits for a message that fits, and returns everything that came up to then.
    pub(crate) fn wait(
        &mut self,
        connection: ConnectionId,
        fits: impl Fn(&ServerMessage) -> bool,
    ) -> Vec<ServerMessage> {
        let mut all = Vec::new();
        self.until("the client gets its message", |world| {
            all.extend(world.received(connection));
            all.iter().any(&fits)
        });
        all
    }

    pub(crate) fn answer(&mut self, connection: ConnectionId, request: u64) -> String {
        let all = self.wait(connection, |message| answered(message) == Some(request));
        let answer = all.into_iter().find_map(|message| match message {
            ServerMessage::ClientResponse { request_id, result } if request_id.get() == request => {
                Some(String::from_utf8_lossy(&result).into_owned())
            }
            _ => None,
        });
        answer.unwrap_or_else(|| "error".to_owned())
    }
}
