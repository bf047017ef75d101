//! The life of sessions at the leader: created, bound, extended, ended, and what entries report of them.

use std::{collections::btree_map::Entry, time::Duration};

use zraft_protocol::{
    Capabilities, Nonce, RejectionReason, RequestId, ServerMessage, SessionCloseReason, SessionId,
};
use zraft_session::{Effect, EndReason, Operation, Refusal, ServerRequest, Session, SessionEnd};

use super::{
    ConnectionId, Replica,
    lead::{Creating, SessionLead},
    timers::Timer,
};

/// Server requests that no acknowledgement reached for this long are sent again.
pub(super) const REDELIVER_AFTER: Duration = Duration::from_secs(10);
/// A connection that closed its session is closed after this, even if the end has not committed. The client does not
/// wait for an answer.
pub(super) const CLOSE_WITHIN: Duration = Duration::from_secs(1);

impl Replica {
    pub(super) fn create_session(
        &mut self,
        connection: ConnectionId,
        capabilities: Capabilities,
        nonce: Nonce,
    ) {
        let session = self.draw_session_id();
        let most = self.config.limits.held;
        let takes = self.takes_commands();
        let Some(lead) = self.lead.as_mut() else { return };
        if lead.creating.len() >= most || !takes {
            self.reject(connection, nonce, RejectionReason::NotLeader);
            return;
        }
        lead.creating.insert(session.clone(), Creating { connection, nonce });
        let capabilities = zraft_session::Capabilities::from(capabilities).without_token();
        lead.push(Operation::CreateSession { session, capabilities });
    }

