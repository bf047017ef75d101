//! Many tasks, lost connections, moved leaders, dropped futures and deadlines at once. The outcome that the client
//! reports for each command must be true.

use std::collections::HashMap;
use std::time::Duration;

use crate::support::cluster::{client_of, executed, log_cluster, settings};
use crate::support::within;
use zraft_test_server::{KillLoss, TestCluster};

const TASKS: usize = 16;
const COMMANDS: usize = 150;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Executed,
    NotExecuted,
    Unknown,
}

/// Returns a number below 97 that the arguments determine and that looks random.
fn scatter(task: usize, n: usize) -> usize {
    (task * 7919 + n * 104_729) % 97
}

async fn submit(client: zraft_client::RaftClient, task: usize) -> Vec<(String, Outcome)> {
    let mut outcomes = Vec::new();
    for n in 0..COMMANDS {
        let payload = format!("{task}.{n}");
        let command = client.submit_command(payload.clone());
        let result = match scatter(task, n) {
            // The future is dropped soon after it was queued.
            0..5 => {
                let mut command = std::pin::pin!(command.into_future());
                tokio::select! {
                    biased;
                    result = &mut command => Some(result),
                    () = tokio::task::yield_now() => None,
                }
            }
            5..15 => Some(command.timeout(Duration::from_millis(2)).await),
            _ => Some(command.await),
        };
        let outcome = match result {
            Some(Ok(_)) => Outcome::Executed,
            Some(Err(error)) if error.maybe_executed() => match error.resolution() {
                Some(resolution) if n % 2 == 0 => match resolution.await {
                    Ok(_) => Outcome::Executed,
                    Err(_) => Outcome::Unknown,
                },
                _ => Outcome::Unknown,
            },
            Some(Err(_)) => Outcome::NotExecuted,
            None => Outcome::Unknown,
        };
        outcomes.push((payload, outcome));
    }
    outcomes
}

async fn disturb(cluster: &TestCluster) {
    for round in 0_u64.. {
        let more = (round + 1) * 150;
        if more > (TASKS * COMMANDS) as u64 * 3 / 4 {
            break;
        }
        cluster.journal_reached(more).await;
        let leader = cluster.leader_elected().await;
        match round % 3 {
            0 => cluster.cut_connections(None).await.unwrap(),
            1 => cluster.step_down(None).unwrap(),
            _ => {
                cluster.kill(leader.as_str(), KillLoss::Mixed).await.unwrap();
                cluster.leader_elected().await;
                cluster.restart(leader.as_str()).await.unwrap();
            }
        }
    }
}

async fn outcomes_are_true(own_thread: bool) {
    let cluster = log_cluster(3).await;
    let (client, _) = client_of(settings(&cluster).max_queued(40).own_thread(own_thread)).await;
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        tasks.spawn(submit(client.clone(), task));
    }
    let (outcomes, ()) = within(async { tokio::join!(tasks.join_all(), disturb(&cluster)) }).await;
    within(client.disconnect()).await;

    let mut times: HashMap<String, usize> = HashMap::new();
    for payload in executed(&cluster) {
        *times.entry(String::from_utf8(payload).unwrap()).or_default() += 1;
    }
    let mut answered = 0;
    for (command, outcome) in outcomes.into_iter().flatten() {
        let times = times.get(&command).copied().unwrap_or(0);
        match outcome {
            Outcome::Executed => assert_eq!(times, 1, "{command} was answered"),
            Outcome::NotExecuted => assert_eq!(times, 0, "{command} was reported as not executed"),
            Outcome::Unknown => assert!(times <= 1, "{command} ran more than once"),
        }
        answered += usize::from(outcome == Outcome::Executed);
    }
    assert!(answered > TASKS * COMMANDS / 2, "{answered}");
    let stats = client.stats();
    assert_eq!((stats.in_flight, stats.queued, stats.queued_bytes), (0, 0, 0), "{stats:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn reported_outcomes_are_true_on_many_threads() {
    outcomes_are_true(false).await;
}

#[tokio::test]
async fn reported_outcomes_are_true_on_one_thread() {
    outcomes_are_true(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reported_outcomes_are_true_with_its_own_thread() {
    outcomes_are_true(true).await;
}
