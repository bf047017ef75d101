//! The switches for faults, seen by a client on a socket.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use zraft_protocol::{ServerMessage, SessionCloseReason};
use zraft_test_server::{AppendLog, KillLoss, TestCluster};
use zraft_zmtp::Error;

use crate::sockets::peer::{Ended, Peer, address, impatient, payload, soon, still_serves};

async fn cluster(members: usize) -> TestCluster {
    TestCluster::builder().members(members).app(AppendLog::new()).start().await.expect("starts")
}

fn is_not_leader_anymore(message: &ServerMessage) -> bool {
    matches!(
        message,
        ServerMessage::SessionClosed { reason: SessionCloseReason::NotLeaderAnymore, .. }
    )
}

#[tokio::test]
async fn killed_member_refuses_connections_and_listens_on_the_same_port_after_a_restart() {
    let cluster = cluster(1).await;
    let before = cluster.endpoints();
    let mut peer = Peer::connect(&cluster, "node-1").await;
    let session = peer.create().await.expect("created");
    for _ in 0..5 {
        cluster.kill("node-1", KillLoss::Uncommitted).await.expect("it runs");
        assert!(matches!(peer.end().await, Ended::Reset | Ended::Eof));
        let refused = TcpStream::connect(address(&cluster, "node-1")).await;
        assert_eq!(refused.expect_err("refused").kind(), io::ErrorKind::ConnectionRefused);
        cluster.restart("node-1").await.expect("it does not run");
        assert_eq!(cluster.endpoints(), before);
        soon(cluster.leader_elected()).await;
        peer = Peer::connect(&cluster, "node-1").await;
        peer.resume(&session).await.expect("continued");
    }
    cluster.shutdown().await;
}

#[tokio::test]
async fn killed_leader_is_replaced_and_the_session_continues() {
    let cluster = cluster(3).await;
    let mut peer = Peer::connect(&cluster, "node-1").await;
    let session = peer.create().await.expect("created");
    peer.command(1, payload(&b"one"[..])).await.expect("answered");
    cluster.kill("node-1", KillLoss::Unanswered).await.expect("it runs");
    let leader = soon(cluster.leader_elected()).await;
    assert_eq!(leader.as_str(), "node-2");
    let mut peer = Peer::connect(&cluster, "node-2").await;
    peer.resume(&session).await.expect("continued");
    let answer = peer.command(1, payload(&b"one"[..])).await.expect("answered");
    assert_eq!(answer, payload(vec![0; 8]), "from the cache");
    peer.command(2, payload(&b"two"[..])).await.expect("answered");
    soon(cluster.journal_reached(2)).await;
    let members: Vec<_> =
        cluster.journal().iter().map(|execution| execution.member.as_str().to_owned()).collect();
    assert_eq!(members, ["node-1", "node-2"]);
}

#[tokio::test]
async fn answers_before_a_kill_that_loses_nothing_received_arrive_before_the_end() {
    let cluster = cluster(1).await;
    cluster.set_commit_delay(Duration::from_secs(3600));
    let mut peer = Peer::connect(&cluster, "node-1").await;
    cluster.set_commit_delay(Duration::ZERO);
    peer.create().await.expect("created");
    cluster.set_commit_delay(Duration::from_secs(3600));
    peer.send_command(1, payload(&b"one"[..])).await.expect("written");
    soon(cluster.wait_for(|engine| engine.waiting() == 1)).await;
    cluster.kill("node-1", KillLoss::Unreceived).await.expect("it runs");
    assert!(matches!(peer.receive().await, Ok(ServerMessage::ClientResponse { .. })));
    assert!(matches!(peer.end().await, Ended::Reset | Ended::Eof));
}

#[tokio::test]
async fn leadership_has_moved_when_the_method_returns() {
    let cluster = cluster(3).await;
    let mut peer = Peer::connect(&cluster, "node-1").await;
    let session = peer.create().await.expect("created");
    soon(cluster.move_leadership("node-3")).await.expect("it can lead");
    assert_eq!(cluster.leader().expect("one").as_str(), "node-3");
    assert!(is_not_leader_anymore(&peer.receive().await.expect("told")));
    let mut peer = Peer::connect(&cluster, "node-3").await;
    peer.resume(&session).await.expect("continued");
}

