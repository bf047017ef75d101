//! One direction of a TCP connection: in order, with latency and a limited rate, a limited number of bytes under way, and an end.

use std::{collections::VecDeque, time::Duration};

use bytes::{Bytes, BytesMut};
use zraft_core::Instant;

use crate::random::Rng;

/// How a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// In order, after all bytes.
    Fin,
    /// A reset.
    Reset,
}

/// What the way from one end to the other is like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    pub(crate) latency: Duration,
    pub(crate) jitter: Duration,
    /// Bytes per second; `None` is without a limit.
    pub(crate) rate: Option<u64>,
    /// Nothing arrives. What was sent arrives when the way is free again.
    pub(crate) blocked: bool,
}

#[derive(Debug)]
pub(crate) struct Pipe {
    travelling: VecDeque<(Instant, Bytes)>,
    /// Bytes travelling and arrived.
    held: usize,
    capacity: usize,
    /// The receiver's socket takes nothing any more.
    pub(crate) stuffed: bool,
    /// In the receiver's socket, not read yet.
    pub(crate) arrived: BytesMut,
    end: Option<(Instant, End)>,
    /// The end that the receiver sees once it has read what arrived.
    pub(crate) ended: Option<End>,
    last: Instant,
    free: Instant,
}

impl Pipe {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            travelling: VecDeque::new(),
            held: 0,
            capacity,
            stuffed: false,
            arrived: BytesMut::new(),
            end: None,
            ended: None,
            last: Instant::ZERO,
            free: Instant::ZERO,
        }
    }

    /// Returns how many bytes the sender's socket takes now.
    pub(crate) fn room(&self) -> usize {
        if self.end.is_some() || self.stuffed { 0 } else { self.capacity.saturating_sub(self.held) }
    }

    /// The sender writes, within `room`. Returns when the bytes arrive.
    pub(crate) fn send(&mut self, now: Instant, bytes: &[u8], way: &Way, rng: &mut Rng) -> Instant {
        let took = way.rate.map_or(Duration::ZERO, |rate| {
            Duration::from_nanos(bytes.len() as u64 * 1_000_000_000 / rate.max(1))
        });
        self.free = self.free.max(now) + took;
        let jitter = match way.jitter.as_micros() {
            0 => Duration::ZERO,
            most => rng.micros(0, most as u64),
        };
        let at = (self.free + way.latency + jitter).max(self.last);
        self.last = at;
        self.held += bytes.len();
        self.travelling.push_back((at, Bytes::copy_from_slice(bytes)));
        at
    }

    /// The sender ends the stream. Returns when that arrives. If it loses bytes, everything that travels is lost from a random
    /// byte on, which may be in the middle of a frame.
    pub(crate) fn finish(
        &mut self,
        now: Instant,
        end: End,
        losing: bool,
        way: &Way,
        rng: &mut Rng,
    ) -> Instant {
        if losing {
            let kept = rng.index(self.travelling.len() + 1);
            self.travelling.truncate(kept);
            if let Some((_, last)) = self.travelling.back_mut()
                && !last.is_empty()
            {
                let cut = rng.index(last.len() + 1);
                last.truncate(cut);
            }
            self.held = self.arrived.len();
            self.held += self.travelling.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
        }
        let at = (now + way.latency).max(self.last);
        self.last = at;
        self.end.get_or_insert((at, end));
        at
    }

    /// Moves bytes whose time has come to the receiver. Returns true if something arrived.
    pub(crate) fn arrive(&mut self, now: Instant) -> bool {
        let mut moved = false;
        while self.travelling.front().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, bytes)) = self.travelling.pop_front() {
                self.arrived.extend_from_slice(&bytes);
                moved = true;
            }
        }
        if let Some((at, end)) = self.end
            && at <= now
            && self.travelling.is_empty()
            && self.ended.is_none()
        {
            self.ended = Some(end);
            moved = true;
        }
        moved
    }

    /// The receiver reads this many bytes.
    pub(crate) fn read(&mut self, count: usize) -> Bytes {
        self.held -= count;
        self.arrived.split_to(count).freeze()
    }

    /// The receiver's socket is gone: nothing that arrives is kept.
    pub(crate) fn discard(&mut self) {
        self.travelling.clear();
        self.arrived.clear();
        self.held = 0;
        self.stuffed = false;
        self.capacity = usize::MAX;
    }

    /// Returns true if no bytes are under way or wait to be read.
    pub(crate) fn is_empty(&self) -> bool {
        self.held == 0
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.end.is_some()
    }
}
