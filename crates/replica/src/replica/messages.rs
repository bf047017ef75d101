//! What a serving leader does with the messages of clients.

use std::collections::BTreeMap;

use zraft_protocol::{
    ClientMessage, Payload, RequestErrorReason, RequestId, ServerMessage, SessionId,
};
use zraft_session::{Answer, EndReason, Operation, Verdict};

use super::{
    ConnectionId, Replica,
    connections::{HELD_OVERHEAD, SessionRequest},
    lead::Waiting,
    sessions::CLOSE_WITHIN,
    timers::Timer,
};

/// Which of a session's waiting commands are judged again.
#[derive(Clone, Copy, Debug)]
enum Which {
    All,
    Below(RequestId),
}

impl Replica {
    pub(super) fn serve(&mut self, connection: ConnectionId, message: ClientMessage) {
        match message {
            ClientMessage::CreateSession { capabilities, nonce } => {
                self.serve_handshake(connection, SessionRequest::Create { capabilities, nonce });
                return;
            }
            ClientMessage::ContinueSession { session_id, nonce } => {
                let request = SessionRequest::Continue { session: session_id, nonce };
                self.serve_handshake(connection, request);
                return;
            }
            _ => {}
        }
        let bound = self.connections.get(connection).and_then(|each| each.bound.clone());
        let Some(session) = bound else {
            // Some clients reconnect without a word. This tells them to continue their session here.
            if !matches!(message, ClientMessage::ConnectionClosed) {
                let own = self.own_name();
                self.turn_away(connection, own);
            }
            return;
        };
        if !self.extend(&session) {
            // The entry that ends it settles everything; nothing is appended for it.
            return;
        }
        match message {
            ClientMessage::KeepAlive { timestamp } => {
                self.tell(connection, ServerMessage::KeepAliveResponse { timestamp });
            }
            ClientMessage::ClientRequest {
                request_id,
                lowest_pending_request_id,
                payload,
                created_at: _,
            } => self.command(connection, &session, request_id, lowest_pending_request_id, payload),
            ClientMessage::Query { correlation_id, payload, created_at: _ } => {
                self.query(connection, session, correlation_id, payload);
            }
            ClientMessage::ServerRequestAck { request_id } => {
                self.acknowledge(connection, session, request_id);
            }
            ClientMessage::CloseSession { reason: _ } => {
                self.end_session(&session, EndReason::Closed);
                self.timers.set(self.now.monotonic + CLOSE_WITHIN, Timer::Close(connection));
            }
            ClientMessage::ConnectionClosed => {
                if let Some(connection) = self.connections.get_mut(connection) {
                    connection.bound = None;
                }
                self.unbind(connection, &session);
            }
            ClientMessage::CreateSession { .. } | ClientMessage::ContinueSession { .. } => {}
        }
    }

    fn command(
        &mut self,
        connection: ConnectionId,
        session: &SessionId,
        request_id: RequestId,
        lowest_pending: RequestId,
        payload: Payload,
    ) {
        let Some(lead) = self.lead.as_mut() else { return };
        let Some(state) = lead.sessions.get_mut(session) else { return };
        let raises = state.admission.frame(request_id, lowest_pending);
        let mut in_flight = state.in_flight.contains(&request_id);
        if raises && !lead.waiting.is_empty() {
            // The client waits for the lower ones first, and may send nothing else until they are answered.
            self.reconsider(session, Which::Below(request_id));
            let state = self.lead.as_ref().and_then(|lead| lead.sessions.get(session));
            let Some(state) = state else { return };
            in_flight = state.in_flight.contains(&request_id);
        }
        // A copy of a command that is in the log attaches to it: the answer goes to the session's connection.
        if !in_flight {
            self.arrive(connection, session, request_id, payload);
        }
        if raises && self.lead.as_ref().is_some_and(|lead| !lead.waiting.is_empty()) {
            self.reconsider(session, Which::All);
        }
    }

    /// Judges a command that is not in the log. A newer copy takes the place of one that waits.
    fn arrive(
        &mut self,
        connection: ConnectionId,
        session: &SessionId,
        request_id: RequestId,
        payload: Payload,
    ) {
        let Some(state) = self.lead.as_mut().and_then(|lead| lead.sessions.get_mut(session)) else {
            return;
        };
        let arrival = match state.waiting.remove(&request_id) {
            Some(older) => {
                self.release_request(older.connection, older.payload.len());
                Some(older.arrival)
            }
            None => None,
        };
        self.decide(connection, session, request_id, payload, arrival);
    }

