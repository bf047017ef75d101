//! What members do: accept and refuse connections, read what the client sends, answer, say anything at all, and hang up.

use super::*;

impl World {
    /// Accepts the connection that is being opened to this member.
    pub(crate) fn accept(&mut self, member: &str) -> ConnId {
        self.pump();
        let conn = self.opening_to(member);
        self.peer(conn).open = true;
        let now = self.now;
        self.peer(conn).zmtp = Connection::new(zraft_zmtp::Config::server(), now);
        self.machine.handle_opened(self.now, conn);
        self.pump();
        conn
    }

    /// Refuses the connection that is being opened to this member.
    pub(crate) fn refuse(&mut self, member: &str) {
        self.pump();
        let conn = self.opening_to(member);
        self.machine.handle_open_failed(self.now, conn, OpenFailure::Refused);
        self.peer(conn).closed = true;
        self.pump();
    }

    fn opening_to(&self, member: &str) -> ConnId {
        let opening = |peer: &&Peer| !peer.open && !peer.closed && peer.member == member;
        let peer = self.peers.iter().find(opening);
        peer.unwrap_or_else(|| panic!("no connection to {member} is being opened")).conn
    }

    /// Returns the next message that the member received on this connection.
    pub(crate) fn received(&mut self, conn: ConnId) -> Option<ClientMessage> {
        self.pump();
        self.peer(conn).inbox.pop_front()
    }

    pub(crate) fn all_received(&mut self, conn: ConnId) -> Vec<ClientMessage> {
        self.pump();
        self.peer(conn).inbox.drain(..).collect()
    }

    /// The member sends this message.
    pub(crate) fn say(&mut self, conn: ConnId, message: ServerMessage) {
        let mut frame = Vec::new();
        message.encode(&mut frame);
        self.say_bytes(conn, &frame);
    }

    /// The member sends a frame of these bytes.
    pub(crate) fn say_bytes(&mut self, conn: ConnId, frame: &[u8]) {
        self.peer(conn).zmtp.send(frame).unwrap();
        self.pump();
    }

    /// The member closes the connection.
    pub(crate) fn hang_up(&mut self, conn: ConnId) {
        self.pump();
        self.machine.handle_ended(self.now, conn, ConnEnd::Eof);
        self.peer(conn).closed = true;
        self.pump();
    }

    /// Reads the nonce of the CreateSession that came on this connection.
    pub(crate) fn create_nonce(&mut self, conn: ConnId) -> Nonce {
        match self.received(conn) {
            Some(ClientMessage::CreateSession { nonce, .. }) => nonce,
            other => panic!("no CreateSession but {other:?}"),
        }
    }

    /// Reads the nonce of the ContinueSession that came on this connection.
    pub(crate) fn continue_nonce(&mut self, conn: ConnId) -> Nonce {
        match self.received(conn) {
            Some(ClientMessage::ContinueSession { nonce, session_id }) => {
                assert_eq!(session_id.as_str(), SESSION);
                nonce
            }
            other => panic!("no ContinueSession but {other:?}"),
        }
    }

    /// Sends a ping and answers its KeepAlive.
    pub(crate) fn answer_keep_alive(&mut self, conn: ConnId) {
        self.machine.ping(self.now);
        self.pump();
        let place = self
            .peer(conn)
            .inbox
            .iter()
            .position(|message| matches!(message, ClientMessage::KeepAlive { .. }))
            .expect("no KeepAlive");
        match self.peer(conn).inbox.remove(place) {
            Some(ClientMessage::KeepAlive { timestamp }) => {
                self.say(conn, ServerMessage::KeepAliveResponse { timestamp });
            }
            _ => unreachable!(),
        }
    }

    pub(crate) fn create(&mut self, conn: ConnId) {
        let nonce = self.create_nonce(conn);
        self.say(conn, ServerMessage::SessionCreated { session_id: session(), nonce });
    }

    pub(crate) fn resume(&mut self, conn: ConnId) {
        let nonce = self.continue_nonce(conn);
        self.say(conn, ServerMessage::SessionContinued { nonce });
    }

    /// Continues the session, and the socket accepts nothing from then on.
    pub(crate) fn resume_slowly(&mut self, conn: ConnId) {
        let nonce = self.continue_nonce(conn);
        let mut frame = Vec::new();
        ServerMessage::SessionContinued { nonce }.encode(&mut frame);
        let peer = self.peer(conn);
        peer.zmtp.send(&frame).unwrap();
        peer.frozen = true;
        let bytes = drain(peer.zmtp.tx());
        self.arrive(conn, &bytes);
    }

