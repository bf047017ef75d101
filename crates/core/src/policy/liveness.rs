//! Whether the connected member is alive: keep-alives, the wait for their answers, and silence.

use std::{collections::VecDeque, time::Duration};

use zraft_protocol::Timestamp;

use crate::{Instant, PingKey};

/// Silence is waited out at most this long.
const MAX_SILENCE: Duration = Duration::from_secs(60);
/// Keep-alives on their way; more would tell nothing new.
const MAX_OUTSTANDING: usize = 16;
/// Callers that wait for one answer.
const MAX_PINGS: usize = 1024;
/// Between two message bytes further apart than this the wait for a keep-alive's answer goes on.
const FLOWING: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Outstanding {
    timestamp: Timestamp,
    /// When the socket took its last byte.
    written: Option<Instant>,
    /// For how long its wait stood still.
    held_up: Duration,
    pings: Vec<PingKey>,
}

/// What liveness found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A keep-alive was not answered: the member is deaf.
    KeepAliveTimeout,
    /// Keep-alives are answered, requests are not.
    Silent,
}

/// The keep-alive whose answer tells that the connection outlived a jump of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Probe {
    None,
    Wanted,
    Sent(Timestamp),
}

/// An answer to a keep-alive.
#[derive(Debug)]
pub(crate) struct Answered {
    /// The callers of ping who waited for it.
    pub(crate) pings: Vec<PingKey>,
    /// From the keep-alive's last byte to its answer.
    pub(crate) took: Duration,
    /// It was the first since a jump of the clock to something sent after that.
    pub(crate) probed: bool,
}

/// The liveness of one connection while Connected; only the patience with silence outlives it.
#[derive(Debug)]
pub(crate) struct Liveness {
    interval: Duration,
    /// How long a keep-alive's answer is waited for.
    timeout: Duration,
    resend_interval: Duration,
    /// There is another member to move to.
    can_move: bool,
    next_tick: Instant,
    wanted: bool,
    waiting_pings: Vec<PingKey>,
    outstanding: VecDeque<Outstanding>,
    last_timestamp: i64,
    last_message_bytes: Option<Instant>,
    /// Since when requests are on the wire and none was answered.
    silent_since: Option<Instant>,
    /// When the last keep-alive's last byte went.
    last_written: Option<Instant>,
    /// When the last keep-alive that was answered went.
    last_answered: Option<Instant>,
    probe: Probe,
    /// Moves for silence that brought no answer.
    fruitless_moves: u32,
}

impl Liveness {
    pub(crate) fn new(
        interval: Duration,
        timeout: Duration,
        resend_interval: Duration,
        can_move: bool,
    ) -> Self {
        Self {
            interval,
            timeout,
            resend_interval,
            can_move,
            next_tick: Instant::ZERO,
            wanted: false,
            waiting_pings: Vec::new(),
            outstanding: VecDeque::new(),
            last_timestamp: i64::MIN,
            last_message_bytes: None,
            silent_since: None,
            last_written: None,
            last_answered: None,
            probe: Probe::None,
            fruitless_moves: 0,
        }
    }

    /// A session connection stands.
    pub(crate) fn connected(&mut self, now: Instant) {
        debug_assert!(self.outstanding.is_empty());
        self.next_tick = now + self.interval;
        self.wanted = false;
        self.last_message_bytes = None;
        self.silent_since = None;
        self.last_written = None;
        self.last_answered = None;
    }

    /// It is gone. Gives the callers whose ping has no answer.
    pub(crate) fn disconnected(&mut self) -> Vec<PingKey> {
        self.wanted = false;
        self.silent_since = None;
        self.probe = Probe::None;
        let mut pings = std::mem::take(&mut self.waiting_pings);
        for outstanding in self.outstanding.drain(..) {
            pings.extend(outstanding.pings);
        }
        pings
    }

    /// Wants a keep-alive at once, because of a jump of the clock.
    pub(crate) fn restart(&mut self, now: Instant) {
        self.next_tick = now + self.interval;
        self.wanted = true;
        self.probe = Probe::Wanted;
        for keep_alive in &mut self.outstanding {
            keep_alive.written = keep_alive.written.map(|_| now);
            keep_alive.held_up = Duration::ZERO;
        }
        if self.silent_since.is_some() {
            self.silent_since = Some(now);
        }
    }

    /// Joins the next keep-alive; `false` when too many wait already.
    pub(crate) fn ping(&mut self, key: PingKey) -> bool {
        if self.waiting_pings.len() >= MAX_PINGS {
            return false;
        }
        self.waiting_pings.push(key);
        self.wanted = true;
        true
    }

    /// Whether a keep-alive should be written now.
    pub(crate) fn wants_keep_alive(&self) -> bool {
        self.wanted && self.outstanding.len() < MAX_OUTSTANDING
    }

    /// The timestamp of the keep-alive that is written now: the wall clock's, but no two alike.
    pub(crate) fn keep_alive(&mut self, wall: Timestamp) -> Timestamp {
        self.wanted = false;
        self.last_timestamp = wall.as_millis().max(self.last_timestamp.saturating_add(1));
        let timestamp = Timestamp::from_millis(self.last_timestamp);
        if self.probe == Probe::Wanted {
            self.probe = Probe::Sent(timestamp);
        }
        let pings = std::mem::take(&mut self.waiting_pings);
        let held_up = Duration::ZERO;
        self.outstanding.push_back(Outstanding { timestamp, written: None, held_up, pings });
        timestamp
    }

