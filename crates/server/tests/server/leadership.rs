use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use tokio::{sync::watch, task::JoinSet};
use zraft_client::RaftClient;
use zraft_protocol::{RejectionReason, ServerMessage, SessionCloseReason};
use zraft_server::{Ended, LocalCluster};
use zraft_session::applications::AppendLog;

use crate::support::{RawClient, append, client, nonce, patient, position, read_log, within};

/// Submits commands from many callers until `count` are answered. Returns them with their positions.
fn load(
    client: &RaftClient,
    count: u64,
    answered: &watch::Sender<u64>,
) -> JoinSet<Vec<(Bytes, u64)>> {
    let mut callers = JoinSet::new();
    let next = Arc::new(AtomicU64::new(0));
    for _ in 0..16 {
        let (client, next, answered) = (client.clone(), next.clone(), answered.clone());
        callers.spawn(async move {
            let mut done = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return done;
                }
                let item = Bytes::from(format!("item {number}"));
                let answer = client.submit_command(item.clone()).await.expect("it is answered");
                done.push((item, position(&answer)));
                answered.send_modify(|count| *count += 1);
            }
        });
    }
    callers
}

/// Checks that the log holds each item once, at the position in its answer.
async fn judge(client: &RaftClient, mut callers: JoinSet<Vec<(Bytes, u64)>>, count: u64) {
    let mut items = vec![None; count as usize];
    while let Some(done) = within(callers.join_next()).await {
        for (item, position) in done.expect("it does not panic") {
            assert_eq!(items[position as usize].replace(item), None, "two answers, one position");
        }
    }
    let items: Vec<Bytes> = items.into_iter().flatten().collect();
    assert_eq!(items.len() as u64, count);
    assert_eq!(read_log(client).await, items);
}

async fn until(answered: &watch::Sender<u64>, count: u64) {
    let mut answered = answered.subscribe();
    within(answered.wait_for(|answered| *answered >= count)).await.expect("it is open");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_run_once_though_the_leader_is_killed_and_reopened() {
    let mut cluster = LocalCluster::start(3, AppendLog::new).await.expect("starts");
    let leader = within(cluster.leader()).await.expect("a leader");
    let client = client(&cluster).await;
    let answered = watch::Sender::new(0);
    let callers = load(&client, 600, &answered);
    until(&answered, 200).await;
    within(cluster.kill(leader)).await.expect("it runs");
    until(&answered, 400).await;
    within(cluster.reopen(leader)).await.expect("its files are sound");
    judge(&client, callers, 600).await;
    let next = within(cluster.caught_up()).await.expect("all run");
    assert_ne!(next, leader);
    client.disconnect().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_run_once_through_hand_overs() {
    let cluster = LocalCluster::start(3, AppendLog::new).await.expect("starts");
    let client = client(&cluster).await;
    let answered = watch::Sender::new(0);
    let callers = load(&client, 400, &answered);
    for (number, count) in [(1, 100), (2, 200), (3, 300)] {
        until(&answered, count).await;
        within(cluster.hand_over(number)).await.expect("all run");
        assert!(cluster.member(number).expect("it runs").status().serving);
    }
    judge(&client, callers, 400).await;
    client.disconnect().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_rejects_a_session_with_a_hint_and_closes() {
    let cluster = LocalCluster::start_with(3, AppendLog::new, patient).await.expect("starts");
    let leader = within(cluster.leader()).await.expect("a leader");
    for number in (1..=3).filter(|number| *number != leader) {
        let address = cluster.member(number).expect("it runs").client_address();
        let mut raw = RawClient::connect(address).await;
        let Some(ServerMessage::SessionRejected { reason, nonce: answered, leader_id }) =
            raw.create().await
        else {
            panic!("it is rejected");
        };
        assert_eq!((reason, answered), (RejectionReason::NotLeader, nonce()));
        assert_eq!(leader_id.expect("a hint").as_str(), format!("node-{leader}"));
        assert_eq!(raw.next().await, None);
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_stops_hands_over_and_tells_its_clients() {
    let mut cluster = LocalCluster::start_with(3, AppendLog::new, patient).await.expect("starts");
    let client = client(&cluster).await;
    append(&client, "before").await;
    let leader = within(cluster.caught_up()).await.expect("a leader");
    let address = cluster.member(leader).expect("it runs").client_address();
    let mut raw = RawClient::connect(address).await;
    let session = raw.session().await;
    let ended = within(cluster.stop_member(leader)).await.expect("it runs");
    assert!(matches!(*ended, Ended::Stopped), "{ended}");
    let Some(ServerMessage::SessionClosed { reason, leader_id }) = raw.next().await else {
        panic!("it is told");
    };
    assert_eq!(reason, SessionCloseReason::NotLeaderAnymore);
    let hint = leader_id.expect("the successor");
    assert_eq!(raw.next().await, None);
    let next = within(cluster.leader()).await.expect("a leader");
    assert_eq!(hint.as_str(), format!("node-{next}"));
    let address = cluster.member(next).expect("it runs").client_address();
    let mut raw = RawClient::connect(address).await;
    let resumed = raw.resume(&session).await;
    assert_eq!(resumed, Some(ServerMessage::SessionContinued { nonce: nonce() }));
    assert_eq!(append(&client, "after").await, 1);
    client.disconnect().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_without_a_successor_stops_as_well_and_loses_nothing() {
    let mut cluster = LocalCluster::start(1, AppendLog::new).await.expect("starts");
    let client = client(&cluster).await;
    append(&client, "before").await;
    let ended = within(cluster.stop_member(1)).await.expect("it runs");
    assert!(matches!(*ended, Ended::Stopped), "{ended}");
    within(cluster.reopen(1)).await.expect("its files are sound");
    assert_eq!(append(&client, "after").await, 1);
    client.disconnect().await;
    cluster.stop().await;
}
