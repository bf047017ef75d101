//! Whether the connected member is alive: KeepAlives, the wait for their answers, and silence.
//!
//! `docs/sessions.md` has the rules under "Is the member alive?".

use std::{collections::VecDeque, time::Duration};

use zraft_protocol::Timestamp;

use crate::{Instant, PingKey, config::Config, loss::Loss};

/// The patience with a silent member grows to at most this: a cluster that is slow for minutes is asked elsewhere.
const MAX_SILENCE: Duration = Duration::from_secs(60);
/// At most this many KeepAlives are unanswered at once; more would tell nothing new.
const MAX_OUTSTANDING: usize = 16;
/// At most this many calls of ping() share one KeepAlive; a caller in a loop would otherwise grow the list.
const MAX_PINGS: usize = 1024;
/// Message bytes further apart than this do not hold up the wait for a KeepAlive's answer.
const FLOWING: Duration = Duration::from_secs(1);
/// Bytes that move more slowly than this, per second, hold nothing up. No link in use is that slow (the slowest modem
/// carries ten times as much), but a peer that sends or takes a byte now and then must not hold the client.
const MIN_FLOW: u64 = 100;
/// Bytes that flow, either way, hold up a KeepAlive for at most this long. The longest message by default, 16 MiB,
/// takes 14 minutes at 20 kB/s; a peer that sends messages without end must not hold the client either.
const MAX_HELD_UP: Duration = Duration::from_secs(15 * 60);

/// A KeepAlive that was encoded and is not answered.
#[derive(Debug)]
struct Outstanding {
    timestamp: Timestamp,
    /// When it was wanted.
    wanted: Instant,
    /// When the socket took its last byte.
    written: Option<Instant>,
    /// For how long the wait for its answer stood still.
    held_up: Duration,
    /// The calls of ping() that share it.
    pings: Vec<PingKey>,
}

/// The KeepAlive whose answer shows that the connection survived a jump of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Probe {
    None,
    Wanted,
    Sent(Timestamp),
}

/// The answer to a KeepAlive.
#[derive(Debug)]
pub(crate) struct Answered {
    /// The calls of ping() that waited for it.
    pub(crate) pings: Vec<PingKey>,
    /// From the KeepAlive's last byte to its answer.
    pub(crate) took: Duration,
    /// It is the answer to the probe, or to a later KeepAlive.
    pub(crate) probed: bool,
}

/// The liveness of one session connection. Only the patience with silence outlives it.
#[derive(Debug)]
pub(crate) struct Liveness {
    interval: Duration,
    /// How long the answer to a KeepAlive is awaited.
    timeout: Duration,
    /// How long a KeepAlive may stay unwritten while the socket takes next to nothing.
    stall: Duration,
    /// A socket that is not stalled takes at least this many bytes in that time.
    stall_bytes: u64,
    resend_interval: Duration,
    /// There is another member to move to.
    can_move: bool,
    next_tick: Instant,
    /// When a KeepAlive was wanted that is not encoded yet.
    wanted: Option<Instant>,
    waiting_pings: Vec<PingKey>,
    outstanding: VecDeque<Outstanding>,
    last_timestamp: i64,
    last_message_bytes: Option<Instant>,
    /// Since when requests are on the wire without an answer to any.
    silent_since: Option<Instant>,
    /// When the last byte of the last KeepAlive was written.
    last_written: Option<Instant>,
    /// When the last KeepAlive that was answered was written.
    last_answered: Option<Instant>,
    probe: Probe,
    /// How many bytes the socket had taken when it last made enough progress, and when that was.
    progress: (u64, Instant),
    /// A jump of the clock restarted the wait for a KeepAlive, and none was answered since.
    keep_alive_restarted: bool,
    /// A jump of the clock restarted the waits for requests, and none was answered since.
    requests_restarted: bool,
    /// Moves for silence that brought no answer.
    fruitless_moves: u32,
    /// How long nothing may show that the member leads before the liveness query is sent, if there is one.
    query_interval: Option<Duration>,
    /// When a request was last answered, which only a leader can do, or since when the connection stands.
    led: Instant,
}

