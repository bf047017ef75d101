use std::{fs, io, path::Path};

use zraft_server::{Ended, LocalCluster, MembershipChange, RaftId, StopReason};
use zraft_session::applications::AppendLog;

use crate::support::{append, client, within};

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_whose_directory_was_rolled_back_ends_and_the_others_go_on() {
    let mut cluster = LocalCluster::start(3, AppendLog::new).await.expect("starts");
    let client = client(&cluster).await;
    append(&client, "before").await;
    let leader = within(cluster.caught_up()).await.expect("all run");
    let follower = cluster.numbers().find(|number| *number != leader).expect("three");
    let directory = cluster.directory(follower).expect("it exists");
    let backup = tempfile::tempdir().expect("a folder");
    within(cluster.kill(follower)).await.expect("it runs");
    copy(&directory, backup.path()).expect("readable");
    within(cluster.reopen(follower)).await.expect("its files are sound");
    append(&client, "after").await;
    within(cluster.caught_up()).await.expect("all run");
    within(cluster.kill(follower)).await.expect("it runs");
    copy(backup.path(), &directory).expect("writable");
    within(cluster.reopen(follower)).await.expect("the old files are sound, too");
    let ended = within(cluster.member(follower).expect("it was started").ended()).await;
    let rolled_back = matches!(
        *ended,
        Ended::Replica(StopReason::RolledBack { .. } | StopReason::LostLog { .. })
    );
    assert!(rolled_back, "{ended}");
    within(cluster.kill(follower)).await.expect("it was started");
    assert_eq!(append(&client, "the others go on").await, 2);
    client.disconnect().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_was_removed_while_it_was_down_ends_at_its_return() {
    let mut cluster = LocalCluster::start(3, AppendLog::new).await.expect("starts");
    let leader = within(cluster.caught_up()).await.expect("all run");
    let old = cluster.numbers().find(|number| *number != leader).expect("three");
    within(cluster.kill(old)).await.expect("it runs");
    let id = RaftId::new(old).expect("not 0");
    let change = MembershipChange::Remove(id);
    let member = cluster.member(leader).expect("it runs");
    within(member.change_membership(change)).await.expect("two of three are there");
    within(cluster.wait(leader, |status| status.configuration.removed.contains(&id)))
        .await
        .expect("it runs");
    within(cluster.reopen(old)).await.expect("its files are sound");
    let ended = within(cluster.member(old).expect("it was started").ended()).await;
    assert!(matches!(*ended, Ended::Replica(StopReason::Removed)), "{ended}");
    assert!(ended.to_string().contains("empty directory"), "it names the remedy: {ended}");
    cluster.stop().await;
}
