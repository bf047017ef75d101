//! Commits entries of the log: executes them and sends the answers.

use zraft_protocol::{Payload, ServerMessage, SessionId};

use super::Engine;
use super::log::{EndCause, Entry};
use super::output::PeerId;
use super::replicated::{Applied, Key, keepable, number};
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
            Entry::CreateSession { peer, nonce } => self.commit_session(peer, nonce),
            Entry::Command { session, request_id, lowest_pending, payload } => {
                let Some(leader) = self.leader else { return };
                let member = &self.members[leader].id;
                let applied = self.replicated.apply(
                    session,
                    request_id,
                    lowest_pending,
                    &payload,
                    member,
                    self.now,
                );
                if let Some(reply) = applied.reply(request_id) {
                    self.answer(session, reply);
                }
                match applied {
                    Applied::Executed(outcome) => {
                        self.stats.executed += 1;
                        for (to, payload) in outcome.server_requests {
                            self.push_to(&to, &payload);
                        }
                    }
                    Applied::Cached(_) => self.stats.answered_from_cache += 1,
                    Applied::Evicted => self.stats.evicted += 1,
                    Applied::Rejected(rejected) => {
                        let reason = ClosedFor::RejectedCommand { request_id, rejected };
                        self.close_bound(session, reason);
                    }
                    Applied::Full(limit) => self.close_bound(session, ClosedFor::Limit(limit)),
                    Applied::NoSession => {}
                }
            }
            Entry::Acknowledge { session, request_id } => {
                self.replicated.acknowledge(session, request_id);
            }
            Entry::EndSession { session, cause } => {
                self.unbind_session(session);
                if self.replicated.end_session(session) {
                    match cause {
                        EndCause::Closed => self.stats.sessions_closed += 1,
                        EndCause::Expired => {
                            self.stats.sessions_expired += 1;
                            self.report(Incident::SessionExpired { session: number(session) });
                        }
                    }
                }
            }
            Entry::Redeliver => {
                let due = self.replicated.redeliver(self.now, self.config.redelivery_interval);
                for (session, request_id, payload) in due {
                    self.stats.redeliveries += 1;
                    let created_at = self.wall();
                    let message = ServerMessage::ServerRequest { request_id, payload, created_at };
                    self.send_to_session(session, message);
                }
            }
            Entry::Query { session, correlation_id, payload } => {
                match self.replicated.app.query(&payload) {
                    Ok(result) => {
                        self.stats.queries += 1;
                        self.answer(
                            session,
                            ServerMessage::QueryResponse { correlation_id, result },
                        );
                    }
                    Err(rejected) => {
                        let reason = ClosedFor::RejectedQuery { correlation_id, rejected };
                        self.close_bound(session, reason);
                    }
                }
            }
        }
    }

    fn commit_session(&mut self, peer: PeerId, nonce: zraft_protocol::Nonce) {
        // Earlier entries in the log may have created sessions since the leader checked the limit.
        if self.replicated.sessions.len() >= self.config.limits.sessions {
            if self.peers.contains_key(&peer) {
                self.close_for(peer, ClosedFor::Limit("sessions"));
            }
            return;
        }
        // A drawn id is always valid.
        let Ok(session_id) = self.seed.session_id() else { return };
        self.stats.sessions_created += 1;
        let expires_at = self.now + self.config.session_timeout;
        let key = self.replicated.create_session(session_id.clone(), expires_at);
        self.expiry_added(expires_at);
        let here = self
            .peers
            .get(&peer)
            .is_some_and(|peer| !peer.dropped && Some(peer.member) == self.leader);
        if here {
            self.bind(peer, key);
            self.send(peer, ServerMessage::SessionCreated { session_id, nonce });
        }
    }

    fn answer(&mut self, session: Key, message: ServerMessage) {
        if !self.send_to_session(session, message) {
            self.stats.answers_without_binding += 1;
        }
    }

    /// Adds a server request to a session and sends it. Returns its id, or `None` if the session does not exist or is
    /// full.
    pub(super) fn push_to(
        &mut self,
        to: &SessionId,
        payload: &Payload,
    ) -> Option<zraft_protocol::RequestId> {
        let key = self.replicated.key(to)?;
        let payload = keepable(payload);
        let Some(request_id) = self.replicated.push_server_request(key, &payload, self.now) else {
            let full = self.replicated.server_requests_full(key);
            let limit = if full { "server_requests" } else { "server_request_bytes" };
            self.close_bound(key, ClosedFor::Limit(limit));
            return None;
        };
        self.stats.server_requests += 1;
        let created_at = self.wall();
        self.send_to_session(key, ServerMessage::ServerRequest { request_id, payload, created_at });
        Some(request_id)
    }

    fn close_bound(&mut self, session: Key, reason: ClosedFor) {
        let leader = self.leader.and_then(|leader| self.members.get(leader));
        if let Some(peer) = leader.and_then(|leader| leader.bindings.get(&session)).copied() {
            self.close_for(peer, reason);
        }
    }

    /// Unbinds a session that has ended from its connection at the leader.
    fn unbind_session(&mut self, session: Key) {
        let leader = self.leader.and_then(|leader| self.members.get(leader));
        if let Some(peer) = leader.and_then(|leader| leader.bindings.get(&session)).copied() {
            self.unbind(peer);
        }
    }
}
