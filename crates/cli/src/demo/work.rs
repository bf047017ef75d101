//! Runs the demo: the cluster, the callers and the comparison.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes, BytesMut};
use indicatif::ProgressBar;
use tokio::sync::{mpsc, watch};
use zraft_client::{Error, RaftClient};
use zraft_protocol::MemberId;
use zraft_server::LocalCluster;
use zraft_session::applications::AppendLog;

use super::{
    Settings,
    faults::{Course, are_equal, inject},
    report::{Acknowledged, Comparison, Report},
};
use crate::latency::Latencies;

/// Concurrent sessions, and callers in each: enough for requests of every session to be in flight at each fault.
const SESSIONS: usize = 3;
const CALLERS: usize = 64;

/// The outcome of one command.
struct Outcome {
    payload: Bytes,
    latency: Duration,
    result: Result<Bytes, Error>,
}

/// Runs the demo and compares the log with the answers. Shows its progress on the bar.
///
/// # Errors
/// A text if the cluster does not start, a session cannot be opened, a fault cannot be injected or the log cannot be read. Commands
/// that fail are not errors here; the report counts them.
pub async fn run(settings: Settings, progress: &ProgressBar) -> Result<Report, String> {
    let cluster =
        LocalCluster::start(3, AppendLog::new).await.map_err(|error| error.to_string())?;
    let endpoints = cluster.endpoints();
    let mut clients = Vec::new();
    for _ in 0..SESSIONS {
        clients.push(connect(&endpoints).await?);
    }

    let (done, done_count) = watch::channel(0);
    let losses = watch::Sender::new(0);
    let mut outcomes = work(&clients, settings, &losses);
    let course = (settings.seed, settings.commands);
    let faults = tokio::spawn(inject(cluster, course, done_count, losses, progress.clone()));
    let started = Instant::now();
    let mut latencies = Latencies::new();
    let mut acknowledged = Vec::new();
    let mut errors = 0;
    let mut count = 0;
    while let Some(outcome) = outcomes.recv().await {
        count += 1;
        latencies.record(outcome.latency);
        match outcome.result.ok().and_then(|answer| answer.first_chunk::<8>().copied()) {
            Some(position) => acknowledged.push(Acknowledged {
                payload: outcome.payload,
                position: u64::from_be_bytes(position),
            }),
            None => errors += 1,
        }
        progress.inc(1);
        done.send_replace(count);
    }
    let took = started.elapsed();
    let Course { cluster, leaders } = faults.await.map_err(|error| error.to_string())??;

    // Before the log is read: its queries would count as sent requests.
    let stats = clients.iter().map(RaftClient::stats).collect();
    let log = read_log(&clients[0]).await?;
    for client in &clients {
        client.disconnect().await;
    }
    let members_equal = are_equal(&cluster).await.map_err(|error| error.to_string())?;
    cluster.stop().await;
    Ok(Report {
        seed: settings.seed,
        sessions: clients.len() as u64,
        leaders: leaders.iter().map(|number| format!("node-{number}")).collect(),
        wanted: settings.commands,
        acknowledged: acknowledged.len() as u64,
        errors,
        stats,
        members_equal,
        comparison: Comparison::new(&acknowledged, &log),
        took,
        latencies,
    })
}

async fn connect(endpoints: &BTreeMap<MemberId, String>) -> Result<RaftClient, String> {
    let mut builder = RaftClient::builder()
        .capability("protocol", "append-log")
        .request_timeout(Duration::from_secs(60));
    for (id, endpoint) in endpoints {
        builder = builder.member(id.as_str(), endpoint);
    }
    let client = builder.build().map_err(|error| error.to_string())?;
    client.connect().await.map_err(|error| error.to_string())?;
    Ok(client)
}

/// Starts the callers. Each submits the next command when its last one has an outcome.
fn work(
    clients: &[RaftClient],
    settings: Settings,
    losses: &watch::Sender<u64>,
) -> mpsc::Receiver<Outcome> {
    let (tell, outcomes) = mpsc::channel(1024);
    let next = Arc::new(AtomicU64::new(0));
    for client in clients.iter().flat_map(|client| std::iter::repeat_n(client, CALLERS)) {
        let (client, tell, next) = (client.clone(), tell.clone(), next.clone());
        let mut losses = losses.subscribe();
        tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= settings.commands {
                    return;
                }
                let payload = Bytes::from(format!("command {number}"));
                let started = Instant::now();
                let result = match settings.deduplication {
                    true => client.submit_command(payload.clone()).await,
                    false => submit_twice(&client, &payload, &mut losses).await,
                };
                let outcome = Outcome { payload, latency: started.elapsed(), result };
                if tell.send(outcome).await.is_err() {
                    return;
                }
            }
        });
    }
    outcomes
}

/// Submits a command, and submits it again as another command if the leader is lost before the answer comes.
async fn submit_twice(
    client: &RaftClient,
    payload: &Bytes,
    losses: &mut watch::Receiver<u64>,
) -> Result<Bytes, Error> {
    losses.mark_unchanged();
    let first = std::future::IntoFuture::into_future(client.submit_command(payload.clone()));
    tokio::pin!(first);
    tokio::select! {
        answer = &mut first => answer,
        Ok(()) = losses.changed() => {
            let second = client.submit_command(payload.clone()).await;
            first.await.and(second)
        }
    }
}

/// Reads the replicated log back by queries, which see every answered command.
async fn read_log(client: &RaftClient) -> Result<Vec<Bytes>, String> {
    let damaged = || "the cluster answered a query with something else than its log".to_owned();
    let mut items = Vec::new();
    loop {
        // From this position on, as many items as fit into an answer.
        let mut query = BytesMut::from(&(items.len() as u64).to_be_bytes()[..]);
        query.extend_from_slice(&u32::MAX.to_be_bytes());
        let answer = client.submit_query(query.freeze()).await;
        let mut answer = answer.map_err(|error| error.to_string())?;
        let length = answer.try_get_u64().map_err(|_| damaged())?;
        while answer.has_remaining() {
            let bytes = answer.try_get_u32().map_err(|_| damaged())? as usize;
            if bytes > answer.len() {
                return Err(damaged());
            }
            items.push(answer.split_to(bytes));
        }
        if items.len() as u64 >= length {
            return Ok(items);
        }
    }
}
