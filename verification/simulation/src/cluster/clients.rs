//! The client port, in the shape of the live system's engine.

use zraft_core::Instant;
use zraft_protocol::ClientMessage;
use zraft_replica::ConnectionId;

use super::{Cluster, Event, Output};

impl Cluster {
    /// A client has connected to a member. Returns none if that does not run; the world closes the connection then.
    pub(crate) fn connected(&mut self, now: Instant, place: usize) -> Option<ConnectionId> {
        self.now = self.now.max(now);
        let member = &mut self.members[place];
        let process = member.process.as_mut().filter(|process| !process.stopping)?;
        self.last_connection += 1;
        let peer = ConnectionId(self.last_connection);
        process.connections.insert(peer);
        self.connections.insert(peer, place);
        if self.members[place].frozen {
            self.outputs.push_back(Output::StopReading { peer });
        }
        self.within(place, Event::Connected(peer));
        Some(peer)
    }

    pub(crate) fn disconnected(&mut self, now: Instant, peer: ConnectionId) {
        self.now = self.now.max(now);
        let Some(place) = self.connections.remove(&peer) else { return };
        if let Some(process) = &mut self.members[place].process {
            process.connections.remove(&peer);
        }
        self.within(place, Event::Disconnected(peer));
    }

    /// A process learns of a connection, or of its end.
    pub(super) fn take_connection(&mut self, place: usize, peer: ConnectionId, open: bool) {
        let at = self.moment(place);
        if open {
            self.judge.connected(at, place, peer);
            self.with(place, |replica, now| replica.connected(now, peer));
        } else {
            self.judge.disconnected(at, place, peer);
            self.with(place, |replica, now| replica.disconnected(now, peer));
        }
    }

    /// Returns true if the member reads from this connection. If not, the world leaves its bytes unread.
    pub(crate) fn reads(&self, peer: ConnectionId) -> bool {
        self.connections.get(&peer).is_some_and(|place| !self.members[*place].frozen)
    }

    pub(crate) fn received(&mut self, now: Instant, peer: ConnectionId, message: ClientMessage) {
        self.now = self.now.max(now);
        let Some(place) = self.connections.get(&peer).copied() else { return };
        let at = self.moment(place);
        self.judge.client_said(at, place, peer, &message);
        self.with(place, |replica, now| replica.client_message(now, peer, message));
    }

    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }
}
