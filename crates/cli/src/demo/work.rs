//! Runs the demo: the members, the callers and the comparison.

use std::{
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

use super::{
    Settings,
    faults::inject,
    report::{Acknowledged, Comparison, Report},
};
use crate::{latency::Latencies, processes::Processes};

/// The time limit of the demo, so that a defect cannot make it hang.
const PATIENCE: Duration = Duration::from_secs(120);
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
/// A text if the members do not start, one of them ends by itself, a session cannot be opened, a fault cannot be injected, the log
/// cannot be read, or the time is over. Commands that fail are not errors here; the report counts them.
pub async fn run(settings: &Settings, progress: &ProgressBar) -> Result<Report, String> {
    let processes = Processes::prepare(&settings.program, "append-log", PATIENCE)?;
    processes.open_all()?;
    let job = async {
        let report = tokio::select! {
            biased;
            problem = processes.watch() => return Err(problem),
            report = drive(settings, &processes, progress) => report?,
        };
        processes.stop().await?;
        Ok(report)
    };
    let late = || Err("the demo did not end in time".to_owned());
    tokio::time::timeout(PATIENCE, job).await.unwrap_or_else(|_| late())
}

/// Submits the commands while the members are killed and started, and looks at the result.
async fn drive(
    settings: &Settings,
    processes: &Processes,
    progress: &ProgressBar,
) -> Result<Report, String> {
    // A session needs a leader. This wait ends with the reason if there is none.
    processes.cluster().leader().await.map_err(|failure| failure.text().to_owned())?;
    let mut clients = Vec::new();
    for _ in 0..SESSIONS {
        clients.push(connect(processes).await?);
    }
    let (done, done_count) = watch::channel(0);
    let losses = watch::Sender::new(0);
    let outcomes = work(&clients, settings, &losses);
    let started = Instant::now();
    let faults = inject(processes, settings, done_count, &losses, progress);
    let (answers, leaders) = tokio::try_join!(collect(outcomes, done, progress), faults)?;
    let took = answers.last.duration_since(started);

    // Before the log is read: its queries would count as sent requests.
    let stats = clients.iter().map(RaftClient::stats).collect();
    let log = read_log(&clients[0]).await?;
    for client in &clients {
        client.disconnect().await;
    }
    Ok(Report {
        seed: settings.seed,
        sessions: clients.len() as u64,
        leaders,
        wanted: settings.commands,
        acknowledged: answers.acknowledged.len() as u64,
        errors: answers.errors,
        stats,
        members_equal: processes.are_equal().await?,
        comparison: Comparison::new(&answers.acknowledged, &log),
        took,
        latencies: answers.latencies,
    })
}

/// What the callers were answered.
struct Answers {
    acknowledged: Vec<Acknowledged>,
    errors: u64,
    latencies: Latencies,
    /// When the last answer came.
    last: Instant,
}

/// Collects the outcomes of all commands, and counts them in `done`.
async fn collect(
    mut outcomes: mpsc::Receiver<Outcome>,
    done: watch::Sender<u64>,
    progress: &ProgressBar,
) -> Result<Answers, String> {
    let mut acknowledged = Vec::new();
    let mut latencies = Latencies::new();
    let mut errors = 0;
    while let Some(outcome) = outcomes.recv().await {
        latencies.record(outcome.latency);
        match outcome.result.ok().and_then(|answer| answer.first_chunk::<8>().copied()) {
            Some(position) => acknowledged.push(Acknowledged {
                payload: outcome.payload,
                position: u64::from_be_bytes(position),
            }),
            None => errors += 1,
        }
        progress.inc(1);
        done.send_modify(|count| *count += 1);
    }
    Ok(Answers { acknowledged, errors, latencies, last: Instant::now() })
}

async fn connect(processes: &Processes) -> Result<RaftClient, String> {
    let mut builder = RaftClient::builder()
        .capability("protocol", "append-log")
        .request_timeout(Duration::from_secs(60));
    for (name, endpoint) in processes.endpoints() {
        builder = builder.member(name, endpoint);
    }
    let client = builder.build().map_err(|error| error.to_string())?;
    client.connect().await.map_err(|error| error.to_string())?;
    Ok(client)
}

/// Starts the callers. Each submits the next command when its last one has an outcome.
fn work(
    clients: &[RaftClient],
    settings: &Settings,
    losses: &watch::Sender<u64>,
) -> mpsc::Receiver<Outcome> {
    let (tell, outcomes) = mpsc::channel(1024);
    let next = Arc::new(AtomicU64::new(0));
    for client in clients.iter().flat_map(|client| std::iter::repeat_n(client, CALLERS)) {
        let (client, tell, next) = (client.clone(), tell.clone(), next.clone());
        let mut losses = losses.subscribe();
        let (commands, deduplication) = (settings.commands, settings.deduplication);
        tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= commands {
                    return;
                }
                let payload = Bytes::from(format!("command {number}"));
                let started = Instant::now();
                let result = match deduplication {
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

/// Reads the log of an [`AppendLog`](zraft_session::applications::AppendLog) back by queries, which see every answered command.
///
/// # Errors
/// A text with the reason.
pub async fn read_log(client: &RaftClient) -> Result<Vec<Bytes>, String> {
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
