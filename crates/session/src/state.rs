//! The replicated state besides the application.

use crate::{CheckedSettings, HistoryHash, Sessions, Time};

/// The replicated state besides the application. A copy is O(1).
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) applied: u64,
    pub(crate) time: Time,
    pub(crate) term: u64,
    pub(crate) seed: Seed,
    pub(crate) settings: CheckedSettings,
    pub(crate) history: HistoryHash,
    pub(crate) sessions: Sessions,
}

/// The seed of a term, kept out of `Debug`.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Seed(pub(crate) [u8; 32]);
