//! When a request is sent again: the timeout that follows the server's pace, and the slow start of what is due.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use crate::{Instant, rng::Rng};

/// The doubling of the timeout stops here.
const MAX_DOUBLED: Duration = Duration::from_secs(60);
/// A command is due at once when this many sent after it on its connection were answered.
pub(crate) const OVERTAKEN: u64 = 32;

/// The resend timeout and the allowance of the slow start, for one connection at a time.
#[derive(Debug)]
pub(crate) struct Resend {
    /// In nanoseconds.
    least: u64,
    /// In nanoseconds.
    smoothed: Option<u64>,
    doublings: u32,
    /// Up to an eighth of the timeout, drawn anew with every resend.
    jitter: u64,
    /// Resends that may go now.
    allowance: u32,
    /// When further resends are released, and how many.
    releases: BinaryHeap<Reverse<(Instant, u32)>>,
    /// Resends without an answer, on this connection.
    unanswered: usize,
    /// When an answer to a resent request is missed.
    missed_at: Option<Instant>,
    /// From when on the lowest pending request may go whatever the allowance: a timeout after the last resend.
    lowest_at: Option<Instant>,
}

impl Resend {
    pub(crate) fn new(least: Duration) -> Self {
        Self {
            least: nanos(least),
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

    /// The smoothed answer time, once there is a sample.
    pub(crate) fn smoothed(&self) -> Option<Duration> {
        self.smoothed.map(Duration::from_nanos)
    }

    /// In nanoseconds.
    #[inline]
    pub(crate) fn base(&self) -> u64 {
        self.least.max(self.smoothed.unwrap_or(0).saturating_mul(4))
    }

    /// How long an answer is waited for before the request is due.
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_nanos(self.timeout_nanos())
    }

    #[inline]
    fn timeout_nanos(&self) -> u64 {
        let base = self.base();
        if self.doublings == 0 {
            return base;
        }
        let doubled = base.saturating_mul(1 << self.doublings.min(16));
        doubled.min(nanos(MAX_DOUBLED)).max(base)
    }

    /// The same with this resend's jitter: never less than the timeout.
    pub(crate) fn due_after(&self) -> Duration {
        let timeout = self.timeout();
        timeout + timeout.mul_f64(self.jitter as f64 / 8.0 / 1024.0)
    }

    fn draw(&mut self, rng: &mut Rng) {
        self.jitter = rng.below(1024);
    }

    /// A new connection: nothing was resent on it yet.
    pub(crate) fn new_connection(&mut self) {
        self.unanswered = 0;
        self.missed_at = None;
        self.lowest_at = None;
        self.restart();
    }

    /// The slow start begins at one.
    fn restart(&mut self) {
        self.allowance = 1;
        self.releases.clear();
    }

    /// The slow start begins at one once more, but not before the resends on their way are answered, nor before the
    /// next release: the server is slow, and copies would make it slower.
    fn begin_again(&mut self) {
        let next = self.releases.peek().map(|Reverse((at, _))| *at);
        self.releases.clear();
        match next {
            _ if self.unanswered > 0 => self.allowance = 0,
            Some(at) if self.allowance == 0 => self.releases.push(Reverse((at, 1))),
            _ => self.allowance = 1,
        }
    }

    /// A new session, or none: its answer times were another's.
    pub(crate) fn reset_doubling(&mut self) {
        self.doublings = 0;
    }

    /// Whether one more of what is due may go.
    pub(crate) fn may_release(&self) -> bool {
        self.allowance > 0
    }

    /// Whether the lowest pending request may go, which it may once per timeout whatever the allowance.
    pub(crate) fn lowest_may_go(&self, now: Instant) -> bool {
        self.lowest_at.is_none_or(|at| at <= now)
    }

    /// When it may.
    pub(crate) fn lowest_at(&self) -> Option<Instant> {
        self.lowest_at
    }

    /// A due request was sent again. `counted` is false for one whose earlier resend is still unanswered.
    pub(crate) fn resent(&mut self, now: Instant, counted: bool, rng: &mut Rng) {
        self.allowance = self.allowance.saturating_sub(1);
        if counted {
            self.unanswered += 1;
        }
        self.draw(rng);
        self.lowest_at = Some(now + self.due_after());
        if self.missed_at.is_none() {
            self.missed_at = Some(now + self.due_after());
        }
    }

    /// A request was answered that was never resent: `age` since its last byte went.
    #[inline]
    pub(crate) fn sample(&mut self, age: Duration) {
        let age = nanos(age);
        // Older than the timeout: the server is slow, it does not lose. Nothing more is released.
        if age > self.timeout_nanos() {
            self.begin_again();
        }
        self.smoothed = Some(match self.smoothed {
            None => age,
            Some(smoothed) => smoothed.saturating_mul(7).saturating_add(age) / 8,
        });
    }

    /// Any request was answered: the doubling ends.
    #[inline]
    pub(crate) fn answered(&mut self) {
        self.doublings = 0;
    }

    /// A resent request was answered, `took` after its resend.
    pub(crate) fn resend_answered(&mut self, now: Instant, took: Duration, rng: &mut Rng) {
        self.unanswered = self.unanswered.saturating_sub(1);
        let pause = took + rng.up_to(took / 8);
        self.releases.push(Reverse((now + pause, 2)));
        self.missed_at = (self.unanswered > 0).then(|| now + self.due_after());
    }

    /// A resent request is no longer waited for, without an answer.
    pub(crate) fn resend_forgotten(&mut self) {
        self.unanswered = self.unanswered.saturating_sub(1);
        if self.unanswered == 0 {
            self.missed_at = None;
            // No answer will release more: it begins at one.
            if self.releases.is_empty() {
                self.allowance = self.allowance.max(1);
            }
        }
    }

    /// Nothing is due and no resend is unanswered: the next slow start begins at one.
    #[inline]
    pub(crate) fn settle(&mut self) {
        if self.unanswered == 0 {
            self.restart();
        }
    }

    pub(crate) fn tick(&mut self, now: Instant) {
        while self.releases.peek().is_some_and(|Reverse((at, _))| *at <= now) {
            if let Some(Reverse((_, more))) = self.releases.pop() {
                self.allowance = self.allowance.saturating_add(more);
            }
        }
        if self.missed_at.is_some_and(|at| at <= now) {
            self.allowance /= 2;
            self.doublings = (self.doublings + 1).min(16);
            self.missed_at = (self.unanswered > 0).then(|| now + self.due_after());
        }
    }

    /// All waits begin again, after the clock jumped.
    pub(crate) fn restart_timers(&mut self, now: Instant) {
        let at = now + self.due_after();
        self.missed_at = self.missed_at.map(|_| at);
        self.lowest_at = self.lowest_at.map(|_| at);
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        let release = self.releases.peek().map(|Reverse((at, _))| *at);
        [release, self.missed_at].into_iter().flatten().min()
    }
}

#[inline]
fn nanos(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(time.subsec_nanos()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    #[test]
    fn the_timeout_is_the_larger_of_the_least_and_four_answer_times() {
        let mut resend = Resend::new(SECOND * 3);
        assert_eq!(resend.timeout(), SECOND * 3);
        resend.sample(SECOND);
        assert_eq!(resend.timeout(), SECOND * 4);
    }

    #[test]
    fn one_goes_then_two_more_for_each_answer_after_as_much_time_again() {
        let mut rng = Rng::new(1);
        let mut resend = Resend::new(SECOND * 3);
        assert!(resend.may_release());
        resend.resent(at(0), true, &mut rng);
        assert!(!resend.may_release());
        resend.resend_answered(at(80), Duration::from_millis(80), &mut rng);
        resend.tick(at(159));
        assert!(!resend.may_release());
        resend.tick(at(170));
        resend.resent(at(170), true, &mut rng);
        assert!(resend.may_release());
        resend.resent(at(170), true, &mut rng);
        assert!(!resend.may_release());
    }

    #[test]
    fn a_timeout_without_an_answer_to_a_resend_doubles_up_to_a_minute_until_the_first_answer() {
        let mut rng = Rng::new(1);
        let mut resend = Resend::new(SECOND * 3);
        resend.resent(at(0), true, &mut rng);
        let mut expected = 3;
        for _ in 0..8 {
            assert_eq!(resend.timeout(), SECOND * expected.min(60));
            let next = resend.next().unwrap();
            resend.tick(next);
            expected *= 2;
        }
        resend.answered();
        assert_eq!(resend.timeout(), SECOND * 3);
        // Four answer times may exceed the minute.
        resend.sample(SECOND * 30);
        assert_eq!(resend.timeout(), SECOND * 120);
    }

    #[test]
    fn a_timeout_without_an_answer_to_a_resend_halves_what_may_go() {
        let mut rng = Rng::new(1);
        let mut resend = Resend::new(SECOND);
        for _ in 0..3 {
            resend.resent(at(0), true, &mut rng);
            resend.resend_answered(at(10), Duration::from_millis(10), &mut rng);
        }
        resend.tick(at(100));
        resend.resent(at(100), true, &mut rng);
        let missed = resend.next().unwrap();
        resend.tick(missed);
        // Six were released, one of them went, half of five may still go.
        for _ in 0..2 {
            assert!(resend.may_release());
            resend.resent(missed, true, &mut rng);
        }
        assert!(!resend.may_release());
    }

    #[test]
    fn a_late_answer_to_what_was_never_resent_releases_nothing_and_starts_again_at_one() {
        let mut rng = Rng::new(1);
        let mut resend = Resend::new(SECOND);
        resend.resent(at(0), true, &mut rng);
        resend.resend_answered(at(10), Duration::from_millis(10), &mut rng);
        resend.tick(at(100));
        resend.sample(SECOND * 2);
        resend.resent(at(100), true, &mut rng);
        assert!(!resend.may_release());
        // While that one is on its way, further late answers release nothing.
        resend.sample(SECOND * 9);
        assert!(!resend.may_release());
    }
}

#[cfg(test)]
mod steps;
