//! The admin port: who may ask, what it answers, and what it changes.

use std::{fs, net::SocketAddr, path::PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use zraft_server::{
    AdminConfig, Alarm, LocalCluster, LocalClusterError, MemberConfig, StartError, TokenError,
};
use zraft_session::applications::AppendLog;

use crate::{
    http::{TOKEN, bearer, exchange, get, post, request, status},
    support::{append, client, patient, within},
};

/// A cluster with admin ports, whose members read their token from one file.
struct Cluster {
    members: LocalCluster<AppendLog>,
    token_file: PathBuf,
    _folder: TempDir,
}

impl Cluster {
    async fn start(count: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let token_file = folder.path().join("admin.token");
        fs::write(&token_file, TOKEN).expect("it is written");
        let file = token_file.clone();
        let configure = move |config: &mut MemberConfig| {
            patient(config);
            let address = SocketAddr::from(([127, 0, 0, 1], 0));
            config.admin = Some(AdminConfig { address, token_file: file.clone() });
        };
        let members = LocalCluster::start_with(count, AppendLog::new, configure).await;
        let members = members.expect("starts");
        within(members.leader()).await.expect("a leader");
        Self { members, token_file, _folder: folder }
    }

    fn admin(&self, number: u64) -> SocketAddr {
        let member = self.members.member(number).expect("it runs");
        member.admin_address().expect("it has an admin port")
    }

    async fn leader(&self) -> (u64, SocketAddr) {
        let leader = within(self.members.leader()).await.expect("a leader");
        (leader, self.admin(leader))
    }

    fn others(&self, number: u64) -> Vec<u64> {
        self.members.numbers().filter(|other| *other != number).collect()
    }

    /// Asks a member again and again until its status is as wanted.
    async fn until(&self, number: u64, mut wanted: impl FnMut(&Value) -> bool) -> Value {
        let address = self.admin(number);
        within(async {
            loop {
                let status = status(address).await;
                if wanted(&status) {
                    return status;
                }
            }
        })
        .await
    }
}

fn alarms(status: &Value) -> Vec<&str> {
    let alarms = status["alarms"].as_array().expect("a list");
    alarms.iter().filter_map(|alarm| alarm["code"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_and_metrics_need_no_token_and_everything_else_does() {
    let cluster = Cluster::start(1).await;
    let address = cluster.admin(1);
    for (path, body) in [("/livez", "alive\n"), ("/readyz", "ready\n")] {
        let answer = get(address, path).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, body));
    }
    let metrics = get(address, "/metrics").await;
    assert!(metrics.head.contains("content-type: text/plain; version=0.0.4"), "{metrics:?}");
    for line in [
        "GET /v1/status",
        "GET /v1/history",
        "GET /v1/backup",
        "POST /v1/snapshot",
        "POST /v1/unknown",
    ] {
        let answer = request(address, line, &[], "").await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "token"), "{line}");
        assert!(answer.head.contains("www-authenticate: Bearer"), "{answer:?}");
        let wrong = bearer("0123456789abcdef0123456789abcdee");
        let answer = request(address, line, &[&wrong], "").await;
        assert_eq!(answer.status, 401, "{line}");
        assert!(!answer.body.contains(TOKEN) && !answer.body.contains("abcdee"), "{answer:?}");
    }
    let refused = cluster.members.member(1).expect("it runs").figures().admin_refused;
    assert_eq!(refused, 10);
    cluster.members.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_token_counts_at_once_and_an_old_one_until_it_is_removed() {
    let cluster = Cluster::start(1).await;
    let address = cluster.admin(1);
    let (old, new) = (bearer(TOKEN), bearer("ffffffffffffffffffffffffffffffff"));
    let allowed = async |token: &str| request(address, "GET /v1/status", &[token], "").await.status;
    for (file, with_old, with_new) in [
        (format!("{TOKEN}\n"), 200, 401),
        (format!("{TOKEN}\nffffffffffffffffffffffffffffffff\n"), 200, 200),
        ("ffffffffffffffffffffffffffffffff\n".to_owned(), 401, 200),
        // What cannot be used changes nothing.
        (String::new(), 401, 200),
    ] {
        fs::write(&cluster.token_file, &file).expect("it is written");
        assert_eq!((allowed(&old).await, allowed(&new).await), (with_old, with_new), "{file:?}");
    }
    cluster.members.stop().await;
}

/// Reading a named pipe that no one writes hangs, as reading from a broken disk does.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn operator_with_the_last_token_sees_that_the_disk_hangs() {
    let cluster = Cluster::start(1).await;
    let address = cluster.admin(1);
    fs::remove_file(&cluster.token_file).expect("it exists");
    let made = std::process::Command::new("mkfifo").arg(&cluster.token_file).status();
    assert!(made.expect("mkfifo runs").success());
    let pipe = cluster.token_file.with_extension("pipe");
    fs::hard_link(&cluster.token_file, &pipe).expect("they are on one disk");
    let (right, wrong) = (bearer(TOKEN), bearer("ffffffffffffffffffffffffffffffff"));
    let ask = async |token: &str| request(address, "GET /v1/status", &[token], "").await.status;
    let (first, second, probe) = tokio::join!(ask(&right), ask(&wrong), get(address, "/livez"));
    assert_eq!((first, second, probe.status), (200, 401, 200));
    let shown = cluster.until(1, |status| alarms(status) == ["secrets_unusable"]).await;
    let problem = shown["secret_problems"][0].as_str().expect("a text");
    assert!(problem.starts_with("the disk has not given the admin tokens for "), "{problem}");
    assert!(shown["alarms"][0]["message"].as_str().is_some_and(|text| text.contains(problem)));
    // The disk works again, with a new token.
    let new = cluster.token_file.with_extension("new");
    fs::write(&new, "ffffffffffffffffffffffffffffffff").expect("it is written");
    fs::rename(&new, &cluster.token_file).expect("they are on one disk");
    fs::write(&pipe, TOKEN).expect("one reader waits");
    assert_eq!((ask(&wrong).await, ask(&right).await), (200, 401));
    cluster.members.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn member_does_not_start_without_the_file_of_its_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("admin.token");
    let configure = move |config: &mut MemberConfig| {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        config.admin = Some(AdminConfig { address, token_file: file.clone() });
    };
    let started = LocalCluster::start_with(1, AppendLog::new, configure).await;
    let Err(LocalClusterError::Start { error, .. }) = started else {
        panic!("it starts");
    };
    assert!(matches!(error, StartError::Token(TokenError::Missing { .. })), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_web_pages_are_refused_with_the_right_token_too() {
    let cluster = Cluster::start(1).await;
    let address = cluster.admin(1);
    let token = bearer(TOKEN);
    let origin = ["Origin: http://evil.example", token.as_str()];
    let answer = request(address, "POST /v1/snapshot", &origin, "").await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "origin"));
    let rebound = format!("GET /v1/status HTTP/1.1\r\nHost: evil.example\r\n{token}\r\n\r\n");
    let answer = exchange(address, rebound.as_bytes()).await.expect("an answer");
    assert_eq!((answer.status, answer.code().as_str()), (403, "host"));
    cluster.members.stop().await;
}

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
async fn page_needs_no_token_and_lets_no_other_page_or_script_in() {
    let cluster = Cluster::start(1).await;
    let address = cluster.admin(1);
    for (path, kind) in
        [("/", "text/html"), ("/page.js", "text/javascript"), ("/page.css", "text/css")]
    {
        let answer = get(address, path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(
            answer.head.contains(&format!("content-type: {kind}; charset=utf-8")),
            "{answer:?}"
        );
        let policy = "content-security-policy: default-src 'none'; script-src 'self'; ";
        assert!(answer.head.contains(policy), "{answer:?}");
        assert!(answer.head.contains("frame-ancestors 'none'"), "{answer:?}");
    }
    let answer = request(address, "POST /", &[], "").await;
    assert_eq!((answer.status, answer.code().as_str()), (405, "needs_get"));
    let rebound = b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    let answer = exchange(address, rebound).await.expect("an answer");
    assert_eq!((answer.status, answer.code().as_str()), (403, "host"));
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

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_not_understood_are_refused_with_a_reason() {
    let cluster = Cluster::start(1).await;
    let address = cluster.admin(1);
    let token = bearer(TOKEN);
    for (line, body, expected, code) in [
        ("GET /nothing", "", 404, "path"),
        ("POST /v1/nothing", "", 404, "path"),
        ("DELETE /livez", "", 405, "needs_get"),
        ("POST /v1/status", "", 405, "needs_get"),
        ("GET /v1/snapshot", "", 405, "needs_post"),
        ("POST /v1/snapshot", "{", 400, "body"),
        ("POST /v1/snapshot", "[]", 400, "body"),
        ("POST /v1/snapshot", "{\"now\":true}", 400, "field"),
        ("POST /v1/members/remove", "{}", 400, "field"),
        ("POST /v1/members/remove", "{\"member\":1}", 400, "field"),
        ("POST /v1/members/remove", "{\"member\":\"node-1\"}", 409, "only_voter"),
        ("POST /v1/members/add", "{\"member\":\"b\",\"peer_address\":\"b\"}", 400, "field"),
        ("POST /v1/members/add", "{\"member\":\"b\",\"peer_address\":\"0.0.0.0:7\"}", 400, "field"),
        ("POST /v1/members/add", "{\"member\":\"a b\",\"peer_address\":\"b:1\"}", 400, "field"),
        ("POST /v1/members/add", "{\"member\":\"\",\"peer_address\":\"b:1\"}", 400, "field"),
    ] {
        let answer = request(address, line, &[&token], body).await;
        assert_eq!((answer.status, answer.code().as_str()), (expected, code), "{line} {body}");
        assert!(!answer.message().is_empty());
    }
    let head = request(address, "HEAD /livez", &[], "").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    cluster.members.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_peers_at_the_admin_port_end_their_own_connection_only() {
    let cluster = Cluster::start(1).await;
    let address = cluster.admin(1);
    let token = bearer(TOKEN);
    let long_head = format!("GET /livez HTTP/1.1\r\nHost: {address}\r\nX: {}", "x".repeat(1 << 20));
    let many_headers = format!("GET /livez HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(1_000));
    for garbage in [
        &b"\xFF\x00\x00\x00\x00\x00\x00\x00\x01\x7F"[..],
        &[0; 100_000],
        long_head.as_bytes(),
        many_headers.as_bytes(),
    ] {
        // It ends, with or without an answer.
        let answer = exchange(address, garbage).await;
        assert!(answer.is_none_or(|answer| answer.status >= 400));
    }
    let claim = "Content-Length: 100000000";
    let long_body =
        format!("POST /v1/snapshot HTTP/1.1\r\nHost: {address}\r\n{token}\r\n{claim}\r\n\r\n");
    let answer = exchange(address, long_body.as_bytes()).await.expect("an answer");
    assert_eq!(answer.status, 413, "it is not even read");
    assert_eq!(get(address, "/livez").await.status, 200);
    cluster.members.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_peers_are_bounded_and_closed_and_the_port_answers_again() {
    let cluster = Cluster::start(1).await;
    let address = cluster.admin(1);
    let mut silent = Vec::new();
    for _ in 0..64 {
        let mut stream = within(TcpStream::connect(address)).await.expect("it listens");
        within(stream.write_all(b"GET /livez HTTP/1.1\r\n")).await.expect("it is open");
        silent.push(stream);
    }
    let member = cluster.members.member(1).expect("it runs");
    let answer = exchange(address, b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(answer.is_none(), "one too many");
    assert_eq!(member.figures().admin_refused, 1);
    // The member gives each of them up.
    for mut stream in silent {
        let _ = within(stream.read_to_end(&mut Vec::new())).await;
    }
    assert_eq!(get(address, "/livez").await.status, 200);
    cluster.members.stop().await;
}
