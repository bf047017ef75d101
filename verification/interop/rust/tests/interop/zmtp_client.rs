//! Our CLIENT connection, without a client around it, against SERVERs that others wrote.

use std::time::Duration;

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use zraft_interop::{Make, Peer, Wire, within};
use zraft_zmtp::{Config, Error, Heartbeat, SocketType};

/// PING every 50 ms, and 500 ms of patience.
fn impatient() -> Config {
    let beat = Heartbeat::with_timeout(Duration::from_millis(50), Duration::from_millis(500));
    Config { heartbeat: Some(beat), ..Config::client() }
}

/// A server that sends everything back, and a connection to it that has shaken hands.
async fn echo(make: Make, config: Config) -> (Peer, Wire) {
    let (mut peer, port) = Peer::server(make, None).await;
    peer.tell("echo").await;
    let mut wire = Wire::connect(port, config).await;
    wire.ready().await;
    (peer, wire)
}

fn bytes(length: usize) -> Bytes {
    (0..length).map(|n| (n % 251) as u8).collect()
}

#[tokio::test]
async fn the_handshake_tells_version_and_socket_type() {
    for make in Make::ready() {
        let (_peer, port) = Peer::server(make, None).await;
        let peer = Wire::connect(port, Config::client()).await.ready().await;
        let version = if make == Make::JeroMq { (3, 0) } else { (3, 1) };
        assert_eq!((peer.version, peer.socket_type), (version, SocketType::Server));
    }
}

#[tokio::test]
async fn messages_of_every_length_come_back_unchanged_and_in_order() {
    // Around the borders of the short and the long form of a frame, and of what is sent from where it lies.
    const LENGTHS: [usize; 12] =
        [1, 2, 32, 33, 254, 255, 256, 257, 8192, (16 << 10) - 1, 16 << 10, 1 << 20];
    for make in Make::ready() {
        let (_peer, mut wire) = echo(make, Config::client()).await;
        for length in LENGTHS {
            wire.send(bytes(length));
        }
        for length in LENGTHS {
            assert_eq!(wire.message().await, bytes(length), "{make:?}, {length} bytes");
        }
    }
}

#[tokio::test]
async fn an_empty_message_comes_back() {
    for make in Make::ready() {
        let (_peer, mut wire) = echo(make, Config::client()).await;
        wire.send(Bytes::new());
        wire.send(bytes(1));
        assert_eq!(wire.message().await, Bytes::new());
        assert_eq!(wire.message().await, bytes(1));
    }
}

#[tokio::test]
async fn ten_thousand_messages_at_once_come_back_in_order() {
    for make in Make::ready() {
        let (_peer, mut wire) = echo(make, Config::client()).await;
        for n in 0..10_000_u32 {
            wire.send(Bytes::copy_from_slice(&n.to_be_bytes()));
        }
        for n in 0..10_000_u32 {
            assert_eq!(wire.message().await[..], n.to_be_bytes());
        }
    }
}

#[tokio::test]
async fn a_silent_server_that_answers_pings_is_not_left() {
    for make in Make::ready() {
        let (_peer, mut wire) = echo(make, impatient()).await;
        // Twice the patience: 20 PONGs at least 50 ms apart, and nothing else.
        wire.heard(20).await;
        assert_eq!(wire.connection().message_bytes_received(), 0);
        wire.send(bytes(10));
        assert_eq!(wire.message().await, bytes(10));
    }
}

#[tokio::test]
async fn a_frozen_server_is_noticed_by_heartbeat() {
    for make in Make::ready() {
        let (peer, mut wire) = echo(make, impatient()).await;
        wire.heard(1).await;
        peer.freeze();
        assert_eq!(wire.failure().await, Error::HeartbeatTimeout);
    }
}

#[tokio::test]
async fn a_killed_server_is_the_end_of_the_connection() {
    for make in Make::ready() {
        // Without heartbeats: nothing but the end of the stream can tell.
        let config = Config { heartbeat: None, ..Config::client() };
        let (peer, mut wire) = echo(make, config).await;
        peer.kill().await;
        assert_eq!(wire.failure().await, Error::Closed);
    }
}

#[tokio::test]
async fn messages_received_before_a_kill_are_still_handed_over() {
    for make in Make::ready() {
        // Without PINGs, so that no PONG comes between.
        let config = Config { heartbeat: None, ..Config::client() };
        let (mut peer, mut wire) = echo(make, config).await;
        // A SERVER can talk only to whom it has heard.
        wire.send(bytes(1));
        wire.message().await;
        peer.tell("raw 0102").await;
        peer.tell("raw 0304").await;
        // Two frames of a flag, a length and two bytes.
        wire.arrived(8).await;
        peer.kill().await;
        assert_eq!(wire.message().await[..], [1, 2]);
        assert_eq!(wire.message().await[..], [3, 4]);
        assert_eq!(wire.failure().await, Error::Closed);
    }
}

#[tokio::test]
async fn a_client_that_falls_silent_is_dropped_when_the_ttl_of_its_ping_is_over() {
    for make in Make::ready() {
        let beat = Heartbeat {
            interval: Duration::from_millis(50),
            timeout: Duration::from_secs(10),
            ttl: Duration::from_millis(500),
        };
        let config = Config { heartbeat: Some(beat), ..Config::client() };
        let (_peer, mut wire) = echo(make, config).await;
        wire.heard(1).await;
        // From here on nobody sends PINGs.
        let mut stream = wire.into_stream();
        let mut rest = Vec::new();
        // A reset is an end as well.
        let _ = within(stream.read_to_end(&mut rest)).await;
    }
}

/// Greeting and READY of a socket of this type, whose name has six letters.
fn hello(socket_type: &[u8; 6]) -> Vec<u8> {
    let mut hello = vec![0; 64];
    hello[0] = 0xff;
    hello[8] = 1;
    hello[9] = 0x7f;
    hello[10] = 3;
    hello[12..16].copy_from_slice(b"NULL");
    hello.extend_from_slice(b"\x04\x1c\x05READY\x0bSocket-Type\0\0\0\x06");
    hello.extend_from_slice(socket_type);
    hello
}

#[tokio::test]
async fn a_dealer_is_refused_by_a_close_before_the_first_message() {
    for make in Make::ready() {
        let (mut peer, port) = Peer::server(make, None).await;
        peer.tell("echo").await;
        let mut dealer = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        dealer.write_all(&hello(b"DEALER")).await.unwrap();
        let mut received = Vec::new();
        // A reset is a close as well.
        let _ = within(dealer.read_to_end(&mut received)).await;
        // Its greeting and possibly its READY, which is a command: no message.
        let after = received.get(64..).unwrap_or_default();
        assert!(after.is_empty() || after[0] == 4, "{make:?}: {after:?}");

        // It is the type alone: the same bytes of a CLIENT are welcome.
        let mut client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        client.write_all(&hello(b"CLIENT")).await.unwrap();
        let mut received = [0; 64 + 30];
        within(client.read_exact(&mut received)).await.unwrap();
        client.write_all(&[0, 1, 42]).await.unwrap();
        let mut back = [0; 3];
        within(client.read_exact(&mut back)).await.unwrap();
        assert_eq!(back, [0, 1, 42]);
    }
}

#[tokio::test]
async fn a_router_is_refused_by_its_type() {
    for make in Make::ready() {
        let (_peer, port) = Peer::server_with(make, &["type=ROUTER"]).await;
        let mut wire = Wire::connect(port, Config::client()).await;
        // Else it sees our type first, and goes by itself.
        wire.hold_ready_back();
        assert_eq!(wire.failure().await, Error::SocketType("ROUTER".to_owned()));
    }
}
