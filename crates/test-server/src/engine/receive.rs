//! How a member handles a message: as the leader, as a follower, and as one that wrongly believes it leads.

use zraft_protocol::{
    ClientMessage, Nonce, RejectionReason, ServerMessage, SessionCloseReason, SessionId,
};
use zraft_session::{Capabilities, EndReason};
use zraft_zmtp::Instant;

use super::ClosedFor;
use super::Engine;
use super::log::Entry;
use super::output::PeerId;
use super::table::Key;

/// What a member believes to be.
enum Role {
    Leader,
    /// It lost leadership and believes that it still leads.
    Unaware,
    /// It believes that it leads, and has a stale session map.
    Stale,
    Follower,
}

impl Engine {
    /// Handles a message that arrived on a connection. Ignores it if the member [does not read](Self::reads).
    pub fn received(&mut self, now: Instant, peer: PeerId, message: ClientMessage) {
        self.advance(now);
        let Some(member) = self.listening_member(peer) else { return };
        if self.drops.take_from_client(message.kind()) {
            return;
        }
        match self.role(member) {
            Role::Leader => self.received_by_leader(member, peer, message),
            Role::Unaware => self.received_by_unaware(member, peer, message),
            Role::Stale => self.received_by_stale(member, peer, message),
            Role::Follower => self.received_by_follower(member, peer, &message),
        }
        self.run_log();
    }

    /// Handles a message that does not decode: closes the connection. A live server becomes deaf instead; see
    /// [`Self::set_deaf`].
    pub fn received_undecodable(&mut self, now: Instant, peer: PeerId) {
        self.advance(now);
        if self.listening_member(peer).is_some() {
            self.close_for(peer, ClosedFor::UndecodableMessage);
        }
    }

    /// Returns the member that handles a message of this peer, or `None` if the message is ignored.
    fn listening_member(&mut self, peer_id: PeerId) -> Option<usize> {
        if !self.reads(peer_id) {
            return None;
        }
        let peer = self.peers.get(&peer_id)?;
        let (member, dropped) = (peer.member, peer.dropped);
        if self.members[member].deaf {
            return None;
        }
        if dropped {
            self.mute(peer_id);
            return None;
        }
        self.stats.messages_received += 1;
        Some(member)
    }

    fn role(&self, member: usize) -> Role {
        if self.members[member].stale_map.is_some() {
            Role::Stale
        } else if self.leader == Some(member) {
            Role::Leader
        } else if self.members[member].unaware.is_some() {
            Role::Unaware
        } else {
            Role::Follower
        }
    }

    fn received_by_leader(&mut self, member: usize, peer: PeerId, message: ClientMessage) {
        let bound = self.peers.get(&peer).and_then(|peer| peer.bound);
        match (message, bound) {
            (ClientMessage::CreateSession { nonce, capabilities }, _) => {
                if self.table.len() >= self.config.limits.sessions {
                    self.close_for(peer, ClosedFor::Limit("sessions"));
                } else {
                    let capabilities = Capabilities::from(capabilities).without_token();
                    self.append_from(peer, Entry::CreateSession { peer, nonce, capabilities });
                }
            }
            (ClientMessage::ContinueSession { session_id, nonce }, _) => {
                self.continue_session(peer, &session_id, nonce);
            }
            (ClientMessage::CloseSession { .. }, Some(session)) => {
                self.unbind(peer);
                if let Some(row) = self.table.get_mut(session) {
                    row.ending = true;
                }
                self.append(Entry::EndSession { session, reason: EndReason::Closed });
            }
            (ClientMessage::ConnectionClosed, _) => self.unbind(peer),
            (ClientMessage::CloseSession { .. }, None) => {}
            (_, None) => self.refuse_unbound(peer),
            (ClientMessage::KeepAlive { timestamp }, Some(session)) => {
                self.extend(session);
                self.send(peer, ServerMessage::KeepAliveResponse { timestamp });
            }
            (
                ClientMessage::ClientRequest {
                    request_id, lowest_pending_request_id, payload, ..
                },
                Some(session),
            ) => {
                let lowest_pending = lowest_pending_request_id;
                let entry = Entry::Command { session, request_id, lowest_pending, payload };
                self.append_from(peer, entry);
            }
            (ClientMessage::ServerRequestAck { request_id }, Some(session)) => {
                self.append_from(peer, Entry::Acknowledge { session, request_id });
            }
            (ClientMessage::Query { correlation_id, payload, .. }, Some(session)) => {
                self.append_from(peer, Entry::Query { session, correlation_id, payload });
            }
        }
        debug_assert!(self.members[member].unaware.is_none(), "a leader knows that it leads");
    }

