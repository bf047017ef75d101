//! What many runs came to, for a person to read, and what of it fails.

use std::fmt::Write;

use crate::{
    coverage::Key,
    expected::{EXPECTED, RARE},
    run::Report,
    world::fault::Fault,
};

/// What occurs in fewer than one run in this many is rare.
const OFTEN: u64 = 100;
/// Fewer runs than this cannot tell what is rare.
const ENOUGH: u64 = 1_000;

impl Report {
    /// What makes it a failure, in words; empty when all is well.
    pub fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        for (seed, at, violation) in &self.violations {
            failures.push(format!(
                "seed {seed}, after {:.3} s: “{}”: {}\n  see it: zraft-simulation replay {seed}",
                at.as_secs_f64(),
                violation.rule,
                violation.detail
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
        failures
    }

    fn runs_with(&self, key: &Key) -> (u64, u64) {
        self.coverage.get(key).copied().unwrap_or_default()
    }

    /// What should occur often, and does not.
    fn too_rare(&self) -> Vec<Key> {
        let rare = |key: &Key| self.runs_with(key).0 * OFTEN < self.runs && !RARE.contains(key);
        let faults = Fault::ALL.iter().map(|(_, name)| ("fault", *name, ""));
        let mut keys: Vec<Key> = EXPECTED.iter().copied().chain(faults).filter(rare).collect();
        keys.extend(self.coverage.keys().filter(|key| !EXPECTED.contains(key) && rare(key)));
        keys
    }

    /// One line.
    pub fn summary(&self) -> String {
        let sums = &self.sums;
        let per_run = |sum: u64| sum as f64 / self.runs.max(1) as f64;
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
        keys.extend(EXPECTED.iter().filter(|key| !self.coverage.contains_key(key)));
        keys.sort_unstable();
        for key in keys {
            let (runs, count) = self.runs_with(&key);
            let share = runs as f64 * 100.0 / self.runs.max(1) as f64;
            let rare = if RARE.contains(&key) { "  (rare)" } else { "" };
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
