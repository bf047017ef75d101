//! The pace of resending: the RTO, which follows the server's pace, and slow start, which limits how many copies go.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use crate::{Instant, rng::Rng};

/// The doubling of the RTO stops here. A server that answers nothing for minutes is asked once a minute: often enough
/// to notice its return, and rarely enough to cost it nothing.
const MAX_DOUBLED: Duration = Duration::from_secs(60);
/// After a resume at the same member, answers are expected without a copy for at least this long: a round trip of a
/// distant network, however short the smoothed answer time is.
const MIN_AWAIT: Duration = Duration::from_millis(50);
/// The RTO is this many smoothed answer times: leaves room for bursts.
const RTO_FACTOR: u64 = 4;
/// More doublings than this change nothing: the shortest RTO, a millisecond, is above `MAX_DOUBLED` by then.
const MAX_DOUBLINGS: u32 = 16;
/// The jitter is drawn from this many steps of an eighth of the RTO.
const JITTER_STEPS: u64 = 1024;

/// The RTO, and the allowance of slow start on the present connection.
#[derive(Debug)]
pub(crate) struct Pace {
    /// The shortest RTO, in nanoseconds.
    least: u64,
    /// The smoothed answer time, in nanoseconds.
    smoothed: Option<u64>,
    doublings: u32,
    /// The jitter, in steps; drawn again with each copy.
    jitter: u64,
    /// How many copies may go now.
    allowance: u32,
    /// When further copies are released, and how many.
    releases: BinaryHeap<Reverse<(Instant, u32)>>,
    /// Requests with an unanswered copy that slow start counts, on this connection.
    unanswered: usize,
    /// When the answer to a copy counts as missing.
    missed_at: Option<Instant>,
    /// From when on the lowest pending request may go beyond the allowance: an RTO after the last copy.
    lowest_at: Option<Instant>,
}

impl Pace {
    pub(crate) fn new(resend_interval: Duration) -> Self {
        Self {
            least: nanos(resend_interval),
            smoothed: None,
            doublings: 0,
            jitter: 0,
            allowance: 1,
            releases: BinaryHeap::new(),
            unanswered: 0,
            missed_at: None,
            lowest_at: None,
        }
    }

    /// Returns the smoothed answer time, once there is a sample.
    pub(crate) fn smoothed(&self) -> Option<Duration> {
        self.smoothed.map(Duration::from_nanos)
    }

    /// Returns the RTO without doubling, in nanoseconds.
    #[inline]
    pub(crate) fn base(&self) -> u64 {
        self.least.max(self.smoothed.unwrap_or(0).saturating_mul(RTO_FACTOR))
    }

