//! The start and the end of a cluster.

use std::io;

use tokio::net::TcpStream;
use zraft_protocol::{ClientMessage, CloseReason};
use zraft_test_server::{AppendLog, StartError, TestCluster};

use crate::sockets::peer::{Ended, Peer, address, payload, soon};

#[tokio::test]
async fn each_member_listens_on_its_own_loopback_port() {
    let cluster = TestCluster::builder().members(3).start().await.expect("starts");
    let endpoints = cluster.endpoints();
    let ids: Vec<_> = endpoints.keys().map(|id| id.as_str().to_owned()).collect();
    assert_eq!(ids, ["node-1", "node-2", "node-3"]);
    let mut ports: Vec<_> = endpoints.values().collect();
    assert!(ports.iter().all(|endpoint| endpoint.starts_with("tcp://127.0.0.1:")));
    ports.dedup();
    assert_eq!(ports.len(), 3);
    for id in ids {
        Peer::connect(&cluster, &id).await;
    }
}

#[tokio::test]
async fn shutdown_closes_ports_and_connections() {
    let cluster = TestCluster::builder().members(2).start().await.expect("starts");
    let (address, mut peer) =
        (address(&cluster, "node-1"), Peer::connect(&cluster, "node-1").await);
    soon(cluster.shutdown()).await;
    assert!(matches!(peer.end().await, Ended::Eof | Ended::Reset));
    let refused = TcpStream::connect(address).await.expect_err("refused");
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn dropped_cluster_stops() {
    let cluster = TestCluster::builder().start().await.expect("starts");
    let (address, mut peer) =
        (address(&cluster, "node-1"), Peer::connect(&cluster, "node-1").await);
    drop(cluster);
    let refused = TcpStream::connect(address).await.expect_err("refused");
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    assert!(matches!(peer.end().await, Ended::Eof | Ended::Reset));
}

#[tokio::test]
async fn port_in_use_is_an_error() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = taken.local_addr().expect("bound").port();
    let started = TestCluster::builder().app(AppendLog::new()).base_port(port).start().await;
    assert!(matches!(started, Err(StartError::Listen { .. })));
}

#[tokio::test]
async fn invalid_settings_are_errors() {
    let none = TestCluster::builder().members(0).start().await;
    assert!(matches!(none, Err(StartError::NoMembers)));
    let twice = TestCluster::builder().member_ids(["a", "a"]).start().await;
    assert!(matches!(twice, Err(StartError::MemberId)));
    let long = TestCluster::builder().member_ids(["a".repeat(70_000)]).start().await;
    assert!(matches!(long, Err(StartError::MemberId)));
    let above = TestCluster::builder().members(2).base_port(65_535).start().await;
    assert!(matches!(above, Err(StartError::PortRange(65_535) | StartError::Listen { .. })));
}

#[tokio::test]
async fn switch_of_an_unknown_member_is_refused() {
    let cluster = TestCluster::builder().start().await.expect("starts");
    assert!(cluster.set_deaf("node-9", true).is_err());
    assert!(cluster.restart("node-1").await.is_err(), "it runs");
}

#[tokio::test]
async fn close_session_before_a_fin_ends_the_session_and_the_connection() {
    let cluster = TestCluster::builder().app(AppendLog::new()).start().await.expect("starts");
    let mut peer = Peer::connect(&cluster, "node-1").await;
    peer.create().await.expect("created");
    peer.send_command(1, payload(&b"last"[..])).await.expect("written");
    let reason = CloseReason::ClientShutdown;
    peer.send(&ClientMessage::CloseSession { reason }).await.expect("written");
    peer.finish().await;
    assert_eq!(peer.end().await, Ended::Eof);
    soon(cluster.wait_for(|engine| engine.sessions().count() == 0)).await;
    assert_eq!(cluster.executed(), (1, 0), "what came before it has run");
}

#[tokio::test]
async fn debug_of_a_cluster_shows_its_endpoints_in_one_line() {
    let cluster = TestCluster::builder().start().await.expect("starts");
    let (member, endpoint) = cluster.endpoints().pop_first().expect("one member");
    let shown = format!("{cluster:?}");
    let begins = format!("TestCluster {{ endpoints: {{\"{member}\": \"{endpoint}\"}}, leader: ");
    assert!(shown.starts_with(&begins), "{shown}");
    assert!(shown.contains("executed: 0") && shown.len() < 200, "{shown}");
    let handle = format!("{:?}", cluster.handle());
    assert!(handle.starts_with("ClusterHandle { endpoints: "), "{handle}");
    // `Debug` does not wait for the lock.
    let shown = cluster.inspect(|_| format!("{cluster:?}"));
    assert_eq!(shown, "TestCluster { .. }");
}
