//! Input from the network: connections, bytes, messages, and what each message means in each state.

use std::sync::Arc;

use bytes::Bytes;
use zraft_protocol::{
    Answer, DecodeError, PeekedId, RequestErrorReason, RequestId, ServerMessage, peek_server,
};
use zraft_zmtp::{Connection, Messages};

use super::{Completion, ConnEnd, Machine, OpenFailure, State};
use crate::{
    ConnId, Instant, RequestKind, ServerRequest,
    event::Event,
    failure::{ConnectionCause, Failure},
    loss::Loss,
    tables::server_requests::Arrival,
};

impl Machine {
    /// The connection is open. Ignored for a connection that was closed.
    pub fn handle_opened(&mut self, now: Instant, conn: ConnId) {
        let config = self.zmtp_config();
        if let Some(link) = self.link_mut(conn).filter(|link| !link.open) {
            link.zmtp = Connection::new(config, now);
            link.open = true;
        }
    }

    /// The connection could not be opened. Ignored for a connection that was closed.
    pub fn handle_open_failed(&mut self, now: Instant, conn: ConnId, why: OpenFailure) {
        if self.link(conn).is_some_and(|link| !link.open) {
            self.attempt_failed(now, conn, cause_of(why), None);
        }
    }

    /// Bytes were appended to the buffer of [`recv_buffer`](Self::recv_buffer). Ignored for a connection that was
    /// closed.
    pub fn handle_received(&mut self, now: Instant, conn: ConnId) {
        self.note_jump(now);
        let Some(link) = self.link_mut(conn) else { return };
        let (bytes, before) = (link.zmtp.bytes_received(), link.zmtp.message_bytes_received());
        let mid_message = link.zmtp.mid_message();
        link.zmtp.handle_received(now);
        if link.zmtp.bytes_received() != bytes {
            self.clock.grace.earn();
            if let State::Connected(connected) = &mut self.state
                && connected.sought_beside
                && self.link.as_ref().is_some_and(|link| link.id == conn)
            {
                // The member was not frozen, or is no longer.
                connected.sought_beside = false;
                self.end_search();
                self.members.heard();
            }
        }
        self.take_events(now, conn);
        let Some(link) = self.link.as_ref().filter(|link| link.id == conn) else { return };
        let bytes = link.zmtp.message_bytes_received().saturating_sub(before);
        if bytes > 0 {
            self.liveness.message_bytes(now, bytes, mid_message);
        }
    }

    /// The connection ended without our closing it. What was read before is handled first. Ignored for a connection
    /// that was closed.
    pub fn handle_ended(&mut self, now: Instant, conn: ConnId, _end: ConnEnd) {
        self.ended(now, conn, ConnectionCause::ClosedBeforeFirstMessage);
    }

    /// The peer ended the open connection and told the transport why: a TLS server judges the client's certificate
    /// only after the client's side of the handshake is complete. Otherwise as
    /// [`handle_ended`](Self::handle_ended).
    pub fn handle_refused(&mut self, now: Instant, conn: ConnId, why: OpenFailure) {
        self.ended(now, conn, cause_of(why));
    }

    /// Ends the connection, for this cause if it has brought no message.
    fn ended(&mut self, now: Instant, conn: ConnId, before_first_message: ConnectionCause) {
        self.take_events(now, conn);
        if self.is_session(conn) {
            return self.lost(now, Loss::Broken);
        }
        let Some(link) = self.search.link(conn) else { return };
        let cause = if link.zmtp.received_messages() == 0 {
            before_first_message
        } else {
            ConnectionCause::Lost
        };
        self.attempt_failed(now, conn, cause, None);
    }

    /// Handles what the connection has decoded, until there is no more or the connection is closed.
    pub(super) fn take_events(&mut self, now: Instant, conn: ConnId) {
        self.take_events_until_idle(now, conn);
        self.latencies.publish();
    }

    fn take_events_until_idle(&mut self, now: Instant, conn: ConnId) {
        loop {
            let Some(link) = self.link_mut(conn) else { return };
            if let Some(messages) = link.zmtp.poll_messages(now) {
                self.take_messages(now, conn, messages);
                continue;
            }
            let to = Arc::clone(&link.to);
            let Some(event) = link.zmtp.poll_event(now) else { return };
            match event {
                zraft_zmtp::Event::Ready(_) => {
                    let member_id = to.id.clone();
                    self.out.event(Event::ConnectionSuccess { member_id });
                }
                zraft_zmtp::Event::Message(frame) => self.message(now, conn, &frame),
                zraft_zmtp::Event::Oversized { length, head } => {
                    let detail = format!("a message of {length} bytes is over `max_message_size`");
                    self.unusable(now, conn, &head, &detail);
                }
                zraft_zmtp::Event::MultipartDiscarded => {
                    self.protocol_error(conn, "a multipart message was discarded".to_owned());
                }
                zraft_zmtp::Event::Failed(error) => self.zmtp_failed(now, conn, error),
                _ => {}
            }
        }
    }

