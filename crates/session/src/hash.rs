//! Hashes that members compare. XXH3 is stable across versions and platforms and hashes several gigabytes a second.
//! It finds accidents, not attacks: members trust each other.

use std::fmt;

use twox_hash::XxHash3_64;

use crate::{Answer, Effect, Refusal};

/// The hash of a whole replicated state: XXH3-128 of the state's canonical encoding, which is the body of its snapshot.
///
/// Members that applied the same log up to the same index have equal hashes. Two states that differ in any way, the
/// history of their answers included, have different ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StateHash(pub(crate) u128);

impl StateHash {
    /// Returns the hash as 16 bytes, big-endian.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// Returns the hash that [`to_bytes`](Self::to_bytes) returned these bytes for.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }
}

impl fmt::Display for StateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for StateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StateHash({self})")
    }
}

/// A running hash of every effect since the first entry, in order.
///
/// It costs a few nanoseconds per command and is updated after every entry, so comparing it index by index finds the first
/// entry on which two members disagreed. A [`StateHash`] costs a pass over the whole state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HistoryHash(pub(crate) u64);

impl HistoryHash {
    /// Returns the hash as a number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Adds the effects of the entry at `index`.
    pub(crate) fn add(&mut self, index: u64, effects: &[Effect]) {
        self.word(index);
        for effect in effects {
            self.effect(effect);
        }
    }

    fn effect(&mut self, effect: &Effect) {
        match effect {
            Effect::SessionCreated { session } => self.tagged(1, session.as_bytes(), 0),
            Effect::SessionRefused { session, refusal } => {
                let refusal = match refusal {
                    Refusal::TooManySessions => 1,
                    Refusal::DuplicateId => 2,
                    Refusal::Application => 3,
                };
                self.tagged(2, session.as_bytes(), refusal);
            }
            Effect::Answered { session, request_id, answer } => {
                self.tagged(3, session.as_bytes(), request_id.get());
                let kind = match answer {
                    Answer::Executed(_) => 1,
                    Answer::Rejected(_) => 2,
                    Answer::Cached(_) => 3,
                    Answer::Evicted => 4,
                    Answer::NoSession => 5,
                    Answer::TooLong => 6,
                    Answer::CacheFull { .. } => 7,
                };
                let payload = answer.payload();
                self.word(kind * 2 + u64::from(payload.is_some()));
                self.bytes(payload.map_or(&[], |payload| payload));
            }
            Effect::Pushed { session, request } => {
                self.tagged(4, session.as_bytes(), request.id.get());
                self.bytes(&request.payload);
            }
            Effect::PushRefused { session, setting } => {
                self.tagged(6, session.as_bytes(), 0);
                self.bytes(setting.as_bytes());
            }
            Effect::SessionEnded { session, end } => {
                self.tagged(5, session.as_bytes(), u64::from(end.code()));
            }
        }
    }

    fn tagged(&mut self, tag: u64, session: &[u8], number: u64) {
        self.word(tag);
        self.bytes(session);
        self.word(number);
    }

    fn word(&mut self, word: u64) {
        self.0 = XxHash3_64::oneshot_with_seed(self.0, &word.to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0 = XxHash3_64::oneshot_with_seed(self.0, bytes);
    }
}
