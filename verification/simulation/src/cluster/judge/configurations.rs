//! The configurations of the cluster, as its committed changes say.

use std::collections::BTreeSet;

use zraft_replica::{Change, ChangeStep, Configuration, LogEntry, RaftId};

use super::{
    ClusterJudge,
    rules::{Rule, Verdict},
};

#[derive(Debug)]
pub(super) struct Configurations {
    /// Each with the index of its change. A run changes its members a few dozen times.
    list: Vec<(u64, Configuration)>,
}

impl Configurations {
    pub(super) fn new(index: u64, first: Configuration) -> Self {
        Self { list: vec![(index, first)] }
    }

    /// Takes a committed change.
    pub(super) fn commit(&mut self, verdict: &mut Verdict, entry: &LogEntry) {
        let Ok(change) = Change::decode(&entry.data.to_bytes()) else {
            verdict.demand(false, Rule::ConfigurationFollows, || {
                format!("entry {} is not a change", entry.index)
            });
            return;
        };
        let before = self.newest();
        let after = before.after(&change);
        verdict.demand(meet(before, &after), Rule::QuorumsMeet, || {
            format!("entry {}: {before:?} became {after:?}", entry.index)
        });
        let reused = after.members.keys().find(|id| before.removed.contains(id));
        verdict.demand(reused.is_none(), Rule::RemovedStays, || {
            format!("entry {} adds {reused:?}, which was removed", entry.index)
        });
        let forgotten = before.removed.iter().find(|id| !after.removed.contains(id));
        verdict.demand(forgotten.is_none(), Rule::RemovedStays, || {
            format!("entry {} forgets that {forgotten:?} was removed", entry.index)
        });
        if before.members != after.members {
            let levels = (before.feature_level(), after.feature_level());
            verdict.demand(levels.0 <= levels.1, Rule::LevelsRise, || {
                format!(
                    "entry {} lowers the feature level from {} to {}",
                    entry.index, levels.0, levels.1
                )
            });
        }
        self.list.push((entry.index, after));
    }

    pub(super) fn newest(&self) -> &Configuration {
        // The first one is never taken out.
        &self.list[self.list.len() - 1].1
    }

    /// Returns the configuration at this place, or the newest.
    pub(super) fn at(&self, place: usize) -> &Configuration {
        self.list.get(place).map_or_else(|| self.newest(), |(_, configuration)| configuration)
    }

    /// Returns the place of a configuration, the one at `from` or a later one, and the index of its change.
    pub(super) fn find(&self, from: usize, configuration: &Configuration) -> Option<(usize, u64)> {
        let later = self.list.iter().enumerate().skip(from);
        let mut found = later.filter(|(_, (_, each))| each == configuration);
        found.next().map(|(place, (index, _))| (place, *index))
    }

    /// Returns the index of the change that removed this id.
    pub(super) fn removal_of(&self, id: RaftId) -> Option<u64> {
        let removed = self.list.iter().find(|(_, each)| each.removed.contains(&id));
        removed.map(|(index, _)| *index)
    }

    /// Returns the place of the configuration at this index of the log.
    pub(super) fn place_at(&self, index: u64) -> usize {
        self.list.partition_point(|(change, _)| *change <= index).saturating_sub(1)
    }

    /// Returns true if these members are a quorum of one of the configurations from a place on.
    pub(super) fn is_quorum(&self, from: usize, holds: impl Fn(RaftId) -> bool) -> bool {
        self.list.iter().skip(from).any(|(_, each)| each.is_quorum(&holds))
    }
}

impl ClusterJudge {
    /// A leader proposes a change. One that takes its own vote would leave it in charge of a cluster that it is not of.
    pub(super) fn proposes_change(&mut self, member: usize, entry: &LogEntry) {
        let Some(id) = self.id(member) else { return };
        // One that cannot be read is noticed when it is committed.
        let Ok(change) = Change::decode(&entry.data.to_bytes()) else { return };
        let current = self.configurations.at(self.members[member].place);
        let takes = match &change {
            // The only voter has no one to hand over to before a joint change. It does so before that is left.
            Change::Steps(steps) => {
                let last = current.voters.len() == 1 && steps.len() > 1;
                let own = |step: &ChangeStep| matches!(step, ChangeStep::Remove(old) if *old == id);
                !last && steps.iter().any(own)
            }
            Change::Leave => !current.voters.contains(&id),
        };
        self.verdict.demand(!takes, Rule::HandsOverFirst, || {
            format!("Raft id {id} proposes {change:?} and has {current:?}")
        });
    }
}

/// Returns true if every quorum of one configuration has a member in common with every quorum of the next.
fn meet(before: &Configuration, after: &Configuration) -> bool {
    let changed = |old: &BTreeSet<RaftId>, new| old.symmetric_difference(new).count();
    let overlaps = match (before.is_joint(), after.is_joint()) {
        // Majorities of sets that differ in one member overlap.
        (false, false) => changed(&before.voters, &after.voters) <= 1,
        (false, true) => after.outgoing == before.voters,
        (true, false) => after.voters == before.voters,
        (true, true) => after.voters == before.voters && after.outgoing == before.outgoing,
    };
    overlaps && !after.voters.is_empty()
}
