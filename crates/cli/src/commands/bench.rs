//! `zraft bench`: load on a key-value store.

use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;
use zraft_client::RaftClient;
use zraft_kv::{Command, Key, Query, Value};
use zraft_test_server::{KvStore, TestCluster};

use crate::{
    endpoints::Endpoints,
    exit::{Exit, complain, print, run as run_command},
    latency::Latencies,
};

const PATIENCE: Duration = Duration::from_secs(10);

/// Put load on a key-value store, and tell its throughput and latencies
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    endpoints: Endpoints,
    /// Use an embedded server in this process instead
    #[arg(long, conflicts_with = "endpoints")]
    embedded: bool,
    /// Requests in flight
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    in_flight: u32,
    /// Bytes of each value set
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    payload: u32,
    /// The share of queries among the requests, from 0 to 1
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    queries: f64,
    /// How long, in seconds
    #[arg(long, default_value_t = 5.0, value_parser = seconds)]
    duration: f64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn share(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|share| (0.0..=1.0).contains(share)).ok_or("from 0 to 1".to_owned())
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds| *seconds > 0.0 && *seconds <= 86_400.0);
    seconds.ok_or("more than 0, at most 86400".to_owned())
}

/// What one caller saw.
struct Seen {
    latencies: Latencies,
    commands: u64,
    queries: u64,
    errors: u64,
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    run_command(async {
        match measure(arguments).await {
            Ok(exit) => exit,
            Err((error, exit)) => {
                complain(&error);
                exit
            }
        }
    })
}

async fn measure(arguments: &Arguments) -> Result<Exit, (String, Exit)> {
    let cluster = match arguments.embedded {
        true => Some(
            TestCluster::builder()
                .app(KvStore::default())
                .start()
                .await
                .map_err(|error| (error.to_string(), Exit::Connection))?,
        ),
        false => None,
    };
    let client = client(arguments, cluster.as_ref()).map_err(|error| (error, Exit::BadInput))?;
    client.connect_within(PATIENCE).await.map_err(|error| (error.to_string(), Exit::of(&error)))?;

    let (started, cpu) = (Instant::now(), process_cpu());
    let until = started + Duration::from_secs_f64(arguments.duration);
    let callers: Vec<_> = (0..arguments.in_flight)
        .map(|number| {
            tokio::spawn(call(
                client.clone(),
                number,
                arguments.payload as usize,
                arguments.queries,
                until,
            ))
        })
        .collect();
    let mut seen = Seen { latencies: Latencies::new(), commands: 0, queries: 0, errors: 0 };
    for caller in callers {
        let other = caller.await.map_err(|error| (error.to_string(), Exit::Failure))?;
        seen.latencies.add(&other.latencies);
        seen.commands += other.commands;
        seen.queries += other.queries;
        seen.errors += other.errors;
    }
    let (took, cpu) = (started.elapsed(), process_cpu().saturating_sub(cpu));
    client.disconnect().await;
    tell(arguments, &seen, took, cpu);
    if let Some(cluster) = cluster {
        cluster.shutdown().await;
    }
    Ok(if seen.errors == 0 { Exit::Success } else { Exit::Failure })
}

fn client(arguments: &Arguments, cluster: Option<&TestCluster>) -> Result<RaftClient, String> {
    let builder = match cluster {
        Some(cluster) => {
            let mut builder = RaftClient::builder().capability("protocol", "kvstore");
            for (id, endpoint) in cluster.endpoints() {
                builder = builder.member(id.as_str(), endpoint);
            }
            builder
        }
        None => arguments.endpoints.builder()?,
    };
    let builder = builder.max_in_flight(arguments.in_flight as usize);
    builder.build().map_err(|error| error.to_string())
}

/// One caller: the next request goes when the last one is answered.
async fn call(
    client: RaftClient,
    number: u32,
    payload: usize,
    queries: f64,
    until: Instant,
) -> Seen {
    let mut seen = Seen { latencies: Latencies::new(), commands: 0, queries: 0, errors: 0 };
    let (Ok(key), Ok(value)) =
        (Key::new(format!("bench-{number}")), Value::new("v".repeat(payload)))
    else {
        return seen;
    };
    let command = Command::Set { key: key.clone(), value }.encode();
    let query = Query::Get { key }.encode();
    // Spread evenly, without chance.
    let mut due = f64::from(number % 97) / 97.0;
    while Instant::now() < until {
        due += queries;
        let is_query = due >= 1.0;
        let started = Instant::now();
        let result = if is_query {
            due -= 1.0;
            seen.queries += 1;
            client.submit_query(query.clone()).await
        } else {
            seen.commands += 1;
            client.submit_command(command.clone()).await
        };
        seen.latencies.record(started.elapsed());
        seen.errors += u64::from(result.is_err());
    }
    seen
}

fn tell(arguments: &Arguments, seen: &Seen, took: Duration, cpu: Duration) {
    let requests = seen.commands + seen.queries;
    let rate = requests as f64 / took.as_secs_f64();
    let cpu_each = cpu.as_secs_f64() * 1e6 / requests.max(1) as f64;
    let where_ = if arguments.embedded { "client and server" } else { "client" };
    if arguments.json {
        let object = json!({
            "inFlight": arguments.in_flight,
            "payload": arguments.payload,
            "queriesShare": arguments.queries,
            "seconds": took.as_secs_f64(),
            "commands": seen.commands,
            "queries": seen.queries,
            "errors": seen.errors,
            "requestsPerSecond": rate,
            "cpuMicrosPerRequest": cpu_each,
            "cpuOf": where_,
            "latencyMs": seen.latencies.to_json(),
        });
        print(&object.to_string());
        return;
    }
    print(&format!(
        "   requests  {requests} ({} commands, {} queries)",
        seen.commands, seen.queries
    ));
    print(&format!("     errors  {}", seen.errors));
    print(&format!(
        " throughput  {rate:.0} requests/s, {} in flight, for {:.1} s",
        arguments.in_flight,
        took.as_secs_f64()
    ));
    print(&format!("    latency  {}", seen.latencies.to_text()));
    print(&format!("        CPU  {cpu_each:.2} µs a request ({where_})"));
}

/// Processor time of this process, user and system.
#[cfg(unix)]
fn process_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

#[cfg(not(unix))]
fn process_cpu() -> Duration {
    Duration::ZERO
}