    fn continue_session(&mut self, peer: PeerId, session_id: &SessionId, nonce: Nonce) {
        let key = self.table.key(session_id);
        let alive = key.filter(|key| self.table.get(*key).is_some_and(|row| !row.ending));
        let Some(key) = alive else {
            self.reject_as_expired(peer, nonce);
            return;
        };
        self.stats.sessions_continued += 1;
        self.bind(peer, key);
        self.extend(key);
        self.send(peer, ServerMessage::SessionContinued { nonce });
    }

    fn reject_as_expired(&mut self, peer: PeerId, nonce: Nonce) {
        let reason = RejectionReason::SessionExpired;
        self.send(peer, ServerMessage::SessionRejected { reason, nonce, leader_id: None });
    }

    /// Answers a connection without a bound session as a leader does.
    fn refuse_unbound(&mut self, peer: PeerId) {
        let reason = SessionCloseReason::SessionError;
        self.send(peer, ServerMessage::SessionClosed { reason, leader_id: None });
        self.drop_peer(peer);
    }

    /// Handles a message as a leader that was replaced and does not know it: answers what needs no majority, and nothing
    /// else.
    fn received_by_unaware(&mut self, member: usize, peer: PeerId, message: ClientMessage) {
        let bound = self.peers.get(&peer).and_then(|peer| peer.bound);
        match (message, bound) {
            (ClientMessage::ContinueSession { session_id, nonce }, _) => {
                let known = self.members[member].unaware.as_ref();
                let key = self.table.key(&session_id);
                match key.filter(|key| known.is_some_and(|known| known.contains(key))) {
                    Some(key) => {
                        self.bind(peer, key);
                        self.send(peer, ServerMessage::SessionContinued { nonce });
                    }
                    None => self.reject_as_expired(peer, nonce),
                }
            }
            (ClientMessage::KeepAlive { timestamp }, Some(_)) => {
                self.send(peer, ServerMessage::KeepAliveResponse { timestamp });
            }
            (ClientMessage::ConnectionClosed | ClientMessage::CloseSession { .. }, _) => {
                self.unbind(peer);
            }
            (ClientMessage::CreateSession { .. }, _) | (_, Some(_)) => {}
            (_, None) => self.refuse_unbound(peer),
        }
    }

    /// Handles a message under [`Self::set_stale_session_map`]: answers ContinueSession and KeepAlive from the stale map
    /// and ignores the rest.
    fn received_by_stale(&mut self, member: usize, peer: PeerId, message: ClientMessage) {
        let known =
            |engine: &Self, key: &Key| engine.members[member].stale_map.as_ref()?.get(key).copied();
        match message {
            ClientMessage::ContinueSession { session_id, nonce } => {
                let key = self.table.key(&session_id);
                match key.and_then(|key| known(self, &key)) {
                    Some(key) => {
                        self.bind(peer, key);
                        self.send(peer, ServerMessage::SessionContinued { nonce });
                    }
                    None => self.reject_as_expired(peer, nonce),
                }
            }
            ClientMessage::KeepAlive { timestamp } => {
                let bound = self.peers.get(&peer).and_then(|peer| peer.bound);
                if bound.and_then(|key| known(self, &key)).is_some() {
                    self.send(peer, ServerMessage::KeepAliveResponse { timestamp });
                }
            }
            ClientMessage::ConnectionClosed => self.unbind(peer),
            _ => {}
        }
    }

    fn received_by_follower(&mut self, member: usize, peer: PeerId, message: &ClientMessage) {
        let leader_id = self.hint(member);
        let answer = match message {
            ClientMessage::CreateSession { nonce, .. }
            | ClientMessage::ContinueSession { nonce, .. } => ServerMessage::SessionRejected {
                reason: RejectionReason::NotLeader,
                nonce: *nonce,
                leader_id,
            },
            ClientMessage::KeepAlive { .. }
            | ClientMessage::ClientRequest { .. }
            | ClientMessage::Query { .. } => {
                let reason = SessionCloseReason::NotLeaderAnymore;
                ServerMessage::SessionClosed { reason, leader_id }
            }
            ClientMessage::ServerRequestAck { .. }
            | ClientMessage::CloseSession { .. }
            | ClientMessage::ConnectionClosed => return,
        };
        self.send(peer, answer);
        self.drop_peer(peer);
    }

    /// Appends an entry for a peer's message to the leader's log, or closes the connection if the log is full.
    fn append_from(&mut self, peer: PeerId, entry: Entry) {
        let limits = &self.config.limits;
        if self.log.len() >= limits.log_entries {
            self.close_for(peer, ClosedFor::Limit("log_entries"));
        } else if self.log.bytes() >= limits.log_bytes {
            self.close_for(peer, ClosedFor::Limit("log_bytes"));
        } else {
            self.append(entry);
        }
    }

    pub(super) fn append(&mut self, entry: Entry) {
        self.log.push(self.now + self.config.commit_delay, entry);
    }
}
