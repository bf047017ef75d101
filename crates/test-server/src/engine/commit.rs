//! Commits entries of the log: executes them and sends what comes out.

use std::iter;

use zraft_protocol::{
    CorrelationId, Nonce, Payload, RejectionReason, RequestId, ServerMessage, SessionId, reserved,
};
use zraft_session::{
    Acknowledgement, Answer, Capabilities, Effect, EndReason, Entry as ReplicatedEntry, Operation,
    QueryError, Refusal, Rejected, ServerRequest, Session, SessionEnd,
};

use super::Engine;
use super::log::Entry;
use super::output::PeerId;
use super::table::{Key, number};
use super::{ClosedFor, Incident};

impl Engine {
    /// Commits the entries that are due.
    pub(super) fn run_log(&mut self) {
        if !self.commits {
            return;
        }
        let interval = self.commit_interval();
        while self.log.due(interval).is_some_and(|due| due <= self.now) {
            let Some(entry) = self.log.pop(interval) else { break };
            self.commit(entry);
        }
    }

    /// Commits the next `count` entries, due or not.
    pub(super) fn commit_next(&mut self, count: usize) {
        for _ in 0..count {
            let Some(entry) = self.log.pop(None) else { break };
            self.commit(entry);
        }
    }

    fn commit(&mut self, entry: Entry) {
        if !matches!(entry, Entry::Query { .. }) {
            self.stats.log_entries += 1;
        }
        match entry {
            Entry::CreateSession { peer, nonce, capabilities } => {
                self.commit_session(peer, nonce, capabilities);
            }
            Entry::Command { session, request_id, lowest_pending, payload } => {
                self.commit_command(session, request_id, lowest_pending, payload);
            }
            Entry::Acknowledge { session, request_id } => self.acknowledge(session, request_id),
            Entry::EndSession { session, reason } => self.end_session(session, reason),
            Entry::Redeliver => self.redeliver(),
            Entry::Query { session, correlation_id, payload } => {
                self.answer_query(session, correlation_id, &payload);
            }
        }
    }

    fn commit_session(&mut self, peer: PeerId, nonce: Nonce, capabilities: Capabilities) {
        // Earlier entries in the log may have created sessions since the leader checked the limit.
        if self.table.len() >= self.config.limits.sessions {
            if self.peers.contains_key(&peer) {
                self.close_for(peer, ClosedFor::Limit("sessions"));
            }
            return;
        }
        // A drawn id is always valid.
        let Ok(session) = self.seed.session_id() else { return };
        let operation = Operation::CreateSession { session: session.clone(), capabilities };
        for effect in self.replicated.apply(self.now, operation) {
            match effect {
                Effect::SessionCreated { .. } => self.session_created(peer, nonce, session.clone()),
                Effect::SessionRefused { refusal, .. } => {
                    self.session_refused(peer, nonce, refusal);
                }
                other => self.carry_out([other]),
            }
        }
    }

    fn session_created(&mut self, peer: PeerId, nonce: Nonce, session_id: SessionId) {
        self.stats.sessions_created += 1;
        let expires_at = self.now + self.config.session_timeout;
        let key = self.table.add(session_id.clone(), expires_at);
        self.expiry_added(expires_at);
        if self.is_served(peer) {
            self.bind(peer, key);
            self.send(peer, ServerMessage::SessionCreated { session_id, nonce });
        }
    }

    fn session_refused(&mut self, peer: PeerId, nonce: Nonce, refusal: Refusal) {
        self.stats.sessions_refused += 1;
        let reason = match refusal {
            Refusal::Application => RejectionReason::InvalidCapabilities,
            Refusal::TooManySessions | Refusal::DuplicateId => RejectionReason::Other,
        };
        if self.is_served(peer) {
            self.send(peer, ServerMessage::SessionRejected { reason, nonce, leader_id: None });
        }
    }

    /// Returns true if the connection exists, is the leader's and was not dropped.
    fn is_served(&self, peer: PeerId) -> bool {
        self.peers.get(&peer).is_some_and(|peer| !peer.dropped && Some(peer.member) == self.leader)
    }

    fn commit_command(
        &mut self,
        session: Key,
        request_id: RequestId,
        lowest_pending: RequestId,
        payload: Payload,
    ) {
        // The session may have ended since the command arrived.
        let Some(row) = self.table.get(session) else { return };
        let session = row.id.clone();
        let operation = Operation::Command { session, request_id, lowest_pending, payload };
        let entry = ReplicatedEntry { time: self.replicated.time(self.now), operation };
        let effects = self.replicated.apply_entry(&entry);
        if let Operation::Command { session, payload, .. } = &entry.operation {
            let ran = |effect: &Effect| {
                matches!(
                    effect,
                    Effect::Answered { answer: Answer::Executed(_) | Answer::TooLong, .. }
                )
            };
            if let (Some(leader), true) = (self.leader, effects.iter().any(ran)) {
                self.stats.executed += 1;
                let member = &self.members[leader].id;
                self.replicated.journal.record(session, request_id, payload, member);
            }
        }
        self.carry_out(effects);
    }

    fn acknowledge(&mut self, session: Key, up_to: RequestId) {
        let Some(row) = self.table.get(session) else { return };
        let id = row.id.clone();
        let acknowledgement = Acknowledgement { session: id.clone(), up_to };
        let effects =
            self.replicated.apply(self.now, Operation::Acknowledge(vec![acknowledgement]));
        // Carried out first: a tick of the application within the entry may have added server requests.
        self.carry_out(effects);
        let left = self.replicated.session(&id).map_or(0, Session::unacknowledged) as usize;
        if let Some(row) = self.table.get_mut(session) {
            row.acknowledged(left);
        }
    }

