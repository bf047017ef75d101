//! Refused connections: each names its port and its reason, and strangers do not push out the events of the member itself.

use std::{fs, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use zraft_server::{AdminConfig, LocalCluster, Member, MemberConfig};
use zraft_session::applications::Echo;

use crate::{
    http::{TOKEN, bearer, request, status},
    support::{RawClient, within},
};

/// Starts one member with all ports, and with tokens for operators and clients.
async fn start(
    configure: impl Fn(&mut MemberConfig) + Send + Sync + 'static,
) -> LocalCluster<Echo> {
    let configure = move |config: &mut MemberConfig| {
        let token_file = config.directory.join("admin.token");
        fs::write(&token_file, TOKEN).expect("it is written");
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        config.client_tokens = Some(token_file.clone());
        config.admin = Some(AdminConfig { address, token_file });
        configure(config);
    };
    let cluster = LocalCluster::start_with(1, || Echo, configure).await.expect("it starts");
    within(cluster.leader()).await.expect("a leader");
    cluster
}

async fn connect(address: SocketAddr) -> TcpStream {
    within(TcpStream::connect(address)).await.expect("it listens")
}

/// Sends bytes, and reads until the member closes the connection.
async fn exchange(address: SocketAddr, bytes: &[u8]) {
    let mut stream = connect(address).await;
    // The member may close the connection before it has read everything.
    let _ = within(stream.write_all(bytes)).await;
    let _ = within(stream.read_to_end(&mut Vec::new())).await;
}

/// Waits until one refusal begins and ends with these texts. The member may note it after it has closed the connection.
async fn assert_refused(member: &Member, begin: &str, end: &str) {
    let is_noted = async {
        loop {
            let report = member.report().await.expect("it runs");
            let is_it = |text: &str| text.starts_with(begin) && text.ends_with(end);
            if report.refusals.iter().any(|event| is_it(&event.text)) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), is_noted).await;
    let found = member.report().await.map(|report| report.refusals);
    assert!(waited.is_ok(), "{begin:?} … {end:?} is not among {found:?}");
}

const CLIENT: &str = "refused a connection at the client port from 127.0.0.1:";
const PEER: &str = "refused a connection at the peer port from 127.0.0.1:";
const ADMIN: &str = "refused a connection at the admin port from 127.0.0.1:";

#[tokio::test(flavor = "multi_thread")]
async fn refusal_names_the_port_and_the_reason() {
    let cluster = start(|_| {}).await;
    let member = cluster.member(1).expect("it runs");
    let admin = member.admin_address().expect("it has one");
    for (address, port) in
        [(member.client_address(), CLIENT), (member.peer_address(), PEER), (admin, ADMIN)]
    {
        exchange(address, &[0xFF; 100]).await;
        assert_refused(member, port, ": it does not speak the protocol of this port").await;
    }
    RawClient::connect(member.client_address()).await.create().await;
    assert_refused(member, CLIENT, ": it asked for a session without a valid token").await;
    let answer = request(admin, "GET /v1/status", &[&bearer("wrong")], "").await;
    assert_eq!(answer.status, 401);
    assert_refused(member, ADMIN, ": the token is not the one in admin.token").await;
    let page = ["Origin: http://evil.example"];
    assert_eq!(request(admin, "GET /metrics", &page, "").await.status, 403);
    assert_refused(member, ADMIN, ": the request comes from a page of another origin").await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handshake_that_takes_too_long_is_refused_and_counted() {
    let cluster = start(|config| config.ports.handshake = Duration::from_millis(50)).await;
    let member = cluster.member(1).expect("it runs");
    for (address, port) in [(member.client_address(), CLIENT), (member.peer_address(), PEER)] {
        exchange(address, b"").await;
        assert_refused(member, port, ": its handshake or request was not complete in time").await;
    }
    let figures = member.figures();
    assert_eq!((figures.clients_timed_out, figures.peers_timed_out), (1, 1));
    assert_eq!((figures.clients_undecodable, figures.peers_undecodable), (0, 0));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_beyond_a_limit_is_refused_and_counted() {
    let cluster = start(|config| {
        config.ports.client_connections = 1;
        config.ports.peer_handshakes = 1;
    })
    .await;
    let member = cluster.member(1).expect("it runs");
    for (address, port) in [(member.client_address(), CLIENT), (member.peer_address(), PEER)] {
        let _first = connect(address).await;
        exchange(address, b"").await;
        assert_refused(member, port, ": the limit of 1 is reached").await;
    }
    let figures = member.figures();
    assert_eq!((figures.clients_over_limit, figures.peers_over_limit), (1, 1));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn client_that_is_silent_for_too_long_is_not_refused() {
    let cluster = start(|config| config.ports.client_idle = Duration::from_millis(50)).await;
    let member = cluster.member(1).expect("it runs");
    RawClient::connect(member.client_address()).await.until_closed().await;
    let report = within(member.report()).await.expect("it runs");
    assert_eq!(report.refusals, []);
    assert_eq!(member.figures().clients_undecodable, 0);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_do_not_push_out_the_events_of_the_member() {
    let cluster = start(|_| {}).await;
    let member = cluster.member(1).expect("it runs");
    let admin = member.admin_address().expect("it has one");
    let before = status(admin).await["events"].clone();
    assert!(before.to_string().contains("leads in term"), "{before}");
    for _ in 0..100 {
        exchange(member.client_address(), b"GET / HTTP/1.1\r\n\r\n").await;
        exchange(member.peer_address(), &[0xFF; 100]).await;
        assert_eq!(request(admin, "GET /v1/status", &[], "").await.status, 401);
    }
    let shown = status(admin).await;
    assert_eq!(shown["events"], before);
    let refusals = shown["refusals"].as_array().expect("a list");
    assert!((3..=64).contains(&refusals.len()), "{shown}");
    cluster.stop().await;
}
