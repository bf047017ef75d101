use zraft_protocol::{SessionId, SplitMix64, ValueError};

/// Draws the ids and random choices of a cluster from its seed.
#[derive(Debug)]
pub(crate) struct Seed(SplitMix64);

impl Seed {
    pub(crate) fn new(seed: u64) -> Self {
        Self(SplitMix64::new(seed))
    }

    /// Returns a number from 0 to `bound`, both included.
    pub(crate) fn up_to(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX);
        usize::try_from(self.0.next() % bound.saturating_add(1)).unwrap_or(usize::MAX)
    }

    /// Returns a session id in the form that live servers use: the text of a random UUID.
    pub(crate) fn session_id(&mut self) -> Result<SessionId, ValueError> {
        let (high, low) = (self.0.next(), self.0.next());
        let high = (high & !0xf000) | 0x4000;
        let low = (low & !(0b11 << 62)) | (0b10 << 62);
        SessionId::new(format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff
        ))
    }
}
