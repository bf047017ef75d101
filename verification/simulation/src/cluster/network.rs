//! Connections between members, and the frames on them.

use zraft_replica::{PeerFrame, PeerMessage, RaftId};

use super::{Cluster, Event, Frame, What, peers::Sent};
use crate::world::trace::say;

impl Cluster {
    /// A member sends a message to another one. It is lost if they are not connected.
    pub(super) fn send(&mut self, place: usize, to: RaftId, message: PeerMessage) {
        let Some(process) = &self.members[place].process else { return };
        let (Some(&there), from) = (self.addresses.get(&to), process.id) else { return };
        if there == place {
            return;
        }
        let urgent = message.is_urgent();
        let frame = PeerFrame { from, to, message };
        let bytes = frame.encode();
        match self.peers.send(self.now, (place, from), (there, to), urgent, bytes) {
            Sent::At(at, frame, again) => {
                self.trace.fact(self.now, 24, place as u64);
                self.trace.bytes(&frame.bytes);
                self.facts.frames += 1;
                if let Some(again) = again {
                    self.coverage.fault("frame between members duplicated");
                    self.queue.push(again, What::Frame(Box::new(frame.clone())));
                }
                self.queue.push(at, What::Frame(Box::new(frame)));
            }
            Sent::Lost => {}
            Sent::Reset => {
                self.coverage.fault("connection between members reset");
                self.reset_peers(place, there);
            }
        }
    }

    pub(super) fn frame_arrives(&mut self, frame: Frame) {
        if let Some(frame) = self.peers.arrive(self.now, frame) {
            self.within(frame.to, Event::Frame(Box::new(frame)));
        }
    }

    pub(super) fn take_frame(&mut self, frame: &Frame) {
        let Some(process) = &self.members[frame.to].process else { return };
        if process.id != frame.receiver {
            return;
        }
        match PeerFrame::decode(&frame.bytes, frame.sender, frame.receiver) {
            Ok(PeerFrame { message, .. }) => {
                let from = frame.sender;
                self.with(frame.to, |replica, now| replica.peer_message(now, from, &message));
            }
            Err(error) => self.violated("members understand each other", error.to_string()),
        }
    }

    /// Both members try to connect, now and again until it succeeds or one of them ends.
    pub(super) fn try_to_connect(&mut self, a: usize, b: usize) {
        if !self.is_running(a) || !self.is_running(b) || self.peers.is_up(a, b) {
            // A start tries again.
            return;
        }
        if self.members[a].frozen || self.members[b].frozen || self.peers.is_blocked(a, b) {
            self.queue.push(self.now + self.plan.reconnect, What::Connect(a, b));
            return;
        }
        let at = self.now + self.peers.round_trip(a, b);
        let ends = [a, b].map(|place| (place, self.members[place].life));
        self.queue.push(at, What::Connected(ends));
    }

    pub(super) fn connected_peers(&mut self, ends: [(usize, u64); 2]) {
        let [(a, _), (b, _)] = ends;
        let live = ends.iter().all(|(place, life)| {
            let member = &self.members[*place];
            member.life == *life && !member.frozen
        });
        let (Some(first), Some(second)) = (&self.members[a].process, &self.members[b].process)
        else {
            return;
        };
        let (first, second) = (first.id, second.id);
        if self.peers.is_up(a, b) {
            return;
        }
        if !live || self.peers.is_blocked(a, b) {
            self.queue.push(self.now + self.plan.reconnect, What::Connect(a, b));
            return;
        }
        self.trace.fact(self.now, 25, (a * 16 + b) as u64);
        self.peers.connect(self.now, (a, first), (b, second));
    }

    /// Both connections between two members are reset.
    pub(super) fn reset_peers(&mut self, a: usize, b: usize) {
        for urgent in [false, true] {
            self.peers.reset(self.now, a, b, urgent);
        }
        say!(
            self.trace,
            self.now,
            "          members {} and {} lose their connections",
            a + 1,
            b + 1
        );
        self.queue.push(self.now + self.plan.reconnect, What::Connect(a, b));
        for (place, other) in [(a, b), (b, a)] {
            let Some(id) = self.members[other].process.as_ref().map(|process| process.id) else {
                continue;
            };
            self.notice_loss(place, id);
        }
    }

    /// A member notices that another one cannot be reached. A process that stands still notices later by itself.
    fn notice_loss(&mut self, place: usize, lost: RaftId) {
        if !self.members[place].frozen {
            self.with(place, |replica, now| replica.peer_unreachable(now, lost));
        }
    }

    /// All connections of a member's process end with it.
    pub(super) fn disconnect_peers(&mut self, place: usize, id: RaftId) {
        for other in 0..self.members.len() {
            if other == place {
                continue;
            }
            for urgent in [false, true] {
                self.peers.reset(self.now, place, other, urgent);
            }
            self.notice_loss(other, id);
        }
    }
}
