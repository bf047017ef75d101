//! Random numbers that are the same on every member.

use chacha20::{
    ChaCha20Rng,
    rand_core::{Rng, SeedableRng},
};

/// A source of random numbers for one call of the application, from [`Context::random`](crate::Context::random).
///
/// The stream is ChaCha20 under the seed of the leader's term, at a place that belongs to this call alone. Every member
/// draws the same numbers, and clients cannot predict them, because the seed is known to members only.
pub struct Random(ChaCha20Rng);

impl Random {
    /// The stream of the `ordinal`th call of the application within the entry at `index`.
    pub(crate) fn at(seed: [u8; 32], index: u64, ordinal: u32) -> Self {
        let mut stream = ChaCha20Rng::from_seed(seed);
        stream.set_stream(index);
        // 2^32 blocks of 64 bytes for each call, so the calls of one entry never share a block.
        stream.set_block_pos(u64::from(ordinal) << 32);
        Self(stream)
    }

    /// Returns a number, uniform over all 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Returns a number from 0 up to and excluding `bound`, uniform; 0 if `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 {
            return 0;
        }
        // Numbers below 2^64 mod bound are drawn again: they would make the small results more likely.
        let rejected = bound.wrapping_neg() % bound;
        loop {
            let product = u128::from(self.next_u64()) * u128::from(bound);
            if product as u64 >= rejected {
                return (product >> 64) as u64;
            }
        }
    }

    /// Fills `bytes` with random bytes.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }

    /// Returns a seed for a generator of your own, for example one of the `rand` crate.
    pub fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.fill(&mut seed);
        seed
    }
}

impl std::fmt::Debug for Random {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The state would reveal the next numbers.
        f.debug_struct("Random").finish_non_exhaustive()
    }
}