    /// Returns the RTO: how long an answer is awaited before its request is due.
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_nanos(self.timeout_nanos())
    }

    #[inline]
    fn timeout_nanos(&self) -> u64 {
        let base = self.base();
        if self.doublings == 0 {
            return base;
        }
        let doubled = base.saturating_mul(1 << self.doublings.min(MAX_DOUBLINGS));
        doubled.min(nanos(MAX_DOUBLED)).max(base)
    }

    /// Returns the RTO with the present jitter: never less than the RTO.
    pub(crate) fn due_after(&self) -> Duration {
        let timeout = self.timeout();
        timeout + timeout.mul_f64(self.jitter as f64 / 8.0 / JITTER_STEPS as f64)
    }

    /// Returns how long answers are expected without a copy after a resume at the same member.
    pub(crate) fn await_for(&self) -> Duration {
        let most = Duration::from_nanos(self.least).max(MIN_AWAIT);
        self.smoothed().unwrap_or_default().clamp(MIN_AWAIT, most)
    }

    /// A new connection: slow start begins with one.
    pub(crate) fn new_connection(&mut self) {
        self.unanswered = 0;
        self.missed_at = None;
        self.lowest_at = None;
        self.restart();
    }

    fn restart(&mut self) {
        self.allowance = 1;
        self.releases.clear();
    }

    /// Slow start begins with one again, but not before the copies on the wire are answered, nor before the next
    /// release: the server is slow, and copies would make it slower.
    fn begin_again(&mut self) {
        let next = self.releases.peek().map(|Reverse((at, _))| *at);
        self.releases.clear();
        match next {
            _ if self.unanswered > 0 => self.allowance = 0,
            Some(at) if self.allowance == 0 => self.releases.push(Reverse((at, 1))),
            _ => self.allowance = 1,
        }
    }

    /// The session is gone: the doubling ends.
    pub(crate) fn reset_doubling(&mut self) {
        self.doublings = 0;
    }

    /// Returns true if slow start allows one more copy.
    pub(crate) fn may_release(&self) -> bool {
        self.allowance > 0
    }

    /// Returns true if the lowest pending request may go beyond the allowance.
    pub(crate) fn lowest_may_go(&self, now: Instant) -> bool {
        self.lowest_at.is_none_or(|at| at <= now)
    }

    /// Returns when the lowest pending request may go beyond the allowance, if a copy went before.
    pub(crate) fn lowest_at(&self) -> Option<Instant> {
        self.lowest_at
    }

    /// A copy went in slow start. `counted` is false if an earlier copy of the same request is still unanswered.
    pub(crate) fn resent(&mut self, now: Instant, counted: bool, rng: &mut Rng) {
        self.allowance = self.allowance.saturating_sub(1);
        if counted {
            self.unanswered += 1;
        }
        self.jitter = rng.below(JITTER_STEPS);
        self.lowest_at = Some(now + self.due_after());
        if self.missed_at.is_none() {
            self.missed_at = Some(now + self.due_after());
        }
    }

    /// A request that was never resent was answered, `age` after its last byte was written.
    #[inline]
    pub(crate) fn sample(&mut self, age: Duration) {
        let age = nanos(age);
        // Older than the RTO: the server is slow and loses nothing, so nothing more is released.
        if age > self.timeout_nanos() {
            self.begin_again();
        }
        self.smoothed = Some(match self.smoothed {
            None => age,
            Some(smoothed) => smoothed.saturating_mul(7).saturating_add(age) / 8,
        });
    }

    /// A request was answered, resent or not: the doubling ends.
    #[inline]
    pub(crate) fn answered(&mut self) {
        self.doublings = 0;
    }

    /// A copy was answered, `took` after its last byte was written.
    pub(crate) fn copy_answered(&mut self, now: Instant, took: Duration, rng: &mut Rng) {
        self.unanswered = self.unanswered.saturating_sub(1);
        let pause = took + rng.up_to(took / 8);
        self.releases.push(Reverse((now + pause, 2)));
        self.missed_at = (self.unanswered > 0).then(|| now + self.due_after());
    }

    /// The answer to a copy is no longer awaited.
    pub(crate) fn copy_forgotten(&mut self) {
        self.unanswered = self.unanswered.saturating_sub(1);
        if self.unanswered == 0 {
            self.missed_at = None;
            // No answer will release more: slow start begins with one.
            if self.releases.is_empty() {
                self.allowance = self.allowance.max(1);
            }
        }
    }

    /// Nothing is due. If no copy is unanswered either, the next slow start begins with one.
    #[inline]
    pub(crate) fn nothing_due(&mut self) {
        if self.unanswered == 0 {
            self.restart();
        }
    }

    /// Releases copies, and notices that the answer to one is missing.
    pub(crate) fn tick(&mut self, now: Instant) {
        while self.releases.peek().is_some_and(|Reverse((at, _))| *at <= now) {
            if let Some(Reverse((_, more))) = self.releases.pop() {
                self.allowance = self.allowance.saturating_add(more);
            }
        }
        if self.missed_at.is_some_and(|at| at <= now) {
            self.allowance /= 2;
            self.doublings = (self.doublings + 1).min(MAX_DOUBLINGS);
            self.missed_at = (self.unanswered > 0).then(|| now + self.due_after());
        }
    }

    /// Starts all waits again, after a jump of the clock.
    pub(crate) fn restart_waits(&mut self, now: Instant) {
        let at = now + self.due_after();
        self.missed_at = self.missed_at.map(|_| at);
        self.lowest_at = self.lowest_at.map(|_| at);
    }

    /// Returns when to call [`tick`](Self::tick) at the latest.
    pub(crate) fn next(&self) -> Option<Instant> {
        let release = self.releases.peek().map(|Reverse((at, _))| *at);
        [release, self.missed_at].into_iter().flatten().min()
    }
}

/// As `Duration::as_nanos`, in a `u64` and without its division: this runs once per answer.
#[inline]
fn nanos(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(time.subsec_nanos()))
}

#[cfg(test)]
mod tests;
