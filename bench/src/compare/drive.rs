//! Load on a key-value cluster by the client, in a separate process: some sessions, each with a share of the requests.

use std::{
    io,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use hdrhistogram::Histogram;
use serde_json::json;
use zraft_bench::load::{process_cpu, resident};
use zraft_client::RaftClient;
use zraft_kv::{Command, Key, Query, Value};

use crate::drive::{self, Mix};

/// The keys that are written and read in turn, as in the load on etcd.
const KEYS: usize = 1000;

/// Puts load on a cluster with the key-value application and prints the result as one line of JSON
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Arguments {
    /// Endpoints of all members: tcp://host:port.
    #[arg(long, value_delimiter = ',', required = true)]
    endpoints: Vec<String>,
    /// Sessions, each with a connection.
    #[arg(long, default_value_t = 1)]
    connections: usize,
    #[command(flatten)]
    requests: drive::Requests,
}

pub(crate) fn run(arguments: &Arguments) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(drive(arguments))
}

/// The payloads, encoded once.
struct Payloads {
    commands: Vec<Bytes>,
    queries: Vec<Bytes>,
    mix: Mix,
    next: usize,
}

impl Payloads {
    fn new(arguments: &Arguments) -> io::Result<Self> {
        let value = Value::new("v".repeat(arguments.requests.payload)).map_err(io::Error::other)?;
        let keys = (0..KEYS).map(|number| Key::new(format!("key-{number:04}")));
        let keys = keys.collect::<Result<Vec<_>, _>>().map_err(io::Error::other)?;
        let set = |key: &Key| Command::Set { key: key.clone(), value: value.clone() }.encode();
        let commands = keys.iter().map(set).collect();
        let queries = keys.iter().map(|key| Query::Get { key: key.clone() }.encode()).collect();
        Ok(Self { commands, queries, mix: arguments.requests.mix, next: 0 })
    }

    fn submit(
        &mut self,
        clients: &[RaftClient],
    ) -> Result<zraft_client::Answer, zraft_client::Error> {
        self.next += 1;
        let client = &clients[self.next % clients.len()];
        let is_query = match self.mix {
            Mix::Commands => false,
            Mix::Queries => true,
            // Not the parity of the number: a session would carry one kind only.
            Mix::Mixed => (self.next / clients.len()).is_multiple_of(2),
        };
        let payloads = if is_query { &self.queries } else { &self.commands };
        let payload = payloads[self.next % KEYS].clone();
        if is_query { client.try_submit_query(payload) } else { client.try_submit_command(payload) }
    }
}

async fn drive(arguments: &Arguments) -> io::Result<()> {
    let share = arguments.requests.in_flight.div_ceil(arguments.connections);
    let named = arguments.endpoints.iter().zip(1..);
    let builder = named.fold(RaftClient::builder(), |builder, (endpoint, number)| {
        builder.member(format!("node-{number}"), endpoint)
    });
    let builder = builder
        .capability("kind", "bench")
        .max_in_flight(arguments.requests.rate.map_or(share, |_| 1 << 16))
        .max_queued(1 << 17)
        .max_queued_bytes(4 << 30);
    let mut clients = Vec::new();
    for _ in 0..arguments.connections {
        let client = builder.clone().build().map_err(io::Error::other)?;
        client.connect().await.map_err(io::Error::other)?;
        clients.push(client);
    }
    let mut payloads = Payloads::new(arguments)?;
    let mut latencies: Histogram<u64> =
        Histogram::new_with_bounds(1, 60_000_000, 3).map_err(io::Error::other)?;
    let mut pending = FuturesUnordered::new();
    let start = Instant::now();
    let from = start + Duration::from_millis(arguments.requests.warm_up_millis);
    let to = from + Duration::from_millis(arguments.requests.millis);
    let mut cpu = None;
    let mut sent = 0u64;
    let mut total = 0u64;
    loop {
        let now = Instant::now();
        if now >= from {
            cpu.get_or_insert_with(process_cpu);
        }
        if now >= to {
            break;
        }
        let due = match arguments.requests.rate {
            Some(rate) => ((now - start).as_secs_f64() * rate) as u64 + 1 - sent,
            None => (arguments.requests.in_flight - pending.len()) as u64,
        };
        for _ in 0..due {
            let begin = match arguments.requests.rate {
                Some(rate) => start + Duration::from_secs_f64(sent as f64 / rate),
                None => now,
            };
            sent += 1;
            let answer = payloads.submit(&clients).map_err(io::Error::other)?;
            pending.push(async move { answer.await.map(|_| begin) });
        }
        let mut answered = |done: Option<Result<Instant, zraft_client::Error>>| {
            let Some(done) = done else { return Ok(()) };
            let begin = done.map_err(io::Error::other)?;
            let now = Instant::now();
            total += 1;
            if now >= from && now < to {
                latencies.saturating_record((now - begin).as_micros() as u64);
            }
            Ok::<_, io::Error>(())
        };
        match arguments.requests.rate {
            None => answered(pending.next().await)?,
            Some(_) => tokio::select! {
                done = pending.next(), if !pending.is_empty() => answered(done)?,
                // The finest step of the runtime's timer.
                () = tokio::time::sleep(Duration::from_millis(1)) => {}
            },
        }
        // What has arrived together.
        while let Some(done) = futures_util::FutureExt::now_or_never(pending.next()) {
            if done.is_none() {
                break;
            }
            answered(done)?;
        }
    }
    let used = process_cpu() - cpu.unwrap_or_default();
    let behind = pending.len();
    while let Some(done) = pending.next().await {
        done.map_err(io::Error::other)?;
        total += 1;
    }
    for client in &clients {
        client.disconnect().await;
    }
    let count = latencies.len();
    let sample = json!({
        "count": count,
        "total": total,
        "rate": count as f64 / (to - from).as_secs_f64(),
        "cpu": used.as_secs_f64() * 1e6 / count.max(1) as f64,
        "p50": latencies.value_at_quantile(0.5),
        "p99": latencies.value_at_quantile(0.99),
        "max": latencies.max(),
        "rss": resident() as f64 / 1024.0,
        "behind": behind,
    });
    io::Write::write_fmt(&mut io::stdout(), format_args!("{sample}\n"))
}