impl Liveness {
    pub(crate) fn new(config: &Config) -> Self {
        // A peer that takes no bytes has as much time as one that sends none.
        let stall = config.heartbeat_timeout.max(config.connection_timeout);
        Self {
            interval: config.keep_alive_interval,
            timeout: config.connection_timeout,
            stall,
            stall_bytes: (stall.as_secs_f64() * MIN_FLOW as f64) as u64 + 1,
            resend_interval: config.resend_interval,
            can_move: config.members().len() > 1,
            next_tick: Instant::ZERO,
            wanted: None,
            waiting_pings: Vec::new(),
            outstanding: VecDeque::new(),
            last_timestamp: i64::MIN,
            last_message_bytes: None,
            silent_since: None,
            last_written: None,
            last_answered: None,
            probe: Probe::None,
            progress: (0, Instant::ZERO),
            keep_alive_restarted: false,
            requests_restarted: false,
            fruitless_moves: 0,
            query_interval: config.liveness_query().map(|query| config.liveness_interval(query)),
            led: Instant::ZERO,
        }
    }

    /// Says whether there is another member to move to.
    pub(crate) fn set_can_move(&mut self, can_move: bool) {
        self.can_move = can_move;
    }

    /// Sets how long nothing may show that the member leads.
    pub(crate) fn set_query_interval(&mut self, interval: Option<Duration>) {
        self.query_interval = interval;
    }

    /// Returns when the liveness query goes, unless another request is pending then.
    pub(crate) fn query_at(&self) -> Option<Instant> {
        Some(self.led + self.query_interval?)
    }

    /// A session connection stands.
    pub(crate) fn connected(&mut self, now: Instant) {
        debug_assert!(self.outstanding.is_empty());
        self.next_tick = now + self.interval;
        self.wanted = None;
        self.progress = (0, now);
        self.keep_alive_restarted = false;
        self.requests_restarted = false;
        self.last_message_bytes = None;
        self.silent_since = None;
        self.last_written = None;
        self.last_answered = None;
        self.led = now;
    }

    /// The connection is gone. Returns the calls of ping() that have no answer.
    pub(crate) fn disconnected(&mut self) -> Vec<PingKey> {
        self.wanted = None;
        self.silent_since = None;
        self.probe = Probe::None;
        let mut pings = std::mem::take(&mut self.waiting_pings);
        for outstanding in self.outstanding.drain(..) {
            pings.extend(outstanding.pings);
        }
        pings
    }

    /// The clock jumped: answers to KeepAlives are awaited from now on, and one is wanted at once. Does nothing if no
    /// KeepAlive was answered since the last call.
    pub(crate) fn restart_keep_alive(&mut self, now: Instant) {
        if std::mem::replace(&mut self.keep_alive_restarted, true) {
            return;
        }
        self.next_tick = now + self.interval;
        self.wanted = Some(now);
        self.probe = Probe::Wanted;
        self.progress.1 = now;
        for keep_alive in &mut self.outstanding {
            keep_alive.wanted = now;
            keep_alive.written = keep_alive.written.map(|_| now);
            keep_alive.held_up = Duration::ZERO;
        }
    }

    /// The clock jumped: answers to requests are awaited from now on. Returns false, and does nothing, if no request
    /// was answered since the last call.
    pub(crate) fn restart_requests(&mut self, now: Instant) -> bool {
        if std::mem::replace(&mut self.requests_restarted, true) {
            return false;
        }
        self.silent_since = self.silent_since.map(|_| now);
        true
    }

    /// Joins the next KeepAlive. Returns false if too many calls wait already.
    pub(crate) fn ping(&mut self, now: Instant, key: PingKey) -> bool {
        if self.waiting_pings.len() >= MAX_PINGS {
            return false;
        }
        self.waiting_pings.push(key);
        self.want(now);
        true
    }

    fn want(&mut self, now: Instant) {
        self.wanted.get_or_insert(now);
    }

