//! Every entry that was ever in a log, and which of them are committed.

use std::collections::{BTreeMap, VecDeque};

use zraft_replica::{Boot, LogEntry};

use super::rules::{Rule, Verdict};

/// Entries that are remembered. A run of the simulation writes some thousands.
const MOST: usize = 1 << 17;

#[derive(Debug)]
struct Written {
    entry: LogEntry,
    /// The term of the entry before it.
    previous: u64,
}

/// Whether an entry was seen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    First,
    Before,
}

#[derive(Debug)]
pub(super) struct Log {
    /// By index and term.
    written: BTreeMap<(u64, u64), Written>,
    /// The index before the first of `committed`, and its term.
    before: (u64, u64),
    /// Each with the term of the member that was the first to call it committed.
    committed: VecDeque<(LogEntry, u64)>,
}

impl Log {
    pub(super) fn new() -> Self {
        let before = (Boot::FIRST_SNAPSHOT, 1);
        Self { written: BTreeMap::new(), before, committed: VecDeque::new() }
    }

    /// Takes note of an entry in some log, after one of the term `previous`.
    pub(super) fn note(&mut self, verdict: &mut Verdict, previous: u64, entry: &LogEntry) -> Seen {
        let place = (entry.index, entry.term);
        if let Some(known) = self.written.get(&place) {
            let same = known.entry == *entry && known.previous == previous;
            verdict.demand(same, Rule::LogsMatch, || {
                format!(
                    "entry {} of term {} after term {previous} is {entry:?}, and was {:?} after term {}",
                    entry.index, entry.term, known.entry, known.previous
                )
            });
            return Seen::Before;
        }
        self.written.insert(place, Written { entry: entry.clone(), previous });
        if self.written.len() > MOST {
            self.written.pop_first();
        }
        Seen::First
    }

    /// The last entry that is known to be committed.
    pub(super) fn committed(&self) -> u64 {
        self.before.0 + self.committed.len() as u64
    }

    pub(super) fn get(&self, index: u64) -> Option<&LogEntry> {
        self.committed_at(index).map(|(entry, _)| entry)
    }

    /// Returns the term of the member that was the first to call this entry committed. The entry's own can be lower.
    pub(super) fn committed_in(&self, index: u64) -> Option<u64> {
        self.committed_at(index).map(|(_, term)| *term)
    }

    fn committed_at(&self, index: u64) -> Option<&(LogEntry, u64)> {
        let at = index.checked_sub(self.before.0 + 1)?;
        self.committed.get(usize::try_from(at).ok()?)
    }

    /// Returns the term of a committed entry.
    pub(super) fn term(&self, index: u64) -> Option<u64> {
        if index == self.before.0 {
            return Some(self.before.1);
        }
        self.get(index).map(|entry| entry.term)
    }

    /// Returns index and term of the last entry that was committed in an earlier term than this.
    pub(super) fn last_committed_before(&self, term: u64) -> (u64, u64) {
        let last = self.committed.iter().rev().find(|(_, committed_in)| *committed_in < term);
        last.map_or(self.before, |(entry, _)| (entry.index, entry.term))
    }

    /// Returns the terms of the entries that were written at this index, the latest first.
    pub(super) fn terms_at(&self, index: u64) -> impl Iterator<Item = u64> {
        self.written.range((index, 0)..=(index, u64::MAX)).rev().map(|((_, term), _)| *term)
    }

    /// Commits everything up to this entry, as a member of a term says. Returns the entries that were not committed
    /// before, or none if the entry does not follow from what was committed.
    pub(super) fn commit(
        &mut self,
        index: u64,
        term: u64,
        committed_in: u64,
    ) -> Option<Vec<LogEntry>> {
        let mut more = Vec::new();
        let mut place = (index, term);
        while place.0 > self.committed() {
            let written = self.written.get(&place)?;
            more.push(written.entry.clone());
            place = (place.0 - 1, written.previous);
        }
        if self.term(place.0).is_some_and(|term| term != place.1) {
            return None;
        }
        more.reverse();
        self.committed.extend(more.iter().map(|entry| (entry.clone(), committed_in)));
        while self.committed.len() > MOST
            && let Some((first, _)) = self.committed.pop_front()
        {
            self.before = (first.index, first.term);
        }
        Some(more)
    }
}
