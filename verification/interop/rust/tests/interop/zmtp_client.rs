//! Tests a bare CLIENT connection of this project against SERVERs that others wrote.

use std::time::Duration;

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use zraft_interop::{Library, Peer, Wire, within};
use zraft_zmtp::{Config, Error, Heartbeat, SocketType};

/// Settings with a PING every 50 ms and a heartbeat timeout of 500 ms.
fn impatient() -> Config {
    let beat = Heartbeat::with_timeout(Duration::from_millis(50), Duration::from_millis(500));
    Config { heartbeat: Some(beat), ..Config::client() }
}

/// Starts a server that sends everything back, and a connection to it that has completed the ZMTP handshake.
async fn echo(library: Library, config: Config) -> (Peer, Wire) {
    let (mut peer, port) = Peer::server(library, None).await;
    peer.tell("echo").await;
    let mut wire = Wire::connect(port, config).await;
    wire.ready().await;
    (peer, wire)
}

fn bytes(length: usize) -> Bytes {
    (0..length).map(|n| (n % 251) as u8).collect()
}

#[tokio::test]
async fn handshake_gives_version_and_socket_type() {
    for library in Library::ready() {
        let (_peer, port) = Peer::server(library, None).await;
        let peer = Wire::connect(port, Config::client()).await.ready().await;
        let version = if library == Library::JeroMq { (3, 0) } else { (3, 1) };
        assert_eq!((peer.version, peer.socket_type), (version, SocketType::Server));
    }
}

#[tokio::test]
async fn messages_of_every_length_come_back_unchanged_and_in_order() {
    // Lengths around the limits of short frames and of messages that are sent without copying.
    const LENGTHS: [usize; 12] =
        [1, 2, 32, 33, 254, 255, 256, 257, 8192, (16 << 10) - 1, 16 << 10, 1 << 20];
    for library in Library::ready() {
        let (_peer, mut wire) = echo(library, Config::client()).await;
        for length in LENGTHS {
            wire.send(bytes(length));
        }
        for length in LENGTHS {
            assert_eq!(wire.message().await, bytes(length), "{library:?}, {length} bytes");
        }
    }
}

#[tokio::test]
async fn empty_message_comes_back() {
    for library in Library::ready() {
        let (_peer, mut wire) = echo(library, Config::client()).await;
        wire.send(Bytes::new());
        wire.send(bytes(1));
        assert_eq!(wire.message().await, Bytes::new());
        assert_eq!(wire.message().await, bytes(1));
    }
}

#[tokio::test]
async fn ten_thousand_messages_at_once_come_back_in_order() {
    for library in Library::ready() {
        let (_peer, mut wire) = echo(library, Config::client()).await;
        for n in 0..10_000_u32 {
            wire.send(Bytes::copy_from_slice(&n.to_be_bytes()));
        }
        for n in 0..10_000_u32 {
            assert_eq!(wire.message().await[..], n.to_be_bytes());
        }
    }
}

#[tokio::test]
async fn connection_to_a_silent_server_that_answers_pings_stays() {
    for library in Library::ready() {
        let (_peer, mut wire) = echo(library, impatient()).await;
        // Twice the timeout: 20 PONGs at least 50 ms apart, and nothing else.
        wire.heard(20).await;
        assert_eq!(wire.connection().message_bytes_received(), 0);
        wire.send(bytes(10));
        assert_eq!(wire.message().await, bytes(10));
    }
}

#[tokio::test]
async fn frozen_server_is_noticed_by_heartbeat() {
    for library in Library::ready() {
        let (peer, mut wire) = echo(library, impatient()).await;
        wire.heard(1).await;
        peer.freeze();
        assert_eq!(wire.failure().await, Error::HeartbeatTimeout);
    }
}

#[tokio::test]
async fn killed_server_ends_the_connection() {
    for library in Library::ready() {
        // Without heartbeats, only the end of the stream shows it.
        let config = Config { heartbeat: None, ..Config::client() };
        let (peer, mut wire) = echo(library, config).await;
        peer.kill().await;
        assert_eq!(wire.failure().await, Error::Closed);
    }
}

#[tokio::test]
async fn messages_received_before_a_kill_are_delivered() {
    for library in Library::ready() {
        // Send no PINGs, so that no PONG arrives in between.
        let config = Config { heartbeat: None, ..Config::client() };
        let (mut peer, mut wire) = echo(library, config).await;
        // A SERVER can send only to a CLIENT that has sent a message.
        wire.send(bytes(1));
        wire.message().await;
        peer.tell("raw 0102").await;
        peer.tell("raw 0304").await;
        // Two frames with flags, a length and two bytes each.
        wire.arrived(8).await;
        peer.kill().await;
        assert_eq!(wire.message().await[..], [1, 2]);
        assert_eq!(wire.message().await[..], [3, 4]);
        assert_eq!(wire.failure().await, Error::Closed);
    }
}

#[tokio::test]
async fn server_closes_the_connection_of_a_silent_client_after_its_ttl() {
    for library in Library::ready() {
        let beat = Heartbeat {
            interval: Duration::from_millis(50),
            timeout: Duration::from_secs(10),
            ttl: Duration::from_millis(500),
        };
        let config = Config { heartbeat: Some(beat), ..Config::client() };
        let (_peer, mut wire) = echo(library, config).await;
        wire.heard(1).await;
        // From here on, no one sends PINGs.
        let mut stream = wire.into_stream();
        let mut rest = Vec::new();
        // A reset is an end, too.
        let _ = within(stream.read_to_end(&mut rest)).await;
    }
}

/// Returns the greeting and READY of a socket type whose name has six letters.
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
async fn dealer_is_refused_by_a_close_before_the_first_message() {
    for library in Library::ready() {
        let (mut peer, port) = Peer::server(library, None).await;
        peer.tell("echo").await;
        let mut dealer = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        dealer.write_all(&hello(b"DEALER")).await.unwrap();
        let mut received = Vec::new();
        // A reset is a close, too.
        let _ = within(dealer.read_to_end(&mut received)).await;
        // The server may send its greeting and its READY, which is a command, but no message.
        let after = received.get(64..).unwrap_or_default();
        assert!(after.is_empty() || after[0] == 4, "{library:?}: {after:?}");

        // The type is the only reason: the same bytes of a CLIENT are accepted.
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
async fn router_is_refused_by_its_type() {
    for library in Library::ready() {
        let (_peer, port) = Peer::server_with(library, &["type=ROUTER"]).await;
        let mut wire = Wire::connect(port, Config::client()).await;
        // Otherwise the peer may see our type first and close.
        wire.hold_ready_back();
        assert_eq!(wire.failure().await, Error::SocketType("ROUTER".to_owned()));
    }
}