    /// Handles messages that came together, until the connection is closed.
    fn take_messages(&mut self, now: Instant, conn: ConnId, mut messages: Messages) {
        self.take_each(now, conn, &mut messages);
        self.out.answers_lie_in(messages.into_bytes());
    }

    fn take_each(&mut self, now: Instant, conn: ConnId, messages: &mut Messages) {
        while self.link(conn).is_some() {
            if self.is_session(conn) && !self.out.observes_messages() {
                self.take_answers(now, messages);
            }
            let Some(frame) = messages.take_first() else { return };
            self.message(now, conn, &frame);
        }
    }

    /// Handles answers to pending requests without decoding them into messages, up to the first message of another
    /// kind.
    fn take_answers(&mut self, now: Instant, messages: &mut Messages) {
        while let Some(message) = messages.first() {
            let (slot, result) = match Answer::read(message) {
                Some(Answer::Command(id, result)) => (self.requests.command(id.get()), result),
                Some(Answer::Query(id, result)) => (self.requests.query(id), result),
                None => return,
            };
            let Some(slot) = slot else { return };
            let place = messages.take_place(result);
            self.answered_well(now, slot, messages.bytes(), place);
        }
    }

    fn zmtp_failed(&mut self, now: Instant, conn: ConnId, error: zraft_zmtp::Error) {
        if self.is_session(conn) {
            let loss = match error {
                zraft_zmtp::Error::HeartbeatTimeout => Loss::HeartbeatTimeout,
                error => {
                    self.protocol_error(conn, error.to_string());
                    Loss::Violation
                }
            };
            self.lost(now, loss);
        } else {
            self.attempt_failed(now, conn, ConnectionCause::Zmtp(error), None);
        }
    }

    pub(super) fn message(&mut self, now: Instant, conn: ConnId, frame: &Bytes) {
        let message = match ServerMessage::decode(frame) {
            Ok(message) => message,
            Err(error) => return self.undecodable(now, conn, frame, &error),
        };
        if self.out.observes_messages() {
            self.out.event(Event::MessageReceived { message: message.clone() });
        }
        let connected = self.is_session(conn);
        match message {
            ServerMessage::ClientResponse { request_id, result } if connected => {
                self.command_answered(now, request_id, Ok(result.into_bytes()));
            }
            ServerMessage::QueryResponse { correlation_id, result } if connected => {
                self.query_answered(now, correlation_id.as_bytes(), Ok(result.into_bytes()));
            }
            ServerMessage::RequestError {
                request_id,
                reason: RequestErrorReason::ResponseEvicted,
            } if connected => {
                let failure = Failure::ResponseEvicted { request_id };
                self.command_answered(now, request_id, Err(failure));
            }
            ServerMessage::ServerRequest { request_id, payload, created_at } if connected => {
                self.server_request(now, request_id, payload.into_bytes(), created_at);
            }
            ServerMessage::KeepAliveResponse { timestamp } if connected => {
                self.keep_alive_answered(now, timestamp);
            }
            ServerMessage::SessionClosed { reason, leader_id } => {
                self.session_closed(now, conn, reason, leader_id.as_ref());
            }
            ServerMessage::SessionCreated { session_id, nonce }
                if self.search.expects(conn, nonce) =>
            {
                match self.state {
                    State::ConnectingNew(_) => self.created(now, conn, &session_id),
                    // Ignored: this attempt did not ask for a new session.
                    State::ConnectingExisting | State::Disconnected(_) | State::Connected(_) => {}
                }
            }
            ServerMessage::SessionContinued { nonce } if self.search.expects(conn, nonce) => {
                match self.state {
                    State::ConnectingExisting | State::Connected(_) => self.continued(now, conn),
                    // Ignored: this attempt did not continue a session.
                    State::ConnectingNew(_) | State::Disconnected(_) => {}
                }
            }
            ServerMessage::SessionRejected { reason, nonce, leader_id }
                if self.search.expects(conn, nonce) =>
            {
                self.rejected(now, conn, reason, leader_id.as_ref());
            }
            // Ignored: the answer to an earlier attempt.
            ServerMessage::SessionCreated { .. }
            | ServerMessage::SessionContinued { .. }
            | ServerMessage::SessionRejected { .. } => {}
            // Ignored: before the session's answer a member has nothing else to say.
            ServerMessage::ClientResponse { .. }
            | ServerMessage::QueryResponse { .. }
            | ServerMessage::RequestError { .. }
            | ServerMessage::ServerRequest { .. }
            | ServerMessage::KeepAliveResponse { .. } => {}
        }
    }

