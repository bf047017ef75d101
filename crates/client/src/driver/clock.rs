//! The two clocks of a client: one measures intervals, one fills the timestamps on the wire.

use std::time::{SystemTime, UNIX_EPOCH};

use zraft_core::Instant;
use zraft_protocol::Timestamp;

/// A monotonic clock. Where the platform has one that counts suspended time, it is used: a session expires on the
/// server whether or not this computer was awake.
#[derive(Debug)]
pub(crate) struct Clock {
    #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
    origin: std::time::Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self {
            #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
            origin: std::time::Instant::now(),
        }
    }

    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    pub(crate) fn now(&self) -> Instant {
        use rustix::time::{ClockId, clock_gettime};
        // Apple's CLOCK_MONOTONIC counts suspended time; Linux needs CLOCK_BOOTTIME for that.
        #[cfg(target_vendor = "apple")]
        const ID: ClockId = ClockId::Monotonic;
        #[cfg(not(target_vendor = "apple"))]
        const ID: ClockId = ClockId::Boottime;

        let time = clock_gettime(ID);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
        Instant::from_nanos(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
    }

    #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
    pub(crate) fn now(&self) -> Instant {
        Instant::from_nanos(u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

/// Returns the time of day for the timestamps in messages. No decision depends on it.
pub(crate) fn wall_clock() -> Timestamp {
    let millis = match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
    };
    Timestamp::from_millis(millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interval_clock_never_goes_back() {
        let clock = Clock::new();
        let mut last = clock.now();
        for _ in 0..1000 {
            let now = clock.now();
            assert!(now >= last);
            last = now;
        }
    }

    #[test]
    fn wall_clock_counts_milliseconds_since_1970() {
        let year_2020 = 1_577_836_800_000;
        let year_2200 = 7_258_118_400_000;
        assert!((year_2020..year_2200).contains(&wall_clock().as_millis()));
    }
}