    /// Returns true if a KeepAlive should be encoded now.
    pub(crate) fn wants_keep_alive(&self) -> bool {
        self.wanted.is_some() && self.outstanding.len() < MAX_OUTSTANDING
    }

    /// Returns the timestamp of the KeepAlive that is encoded now: the wall clock's, but never the same twice.
    pub(crate) fn keep_alive(&mut self, now: Instant, wall: Timestamp) -> Timestamp {
        let wanted = self.wanted.take().unwrap_or(now);
        self.last_timestamp = wall.as_millis().max(self.last_timestamp.saturating_add(1));
        let timestamp = Timestamp::from_millis(self.last_timestamp);
        if self.probe == Probe::Wanted {
            self.probe = Probe::Sent(timestamp);
        }
        let pings = std::mem::take(&mut self.waiting_pings);
        let held_up = Duration::ZERO;
        let written = None;
        self.outstanding.push_back(Outstanding { timestamp, wanted, written, held_up, pings });
        timestamp
    }

    /// The socket took the last byte of a KeepAlive.
    pub(crate) fn written(&mut self, now: Instant) {
        if let Some(keep_alive) = self.outstanding.iter_mut().find(|k| k.written.is_none()) {
            keep_alive.written = Some(now);
            self.last_written = Some(now);
        }
    }

    /// The socket took bytes: `total` in all on this connection.
    #[inline]
    pub(crate) fn bytes_written(&mut self, now: Instant, total: u64) {
        if total.saturating_sub(self.progress.0) >= self.stall_bytes {
            self.progress = (total, now);
        }
    }

    /// A KeepAliveResponse came. `None` if no KeepAlive with this timestamp was written.
    pub(crate) fn answered(&mut self, now: Instant, timestamp: Timestamp) -> Option<Answered> {
        let asked = |k: &Outstanding| k.timestamp == timestamp && k.written.is_some();
        let place = self.outstanding.iter().position(asked)?;
        self.keep_alive_restarted = false;
        let mut pings = Vec::new();
        let mut written = now;
        for keep_alive in self.outstanding.drain(..=place) {
            pings.extend(keep_alive.pings);
            written = keep_alive.written.unwrap_or(now);
        }
        self.last_answered = Some(written);
        // Earlier KeepAlives were overtaken or lost. Only later ones are still awaited.
        let probed = matches!(self.probe, Probe::Sent(probe) if probe <= timestamp);
        if probed {
            self.probe = Probe::None;
        }
        Some(Answered { pings, took: now - written, probed })
    }

    /// Bytes of message frames arrived. While they flow, the wait for a KeepAlive's answer stands still: the answer
    /// may be behind them. Bytes that trickle hold it up for no longer than they would take at [`MIN_FLOW`].
    pub(crate) fn message_bytes(&mut self, now: Instant, bytes: u64, mid_message: bool) {
        let worth = Duration::from_millis(bytes.saturating_mul(1000 / MIN_FLOW));
        for keep_alive in &mut self.outstanding {
            let Some(written) = keep_alive.written else { break };
            let gap = now - self.last_message_bytes.map_or(written, |at| at.max(written));
            if mid_message || gap <= FLOWING {
                keep_alive.held_up += gap.min(worth);
            }
        }
        self.last_message_bytes = Some(now);
    }

    /// The socket took the last byte of a request.
    #[inline]
    pub(crate) fn request_written(&mut self, now: Instant) {
        if self.silent_since.is_none() {
            // A new wait, which a jump of the clock may restart.
            self.silent_since = Some(now);
            self.requests_restarted = false;
        }
    }

    /// A request was answered. `more` says whether others are on the wire.
    #[inline]
    pub(crate) fn request_answered(&mut self, now: Instant, more: bool) {
        self.led = now;
        self.silent_since = more.then_some(now);
        self.requests_restarted = false;
        self.fruitless_moves = 0;
    }

    /// Returns since when requests are on the wire without an answer to any, if there is another member to move to.
    #[inline]
    pub(crate) fn silent_since(&self) -> Option<Instant> {
        self.silent_since.filter(|_| self.can_move)
    }

