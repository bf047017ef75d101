//! `zraft-simulation`: run seeds, replay one, look at the museum of bugs.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::{
    process::{self, ExitCode},
    time::Duration,
};

use clap::{Parser, Subcommand};
use zraft_simulation::{
    Range, SystemKind, Violation,
    plants::{patches, root, write_planted_copy},
    replay, run_many,
    scenario::{self, Others},
};

/// Runs the client in virtual time against a cluster with faults
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs seeds on all cores and reports what they found
    Run(Run),
    /// Runs one seed and prints its history
    Replay {
        /// The system behind the clients
        #[arg(long, value_enum, default_value_t)]
        system: System,
        /// The seed to run
        seed: u64,
        /// With this bug planted: the name of a file in verification/simulation/plants
        #[arg(long)]
        plant: Option<String>,
    },
    /// Measures overload, loss, outages, lost leaders, connect() and lost sessions
    Scenarios,
    /// Plants each bug in a copy of the sources, and reports which invariant finds it at which seed
    Museum {
        /// Only bugs with this text in their name or description
        #[arg(default_value = "")]
        only: String,
        /// The most seeds to run for each bug
        #[arg(long, default_value_t = 1_000)]
        seeds: u64,
        /// Threads; all cores by default
        #[arg(long)]
        jobs: Option<usize>,
    },
}

/// The system behind the clients
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum System {
    /// The model of the live Scala system
    #[default]
    Live,
    /// The replicated server of this repository
    Replicated,
}

impl From<System> for SystemKind {
    fn from(system: System) -> Self {
        match system {
            System::Live => Self::Live,
            System::Replicated => Self::Replicated,
        }
    }
}

#[derive(Debug, clap::Args)]
struct Run {
    /// The system behind the clients
    #[arg(long, value_enum, default_value_t)]
    system: System,
    /// The first seed
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Runs at least this many seeds
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// Runs more seeds until this many seconds have passed
    #[arg(long, default_value_t = 0)]
    seconds: u64,
    /// Threads; all cores by default
    #[arg(long)]
    jobs: Option<usize>,
    /// Prints how often each event occurred
    #[arg(long)]
    table: bool,
}

fn main() -> ExitCode {
    // A panic is a violation and is reported with its seed.
    std::panic::set_hook(Box::new(|_| {}));
    let passed = match Arguments::parse().command {
        Command::Run(run) => seeds(&run),
        Command::Replay { system, seed, plant: None } => replay(system.into(), seed),
        Command::Replay { seed, plant: Some(name), .. } => {
            on_planted_copy(&["replay", &seed.to_string(), &name])
        }
        Command::Scenarios => scenarios(),
        Command::Museum { only, seeds, jobs } => museum(&only, seeds, jobs.unwrap_or_else(cores)),
    };
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn seeds(run: &Run) -> bool {
    let report = run_many(Range {
        system: run.system.into(),
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
        let most = (0..300).map(scenario::freeze).collect::<Result<Vec<_>, _>>()?;
        let most = most.into_iter().max().unwrap_or_default();
        println!("freeze: at most {most:?} more than 1 s, or than the election if that is longer");
        for (name, others) in [
            ("no fault", Others::Well),
            ("one silent, one refusing member", Others::SilentAndRefusing),
            ("all others dead", Others::Dead),
        ] {
            let run = |seed| scenario::connect(seed, others);
            let times = (0..300).map(run).collect::<Result<Vec<_>, _>>()?;
            let most =
                |place: usize| times.iter().map(|each| each[place]).max().unwrap_or_default();
            println!("{name}: connected within {:?}, resumed within {:?}", most(0), most(1));
        }
        for (name, run) in [
            ("cut off", scenario::cut_off as fn(u64) -> Result<Duration, Violation>),
            ("discovery", scenario::discovery),
        ] {
            let mut times = (0..300).map(run).collect::<Result<Vec<_>, _>>()?;
            times.sort_unstable();
            println!(
                "{name}: the session goes on after {:?} (p50), {:?} at most",
                times[150], times[299]
            );
        }
        let lost = (0..300).map(scenario::lost_session).collect::<Result<Vec<_>, _>>()?;
        println!(
            "lost session: believed after {:?} at most, with {} messages at most",
            lost.iter().map(|lost| lost.took).max().unwrap_or_default(),
            lost.iter().map(|lost| lost.messages).max().unwrap_or_default()
        );
        let lies = (0..300).map(scenario::false_expiry).collect::<Result<Vec<_>, _>>()?;
        let sum = |of: fn(&(u64, u64)) -> u64| lies.iter().map(of).sum::<u64>();
        println!("false expiry: {} doubts, {} commands failed", sum(|lie| lie.1), sum(|lie| lie.0));
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

fn museum(only: &str, seeds: u64, jobs: usize) -> bool {
    let corpora = root().join("verification/fuzz/corpus");
    let (seeds, jobs) = (seeds.to_string(), jobs.to_string());
    on_planted_copy(&["museum", &corpora.to_string_lossy(), &seeds, &jobs, only])
}

/// Makes the planted copy, builds it and runs its program.
fn on_planted_copy(arguments: &[&str]) -> bool {
    let copied = patches().and_then(|patches| write_planted_copy(&root(), &patches));
    let folder = match copied {
        Ok(folder) => folder,
        Err(what) => {
            eprintln!("{what}");
            return false;
        }
    };
    // A separate folder: cargo names what it builds by the paths inside the workspace, which are the same in the copy, and would
    // take a planted crate for the real one.
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root().join("target"), std::path::PathBuf::from)
        .join("planted-build");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let ran = process::Command::new(cargo)
        .args(["run", "--quiet", "--package", "zraft-museum", "--manifest-path"])
        .arg(folder.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(target)
        .arg("--")
        .args(arguments)
        .status();
    match ran {
        Ok(status) => status.success(),
        Err(error) => {
            eprintln!("cargo, which builds the planted copy, does not start: {error}");
            false
        }
    }
}
