//! `zraft-simulation`: run seeds, replay one, look at the museum of bugs.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::{process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};
use zraft_simulation::{Range, run_many, run_seed};

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
        Command::Replay { seed } => replay(seed),
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

fn replay(seed: u64) -> bool {
    let outcome = run_seed(seed, true);
    for line in &outcome.lines {
        println!("{line}");
    }
    println!("seed {seed}, trace {:016x}", outcome.hash);
    outcome.violation.is_none()
}
