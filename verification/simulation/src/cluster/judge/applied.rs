//! What state machines do with the committed log.

use zraft_replica::{Boot, EntryKind, LogEntry, SnapshotMeta, View};

use super::{Applied, At, ClusterJudge, ledger::State, rules::Rule};

/// Snapshots whose hashes are remembered.
const MOST_SNAPSHOTS: usize = 1024;

/// Returns true if an entry has no part in the state machine.
fn is_silent(entry: &LogEntry) -> bool {
    entry.data.is_empty() || entry.kind == EntryKind::Change
}

impl ClusterJudge {
    /// A state machine has applied one entry. The host gives the machine an Apply job entry by entry.
    pub(crate) fn applied(&mut self, at: At, member: usize, applied: Applied<'_>) {
        self.pass(at, member);
        let (name, index) = (self.name(member), applied.entry.index);
        self.claim(member, index);
        let known = self.log.get(index);
        self.verdict.demand(known == Some(applied.entry), Rule::AppliesCommitted, || {
            format!("{name} applied {:?}; committed is {known:?}", applied.entry)
        });
        self.come_to(member, index, true);
        let timeout = applied.view.settings.session_timeout();
        self.members[member].set_session_timeout(timeout);
        self.members[member].observe(applied.view.time);
        if index == self.ledger.index() + 1 {
            let before = self.ledger.settings().application_level;
            self.ledger.take(&mut self.verdict, at.now, applied);
            let level = self.ledger.settings().application_level;
            if level > before {
                self.application_level_rises(index, level);
            }
            return;
        }
        for run in applied.executed {
            let session = self.ledger.sessions.get(&run.session);
            let outcome = session.and_then(|session| session.outcomes.get(&run.request.get()));
            let same = outcome.is_some_and(|outcome| outcome.index == index);
            self.verdict.demand(same, Rule::RunsOnce, || {
                format!("{name} ran {run:?} at entry {index}; it belongs to {outcome:?}")
            });
        }
        self.compare_state(member, applied.view);
    }

    /// A state machine has done an Apply job: its view now says how far it is.
    pub(crate) fn reached(&mut self, at: At, member: usize, view: &View) {
        self.pass(at, member);
        self.claim(member, view.applied);
        self.come_to(member, view.applied, false);
        self.members[member].observe(view.time);
        self.compare_state(member, view);
    }

    /// A state machine was replaced by a snapshot.
    pub(crate) fn restored(&mut self, at: At, member: usize, meta: &SnapshotMeta, view: &View) {
        self.pass(at, member);
        self.claim(member, meta.index);
        let name = self.name(member);
        let state = &mut self.members[member];
        let (from, to) = (state.applied, view.applied);
        self.verdict.demand(to == meta.index && to >= from, Rule::AppliesCommitted, || {
            format!("{name} was at {from} and is at {to} after the snapshot at {}", meta.index)
        });
        state.applied = to;
        state.set_session_timeout(view.settings.session_timeout());
        state.observe(view.time);
        self.compare_state(member, view);
    }

    /// A member has written a snapshot's file, or has received and verified it.
    pub(crate) fn snapshot(&mut self, at: At, member: usize, index: u64, hash: [u8; 16]) {
        self.pass(at, member);
        let name = self.name(member);
        if let Some(state) = self.members.get_mut(member) {
            state.snapshot = state.snapshot.max(index);
            // If the leader sent it, the member believes in that leader once more.
            state.alone_since = at.clock;
        }
        let known = *self.snapshots.entry(index).or_insert(hash);
        self.verdict.demand(known == hash, Rule::StatesEqual, || {
            format!("{name} has another snapshot at {index} than the first member")
        });
        if self.snapshots.len() > MOST_SNAPSHOTS {
            self.snapshots.pop_first();
        }
    }

    /// A member's state machine goes on to an index. Everything between has no part in it; so has the entry at the index,
    /// unless it `applies` that.
    fn come_to(&mut self, member: usize, index: u64, applies: bool) {
        let name = self.name(member);
        let state = &mut self.members[member];
        let from = std::mem::replace(&mut state.applied, index);
        let end = if applies { index.saturating_sub(1) } else { index };
        self.verdict.demand(from <= end, Rule::AppliesCommitted, || {
            format!("{name} applied {index} after {from}")
        });
        let log = &self.log;
        let skipped = (from + 1..=end).find(|index| log.get(*index).is_some_and(|e| !is_silent(e)));
        self.verdict.demand(skipped.is_none(), Rule::AppliesCommitted, || {
            format!("{name} went from {from} to {index} without entry {skipped:?}")
        });
        while self.ledger.index() < end
            && self.log.get(self.ledger.index() + 1).is_some_and(is_silent)
        {
            self.ledger.pass_over();
        }
    }

    /// Compares a member's state with that of the first member at the same index.
    pub(super) fn compare_state(&mut self, member: usize, view: &View) {
        let (name, index) = (self.name(member), view.applied);
        let own = State::of(view);
        let first = self.ledger.state(index);
        // A member that waits to be added has no state.
        let known = first.is_some() || index < Boot::FIRST_SNAPSHOT;
        let same = first.is_none_or(|first| *first == own);
        self.verdict.demand(known && same, Rule::StatesEqual, || {
            format!("{name} has {own:?} after entry {index}; the first member had {first:?}")
        });
    }
}
