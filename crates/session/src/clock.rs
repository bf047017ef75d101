//! The leader's clock, which turns wall time into replicated time.

use std::time::Duration;

use crate::Time;

/// Stamps a leader's entries with a time that never falls and never leaps.
///
/// It reads no clock. Callers pass the wall clock, and a monotonic clock as the time since any fixed moment. Every
/// member keeps one from its start on and [`observe`](Self::observe)s the entries that it applies, so that it knows
/// what time to expect when it becomes the leader.
///
/// | the wall clock is | the stamp |
/// | --- | --- |
/// | behind the last stamp | goes on at half the speed of the monotonic clock until the wall clock has caught up |
/// | up to 10 s ahead of what the monotonic clock says | is the wall clock |
/// | further ahead | goes on with the monotonic clock, until an operator [accepts](Self::accept_jump) the jump |
///
/// A leap forward is held back because it cannot be undone: replicated time would stand still until the real time has
/// caught up, and everything that waits for a time would happen at once.
#[derive(Clone, Debug)]
pub struct LeaderClock {
    /// The last replicated time.
    last: Time,
    /// The monotonic clock at `last`; none until the first call.
    at: Option<Duration>,
    /// The distance by which the wall clock was ahead at the last stamp, if it was too far.
    jump: Option<Duration>,
    accepted: bool,
}

impl LeaderClock {
    /// The greatest leap of the wall clock that stamps follow without an operator: larger than a usual correction by NTP,
    /// and small enough to wait out.
    pub const MAX_JUMP: Duration = Duration::from_secs(10);

    /// Returns the clock of a member that has just started and whose log ends with this time.
    ///
    /// The member does not know how long it was stopped, so the first stamp follows the wall clock unconditionally.
    #[must_use]
    pub const fn new(last: Time) -> Self {
        Self { last, at: None, jump: None, accepted: false }
    }

    /// Takes note of the time of an entry that was applied.
    pub fn observe(&mut self, time: Time, monotonic: Duration) {
        if time > self.last {
            self.last = time;
            self.at = Some(monotonic);
        }
    }

    /// Returns the time for an entry that is proposed now.
    pub fn stamp(&mut self, wall: Time, monotonic: Duration) -> Time {
        let Some(at) = self.at else {
            self.last = self.last.max(wall);
            self.at = Some(monotonic);
            return self.last;
        };
        let elapsed = monotonic.saturating_sub(at);
        let (slow, expected) = (self.last + elapsed / 2, self.last + elapsed);
        let held_back = wall > expected + Self::MAX_JUMP && !self.accepted;
        self.jump = held_back.then(|| wall.saturating_duration_since(expected));
        // Take only whole milliseconds from the monotonic clock, so that frequent stamps do not lose the rest.
        let (time, at) = if held_back {
            (expected, at + expected.saturating_duration_since(self.last))
        } else if wall > slow {
            self.accepted = false;
            (wall, monotonic)
        } else {
            (slow, at + 2 * slow.saturating_duration_since(self.last))
        };
        self.last = time;
        self.at = Some(at);
        time
    }

    /// Returns how far the wall clock was ahead at the last stamp, if that was too far to follow.
    #[must_use]
    pub fn held_back(&self) -> Option<Duration> {
        self.jump
    }

    /// Lets the next stamp follow the wall clock, no matter how far it is ahead. Call it when an operator has checked the
    /// clock.
    pub fn accept_jump(&mut self) {
        self.accepted = true;
    }
}
