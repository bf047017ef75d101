//! The museum of bugs: each bug is planted in the client's machine or in the members, and an invariant must find it.
#![allow(clippy::print_stdout)]

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use crate::{SystemKind, judge::Violation, run::run_seed};

/// Which bugs to look for, and how long.
#[derive(Debug, Clone, Copy)]
pub struct Visit<'a> {
    /// The system behind the clients.
    pub system: SystemKind,
    /// The bugs, by their numbers and names, with the first seed to run for each.
    pub bugs: &'a [(usize, &'a str, u64)],
    /// The most seeds to run for each bug.
    pub seeds: u64,
    /// How many threads run seeds.
    pub jobs: usize,
}

/// Plants one bug after the other and prints what finds each. Returns true if every bug is found. `plant` plants a bug in the machines
/// of its thread.
pub fn visit(request: &Visit<'_>, plant: fn(Option<usize>)) -> bool {
    let started = std::time::Instant::now();
    let next = AtomicUsize::new(0);
    let found = Mutex::new(0);
    std::thread::scope(|scope| {
        for _ in 0..request.jobs.max(1) {
            scope.spawn(|| {
                while let Some((bug, name, from)) =
                    request.bugs.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    let first = seek(request, *from, || plant(Some(*bug)), || plant(None));
                    match first {
                        Some((seed, violation)) => {
                            println!("{name:<30} seed {seed:>3}: “{}”", violation.rule);
                            *found.lock().unwrap_or_else(std::sync::PoisonError::into_inner) += 1;
                        }
                        None => println!("{name:<30} NOT FOUND in {} seeds", request.seeds),
                    }
                }
            });
        }
    });
    let found = found.into_inner().unwrap_or_default();
    let (bugs, took) = (request.bugs.len(), started.elapsed().as_secs_f64());
    println!("museum: {found} of {bugs} bugs found, in {took:.1} s");
    found == bugs
}

/// The first seed that finds the planted bug and that passes without it.
///
/// A panic within the client's machine would be an assertion beside the bug, and does not count. A panic within a member counts: the
/// Raft engine panics where its rules are left out, and that ends the process.
fn seek(
    request: &Visit<'_>,
    from: u64,
    plant: impl Fn(),
    clear: impl Fn(),
) -> Option<(u64, Violation)> {
    (from..from.saturating_add(request.seeds)).find_map(|seed| {
        plant();
        let violation = run_seed(request.system, seed, false).violation;
        clear();
        let counts = |found: &Violation| {
            request.system == SystemKind::Replicated || found.rule != "nothing panics"
        };
        let (_, violation) = violation.filter(|(_, found)| counts(found))?;
        run_seed(request.system, seed, false).violation.is_none().then_some((seed, violation))
    })
}

/// Runs one seed and prints its history. Returns true if every promise was kept.
pub fn replay(system: SystemKind, seed: u64) -> bool {
    let outcome = run_seed(system, seed, true);
    for line in &outcome.lines {
        println!("{line}");
    }
    println!("seed {seed}, trace {:016x}", outcome.hash);
    outcome.violation.is_none()
}
