//! Runs the demo: the cluster, the callers and the faults.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use indicatif::ProgressBar;
use tokio::sync::{mpsc, watch};
use zraft_client::{Error, RaftClient};
use zraft_protocol::ServerMessageKind;
use zraft_test_server::{AppendLog, ClusterHandle, KillLoss, MessageClass, TestCluster};

use super::{
    Settings,
    report::{Acknowledged, Comparison, Report},
};
use crate::latency::Latencies;

/// Concurrent sessions, and callers in each: enough for requests of every session to be in flight at each fault.
const SESSIONS: usize = 3;
const CALLERS: usize = 64;
/// Answers that the cluster drops at half time: some for each session.
const LOST_ANSWERS: u64 = 25;

/// The outcome of one command.
struct Outcome {
    payload: Bytes,
    latency: Duration,
    result: Result<Bytes, Error>,
}

/// Runs the demo and compares the journal with the answers. Shows its progress on the bar.
///
/// # Errors
/// A text if the cluster does not start, a session cannot be opened or a fault cannot be injected. Commands that fail are
/// not errors here; the report counts them.
pub async fn run(settings: Settings, progress: &ProgressBar) -> Result<Report, String> {
    let cluster = TestCluster::builder()
        .members(3)
        .app(AppendLog::default())
        .seed(settings.seed)
        .start()
        .await
        .map_err(|error| error.to_string())?;
    cluster.set_deduplication(settings.deduplication);
    let clients = connect(&cluster).await?;

    let (done, done_count) = watch::channel(0);
    let faults = tokio::spawn(inject_faults(
        cluster.handle(),
        settings.commands,
        done_count,
        progress.clone(),
    ));
    let started = Instant::now();
    let mut outcomes = work(&clients, settings.commands);
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
    let leaders = faults.await.map_err(|error| error.to_string())??;

    let stats = clients.iter().map(RaftClient::stats).collect();
    for client in &clients {
        client.disconnect().await;
    }
    let (_, forgotten) = cluster.executed();
    let report = Report {
        seed: settings.seed,
        sessions: clients.len() as u64,
        leaders,
        wanted: settings.commands,
        acknowledged: acknowledged.len() as u64,
        errors,
        stats,
        comparison: Comparison::new(&acknowledged, &cluster.journal(), forgotten),
        took,
        latencies,
    };
    cluster.shutdown().await;
    Ok(report)
}

async fn connect(cluster: &TestCluster) -> Result<Vec<RaftClient>, String> {
    let mut clients = Vec::new();
    for _ in 0..SESSIONS {
        let mut builder = RaftClient::builder()
            .capability("protocol", "append-log")
            .request_timeout(Duration::from_secs(60));
        for (id, endpoint) in cluster.endpoints() {
            builder = builder.member(id.as_str(), endpoint);
        }
        let client = builder.build().map_err(|error| error.to_string())?;
        client.connect().await.map_err(|error| error.to_string())?;
        clients.push(client);
    }
    Ok(clients)
}

/// Starts the callers. Each submits the next command when its last one has an outcome.
fn work(clients: &[RaftClient], commands: u64) -> mpsc::Receiver<Outcome> {
    let (tell, outcomes) = mpsc::channel(1024);
    let next = Arc::new(AtomicU64::new(0));
    for client in clients.iter().flat_map(|client| std::iter::repeat_n(client, CALLERS)) {
        let (client, tell, next) = (client.clone(), tell.clone(), next.clone());
        tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= commands {
                    return;
                }
                let payload = Bytes::from(format!("command {number}"));
                let started = Instant::now();
                let result = client.submit_command(payload.clone()).await;
                let outcome = Outcome { payload, latency: started.elapsed(), result };
                if tell.send(outcome).await.is_err() {
                    return;
                }
            }
        });
    }
    outcomes
}

/// Kills the leader after a third of the commands, drops answers at half time, and hands leadership over after two thirds.
/// Returns the leaders in order.
async fn inject_faults(
    cluster: ClusterHandle,
    commands: u64,
    mut done: watch::Receiver<u64>,
    progress: ProgressBar,
) -> Result<Vec<String>, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let mut reach = async |count| done.wait_for(|done| *done >= count).await.map(drop);

    let mut leaders = vec![cluster.leader_elected().await.to_string()];
    reach(commands / 3).await.map_err(|error| text(&error))?;
    let killed = leaders[0].clone();
    progress.set_message(format!("killing the leader, {killed}"));
    cluster.kill(&killed, KillLoss::Mixed).await.map_err(|error| text(&error))?;
    leaders.push(cluster.leader_elected().await.to_string());
    cluster.restart(&killed).await.map_err(|error| text(&error))?;

    reach(commands / 2).await.map_err(|error| text(&error))?;
    progress.set_message("dropping answers");
    let answers = MessageClass::ToClient(ServerMessageKind::ClientResponse);
    cluster.drop_messages(answers, Some(LOST_ANSWERS));

    reach(commands / 3 * 2).await.map_err(|error| text(&error))?;
    progress.set_message(format!("handing leadership to {killed}"));
    cluster.move_leadership(&killed).await.map_err(|error| text(&error))?;
    leaders.push(cluster.leader_elected().await.to_string());
    Ok(leaders)
}
