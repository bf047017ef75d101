//! The clocks of a member's machine: they drift, the wall clock jumps, and the monotonic one may stand while the machine is
//! suspended.

use std::time::Duration;

use zraft_core::Instant;
use zraft_replica::Now;
use zraft_session::Time;

/// What the wall clocks say when a run begins.
const EPOCH_MILLIS: i64 = 1_700_000_000_000;
const MILLION: u128 = 1_000_000;

#[derive(Debug, Clone)]
pub(crate) struct Clock {
    origin: Instant,
    /// The virtual time at which `base` was read.
    since: Instant,
    base: Duration,
    /// How much faster than virtual time the clocks run, in parts per million. Above -1,000,000.
    drift: i64,
    /// How far the wall clock is ahead, in milliseconds.
    ahead: i64,
    stands: bool,
}

impl Clock {
    pub(crate) fn new(origin: Instant, drift: i64, ahead: i64) -> Self {
        // The monotonic clocks of two machines have nothing to do with each other.
        let base = Duration::from_millis(1000 + ahead.unsigned_abs() % 1000);
        Self { origin, since: origin, base, drift, ahead, stands: false }
    }

    fn speed(&self) -> u128 {
        (1_000_000 + self.drift) as u128
    }

    fn monotonic(&self, now: Instant) -> Duration {
        if self.stands {
            return self.base;
        }
        let passed = now.saturating_duration_since(self.since).as_nanos();
        // A run lasts minutes, far less than a u64 of nanoseconds.
        self.base + Duration::from_nanos((passed * self.speed() / MILLION) as u64)
    }

    pub(crate) fn read(&self, now: Instant) -> Now {
        let passed = now.saturating_duration_since(self.origin).as_millis();
        let passed = (passed * self.speed() / MILLION) as i64;
        let wall = (EPOCH_MILLIS + passed + self.ahead).max(0) as u64;
        Now { monotonic: self.monotonic(now), wall: Time::from_millis(wall) }
    }

    /// Returns the first virtual time at which the monotonic clock says `local` or more.
    pub(crate) fn when(&self, local: Duration) -> Instant {
        let left = local.saturating_sub(self.base).as_nanos();
        self.since + Duration::from_nanos((left * MILLION).div_ceil(self.speed()) as u64)
    }

    pub(crate) fn jump_wall(&mut self, millis: i64) {
        self.ahead += millis;
    }

    /// Stops the monotonic clock, or lets it go on from where it stands.
    pub(crate) fn set_standing(&mut self, now: Instant, stands: bool) {
        self.base = self.monotonic(now);
        self.since = now;
        self.stands = stands;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_of_a_drifting_clock_is_due_when_the_clock_says_so() {
        let origin = Instant::from_nanos(5_000_000_000);
        for drift in [-10_000, -7, 0, 7, 200, 10_000] {
            let clock = Clock::new(origin, drift, 0);
            for nanos in [1_000_000_001, 1_010_000_000, 31_000_000_777] {
                let local = Duration::from_nanos(nanos);
                let at = clock.when(local);
                assert!(clock.read(at).monotonic >= local, "{drift}");
                let before = at - Duration::from_nanos(1);
                assert!(clock.read(before).monotonic < local, "{drift}: not too late");
            }
        }
    }

    #[test]
    fn a_standing_clock_goes_on_from_where_it_stood() {
        let origin = Instant::from_nanos(5_000_000_000);
        let mut clock = Clock::new(origin, 0, 0);
        let (second, minute) = (origin + Duration::from_secs(1), origin + Duration::from_secs(60));
        clock.set_standing(second, true);
        assert_eq!(clock.read(minute).monotonic, clock.read(second).monotonic);
        assert!(clock.read(minute).wall > clock.read(second).wall, "the wall clock is set again");
        clock.set_standing(minute, false);
        let passed = clock.read(minute + Duration::from_secs(2)).monotonic;
        assert_eq!(passed, Duration::from_secs(4));
    }
}
