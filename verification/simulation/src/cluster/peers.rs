//! The network between members: two connections for each pair, which deliver in order and lose what is on its way when they are
//! reset.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use zraft_core::Instant;
use zraft_replica::{ConnectionKind, RaftId};

use crate::random::Rng;

/// Frames that wait behind a blocked link. Beyond it the sender's socket is full, and the shell closes the connection.
const MOST_HELD: usize = 512;

/// One direction between two places.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Link {
    pub(crate) latency: Duration,
    pub(crate) jitter: Duration,
    /// Frames in 100 that arrive a second time, later, as if an earlier connection had delivered them too.
    pub(crate) duplicate: u64,
    /// Frames in 1,000 after which the connection is reset.
    pub(crate) reset: u64,
    /// Nothing arrives. What is sent waits, as TCP sends it again until the connection is reset.
    pub(crate) blocked: bool,
}

impl Link {
    fn delay(&self, rng: &mut Rng) -> Duration {
        self.latency + rng.micros(0, self.jitter.as_micros() as u64)
    }
}

/// A frame on its way.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) sender: RaftId,
    pub(crate) receiver: RaftId,
    pub(crate) urgent: bool,
    /// Its sender ran on a copy of a member's directory.
    pub(crate) copied: bool,
    /// The life of the receiver's process to which it was sent.
    pub(crate) life: u64,
    /// The life of the connection that carries it.
    epoch: u64,
    pub(crate) bytes: Bytes,
}

/// One of the two connections of a pair.
#[derive(Debug)]
struct Wire {
    /// The members at its ends, the lower place's first, once the handshake is done.
    up: Option<[RaftId; 2]>,
    epoch: u64,
    /// Frames of earlier epochs that arrive up to this time had left before the reset.
    grace: Instant,
    /// When the last frame in each direction arrives.
    last: [Instant; 2],
    held: [VecDeque<Frame>; 2],
}

#[derive(Debug)]
pub(crate) struct Peers {
    places: usize,
    links: Vec<Link>,
    wires: Vec<[Wire; 2]>,
    rng: Rng,
}

/// What became of a frame that a member sent.
pub(crate) enum Sent {
    /// It arrives then, and if it is duplicated, then again.
    At(Instant, Frame, Option<Instant>),
    /// The connection is not open.
    Lost,
    /// The connection was reset.
    Reset,
}

impl Peers {
    pub(crate) fn new(places: usize, link: Link, now: Instant, rng: Rng) -> Self {
        let wire = || Wire {
            up: None,
            epoch: 0,
            grace: now,
            last: [now; 2],
            held: [VecDeque::new(), VecDeque::new()],
        };
        Self {
            places,
            links: vec![link; places * places],
            wires: (0..places * places).map(|_| [wire(), wire()]).collect(),
            rng,
        }
    }

    pub(crate) fn link(&mut self, from: usize, to: usize) -> &mut Link {
        &mut self.links[from * self.places + to]
    }

    fn wire(&mut self, a: usize, b: usize, urgent: bool) -> &mut Wire {
        &mut self.wires[a.min(b) * self.places + a.max(b)][usize::from(urgent)]
    }

    /// Returns which connection of a pair is not open.
    pub(crate) fn missing(&self, a: usize, b: usize) -> Option<ConnectionKind> {
        let [bulk, urgent] = &self.wires[a.min(b) * self.places + a.max(b)];
        match (&urgent.up, &bulk.up) {
            (None, _) => Some(ConnectionKind::Urgent),
            (_, None) => Some(ConnectionKind::Bulk),
            _ => None,
        }
    }

    pub(crate) fn is_blocked(&self, a: usize, b: usize) -> bool {
        self.links[a * self.places + b].blocked || self.links[b * self.places + a].blocked
    }

    /// Draws how long a message of a handshake takes.
    pub(crate) fn delay(&mut self, from: usize, to: usize) -> Duration {
        let link = *self.link(from, to);
        link.delay(&mut self.rng)
    }

    /// Opens a connection of a pair.
    pub(crate) fn connect(
        &mut self,
        now: Instant,
        a: (usize, RaftId),
        b: (usize, RaftId),
        kind: ConnectionKind,
    ) {
        let ids = if a.0 < b.0 { [a.1, b.1] } else { [b.1, a.1] };
        let wire = self.wire(a.0, b.0, kind == ConnectionKind::Urgent);
        wire.up = Some(ids);
        wire.epoch += 1;
        wire.last = [now; 2];
    }

    pub(crate) fn send(
        &mut self,
        now: Instant,
        from: (usize, RaftId),
        to: (usize, RaftId),
        urgent: bool,
        bytes: Bytes,
    ) -> Sent {
        let link = *self.link(from.0, to.0);
        let mut rng = self.rng.clone();
        let wire = self.wire(from.0, to.0, urgent);
        let ids = if from.0 < to.0 { [from.1, to.1] } else { [to.1, from.1] };
        if wire.up != Some(ids) {
            return Sent::Lost;
        }
        let way = usize::from(from.0 > to.0);
        let at = (now + link.delay(&mut rng)).max(wire.last[way]);
        wire.last[way] = at;
        let frame = Frame {
            from: from.0,
            to: to.0,
            sender: from.1,
            receiver: to.1,
            urgent,
            copied: false,
            life: 0,
            epoch: wire.epoch,
            bytes,
        };
        let reset = link.reset > 0 && rng.below(1_000) < link.reset;
        let again = (link.duplicate > 0 && rng.percent(link.duplicate))
            .then(|| at + link.delay(&mut rng) * 3);
        self.rng = rng;
        if reset {
            return Sent::Reset;
        }
        Sent::At(at, frame, again)
    }

    /// A frame has reached the receiver's machine. Returns it if the receiver reads it, now or because the duplicate of an
    /// earlier connection is never ruled out.
    pub(crate) fn arrive(&mut self, now: Instant, frame: Frame) -> Option<Frame> {
        let blocked = self.link(frame.from, frame.to).blocked;
        let wire = self.wire(frame.from, frame.to, frame.urgent);
        if frame.epoch < wire.epoch || wire.up.is_none() {
            return (now <= wire.grace && !blocked).then_some(frame);
        }
        let held = &mut wire.held[usize::from(frame.from > frame.to)];
        if blocked || !held.is_empty() {
            if held.len() < MOST_HELD {
                held.push_back(frame);
            } else {
                self.reset(now, frame.from, frame.to, frame.urgent);
            }
            return None;
        }
        Some(frame)
    }

    /// Takes the frames that waited behind a link that is no longer blocked.
    pub(crate) fn release(&mut self, from: usize, to: usize) -> Vec<Frame> {
        let way = usize::from(from > to);
        let mut frames = Vec::new();
        for urgent in [false, true] {
            frames.extend(self.wire(from, to, urgent).held[way].drain(..));
        }
        frames
    }

    /// Resets one connection of a pair. Some of what is on its way still arrives.
    pub(crate) fn reset(&mut self, now: Instant, a: usize, b: usize, urgent: bool) {
        let most = self.link(a, b).latency.as_micros() as u64 * 2;
        let grace = now + self.rng.micros(0, most);
        let wire = self.wire(a, b, urgent);
        if wire.up.take().is_some() {
            wire.grace = grace;
            wire.epoch += 1;
            wire.held = [VecDeque::new(), VecDeque::new()];
        }
    }
}
