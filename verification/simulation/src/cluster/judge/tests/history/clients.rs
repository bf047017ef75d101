//! The clients of a history: the messages that they send, and the ones that they are told.

use zraft_protocol::{
    Capabilities, ClientMessage, CloseReason, CorrelationId, RejectionReason, RequestErrorReason,
    ServerMessage, SessionCloseReason, Timestamp,
    reserved::{self, Member, Members},
};
use zraft_replica::ConnectionId;
use zraft_session::{Answer, Operation};

use super::{History, info, length, nonce, payload, request, session};

impl History {
    pub(in super::super) fn connect(&mut self, connection: u64) {
        self.judge.connected(self.at(), self.leader, ConnectionId(connection));
    }

    pub(in super::super) fn disconnect(&mut self, connection: u64) {
        self.judge.disconnected(self.at(), self.leader, ConnectionId(connection));
    }

    pub(in super::super) fn say(&mut self, connection: u64, message: &ClientMessage) {
        self.judge.client_said(self.at(), self.leader, ConnectionId(connection), message);
    }

    pub(in super::super) fn tell(&mut self, connection: u64, message: &ServerMessage) {
        self.judge.told_client(self.at(), self.leader, ConnectionId(connection), message);
    }

    pub(in super::super) fn say_create(&mut self, connection: u64) {
        let capabilities = Capabilities::new([("name".to_owned(), "test".to_owned())]);
        let capabilities = capabilities.expect("short");
        let create = ClientMessage::CreateSession { capabilities, nonce: nonce(connection) };
        self.say(connection, &create);
    }

    pub(in super::super) fn tell_created(&mut self, connection: u64, name: &str) {
        let (session_id, nonce) = (session(name), nonce(connection));
        self.tell(connection, &ServerMessage::SessionCreated { session_id, nonce });
    }

    /// A client opens a session.
    pub(in super::super) fn open(&mut self, connection: u64, name: &str) {
        self.connect(connection);
        self.say_create(connection);
        let capabilities = zraft_session::Capabilities::none();
        self.run(Operation::CreateSession { session: session(name), capabilities });
        self.tell_created(connection, name);
        self.sessions[connection as usize] = name.to_owned();
    }

    /// A client continues the session of an earlier connection.
    pub(in super::super) fn resume(&mut self, connection: u64, earlier: usize) {
        self.say_continue(connection, earlier);
        self.tell_continued(connection);
    }

    /// A client connects and asks for the session of an earlier connection.
    pub(in super::super) fn say_continue(&mut self, connection: u64, earlier: usize) {
        self.connect(connection);
        self.sessions[connection as usize] = self.sessions[earlier].clone();
        let session_id = session(&self.sessions[earlier]);
        let nonce = nonce(connection);
        self.say(connection, &ClientMessage::ContinueSession { session_id, nonce });
    }

    pub(in super::super) fn tell_continued(&mut self, connection: u64) {
        let nonce = nonce(connection);
        self.tell(connection, &ServerMessage::SessionContinued { nonce });
    }

    pub(in super::super) fn tell_rejected(&mut self, connection: u64, reason: RejectionReason) {
        let (nonce, leader_id) = (nonce(connection), None);
        self.tell(connection, &ServerMessage::SessionRejected { reason, nonce, leader_id });
    }

    pub(in super::super) fn tell_closed(&mut self, connection: u64, reason: SessionCloseReason) {
        self.tell(connection, &ServerMessage::SessionClosed { reason, leader_id: None });
    }

    pub(in super::super) fn tell_expired(&mut self, connection: u64) {
        self.tell_closed(connection, SessionCloseReason::SessionExpired);
        self.disconnect(connection);
    }

    pub(in super::super) fn say_keep_alive(&mut self, connection: u64) {
        self.say(connection, &ClientMessage::KeepAlive { timestamp: Timestamp::from_millis(5) });
    }

    pub(in super::super) fn tell_keep_alive(&mut self, connection: u64) {
        let timestamp = Timestamp::from_millis(5);
        self.tell(connection, &ServerMessage::KeepAliveResponse { timestamp });
    }

