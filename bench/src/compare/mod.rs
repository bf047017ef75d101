//! The replicated server beside etcd, Redis and the disk, in interleaved rounds of one run.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `systems.rs` | the processes of each system: start, leader, processor time, memory |
//! | `drive.rs` | load on the project's members by its client, in a separate process |
//! | `disk.rs` | how often a second the disk can sync |
//! | `table.rs` | the report |
//!
//! etcd's members and their load by its Go client are the program in `bench/etcd`; Redis brings `redis-benchmark`.

mod disk;
pub(crate) mod drive;
mod systems;
mod table;

use std::{
    io,
    path::PathBuf,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::suite::process::{conditions, say};
use disk::fsyncs;
use systems::{Etcd, Redis, System, Zraft};

/// What is asked of starting members is given up after this time.
const PATIENCE: Duration = Duration::from_secs(3600);
/// A pause between measurements, in which a system finishes what it has put off.
const PAUSE: Duration = Duration::from_millis(200);
/// The warm-up of each measurement.
const WARM_UP_MILLIS: u64 = 300;
/// Requests in flight at which payloads and the disk's own rate are compared.
const TYPICAL: usize = 64;

/// Measures three members beside three of etcd, one Redis and the disk
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Arguments {
    /// The program `zraft`.
    #[arg(long, default_value = "target/release/zraft")]
    zraft: PathBuf,
    /// The program of `bench/etcd`.
    #[arg(long, default_value = "target/compare/etcd")]
    etcd: PathBuf,
    /// The folder of `redis-server` and `redis-benchmark`; without it Redis is left out.
    #[arg(long)]
    redis: Option<PathBuf>,
    /// Number of rounds, of which the report gives medians.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Duration of each measurement in milliseconds.
    #[arg(long, default_value_t = 2000)]
    millis: u64,
    /// Connections and sessions at most; each carries its share of the requests in flight.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Requests in flight of the closed loops.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64, 256, 1024, 10_000])]
    in_flight: Vec<usize>,
    /// Only closed loops of commands with 64 bytes.
    #[arg(long)]
    only_closed: bool,
    /// File for all figures as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// One load.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Point {
    mix: &'static str,
    payload: usize,
    in_flight: usize,
    /// Requests per second of an open loop.
    rate: Option<f64>,
}

impl Point {
    const fn closed(mix: &'static str, payload: usize, in_flight: usize) -> Self {
        Self { mix, payload, in_flight, rate: None }
    }

    fn name(&self) -> String {
        let pace = match self.rate {
            Some(rate) => format!("{rate:.0} a second"),
            None => format!("{} in flight", self.in_flight),
        };
        format!("{}, {} B, {pace}", self.mix, self.payload)
    }

    /// Returns the flags of a program that puts this load on a system.
    fn flags(&self, connections: usize, millis: u64) -> Vec<String> {
        let connections =
            if self.rate.is_some() { connections } else { connections.min(self.in_flight) };
        let mut flags = vec![
            "--connections".to_owned(),
            connections.to_string(),
            "--payload".to_owned(),
            self.payload.to_string(),
            "--mix".to_owned(),
            self.mix.to_owned(),
            "--warm-up-millis".to_owned(),
            WARM_UP_MILLIS.to_string(),
            "--millis".to_owned(),
            millis.to_string(),
        ];
        match self.rate {
            Some(rate) => flags.extend(["--rate".to_owned(), rate.to_string()]),
            None => flags.extend(["--in-flight".to_owned(), self.in_flight.to_string()]),
        }
        flags
    }
}

fn points(arguments: &Arguments) -> Vec<Point> {
    let mut points: Vec<Point> =
        arguments.in_flight.iter().map(|&count| Point::closed("commands", 64, count)).collect();
    if !arguments.only_closed {
        points
            .extend([1 << 10, 64 << 10].map(|payload| Point::closed("commands", payload, TYPICAL)));
        for mix in ["queries", "mixed"] {
            points.extend([1, TYPICAL, 1024].map(|count| Point::closed(mix, 64, count)));
        }
    }
    points
}

pub(crate) fn run(arguments: &Arguments) -> io::Result<()> {
    let folder = tempfile::TempDir::with_prefix("zraft-compare-")?;
    let mut systems = vec![
        System::Zraft(Zraft::start(&arguments.zraft, PATIENCE)?),
        System::Etcd(Etcd::start(&arguments.etcd, folder.path())?),
    ];
    if let Some(programs) = &arguments.redis {
        systems.push(System::Redis(Redis::start(programs, folder.path())?));
    }
    let idle: Vec<Value> = systems.iter().map(System::memory).collect();
    let mut found: Vec<(Point, Vec<Value>)> = Vec::new();
    measure(arguments, &systems, folder.path(), points(arguments), &mut found)?;
    if !arguments.only_closed {
        // Half of the most that etcd does, and a tenth.
        let most = found
            .iter()
            .filter(|(point, _)| point.mix == "commands" && point.payload == 64)
            .map(|(_, rounds)| table::median(rounds, "etcd", "rate"))
            .fold(0.0, f64::max);
        let open = [0.1, 0.5].map(|part| Point {
            rate: Some((most * part).round()),
            ..Point::closed("commands", 64, TYPICAL)
        });
        measure(arguments, &systems, folder.path(), open.to_vec(), &mut found)?;
    }
    let names: Vec<&str> = systems.iter().map(System::name).collect();
    let memory: Vec<Value> = names
        .iter()
        .zip(idle)
        .zip(&systems)
        .map(|((name, idle), system)| json!({ "system": name, "idle": idle, "end": system.memory() }))
        .collect();
    say(&table::table(&names, &found, &memory))?;
    if let Some(file) = &arguments.json {
        let points: Vec<Value> = found
            .iter()
            .map(|(point, rounds)| json!({ "point": point.name(), "rounds": rounds }))
            .collect();
        let all = json!({ "conditions": conditions(arguments.rounds), "points": points, "memory": memory });
        std::fs::write(file, format!("{all:#}\n"))?;
    }
    Ok(())
}

/// Measures each point on each system in each round. The order of the systems turns from round to round.
fn measure(
    arguments: &Arguments,
    systems: &[System],
    folder: &std::path::Path,
    points: Vec<Point>,
    found: &mut Vec<(Point, Vec<Value>)>,
) -> io::Result<()> {
    let first = found.len();
    found.extend(points.into_iter().map(|point| (point, Vec::new())));
    for round in 0..arguments.rounds {
        for (point, rounds) in &mut found[first..] {
            let mut samples = json!({ "disk": fsyncs(folder, Duration::from_millis(300))? });
            for turn in 0..systems.len() {
                let system = &systems[(round + turn) % systems.len()];
                let begin = Instant::now();
                if let Some(sample) =
                    system.measure(point, arguments.connections, arguments.millis)?
                {
                    say(&format!(
                        "{:6} {:40} {:>9.0} requests/s, p99 {:.2} ms ({:.1} s)",
                        system.name(),
                        point.name(),
                        sample["rate"].as_f64().unwrap_or(0.0),
                        sample["p99"].as_f64().unwrap_or(0.0) / 1000.0,
                        begin.elapsed().as_secs_f64(),
                    ))?;
                    samples[system.name()] = sample;
                }
                std::thread::sleep(PAUSE);
            }
            rounds.push(samples);
        }
    }
    Ok(())
}
