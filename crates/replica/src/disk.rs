//! A disk in memory, for tests: it keeps what a store must keep, and checks that writes are possible.

use crate::{Boot, LogEntry, Write};

#[derive(Clone, Debug)]
pub(crate) struct Disk(Boot);

impl Disk {
    pub(crate) fn new(boot: Boot) -> Self {
        Self(boot)
    }

    /// Does a write as one transaction.
    pub(crate) fn commit(&mut self, write: &Write) {
        let boot = &mut self.0;
        if let Some(snapshot) = &write.install {
            boot.first_index = snapshot.index + 1;
            boot.terms = vec![(snapshot.index, snapshot.term)];
            boot.entries.clear();
            boot.snapshot = snapshot.clone();
        }
        let mut all = self.all_entries();
        let boot = &mut self.0;
        if let Some(snapshot) = &write.record {
            boot.snapshot = snapshot.clone();
        }
        if let Some(first) = write.first_index {
            let term = self.term(first - 1);
            self.0.first_index = first;
            self.0.terms = vec![(first - 1, term)];
            all.retain(|entry| entry.index >= first);
        }
        if let Some(first) = write.entries.first() {
            all.retain(|entry| entry.index < first.index);
            let last = all.last().map_or(self.0.first_index - 1, |entry| entry.index);
            assert_eq!(first.index, last + 1, "a write leaves a gap in the log");
            all.extend(write.entries.iter().cloned());
        }
        self.0.hard_state = write.hard_state;
        self.0.entries = all;
        if let Some(snapshot) = write.install.as_ref().or(write.record.as_ref()) {
            assert!(write.hard_state.commit >= snapshot.index, "a snapshot is above the commit");
        }
    }

    /// All entries from the first index on, those of the snapshot included.
    fn all_entries(&self) -> Vec<LogEntry> {
        self.0.entries.clone()
    }

    fn term(&self, index: u64) -> u64 {
        let entry = self.0.entries.iter().find(|entry| entry.index == index);
        entry.map_or(self.0.terms[0].1, |entry| entry.term)
    }

    /// What a store reads when the member starts.
    pub(crate) fn boot(&self) -> Boot {
        let mut boot = self.0.clone();
        let mut terms = vec![(boot.first_index - 1, self.term(boot.first_index - 1))];
        for entry in boot.entries.iter().filter(|entry| entry.index <= boot.snapshot.index) {
            if terms.last().is_some_and(|(_, term)| *term != entry.term) {
                terms.push((entry.index, entry.term));
            }
        }
        boot.terms = terms;
        boot.entries.retain(|entry| entry.index > boot.snapshot.index);
        boot
    }

    /// Reads entries back for a lagging member.
    pub(crate) fn read(&self, low: u64, high: u64) -> Vec<LogEntry> {
        let wanted = self.0.entries.iter().filter(|entry| (low..high).contains(&entry.index));
        wanted.cloned().collect()
    }

    pub(crate) fn commit_index(&self) -> u64 {
        self.0.hard_state.commit
    }
}
