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
        let at = self.moment(place);
        self.judge.sent(at, place, to, &message);
        let urgent = message.is_urgent();
        let frame = PeerFrame { from, to, message };
        let bytes = frame.encode();
        match self.peers.send(self.now, (place, from), (there, to), urgent, bytes) {
            Sent::At(at, mut frame, again) => {
                frame.copied = self.members[place].copied;
                frame.life = self.members[there].life;
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
        // Connections end with their process. Raft bears a frame of an earlier one, so others take it here, but what a disk that was
        // set back has lost shows only in the handshake of a new connection.
        let receiver = &self.members[frame.to];
        if receiver.doubtful && frame.life != receiver.life {
            return;
        }
        match PeerFrame::decode(&frame.bytes, frame.sender, frame.receiver) {
            Ok(PeerFrame { message, .. }) => {
                let (at, from) = (self.moment(frame.to), frame.sender);
                if frame.copied {
                    self.coverage.count("copied directory", "heard");
                    self.judge.heard_copy(at, frame.to, from, &message);
                } else {
                    self.judge.heard(at, frame.to, from, &message);
                }
                self.with(frame.to, |replica, now| replica.peer_message(now, from, &message));
            }
            Err(error) => self.violated("members understand each other", error.to_string()),
        }
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
        self.plan_connect(a, b, self.plan.reconnect);
        for (place, other) in [(a, b), (b, a)] {
            let Some(id) = self.members[other].process.as_ref().map(|process| process.id) else {
                continue;
            };
            self.notice_loss(place, id);
        }
    }

    /// A member closes its connections to members that were removed.
    pub(super) fn part_with(&mut self, place: usize, removed: &[RaftId]) {
        for other in 0..self.members.len() {
            let id = self.members[other].process.as_ref().map(|process| process.id);
            if other != place && id.is_some_and(|id| removed.contains(&id)) {
                self.reset_peers(place, other);
            }
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
