//! Hostile peers: nothing that they send or fail to send stops the server.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use zraft_protocol::ServerMessage;
use zraft_test_server::{AppendLog, ClusterBuilder, Echo, Limits, TestCluster, TransportLimits};

use crate::sockets::peer::{Ended, Peer, address, command, payload, quiet, soon, still_serves};

/// Returns a greeting of ZMTP 3.1 with the NULL mechanism.
fn greeting() -> Vec<u8> {
    let mut greeting = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 1];
    greeting.extend_from_slice(b"NULL");
    greeting.resize(64, 0);
    greeting
}

fn ready(socket_type: &[u8]) -> Vec<u8> {
    let mut body = vec![5];
    body.extend_from_slice(b"READY\x0bSocket-Type");
    body.extend_from_slice(&u32::try_from(socket_type.len()).expect("short").to_be_bytes());
    body.extend_from_slice(socket_type);
    let mut frame = vec![4, u8::try_from(body.len()).expect("short")];
    frame.extend_from_slice(&body);
    frame
}

fn limited(change: impl FnOnce(&mut TransportLimits)) -> ClusterBuilder {
    let mut limits = TransportLimits::default();
    change(&mut limits);
    TestCluster::builder().app(AppendLog::new()).transport_limits(limits)
}

/// Writes bytes to a member and waits until it ends the connection.
async fn is_ended_after(cluster: &TestCluster, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address(cluster, "node-1")).await.expect("listens");
    // The member may close the connection before all bytes are written.
    let _ = soon(stream.write_all(bytes)).await;
    let mut received = Vec::new();
    let _ = soon(stream.read_to_end(&mut received)).await;
}

#[tokio::test]
async fn bytes_that_are_not_zmtp_end_the_connection() {
    let cluster = limited(|_| {}).start().await.expect("starts");
    is_ended_after(&cluster, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    is_ended_after(&cluster, &[0; 4096]).await;
    is_ended_after(&cluster, &[0xff; 4096]).await;
    soon(cluster.stats_reached(|stats| stats.transport.closed_protocol == 3)).await;
    still_serves(&cluster).await;
    cluster.shutdown().await;
}

#[tokio::test]
async fn socket_type_other_than_client_ends_the_connection() {
    let cluster = limited(|_| {}).start().await.expect("starts");
    for socket_type in [&b"DEALER"[..], b"REQ", b"SERVER", b"ROUTER", b""] {
        is_ended_after(&cluster, &[greeting(), ready(socket_type)].concat()).await;
    }
    soon(cluster.stats_reached(|stats| stats.transport.closed_protocol == 5)).await;
    assert_eq!(cluster.stats().transport.handshakes, 0);
    still_serves(&cluster).await;
}

#[tokio::test]
async fn endless_handshake_ends_the_connection() {
    let cluster = limited(|_| {}).start().await.expect("starts");
    let mut endless = [greeting(), vec![6, 0, 0, 0, 0, 0, 1, 0, 0]].concat();
    endless.resize(100_000, 0);
    is_ended_after(&cluster, &endless).await;
    soon(cluster.stats_reached(|stats| {
        stats.transport.closed_handshake + stats.transport.closed_protocol == 1
    }))
    .await;
    still_serves(&cluster).await;
}

#[tokio::test]
async fn announced_gigabyte_ends_the_connection() {
    let cluster = limited(|_| {}).start().await.expect("starts");
    for length in [1_u64 << 30, 1 << 62, u64::MAX, zraft_zmtp::DEFAULT_MAX_FRAME as u64 + 1] {
        let mut peer = Peer::connect(&cluster, "node-1").await;
        let frame = [&[2][..], &length.to_be_bytes(), b"zraft"].concat();
        peer.write_raw(&frame).await.expect("written");
        assert!(matches!(peer.end().await, Ended::Eof | Ended::Reset));
    }
    soon(cluster.stats_reached(|stats| {
        stats.transport.closed_oversized + stats.transport.closed_protocol == 4
    }))
    .await;
    still_serves(&cluster).await;
}

#[tokio::test]
async fn undecodable_message_ends_only_its_connection() {
    let cluster = limited(|_| {}).start().await.expect("starts");
    let mut other = Peer::connect(&cluster, "node-1").await;
    other.create().await.expect("created");
    let bad: [&[u8]; 6] = [
        b"",
        b"garbage",
        b"zraft\x01\x63",
        b"zraft\x02\x07",
        b"zraft\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01",
        b"zraft\x01\x04\x00",
    ];
    for message in bad {
        let mut peer = Peer::connect(&cluster, "node-1").await;
        peer.create().await.expect("created");
        peer.send_bytes(message).await.expect("written");
        assert!(matches!(peer.end().await, Ended::Eof | Ended::Reset));
    }
    assert_eq!(cluster.stats().engine.closed_undecodable, 6);
    other.command(1, payload(&b"still here"[..])).await.expect("answered");
    still_serves(&cluster).await;
}

#[tokio::test]
async fn messages_before_an_undecodable_message_are_answered() {
    let cluster = TestCluster::builder()
        .app(AppendLog::new())
        .commit_delay(Duration::ZERO)
        .start()
        .await
        .expect("starts");
    let mut peer = Peer::connect(&cluster, "node-1").await;
    peer.create().await.expect("created");
    peer.send_command(1, payload(&b"good"[..])).await.expect("written");
    peer.send_bytes(b"bad").await.expect("written");
    peer.receive().await.expect("the answer");
    assert!(matches!(peer.end().await, Ended::Eof | Ended::Reset));
}

#[tokio::test]
async fn peer_without_a_handshake_is_disconnected() {
    let cluster = limited(|limits| limits.handshake_timeout = Duration::from_millis(50))
        .start()
        .await
        .expect("starts");
    is_ended_after(&cluster, b"").await;
    is_ended_after(&cluster, &greeting()[..11]).await;
    is_ended_after(&cluster, &greeting()).await;
    soon(cluster.stats_reached(|stats| stats.transport.closed_handshake == 3)).await;
    still_serves(&cluster).await;
}

#[tokio::test]
async fn silent_peer_is_disconnected() {
    let cluster = limited(|limits| limits.idle_timeout = Duration::from_millis(100))
        .start()
        .await
        .expect("starts");
    let mut peer = Peer::connect(&cluster, "node-1").await;
    assert!(matches!(peer.end().await, Ended::Eof | Ended::Reset));
    soon(cluster.stats_reached(|stats| stats.transport.closed_idle == 1)).await;
}

#[tokio::test]
async fn peer_silent_for_its_own_ttl_is_disconnected() {
    let cluster = limited(|_| {}).start().await.expect("starts");
    let mut peer = Peer::connect(&cluster, "node-1").await;
    // Send a PING with a TTL of 0.1 s, then nothing.
    peer.write_raw(&[4, 7, 4, b'P', b'I', b'N', b'G', 0, 1]).await.expect("written");
    assert!(matches!(peer.end().await, Ended::Eof | Ended::Reset));
}

#[tokio::test]
async fn flood_of_connections_is_held_to_the_limit() {
    let mut limits = Limits::default();
    limits.peers_per_member = 50;
    let cluster =
        limited(|limits| limits.handshakes = 20).limits(limits).start().await.expect("starts");
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(address(&cluster, "node-1")).await.expect("listens"));
    }
    soon(cluster.stats_reached(|stats| stats.transport.accepted == 200)).await;
    let stats = cluster.stats();
    assert_eq!((stats.transport.open, stats.transport.refused), (20, 180));
    drop(silent);
    soon(cluster.stats_reached(|stats| stats.transport.open == 0)).await;

    let mut peers = Vec::new();
    for _ in 0..50 {
        peers.push(Peer::connect(&cluster, "node-1").await);
    }
    let stream = TcpStream::connect(address(&cluster, "node-1")).await.expect("listens");
    match Peer::over(stream, quiet()).await {
        Err(_) => {}
        Ok(mut refused) => assert!(matches!(refused.end().await, Ended::Eof | Ended::Reset)),
    }
    assert_eq!(cluster.stats().engine.refused_peers, 1);
    drop(peers);
    soon(cluster.stats_reached(|stats| stats.transport.open == 0)).await;
    still_serves(&cluster).await;
}