    /// The last request on the wire was forgotten.
    pub(crate) fn nothing_on_the_wire(&mut self) {
        self.silent_since = None;
    }

    /// Returns when the answer to the oldest KeepAlive is missing.
    fn wait_until(&self) -> Option<Instant> {
        let oldest = self.outstanding.front()?;
        Some(oldest.written? + self.timeout + oldest.held_up.min(MAX_HELD_UP))
    }

    /// Returns when the oldest KeepAlive that is not written has waited too long for the socket.
    fn stalled_at(&self) -> Option<Instant> {
        let unwritten = self.outstanding.iter().find(|k| k.written.is_none()).map(|k| k.wanted);
        let wanted = self.wanted.filter(|_| self.outstanding.len() < MAX_OUTSTANDING);
        let since = unwritten.or(wanted)?;
        Some((since.max(self.progress.1) + self.stall).min(since + MAX_HELD_UP.max(self.stall)))
    }

    /// Returns how long requests may stay unanswered while KeepAlives are answered.
    fn patience(&self, smoothed: Option<Duration>) -> Duration {
        let base = (self.resend_interval * 2).max(smoothed.unwrap_or_default().saturating_mul(4));
        base.saturating_mul(1 << self.fruitless_moves.min(16)).min(MAX_SILENCE.max(base))
    }

    /// Returns when to find out by a KeepAlive whether the member is alive: no request was answered for an RTO.
    fn probe_at(&self, resend_timeout: Duration) -> Option<Instant> {
        if self.wanted.is_some() || !self.outstanding.is_empty() {
            return None;
        }
        let since = self.silent_since?;
        Some(self.last_written.map_or(since, |at| at.max(since)) + resend_timeout)
    }

    /// Returns when the member counts as silent.
    fn silent_at(&self, smoothed: Option<Duration>) -> Option<Instant> {
        let since = self.silent_since()?;
        Some(since + self.patience(smoothed))
    }

    /// Returns how the connection is lost, if it is. `smoothed` is the smoothed answer time, `resend_timeout` the RTO.
    pub(crate) fn tick(
        &mut self,
        now: Instant,
        smoothed: Option<Duration>,
        resend_timeout: Duration,
    ) -> Option<Loss> {
        if self.next_tick <= now {
            self.next_tick = now + self.interval;
            self.want(now);
        }
        if self.wait_until().is_some_and(|until| until <= now) {
            return Some(Loss::KeepAliveTimeout);
        }
        if self.stalled_at().is_some_and(|at| at <= now) {
            return Some(Loss::Stalled);
        }
        if self.probe_at(resend_timeout).is_some_and(|at| at <= now) {
            self.want(now);
        }
        if let Some(at) = self.silent_at(smoothed).filter(|at| *at <= now) {
            if self.hears(at) {
                self.fruitless_moves = self.fruitless_moves.saturating_add(1);
                return Some(Loss::Silent);
            }
            // Silent for long enough, but perhaps deaf. The answer to a KeepAlive tells.
            if self.outstanding.is_empty() {
                self.want(now);
            }
        }
        None
    }

    /// Returns true if KeepAlives are answered while requests are not: all were, the last of them written after the
    /// requests; or one written after `silent_at` was.
    fn hears(&self, silent_at: Instant) -> bool {
        let all_answered = self.outstanding.is_empty() && self.last_answered > self.silent_since;
        all_answered || self.last_answered >= Some(silent_at)
    }

    /// Returns when to call [`tick`](Self::tick) at the latest.
    pub(crate) fn next(
        &self,
        smoothed: Option<Duration>,
        resend_timeout: Duration,
    ) -> Option<Instant> {
        let silent = self
            .silent_at(smoothed)
            .filter(|at| self.hears(*at) || (self.outstanding.is_empty() && self.wanted.is_none()));
        let (wait, stall) = (self.wait_until(), self.stalled_at());
        [Some(self.next_tick), wait, stall, self.probe_at(resend_timeout), silent]
            .into_iter()
            .flatten()
            .min()
    }
}
