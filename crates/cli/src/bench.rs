//! Load on a key-value store.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde_json::{Value as Json, json};
use zraft_client::{Error, RaftClient};
use zraft_kv::{Command, Key, Query, Value};

use crate::latency::Latencies;

/// Callers share this many places to write down what they see: a histogram for each caller would be too large.
const NOTES: usize = 16;

/// What to ask.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Callers, each of which waits for one answer.
    pub in_flight: u32,
    /// Bytes of each value set.
    pub payload: u32,
    /// The share of queries among the requests, 0 to 1.
    pub queries: f64,
    /// How long.
    pub duration: Duration,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Report {
    /// What was asked.
    pub settings: Settings,
    /// Commands that were answered.
    pub commands: u64,
    /// Queries that were answered.
    pub queries: u64,
    /// Requests that failed, and why the first of them did.
    pub errors: u64,
    /// The first error, in words.
    pub first_error: Option<String>,
    /// From the first request to the last answer.
    pub took: Duration,
    /// Of the requests that were answered.
    pub latencies: Latencies,
    /// Processor time of this process meanwhile, where the system tells.
    pub cpu: Option<Duration>,
    /// Whether that is the server's too.
    pub embedded: bool,
}

#[derive(Debug, Default)]
struct Notes {
    latencies: Latencies,
    commands: u64,
    queries: u64,
    errors: u64,
    first_error: Option<String>,
}

/// Puts load on the store that `client` is connected to.
///
/// # Errors
/// When the values asked for cannot be, or a caller panics.
pub async fn run(
    client: &RaftClient,
    settings: Settings,
    embedded: bool,
) -> Result<Report, String> {
    let value = Value::new("v".repeat(settings.payload as usize)).map_err(|e| e.to_string())?;
    let notes: Arc<[Mutex<Notes>]> = (0..NOTES).map(|_| Mutex::default()).collect();
    let (started, cpu) = (Instant::now(), process_cpu());
    let until = started + settings.duration;
    let mut callers = tokio::task::JoinSet::new();
    for number in 0..settings.in_flight {
        let key = Key::new(format!("bench-{number}")).map_err(|error| error.to_string())?;
        let command = Command::Set { key: key.clone(), value: value.clone() }.encode();
        let query = Query::Get { key }.encode();
        let (client, notes) = (client.clone(), notes.clone());
        callers.spawn(async move {
            let notes = &notes[number as usize % NOTES];
            // Spread evenly, without chance; callers begin at different points.
            let mut due = f64::from(number % 97) / 97.0;
            while Instant::now() < until {
                due += settings.queries;
                let is_query = due >= 1.0;
                due -= f64::from(u8::from(is_query));
                let started = Instant::now();
                let result = match is_query {
                    true => client.submit_query(query.clone()).await,
                    false => client.submit_command(command.clone()).await,
                };
                let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
                if !note(&mut notes, is_query, started.elapsed(), result.map(drop)) {
                    return;
                }
            }
        });
    }
    while let Some(caller) = callers.join_next().await {
        caller.map_err(|error| error.to_string())?;
    }
    let took = started.elapsed();
    let cpu = process_cpu().zip(cpu).map(|(now, before)| now.saturating_sub(before));
    let mut report = Report {
        settings,
        commands: 0,
        queries: 0,
        errors: 0,
        first_error: None,
        took,
        latencies: Latencies::new(),
        cpu,
        embedded,
    };
    for notes in &*notes {
        let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
        report.latencies.add(&notes.latencies);
        report.commands += notes.commands;
        report.queries += notes.queries;
        report.errors += notes.errors;
        report.first_error = report.first_error.or_else(|| notes.first_error.take());
    }
    Ok(report)
}

/// Writes one request down; `false` when there is no point in another one.
fn note(notes: &mut Notes, is_query: bool, latency: Duration, result: Result<(), Error>) -> bool {
    let Err(error) = result else {
        notes.latencies.record(latency);
        *(if is_query { &mut notes.queries } else { &mut notes.commands }) += 1;
        return true;
    };
    notes.errors += 1;
    notes.first_error.get_or_insert_with(|| error.to_string());
    matches!(error, Error::Timeout { .. } | Error::Overloaded | Error::ResponseEvicted { .. })
}

impl Report {
    fn requests(&self) -> u64 {
        self.commands + self.queries
    }

