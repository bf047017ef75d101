//! The random numbers of a run, all from its seed.

use std::time::Duration;

use zraft_protocol::SplitMix64;

/// The generator of a run. The run's seed is all of its state, so a seed repeats a run.
#[derive(Debug, Clone)]
pub(crate) struct Rng(SplitMix64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        // Neighbouring seeds differ in few bits; the first number drawn mixes them.
        let mut random = SplitMix64::new(seed ^ 0x5eed_0f5e_ed0f_5eed);
        random.next();
        Self(random)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0.next()
    }

    /// Creates a separate generator, so that one part's draws do not shift another's.
    pub(crate) fn fork(&mut self) -> Self {
        Self(SplitMix64::new(self.next()))
    }

    /// Draws a number below `bound`, which must not be 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0.below(bound)
    }

    /// Draws a number from `low` to `high`, both included.
    pub(crate) fn range(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    pub(crate) fn index(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    /// Returns true with this chance in 100.
    pub(crate) fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.index(from.len())]
    }

    /// Draws a duration from `low` to `high` milliseconds, in whole microseconds.
    pub(crate) fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_micros(self.range(low * 1000, high * 1000))
    }

    /// Draws a duration from `low` to `high` microseconds.
    pub(crate) fn micros(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_micros(self.range(low, high))
    }
}
