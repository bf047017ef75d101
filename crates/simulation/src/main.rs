//! `zraft-simulation`: run seeds, replay one, look at the museum of bugs.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::{process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};
use zraft_simulation::{Range, Violation, museum, planted, run_many, run_seed, scenario};

/// The client in virtual time, against a cluster that fails in every way
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs seeds on all cores, and tells what they came to
    Run(Run),
    /// Runs one seed and prints its history
    Replay {
        /// Which
        seed: u64,
        /// With this bug of the museum planted
        #[arg(long)]
        plant: Option<String>,
    },
    /// Overload, loss, outage, kill and hand-over: the figures
    Scenarios,
    /// Plants one bug after the other, and tells which invariant finds it, at which seed
    Museum {
        /// Only those with this in their name
        #[arg(default_value = "")]
        only: String,
        /// At most so many seeds for each
        #[arg(long, default_value_t = 1_000)]
        seeds: u64,
        /// Threads; all cores by default
        #[arg(long)]
        jobs: Option<usize>,
    },
}

#[derive(Debug, clap::Args)]
struct Run {
    /// The first seed
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// At least so many
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// And as many more as so many seconds hold
    #[arg(long, default_value_t = 0)]
    seconds: u64,
    /// Threads; all cores by default
    #[arg(long)]
    jobs: Option<usize>,
    /// Prints how often everything occurred
    #[arg(long)]
    table: bool,
}

fn main() -> ExitCode {
    // A panic is a violation, told with its seed.
    std::panic::set_hook(Box::new(|_| {}));
    let passed = match Arguments::parse().command {
        Command::Run(run) => seeds(&run),
        Command::Replay { seed, plant } => replay(seed, plant.as_deref()),
        Command::Scenarios => scenarios(),
        Command::Museum { only, seeds, jobs } => visit(&only, seeds, jobs.unwrap_or_else(cores)),
    };
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn seeds(run: &Run) -> bool {
    let report = run_many(Range {
        from: run.from,
        at_least: run.seeds,
        within: Duration::from_secs(run.seconds),
        at_most: u64::MAX,
        jobs: run.jobs.unwrap_or_else(cores),
    });
    if run.table {
        println!("{}", report.table());
    }
    println!("{}", report.summary());
    let failures = report.failures();
    for failure in &failures {
        eprintln!("{failure}");
    }
    failures.is_empty()
}

fn replay(seed: u64, plant: Option<&str>) -> bool {
    let run = || run_seed(seed, true);
    let outcome = match plant {
        Some(name) => planted(name, run),
        None => Some(run()),
    };
    let Some(outcome) = outcome else {
        eprintln!("the museum has no such bug; `zraft-simulation museum` lists them");
        return false;
    };
    for line in &outcome.lines {
        println!("{line}");
    }
    println!("seed {seed}, trace {:016x}", outcome.hash);
    outcome.violation.is_none()
}

fn scenarios() -> bool {
    let lasts = Duration::from_secs(300);
    let figures = || -> Result<(), Violation> {
        let load = scenario::overload(4, 1024, lasts)?;
        println!(
            "overload: {:.3} frames for each request, {:.1} answers a second, {} failed",
            load.frames as f64 / load.sent as f64,
            load.answered as f64 / lasts.as_secs_f64(),
            load.failed
        );
        let load = scenario::lost_at_once(1024)?;
        println!(
            "1,024 lost at once: {} answered within {:.1} s, {} frames, {} failed",
            load.answered,
            load.took.as_secs_f64(),
            load.frames,
            load.failed
        );
        let mut most = 0;
        for seed in 0..300 {
            most = most.max(scenario::outage(seed)?.into_iter().max().unwrap_or(0));
        }
        println!("outage: at most {most} attempts at a member in its first 10 s");
        for (name, run) in [
            ("kill", scenario::kill as fn(u64) -> Result<Duration, Violation>),
            ("hand-over", scenario::hand_over),
        ] {
            let mut times = (0..300).map(run).collect::<Result<Vec<_>, _>>()?;
            times.sort_unstable();
            println!(
                "{name}: commands flow after {:?} (p50), {:?} (p99), {:?} at most",
                times[150], times[297], times[299]
            );
        }
        Ok(())
    };
    match figures() {
        Ok(()) => true,
        Err(violation) => {
            eprintln!("“{}”: {}", violation.rule, violation.detail);
            false
        }
    }
}

fn visit(only: &str, seeds: u64, jobs: usize) -> bool {
    let started = std::time::Instant::now();
    let exhibits = museum(only, seeds, jobs);
    let mut found = 0;
    for exhibit in &exhibits {
        match &exhibit.found {
            Some((seed, violation)) => {
                found += 1;
                println!("{:<55} seed {seed:>3}: “{}”", exhibit.name, violation.rule);
            }
            None => println!("{:<55} NOT FOUND in {seeds} seeds", exhibit.name),
        }
    }
    let took = started.elapsed().as_secs_f64();
    println!("museum: {found} of {} bugs found, in {took:.1} s", exhibits.len());
    found == exhibits.len()
}
