//! Times: acknowledgements, ping(), connect() and disconnect() end in time; the client leaves a member that does not answer, but
//! not too early.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use zraft_core::{DisconnectReason, Failure, Instant, PingKey, StateName};

use super::{
    Judge, Stage,
    settled::{GRACE, LATE},
    watch::{LONGEST_FLOW, SLACK},
};

/// An acknowledgement waits at most this long for further deliveries, and for at most this many.
const ACK_DELAY: Duration = Duration::from_millis(50);
const ACK_BATCH: u64 = 32;
/// The longest patience with a silent member, unless the undoubled patience is longer.
const LONGEST_SILENCE: Duration = Duration::from_secs(60);
/// From the deadline of disconnect() to its end: one second to write CloseSession, one to await the peer's end of the stream.
const CLOSING: Duration = Duration::from_secs(2);
/// The machine takes a wake that is late by more than this for the end of a stop.
const JUMP: Duration = Duration::from_secs(1);
/// After a stop, deadlines wait this long for the probe's answer.
const PROBE: Duration = Duration::from_secs(1);
/// A command is due at once when this many commands sent after it were answered.
pub(super) const OVERTAKEN: usize = 32;

/// Promises that the machine has not kept yet.
#[derive(Debug, Default)]
pub(super) struct Promises {
    /// The last server request that the application was done with in this session, and when the first unacknowledged one was.
    done: u64,
    unacknowledged_since: Option<Instant>,
    /// The session in which the application took the last server request.
    pub(super) taken_in: usize,
    pings: Vec<PingKey>,
    /// The deadline of disconnect().
    pub(super) leaves_by: Option<Instant>,
    /// How many callers wait for a request.
    pub(super) waiting: usize,
    /// The longest answer time of a request that was sent once.
    pub(super) slowest: Duration,
    /// How often the client left a silent member since the last answer.
    pub(super) fruitless: u32,
    /// When the process stopped; and the begin and end of the last stop after which deadlines must wait for the probe.
    stopped_at: Option<Instant>,
    stood_still: Option<(Instant, Instant)>,
    /// A KeepAlive that was written after that stop was answered.
    probed: bool,
    /// When the machine last read a byte. An opened connection alone earns no second wait.
    last_byte: Option<Instant>,
    /// The end of the last stop after which the machine may have begun a wait for the probe.
    waited_at: Option<Instant>,
    /// Deliveries of this moment, after the time of disconnect() was over, and the last delivery before them.
    beside_the_end: Option<(Instant, u64)>,
}

/// Since when the requests of a connection wait while none is answered.
#[derive(Debug, Default)]
pub(super) struct Silence {
    pub(super) since: Option<Instant>,
    /// Requests whose frames are not written yet, with the place in the stream where the frame ends.
    unwritten: BTreeMap<usize, u64>,
    /// When the socket took the last answered KeepAlive.
    heard: Option<Instant>,
}

impl Silence {
    pub(super) fn sent(&mut self, number: usize, end: u64) {
        self.unwritten.insert(number, end);
    }

    /// Returns the requests whose last byte the socket took.
    pub(super) fn written(&mut self, now: Instant, total: u64) -> Vec<usize> {
        let written: Vec<usize> =
            self.unwritten.iter().filter(|(_, end)| **end <= total).map(|(n, _)| *n).collect();
        for number in &written {
            self.unwritten.remove(number);
            self.since.get_or_insert(now);
        }
        written
    }

    pub(super) fn answered(&mut self, now: Instant, more: bool) {
        self.since = more.then_some(now);
    }

    /// A request no longer waits; `more` says whether others do.
    pub(super) fn left(&mut self, number: usize, more: bool) {
        self.unwritten.remove(&number);
        if !more {
            self.since = None;
        }
    }

    pub(super) fn heard(&mut self, written: Option<Instant>) {
        self.heard = written.or(self.heard);
    }
}

/// Commands of a connection in the order in which they were first sent on it.
#[derive(Debug, Default)]
pub(super) struct Overtaking {
    /// The waiting commands, with their places in that order.
    waiting: VecDeque<(u64, usize)>,
    gone: BTreeSet<u64>,
    /// The places of commands that were answered after the first that waits had been sent.
    answered: BTreeSet<usize>,
    next: usize,
}

impl Overtaking {
    pub(super) fn sent(&mut self, id: u64) {
        self.waiting.push_back((id, self.next));
        self.next += 1;
    }

    pub(super) fn answered(&mut self, id: u64) {
        if let Some(&(_, place)) = self.waiting.iter().find(|(waits, _)| *waits == id) {
            self.answered.insert(place);
        }
        self.settled(id);
    }

    pub(super) fn settled(&mut self, id: u64) {
        self.gone.insert(id);
        while let Some(&(first, place)) = self.waiting.front() {
            if !self.gone.remove(&first) {
                break;
            }
            self.waiting.pop_front();
            self.answered = self.answered.split_off(&(place + 1));
        }
    }

