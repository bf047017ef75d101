//! A minimal client: a ZMTP connection over a stream, without session state.

use std::future::Future;
use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use zraft_protocol::{
    Capabilities, ClientMessage, CorrelationId, Nonce, Payload, RequestId, ServerMessage,
    SessionId, Timestamp,
};
use zraft_test_server::ClusterHandle;
use zraft_zmtp::{Config, Connection, Error, Event, Heartbeat, Instant};

/// Awaits a future that must complete within 30 s.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), what).await.expect("it must complete")
}

pub(crate) fn payload(bytes: impl Into<Bytes>) -> Payload {
    Payload::new(bytes).expect("a short payload")
}

/// Returns the host and port of a member.
pub(crate) fn address(cluster: &ClusterHandle, member: &str) -> String {
    let endpoints = cluster.endpoints();
    let endpoint = endpoints.iter().find(|(id, _)| id.as_str() == member).expect("a member").1;
    endpoint.strip_prefix("tcp://").expect("on TCP").to_owned()
}

/// The end of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Eof,
    Reset,
    Zmtp(Error),
}

pub(crate) struct Peer<S = TcpStream> {
    stream: S,
    connection: Connection,
    origin: tokio::time::Instant,
}

impl Peer<TcpStream> {
    pub(crate) async fn connect(cluster: &ClusterHandle, member: &str) -> Self {
        Self::connect_with(cluster, member, quiet()).await
    }

    pub(crate) async fn connect_with(
        cluster: &ClusterHandle,
        member: &str,
        config: Config,
    ) -> Self {
        let stream = soon(TcpStream::connect(address(cluster, member))).await.expect("listens");
        Self::over(stream, config).await.expect("shakes hands")
    }
}

/// Settings of a client that sends no PING.
pub(crate) fn quiet() -> Config {
    Config { heartbeat: None, ..Config::client() }
}