#[tokio::test]
async fn dropped_peer_gets_pongs_until_it_sends_one_more_message() {
    let cluster = cluster(3).await;
    let mut peer = Peer::connect_with(&cluster, "node-2", impatient()).await;
    assert!(is_not_leader_anymore(&peer.keep_alive().await.expect("answered")));
    peer.ping().await.expect("still answered");
    let silenced = peer.keep_alive().await;
    assert_eq!(silenced, Err(Ended::Zmtp(Error::HeartbeatTimeout)), "open, and silent");
}

#[tokio::test]
async fn end_of_an_unread_connection_is_noticed() {
    let cluster = cluster(3).await;
    let mut peer = Peer::connect_with(&cluster, "node-2", impatient()).await;
    peer.keep_alive().await.expect("answered");
    peer.keep_alive().await.expect_err("silence");
    assert_eq!(cluster.stats().transport.open, 1);
    drop(peer);
    soon(cluster.stats_reached(|stats| stats.transport.open == 0)).await;
}

#[tokio::test]
async fn frozen_member_is_silent_and_then_handles_what_was_sent_meanwhile() {
    let cluster = cluster(1).await;
    let mut peer = Peer::connect(&cluster, "node-1").await;
    peer.create().await.expect("created");
    let mut watcher = Peer::connect_with(&cluster, "node-1", impatient()).await;
    watcher.ping().await.expect("answered");
    cluster.set_frozen("node-1", true).expect("it runs");
    assert_eq!(watcher.end().await, Ended::Zmtp(Error::HeartbeatTimeout));
    peer.send_command(1, payload(&b"one"[..])).await.expect("written");
    let stream = soon(TcpStream::connect(address(&cluster, "node-1"))).await;
    assert!(stream.is_ok(), "the system accepts for it");
    cluster.set_frozen("node-1", false).expect("it runs");
    assert!(matches!(peer.receive().await, Ok(ServerMessage::ClientResponse { .. })));
    peer.ping().await.expect("answered");
}

#[tokio::test]
async fn deaf_member_completes_handshakes_and_answers_only_ping() {
    let cluster = cluster(1).await;
    cluster.set_deaf("node-1", true).expect("it runs");
    let mut peer = Peer::connect(&cluster, "node-1").await;
    let keep_alive = zraft_protocol::ClientMessage::KeepAlive {
        timestamp: zraft_protocol::Timestamp::from_millis(1),
    };
    peer.send(&keep_alive).await.expect("written");
    // The next bytes are the PONG.
    peer.ping().await.expect("answered");
    peer.send_bytes(b"garbage").await.expect("written");
    peer.ping().await.expect("answered");
    cluster.set_deaf("node-1", false).expect("it runs");
    still_serves(&cluster).await;
}

#[tokio::test]
async fn stopped_member_is_silent_and_then_resets() {
    let cluster = TestCluster::builder()
        .members(3)
        .stop_linger(Duration::from_millis(100))
        .start()
        .await
        .expect("starts");
    let mut peer = Peer::connect(&cluster, "node-1").await;
    peer.create().await.expect("created");
    cluster.stop("node-1").expect("it runs");
    let refused = TcpStream::connect(address(&cluster, "node-1")).await;
    assert_eq!(refused.expect_err("refused").kind(), io::ErrorKind::ConnectionRefused);
    assert_eq!(peer.end().await, Ended::Reset);
}

#[tokio::test]
async fn cut_connections_are_reset_and_the_session_continues() {
    let cluster = cluster(1).await;
    let mut peer = Peer::connect(&cluster, "node-1").await;
    let session = peer.create().await.expect("created");
    let mut idle = TcpStream::connect(address(&cluster, "node-1")).await.expect("listens");
    soon(cluster.stats_reached(|stats| stats.transport.open == 2)).await;
    cluster.cut_connections(None).await.expect("all");
    assert_eq!(cluster.stats().transport.open, 0);
    assert_eq!(peer.end().await, Ended::Reset);
    let mut received = Vec::new();
    let cut = soon(tokio::io::AsyncReadExt::read_to_end(&mut idle, &mut received)).await;
    assert_eq!(cut.expect_err("reset").kind(), io::ErrorKind::ConnectionReset);
    let mut peer = Peer::connect(&cluster, "node-1").await;
    peer.resume(&session).await.expect("continued");
}
