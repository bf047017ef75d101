//! What must happen by a time: acknowledgements, answers to ping(), the end of connect() and disconnect(), leaving a member that does not
//! answer; and what must not happen before its time.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use zraft_core::{DisconnectReason, Failure, Instant, PingKey, StateName};

use super::{
    Judge, Stage,
    settled::{GRACE, LATE},
    watch::{SLACK, WORTH},
};

/// An acknowledgement waits for others this long, or for this many deliveries.
const ACK_DELAY: Duration = Duration::from_millis(50);
const ACK_BATCH: u64 = 32;
/// Silence is waited out at most this long, unless a single wait is longer.
const LONGEST_SILENCE: Duration = Duration::from_secs(60);
/// From disconnect()'s time to its end: CloseSession is written, then the peer's end of the stream awaited.
const CLOSING: Duration = Duration::from_secs(2);
/// A process that is late by more than this stood still.
const JUMP: Duration = Duration::from_secs(1);
/// After that, deadlines wait this long for the probe's answer.
const PROBE: Duration = Duration::from_secs(1);
/// A command is resent at once when this many sent after it were answered.
const OVERTAKEN: usize = 32;

/// What was promised and has not happened yet.
#[derive(Debug, Default)]
pub(super) struct Promises {
    /// The last server request that the application was done with in this session, and when the first unacknowledged one was.
    done: u64,
    unacknowledged_since: Option<Instant>,
    /// The session in which the application took the last one.
    pub(super) taken_in: usize,
    pings: Vec<PingKey>,
    /// disconnect() waits until then.
    pub(super) leaves_by: Option<Instant>,
    /// Requests whose callers wait.
    pub(super) waiting: usize,
    /// The longest time that an answer took to a request that was sent once.
    pub(super) slowest: Duration,
    /// Moves for silence since the last answer.
    pub(super) fruitless: u32,
    /// When the process stopped, and the last stop that began after something was heard: from when until when.
    stopped_at: Option<Instant>,
    stood_still: Option<(Instant, Instant)>,
    /// A KeepAlive was answered that was written after it ran again.
    probed: bool,
    /// When the machine last read a byte. An opened connection alone earns no second wait.
    last_byte: Option<Instant>,
}

/// How long the requests of a connection have waited for an answer while none came.
#[derive(Debug, Default)]
pub(super) struct Silence {
    since: Option<Instant>,
    /// Requests that wait and are not written yet, with the place in the stream where their frame ends.
    unwritten: BTreeMap<usize, u64>,
    /// When the socket took the last answered KeepAlive.
    heard: Option<Instant>,
}

impl Silence {
    pub(super) fn sent(&mut self, number: usize, end: u64) {
        self.unwritten.insert(number, end);
    }

    pub(super) fn written(&mut self, now: Instant, total: u64) {
        let before = self.unwritten.len();
        self.unwritten.retain(|_, end| *end > total);
        if self.unwritten.len() < before {
            self.since.get_or_insert(now);
        }
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
    /// With their places in that order.
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

    /// How many overtook the first that waits.
    fn first(&self) -> usize {
        self.waiting.front().map_or(0, |_| self.answered.len())
    }
}

impl Promises {
    /// The machine reads a byte.
    pub(super) fn byte(&mut self, now: Instant) {
        self.last_byte = Some(now);
    }

    /// A KeepAlive that was written then is answered now.
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
        let before = self.paused_until;
        self.paused_until = now;
        // A late driver may have used up what was earned by the bytes that came before.
        let since = before.max(self.late_until);
        let heard = self.promises.last_byte.is_some_and(|at| at > since);
        let promises = &mut self.promises;
        // A wait for a probe that the stop interrupts is not extended.
        let fresh = |at: &Instant| heard && *at > since + PROBE;
        promises.stood_still = promises.stopped_at.take().filter(fresh).map(|at| (at, now));
        promises.probed = false;
    }

    /// The application is done with a server request.
    pub(crate) fn done(&mut self, now: Instant, id: u64) {
        // When disconnect()'s time is over, CloseSession is encoded at once.
        let leaves = self.disconnecting.and(self.promises.leaves_by).is_some_and(|by| by <= now);
        if self.session.is_some() && self.promises.taken_in == self.sessions && !leaves {
            self.promises.done = id;
            self.promises.unacknowledged_since.get_or_insert(now);
        }
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
    }

    /// An acknowledgement was sent: what is done after it waits for the next.
    pub(super) fn acknowledged_now(&mut self) {
        let acknowledged = self.session.as_ref().map_or(0, |session| session.acknowledged);
        if acknowledged >= self.promises.done {
            self.promises.unacknowledged_since = None;
        }
    }

    /// CloseSession was sent.
    pub(super) fn all_acknowledged(&mut self) {
        let (done, acknowledged) =
            (self.promises.done, self.session.as_ref().map_or(0, |session| session.acknowledged));
        self.demand(
            acknowledged >= done,
            "what was delivered is acknowledged before the end",
            || format!("{acknowledged} of {done}"),
        );
    }

    /// The end of a turn.
    pub(super) fn keeps_promises(&mut self, now: Instant, state: StateName) {
        self.bursts();
        self.calls_end_in_time(now, state);
        let Some(wire) = &self.wire else { return };
        // What is encoded waits for the socket.
        let free = wire.encoded <= wire.written;
        if wire.stage != Stage::Connected || wire.close_session || !free {
            return;
        }
        let late = self.lateness(now);
        let since = |at: Instant| now.saturating_duration_since(at.max(self.paused_until));
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
            && self.terms.members > 1
        {
            let until = silent.max(self.paused_until) + self.patience() + late;
            if wire.silence.heard.is_some_and(|heard| heard > until) {
                let waited = since(silent);
                broken = Some(("a silent member is left in time", format!("after {waited:?}")));
            }
        }
        if let Some((rule, detail)) = broken {
            self.violated(rule, detail);
        }
    }

    /// The longest that silence is waited out.
    fn patience(&self) -> Duration {
        let base = (self.terms.resend_interval * 2).max(self.promises.slowest.saturating_mul(4));
        let doubled = base.saturating_mul(1 << self.promises.fruitless.min(16));
        doubled.min(LONGEST_SILENCE.max(base)) + SLACK
    }

    fn calls_end_in_time(&mut self, now: Instant, state: StateName) {
        let awake = self.paused_until + GRACE;
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

    /// The client leaves its member now: it must have waited long enough.
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
                    Some((now - keep_alive.written?).saturating_sub(keep_alive.flowed))
                });
                // A peer that does not read is left for the same reason.
                let stalled = wire.encoded > wire.written;
                // A read that ends in the middle of a frame counts the bytes of its header differently here.
                let header = WORTH * 9;
                let early = !stalled
                    && waited.is_none_or(|waited| {
                        waited + SLACK + header < self.terms.connection_timeout
                    });
                early.then(|| ("a KeepAlive's answer is waited for", format!("{waited:?}")))
            }
            _ => None,
        };
        if let Some((rule, detail)) = broken {
            self.violated(rule, detail);
        }
    }

    /// A process that stood still finds answers before timeouts.
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
        // The waits of a driver that is late again and again start again only after something was heard.
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
