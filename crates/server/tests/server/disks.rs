use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use zraft_server::{LocalCluster, Member, MemberConfig, StartError, StoreError};
use zraft_session::applications::{AppendLog, Echo};

use crate::support::{append, client, read_log, within};

/// Checks that all members have the same state.
async fn all_equal(cluster: &LocalCluster<AppendLog>) {
    let leader = within(cluster.caught_up()).await.expect("all run");
    let expected = cluster.member(leader).expect("it runs").status();
    for number in cluster.running() {
        let same = |status: &zraft_server::Status| status.applied >= expected.applied;
        let status = within(cluster.wait(number, same)).await.expect("it runs");
        if status.applied == expected.applied {
            assert_eq!(status.history, expected.history, "member {number}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_was_down_catches_up_from_its_own_disk() {
    let mut cluster = LocalCluster::start(3, AppendLog::new).await.expect("starts");
    let client = client(&cluster).await;
    append(&client, "one").await;
    let leader = within(cluster.caught_up()).await.expect("all run");
    let follower = cluster.numbers().find(|number| *number != leader).expect("three");
    within(cluster.kill(follower)).await.expect("it runs");
    for number in 0..50 {
        append(&client, format!("item {number}")).await;
    }
    within(cluster.reopen(follower)).await.expect("its files are sound");
    all_equal(&cluster).await;
    client.disconnect().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_all_members_loses_nothing_and_keeps_the_session() {
    let mut cluster = LocalCluster::start(3, AppendLog::new).await.expect("starts");
    let client = client(&cluster).await;
    let session = client.session_id().expect("connected");
    let mut items = Vec::new();
    for round in 0..2 {
        for number in 0..20 {
            let item = Bytes::from(format!("round {round}, item {number}"));
            append(&client, item.clone()).await;
            items.push(item);
        }
        for number in 1..=3 {
            within(cluster.kill(number)).await.expect("it runs");
        }
        for number in 1..=3 {
            within(cluster.reopen(number)).await.expect("its files are sound");
        }
    }
    assert_eq!(read_log(&client).await, items);
    assert_eq!(client.session_id(), Some(session));
    all_equal(&cluster).await;
    client.disconnect().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_restarts_from_its_own_snapshot() {
    let small = |config: &mut MemberConfig| config.limits.snapshot_after = 64 << 10;
    let mut cluster = LocalCluster::start_with(1, AppendLog::new, small).await.expect("starts");
    let client = client(&cluster).await;
    let mut items = Vec::new();
    while cluster.member(1).expect("it runs").figures().snapshots < 3 {
        let item = Bytes::from(format!("{:0>1000}", items.len()));
        append(&client, item.clone()).await;
        items.push(item);
    }
    within(cluster.kill(1)).await.expect("it runs");
    within(cluster.reopen(1)).await.expect("its files are sound");
    assert_eq!(read_log(&client).await, items);
    client.disconnect().await;
    cluster.stop().await;
}

fn config(directory: std::path::PathBuf) -> MemberConfig {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    MemberConfig::new(directory, any, any)
}

#[tokio::test]
async fn a_directory_belongs_to_one_process_at_a_time() {
    let cluster = LocalCluster::start(1, || Echo).await.expect("starts");
    let directory = cluster.directory(1).expect("it exists");
    let second = within(Member::start(config(directory), Echo)).await;
    let refused = second.map(drop).expect_err("it is in use");
    assert!(matches!(refused, StartError::Store(StoreError::InUse { .. })), "{refused}");
    cluster.stop().await;
}

#[tokio::test]
async fn a_start_creates_no_member() {
    let folder = tempfile::tempdir().expect("a folder");
    for directory in [folder.path().to_owned(), folder.path().join("missing")] {
        let refused = within(Member::start(config(directory), Echo)).await;
        let refused = refused.map(drop).expect_err("there is none");
        assert!(matches!(refused, StartError::Store(StoreError::Empty { .. })), "{refused}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).expect("readable").count(), 0);
}
