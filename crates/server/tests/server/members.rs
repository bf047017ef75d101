//! Clients that ask a server for the members.

use std::collections::BTreeMap;

use zraft_protocol::reserved::{self, Members};
use zraft_server::{LocalCluster, MemberConfig};
use zraft_session::{Application, applications::AppendLog};

use crate::support::{append, builder, client, patient, read_log, within};

/// Asks for the members. Returns where clients reach each of them.
async fn listed<A: Application>(cluster: &LocalCluster<A>) -> BTreeMap<String, Option<String>> {
    let client = client(cluster).await;
    let question = reserved::members_question().into_bytes();
    let answer = within(client.submit_query(question)).await.expect("it is answered");
    let members = Members::from_answer(&answer).expect("a list of members");
    members.into_iter().map(|member| (member.id.into(), member.endpoint)).collect()
}

fn endpoints<A: Application>(cluster: &LocalCluster<A>) -> BTreeMap<String, Option<String>> {
    let all = cluster.endpoints().into_iter();
    all.map(|(id, endpoint)| (id.into(), Some(endpoint))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_lists_the_members_and_where_clients_reach_them() {
    let mut cluster = LocalCluster::start_with(3, AppendLog::new, patient).await.expect("starts");
    let leader = within(cluster.leader()).await.expect("a leader");
    assert_eq!(listed(&cluster).await, endpoints(&cluster));
    let added = within(cluster.add_member()).await.expect("the leader takes it");
    let votes = |status: &zraft_server::Status| status.configuration.voters.len() == 4;
    within(cluster.wait(leader, votes)).await.expect("it runs");
    assert_eq!(listed(&cluster).await, endpoints(&cluster));
    // The other leader has met the same members.
    within(cluster.hand_over(added)).await.expect("it takes over");
    assert_eq!(listed(&cluster).await, endpoints(&cluster));
    assert!(read_log(&client(&cluster).await).await.is_empty());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_was_given_one_member_learns_the_others_and_survives_its_end() {
    let mut cluster = LocalCluster::start_with(3, AppendLog::new, patient).await.expect("starts");
    let leader = within(cluster.leader()).await.expect("a leader");
    let name = cluster.member(leader).expect("it runs").identity().member.clone();
    let mut only = cluster.endpoints();
    only.retain(|member, _| *member == name);
    let client = builder(only).discover_members(true).build().expect("the settings are valid");
    within(client.connect()).await.expect("it leads");
    // The answer is not the application's, so only the count shows it.
    while client.stats().answered == 0 {
        within(client.ping()).await.expect("it is connected");
    }
    assert_eq!(append(&client, "one").await, 0);
    within(cluster.kill(leader)).await.expect("it runs");
    assert_eq!(append(&client, "two").await, 1);
    assert_ne!(client.member_id(), Some(name));
    assert_eq!(read_log(&client).await, ["one", "two"]);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_learned_the_members_goes_on_at_one_that_was_added_later_and_elected() {
    let mut cluster = LocalCluster::start_with(1, AppendLog::new, patient).await.expect("starts");
    within(cluster.leader()).await.expect("a leader");
    let client = builder(cluster.endpoints()).discover_members(true);
    let client = client.build().expect("the settings are valid");
    within(client.connect()).await.expect("it leads");
    while client.stats().answered == 0 {
        within(client.ping()).await.expect("it is connected");
    }
    let added = within(cluster.add_member()).await.expect("the leader takes it");
    within(cluster.hand_over(added)).await.expect("it takes over");
    assert_eq!(append(&client, "one").await, 0);
    let name = cluster.member(added).expect("it runs").identity().member.clone();
    assert_eq!(client.member_id(), Some(name));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_gives_the_address_that_it_was_told_to_advertise() {
    let advertise = |config: &mut MemberConfig| {
        patient(config);
        config.client_advertise = Some("db-1.example.com:7001".parse().expect("an address"));
    };
    let cluster = LocalCluster::start_with(1, AppendLog::new, advertise).await.expect("starts");
    within(cluster.leader()).await.expect("a leader");
    let expected = Some("tcp://db-1.example.com:7001".to_owned());
    assert_eq!(listed(&cluster).await, [("node-1".to_owned(), expected)].into());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_listens_on_every_interface_has_no_endpoint() {
    let everywhere = |config: &mut MemberConfig| {
        patient(config);
        config.client_address.set_ip([0, 0, 0, 0].into());
    };
    let cluster = LocalCluster::start_with(1, AppendLog::new, everywhere).await.expect("starts");
    within(cluster.leader()).await.expect("a leader");
    assert_eq!(listed(&cluster).await, [("node-1".to_owned(), None)].into());
    cluster.stop().await;
}