    fn rate(&self) -> f64 {
        self.requests() as f64 / self.took.as_secs_f64()
    }

    fn cpu_micros(&self) -> Option<f64> {
        let requests = self.requests().max(1) as f64;
        self.cpu.map(|cpu| cpu.as_secs_f64() * 1e6 / requests)
    }

    fn cpu_of(&self) -> &'static str {
        if self.embedded { "client and server" } else { "client" }
    }

    /// One object.
    pub fn to_json(&self) -> Json {
        json!({
            "inFlight": self.settings.in_flight,
            "payload": self.settings.payload,
            "queriesShare": self.settings.queries,
            "seconds": self.took.as_secs_f64(),
            "commands": self.commands,
            "queries": self.queries,
            "errors": self.errors,
            "firstError": self.first_error,
            "requestsPerSecond": self.rate(),
            "cpuMicrosPerRequest": self.cpu_micros(),
            "cpuOf": self.cpu_of(),
            "latencyMs": self.latencies.to_json(),
        })
    }

    /// The same, to read.
    pub fn to_text(&self) -> String {
        let errors = match &self.first_error {
            Some(first) => format!("{}, the first: {first}", self.errors),
            None => self.errors.to_string(),
        };
        let (rate, seconds) = (self.rate(), self.took.as_secs_f64());
        let rows = [
            (
                "requests",
                format!(
                    "{} ({} commands, {} queries)",
                    self.requests(),
                    self.commands,
                    self.queries
                ),
            ),
            ("errors", errors),
            (
                "throughput",
                format!(
                    "{rate:.0} requests/s, {} in flight, for {seconds:.1} s",
                    self.settings.in_flight
                ),
            ),
            ("latency", self.latencies.to_text()),
            (
                "CPU",
                self.cpu_micros().map_or("not told by this system".to_owned(), |micros| {
                    format!("{micros:.2} µs a request ({})", self.cpu_of())
                }),
            ),
        ];
        rows.map(|(name, value)| format!("{name:>11}  {value}")).join("\n")
    }
}

/// Processor time of this process, user and system.
#[cfg(unix)]
fn process_cpu() -> Option<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Some(Duration::new(u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?))
}

#[cfg(not(unix))]
fn process_cpu() -> Option<Duration> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use zraft_test_server::{KvStore, TestCluster};

    async fn measured(in_flight: u32, queries: f64) -> Report {
        let cluster = TestCluster::builder().app(KvStore::default()).start().await.unwrap();
        let (id, endpoint) = cluster.endpoints().into_iter().next().unwrap();
        let client = RaftClient::builder()
            .member(id.as_str(), endpoint)
            .capability("protocol", "kvstore")
            .build()
            .unwrap();
        client.connect().await.unwrap();
        let duration = Duration::from_millis(100);
        let settings = Settings { in_flight, payload: 10, queries, duration };
        let report = run(&client, settings, true).await.unwrap();
        client.disconnect().await;
        let executed = cluster.executed().0;
        assert_eq!(executed, report.commands, "the servers' journal has what was counted");
        cluster.shutdown().await;
        report
    }

    #[tokio::test]
    async fn the_share_of_queries_is_kept() {
        let half = measured(1, 0.5).await;
        assert!(half.commands > 0 && half.commands.abs_diff(half.queries) <= 1, "{half:?}");
        assert_eq!(measured(3, 0.0).await.queries, 0);
        assert_eq!(measured(3, 1.0).await.commands, 0);
    }

    #[tokio::test]
    async fn more_callers_than_places_to_write_down_are_all_counted() {
        let report = measured(1000, 0.25).await;
        assert_eq!(report.errors, 0);
        assert!(report.commands + report.queries >= 1000);
    }

    #[test]
    fn a_caller_whose_session_is_over_stops_asking() {
        let mut notes = Notes::default();
        let zero = Duration::ZERO;
        assert!(note(&mut notes, false, zero, Ok(())));
        assert!(note(&mut notes, true, zero, Err(Error::Overloaded)));
        assert!(!note(&mut notes, true, zero, Err(Error::NotConnected)));
        assert_eq!((notes.commands, notes.queries, notes.errors), (1, 0, 2));
        assert_eq!(notes.first_error, Some(Error::Overloaded.to_string()));
    }
}
