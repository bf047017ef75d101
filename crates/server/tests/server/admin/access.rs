//! Who may ask at the admin port, and what a hostile peer can do there.

use std::{fs, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use zraft_server::{
    AdminConfig, LocalCluster, LocalClusterError, MemberConfig, StartError, TokenError,
};
use zraft_session::applications::AppendLog;

use super::Cluster;
#[cfg(unix)]
use super::alarms;
use crate::{
    http::{TOKEN, bearer, exchange, get, request},
    support::within,
};

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
    assert!(problem.starts_with("reading the admin tokens has taken "), "{problem}");
    assert!(problem.ends_with(" s so far: check the disk that holds them"), "{problem}");
    assert!(shown["alarms"][0]["message"].as_str().is_some_and(|text| text.contains(problem)));
    // The disk works again, with a new token.
    let new = cluster.token_file.with_extension("new");
    fs::write(&new, "ffffffffffffffffffffffffffffffff").expect("it is written");
    fs::rename(&new, &cluster.token_file).expect("they are on one disk");
    fs::write(&pipe, TOKEN).expect("one reader waits");
    // The read that hung ends a moment later; until then the last token holds.
    while ask(&wrong).await != 200 {}
    assert_eq!(ask(&right).await, 401);
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
