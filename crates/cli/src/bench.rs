//! Measures a key-value store under load.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde_json::{Value as Json, json};
use zraft_client::{Error, RaftClient};
use zraft_kv::{Command, Key, Query, Value};

use crate::latency::Latencies;

/// The number of shared result tables. A table per caller would need up to 100,000 histograms, and one table for all
/// callers would make them wait for its lock.
const TABLES: usize = 16;

/// The settings of a measurement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// The number of callers. Each has one request in flight.
    pub in_flight: u32,
    /// The length of each value in bytes.
    pub payload: u32,
    /// The share of queries among the requests, from 0 to 1.
    pub queries: f64,
    /// The time in which callers submit requests.
    pub duration: Duration,
}

/// The result of a measurement.
#[derive(Debug, Clone)]
pub struct Report {
    /// The settings of the measurement.
    pub settings: Settings,
    /// The number of commands answered.
    pub commands: u64,
    /// The number of queries answered.
    pub queries: u64,
    /// The number of requests that failed.
    pub errors: u64,
    /// The text of the first error.
    pub first_error: Option<String>,
    /// The time from the first request to the last answer.
    pub took: Duration,
    /// The latencies of the answered requests.
    pub latencies: Latencies,
    /// The processor time of this process during the measurement, if the system tells it.
    pub cpu: Option<Duration>,
    /// True if the server runs in this process, so that `cpu` includes it.
    pub embedded: bool,
}

/// Results that several callers share.
#[derive(Debug, Default)]
struct Table {
    latencies: Latencies,
    commands: u64,
    queries: u64,
    errors: u64,
    first_error: Option<String>,
}

/// Puts load on the store that `client` is connected to.
///
/// # Errors
/// A text if the payload is too long for a value, or a caller panics.
pub async fn run(
    client: &RaftClient,
    settings: Settings,
    embedded: bool,
) -> Result<Report, String> {
    let value = Value::new("v".repeat(settings.payload as usize)).map_err(|e| e.to_string())?;
    let tables: Arc<[Mutex<Table>]> = (0..TABLES).map(|_| Mutex::default()).collect();
    let (started, cpu) = (Instant::now(), process_cpu());
    let until = started + settings.duration;
    let mut callers = tokio::task::JoinSet::new();
    for number in 0..settings.in_flight {
        let key = Key::new(format!("bench-{number}")).map_err(|error| error.to_string())?;
        let command = Command::Set { key: key.clone(), value: value.clone() }.encode();
        let query = Query::Get { key }.encode();
        let (client, tables) = (client.clone(), tables.clone());
        callers.spawn(async move {
            let table = &tables[number as usize % TABLES];
            // Queries are spread evenly, and each caller begins at another point, so runs are alike without chance.
            let mut due = f64::from(number % 97) / 97.0;
            // Each caller sends at least one request, also on a machine that is too busy to start them all in time.
            loop {
                due += settings.queries;
                let is_query = due >= 1.0;
                due -= f64::from(u8::from(is_query));
                let started = Instant::now();
                let result = match is_query {
                    true => client.submit_query(query.clone()).await,
                    false => client.submit_command(command.clone()).await,
                };
                let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
                let next = table.record(is_query, started.elapsed(), result.map(drop));
                if next == Next::Stop || Instant::now() >= until {
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
    for table in &*tables {
        let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
        report.latencies.add(&table.latencies);
        report.commands += table.commands;
        report.queries += table.queries;
        report.errors += table.errors;
        report.first_error = report.first_error.or_else(|| table.first_error.take());
    }
    Ok(report)
}

/// What a caller does after a request.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// It submits another request.
    Continue,
    /// It stops, because the session has ended and every further request would fail.
    Stop,
}

impl Table {
    fn record(&mut self, is_query: bool, latency: Duration, result: Result<(), Error>) -> Next {
        let Err(error) = result else {
            self.latencies.record(latency);
            *(if is_query { &mut self.queries } else { &mut self.commands }) += 1;
            return Next::Continue;
        };
        self.errors += 1;
        self.first_error.get_or_insert_with(|| error.to_string());
        match error {
            Error::Timeout { .. } | Error::Overloaded | Error::ResponseEvicted { .. } => {
                Next::Continue
            }
            _ => Next::Stop,
        }
    }
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

    /// Returns the result as one JSON object.
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

    /// Returns the result as a table for people.
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
                self.cpu_micros().map_or("not available on this system".to_owned(), |micros| {
                    format!("{micros:.2} µs a request ({})", self.cpu_of())
                }),
            ),
        ];
        rows.map(|(name, value)| format!("{name:>11}  {value}")).join("\n")
    }
}

/// Returns the processor time of this process, user and system time together.
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
        assert_eq!(
            executed, report.commands,
            "the server's journal has the commands that were counted"
        );
        cluster.shutdown().await;
        report
    }

    #[tokio::test]
    async fn queries_have_the_share_that_was_set() {
        let half = measured(1, 0.5).await;
        assert!(half.commands > 0 && half.commands.abs_diff(half.queries) <= 1, "{half:?}");
        assert_eq!(measured(3, 0.0).await.queries, 0);
        assert_eq!(measured(3, 1.0).await.commands, 0);
    }

    #[tokio::test]
    async fn requests_of_more_callers_than_tables_are_all_counted() {
        let report = measured(1000, 0.25).await;
        assert_eq!(report.errors, 0);
        assert!(report.commands + report.queries >= 1000);
    }

    #[test]
    fn caller_stops_when_its_session_has_ended() {
        let mut table = Table::default();
        let zero = Duration::ZERO;
        assert_eq!(table.record(false, zero, Ok(())), Next::Continue);
        assert_eq!(table.record(true, zero, Err(Error::Overloaded)), Next::Continue);
        assert_eq!(table.record(true, zero, Err(Error::NotConnected)), Next::Stop);
        assert_eq!((table.commands, table.queries, table.errors), (1, 0, 2));
        assert_eq!(table.first_error, Some(Error::Overloaded.to_string()));
    }
}
