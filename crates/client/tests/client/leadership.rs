//! A cluster that loses its leader: the session continues, and each command runs once.

use std::collections::HashMap;
use std::time::Duration;

use crate::support::cluster::{client_of, executed, log_cluster, settings};
use crate::support::{builder, disconnected, reaches, within};
use zraft_client::{ConnectionCause, Error, RaftClient, StateName};
use zraft_test_server::{Hints, KillLoss, TestCluster};

/// Submits 400 commands while `disturb` runs. Each must be answered and must have run once, in one session.
async fn commands_survive(
    cluster: &TestCluster,
    client: &RaftClient,
    disturb: impl Future<Output = ()>,
) {
    let total = 400_usize;
    let load = async {
        let mut running = tokio::task::JoinSet::new();
        for n in 0..total {
            running.spawn(client.submit_command(n.to_string()).into_future());
            if running.len() >= 50 {
                running.join_next().await.unwrap().unwrap().unwrap();
            }
        }
        while let Some(answer) = running.join_next().await {
            answer.unwrap().unwrap();
        }
    };
    within(async { tokio::join!(load, disturb) }).await;
    let mut times = HashMap::new();
    for payload in executed(cluster) {
        *times.entry(payload).or_insert(0) += 1;
    }
    assert_eq!(times.len(), total);
    assert!(times.values().all(|&count| count == 1), "each once");
    assert_eq!(cluster.sessions().len(), 1);
}

#[tokio::test]
async fn client_follows_the_hint_of_a_follower_to_the_leader() {
    let cluster = log_cluster(3).await;
    within(cluster.move_leadership("node-3")).await.unwrap();
    let (client, _) = client_of(settings(&cluster)).await;
    assert_eq!(client.member_id().unwrap().as_str(), "node-3");
}

#[tokio::test]
async fn client_finds_the_leader_without_usable_hints() {
    let cluster = log_cluster(3).await;
    within(cluster.move_leadership("node-3")).await.unwrap();
    for hints in [Hints::Absent, Hints::Itself, Hints::Circular] {
        cluster.set_hints(None, hints).unwrap();
        let (client, _) = client_of(settings(&cluster)).await;
        assert_eq!(client.member_id().unwrap().as_str(), "node-3");
        within(client.disconnect()).await;
    }
}

#[tokio::test]
async fn hand_over_of_leadership_loses_and_repeats_no_command() {
    let cluster = log_cluster(3).await;
    let (client, _) = client_of(settings(&cluster)).await;
    let disturb = async {
        cluster.journal_reached(50).await;
        cluster.move_leadership("node-2").await.unwrap();
        cluster.journal_reached(150).await;
        cluster.move_leadership("node-3").await.unwrap();
    };
    commands_survive(&cluster, &client, disturb).await;
    reaches(&client, StateName::Connected).await;
    assert_eq!(client.member_id().unwrap().as_str(), "node-3");
}

#[tokio::test]
async fn kill_of_the_leader_loses_and_repeats_no_command() {
    for loss in [KillLoss::Unreceived, KillLoss::Uncommitted, KillLoss::Unanswered, KillLoss::Mixed]
    {
        let cluster = log_cluster(3).await;
        let (client, _) = client_of(settings(&cluster)).await;
        let disturb = async {
            cluster.journal_reached(100).await;
            let leader = cluster.leader_elected().await;
            cluster.kill(leader.as_str(), loss).await.unwrap();
            cluster.leader_elected().await;
            cluster.restart(leader.as_str()).await.unwrap();
        };
        commands_survive(&cluster, &client, disturb).await;
    }
}

#[tokio::test]
async fn command_waits_for_the_end_of_an_election() {
    let cluster = log_cluster(3).await;
    let (client, mut events) = client_of(settings(&cluster)).await;
    cluster.set_election_pause(Duration::from_millis(500));
    cluster.step_down(None).unwrap();
    assert_eq!(disconnected(&mut events).await, "notLeader");
    within(client.submit_command("after the election")).await.unwrap();
    assert_eq!(executed(&cluster), [b"after the election"]);
}

#[tokio::test]
async fn client_leaves_a_deaf_leader() {
    let cluster = log_cluster(3).await;
    let impatient = settings(&cluster).connection_timeout(Duration::from_millis(200));
    let (client, mut events) = client_of(impatient).await;
    let deaf = client.member_id().unwrap();
    cluster.set_deaf(deaf.as_str(), true).unwrap();
    let answer = client.try_submit_command("never answered by this leader").unwrap();
    assert_eq!(disconnected(&mut events).await, "keepAliveTimeout");
    within(cluster.move_leadership("node-2")).await.unwrap();
    within(answer).await.unwrap();
    assert_ne!(client.member_id().unwrap(), deaf);
}

#[tokio::test]
async fn connect_error_names_a_leader_that_is_not_configured() {
    let cluster = log_cluster(3).await;
    within(cluster.move_leadership("node-3")).await.unwrap();
    let followers = cluster.endpoints().into_iter().filter(|(id, _)| id.as_str() != "node-3");
    let settings = followers.fold(builder(), |all, (id, address)| all.member(id.as_str(), address));
    let client = settings.build().unwrap();
    let error = within(client.connect_within(Duration::from_millis(500))).await.unwrap_err();
    let Error::Connection { cause: ConnectionCause::LeaderNotConfigured { leader_id }, .. } =
        &error
    else {
        panic!("{error:?}")
    };
    assert_eq!(leader_id.as_str(), "node-3");
    let text = error.to_string();
    assert!(text.contains("the leader is node-3, which is not configured"), "{text}");
}
