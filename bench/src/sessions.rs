//! Measures many sessions in one process: the time to connect, the memory, and whether keep-alives are sent in time.

use std::{
    io,
    time::{Duration, Instant},
};

use serde_json::json;
use zraft_bench::load::{process_cpu, resident};
use zraft_client::{RaftClient, StateName};

/// Opens many sessions in one process and prints their cost as one line of JSON
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Endpoint of the server: tcp://host:port.
    #[arg(long)]
    endpoint: String,
    /// Number of sessions.
    #[arg(long, default_value_t = 1000)]
    count: usize,
    /// Time that the sessions stay idle, in seconds.
    #[arg(long, default_value_t = 10)]
    idle: u64,
    /// Time between two KeepAlives of a session, in seconds.
    #[arg(long, default_value_t = 2)]
    keep_alive: u64,
    /// Commands that each session submits afterwards, one after the other.
    #[arg(long, default_value_t = 20)]
    commands: usize,
}

pub(crate) fn run(arguments: &Arguments) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(arguments))
}

async fn measure(arguments: &Arguments) -> io::Result<()> {
    let before = resident();
    let builder = RaftClient::builder()
        .member("node-1", &arguments.endpoint)
        .capability("kind", "bench")
        .keep_alive_interval(Duration::from_secs(arguments.keep_alive));
    let clients = (0..arguments.count)
        .map(|_| builder.clone().build())
        .collect::<Result<Vec<_>, _>>()
        .map_err(io::Error::other)?;

    let started = Instant::now();
    let connecting: Vec<_> = clients.iter().map(RaftClient::connect).collect();
    for connected in connecting {
        connected.await.map_err(io::Error::other)?;
    }
    let connect = started.elapsed();

    // Wait for the first KeepAlives, after which the clients hold no memory of the connects.
    let cpu = process_cpu();
    tokio::time::sleep(Duration::from_secs(arguments.idle)).await;
    let idle_cpu = process_cpu() - cpu;
    let idle = resident();
    let alive = clients.iter().filter(|client| *client.state().borrow() == StateName::Connected);
    let (alive, unanswered) =
        (alive.count(), clients.iter().map(|client| client.stats().reconnects).sum::<u64>());

    let (started, cpu) = (Instant::now(), process_cpu());
    let tasks: Vec<_> = clients
        .iter()
        .map(|client| {
            let (client, commands) = (client.clone(), arguments.commands);
            tokio::spawn(async move {
                for _ in 0..commands {
                    client.submit_command(vec![7; 64]).await?;
                }
                Ok::<_, zraft_client::Error>(())
            })
        })
        .collect();
    for task in tasks {
        task.await.map_err(io::Error::other)?.map_err(io::Error::other)?;
    }
    let requests = (arguments.count * arguments.commands) as f64;
    let (took, cpu) = (started.elapsed(), process_cpu() - cpu);
    let said = json!({
        "sessions": arguments.count,
        "connect_seconds": connect.as_secs_f64(),
        "kib_per_session": (idle.saturating_sub(before)) as f64 / arguments.count as f64,
        "idle_cpu_percent": idle_cpu.as_secs_f64() / arguments.idle as f64 * 100.0,
        "connected_after_idle": alive,
        "reconnects": unanswered,
        "keep_alive_interval": arguments.keep_alive,
        "rate": requests / took.as_secs_f64(),
        "cpu": cpu.as_secs_f64() * 1e6 / requests,
    });
    io::Write::write_fmt(&mut io::stdout(), format_args!("{said}\n"))
}
