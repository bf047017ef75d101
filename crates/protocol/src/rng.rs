//! Pseudo-random numbers from a seed that the caller supplies.

/// SplitMix64, the generator from which this project's crates draw nonces, ids and jitter.
///
/// It is small and fast, and good enough where no one gains by predicting the next number. It lives here because every
/// crate that draws numbers depends on this one. It is not part of the public interface.
#[derive(Debug, Clone)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// Creates a generator. Equal seeds give equal numbers.
    #[inline]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the next number, uniform over all 64 bits.
    #[inline]
    #[allow(
        clippy::should_implement_trait,
        reason = "an endless generator is not used as an iterator"
    )]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number below `bound`, or 0 if `bound` is 0.
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// Returns a duration from zero to `limit`, both included.
    #[inline]
    pub fn up_to(&mut self, limit: std::time::Duration) -> std::time::Duration {
        let nanos = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        std::time::Duration::from_nanos(self.below(nanos.saturating_add(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first numbers of the reference implementation for the seed 1234567, as its test vectors have them.
    #[test]
    fn numbers_match_the_reference_implementation() {
        let mut rng = SplitMix64::new(1_234_567);
        let expected = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ];
        assert_eq!(expected, std::array::from_fn(|_| rng.next()));
    }

    #[test]
    fn number_is_below_its_bound_and_duration_within_its_limit() {
        let mut rng = SplitMix64::new(1);
        let numbers: Vec<u64> = (0..1000).map(|_| rng.below(3)).collect();
        assert!((0..3).all(|number| numbers.contains(&number)) && numbers.iter().all(|n| *n < 3));
        assert_eq!(rng.below(0), 0);
        let limit = std::time::Duration::from_nanos(2);
        let durations: Vec<u128> = (0..1000).map(|_| rng.up_to(limit).as_nanos()).collect();
        assert!((0..=2).all(|nanos| durations.contains(&nanos)));
        assert!(durations.iter().all(|nanos| *nanos <= 2));
    }
}