    /// A random UUID as text. Whoever knows it can continue the session.
    fn draw_session_id(&mut self) -> SessionId {
        let mut bytes: [u8; 16] = self.random();
        bytes[6] = bytes[6] & 0x0F | 0x40;
        bytes[8] = bytes[8] & 0x3F | 0x80;
        let mut text = String::with_capacity(36);
        for (at, byte) in bytes.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                text.push('-');
            }
            for digit in [byte >> 4, byte & 0xF] {
                text.extend(char::from_digit(digit.into(), 16));
            }
        }
        // 36 bytes: from 1 to 255.
        SessionId::new(text).expect("a UUID is short enough")
    }

    pub(super) fn continue_session(
        &mut self,
        connection: ConnectionId,
        session: SessionId,
        nonce: Nonce,
    ) {
        let most = self.config.limits.held;
        let Some(lead) = self.lead.as_mut() else { return };
        match lead.sessions.get_mut(&session) {
            Some(state) if state.ending => {
                if state.continues.len() < most {
                    state.continues.push((connection, nonce));
                } else {
                    self.reject(connection, nonce, RejectionReason::NotLeader);
                }
            }
            Some(_) => {
                self.bind(connection, &session);
                self.tell(connection, ServerMessage::SessionContinued { nonce });
                self.redeliver(connection);
            }
            // Only a round shows that no other member leads and knows the session.
            None if lead.queries.unknown_len() < most => {
                lead.queries.ask_about(connection, session, nonce);
            }
            None => self.reject(connection, nonce, RejectionReason::NotLeader),
        }
    }

    /// Settles ContinueSessions of sessions that were unknown when they came.
    pub(super) fn settle_unknown(&mut self) {
        let applied = self.applying.view.applied;
        let Some(lead) = self.lead.as_mut() else { return };
        for (connection, session, nonce) in lead.queries.take_known_up_to(applied) {
            let Some(lead) = self.lead.as_mut() else { return };
            if lead.sessions.contains_key(&session) {
                self.continue_session(connection, session, nonce);
            } else {
                self.reject(connection, nonce, RejectionReason::SessionExpired);
            }
        }
    }

    /// Ties a session to a connection, and ends the connection that had it before.
    fn bind(&mut self, connection: ConnectionId, session: &SessionId) {
        let acknowledged = self.applying.view.sessions.get(session).map(Session::acknowledged);
        let Some(state) = self.connections.get_mut(connection) else { return };
        let other = state.bound.replace(session.clone()).filter(|other| other != session);
        state.sent = acknowledged.unwrap_or_default();
        state.redeliver_at = None;
        if let Some(other) = other {
            self.unbind(connection, &other);
        }
        let now = self.now.monotonic;
        let timeout = self.applying.view.settings.session_timeout();
        let Some(state) = self.lead.as_mut().and_then(|lead| lead.sessions.get_mut(session)) else {
            return;
        };
        state.deadline = now + timeout;
        let before = state.bound.replace(connection).filter(|before| *before != connection);
        if let Some(before) = before {
            if let Some(old) = self.connections.get_mut(before) {
                old.bound = None;
            }
            self.drop_waiting(before, session);
            self.close(before);
        }
    }

    /// Takes a connection away from its session, which goes on.
    pub(super) fn unbind(&mut self, connection: ConnectionId, session: &SessionId) {
        if let Some(state) = self.lead.as_mut().and_then(|lead| lead.sessions.get_mut(session))
            && state.bound == Some(connection)
        {
            state.bound = None;
            self.drop_waiting(connection, session);
        }
    }

    /// Drops what waits on a connection. The client sends it again on its next one.
    fn drop_waiting(&mut self, connection: ConnectionId, session: &SessionId) {
        let Some(lead) = self.lead.as_mut() else { return };
        lead.queries.drop_of(connection);
        if let Some(state) = lead.sessions.get_mut(session) {
            state.waiting.retain(|_, waiting| waiting.connection != connection);
        }
        if let Some(state) = self.connections.get_mut(connection) {
            state.waiting_bytes = 0;
        }
    }

    /// Takes note that a client is there. Returns false if its session is ending, or is not one of this leader's.
    pub(super) fn extend(&mut self, session: &SessionId) -> bool {
        let deadline = self.now.monotonic + self.applying.view.settings.session_timeout();
        let state = self.lead.as_mut().and_then(|lead| lead.sessions.get_mut(session));
        let Some(state) = state else { return false };
        state.deadline = deadline;
        !state.ending
    }

    pub(super) fn end_session(&mut self, session: &SessionId, reason: EndReason) {
        let Some(lead) = self.lead.as_mut() else { return };
        let Some(state) = lead.sessions.get_mut(session).filter(|state| !state.ending) else {
            return;
        };
        // What waits for room stays and is judged no more: queries that came after it must not run without it.
        state.ending = true;
        lead.waiting.remove(session);
        lead.push(Operation::EndSession { session: session.clone(), reason });
    }

    pub(super) fn check_expiry(&mut self, session: &SessionId) {
        let now = self.now.monotonic;
        let timeout = self.applying.view.settings.session_timeout();
        let Some(lead) = self.lead.as_mut() else { return };
        let Some(state) = lead.sessions.get(session).filter(|state| !state.ending) else { return };
        let overrun = state.overrun_since.is_some_and(|since| now.saturating_sub(since) >= timeout);
        let reason = if overrun {
            EndReason::CacheOverrun
        } else if state.deadline <= now {
            EndReason::Expired
        } else {
            self.timers.set(state.deadline, Timer::Expiry(session.clone()));
            return;
        };
        self.end_session(session, reason);
    }

    /// Tells clients what an applied entry led to.
    pub(super) fn effect(&mut self, effect: Effect) {
        let Some(lead) = self.lead.as_mut() else { return };
        match effect {
            Effect::SessionCreated { session } => self.session_created(session),
            Effect::SessionRefused { session, refusal } => {
                if let Some(Creating { connection, nonce }) = lead.creating.remove(&session) {
                    let reason = match refusal {
                        Refusal::Application => RejectionReason::InvalidCapabilities,
                        Refusal::TooManySessions | Refusal::DuplicateId => RejectionReason::Other,
                    };
                    self.reject(connection, nonce, reason);
                }
            }
            Effect::Answered { session, request_id, answer } => {
                let Some(state) = lead.sessions.get_mut(&session) else { return };
                state.in_flight.remove(&request_id);
                if let Some(connection) = state.bound
                    && let Some(message) = answer.message(request_id)
                {
                    self.tell(connection, message);
                }
            }
            Effect::Pushed { session, request } => self.pushed(session, request),
            // Only another policy of the state machine reports it.
            Effect::PushRefused { .. } => {}
            Effect::SessionEnded { session, end } => self.session_ended(&session, end),
        }
    }

    fn session_created(&mut self, session: SessionId) {
        let deadline = self.now.monotonic + self.applying.view.settings.session_timeout();
        let Some(lead) = self.lead.as_mut() else { return };
        // While the leader does not serve yet, it takes all sessions from the view at once.
        if !lead.is_serving() {
            return;
        }
        if let Entry::Vacant(vacant) = lead.sessions.entry(session.clone()) {
            vacant.insert(SessionLead::new(deadline));
            self.timers.set(deadline, Timer::Expiry(session.clone()));
        }
        let Some(Creating { connection, nonce }) = lead.creating.remove(&session) else { return };
        if self.connections.get(connection).is_some() {
            self.bind(connection, &session);
            self.tell(connection, ServerMessage::SessionCreated { session_id: session, nonce });
        } else {
            // No client knows its id.
            self.end_session(&session, EndReason::Abandoned);
        }
    }

    fn session_ended(&mut self, session: &SessionId, end: SessionEnd) {
        let Some(lead) = self.lead.as_mut() else { return };
        lead.forget_session(session);
        let Some(state) = lead.sessions.remove(session) else { return };
        for (connection, nonce) in state.continues {
            self.reject(connection, nonce, RejectionReason::SessionExpired);
        }
        let Some(connection) = state.bound else { return };
        if end != SessionEnd::Closed {
            let reason = SessionCloseReason::SessionExpired;
            self.tell(connection, ServerMessage::SessionClosed { reason, leader_id: None });
        }
        self.close(connection);
    }

    /// Sends a new server request, if all before it were sent and few enough are unacknowledged.
    fn pushed(&mut self, session: SessionId, request: ServerRequest) {
        let within = self.applying.view.sessions.get(&session).is_some_and(|state| {
            state.unacknowledged() <= Session::MAX_REDELIVERY as u64
                && state.unacknowledged_bytes() <= Session::MAX_REDELIVERY_BYTES as u64
        });
        let Some(lead) = self.lead.as_mut() else { return };
        let Some(connection) = lead.sessions.get(&session).and_then(|state| state.bound) else {
            return;
        };
        let sent = self.connections.get(connection).map(|connection| connection.sent);
        if within && sent.is_some_and(|sent| sent.next() == request.id) {
            self.send_request(connection, request);
        } else {
            lead.lagging.insert(session);
        }
    }

    /// Sends what acknowledgements have made room for.
    pub(super) fn pump_lagging(&mut self) {
        let Some(lead) = self.lead.as_mut() else { return };
        for session in std::mem::take(&mut lead.lagging) {
            let state = self.lead.as_ref().and_then(|lead| lead.sessions.get(&session));
            if let Some(connection) = state.and_then(|state| state.bound) {
                self.send_requests(connection, false);
            }
        }
    }

    /// Sends the unacknowledged server requests, from the lowest.
    fn redeliver(&mut self, connection: ConnectionId) {
        self.send_requests(connection, true);
    }

    /// Sends server requests as far as few enough are unacknowledged: all of them, or those that were not sent on this
    /// connection.
    fn send_requests(&mut self, connection: ConnectionId, again: bool) {
        let Some(state) = self.connections.get(connection) else { return };
        let Some(session) = state.bound.clone() else { return };
        let above = if again { RequestId::ZERO } else { state.sent };
        let Some(replicated) = self.applying.view.sessions.get(&session) else { return };
        let last = replicated.last_server_request();
        let requests: Vec<_> =
            replicated.redelivery().filter(|request| request.id > above).collect();
        let mut reached = above;
        for request in requests {
            reached = request.id;
            self.send_request(connection, request);
        }
        if reached < last
            && let Some(lead) = self.lead.as_mut()
        {
            lead.lagging.insert(session);
        }
    }

    fn send_request(&mut self, connection: ConnectionId, request: ServerRequest) {
        let created_at = self.now.wall.into();
        let at = self.now.monotonic + REDELIVER_AFTER;
        let Some(state) = self.connections.get_mut(connection) else { return };
        state.sent = state.sent.max(request.id);
        if state.redeliver_at.is_none() {
            state.redeliver_at = Some(at);
            self.timers.set(at, Timer::Redelivery(connection));
        }
        let ServerRequest { id: request_id, payload } = request;
        self.tell(connection, ServerMessage::ServerRequest { request_id, payload, created_at });
    }

    pub(super) fn check_redelivery(&mut self, connection: ConnectionId) {
        let now = self.now.monotonic;
        let Some(state) = self.connections.get_mut(connection) else { return };
        let Some(at) = state.redeliver_at else { return };
        if at > now {
            self.timers.set(at, Timer::Redelivery(connection));
            return;
        }
        // Set again by the first request that is sent.
        state.redeliver_at = None;
        self.redeliver(connection);
    }
}
