//! What a member's disk holds. A write is on it as a whole or not at all, which the tests of the store prove of the real one.

use zraft_replica::{Boot, HardState, LogEntry, Write};

/// A disk in memory. The models take no snapshots, so the log begins where the cluster began.
#[derive(Clone, Debug)]
pub(crate) struct Disk(Boot);

impl Disk {
    pub(crate) fn new(boot: Boot) -> Self {
        Self(boot)
    }

    /// Makes a write durable.
    pub(crate) fn commit(&mut self, write: &Write) {
        if let Some(first) = write.entries.first() {
            self.0.entries.retain(|entry| entry.index < first.index);
            self.0.entries.extend(write.entries.iter().cloned());
        }
        self.0.hard_state = write.hard_state;
    }

    pub(crate) fn boot(&self) -> &Boot {
        &self.0
    }

    pub(crate) fn entries(&self) -> &[LogEntry] {
        &self.0.entries
    }

    pub(crate) fn hard_state(&self) -> HardState {
        self.0.hard_state
    }

    /// Forgets the vote of the last term, as a member does that stores no votes.
    pub(crate) fn forget_vote(&mut self) {
        self.0.hard_state.vote = None;
    }
}
