//! What a member's disk holds, as its acknowledged writes say.

use std::collections::VecDeque;

use zraft_replica::{Boot, HardState, LogEntry, Write};

#[derive(Clone, Debug)]
pub(super) struct DiskLog {
    pub(super) hard: HardState,
    /// Index and term of the newest snapshot.
    pub(super) snapshot: (u64, u64),
    /// Index and term of the entry before the first one.
    before: (u64, u64),
    entries: VecDeque<LogEntry>,
    /// What it had acknowledged when a fault took it. Leaders may still count on that.
    lost: Option<Box<DiskLog>>,
}

impl DiskLog {
    pub(super) fn of(boot: &Boot) -> Self {
        let snapshot = (boot.snapshot.index, boot.snapshot.term);
        Self {
            hard: boot.hard_state,
            snapshot,
            before: snapshot,
            entries: boot.entries.iter().cloned().collect(),
            lost: None,
        }
    }

    /// Returns what a disk holds that starts from `boot` after a fault took its content.
    pub(super) fn after_loss(lost: Self, boot: &Boot) -> Self {
        Self { lost: Some(Box::new(Self { lost: None, ..lost })), ..Self::of(boot) }
    }

    pub(super) fn last(&self) -> u64 {
        self.before.0 + self.entries.len() as u64
    }

    pub(super) fn get(&self, index: u64) -> Option<&LogEntry> {
        let at = index.checked_sub(self.before.0 + 1)?;
        self.entries.get(usize::try_from(at).ok()?)
    }

    /// Returns the term of an entry that it holds, or of the one before its first.
    pub(super) fn term(&self, index: u64) -> Option<u64> {
        if index == self.before.0 {
            return Some(self.before.1);
        }
        self.get(index).map(|entry| entry.term)
    }

    /// Returns true if it has made this entry durable, by itself or within a snapshot.
    pub(super) fn holds(&self, index: u64, term: u64) -> bool {
        index <= self.snapshot.0
            || self.term(index) == Some(term)
            || self.lost.as_ref().is_some_and(|lost| lost.holds(index, term))
    }

    /// Returns the terms that it has at this index.
    pub(super) fn terms(&self, index: u64) -> impl Iterator<Item = u64> {
        let lost = self.lost.as_ref().and_then(|lost| lost.term(index));
        self.term(index).into_iter().chain(lost)
    }

    pub(super) fn write(&mut self, write: &Write) {
        if let Some(snapshot) = &write.install {
            self.snapshot = (snapshot.index, snapshot.term);
            self.before = self.snapshot;
            self.entries.clear();
        }
        if let Some(snapshot) = &write.record {
            self.snapshot = (snapshot.index, snapshot.term);
        }
        if let Some(first) = write.first_index {
            while self.before.0 + 1 < first
                && let Some(entry) = self.entries.pop_front()
            {
                self.before = (entry.index, entry.term);
            }
        }
        if let Some(first) = write.entries.first() {
            while self.entries.back().is_some_and(|last| last.index >= first.index) {
                self.entries.pop_back();
            }
            self.entries.extend(write.entries.iter().cloned());
        }
        self.hard = write.hard_state;
    }

    /// Compares with what a start read from the disk. Returns the first difference.
    pub(super) fn difference(&self, boot: &Boot) -> Option<String> {
        if self.hard != boot.hard_state {
            return Some(format!("{:?} became {:?}", self.hard, boot.hard_state));
        }
        let snapshot = (boot.snapshot.index, boot.snapshot.term);
        if self.snapshot != snapshot {
            return Some(format!("the snapshot {:?} became {snapshot:?}", self.snapshot));
        }
        let last = boot.entries.last().map_or(snapshot.0, |entry| entry.index);
        if self.last().max(self.snapshot.0) != last {
            return Some(format!("the last entry {} became {last}", self.last()));
        }
        let changed = boot.entries.iter().find(|entry| self.get(entry.index) != Some(entry));
        changed.map(|entry| format!("entry {} has changed", entry.index))
    }
}
