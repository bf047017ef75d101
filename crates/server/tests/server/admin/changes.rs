//! Changes of the cluster that operators ask for.

use serde_json::{Value, json};

use super::Cluster;
use crate::{
    http::{post, status},
    support::{append, client},
};

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_are_changed_reach_every_member_and_the_others_stay() {
    let cluster = Cluster::start(3).await;
    let (leader, address) = cluster.leader().await;
    let answer = post(address, "/v1/settings", &json!({ "sessions": 7 })).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    for number in 1..=3 {
        let shown = cluster.until(number, |status| status["settings"]["sessions"] == 7).await;
        assert_eq!(shown["settings"]["payload_bytes"], 16 << 20);
    }
    let answer = post(address, "/v1/settings", &json!({ "sessions": 0 })).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "field"));
    assert!(answer.message().contains("sessions: 0 is not from 1 to"), "{answer:?}");
    let answer = post(address, "/v1/settings", &json!({ "session": 1 })).await;
    assert!(answer.message().starts_with("there is no setting session"), "{answer:?}");
    assert_eq!(status(address).await["settings"]["sessions"], 7, "of {leader}");
    cluster.members.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn follower_refuses_changes_and_names_the_leader() {
    let cluster = Cluster::start(3).await;
    let (leader, _) = cluster.leader().await;
    let follower = cluster.admin(cluster.others(leader)[0]);
    for (path, body) in [
        ("/v1/leader/move", json!({})),
        ("/v1/clock/accept", json!({})),
        ("/v1/settings", json!({ "sessions": 7 })),
        ("/v1/members/remove", json!({ "member": "node-1" })),
        ("/v1/members/add", json!({ "member": "node-4", "peer_address": "127.0.0.1:1" })),
    ] {
        let answer = post(follower, path, &body).await;
        assert_eq!((answer.status, answer.code().as_str()), (409, "not_leader"), "{path}");
        let hint = &answer.json()["error"]["leader"];
        assert_eq!(*hint, format!("node-{leader}"), "{path}");
    }
    cluster.members.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_moves_to_the_member_that_is_named() {
    let cluster = Cluster::start(3).await;
    let (leader, address) = cluster.leader().await;
    let next = cluster.others(leader)[1];
    let (own, other) = (format!("node-{leader}"), format!("node-{next}"));
    let answer = post(address, "/v1/leader/move", &json!({ "member": own })).await;
    assert_eq!((answer.status, answer.code().as_str()), (409, "target"));
    let answer = post(address, "/v1/leader/move", &json!({ "member": "node-9" })).await;
    assert_eq!(answer.status, 404);
    assert!(answer.message().contains("the members are node-1, node-2, node-3"), "{answer:?}");
    let answer = post(address, "/v1/leader/move", &json!({ "member": other })).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    cluster.until(leader, |status| status["leader"] == other.as_str()).await;
    cluster.members.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn member_is_added_moved_and_removed_by_its_name() {
    let cluster = Cluster::start(3).await;
    let (leader, address) = cluster.leader().await;
    let add = json!({ "member": "node-4", "peer_address": "127.0.0.1:1", "feature_level": 1 });
    let answer = post(address, "/v1/members/add", &add).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(answer.json()["id"], 4);
    let shown = status(address).await;
    assert_eq!(answer.json()["cluster"], shown["cluster"]);
    let of = |status: &Value, name: &str| {
        let members = status["members"].as_array().expect("a list");
        members.iter().find(|member| member["name"] == name).cloned()
    };
    let shown = cluster.until(leader, |status| of(status, "node-4").is_some()).await;
    assert_eq!(of(&shown, "node-4").expect("it is there")["role"], "learner", "it is not there");
    let again = post(address, "/v1/members/add", &add).await;
    assert_eq!((again.status, again.code().as_str()), (409, "exists"));

    let update = json!({ "member": "node-4", "peer_address": "127.0.0.1:2" });
    assert_eq!(post(address, "/v1/members/update", &update).await.status, 202);
    cluster
        .until(leader, |status| {
            of(status, "node-4").is_some_and(|member| member["peer_address"] == "127.0.0.1:2")
        })
        .await;
    let remove = json!({ "member": "node-4" });
    assert_eq!(post(address, "/v1/members/remove", &remove).await.status, 202);
    cluster.until(leader, |status| of(status, "node-4").is_none()).await;
    assert_eq!(post(address, "/v1/members/remove", &remove).await.status, 404);

    let answer = post(address, "/v1/members/add", &add).await;
    assert_eq!(answer.json()["id"], 5, "the number of a removed member is not used again");
    cluster.members.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshot_that_is_asked_for_holds_what_was_applied() {
    let cluster = Cluster::start(1).await;
    let client = client(&cluster.members).await;
    append(&client, "an item").await;
    let address = cluster.admin(1);
    assert!(status(address).await["snapshot"].is_null(), "the log is short");
    let answer = post(address, "/v1/snapshot", &json!({})).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let applied = answer.json()["applied"].as_u64().expect("a number");
    cluster.until(1, |status| status["snapshot"]["index"].as_u64() >= Some(applied)).await;
    client.disconnect().await;
    cluster.members.stop().await;
}
