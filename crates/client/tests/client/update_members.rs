//! New lists of members, given to a client while it runs.

use std::time::Duration;

use crate::support::cluster::{client_of, log_cluster, settings};
use crate::support::{builder, next_event, within};
use zraft_client::{ConnectionCause, Error, Event};

/// A port of this computer at which nothing listens.
const NOWHERE: &str = "tcp://127.0.0.1:1";

#[tokio::test]
async fn session_goes_on_at_a_member_that_was_added() {
    let cluster = log_cluster(3).await;
    let endpoints = cluster.endpoints();
    let members: Vec<_> =
        endpoints.iter().map(|(id, endpoint)| (id.as_str(), endpoint.as_str())).collect();
    within(cluster.move_leadership("node-1")).await.unwrap();
    let (client, _) = client_of(builder().member(members[0].0, members[0].1)).await;
    within(client.submit_command("a")).await.unwrap();
    let session = client.session_id();
    client.update_members([members[1], members[2]]).unwrap();
    assert_eq!(client.member_id().unwrap().as_str(), "node-1", "the connection stays");
    within(client.submit_command("b")).await.unwrap();
    within(cluster.move_leadership("node-3")).await.unwrap();
    within(client.submit_command("c")).await.unwrap();
    assert_eq!(client.member_id().unwrap().as_str(), "node-3");
    assert_eq!(client.session_id(), session);
}

#[tokio::test]
async fn connect_that_finds_no_member_succeeds_with_a_new_list() {
    let cluster = log_cluster(1).await;
    let client = builder().member("node-1", NOWHERE).build().unwrap();
    let connecting = tokio::spawn(client.connect().into_future());
    let mut events = client.events();
    within(events.next()).await.unwrap();
    client.update_members(cluster.endpoints()).unwrap();
    within(connecting).await.unwrap().unwrap();
}

#[tokio::test]
async fn list_that_is_given_before_connect_counts() {
    let cluster = log_cluster(1).await;
    let client = builder().member("node-1", NOWHERE).build().unwrap();
    client.update_members(cluster.endpoints()).unwrap();
    within(client.connect()).await.unwrap();
    // It also counts for the next driver, which starts after the client has ended.
    within(client.disconnect()).await;
    within(client.connect()).await.unwrap();
}

/// The way in which an application follows a hint at a member that is not configured.
#[tokio::test]
async fn leader_that_is_not_configured_is_found_once_the_application_adds_it() {
    let cluster = log_cluster(3).await;
    within(cluster.move_leadership("node-3")).await.unwrap();
    let endpoints = cluster.endpoints();
    let follower = endpoints.iter().find(|(id, _)| id.as_str() == "node-1").unwrap();
    let client = builder().member(follower.0.as_str(), follower.1).build().unwrap();
    let mut events = client.events();
    let connecting = tokio::spawn(client.connect().into_future());
    let named = next_event(&mut events, |event| match event {
        Event::ConnectionFailure {
            error: ConnectionCause::LeaderNotConfigured { leader_id },
            ..
        } => Some(leader_id.clone()),
        _ => None,
    })
    .await;
    let members = endpoints.iter().filter(|(id, _)| **id == *follower.0 || **id == named);
    client.update_members(members.map(|(id, endpoint)| (id.as_str(), endpoint.as_str()))).unwrap();
    within(connecting).await.unwrap().unwrap();
    assert_eq!(client.member_id(), Some(named));
}

#[tokio::test]
async fn list_that_the_builder_would_refuse_changes_nothing() {
    let cluster = log_cluster(1).await;
    let (client, _) = client_of(settings(&cluster)).await;
    let none: [(&str, &str); 0] = [];
    for refused in [
        client.update_members(none),
        client.update_members([("node-1", "nonsense")]),
        client.update_members([("node-1", "tls://127.0.0.1:1")]),
    ] {
        assert!(matches!(refused, Err(Error::Validation(_))), "{refused:?}");
    }
    within(client.disconnect()).await;
    within(client.connect_within(Duration::from_secs(10))).await.unwrap();
}

#[tokio::test]
async fn resolver_of_the_application_finds_a_leader_that_is_not_configured() {
    let cluster = log_cluster(3).await;
    within(cluster.move_leadership("node-3")).await.unwrap();
    let endpoints = cluster.endpoints();
    let directory = endpoints.clone();
    let follower = endpoints.iter().find(|(id, _)| id.as_str() == "node-1").unwrap();
    let client = builder()
        .member(follower.0.as_str(), follower.1)
        .member_resolver(move |leader| {
            let found = directory.iter().find(|(id, _)| **id == leader);
            let found = found.map(|(_, endpoint)| endpoint.clone());
            async move { found }
        })
        .build()
        .unwrap();
    within(client.connect()).await.unwrap();
    assert_eq!(client.member_id().unwrap().as_str(), "node-3");
    let mut events = client.events();
    within(cluster.move_leadership("node-2")).await.unwrap();
    let at = next_event(&mut events, |event| match event {
        Event::Connected { member_id, .. } => Some(member_id.clone()),
        _ => None,
    })
    .await;
    assert_eq!(at.as_str(), "node-2");
}

#[tokio::test]
async fn members_of_a_name_are_its_addresses() {
    let cluster = log_cluster(1).await;
    let endpoints = cluster.endpoints();
    let (_, endpoint) = endpoints.first_key_value().unwrap();
    let port = endpoint.rsplit_once(':').unwrap().1;
    let name = format!("tcp://localhost:{port}");
    let client = builder().members_from_dns(name).build().unwrap();
    within(client.connect()).await.unwrap();
    let mut events = client.events();
    within(cluster.cut_connections(None)).await.unwrap();
    let at = next_event(&mut events, |event| match event {
        Event::Connected { endpoint, .. } => Some(endpoint.clone()),
        _ => None,
    })
    .await;
    assert_eq!(at, format!("tcp://127.0.0.1:{port}"));
    assert!(builder().members_from_dns("db:7001").build().is_err(), "without a scheme");
}
