//! The cluster, the clients at work, and what befalls them.

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

/// Sessions at work side by side, and callers in each.
const SESSIONS: usize = 3;
const CALLERS: usize = 64;
/// Answers that vanish on their way, at half time.
const LOST_ANSWERS: u64 = 25;

/// One command, as its caller saw it.
struct Outcome {
    payload: Bytes,
    latency: Duration,
    result: Result<Bytes, Error>,
}

/// Runs it, and compares the journal with what the callers were told. Its progress is shown on the bar.
///
/// # Errors
/// When the cluster or a session cannot be had, or a switch of the cluster fails. A command that fails is no error here: the
/// report tells.
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
    let troubles =
        tokio::spawn(troubles(cluster.handle(), settings.commands, done_count, progress.clone()));
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
    let leaders = troubles.await.map_err(|error| error.to_string())??;

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

/// Starts the callers; each takes the next command when its last one is answered.
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

/// After a third of the commands the leader is killed; at half time answers vanish; after two thirds leadership is handed
/// over. Gives who led, in turn.
async fn troubles(
    cluster: ClusterHandle,
    commands: u64,
    mut done: watch::Receiver<u64>,
    progress: ProgressBar,
) -> Result<Vec<String>, String> {
    let words = |error: &dyn std::fmt::Display| error.to_string();
    let mut reach = async |count| done.wait_for(|done| *done >= count).await.map(drop);

    let mut leaders = vec![cluster.leader_elected().await.to_string()];
    reach(commands / 3).await.map_err(|error| words(&error))?;
    let killed = leaders[0].clone();
    progress.set_message(format!("{killed}, the leader, is killed"));
    cluster.kill(&killed, KillLoss::Mixed).await.map_err(|error| words(&error))?;
    leaders.push(cluster.leader_elected().await.to_string());
    cluster.restart(&killed).await.map_err(|error| words(&error))?;

    reach(commands / 2).await.map_err(|error| words(&error))?;
    progress.set_message("answers vanish");
    let answers = MessageClass::ToClient(ServerMessageKind::ClientResponse);
    cluster.drop_messages(answers, Some(LOST_ANSWERS));

    reach(commands / 3 * 2).await.map_err(|error| words(&error))?;
    progress.set_message(format!("leadership goes back to {killed}"));
    cluster.move_leadership(&killed).await.map_err(|error| words(&error))?;
    leaders.push(cluster.leader_elected().await.to_string());
    Ok(leaders)
}