    pub(super) fn end_session(&mut self, session: Key, reason: EndReason) {
        self.unbind_session(session);
        let Some(row) = self.table.get(session) else { return };
        let operation = Operation::EndSession { session: row.id.clone(), reason };
        let effects = self.replicated.apply(self.now, operation);
        self.carry_out(effects);
    }

    fn redeliver(&mut self) {
        let mut due = Vec::new();
        for key in self.table.keys().collect::<Vec<_>>() {
            let Some(row) = self.table.get_mut(key) else { continue };
            let places = row.take_overdue(self.now, self.config.redelivery_interval);
            let Some(session) = self.replicated.session(&row.id) else { continue };
            let mut requests = session.server_requests().enumerate();
            for place in places {
                due.extend(
                    requests.find(|(at, _)| *at == place).map(|(_, request)| (key, request)),
                );
            }
        }
        for (key, request) in due {
            self.stats.redeliveries += 1;
            self.send_server_request(key, request);
        }
    }

    fn answer_query(&mut self, session: Key, correlation_id: CorrelationId, query: &Payload) {
        let Some(row) = self.table.get(session) else {
            self.stats.answers_without_binding += 1;
            return;
        };
        if let Some(result) = self.answer_reserved(query) {
            self.stats.queries += 1;
            return self.answer(session, ServerMessage::QueryResponse { correlation_id, result });
        }
        let rejected = match self.replicated.query(&row.id, query) {
            Ok(result) => {
                self.stats.queries += 1;
                let message = ServerMessage::QueryResponse { correlation_id, result };
                return self.answer(session, message);
            }
            Err(QueryError::Rejected(rejected)) => rejected,
            Err(_) => Rejected::without_answer().because("the answer is too long"),
        };
        match rejected.answer().cloned() {
            Some(result) => {
                self.answer(session, ServerMessage::QueryResponse { correlation_id, result });
            }
            None => {
                self.close_bound(session, ClosedFor::RejectedQuery { correlation_id, rejected });
            }
        }
    }

    /// Answers a query that asks the server itself, which the application never sees.
    fn answer_reserved(&self, query: &[u8]) -> Option<Payload> {
        reserved::answer(query, || {
            let endpoints = self.config.endpoints.iter().map(Some).chain(iter::repeat(None));
            reserved::Members::new(self.config.members.iter().zip(endpoints).map(
                |(id, endpoint)| reserved::Member { id: id.clone(), endpoint: endpoint.cloned() },
            ))
        })
    }

    /// Sends what applied entries led to, and keeps the leader's table in step.
    pub(super) fn carry_out(&mut self, effects: impl IntoIterator<Item = Effect>) {
        for effect in effects {
            match effect {
                // `commit_session` knows which connection asked.
                Effect::SessionCreated { .. } | Effect::SessionRefused { .. } => {}
                Effect::Answered { session, request_id, answer } => {
                    if let Some(key) = self.table.key(&session) {
                        self.command_answered(key, request_id, answer);
                    }
                }
                Effect::Pushed { session, request } => {
                    if let Some(key) = self.table.key(&session) {
                        self.stats.server_requests += 1;
                        if let Some(row) = self.table.get_mut(key) {
                            row.pushed(self.now);
                        }
                        self.send_server_request(key, request);
                    }
                }
                Effect::PushRefused { session, setting } => {
                    if let Some(key) = self.table.key(&session) {
                        self.close_bound(key, ClosedFor::Limit(setting));
                    }
                }
                Effect::SessionEnded { session, end } => {
                    if let Some(key) = self.table.key(&session) {
                        self.session_ended(key, end);
                    }
                }
            }
        }
    }

    fn command_answered(&mut self, session: Key, request_id: RequestId, answer: Answer) {
        match answer {
            Answer::Rejected(rejected) if rejected.answer().is_none() => {
                let reason = ClosedFor::RejectedCommand { request_id, rejected };
                return self.close_bound(session, reason);
            }
            Answer::CacheFull { setting } => {
                return self.close_bound(session, ClosedFor::Limit(setting));
            }
            Answer::Cached(_) => self.stats.answered_from_cache += 1,
            Answer::Evicted => self.stats.evicted += 1,
            _ => {}
        }
        if let Some(message) = answer.message(request_id) {
            self.answer(session, message);
        }
    }

    fn session_ended(&mut self, key: Key, end: SessionEnd) {
        match end {
            SessionEnd::Closed => self.stats.sessions_closed += 1,
            SessionEnd::Expired => {
                self.stats.sessions_expired += 1;
                self.report(Incident::SessionExpired { session: number(key) });
            }
            // Only the application is left: the engine proposes no other end.
            _ => {
                self.stats.sessions_ended_by_application += 1;
                self.announce_end(key);
            }
        }
        self.table.remove(key);
    }

    fn answer(&mut self, session: Key, message: ServerMessage) {
        if !self.send_to_session(session, message) {
            self.stats.answers_without_binding += 1;
        }
    }

    fn send_server_request(&mut self, session: Key, request: ServerRequest) {
        let ServerRequest { id: request_id, payload } = request;
        let created_at = self.wall();
        let message = ServerMessage::ServerRequest { request_id, payload, created_at };
        self.send_to_session(session, message);
    }

    fn close_bound(&mut self, session: Key, reason: ClosedFor) {
        if let Some(peer) = self.bound_peer(session) {
            self.close_for(peer, reason);
        }
    }

    /// Unbinds a session that has ended from its connection at the leader.
    fn unbind_session(&mut self, session: Key) {
        if let Some(peer) = self.bound_peer(session) {
            self.unbind(peer);
        }
    }
}
