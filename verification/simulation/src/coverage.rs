//! What occurred in a run, counted.

use std::collections::BTreeMap;

use zraft_core::StateName;

/// A group, what in it, and in which state or under which name.
pub(crate) type Key = (&'static str, &'static str, &'static str);

/// Counts of one run.
#[derive(Debug, Default, Clone)]
pub(crate) struct Coverage {
    pub(crate) counts: BTreeMap<Key, u64>,
}

impl Coverage {
    fn add(&mut self, key: Key) {
        *self.counts.entry(key).or_default() += 1;
    }

    /// A cell of the state table.
    pub(crate) fn cell(&mut self, event: &'static str, state: StateName) {
        self.add(("cell", event, state.name()));
    }

    pub(crate) fn fault(&mut self, fault: &'static str) {
        self.add(("fault", fault, ""));
    }

    pub(crate) fn count(&mut self, group: &'static str, what: &'static str) {
        self.add((group, what, ""));
    }

    pub(crate) fn add_times(&mut self, group: &'static str, what: &'static str, times: u64) {
        *self.counts.entry((group, what, "")).or_default() += times;
    }

    pub(crate) fn outcome(&mut self, kind: &'static str, how: &'static str, unknown: bool) {
        self.add((kind, how, if unknown { "outcome unknown" } else { "" }));
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (key, count) in &other.counts {
            *self.counts.entry(*key).or_default() += count;
        }
    }
}
