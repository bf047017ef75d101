//! Tests a bare SERVER connection of this project against CLIENTs that others wrote.

use bytes::Bytes;
use tokio::net::TcpListener;
use zraft_interop::{Library, Peer, Wire, within};
use zraft_zmtp::{Config, Error, SocketType};

use crate::support::hex;

/// Arguments for a peer with a PING every 50 ms and a heartbeat timeout of 500 ms.
const IMPATIENT: [&str; 3] = ["interval=50", "timeout=500", "ttl=1500"];

struct Listener(TcpListener);

impl Listener {
    async fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.expect("a free port"))
    }

    async fn client(&self, library: Library, arguments: &[&str]) -> Peer {
        let address = self.0.local_addr().expect("is bound");
        Peer::client_with(library, &format!("tcp://{address}"), arguments).await
    }

    async fn accept(&self, config: Config) -> Wire {
        let (stream, _) = within(self.0.accept()).await.expect("connects");
        Wire::new(stream, config)
    }
}

#[tokio::test]
async fn handshake_gives_version_and_socket_type() {
    for library in Library::ready() {
        let listener = Listener::new().await;
        let _peer = listener.client(library, &[]).await;
        let peer = listener.accept(Config::server()).await.ready().await;
        let version = if library == Library::JeroMq { (3, 0) } else { (3, 1) };
        assert_eq!((peer.version, peer.socket_type), (version, SocketType::Client));
    }
}

#[tokio::test]
async fn messages_of_every_length_go_both_ways() {
    for library in Library::ready() {
        let listener = Listener::new().await;
        let mut peer = listener.client(library, &[]).await;
        let mut wire = listener.accept(Config::server()).await;
        wire.ready().await;
        for length in [1, 254, 255, 256, 8192, 16 << 10, 1 << 20] {
            let message: Bytes = (0..length).map(|n| (n % 251) as u8).collect();
            peer.tell(&format!("send {}", hex(&message))).await;
            assert_eq!(wire.message().await, message, "{library:?}, {length} bytes");
            wire.send(message.clone());
            // Await the connection, too, so that it writes while the peer reads.
            let back = tokio::select! {
                back = peer.report("received ") => back,
                event = wire.event() => panic!("{event:?}"),
            };
            assert_eq!(back, hex(&message), "{library:?}, {length} bytes");
        }
    }
}

#[tokio::test]
async fn client_with_answered_pings_stays() {
    for library in Library::ready() {
        let listener = Listener::new().await;
        let mut peer = listener.client(library, &IMPATIENT).await;
        let mut wire = listener.accept(Config::server()).await;
        wire.ready().await;
        // Twice its timeout: 20 PINGs, 50 ms apart.
        wire.heard(20).await;
        peer.tell("send 0102").await;
        assert_eq!(wire.message().await[..], [1, 2]);
    }
}

#[tokio::test]
async fn client_without_answered_pings_closes_and_reconnects() {
    for library in Library::ready() {
        let listener = Listener::new().await;
        let _peer = listener.client(library, &IMPATIENT).await;
        let mut silent = listener.accept(Config::server()).await;
        silent.ready().await;
        // The test no longer awaits this connection, so it answers nothing and stays open.
        let mut second = listener.accept(Config::server()).await;
        second.ready().await;
        assert_eq!(silent.failure().await, Error::Closed);
    }
}

#[tokio::test]
async fn frozen_client_is_noticed_by_the_ttl_that_it_announced() {
    for library in Library::ready() {
        let listener = Listener::new().await;
        let peer = listener.client(library, &["interval=50", "timeout=5000", "ttl=500"]).await;
        let mut wire = listener.accept(Config::server()).await;
        wire.ready().await;
        wire.heard(1).await;
        peer.freeze();
        // PINGs may still arrive after the freeze.
        assert_eq!(wire.failure().await, Error::HeartbeatTimeout);
    }
}

#[tokio::test]
async fn killed_client_ends_the_connection() {
    for library in Library::ready() {
        let listener = Listener::new().await;
        let peer = listener.client(library, &[]).await;
        let mut wire = listener.accept(Config::server()).await;
        wire.ready().await;
        peer.kill().await;
        assert_eq!(wire.failure().await, Error::Closed);
    }
}

#[tokio::test]
async fn message_longer_than_the_limit_ends_the_connection() {
    for library in Library::ready() {
        let listener = Listener::new().await;
        let mut peer = listener.client(library, &[]).await;
        let mut wire = listener.accept(Config { max_frame: 1000, ..Config::server() }).await;
        wire.ready().await;
        peer.tell(&format!("send {}", "00".repeat(1000))).await;
        assert_eq!(wire.message().await.len(), 1000);
        peer.tell(&format!("send {}", "00".repeat(1001))).await;
        assert_eq!(wire.failure().await, Error::FrameTooLong(1001));
    }
}

#[tokio::test]
async fn dealer_is_refused_by_its_type() {
    for library in Library::ready() {
        let listener = Listener::new().await;
        let _peer = listener.client(library, &["type=DEALER"]).await;
        let mut wire = listener.accept(Config::server()).await;
        // Otherwise the peer may see our type first and close.
        wire.hold_ready_back();
        assert_eq!(wire.failure().await, Error::SocketType("DEALER".to_owned()));
    }
}
