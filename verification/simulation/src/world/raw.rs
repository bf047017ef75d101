//! Clients that behave like the Scala and TypeScript ones. They send messages past the simulated sockets, and each keeps a small
//! account: what it sent, what it was told, and which of that cannot be.
//!
//! - ZeroMQ reconnects without a word. The client then believes that it is still bound, and its next message comes unbound.
//! - It has no window: everything that waits is sent, and all of it again at every interval.
//! - Its lowest pending id stays behind.
//! - Some keep commands in flight all the time.
//! - Some acknowledge server requests that they do not have.
//! - It ends on SessionClosed(Shutdown) and SessionClosed(SessionError), so a member never sends them.

mod receives;
mod sends;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use zraft_core::Instant;
use zraft_protocol::{ClientMessage, Nonce, ServerMessage, SessionId};

use crate::{
    random::Rng,
    world::{calendar::What, net::Line, sim::Sim, system::CloseHow},
};

/// Connections of raw clients are numbered from here on.
pub(crate) const FIRST_LINE: Line = 1 << 48;
/// A handshake or a silent member is given up after this time.
const PATIENCE: Duration = Duration::from_millis(2_500);

/// What a seed draws of a raw client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawPlan {
    commands: u64,
    burst: u64,
    pause: Duration,
    latency: Duration,
    keep_alive: Duration,
    resend: Duration,
    /// How far its lowest pending id stays behind.
    lag: u64,
    /// How many server requests it acknowledges at most beyond those that it has.
    acks_ahead: u64,
}

impl RawPlan {
    pub(crate) fn draw(rng: &mut Rng, session_timeout: Duration) -> Self {
        let busy = rng.percent(25);
        Self {
            commands: if busy { rng.range(60, 120) } else { rng.range(5, 30) },
            burst: if busy { 2 } else { rng.pick(&[1, 3, 12]) },
            pause: if busy { rng.millis(2, 10) } else { rng.millis(20, 400) },
            latency: rng.micros(50, 5_000),
            keep_alive: (session_timeout / 3).min(rng.millis(300, 2_000)),
            resend: rng.millis(300, 2_000),
            lag: rng.pick(&[0, 0, 5, 1_000]),
            acks_ahead: rng.pick(&[0, 0, 0, 3]),
        }
    }
}

/// What became of a command of a raw client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    Pending,
    Answered(Bytes),
    /// The application rejected it without an answer.
    Rejected,
    /// Its session has ended.
    Unknown,
}

/// A command that a raw client sent.
#[derive(Debug)]
pub(crate) struct RawCommand {
    pub(crate) session: SessionId,
    pub(crate) id: u64,
    pub(crate) payload: Bytes,
    pub(crate) fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It has said nothing on its connection, or has none.
    Fresh,
    Asked(Nonce),
    /// It believes that its session is bound.
    Bound,
    /// It has sent CloseSession.
    Closing,
    /// Its session has ended, and it wants no other.
    Over,
}

#[derive(Debug)]
pub(crate) struct Raw {
    plan: RawPlan,
    rng: Rng,
    line: Option<Line>,
    member: usize,
    stage: Stage,
    since: Instant,
    heard: Instant,
    session: Option<SessionId>,
    sessions: u64,
    /// The commands of the present session by their ids, as places in `commands`.
    ids: BTreeMap<u64, usize>,
    /// Of these the ones without an answer.
    pending: BTreeMap<u64, usize>,
    pub(crate) commands: Vec<RawCommand>,
    left: u64,
    resent: Instant,
    kept_alive: Instant,
    delivered: u64,
    /// The last server request that it acknowledged. It may not have those after `delivered`, and never get them.
    acknowledged: u64,
    /// Queries that wait, and how many commands must be in their answers.
    queries: BTreeMap<String, u64>,
    asked: u64,
    /// The highest position that an answer named, plus one.
    seen: u64,
    leaving: bool,
}

impl Raw {
    pub(crate) fn new(plan: RawPlan, rng: Rng, now: Instant) -> Self {
        Self {
            left: plan.commands,
            plan,
            rng,
            line: None,
            member: 0,
            stage: Stage::Fresh,
            since: now,
            heard: now,
            session: None,
            sessions: 0,
            ids: BTreeMap::new(),
            pending: BTreeMap::new(),
            commands: Vec::new(),
            resent: now,
            kept_alive: now,
            delivered: 0,
            acknowledged: 0,
            queries: BTreeMap::new(),
            asked: 0,
            seen: 0,
            leaving: false,
        }
    }

