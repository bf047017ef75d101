//! Runs of seeds: one, or many on all cores.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    cluster,
    coverage::{Coverage, Key},
    judge::Violation,
    world::{
        plan::Plan,
        sim::{Outcome, Sim},
        system::SystemKind,
    },
};

/// Runs one seed against a system. With `words`, the outcome has the history in text.
pub fn run_seed(system: SystemKind, seed: u64, words: bool) -> Outcome {
    let mut sim = Sim::new(Plan::draw(system, seed), words);
    let ran = catch_unwind(AssertUnwindSafe(|| {
        sim.schedule();
        sim.run();
    }));
    if let Err(panic) = ran {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let detail = text.unwrap_or_else(|| "a panic without words".to_owned());
        sim.violation = Some(Violation { rule: "nothing panics", detail });
    }
    sim.into_outcome()
}

/// How many seeds to run, and on how many cores.
#[derive(Debug, Clone, Copy)]
pub struct Range {
    /// The system behind the clients.
    pub system: SystemKind,
    /// The first seed.
    pub from: u64,
    /// Run at least this many seeds.
    pub at_least: u64,
    /// Run more seeds until this time has passed.
    pub within: Duration,
    /// Run at most this many seeds.
    pub at_most: u64,
    /// How many threads run seeds.
    pub jobs: usize,
}

/// What many runs came to.
#[derive(Debug, Default)]
pub struct Report {
    /// The system behind the clients.
    pub system: SystemKind,
    /// How many seeds ran.
    pub runs: u64,
    /// How long they took, in real time.
    pub took: Duration,
    /// Those that broke a promise, the lowest seeds first: seed, when, what.
    pub violations: Vec<(u64, Duration, Violation)>,
    /// Seeds whose second run went another way.
    pub differing: Vec<u64>,
    /// Runs in which it occurred, and how often in all.
    pub(crate) coverage: BTreeMap<Key, (u64, u64)>,
    pub(crate) sums: Sums,
}

/// Sums over all runs, and the largest of any.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Sums {
    pub(crate) commands: u64,
    pub(crate) queries: u64,
    pub(crate) notices: u64,
    pub(crate) faults: u64,
    pub(crate) leader_changes: u64,
    pub(crate) with_two_leader_changes: u64,
    pub(crate) by_members: [u64; 6],
    pub(crate) frames: u64,
    pub(crate) virtual_time: Duration,
    pub(crate) longest_heal: Duration,
    pub(crate) most_heal_frames: u64,
    pub(crate) heal_time: Duration,
    pub(crate) cluster: cluster::Facts,
}

/// One seed in this many runs twice, and its traces are compared. That costs 2 % of the time.
const AGAIN: u64 = 50;

/// Runs many seeds. After the first violation, only the runs under way are finished.
pub fn run_many(range: Range) -> Report {
    let started = Instant::now();
    let next = AtomicU64::new(range.from);
    let stop = AtomicBool::new(false);
    let empty = || Report { system: range.system, ..Report::default() };
    let report = Mutex::new(empty());
    std::thread::scope(|scope| {
        for _ in 0..range.jobs.max(1) {
            scope.spawn(|| {
                let mut own = empty();
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let number = seed - range.from;
                    let enough = number >= range.at_least && started.elapsed() >= range.within;
                    if enough || number >= range.at_most {
                        break;
                    }
                    let outcome = run_seed(range.system, seed, false);
                    if seed.is_multiple_of(AGAIN)
                        && run_seed(range.system, seed, false).hash != outcome.hash
                    {
                        own.differing.push(seed);
                        stop.store(true, Ordering::Relaxed);
                    }
                    if outcome.violation.is_some() {
                        stop.store(true, Ordering::Relaxed);
                    }
                    own.add(outcome);
                }
                if let Ok(mut report) = report.lock() {
                    report.merge(own);
                }
            });
        }
    });
    let mut report = report.into_inner().unwrap_or_default();
    report.took = started.elapsed();
    report.violations.sort_by_key(|(seed, ..)| *seed);
    report
}

impl Report {
    fn add(&mut self, outcome: Outcome) {
        self.runs += 1;
        let Coverage { counts } = &outcome.coverage;
        for (key, count) in counts {
            let entry = self.coverage.entry(*key).or_default();
            entry.0 += 1;
            entry.1 += count;
        }
        let (facts, sums) = (&outcome.facts, &mut self.sums);
        sums.commands += facts.commands;
        sums.queries += facts.queries;
        sums.notices += facts.notices;
        sums.faults += facts.faults;
        sums.leader_changes += facts.leader_changes;
        sums.with_two_leader_changes += u64::from(facts.leader_changes >= 2);
        sums.by_members[facts.members as usize % 6] += 1;
        sums.frames += facts.frames;
        sums.virtual_time += facts.virtual_time;
        sums.longest_heal = sums.longest_heal.max(facts.heal_time);
        sums.most_heal_frames = sums.most_heal_frames.max(facts.heal_frames);
        sums.heal_time += facts.heal_time;
        sums.cluster.add(&facts.cluster);
        if let Some((at, violation)) = outcome.violation {
            self.violations.push((outcome.seed, at, violation));
        }
    }

    fn merge(&mut self, other: Self) {
        self.runs += other.runs;
        self.violations.extend(other.violations);
        self.differing.extend(other.differing);
        for (key, (runs, count)) in other.coverage {
            let entry = self.coverage.entry(key).or_default();
            entry.0 += runs;
            entry.1 += count;
        }
        let (sums, more) = (&mut self.sums, other.sums);
        sums.commands += more.commands;
        sums.queries += more.queries;
        sums.notices += more.notices;
        sums.faults += more.faults;
        sums.leader_changes += more.leader_changes;
        sums.with_two_leader_changes += more.with_two_leader_changes;
        for (sum, more) in sums.by_members.iter_mut().zip(more.by_members) {
            *sum += more;
        }
        sums.frames += more.frames;
        sums.virtual_time += more.virtual_time;
        sums.longest_heal = sums.longest_heal.max(more.longest_heal);
        sums.most_heal_frames = sums.most_heal_frames.max(more.most_heal_frames);
        sums.heal_time += more.heal_time;
        sums.cluster.add(&more.cluster);
    }
}
