//! Replicated time.

use std::{fmt, ops::Add, time::Duration};

use zraft_protocol::Timestamp;

/// A moment of replicated time: milliseconds since the Unix epoch, from 0 to [`Time::MAX`].
///
/// The leader stamps each log entry with its wall clock. All members read the stamp and no other clock. Replicated time
/// never falls: an entry with an older stamp is applied at the time of the entry before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The Unix epoch. The replicated time of a cluster that has applied nothing.
    pub const ZERO: Self = Self(0);
    /// The last moment, which is also the last one that a [`Timestamp`] on the wire can carry.
    pub const MAX: Self = Self(i64::MAX as u64);

    /// Returns the moment this many milliseconds after the Unix epoch, or [`Time::MAX`] if that is later.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        if millis > Self::MAX.0 { Self::MAX } else { Self(millis) }
    }

    /// Returns the milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Returns the time since `earlier`, or zero if `earlier` is later than `self`.
    #[must_use]
    pub const fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    /// Adds whole milliseconds and stops at [`Time::MAX`].
    fn add(self, duration: Duration) -> Self {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self::from_millis(self.0.saturating_add(millis))
    }
}

impl From<Time> for Timestamp {
    fn from(time: Time) -> Self {
        Self::from_millis(i64::try_from(time.0).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}