    /// Returns how many commands overtook the first waiting one.
    fn first(&self) -> usize {
        self.waiting.front().map_or(0, |_| self.answered.len())
    }
}

impl Promises {
    /// The machine reads a byte.
    pub(super) fn byte(&mut self, now: Instant) {
        self.last_byte = Some(now);
    }

    /// A KeepAlive that was written at `written` is answered.
    pub(super) fn probed(&mut self, now: Instant, written: Option<Instant>) {
        if let (Some((_, until)), Some(written)) = (self.stood_still, written) {
            self.probed |= written >= until && now >= until;
        }
    }
}

impl Judge {
    /// The process is stopped.
    pub(crate) fn stops(&mut self, now: Instant) {
        self.promises.stopped_at = Some(now);
    }

    /// The process runs again.
    pub(crate) fn runs_again(&mut self, now: Instant) {
        self.paused_until = now;
        let promises = &mut self.promises;
        // Each wake of a late driver may have begun a wait for a probe.
        let waited = promises.waited_at.max(Some(self.late_until).filter(|at| *at > Instant::ZERO));
        // The first wait is free; each other one is earned by a byte that came after the one before began.
        let earned = waited.is_none_or(|waited| promises.last_byte > Some(waited));
        let stopped = promises.stopped_at.take();
        // A wait for a probe that the stop interrupts is not extended.
        let fresh = |at: &Instant| earned && waited.is_none_or(|waited| *at > waited + PROBE);
        promises.stood_still = stopped.filter(fresh).map(|at| (at, now));
        promises.probed = false;
        // Only a stop of more than a second can be noticed, and begin a wait.
        if stopped.is_some_and(|at| now - at > JUMP) {
            promises.waited_at = Some(now);
        }
        self.pace.forget();
    }

    /// The application is done with a server request.
    pub(crate) fn done(&mut self, now: Instant, id: u64) {
        if self.session.is_none() || self.promises.taken_in != self.sessions {
            return;
        }
        let leaves = self.disconnecting.and(self.promises.leaves_by).is_some_and(|by| by <= now);
        let promises = &mut self.promises;
        if leaves && promises.beside_the_end.is_none_or(|(at, _)| at < now) {
            promises.beside_the_end = Some((now, promises.done));
        }
        promises.done = id;
        promises.unacknowledged_since.get_or_insert(now);
    }

    pub(crate) fn pings(&mut self, key: PingKey) {
        self.promises.pings.push(key);
    }

    pub(super) fn ping_ended(&mut self, key: PingKey) {
        let before = self.promises.pings.len();
        self.promises.pings.retain(|ping| *ping != key);
        let once = self.promises.pings.len() + 1 == before;
        self.demand(once, "a ping() ends once", || format!("{key:?}"));
    }

    /// A new session counts its server requests from 1.
    pub(super) fn new_notices(&mut self) {
        self.promises.done = 0;
        self.promises.unacknowledged_since = None;
        self.promises.beside_the_end = None;
    }

    /// An acknowledgement was sent. Later deliveries wait for the next one.
    pub(super) fn acknowledged_now(&mut self) {
        let acknowledged = self.session.as_ref().map_or(0, |session| session.acknowledged);
        if acknowledged >= self.promises.done {
            self.promises.unacknowledged_since = None;
        }
    }

    /// CloseSession was sent. When the time of disconnect() is over, the machine ends the session before the application takes
    /// its server requests of that same moment: these need no acknowledgement.
    pub(super) fn all_acknowledged(&mut self, now: Instant) {
        let beside = self.promises.beside_the_end.filter(|(at, _)| *at == now);
        let done = beside.map_or(self.promises.done, |(_, before)| before);
        let acknowledged = self.session.as_ref().map_or(0, |session| session.acknowledged);
        self.demand(
            acknowledged >= done,
            "what was delivered is acknowledged before the end",
            || format!("{acknowledged} of {done}"),
        );
    }

