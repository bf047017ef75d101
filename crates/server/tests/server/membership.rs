use bytes::Bytes;
use zraft_server::{LocalCluster, MemberConfig, RaftId};
use zraft_session::applications::AppendLog;

use crate::support::{append, client, read_log, within};

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_member_gets_a_snapshot_votes_by_itself_and_can_lead() {
    // Small chunks of the log, so that the first entries are in a snapshot only.
    let small = |config: &mut MemberConfig| config.limits.snapshot_after = 32 << 10;
    let mut cluster = LocalCluster::start_with(3, AppendLog::new, small).await.expect("starts");
    let client = client(&cluster).await;
    let mut items = Vec::new();
    let leader = within(cluster.leader()).await.expect("a leader");
    while cluster.member(leader).expect("it runs").figures().snapshots < 3 {
        let item = Bytes::from(format!("{:0>1000}", items.len()));
        append(&client, item.clone()).await;
        items.push(item);
    }
    let new = within(cluster.add_member()).await.expect("a majority is there");
    let id = RaftId::new(new).expect("not 0");
    within(cluster.wait(new, |status| status.configuration.voters.contains(&id)))
        .await
        .expect("it runs");
    client.disconnect().await;
    within(cluster.hand_over(new)).await.expect("all run");
    // This one knows the new member as well.
    let client = crate::support::client(&cluster).await;
    assert_eq!(read_log(&client).await, items, "the new member answers from what it received");
    client.disconnect().await;
    cluster.stop().await;
}
