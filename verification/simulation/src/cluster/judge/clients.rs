//! What clients send on their connections.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use zraft_core::Instant;
use zraft_protocol::{ClientMessage, MemberId, Nonce, SessionId, reserved};
use zraft_replica::ConnectionId;

use super::{At, ClusterJudge, Standing, queries::Query};

/// Messages of one connection that wait for an answer and are remembered.
const MOST_WAITING: usize = 1 << 14;
/// A CreateSession or ContinueSession that has no answer.
#[derive(Debug)]
pub(super) struct Handshake {
    pub(super) nonce: Nonce,
    /// The session to continue; none to create one.
    pub(super) wants: Option<SessionId>,
    pub(super) since: Instant,
    /// The member's clock when it came, and what its replica knew then.
    pub(super) clock: Duration,
    pub(super) known: u64,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) session: Option<SessionId>,
    /// When it was bound, and what the member had applied then.
    pub(super) bound: Instant,
    pub(super) bound_at: u64,
    /// The last server request that was sent on it, or acknowledged before.
    pub(super) sent: u64,
    pub(super) handshakes: VecDeque<Handshake>,
    /// Commands without an answer, and when they first came.
    pub(super) commands: BTreeMap<u64, Instant>,
    pub(super) queries: VecDeque<Query>,
    /// The members of the last list that was sent on it, once its client has asked for them.
    pub(super) listed: Option<BTreeSet<MemberId>>,
}

impl Connection {
    fn new(now: Instant) -> Self {
        Self {
            session: None,
            bound: now,
            bound_at: 0,
            sent: 0,
            handshakes: VecDeque::new(),
            commands: BTreeMap::new(),
            queries: VecDeque::new(),
            listed: None,
        }
    }

    /// Returns the handshake with this nonce, which is answered now.
    pub(super) fn take_handshake(&mut self, nonce: Nonce) -> Option<Handshake> {
        let at = self.handshakes.iter().position(|handshake| handshake.nonce == nonce)?;
        self.handshakes.remove(at)
    }
}

impl ClusterJudge {
    /// A client has connected to a member.
    pub(crate) fn connected(&mut self, at: At, member: usize, connection: ConnectionId) {
        self.pass(at, member);
        if let Some(state) = self.members.get_mut(member) {
            state.connections.insert(connection, Connection::new(at.now));
        }
    }

    /// A connection has ended, or the member closes it.
    pub(crate) fn disconnected(&mut self, at: At, member: usize, connection: ConnectionId) {
        self.pass(at, member);
        if let Some(state) = self.members.get_mut(member) {
            state.connections.remove(&connection);
        }
    }

    /// Returns true if the leader that read the CloseSession of this session serves no more in that term. What it had not
    /// committed may be lost with its lead, and a client that has left does not say it again: the session then ends by its
    /// timeout.
    pub(crate) fn may_have_lost_close(&self, id: &SessionId) -> bool {
        let session = self.ledger.sessions.get(id);
        session.and_then(|session| session.closed_by).is_some_and(|(member, term)| {
            let standing = self.members[member].standing;
            !standing.serving || standing.term != term
        })
    }

    /// A member reads a client's message.
    pub(crate) fn client_said(
        &mut self,
        at: At,
        member: usize,
        connection: ConnectionId,
        message: &ClientMessage,
    ) {
        self.pass(at, member);
        let Some(state) = self.members.get_mut(member) else { return };
        let Standing { known, term, serving, .. } = state.standing;
        let Some(place) = state.connections.get_mut(&connection) else { return };
        let waits = |wants| {
            let (ClientMessage::CreateSession { nonce, .. }
            | ClientMessage::ContinueSession { nonce, .. }) = message
            else {
                return None;
            };
            Some(Handshake { nonce: *nonce, wants, since: at.now, clock: at.clock, known })
        };
        match message {
            ClientMessage::CreateSession { .. } => place.handshakes.extend(waits(None)),
            ClientMessage::ContinueSession { session_id, .. } => {
                place.handshakes.extend(waits(Some(session_id.clone())));
            }
            _ => {}
        }
        if place.handshakes.len() > MOST_WAITING {
            place.handshakes.pop_front();
        }
        let Some(id) = place.session.clone() else { return };
        let settings = self.ledger.settings().clone();
        let Some(session) = self.ledger.sessions.get_mut(&id) else { return };
        match message {
            ClientMessage::ClientRequest {
                request_id,
                lowest_pending_request_id,
                payload,
                created_at: _,
            } => {
                let (request, lowest) = (request_id.get(), lowest_pending_request_id.get());
                session.ask(at.now, &settings, (request, lowest), payload);
                let first = serving && session.arrivals.read(member, term, connection, request);
                if first && !session.outcomes.contains_key(&request) {
                    place.queries.iter_mut().for_each(|query| query.is_followed_by(request));
                }
                place.commands.entry(request).or_insert(at.now);
                if place.commands.len() > MOST_WAITING {
                    place.commands.pop_last();
                }
            }
            ClientMessage::Query { correlation_id, payload, .. } => {
                place.queries.push_back(Query {
                    correlation: correlation_id.clone(),
                    reserved: reserved::is_reserved(payload),
                    floor: self.ledger.told_length,
                    own: place.commands.keys().copied().collect(),
                    since: at.now,
                    clock: at.clock,
                    next: None,
                    released: None,
                });
                if place.queries.len() > MOST_WAITING {
                    place.queries.pop_front();
                }
            }
            ClientMessage::ServerRequestAck { request_id } => {
                session.seen_acknowledged = session.seen_acknowledged.max(request_id.get());
            }
            ClientMessage::CloseSession { .. } => session.closed_by = Some((member, term)),
            ClientMessage::ConnectionClosed => place.session = None,
            ClientMessage::KeepAlive { .. }
            | ClientMessage::CreateSession { .. }
            | ClientMessage::ContinueSession { .. } => {}
        }
        if !matches!(
            message,
            ClientMessage::CreateSession { .. } | ClientMessage::ContinueSession { .. }
        ) {
            self.hear(member, &id);
        }
    }
}