    /// Checks the promises at the end of a turn.
    pub(super) fn keeps_promises(&mut self, now: Instant, state: StateName) {
        self.bursts();
        self.calls_end_in_time(now, state);
        let Some(wire) = &self.wire else { return };
        // While encoded frames wait for the socket, nothing more can be expected.
        let free = wire.encoded <= wire.written;
        if wire.stage != Stage::Connected || wire.close_session || !free {
            return;
        }
        let late = self.lateness(now);
        let awake = self.awake(now);
        let since = |at: Instant| now.saturating_duration_since(at.max(awake));
        let mut broken = None;
        let acknowledged = self.session.as_ref().map_or(0, |session| session.acknowledged);
        let unacknowledged = self.promises.done.saturating_sub(acknowledged);
        if let Some(first) = self.promises.unacknowledged_since
            && (unacknowledged >= ACK_BATCH
                || since(first.max(wire.connected_at)) > ACK_DELAY + SLACK + late)
        {
            let waited = since(first);
            let detail = format!("{unacknowledged} deliveries wait, the first for {waited:?}");
            broken = Some(("deliveries are acknowledged in time", detail));
        }
        if self.disconnecting.is_some() && self.promises.waiting == 0 {
            broken = Some(("a session is closed when nothing is left", String::new()));
        }
        if wire.overtaking.first() >= OVERTAKEN && !wire.resent {
            let by = wire.overtaking.first();
            broken = Some(("what was overtaken is resent at once", format!("by {by}")));
        }
        if let Some(silent) = wire.silence.since
            && self.lists_other_than(wire.member)
        {
            let until = silent.max(awake) + self.patience() + late;
            if wire.silence.heard.is_some_and(|heard| heard > until) {
                let waited = since(silent);
                broken = Some(("a silent member is left in time", format!("after {waited:?}")));
            }
        }
        if let Some((rule, detail)) = broken {
            self.violated(rule, detail);
        }
    }

    /// Returns the longest patience with a silent member that the rules allow now.
    fn patience(&self) -> Duration {
        let base = (self.terms.resend_interval * 2).max(self.promises.slowest.saturating_mul(4));
        let doubled = base.saturating_mul(1 << self.promises.fruitless.min(16));
        doubled.min(LONGEST_SILENCE.max(base)) + SLACK
    }

    fn calls_end_in_time(&mut self, now: Instant, state: StateName) {
        let awake = self.awake(now) + GRACE;
        let slack = LATE + self.lateness(now);
        let pings = self.promises.pings.len();
        self.demand(state == StateName::Connected || pings == 0, "a ping() ends in time", || {
            format!("{pings} wait while {state:?}")
        });
        if let Some(until) = self.promises.leaves_by.filter(|_| self.disconnecting.is_some()) {
            let late = (until.max(awake) + CLOSING) + slack;
            self.demand(now <= late, "disconnect() ends in time", || format!("{:?}", now - until));
        }
        let first = self.connects.values().flatten().min().copied();
        if let Some(until) = first {
            let late = until.max(awake) + slack;
            self.demand(now <= late, "connect() ends in time", || format!("{:?}", now - until));
        }
    }

    /// The client leaves its member. It must have waited long enough.
    pub(super) fn left_with_reason(&mut self, now: Instant, reason: DisconnectReason) {
        let Some(wire) = &self.wire else { return };
        let broken = match reason {
            DisconnectReason::Silent => {
                let base = self.terms.resend_interval * 2;
                let doubled = base.saturating_mul(1 << self.promises.fruitless.min(16));
                let least = doubled.min(LONGEST_SILENCE.max(base));
                self.promises.fruitless += 1;
                let waited = wire.silence.since.map(|since| now - since);
                let early = waited.is_none_or(|waited| waited < least);
                early.then(|| ("silence is waited out", format!("{waited:?}, not {least:?}")))
            }
            DisconnectReason::KeepAliveTimeout => {
                let waited = wire.keep_alives.front().and_then(|keep_alive| {
                    let flowed = keep_alive.flowed.min(LONGEST_FLOW);
                    Some((now - keep_alive.written?).saturating_sub(flowed))
                });
                // A member that does not read is left for the same reason. It is not left while its socket takes bytes at
                // the least rate, nor before a KeepAlive has waited for the socket.
                let unwritten = wire.keep_alives.iter().find(|k| k.written.is_none());
                let stalled = unwritten.map(|k| now - k.sent.max(wire.progress.1));
                let early = waited.is_none_or(|waited| waited < self.terms.connection_timeout)
                    && stalled.is_none_or(|stalled| stalled < self.terms.stall());
                early.then(|| {
                    let detail = format!("{waited:?}, or {stalled:?} for the socket");
                    ("a KeepAlive's answer is waited for", detail)
                })
            }
            _ => None,
        };
        if let Some((rule, detail)) = broken {
            self.violated(rule, detail);
        }
    }

    /// After a stop, deadlines wait for answers that may have arrived meanwhile.
    pub(super) fn not_before_the_probe(
        &mut self,
        now: Instant,
        number: usize,
        result: &Result<bytes::Bytes, Failure>,
    ) {
        let (Some((from, until)), Some(deadline)) =
            (self.promises.stood_still, self.requests[number].deadline)
        else {
            return;
        };
        // While the driver wakes late, each of its turns may be the one that begins the wait.
        if !self.lateness(now).is_zero() {
            return;
        }
        let meanwhile = deadline > from && deadline + JUMP < until;
        let waits = now < until + PROBE && !self.promises.probed;
        let fires = matches!(result, Err(Failure::Timeout { .. }));
        self.demand(
            !(meanwhile && waits && fires),
            "after a stop deadlines wait for the probe's answer",
            || format!("request {number}, {:?} after it", now - until),
        );
    }
}
