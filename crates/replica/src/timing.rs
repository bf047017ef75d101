//! How fast members notice that the leader is gone.

use std::time::Duration;

use crate::StartError;

/// The timing of heartbeats and elections. All members of a cluster use the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// The leader sends a heartbeat this often.
    pub heartbeat: Duration,
    /// A follower that hears nothing for this long may start an election. A leader that hears no majority for this long
    /// steps down.
    pub election_min: Duration,
    /// Each member draws its election timeout from `election_min` up to this. The spread keeps two members from
    /// standing at the same time.
    pub election_max: Duration,
}

impl Default for Timing {
    /// For members in one region: round trips up to some 10 ms. Six heartbeats fit into the shortest election timeout,
    /// so a few lost ones cause no election, and a lost leader is replaced within about half a second.
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(50),
            election_min: Duration::from_millis(300),
            election_max: Duration::from_millis(500),
        }
    }
}

/// Timing in ticks of the engine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticks {
    pub(crate) tick: Duration,
    pub(crate) heartbeat: usize,
    pub(crate) election_min: usize,
    pub(crate) election_max: usize,
}

impl Ticks {
    /// Returns for how many ticks a leader may go on without its majority. The engine looks once in an election timeout
    /// whether it has heard one since it last looked, so it notices after two of them, and a tick is its precision.
    pub(crate) fn most_without_majority(&self) -> u32 {
        // At most an hour over a millisecond, twice: it fits into a u32.
        2 * self.election_min as u32 + 1
    }
}

impl Timing {
    /// Ticks in a heartbeat. Five make the timeouts of two members differ by a fifth of a heartbeat, which is about a
    /// round trip.
    const TICKS: u32 = 5;

    /// Checks that a member can use these times.
    ///
    /// # Errors
    /// [`StartError::Timing`] says which time does not fit.
    pub fn check(&self) -> Result<(), StartError> {
        self.ticks().map(|_| ())
    }

    pub(crate) fn ticks(&self) -> Result<Ticks, StartError> {
        if self.heartbeat < Duration::from_millis(5) || self.heartbeat > Duration::from_secs(60) {
            return Err(StartError::Timing("the heartbeat is not from 5 ms to 60 s"));
        }
        let tick = self.heartbeat / Self::TICKS;
        // At most an hour over a millisecond: far below what a usize holds.
        let ticks = |duration: Duration| duration.as_nanos().div_ceil(tick.as_nanos()) as usize;
        if self.election_max > Duration::from_secs(3600) {
            return Err(StartError::Timing("the election timeout is above 1 h"));
        }
        let (election_min, election_max) = (ticks(self.election_min), ticks(self.election_max));
        if self.election_min < 3 * self.heartbeat {
            return Err(StartError::Timing("the election timeout is below three heartbeats"));
        }
        if election_min >= election_max {
            return Err(StartError::Timing("the election timeouts leave no room to draw from"));
        }
        Ok(Ticks { tick, heartbeat: Self::TICKS as usize, election_min, election_max })
    }
}
