//! A ZMTP connection of ours on a socket, driven as simply as can be.

use std::{io::ErrorKind, time::Instant as Clock};

use bytes::{Buf, Bytes};
use tokio::{net::TcpStream, time};
use zraft_zmtp::{Config, Connection, Error, Event, Instant, Peer};

use crate::within;

/// A [`Connection`] and its socket. It lives only while one of its methods is awaited: in between the peer hears nothing.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    connection: Connection,
    origin: Clock,
    /// So many bytes are written and no more.
    limit: u64,
}

/// The length of a ZMTP greeting.
const GREETING: u64 = 64;

impl Wire {
    /// Opens a connection to a port of loopback.
    ///
    /// # Panics
    /// When it cannot be opened.
    pub async fn connect(port: u16, config: Config) -> Self {
        Self::new(TcpStream::connect(("127.0.0.1", port)).await.expect("listens"), config)
    }

    /// On a socket that is open.
    pub fn new(stream: TcpStream, config: Config) -> Self {
        let connection = Connection::new(config, Instant::ZERO);
        Self { stream, connection, origin: Clock::now(), limit: u64::MAX }
    }

    /// Writes the greeting alone: the peer must show its READY before it sees ours, and judge nothing by it.
    pub fn hold_ready_back(&mut self) {
        self.limit = GREETING;
    }

    /// The connection, to look at.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The socket alone: nobody speaks ZMTP on it any more.
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Awaits the next event.
    pub async fn event(&mut self) -> Event {
        within(async {
            loop {
                if let Some(event) = self.connection.poll_event(self.now()) {
                    return event;
                }
                self.turn().await;
            }
        })
        .await
    }

    /// Awaits the end of the handshake.
    ///
    /// # Panics
    /// When something else happens.
    pub async fn ready(&mut self) -> Peer {
        match self.event().await {
            Event::Ready(peer) => peer,
            other => panic!("not ready: {other:?}"),
        }
    }

    /// Awaits a message.
    ///
    /// # Panics
    /// When something else happens.
    pub async fn message(&mut self) -> Bytes {
        match self.event().await {
            Event::Message(message) => message,
            other => panic!("no message: {other:?}"),
        }
    }

    /// Awaits the end.
    ///
    /// # Panics
    /// When something else happens.
    pub async fn failure(&mut self) -> Error {
        match self.event().await {
            Event::Failed(error) => error,
            other => panic!("no failure: {other:?}"),
        }
    }

    /// Queues a message; it is written while something is awaited.
    ///
    /// # Panics
    /// Before the handshake is done.
    pub fn send(&mut self, message: impl Into<Bytes>) {
        self.connection.send_shared(message.into()).expect("is ready");
    }

    /// Awaits bytes of the peer that make no event, PING or PONG, this many times.
    ///
    /// # Panics
    /// When an event happens.
    pub async fn heard(&mut self, times: u32) {
        within(async {
            for _ in 0..times {
                let before = self.connection.bytes_received();
                while self.connection.bytes_received() == before {
                    self.turn().await;
                    let event = self.connection.poll_event(self.now());
                    assert_eq!(event, None, "only heartbeats are expected");
                }
            }
        })
        .await;
    }

    /// Awaits that this many bytes wait in the socket, and reads none of them.
    ///
    /// # Panics
    /// When the connection breaks.
    pub async fn arrived(&mut self, count: usize) {
        let mut bytes = vec![0; count];
        within(async {
            while self.stream.peek(&mut bytes).await.expect("is open") < count {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    fn now(&self) -> Instant {
        Instant::ZERO + self.origin.elapsed()
    }

    /// Waits until something can be done, and does it.
    async fn turn(&mut self) {
        let due = self.connection.poll_timeout();
        let due = due.map(|at| at.saturating_duration_since(self.now()));
        let waits = self.connection.tx_queued() > 0 && self.allowed() > 0;
        tokio::select! {
            biased;
            _ = self.stream.readable() => self.read(),
            _ = self.stream.writable(), if waits => self.write(),
            () = time::sleep(due.unwrap_or_default()), if due.is_some() => {
                let now = self.now();
                self.connection.handle_timeout(now);
            }
        }
    }

    fn read(&mut self) {
        let now = self.now();
        match self.stream.try_read_buf(self.connection.recv_buffer()) {
            Ok(1..) => self.connection.handle_received(now),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            // A reset is an end like another.
            Ok(0) | Err(_) => self.connection.handle_eof(now),
        }
    }

    /// How many bytes may still be written.
    fn allowed(&self) -> usize {
        let left = self.limit.saturating_sub(self.connection.tx_written());
        usize::try_from(left).unwrap_or(usize::MAX)
    }

    fn write(&mut self) {
        let allowed = self.allowed();
        let tx = self.connection.tx();
        let chunk = tx.chunk();
        match self.stream.try_write(&chunk[..chunk.len().min(allowed)]) {
            Ok(count) => tx.advance(count),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            // Reading tells of it too.
            Err(_) => tx.advance(tx.remaining()),
        }
    }
}