#[tokio::test]
async fn peer_that_does_not_read_is_disconnected_and_its_session_lives() {
    let mut limits = TransportLimits::default();
    limits.queued_bytes = 1 << 20;
    let cluster =
        TestCluster::builder().app(Echo).transport_limits(limits).start().await.expect("starts");
    let mut peer = Peer::connect(&cluster, "node-1").await;
    let session = peer.create().await.expect("created");
    let big = payload(vec![7; 256 << 10]);
    // The kernel buffers some megabytes and the server one; beyond that, the server closes the connection.
    for _ in 0..1000 {
        if cluster.push_server_request(&session, &big).is_err()
            || cluster.stats().transport.closed_backlog > 0
        {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(cluster.stats().transport.closed_backlog, 1);
    let mut peer = Peer::connect(&cluster, "node-1").await;
    peer.resume(&session).await.expect("continued");
}

#[tokio::test]
async fn requests_of_a_peer_that_does_not_read_its_answers_are_not_read() {
    let mut limits = TransportLimits::default();
    limits.queued_bytes = 4 << 20;
    let cluster = TestCluster::builder()
        .app(Echo)
        .commit_delay(Duration::ZERO)
        .transport_limits(limits)
        .start()
        .await
        .expect("starts");
    let mut peer = Peer::connect(&cluster, "node-1").await;
    peer.create().await.expect("created");
    let mut bytes = bytes::BytesMut::new();
    for number in 1..=1000 {
        let mut message = bytes::BytesMut::new();
        command(number, payload(vec![7; 64 << 10])).encode(&mut message);
        bytes.extend_from_slice(&[2]);
        bytes.extend_from_slice(&(message.len() as u64).to_be_bytes());
        bytes.extend_from_slice(&message);
    }
    // Send more than the kernel and the server can buffer together, and read no answer.
    let write = tokio::time::timeout(Duration::from_millis(300), peer.write_raw(&bytes)).await;
    assert!(write.is_err(), "it is held back: {write:?}");
    assert_eq!(cluster.stats().transport.closed_backlog, 0, "and not ended");
    for number in 1..=20 {
        match peer.receive().await {
            Ok(ServerMessage::ClientResponse { request_id, .. }) => {
                assert_eq!(request_id.get(), number);
            }
            other => panic!("not answered: {other:?}"),
        }
    }
    still_serves(&cluster).await;
}