/// Settings of a client that notices a silent server within 500 ms.
pub(crate) fn impatient() -> Config {
    let heartbeat = Heartbeat::with_timeout(Duration::from_millis(50), Duration::from_millis(500));
    Config { heartbeat: Some(heartbeat), ..Config::client() }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    pub(crate) async fn over(stream: S, config: Config) -> Result<Self, Ended> {
        let origin = tokio::time::Instant::now();
        let connection = Connection::new(config, Instant::ZERO);
        let mut peer = Self { stream, connection, origin };
        match peer.event().await? {
            Event::Ready(_) => Ok(peer),
            other => panic!("not ready: {other:?}"),
        }
    }

    fn now(&self) -> Instant {
        let elapsed = self.origin.elapsed().as_nanos();
        Instant::from_nanos(u64::try_from(elapsed).expect("a short test"))
    }

    /// Waits for the next event, or for the end of the connection.
    pub(crate) async fn event(&mut self) -> Result<Event, Ended> {
        soon(async {
            loop {
                self.flush().await?;
                let now = self.now();
                match self.connection.poll_event(now) {
                    Some(Event::Failed(error)) => return Err(Ended::Zmtp(error)),
                    Some(event) => return Ok(event),
                    None => self.turn().await?,
                }
            }
        })
        .await
    }

    async fn turn(&mut self) -> Result<(), Ended> {
        self.flush().await?;
        let due = self
            .connection
            .poll_timeout()
            .map_or(Duration::from_secs(3600), |at| at.saturating_duration_since(self.now()));
        let buffer = self.connection.recv_buffer();
        buffer.reserve(64 << 10);
        tokio::select! {
            read = self.stream.read_buf(buffer) => match read {
                Ok(0) => return Err(Ended::Eof),
                Ok(_) => self.connection.handle_received(self.now()),
                Err(error) => return Err(ended(&error)),
            },
            () = tokio::time::sleep(due) => self.connection.handle_timeout(self.now()),
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Ended> {
        let out = self.connection.tx();
        while out.has_remaining() {
            match self.stream.write(out.chunk()).await {
                Ok(written) => out.advance(written),
                Err(error) => return Err(ended(&error)),
            }
        }
        Ok(())
    }

    /// Queues and writes any bytes as a message.
    pub(crate) async fn send_bytes(&mut self, message: &[u8]) -> Result<(), Ended> {
        self.connection.send(message).expect("ready");
        soon(self.flush()).await
    }

    pub(crate) async fn send(&mut self, message: &ClientMessage) -> Result<(), Ended> {
        let mut bytes = BytesMut::new();
        message.encode(&mut bytes);
        self.send_bytes(&bytes).await
    }

    /// Writes bytes to the stream without ZMTP.
    pub(crate) async fn write_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        soon(self.stream.write_all(bytes)).await
    }

    /// Shuts down the write half of the connection.
    pub(crate) async fn finish(&mut self) {
        soon(self.stream.shutdown()).await.expect("a FIN");
    }

    pub(crate) async fn receive(&mut self) -> Result<ServerMessage, Ended> {
        match self.event().await? {
            Event::Message(frame) => Ok(ServerMessage::decode(&frame).expect("decodes")),
            other => panic!("not a message: {other:?}"),
        }
    }

    /// Waits for the end of the connection. Fails on any event before it.
    pub(crate) async fn end(&mut self) -> Ended {
        match self.event().await {
            Err(ended) => ended,
            Ok(event) => panic!("the connection stays open: {event:?}"),
        }
    }

    /// Sends a PING and waits for the PONG.
    pub(crate) async fn ping(&mut self) -> Result<(), Ended> {
        let received = self.connection.bytes_received();
        // A command frame of 7 bytes: PING with a TTL of 30 s and no context.
        soon(self.stream.write_all(&[4, 7, 4, b'P', b'I', b'N', b'G', 1, 44]))
            .await
            .map_err(|error| ended(&error))?;
        soon(async {
            while self.connection.bytes_received() == received {
                self.turn().await?;
                let now = self.now();
                match self.connection.poll_event(now) {
                    Some(Event::Failed(error)) => return Err(Ended::Zmtp(error)),
                    Some(other) => panic!("not a PONG: {other:?}"),
                    None => {}
                }
            }
            Ok(())
        })
        .await
    }

    pub(crate) async fn create(&mut self) -> Result<SessionId, Ended> {
        let nonce = Nonce::new(7).expect("not zero");
        let capabilities = Capabilities::new([("kind", "test")]).expect("one entry");
        self.send(&ClientMessage::CreateSession { capabilities, nonce }).await?;
        match self.receive().await? {
            ServerMessage::SessionCreated { session_id, .. } => Ok(session_id),
            other => panic!("not created: {other:?}"),
        }
    }

    pub(crate) async fn resume(&mut self, session_id: &SessionId) -> Result<(), Ended> {
        let nonce = Nonce::new(8).expect("not zero");
        let session_id = session_id.clone();
        self.send(&ClientMessage::ContinueSession { session_id, nonce }).await?;
        match self.receive().await? {
            ServerMessage::SessionContinued { .. } => Ok(()),
            other => panic!("not continued: {other:?}"),
        }
    }

    pub(crate) async fn send_command(
        &mut self,
        number: u64,
        payload: Payload,
    ) -> Result<(), Ended> {
        self.send(&command(number, payload)).await
    }

    /// Sends a command and returns its answer.
    pub(crate) async fn command(
        &mut self,
        number: u64,
        payload: Payload,
    ) -> Result<Payload, Ended> {
        self.send_command(number, payload).await?;
        match self.receive().await? {
            ServerMessage::ClientResponse { request_id, result } => {
                assert_eq!(request_id.get(), number);
                Ok(result)
            }
            other => panic!("not answered: {other:?}"),
        }
    }

    pub(crate) async fn query(&mut self, payload: Payload) -> Result<Payload, Ended> {
        let correlation_id = CorrelationId::new("query").expect("short");
        let created_at = Timestamp::from_millis(0);
        self.send(&ClientMessage::Query { correlation_id, payload, created_at }).await?;
        match self.receive().await? {
            ServerMessage::QueryResponse { result, .. } => Ok(result),
            other => panic!("not answered: {other:?}"),
        }
    }

    pub(crate) async fn keep_alive(&mut self) -> Result<ServerMessage, Ended> {
        let timestamp = Timestamp::from_millis(5);
        self.send(&ClientMessage::KeepAlive { timestamp }).await?;
        self.receive().await
    }
}

pub(crate) fn command(number: u64, payload: Payload) -> ClientMessage {
    let id = RequestId::new(number).expect("a small number");
    ClientMessage::ClientRequest {
        request_id: id,
        lowest_pending_request_id: id,
        payload,
        created_at: Timestamp::from_millis(0),
    }
}

fn ended(error: &io::Error) -> Ended {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Ended::Reset,
        other => panic!("an unexpected end: {other:?}"),
    }
}

/// Checks that the cluster still serves: a new client gets a session and an answer.
pub(crate) async fn still_serves(cluster: &ClusterHandle) {
    let leader = soon(cluster.leader_elected()).await;
    let mut peer = Peer::connect(cluster, leader.as_str()).await;
    peer.create().await.expect("created");
    peer.command(1, payload(&b"still here"[..])).await.expect("answered");
}