    pub(in super::super) fn say_close(&mut self, connection: u64) {
        self.say(connection, &ClientMessage::CloseSession { reason: CloseReason::ClientShutdown });
    }

    pub(in super::super) fn say_ack(&mut self, connection: u64, number: u64) {
        self.say(connection, &ClientMessage::ServerRequestAck { request_id: request(number) });
    }

    pub(in super::super) fn say_command(&mut self, connection: u64, number: u64, text: &str) {
        let command = ClientMessage::ClientRequest {
            request_id: request(number),
            lowest_pending_request_id: request(1),
            payload: payload(text),
            created_at: Timestamp::from_millis(0),
        };
        self.say(connection, &command);
    }

    pub(in super::super) fn command_of(
        &self,
        connection: u64,
        number: u64,
        text: &str,
    ) -> Operation {
        Operation::Command {
            session: session(&self.sessions[connection as usize]),
            request_id: request(number),
            lowest_pending: request(1),
            payload: payload(text),
        }
    }

    pub(in super::super) fn run_command(&mut self, connection: u64, number: u64, text: &str) {
        let command = self.command_of(connection, number, text);
        self.run(command);
    }

    /// A client sends a command, and gets the answer.
    pub(in super::super) fn command(&mut self, connection: u64, number: u64, text: &str) {
        self.say_command(connection, number, text);
        self.run_command(connection, number, text);
        self.tell_answer(connection, number);
    }

    /// Tells a client what the state machine has cached for a command.
    pub(in super::super) fn tell_answer(&mut self, connection: u64, number: u64) {
        let view = self.view(self.leader);
        let kept = view.sessions.get(&session(&self.sessions[connection as usize]));
        let cached = kept.and_then(|kept| kept.answer(request(number))).expect("it ran");
        let message = Answer::Cached(cached.cloned()).message(request(number));
        self.tell(connection, &message.expect("there is a session"));
    }

    pub(in super::super) fn tell_length(&mut self, connection: u64, number: u64, position: u64) {
        let (request_id, result) = (request(number), length(position));
        self.tell(connection, &ServerMessage::ClientResponse { request_id, result });
    }

    pub(in super::super) fn tell_evicted(&mut self, connection: u64, number: u64) {
        let reason = RequestErrorReason::ResponseEvicted;
        let request_id = request(number);
        self.tell(connection, &ServerMessage::RequestError { request_id, reason });
    }

    pub(in super::super) fn tell_push(&mut self, connection: u64, number: u64) {
        let (request_id, created_at) = (request(number), Timestamp::from_millis(0));
        let payload = payload("pushed");
        self.tell(connection, &ServerMessage::ServerRequest { request_id, payload, created_at });
    }

    pub(in super::super) fn say_query(&mut self, connection: u64, name: &str) {
        let query = ClientMessage::Query {
            correlation_id: CorrelationId::new(name).expect("short"),
            payload: payload("?"),
            created_at: Timestamp::from_millis(0),
        };
        self.say(connection, &query);
    }

    /// The client asks for the members.
    pub(in super::super) fn say_members(&mut self, connection: u64, name: &str) {
        let query = ClientMessage::Query {
            correlation_id: CorrelationId::new(name).expect("short"),
            payload: reserved::members_question(),
            created_at: Timestamp::from_millis(0),
        };
        self.say(connection, &query);
    }

    /// The client is sent a list of the members: with its query's name, or unasked.
    pub(in super::super) fn tell_members(&mut self, connection: u64, name: &str, listed: &[usize]) {
        let members = listed.iter().map(|number| Member { id: info(*number).name, endpoint: None });
        let list = || Members::new(members);
        let result = reserved::answer(&reserved::members_question(), list).expect("a question");
        let correlation_id = CorrelationId::new(name).expect("short");
        self.tell(connection, &ServerMessage::QueryResponse { correlation_id, result });
    }

    pub(in super::super) fn tell_query(&mut self, connection: u64, name: &str, seen: u64) {
        let correlation_id = CorrelationId::new(name).expect("short");
        let result = length(seen);
        self.tell(connection, &ServerMessage::QueryResponse { correlation_id, result });
    }
}
