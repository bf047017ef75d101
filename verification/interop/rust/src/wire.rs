//! A ZMTP connection of this project on a socket, with the simplest possible driver.

use std::{io::ErrorKind, time::Instant as Clock};

use bytes::{Buf, Bytes};
use tokio::{net::TcpStream, time};
use zraft_zmtp::{Config, Connection, Error, Event, Instant, Peer};

use crate::within;

/// A [`Connection`] and its socket. It works only while a test awaits one of its methods; in between, it sends nothing.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    connection: Connection,
    origin: Clock,
    /// The greatest number of bytes that it writes.
    limit: u64,
}

/// The length of a ZMTP greeting.
const GREETING: u64 = 64;

impl Wire {
    /// Opens a connection to a port on loopback.
    ///
    /// # Panics
    /// If it cannot be opened.
    pub async fn connect(port: u16, config: Config) -> Self {
        Self::new(TcpStream::connect(("127.0.0.1", port)).await.expect("listens"), config)
    }

    /// Creates a connection on an open socket.
    pub fn new(stream: TcpStream, config: Config) -> Self {
        let connection = Connection::new(config, Instant::ZERO);
        Self { stream, connection, origin: Clock::now(), limit: u64::MAX }
    }

    /// Writes nothing after the greeting, so that the peer must send its READY before it sees ours.
    pub fn hold_ready_back(&mut self) {
        self.limit = GREETING;
    }

    /// Returns the connection.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Returns the socket. No one sends ZMTP on it from here on.
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

    /// Awaits the end of the ZMTP handshake.
    ///
    /// # Panics
    /// On any other event.
    pub async fn ready(&mut self) -> Peer {
        match self.event().await {
            Event::Ready(peer) => peer,
            other => panic!("not ready: {other:?}"),
        }
    }

    /// Awaits a message.
    ///
    /// # Panics
    /// On any other event.
    pub async fn message(&mut self) -> Bytes {
        match self.event().await {
            Event::Message(message) => message,
            other => panic!("no message: {other:?}"),
        }
    }

    /// Awaits the failure of the connection.
    ///
    /// # Panics
    /// On any other event.
    pub async fn failure(&mut self) -> Error {
        match self.event().await {
            Event::Failed(error) => error,
            other => panic!("no failure: {other:?}"),
        }
    }

    /// Queues a message. It is written while the test awaits another method.
    ///
    /// # Panics
    /// Before the end of the ZMTP handshake.
    pub fn send(&mut self, message: impl Into<Bytes>) {
        self.connection.send_shared(message.into()).expect("is ready");
    }

    /// Awaits bytes that give no event, such as a PING or a PONG, this many times.
    ///
    /// # Panics
    /// On any event.
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

    /// Awaits this many bytes in the socket and reads none of them.
    ///
    /// # Panics
    /// If the connection ends.
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

    /// Waits for the socket or a timer and handles it.
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
            // A reset is an end of the stream, too.
            Ok(0) | Err(_) => self.connection.handle_eof(now),
        }
    }

    /// Returns how many bytes it may still write.
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
            // Reading reports the error, too.
            Err(_) => tx.advance(tx.remaining()),
        }
    }
}
