//! What many runs came to, for a person to read, and what of it fails.

use std::fmt::Write;

use crate::{
    coverage::Key,
    expected::{expected, may_be_rare, rules},
    run::Report,
    world::{fault::Fault, system::SystemKind},
};

/// What occurs in fewer than one run in this many is rare.
const OFTEN: u64 = 100;
/// Fewer runs than this cannot tell what is rare.
const ENOUGH: u64 = 1_000;
/// In this many runs every rule of the judge must have had something to judge, also a rare one. The gate runs as many.
const ENOUGH_FOR_RULES: u64 = 3_000;

impl Report {
    /// What makes it a failure, in words; empty when all is well.
    pub fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        for (seed, at, violation) in &self.violations {
            failures.push(format!(
                "seed {seed}, after {:.3} s: “{}”: {}\n  see it: zraft-simulation replay {seed}{}",
                at.as_secs_f64(),
                violation.rule,
                violation.detail,
                match self.system {
                    SystemKind::Live => "",
                    SystemKind::Replicated => " --system replicated",
                },
            ));
        }
        for seed in &self.differing {
            failures.push(format!("seed {seed} went another way the second time"));
        }
        let half = self.sums.with_two_leader_changes * 2 >= self.runs;
        if !half && self.runs >= ENOUGH {
            failures.push("fewer than half of the runs had two leader changes".to_owned());
        }
        if self.runs >= ENOUGH && self.violations.is_empty() {
            for key in self.too_rare() {
                failures.push(format!("{} occurs in under 1 % of the runs", words(key)));
            }
        }
        if self.runs >= ENOUGH_FOR_RULES && self.violations.is_empty() {
            for (_, rule, _) in rules(self.system).filter(|key| self.runs_with(key).0 == 0) {
                failures.push(format!("the rule “{rule}” never had anything to judge"));
            }
        }
        failures
    }

    fn runs_with(&self, key: &Key) -> (u64, u64) {
        self.coverage.get(key).copied().unwrap_or_default()
    }

    /// What should occur often, and does not.
    fn too_rare(&self) -> Vec<Key> {
        let expected = expected(self.system);
        let rare =
            |key: &Key| self.runs_with(key).0 * OFTEN < self.runs && !may_be_rare(self.system, key);
        let faults = Fault::of(self.system).map(|(_, name)| ("fault", name, ""));
        let mut keys: Vec<Key> =
            expected.iter().copied().chain(faults).chain(rules(self.system)).filter(rare).collect();
        keys.extend(self.coverage.keys().filter(|key| !expected.contains(key) && rare(key)));
        // A rule is expected, and counted where it was checked.
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    fn per_run(&self, sum: u64) -> f64 {
        sum as f64 / self.runs.max(1) as f64
    }

    /// What the runs came to, and what the members of the replicated system did in them.
    pub fn summary(&self) -> String {
        match self.system {
            SystemKind::Live => self.clients_summary(),
            SystemKind::Replicated => {
                format!("{}\n{}", self.clients_summary(), self.members_summary())
            }
        }
    }

    fn members_summary(&self) -> String {
        let facts = &self.sums.cluster;
        let per_run = |sum| self.per_run(sum);
        format!(
            "members: a run has {:.1} leaderships, {:.1} starts, {:.1} membership changes, {:.1} snapshots taken and {:.1} \
             restored, {:.0} entries for {:.0} executed commands, {:.0} writes, {:.0} frames between members; settled after \
             {:.1} s on average",
            per_run(facts.leaderships),
            per_run(facts.starts),
            per_run(facts.membership_changes),
            per_run(facts.snapshots_taken),
            per_run(facts.snapshots_restored),
            per_run(facts.entries),
            per_run(facts.executed),
            per_run(facts.writes),
            per_run(facts.frames),
            self.sums.heal_time.as_secs_f64() / self.runs.max(1) as f64,
        )
    }

    fn clients_summary(&self) -> String {
        let sums = &self.sums;
        let per_run = |sum| self.per_run(sum);
        format!(
            "{} seeds in {:.1} s: {} violations; a run has {:.0} commands, {:.0} queries, {:.0} server requests, {:.1} faults, \
             {:.1} leader changes (two or more in {:.0} %), {:.0} frames sent, {:.0} s; settled within {:.1} s",
            self.runs,
            self.took.as_secs_f64(),
            self.violations.len(),
            per_run(sums.commands),
            per_run(sums.queries),
            per_run(sums.notices),
            per_run(sums.faults),
            per_run(sums.leader_changes),
            per_run(sums.with_two_leader_changes) * 100.0,
            per_run(sums.frames),
            sums.virtual_time.as_secs_f64() / self.runs.max(1) as f64,
            sums.longest_heal.as_secs_f64(),
        )
    }

    /// How often everything occurred.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "{:>8} {:>7} {:>10}  what", "runs", "%", "times");
        let mut keys: Vec<Key> = self.coverage.keys().copied().collect();
        keys.extend(expected(self.system).iter().filter(|key| !self.coverage.contains_key(key)));
        keys.sort_unstable();
        for key in keys {
            let (runs, count) = self.runs_with(&key);
            let share = runs as f64 * 100.0 / self.runs.max(1) as f64;
            let rare = if may_be_rare(self.system, &key) { "  (rare)" } else { "" };
            let _ = writeln!(text, "{runs:>8} {share:>7.2} {count:>10}  {}{rare}", words(key));
        }
        text
    }
}

fn words((group, what, where_): Key) -> String {
    if where_.is_empty() {
        format!("{group}: {what}")
    } else {
        format!("{group}: {what}, {where_}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A report of many runs in which everything that must occur has occurred in each run.
    fn full(runs: u64) -> Report {
        let system = SystemKind::Replicated;
        let mut report = Report { system, runs, ..Report::default() };
        report.sums.with_two_leader_changes = runs;
        let faults = Fault::of(system).map(|(_, name)| ("fault", name, ""));
        for key in expected(system).iter().copied().chain(faults).chain(rules(system)) {
            report.coverage.insert(key, (runs, runs));
        }
        report
    }

    #[test]
    fn a_rule_that_never_had_anything_to_judge_fails_the_run_although_it_may_be_rare() {
        assert_eq!(full(ENOUGH_FOR_RULES).failures(), Vec::<String>::new());
        let system = SystemKind::Replicated;
        assert!(rules(system).count() > 40);
        assert!(rules(system).any(|key| may_be_rare(system, &key)), "some rule is rare");
        for key in rules(system) {
            let mut report = full(ENOUGH_FOR_RULES);
            report.coverage.remove(&key);
            let failures = report.failures();
            assert!(failures.iter().any(|why| why.contains(key.1)), "{key:?}: {failures:?}");
        }
    }

    #[test]
    fn a_rule_that_is_rare_but_not_listed_as_rare_fails_the_run() {
        let system = SystemKind::Replicated;
        for key in rules(system).filter(|key| !may_be_rare(system, key)) {
            let mut report = full(ENOUGH);
            report.coverage.insert(key, (1, 1));
            assert_eq!(report.failures().len(), 1, "{key:?}");
        }
    }
}