    fn lowest(&self) -> u64 {
        let next = self.ids.len() as u64 + 1;
        let lowest = self.pending.keys().next().copied().unwrap_or(next);
        lowest.saturating_sub(self.plan.lag).max(1)
    }

    /// The session is over: what waited for an answer has none.
    fn session_ends(&mut self) {
        for number in std::mem::take(&mut self.pending).into_values() {
            self.commands[number].fate = Fate::Unknown;
        }
        self.ids.clear();
        self.queries.clear();
        self.session = None;
        self.stage = if self.leaving { Stage::Over } else { Stage::Fresh };
    }

    /// Returns true if it has left for the last time.
    pub(crate) fn has_left(&self) -> bool {
        self.stage == Stage::Over
    }

    pub(crate) fn describe(&self) -> String {
        format!("{:?}, {} pending, {} to send", self.stage, self.pending.len(), self.left)
    }
}

impl Sim {
    /// A message of a raw client reaches the member, unless its connection has ended.
    pub(crate) fn raw_up(&mut self, line: Line, message: ClientMessage) {
        if !self.raw_lines.contains_key(&line) {
            return;
        }
        let waiting = self.raw_unread.contains_key(&line);
        if !waiting && self.system.reads(line) {
            self.system.received(self.now, line, message);
        } else {
            // The process stands still: the bytes wait in its socket.
            self.raw_unread.entry(line).or_default().push_back(message);
        }
    }

    /// The member's process goes on, and reads what waited in the socket of a raw client.
    pub(crate) fn raw_reads(&mut self, line: Line) {
        for message in self.raw_unread.remove(&line).unwrap_or_default() {
            self.raw_up(line, message);
        }
    }

    /// A member sends a message to a raw client.
    pub(crate) fn raw_told(&mut self, line: Line, message: ServerMessage) {
        if let Some(index) = self.raw_lines.get(&line) {
            let at = self.now + self.raws[*index].plan.latency;
            self.queue.push(at, What::RawDown(line, Box::new(message)));
        }
    }

    /// A member has closed the connection of a raw client, which learns it after what was sent before.
    pub(crate) fn raw_closed(&mut self, line: Line, how: CloseHow) {
        let Some(index) = self.raw_lines.get(&line) else { return };
        let latency = self.raws[*index].plan.latency;
        let at = if how == CloseHow::Flush { self.now + latency } else { self.now };
        self.queue.push(at, What::RawEnd(line));
    }

    /// The connection has ended at the client. Its socket will connect again to the same member.
    pub(crate) fn raw_end(&mut self, line: Line) {
        let Some(index) = self.raw_lines.remove(&line) else { return };
        self.raw_unread.remove(&line);
        let raw = &mut self.raws[index];
        raw.line = None;
        if matches!(raw.stage, Stage::Asked(_) | Stage::Closing) {
            raw.stage = Stage::Fresh;
        }
    }

    /// A raw client's socket loses its connection and connects again, without a word to the client.
    pub(crate) fn raw_reconnects(&mut self) -> bool {
        let bound = |raw: &Raw| raw.line.is_some() && raw.stage == Stage::Bound;
        let bound: Vec<usize> = (0..self.raws.len()).filter(|i| bound(&self.raws[*i])).collect();
        if bound.is_empty() {
            return false;
        }
        let index = self.rng.pick(&bound);
        self.raw_leaves_line(index);
        self.raw_connects(index);
        true
    }

    /// Returns true if all its commands are answered and it has every server request of its session.
    pub(crate) fn raw_settled(&self, index: usize) -> bool {
        let raw = &self.raws[index];
        let Some(session) = &raw.session else { return false };
        raw.left == 0
            && raw.pending.is_empty()
            && raw.stage == Stage::Bound
            && raw.line.is_some_and(|line| self.system.is_bound(line))
            && raw.delivered.max(raw.acknowledged)
                >= self.system.pushed(session.as_str()).len() as u64
            && self.system.unacknowledged(session.as_str()) == Some(0)
    }

    pub(crate) fn raw_leaves(&mut self, index: usize) {
        self.raws[index].leaving = true;
    }
}