    /// The socket took a keep-alive's last byte.
    pub(crate) fn written(&mut self, now: Instant) {
        if let Some(keep_alive) = self.outstanding.iter_mut().find(|k| k.written.is_none()) {
            keep_alive.written = Some(now);
            self.last_written = Some(now);
        }
    }

    /// A keep-alive was answered. `None` for an answer to nothing.
    pub(crate) fn answered(&mut self, now: Instant, timestamp: Timestamp) -> Option<Answered> {
        let place = self.outstanding.iter().position(|k| k.timestamp == timestamp)?;
        let mut pings = Vec::new();
        let mut written = now;
        for keep_alive in self.outstanding.drain(..=place) {
            pings.extend(keep_alive.pings);
            written = keep_alive.written.unwrap_or(now);
        }
        self.last_answered = Some(written);
        // Those sent before it were overtaken or lost; only later ones are still waited for.
        let probed = matches!(self.probe, Probe::Sent(probe) if probe <= timestamp);
        if probed {
            self.probe = Probe::None;
        }
        Some(Answered { pings, took: now - written, probed })
    }

    /// Bytes of message frames arrived. While they flow, the wait for a keep-alive's answer stands still: the answer
    /// may be behind them.
    pub(crate) fn message_bytes(&mut self, now: Instant, mid_message: bool) {
        for keep_alive in &mut self.outstanding {
            let Some(written) = keep_alive.written else { break };
            let gap = now - self.last_message_bytes.map_or(written, |at| at.max(written));
            if mid_message || gap <= FLOWING {
                keep_alive.held_up += gap;
            }
        }
        self.last_message_bytes = Some(now);
    }

    /// A request's last byte went.
    #[inline]
    pub(crate) fn request_written(&mut self, now: Instant) {
        self.silent_since.get_or_insert(now);
    }

    /// A request was answered; `more` says whether others are on the wire.
    #[inline]
    pub(crate) fn request_answered(&mut self, now: Instant, more: bool) {
        self.silent_since = more.then_some(now);
        self.fruitless_moves = 0;
    }

    /// Nothing is on the wire any more, without an answer.
    pub(crate) fn nothing_on_the_wire(&mut self) {
        self.silent_since = None;
    }

    /// When the oldest keep-alive has been waited for in vain.
    fn wait_until(&self) -> Option<Instant> {
        let oldest = self.outstanding.front()?;
        Some(oldest.written? + self.timeout + oldest.held_up)
    }

    fn patience(&self, smoothed: Option<Duration>) -> Duration {
        let base = (self.resend_interval * 2).max(smoothed.unwrap_or_default().saturating_mul(4));
        base.saturating_mul(1 << self.fruitless_moves.min(16)).min(MAX_SILENCE.max(base))
    }

    fn probe_at(&self, resend_timeout: Duration) -> Option<Instant> {
        if self.wanted || !self.outstanding.is_empty() {
            return None;
        }
        let since = self.silent_since?;
        Some(self.last_written.map_or(since, |at| at.max(since)) + resend_timeout)
    }

    fn silent_at(&self, smoothed: Option<Duration>) -> Option<Instant> {
        let since = self.silent_since.filter(|_| self.can_move)?;
        Some(since + self.patience(smoothed))
    }

    pub(crate) fn tick(
        &mut self,
        now: Instant,
        smoothed: Option<Duration>,
        resend_timeout: Duration,
    ) -> Option<Verdict> {
        if self.next_tick <= now {
            self.next_tick = now + self.interval;
            self.wanted = true;
        }
        if self.wait_until().is_some_and(|until| until <= now) {
            return Some(Verdict::KeepAliveTimeout);
        }
        if self.probe_at(resend_timeout).is_some_and(|at| at <= now) {
            self.wanted = true;
        }
        if let Some(at) = self.silent_at(smoothed).filter(|at| *at <= now) {
            if self.hears(at) {
                self.fruitless_moves = self.fruitless_moves.saturating_add(1);
                return Some(Verdict::Silent);
            }
            // Silent for long enough, but is it deaf? The answer to a keep-alive tells.
            if self.outstanding.is_empty() {
                self.wanted = true;
            }
        }
        None
    }

    /// Whether keep-alives are answered while requests are not: the last one was, and it went after those; or one that
    /// went after `silent_at` was.
    fn hears(&self, silent_at: Instant) -> bool {
        let all_answered = self.outstanding.is_empty() && self.last_answered > self.silent_since;
        all_answered || self.last_answered >= Some(silent_at)
    }

    pub(crate) fn next(
        &self,
        smoothed: Option<Duration>,
        resend_timeout: Duration,
    ) -> Option<Instant> {
        let silent = self
            .silent_at(smoothed)
            .filter(|at| self.hears(*at) || (self.outstanding.is_empty() && !self.wanted));
        [Some(self.next_tick), self.wait_until(), self.probe_at(resend_timeout), silent]
            .into_iter()
            .flatten()
            .min()
    }
}
