//! `zraft status`: what a client sees of each member.

use std::net::TcpListener;

#[cfg(unix)]
use crate::processes::Cluster;
use crate::support::{run, stderr, stdout};
use serde_json::{Value, json};
use zraft_test_server::{KvStore, TestCluster};

fn status(endpoints: &str, options: &[&str]) -> (Option<i32>, String) {
    let output = run(&[&["status", "-e", endpoints], options].concat());
    assert_eq!(stderr(&output), "");
    (output.status.code(), stdout(&output))
}

fn as_json(endpoints: &str, options: &[&str]) -> (Option<i32>, Value) {
    let (exit, text) = status(endpoints, &[&["--json"], options].concat());
    (exit, serde_json::from_str(&text).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn status_shows_roles_hints_and_failures_and_leaves_no_session() {
    let cluster = TestCluster::builder().members(3).app(KvStore::default()).start().await.unwrap();
    let leader = cluster.leader_elected().await;
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut members: Vec<_> = cluster.endpoints().into_iter().collect();
    members.sort();
    let mut entries: Vec<_> =
        members.iter().map(|(id, address)| format!("{id}={address}")).collect();
    let (exit, all) = as_json(&entries.join(","), &["--exit-code"]);
    assert_eq!(exit, Some(0));
    let leads = members.iter().find(|(id, _)| *id == leader).unwrap();
    assert_eq!((&all["leader"], &all["remarks"]), (&json!(leads.1), &json!([])));
    for ((id, address), member) in members.iter().zip(all["members"].as_array().unwrap()) {
        let (role, hint) = match *id == leader {
            true => ("leader", Value::Null),
            false => ("follower", json!(leader.as_str())),
        };
        assert_eq!(
            (&member["member"], &member["endpoint"]),
            (&json!(id.as_str()), &json!(address))
        );
        assert_eq!((&member["role"], &member["leaderHint"]), (&json!(role), &hint));
        assert!(member["roundTripMillis"].as_f64().unwrap() > 0.0);
    }
    assert!(cluster.sessions().is_empty(), "status opened a session");

    entries.push(format!("node-4=tcp://{closed}"));
    let (exit, text) = status(&entries.join(","), &["--exit-code"]);
    assert_eq!(exit, Some(4), "a member does not answer");
    let lines: Vec<_> = text.lines().collect();
    assert!(
        lines[0].starts_with("member  endpoint ") && lines[0].ends_with("  round trip"),
        "{text}"
    );
    assert!(
        lines[4].starts_with("node-4  tcp://") && lines[4].ends_with("  connection refused"),
        "{text}"
    );
    assert_eq!(lines.len(), 5, "{text}");
    assert_eq!(status(&entries.join(","), &[]).0, Some(0));

    // Of the followers alone, only their hint tells who leads.
    let followers = entries.iter().take(3).filter(|entry| !entry.starts_with(leader.as_str()));
    let followers = followers.cloned().collect::<Vec<_>>().join(",");
    let (exit, text) = status(&followers, &["--exit-code"]);
    assert_eq!(exit, Some(4));
    assert!(text.contains("no member that answers leads"), "{text}");
    assert!(
        text.ends_with(&format!("the leader is {leader}, whose address is not given\n")),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn status_of_members_without_an_answer_names_each_failure_and_exits_2() {
    let deaf = TestCluster::builder().app(KvStore::default()).start().await.unwrap();
    deaf.set_deaf("node-1", true).unwrap();
    let deaf = deaf.endpoints().into_values().next().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let endpoints = format!("tcp://{closed},{},{deaf}", silent.local_addr().unwrap());
    let (exit, all) = as_json(&endpoints, &["--timeout", "2"]);
    assert_eq!((exit, &all["leader"]), (Some(2), &Value::Null));
    let errors: Vec<_> = all["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|member| member["error"].as_str().unwrap())
        .collect();
    assert_eq!(errors, ["refused", "timedOut", "neverAnswered"]);
    assert_eq!(all["members"][1]["message"], "no connection in time");
    assert_eq!(all["members"][0]["member"], Value::Null);
}

#[cfg(unix)]
#[test]
fn status_of_real_members_opens_no_session_and_needs_no_token() {
    let mut cluster = Cluster::start_with(&crate::processes::PATIENT, &["--members", "3"]);
    let leader = cluster.leader_at(0);
    for _ in 0..3 {
        let (exit, all) = as_json(&cluster.endpoints, &["--exit-code"]);
        assert_eq!(exit, Some(0), "{all}");
        for (number, member) in all["members"].as_array().unwrap().iter().enumerate() {
            let (role, hint) = match number == leader {
                true => ("leader", Value::Null),
                false => ("follower", json!(format!("node-{}", leader + 1))),
            };
            assert_eq!((&member["role"], &member["leaderHint"]), (&json!(role), &hint), "{all}");
        }
    }
    let dir = cluster.folder.path().to_str().unwrap();
    let text = stdout(&run(&["cluster", "status", "--dir", dir]));
    assert!(text.contains(", 0 sessions\n"), "{text}");
    cluster.take((leader + 1) % 3).send(rustix::process::Signal::KILL);
    assert_eq!(status(&cluster.endpoints, &["--exit-code"]).0, Some(4));
}
