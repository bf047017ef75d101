//! Measures resident memory under a long full load and after it.

use std::{
    collections::VecDeque,
    io,
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde_json::json;
use zraft_bench::load::resident;
use zraft_client::RaftClient;

/// Puts a long full load on a server, then none, and prints resident memory over time as one line of JSON
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Endpoint of the server: tcp://host:port.
    #[arg(long)]
    endpoint: String,
    /// Requests in flight.
    #[arg(long, default_value_t = 1024)]
    in_flight: usize,
    /// Duration of the warm-up in seconds.
    #[arg(long, default_value_t = 5)]
    warm_up: u64,
    /// Duration of the load after the warm-up in seconds.
    #[arg(long, default_value_t = 60)]
    load: u64,
    /// Duration of the idle time at the end in seconds.
    #[arg(long, default_value_t = 10)]
    idle: u64,
}

pub(crate) fn run(arguments: &Arguments) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(arguments))
}

async fn measure(arguments: &Arguments) -> io::Result<()> {
    let client = RaftClient::builder()
        .member("node-1", &arguments.endpoint)
        .capability("kind", "bench")
        .max_in_flight(arguments.in_flight)
        .build()
        .map_err(io::Error::other)?;
    client.connect().await.map_err(io::Error::other)?;
    let payload = Bytes::from(vec![7; 64]);
    let submit = || client.try_submit_command(payload.clone()).map_err(io::Error::other);
    let started = Instant::now();
    let mut series = Vec::new();
    let mut note = |now: Instant| {
        let seconds = (now - started).as_secs_f64();
        if series.last().is_none_or(|(at, _)| seconds - at >= 0.25) {
            series.push((seconds, resident() as f64 / 1024.0));
        }
    };
    let (mut count, mut warm) = (0_u64, None);
    let mut answers = VecDeque::new();
    let end = Duration::from_secs(arguments.warm_up + arguments.load);
    while started.elapsed() < end {
        while answers.len() < arguments.in_flight {
            answers.push_back(submit()?);
        }
        for _ in 0..arguments.in_flight.min(256) {
            if let Some(answer) = answers.pop_front() {
                answer.await.map_err(io::Error::other)?;
                count += 1;
            }
        }
        note(Instant::now());
        if warm.is_none() && started.elapsed() >= Duration::from_secs(arguments.warm_up) {
            warm = Some(resident());
        }
    }
    for answer in answers.drain(..) {
        answer.await.map_err(io::Error::other)?;
    }
    for _ in 0..arguments.idle * 4 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        note(Instant::now());
    }
    let said = json!({
        "requests": count,
        "warm_mib": warm.unwrap_or(0) as f64 / 1024.0,
        "end_mib": resident() as f64 / 1024.0,
        "series": series,
    });
    io::Write::write_fmt(&mut io::stdout(), format_args!("{said}\n"))
}