    pub(crate) fn closed(
        &mut self,
        conn: ConnId,
        reason: SessionCloseReason,
        leader: Option<&str>,
    ) {
        let leader_id = leader.map(member);
        self.say(conn, ServerMessage::SessionClosed { reason, leader_id });
    }

    pub(crate) fn reject(
        &mut self,
        conn: ConnId,
        nonce: Nonce,
        reason: RejectionReason,
        leader: Option<&str>,
    ) {
        let leader_id = leader.map(member);
        self.say(conn, ServerMessage::SessionRejected { reason, nonce, leader_id });
    }

    pub(crate) fn answer(&mut self, conn: ConnId, id: u64, result: &str) {
        let result = Payload::new(Bytes::copy_from_slice(result.as_bytes())).unwrap();
        self.say(conn, ServerMessage::ClientResponse { request_id: request(id), result });
    }

    pub(crate) fn answer_query(&mut self, conn: ConnId, id: &CorrelationId, result: &str) {
        let result = Payload::new(Bytes::copy_from_slice(result.as_bytes())).unwrap();
        self.say(conn, ServerMessage::QueryResponse { correlation_id: id.clone(), result });
    }

    /// The member reports that the answer to this command was evicted.
    pub(crate) fn evicted(&mut self, conn: ConnId, id: u64) {
        let reason = RequestErrorReason::ResponseEvicted;
        self.say(conn, ServerMessage::RequestError { request_id: request(id), reason });
    }

    pub(crate) fn server_request(&mut self, conn: ConnId, id: u64, payload: &str) {
        let payload = Payload::new(Bytes::copy_from_slice(payload.as_bytes())).unwrap();
        let created_at = Timestamp::from_millis(self.wall);
        self.say(
            conn,
            ServerMessage::ServerRequest { request_id: request(id), payload, created_at },
        );
    }

    /// These raw bytes arrive on this connection.
    pub(crate) fn raw(&mut self, conn: ConnId, bytes: &[u8]) {
        self.pump();
        self.arrive(conn, bytes);
        self.pump();
    }

    /// These bytes are read, and the machine does nothing else yet.
    pub(crate) fn arrive(&mut self, conn: ConnId, bytes: &[u8]) {
        if let Some(buffer) = self.machine.recv_buffer(conn) {
            buffer.extend_from_slice(bytes);
            self.machine.handle_received(self.now, conn);
        }
    }

    /// The member sends this message and resets the connection, before the machine can write.
    pub(crate) fn last_words(&mut self, conn: ConnId, message: ServerMessage) {
        self.pump();
        let mut frame = Vec::new();
        message.encode(&mut frame);
        self.peer(conn).zmtp.send(&frame).unwrap();
        let bytes = drain(self.peer(conn).zmtp.tx());
        self.machine.recv_buffer(conn).unwrap().extend_from_slice(&bytes);
        self.machine.handle_received(self.now, conn);
        self.machine.handle_ended(self.now, conn, ConnEnd::Reset);
        self.peer(conn).closed = true;
        self.pump();
    }

    /// The connection is reset.
    pub(crate) fn reset(&mut self, conn: ConnId) {
        self.pump();
        self.machine.handle_ended(self.now, conn, ConnEnd::Reset);
        self.peer(conn).closed = true;
        self.pump();
    }

    /// The member sends this message, and the client ignores it.
    pub(crate) fn say_in_vain(&mut self, conn: ConnId, message: ServerMessage) {
        self.pump();
        let before = self.outside();
        let text = format!("{message:?}");
        self.say(conn, message);
        assert_eq!(before, self.outside(), "{text} must be ignored");
    }

    /// This message arrives on a connection that the machine has left, and the client ignores it.
    pub(crate) fn say_too_late(&mut self, conn: ConnId, message: ServerMessage) {
        self.pump();
        let before = self.outside();
        let mut frame = Vec::new();
        message.encode(&mut frame);
        self.peer(conn).zmtp.send(&frame).unwrap();
        let bytes = drain(self.peer(conn).zmtp.tx());
        assert!(!bytes.is_empty());
        assert!(self.machine.recv_buffer(conn).is_none(), "the client has left the connection");
        self.machine.handle_received(self.now, conn);
        self.machine.handle_written(self.now, conn);
        self.machine.handle_ended(self.now, conn, ConnEnd::Eof);
        self.pump();
        assert_eq!(before, self.outside(), "{message:?} must be ignored");
    }
}
