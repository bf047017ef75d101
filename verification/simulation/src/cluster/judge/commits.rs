//! Which entries are committed: what a member claims must be on a majority of the disks.

use zraft_replica::{EntryKind, RaftId};

use super::{ClusterJudge, disk::DiskLog, rules::Rule};

impl ClusterJudge {
    /// A member says that everything up to an index is committed.
    pub(super) fn claim(&mut self, member: usize, index: u64) {
        if index <= self.log.committed() || self.members.get(member).is_some_and(|m| m.copied) {
            return;
        }
        // The leader commits by the configuration that it has; others follow.
        let leading = self.members.iter().filter(|state| state.standing.leads());
        let own = self.members.get(member).map(|state| state.place);
        let from = leading.map(|state| state.place).chain(own).min().unwrap_or(0);
        let disks = &self.disks;
        let term = self.log.terms_at(index).find(|term| {
            let holds = |id: RaftId| disks.get(&id).is_some_and(|disk| disk.holds(index, *term));
            self.configurations.is_quorum(from, holds)
        });
        let name = self.name(member);
        self.verdict.demand(term.is_some(), Rule::CommittedDurable, || {
            let held = |disk: &DiskLog| format!("{:?} up to {}", disk.term(index), disk.last());
            let disks = self.disks.iter().map(|(id, disk)| format!("{id}: {}", held(disk)));
            let disks: Vec<_> = disks.collect();
            format!("{name} calls entry {index} committed; the disks have it with term {disks:?}")
        });
        let Some(term) = term else { return };
        // It was committed in this term or before.
        let committed_in = self.members.get(member).map_or(term, |state| state.standing.term);
        let more = self.log.commit(index, term, committed_in);
        self.verdict.demand(more.is_some(), Rule::CommittedStays, || {
            format!(
                "{name} calls entry {index} of term {term} committed, which follows other entries"
            )
        });
        for entry in more.iter().flatten() {
            if entry.kind == EntryKind::Change && !entry.data.is_empty() {
                let before = self.configurations.newest().clone();
                self.configurations.commit(&mut self.verdict, entry);
                self.levels_after_change(entry.index, &before);
            }
        }
        for state in self.members.iter().filter(|state| state.standing.leads()) {
            // What it did not have when it was elected, its disk would lack now.
            if state.standing.term > committed_in
                && let Some(disk) = state.id.and_then(|id| self.disks.get(&id))
            {
                self.verdict.demand(disk.holds(index, term), Rule::LeaderComplete, || {
                    format!(
                        "the leader of term {} lacks entry {index} of term {term}",
                        state.standing.term
                    )
                });
            }
        }
    }

    /// A member leads in a term.
    pub(super) fn leads(&mut self, id: RaftId, term: u64) {
        let leader = *self.leaders.entry(term).or_insert(id);
        self.verdict.demand(leader == id, Rule::OneLeader, || {
            format!("Raft ids {leader} and {id} lead in term {term}")
        });
        // Old terms: a leader that was cut off speaks at most for some terms.
        while self.leaders.len() > 1024 {
            self.leaders.pop_first();
        }
    }

    /// A member begins to serve: it has applied everything that was committed before its term.
    pub(super) fn serves(&mut self, member: usize, term: u64) {
        let Some(id) = self.id(member) else { return };
        let (before, _) = self.log.last_committed_before(term);
        let removal = self.configurations.removal_of(id);
        self.verdict.demand(removal.is_none_or(|index| index > before), Rule::RemovedStays, || {
            format!("Raft id {id} serves in term {term}, and was removed by entry {removal:?}")
        });
    }

    /// A member was elected: its log has everything that is committed.
    pub(super) fn elected(&mut self, member: usize, term: u64) {
        let Some(id) = self.id(member) else { return };
        self.leads(id, term);
        // Votes can be late: later leaders may have committed more meanwhile.
        let (committed, of) = self.log.last_committed_before(term);
        let has = self.disks.get(&id).is_none_or(|disk| disk.holds(committed, of));
        self.verdict.demand(has, Rule::LeaderComplete, || {
            format!("Raft id {id} leads in term {term} without entry {committed}")
        });
        // It may lead before it knows that its removal is committed. Then it applies that before it serves.
        let own = self.configurations.at(self.members[member].place);
        self.verdict.demand(!own.removed.contains(&id), Rule::RemovedStays, || {
            format!("Raft id {id} leads in term {term} and follows its own removal")
        });
    }
}
