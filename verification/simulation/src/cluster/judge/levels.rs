//! What the members' programs support, and the levels that the cluster uses.

use zraft_replica::Configuration;

use super::{ClusterJudge, rules::Rule};

impl ClusterJudge {
    /// A change of the configuration is committed. It may record new feature levels and bring new voters.
    pub(super) fn levels_after_change(&mut self, index: u64, before: &Configuration) {
        let after = self.configurations.newest();
        let (programs, verdict) = (&self.programs, &mut self.verdict);
        if before.members != after.members {
            let wrong = after.members.iter().find(|(id, info)| {
                programs.get(id).is_some_and(|program| info.feature_level > program.features)
            });
            verdict.demand(wrong.is_none(), Rule::LevelsKnown, || {
                format!("entry {index} records {wrong:?}, and the programs are {programs:?}")
            });
        }
        let level = self.ledger.settings().application_level;
        let old = after
            .voters
            .difference(&before.voters)
            .find(|id| programs.get(id).is_some_and(|program| program.application < level));
        verdict.demand(old.is_none(), Rule::LevelsKnown, || {
            format!("entry {index} lets {old:?} vote, which cannot apply level {level}")
        });
    }

    /// A committed entry raises the level of the application.
    pub(super) fn application_level_rises(&mut self, index: u64, level: u32) {
        let configuration = self.configurations.at(self.configurations.place_at(index));
        let programs = &self.programs;
        let old = configuration
            .members
            .keys()
            .find(|id| programs.get(id).is_some_and(|program| program.application < level));
        self.verdict.demand(old.is_none(), Rule::LevelsKnown, || {
            format!("entry {index} raises the application level to {level}, above that of {old:?}")
        });
    }
}