    /// Judges a command that is not in the log. While the disk is nearly full, no command is proposed: it waits, like one
    /// for whose answer there is no room. `arrival` is its place if it has waited.
    fn decide(
        &mut self,
        connection: ConnectionId,
        session: &SessionId,
        request_id: RequestId,
        payload: Payload,
        arrival: Option<u64>,
    ) {
        let takes = self.takes_commands();
        let view = &self.applying.view;
        let Some(lead) = self.lead.as_mut() else { return };
        let Some(state) = lead.sessions.get_mut(session) else { return };
        let verdict = state.admission.judge(
            &view.sessions,
            &view.settings,
            session,
            request_id,
            state.in_flight.len() as u64,
        );
        let verdict = match verdict {
            // A full cache cannot get emptier meanwhile, so it ends no session either.
            Verdict::Propose { .. } | Verdict::Overrun if !takes => Verdict::Wait,
            verdict => verdict,
        };
        // An answer to a copy says nothing of the room in the cache.
        if matches!(verdict, Verdict::Propose { .. } | Verdict::Wait) {
            state.overrun_since = None;
        }
        match verdict {
            Verdict::Propose { lowest_pending } => {
                state.in_flight.insert(request_id);
                let (session, bytes) = (session.clone(), payload.len());
                let command = Operation::Command { session, request_id, lowest_pending, payload };
                match arrival {
                    Some(arrival) => lead.push_waited(connection, command, arrival),
                    None => _ = lead.push_from(Some(connection), command),
                }
                // Until it is in the log, which is at once unless a hand-over or a slow member holds it back.
                self.hold_request(connection, bytes);
            }
            Verdict::Cached(answer) => {
                if let Some(message) = Answer::Cached(answer).message(request_id) {
                    self.tell(connection, message);
                }
            }
            Verdict::Evicted => {
                let reason = RequestErrorReason::ResponseEvicted;
                self.tell(connection, ServerMessage::RequestError { request_id, reason });
            }
            Verdict::Wait | Verdict::Overrun => {
                if verdict == Verdict::Overrun {
                    state.overrun_since.get_or_insert(self.now.monotonic);
                }
                let bytes = payload.len();
                let arrival = arrival.unwrap_or_else(|| lead.next_arrival());
                let Some(state) = lead.sessions.get_mut(session) else { return };
                state.waiting.insert(request_id, Waiting { connection, payload, arrival });
                lead.waiting.insert(session.clone());
                self.hold_request(connection, bytes);
            }
            // Its end is applied and reported; or a newer kind of verdict, which holds the command as lost.
            _ => {}
        }
    }

    /// Judges the commands that wait for room again, because answers may have left the caches.
    pub(super) fn reconsider_waiting(&mut self) {
        let Some(lead) = self.lead.as_mut() else { return };
        for session in std::mem::take(&mut lead.waiting) {
            self.reconsider(&session, Which::All);
        }
    }

    /// Judges waiting commands of one session again, the lowest first, unless its end is on its way into the log.
    fn reconsider(&mut self, session: &SessionId, which: Which) {
        let state = self.lead.as_mut().and_then(|lead| lead.sessions.get_mut(session));
        let Some(state) = state.filter(|state| !state.ending) else { return };
        let above = match which {
            Which::All => BTreeMap::new(),
            Which::Below(id) => state.waiting.split_off(&id),
        };
        let judged = std::mem::replace(&mut state.waiting, above);
        for (request_id, waiting) in judged {
            let Waiting { connection, payload, arrival } = waiting;
            self.release_request(connection, payload.len());
            self.decide(connection, session, request_id, payload, Some(arrival));
        }
    }

    /// Counts what waits on a connection, and ends a connection on which too much does. Its client comes back and sends
    /// again what was not answered.
    pub(super) fn hold_request(&mut self, connection: ConnectionId, payload: usize) {
        let most = self.config.limits.waiting_bytes;
        let Some(state) = self.connections.get_mut(connection) else { return };
        state.waiting_bytes += payload + HELD_OVERHEAD;
        if state.waiting_bytes > most {
            let own = self.own_name();
            self.turn_away(connection, own);
        }
    }

    pub(super) fn release_request(&mut self, connection: ConnectionId, payload: usize) {
        if let Some(state) = self.connections.get_mut(connection) {
            state.waiting_bytes = state.waiting_bytes.saturating_sub(payload + HELD_OVERHEAD);
        }
    }

    fn acknowledge(&mut self, connection: ConnectionId, session: SessionId, up_to: RequestId) {
        let Some(state) = self.connections.get_mut(connection) else { return };
        // A client cannot have what was not sent on this connection, or acknowledged before.
        let up_to = up_to.min(state.sent);
        let known =
            self.applying.view.sessions.get(&session).map(zraft_session::Session::acknowledged);
        if known.is_none_or(|known| up_to <= known) {
            return;
        }
        state.redeliver_at = Some(self.now.monotonic + super::sessions::REDELIVER_AFTER);
        if let Some(lead) = self.lead.as_mut() {
            lead.acknowledge(session, up_to, self.now.monotonic);
        }
    }
}
