//! Commands with members that hang, do not lead or are missing in the list.

use std::net::TcpListener;

use crate::support::{run, stderr, stdout};
use zraft_test_server::{ClusterBuilder, KvStore, TestCluster};

async fn start(builder: ClusterBuilder) -> TestCluster {
    builder.app(KvStore::default()).start().await.unwrap()
}

/// Opens a port that accepts connections and never sends a byte.
fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp://{}", listener.local_addr().unwrap());
    (listener, endpoint)
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_member_listed_first_does_not_keep_a_command_from_the_next() {
    let cluster = start(TestCluster::builder()).await;
    let (_listener, endpoint) = silent();
    let healthy = cluster.endpoints().into_values().next().unwrap();
    let endpoints = format!("silent={endpoint},node-1={healthy}");
    // The first command waits for the default timeout.
    for (timeout, command) in [
        (&[][..], &["get", "key"][..]),
        (&["--timeout", "2"], &["set", "key", "value"]),
        (&["--timeout", "2"], &["ping", "-c", "1"]),
    ] {
        let output = run(&[&command[..1], &["-e", &endpoints], timeout, &command[1..]].concat());
        assert_eq!(output.status.code(), Some(0), "{command:?}: {}", stderr(&output));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_deaf_members_do_not_keep_a_command_from_the_third() {
    let cluster = start(TestCluster::builder()).await;
    let deaf = [start(TestCluster::builder()).await, start(TestCluster::builder()).await];
    let mut endpoints = Vec::new();
    for (number, deaf) in deaf.iter().enumerate() {
        deaf.set_deaf("node-1", true).unwrap();
        endpoints.push(format!("deaf-{number}={}", deaf.endpoints().into_values().next().unwrap()));
    }
    endpoints.push(format!("node-1={}", cluster.endpoints().into_values().next().unwrap()));
    let output = run(&["get", "-e", &endpoints.join(","), "--timeout", "3", "key"]);
    assert_eq!(stdout(&output), "key = <none>\n", "{}", stderr(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn leader_that_is_not_in_the_list_is_named() {
    let cluster = start(TestCluster::builder().members(3)).await;
    let leader = cluster.leader_elected().await;
    let followers = cluster.endpoints().into_iter().filter(|(id, _)| *id != leader);
    let endpoints: Vec<_> = followers.map(|(id, address)| format!("{id}={address}")).collect();
    let output = run(&["get", "-e", &endpoints.join(","), "--timeout", "1", "key"]);
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    assert!(text.contains(&format!("the leader is {leader}, which is not configured")), "{text}");
}
