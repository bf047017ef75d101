//! Status, probes, metrics and alarms.

use serde_json::{Value, json};
use zraft_server::Alarm;

use super::{Cluster, alarms};
use crate::{
    http::{get, status},
    support::{append, client, within},
};

#[tokio::test(flavor = "multi_thread")]
async fn status_names_the_member_the_leader_and_how_far_each_member_is() {
    let cluster = Cluster::start(3).await;
    let client = client(&cluster.members).await;
    append(&client, "an item").await;
    let leader = within(cluster.members.caught_up()).await.expect("all run");
    let name = format!("node-{leader}");
    let shown = cluster.until(leader, |status| {
        let members = status["members"].as_array().expect("a list");
        members.iter().all(|member| member["matched"] == status["log"]["last"])
    });
    let shown = shown.await;
    assert_eq!(shown["member"], name.as_str());
    assert_eq!(shown["leader"], name.as_str());
    assert_eq!((&shown["role"], &shown["serving"]), (&json!("leader"), &json!(true)));
    assert_eq!((&shown["sessions"], &shown["client_connections"]), (&json!(1), &json!(1)));
    assert_eq!(shown["settings"]["sessions"], 65_536);
    assert_eq!(alarms(&shown), [""; 0]);
    for member in shown["members"].as_array().expect("a list") {
        assert_eq!((&member["role"], &member["active"]), (&json!("voter"), &json!(true)));
    }
    for other in cluster.others(leader) {
        let follower = status(cluster.admin(other)).await;
        assert_eq!(follower["leader"], name.as_str());
        assert_eq!(follower["role"], "follower");
        assert_eq!(follower["members"][0].get("matched"), None, "only the leader knows");
        assert_eq!(follower["cluster"], shown["cluster"]);
    }
    client.disconnect().await;
    cluster.members.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn status_shows_the_last_events_newest_first() {
    let mut cluster = Cluster::start(3).await;
    let (leader, address) = cluster.leader().await;
    let down = cluster.others(leader)[0];
    within(cluster.members.kill(down)).await.expect("it runs");
    let lost = format!("lost node-{down} at ");
    let shown =
        cluster.until(leader, |status| texts(status).iter().any(|text| text.starts_with(&lost)));
    let shown = shown.await;
    let texts = texts(&shown);
    let leads = format!("leads in term {}", shown["term"]);
    let place = |wanted: &str| texts.iter().position(|text| text.starts_with(wanted));
    assert!(place(&lost) < place(&leads), "{texts:?}");
    let times =
        shown["events"].as_array().expect("a list").iter().map(|event| event["at_millis"].as_u64());
    assert!(times.is_sorted_by(|newer, older| newer >= older), "{shown}");
    // A session's id lets its reader take it over, so no event holds what a client sent.
    let client = client(&cluster.members).await;
    append(&client, "an item").await;
    let before = texts.len();
    assert_eq!(status(address).await["events"].as_array().map(Vec::len), Some(before));
    client.disconnect().await;
    cluster.members.stop().await;
}

fn texts(status: &Value) -> Vec<&str> {
    let events = status["events"].as_array().expect("a list");
    events.iter().filter_map(|event| event["text"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_those_of_the_table_and_count_what_happens() {
    let cluster = Cluster::start(1).await;
    let address = cluster.admin(1);
    let client = client(&cluster.members).await;
    append(&client, "an item").await;
    let text = get(address, "/metrics").await.body;
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let name_of = |line: &str| line.split(['{', ' ']).next().unwrap_or_default().to_owned();
    // This member has no certificates.
    for metric in zraft_server::metrics().filter(|metric| metric.labels() != "port") {
        let name = metric.name();
        let shown = |line: &&&str| name_of(line).starts_with(&name);
        let line = lines.iter().find(shown).unwrap_or_else(|| panic!("{name} is missing"));
        let labels = metric.labels().split(", ").filter(|label| !label.is_empty());
        for label in labels {
            assert!(line.contains(&format!("{label}=\"")), "{line}");
        }
        let kind = format!("# TYPE {name} {}\n", metric.kind());
        assert!(text.contains(&kind), "{kind} is missing in\n{text}");
        let help = format!("# HELP {name} {}", metric.text());
        assert!(text.contains(&help), "{help} is missing in\n{text}");
    }
    for line in &lines {
        let known = |name: &str| {
            ["", "_sum", "_count", "_bucket"]
                .iter()
                .any(|end| name_of(line) == format!("{name}{end}"))
        };
        assert!(zraft_server::metrics().any(|metric| known(&metric.name())), "{line}");
    }
    for line in ["zraft_leader 1", "zraft_voter 1", "zraft_sessions 1"] {
        assert!(lines.contains(&line), "{line} is missing in\n{text}");
    }
    // A client on a busy machine may have sent copies.
    for counter in [
        "zraft_commands_total ",
        "zraft_answers_total ",
        "zraft_writes_total ",
        "zraft_command_duration_seconds_count ",
    ] {
        let value = lines.iter().find_map(|line| line.strip_prefix(counter));
        let value: u64 = value.expect("it is there").parse().expect("a whole number");
        assert!(value >= 1, "{counter} in\n{text}");
    }
    for alarm in Alarm::ALL {
        let line = format!("zraft_alarm{{alarm=\"{}\"}} 0", alarm.name());
        assert!(lines.contains(&line.as_str()), "{line} is missing in\n{text}");
    }
    client.disconnect().await;
    cluster.members.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leader_raises_alarms_for_a_member_that_is_down_and_takes_them_back() {
    let mut cluster = Cluster::start(3).await;
    let (leader, _) = cluster.leader().await;
    let down = cluster.others(leader)[0];
    within(cluster.members.kill(down)).await.expect("it runs");
    let shown = cluster.until(leader, |status| !alarms(status).is_empty()).await;
    assert_eq!(alarms(&shown), ["member_silent", "no_margin"]);
    within(cluster.members.reopen(down)).await.expect("its files are sound");
    cluster.until(leader, |status| alarms(status).is_empty()).await;
    cluster.members.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn member_without_a_majority_is_alive_and_not_ready() {
    let mut cluster = Cluster::start(3).await;
    let (left, address) = cluster.leader().await;
    for down in cluster.others(left) {
        within(cluster.members.kill(down)).await.expect("it runs");
    }
    cluster.until(left, |status| status["leader"].is_null()).await;
    let ready = get(address, "/readyz").await;
    assert_eq!(ready.status, 503);
    assert_eq!(ready.body, "not ready: the member knows no leader\n");
    assert_eq!(get(address, "/livez").await.status, 200);
    cluster.members.stop().await;
}
