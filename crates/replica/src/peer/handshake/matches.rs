//! What a member remembers of the others' disks: what each has promised, and therefore must still have.

use std::collections::BTreeMap;

use super::Refusal;
use crate::{Configuration, Incarnation, Position, RaftId};

/// Members of the newest configuration, and as many that it does not contain yet.
const MAX_KNOWN: usize = 2 * Configuration::MAX_MEMBERS;

/// What one incarnation of a member has promised, so that its disk must have it as long as the directory lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// The highest term of a promise. A disk that forgets it could vote twice in one term.
    pub term: u64,
    /// The highest entry that it has acknowledged in `term`. A leader of a later term can replace entries behind the
    /// committed ones, so this counts while the member's term is the same.
    pub matched: u64,
    /// The highest entry that it has acknowledged and that is committed. No leader ever replaces it.
    pub committed: u64,
}

impl Remembered {
    /// Compares with what the member has now.
    pub(crate) fn check(self, durable: Position) -> Result<(), Refusal> {
        let Self { term, matched, committed } = self;
        let kept = durable.index >= committed
            && (durable.term > term || (durable.term == term && durable.index >= matched));
        if kept { Ok(()) } else { Err(Refusal::RolledBack { remembered: self, durable }) }
    }
}

/// What a member remembers of the others. It lives in memory: a write for each acknowledgement would double the fsyncs, and
/// a directory that is rolled back meets members that have run all the time.
#[derive(Debug, Default)]
pub(crate) struct Matches(BTreeMap<RaftId, (Incarnation, Remembered)>);

impl Matches {
    /// Takes note of a member's incarnation, which was judged. The first one that is known of an id stays.
    pub(crate) fn identify(&mut self, id: RaftId, incarnation: Incarnation) {
        if self.0.len() < MAX_KNOWN {
            self.0.entry(id).or_insert((incarnation, Remembered::default()));
        }
    }

    pub(crate) fn of(&self, id: RaftId) -> Option<(Incarnation, Remembered)> {
        self.0.get(&id).copied()
    }

    /// Returns the member with this incarnation.
    pub(crate) fn holder(&self, incarnation: Incarnation) -> Option<RaftId> {
        let mut known = self.0.iter();
        known.find(|(_, (known, _))| *known == incarnation).map(|(id, _)| *id)
    }

    /// Takes note of a promise in this term.
    pub(crate) fn promised(&mut self, id: RaftId, term: u64) {
        if let Some((_, known)) = self.0.get_mut(&id)
            && term > known.term
        {
            (known.term, known.matched) = (term, 0);
        }
    }

    /// Takes note that a member has acknowledged the log up to `index` in this term, of which `committed` is committed.
    pub(crate) fn acknowledged(&mut self, id: RaftId, term: u64, index: u64, committed: u64) {
        self.promised(id, term);
        if let Some((_, known)) = self.0.get_mut(&id) {
            if term == known.term {
                known.matched = known.matched.max(index);
            }
            known.committed = known.committed.max(index.min(committed));
        }
    }

    pub(crate) fn forget_removed(&mut self, configuration: &Configuration) {
        self.0.retain(|id, _| !configuration.removed.contains(id));
    }
}