    fn command_answered(&mut self, now: Instant, id: RequestId, result: Result<Bytes, Failure>) {
        match self.requests.command(id.get()) {
            Some(slot) => self.answered(now, slot, result),
            None => self.stats.unmatched += 1,
        }
    }

    fn query_answered(&mut self, now: Instant, id: &[u8], result: Result<Bytes, Failure>) {
        match (self.requests.query(id), result) {
            (Some(slot), result) => self.answered(now, slot, result),
            (None, Ok(list)) if self.listens_for_members(&list) => self.members_changed(list),
            (None, _) => self.stats.unmatched += 1,
        }
    }

    fn keep_alive_answered(&mut self, now: Instant, timestamp: zraft_protocol::Timestamp) {
        // Any other answer is ignored: a member could reset the backoff with it, or hide an expiry.
        let Some(answered) = self.liveness.answered(now, timestamp) else { return };
        if let Some(session) = &mut self.session {
            session.proof = now;
        }
        self.heard();
        for key in answered.pings {
            self.out.complete(Completion::Ping { key, result: Ok(answered.took) });
        }
        // Answers that had come before a jump of the clock were read before the answer to the probe.
        if answered.probed {
            self.clock.grace.end(now);
        }
    }

    fn server_request(
        &mut self,
        now: Instant,
        request_id: RequestId,
        payload: Bytes,
        created_at: zraft_protocol::Timestamp,
    ) {
        let Some(session) = &mut self.session else { return };
        match session.tracker.arrived(now, request_id, payload.clone(), created_at) {
            Arrival::Held => {
                let request = ServerRequest { request_id, payload, created_at };
                self.out.event(Event::ServerRequestReceived { request });
            }
            Arrival::Duplicate => self.stats.duplicates += 1,
            // Ignored: the server will send it again.
            Arrival::GaveWay => {}
        }
    }

    fn undecodable(&mut self, now: Instant, conn: ConnId, frame: &Bytes, error: &DecodeError) {
        let head = frame.slice(..frame.len().min(64));
        self.unusable(now, conn, &head, &error.to_string());
    }

    /// A message cannot be used. Its first bytes may still say which request it belongs to.
    fn unusable(&mut self, now: Instant, conn: ConnId, head: &Bytes, detail: &str) {
        self.protocol_error(conn, detail.to_owned());
        if !self.is_session(conn) {
            return;
        }
        let failure = |kind| Failure::Protocol {
            detail: detail.to_owned(),
            sent: kind == RequestKind::Command,
        };
        match peek_server(head) {
            Some(PeekedId::ClientResponse(id)) => {
                self.command_answered(now, id, Err(failure(RequestKind::Command)));
            }
            Some(PeekedId::QueryResponse(id)) => {
                self.query_answered(now, id.as_bytes(), Err(failure(RequestKind::Query)));
            }
            // The next copy would be no better, and no later request could be delivered: it is skipped in its turn.
            Some(PeekedId::ServerRequest(id)) => {
                if let Some(session) = &mut self.session
                    && session.tracker.arrived_unusable(now, id) == Arrival::Duplicate
                {
                    self.stats.duplicates += 1;
                }
            }
            // Ignored: it belongs to no request.
            None => {}
        }
    }

    fn protocol_error(&mut self, conn: ConnId, detail: String) {
        self.stats.protocol_errors += 1;
        if let Some(link) = self.link(conn) {
            let member_id = link.to.id.clone();
            self.out.event(Event::ProtocolError { member_id, detail });
        }
    }
}

/// Returns the cause that a failure of the transport is.
fn cause_of(why: OpenFailure) -> ConnectionCause {
    match why {
        OpenFailure::Refused => ConnectionCause::Refused,
        OpenFailure::UnknownHost => ConnectionCause::UnknownHost,
        OpenFailure::Tls(text) => ConnectionCause::Tls(text),
        OpenFailure::Other(text) => ConnectionCause::Unreachable(text),
    }
}
