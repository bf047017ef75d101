//! The clocks of a member.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use zraft_replica::Now;
use zraft_session::Time;

/// Reads both clocks. Where the platform has a monotonic clock that counts suspended time, it is used: a leader that was
/// suspended must notice it, because another member may lead by then.
#[derive(Debug)]
pub(crate) struct Clock {
    origin: Duration,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { origin: monotonic() }
    }

    pub(crate) fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            monotonic: monotonic().saturating_sub(self.origin),
            wall: Time::from_millis(u64::try_from(wall.as_millis()).unwrap_or(u64::MAX)),
        }
    }

    /// Returns how long it is until this time of the monotonic clock.
    pub(crate) fn until(&self, time: Duration) -> Duration {
        time.saturating_sub(self.now().monotonic)
    }
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn monotonic() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    // Apple's CLOCK_MONOTONIC counts suspended time; Linux needs CLOCK_BOOTTIME for that.
    #[cfg(target_vendor = "apple")]
    const ID: ClockId = ClockId::Monotonic;
    #[cfg(not(target_vendor = "apple"))]
    const ID: ClockId = ClockId::Boottime;

    let time = clock_gettime(ID);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn monotonic() -> Duration {
    use std::{sync::OnceLock, time::Instant};

    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}
