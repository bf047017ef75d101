//! The clients' connections, and the session messages that are held while no member leads.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use zraft_protocol::{
    Capabilities, MemberId, Nonce, RejectionReason, RequestId, ServerMessage, SessionCloseReason,
    SessionId,
};

use super::{ConnectionId, Output, Replica, timers::Timer};

/// A session message is held for less than this, because clients wait about 5 s for an answer.
const HOLD_BELOW: Duration = Duration::from_millis(3_900);
/// A follower that has not heard its leader for this many heartbeats takes it for lost: its hint would send clients to
/// a member that does not answer.
const LOST_AFTER_HEARTBEATS: u32 = 3;

#[derive(Debug, Default)]
pub(super) struct Connections {
    map: BTreeMap<ConnectionId, Connection>,
    held: VecDeque<Held>,
}

/// What a request that waits costs besides its payload: its places in tables and queues, with its ids and its session's.
/// Without it, empty requests could fill the memory.
pub(super) const HELD_OVERHEAD: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Connection {
    /// The session whose messages come on this connection.
    pub(super) bound: Option<SessionId>,
    /// The last server request that was sent on this connection. Acknowledgements cannot reach past it.
    pub(super) sent: RequestId,
    /// When server requests are sent again if none is acknowledged.
    pub(super) redeliver_at: Option<Duration>,
    /// The client has asked for the members, so it is sent each list that differs.
    pub(super) hears_members: bool,
    /// Bytes of the requests that wait on this connection, each with its overhead.
    pub(super) waiting_bytes: usize,
}

/// A CreateSession or ContinueSession.
#[derive(Clone, Debug)]
pub(super) enum SessionRequest {
    Create { capabilities: Capabilities, nonce: Nonce },
    Continue { session: SessionId, nonce: Nonce },
}

impl SessionRequest {
    pub(super) fn nonce(&self) -> Nonce {
        match self {
            Self::Create { nonce, .. } | Self::Continue { nonce, .. } => *nonce,
        }
    }
}

#[derive(Debug)]
struct Held {
    connection: ConnectionId,
    request: SessionRequest,
    until: Duration,
}

impl Connections {
    pub(super) fn open(&mut self, connection: ConnectionId) {
        self.map.entry(connection).or_default();
    }

    pub(super) fn get(&self, connection: ConnectionId) -> Option<&Connection> {
        self.map.get(&connection)
    }

    pub(super) fn get_mut(&mut self, connection: ConnectionId) -> Option<&mut Connection> {
        self.map.get_mut(&connection)
    }

    pub(super) fn remove(&mut self, connection: ConnectionId) -> Option<Connection> {
        self.map.remove(&connection)
    }

    /// The connections that are bound to a session.
    pub(super) fn bound(&self) -> Vec<ConnectionId> {
        let bound = self.map.iter().filter(|(_, connection)| connection.bound.is_some());
        bound.map(|(id, _)| *id).collect()
    }

    /// The connections whose clients have asked for the members.
    pub(super) fn hearing_members(&self) -> Vec<ConnectionId> {
        let hearing = self.map.iter().filter(|(_, connection)| connection.hears_members);
        hearing.map(|(id, _)| *id).collect()
    }

    pub(super) fn take_held(&mut self) -> Vec<(ConnectionId, SessionRequest)> {
        let held = std::mem::take(&mut self.held).into_iter();
        held.map(|held| (held.connection, held.request)).collect()
    }
}

impl Replica {
    /// Holds a session message that came at `since`, or rejects it if another member is known to lead.
    pub(super) fn hold(
        &mut self,
        connection: ConnectionId,
        request: SessionRequest,
        since: Duration,
    ) {
        let hold = (2 * self.config.timing.election_max).min(HOLD_BELOW);
        // The client's patience began when it sent the message, not when a suspended leader lost its lead.
        let until = since + hold;
        if self.closing
            || until <= self.now.monotonic
            || self.knows_other_leader()
            || self.connections.held.len() >= self.config.limits.held
        {
            self.reject(connection, request.nonce(), RejectionReason::NotLeader);
            return;
        }
        self.timers.set(until, Timer::Held);
        self.connections.held.push_back(Held { connection, request, until });
    }

    /// Rejects what is held once another member is known to lead.
    pub(super) fn answer_held(&mut self) {
        if !self.connections.held.is_empty() && self.knows_other_leader() {
            self.reject_held();
        }
    }

    pub(super) fn reject_held(&mut self) {
        for (connection, request) in self.connections.take_held() {
            self.reject(connection, request.nonce(), RejectionReason::NotLeader);
        }
    }

    pub(super) fn expire_held(&mut self) {
        while let Some(held) = self.connections.held.front()
            && held.until <= self.now.monotonic
        {
            let Some(held) = self.connections.held.pop_front() else { return };
            self.reject(held.connection, held.request.nonce(), RejectionReason::NotLeader);
        }
    }

    fn knows_other_leader(&self) -> bool {
        let lost = self.config.timing.heartbeat * LOST_AFTER_HEARTBEATS;
        self.standing.leader.is_some_and(|leader| leader != self.id)
            && self.heard.is_some_and(|heard| self.now.monotonic.saturating_sub(heard) < lost)
    }

    /// Sends a message, if the connection is still open.
    pub(super) fn tell(&mut self, connection: ConnectionId, message: ServerMessage) {
        if self.connections.get(connection).is_some() {
            self.outputs.push_back(Output::Client { connection, message });
        }
    }

    pub(super) fn reject(
        &mut self,
        connection: ConnectionId,
        nonce: Nonce,
        reason: RejectionReason,
    ) {
        let leader_id = match reason {
            RejectionReason::NotLeader => self.hint(),
            _ => None,
        };
        self.tell(connection, ServerMessage::SessionRejected { reason, nonce, leader_id });
        self.close(connection);
    }

    /// Ends a connection whose session goes on elsewhere, or here on another connection.
    pub(super) fn turn_away(&mut self, connection: ConnectionId, leader_id: Option<MemberId>) {
        let reason = SessionCloseReason::NotLeaderAnymore;
        self.tell(connection, ServerMessage::SessionClosed { reason, leader_id });
        self.close(connection);
    }

    pub(super) fn close(&mut self, connection: ConnectionId) {
        if self.forget(connection) {
            self.outputs.push_back(Output::Close(connection));
        }
    }

    /// Forgets a connection and unbinds its session. Returns true if it was open.
    pub(super) fn forget(&mut self, connection: ConnectionId) -> bool {
        let Some(closed) = self.connections.remove(connection) else { return false };
        if let Some(session) = closed.bound {
            self.unbind(connection, &session);
        }
        true
    }
}
