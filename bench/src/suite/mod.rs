//! The whole suite: contenders in interleaved rounds, each measurement in its own process, and the report.

mod counts;
mod figures;
mod measure;
mod plots;
pub(crate) mod process;
mod report;
mod verdict;

use std::io;

use serde_json::{Value, json};

use crate::budget;
use process::say;

/// Measures everything and writes the report
///
/// With --write, writes the tables of BENCHMARKS.md, and the plots and figures in bench/results/. Without it, prints the
/// report.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Arguments {
    /// Measure a short form.
    #[arg(long)]
    short: bool,
    /// Number of rounds, of which the report gives medians.
    #[arg(long)]
    rounds: Option<usize>,
    /// Duration of each measurement in milliseconds.
    #[arg(long)]
    millis: Option<u64>,
    /// Measure only these parts.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Write BENCHMARKS.md and bench/results/.
    #[arg(long)]
    write: bool,
    /// Measure nothing, and report the stored figures.
    #[arg(long)]
    report: bool,
}

/// A part of the suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// All contenders with few and many requests in flight.
    Closed,
    /// Runtimes with two threads.
    Threads,
    /// Queries, and commands and queries in turn.
    Mix,
    /// Short and long payloads.
    Payload,
    /// Fixed rates.
    Open,
    /// The machine alone with few and many commands pending.
    Pending,
    /// Many sessions in one process.
    Sessions,
    /// Memory over time.
    Memory,
    /// Instructions and system calls, with valgrind and strace; entries and fsyncs.
    Counts,
}

impl Part {
    const ALL: [Self; 9] = [
        Self::Closed,
        Self::Threads,
        Self::Mix,
        Self::Payload,
        Self::Open,
        Self::Pending,
        Self::Sessions,
        Self::Memory,
        Self::Counts,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Threads => "threads",
            Self::Mix => "mix",
            Self::Payload => "payload",
            Self::Open => "open",
            Self::Pending => "pending",
            Self::Sessions => "sessions",
            Self::Memory => "memory",
            Self::Counts => "counts",
        }
    }
}

/// The extent of the measurements.
#[derive(Debug, Clone, Copy)]
struct Extent {
    short: bool,
    rounds: usize,
    millis: u64,
}

pub(crate) fn run(arguments: &Arguments) -> io::Result<()> {
    let short = arguments.short;
    let extent = Extent {
        short,
        rounds: arguments.rounds.unwrap_or(if short { 3 } else { 5 }).max(1),
        millis: arguments.millis.unwrap_or(if short { 200 } else { 500 }),
    };
    let file = budget::root().join("bench/results/results.json");
    // Parts that are not measured now keep their stored figures.
    let mut results = match std::fs::read_to_string(&file) {
        Ok(text) => serde_json::from_str(&text).map_err(io::Error::other)?,
        Err(_) => json!({}),
    };
    if !arguments.report {
        let parts = match &arguments.only[..] {
            [] if short => &[Part::Closed, Part::Payload, Part::Open, Part::Pending][..],
            [] => &Part::ALL[..],
            only => only,
        };
        for part in parts {
            say(&format!("== {}", part.name()))?;
            let mut figures = measure_part(*part, extent)?;
            figures["conditions"] = process::conditions(extent.rounds);
            results[part.name()] = figures;
        }
    }
    let text = report::tables(&results);
    if !arguments.write {
        return say(&text);
    }
    let folder = budget::root().join("bench/results");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(
        &file,
        serde_json::to_string_pretty(&results).map_err(io::Error::other)? + "\n",
    )?;
    plots::draw(&folder, &results)?;
    report::write(&text)
}

fn measure_part(part: Part, extent: Extent) -> io::Result<Value> {
    match part {
        Part::Closed => measure::closed(extent),
        Part::Threads => measure::threads(extent),
        Part::Mix => measure::mix(extent),
        Part::Payload => measure::payload(extent),
        Part::Open => measure::open(extent),
        Part::Pending => measure::pending(extent),
        Part::Sessions => measure::sessions(extent),
        Part::Memory => measure::memory(extent),
        Part::Counts => counts::measure(),
    }
}
