//! A time limit for every wait, clients, and a client by hand.

use std::{
    collections::BTreeMap,
    future::{Future, IntoFuture},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use zraft_client::{ClientBuilder, RaftClient};
use zraft_protocol::{
    Capabilities, ClientMessage, CorrelationId, MemberId, Nonce, Payload, RequestId, ServerMessage,
    SessionId, Timestamp,
};
use zraft_server::{LocalCluster, MemberConfig, Timing};
use zraft_session::Application;
use zraft_zmtp::{Config, Connection, Event, Instant};

/// Awaits a future and fails the test if it takes longer than 60 s.
#[track_caller]
pub(crate) fn within<F: IntoFuture>(future: F) -> impl Future<Output = F::Output> {
    let place = std::panic::Location::caller();
    let future = future.into_future();
    async move {
        match tokio::time::timeout(Duration::from_secs(60), future).await {
            Ok(output) => output,
            Err(_) => panic!("nothing happened for 60 s, awaited at {place}"),
        }
    }
}

pub(crate) fn builder(endpoints: BTreeMap<MemberId, String>) -> ClientBuilder {
    let mut builder =
        RaftClient::builder().capability("kind", "test").request_timeout(Duration::from_secs(50));
    for (member, endpoint) in endpoints {
        builder = builder.member(member.as_str(), endpoint);
    }
    builder
}

/// Lets a busy machine cause no election: for tests that speak to the leader by hand.
pub(crate) fn patient(config: &mut MemberConfig) {
    config.timing = Timing {
        heartbeat: Duration::from_millis(100),
        election_min: Duration::from_secs(2),
        election_max: Duration::from_secs(3),
    };
}

/// Returns a client with a session.
pub(crate) async fn client<A: Application>(cluster: &LocalCluster<A>) -> RaftClient {
    let client = builder(cluster.endpoints()).build().expect("the settings are valid");
    within(client.connect()).await.expect("the cluster has a leader");
    client
}

/// Appends an item to the log of an `AppendLog`, and returns its position.
pub(crate) async fn append(client: &RaftClient, item: impl Into<Bytes>) -> u64 {
    position(&within(client.submit_command(item)).await.expect("it is answered"))
}

pub(crate) fn position(answer: &Bytes) -> u64 {
    u64::from_be_bytes(answer[..].try_into().expect("8 bytes"))
}

/// Reads the log of an `AppendLog` back.
pub(crate) async fn read_log(client: &RaftClient) -> Vec<Bytes> {
    let mut items = Vec::new();
    loop {
        let mut query = BytesMut::from(&(items.len() as u64).to_be_bytes()[..]);
        query.extend_from_slice(&u32::MAX.to_be_bytes());
        let answer = within(client.submit_query(query.freeze())).await.expect("it is answered");
        let mut answer = answer;
        let length = answer.get_u64();
        while answer.has_remaining() {
            let bytes = answer.get_u32() as usize;
            items.push(answer.split_to(bytes));
        }
        if items.len() as u64 == length {
            return items;
        }
    }
}

/// A connection of a client whose messages the test sends itself.
pub(crate) struct RawClient {
    stream: TcpStream,
    zmtp: Connection,
}

pub(crate) fn nonce() -> Nonce {
    Nonce::new(77).expect("not 0")
}

impl RawClient {
    pub(crate) async fn connect(address: std::net::SocketAddr) -> Self {
        let stream = within(TcpStream::connect(address)).await.expect("it listens");
        let mut config = Config::client();
        config.heartbeat = None;
        let mut client = Self { stream, zmtp: Connection::new(config, Instant::ZERO) };
        client.flush().await;
        loop {
            if let Some(Event::Ready(_)) = client.zmtp.poll_event(Instant::ZERO) {
                return client;
            }
            assert!(client.read().await, "closed during the ZMTP handshake");
        }
    }

    async fn flush(&mut self) {
        while self.zmtp.tx().has_remaining() {
            let chunk = Bytes::copy_from_slice(self.zmtp.tx().chunk());
            within(self.stream.write_all(&chunk)).await.expect("it is open");
            self.zmtp.tx().advance(chunk.len());
        }
    }

    /// Returns false at the end of the stream.
    async fn read(&mut self) -> bool {
        let mut bytes = vec![0; 64 << 10];
        match within(self.stream.read(&mut bytes)).await {
            Ok(read) if read > 0 => {
                self.zmtp.handle_bytes(Instant::ZERO, &bytes[..read]);
                true
            }
            _ => false,
        }
    }

    pub(crate) async fn send(&mut self, message: &ClientMessage) {
        self.queue(message);
        self.flush().await;
    }

    fn queue(&mut self, message: &ClientMessage) {
        let mut bytes = BytesMut::new();
        message.encode(&mut bytes);
        self.zmtp.send(&bytes).expect("it is ready");
    }

    /// Sends a message that no client sends.
    pub(crate) async fn send_garbage(&mut self) {
        self.zmtp.send(b"not a message").expect("it is ready");
        self.flush().await;
    }

    /// Writes messages without reading, until all are written or the connection ends.
    pub(crate) async fn flood(&mut self, messages: &[ClientMessage]) {
        messages.iter().for_each(|message| self.queue(message));
        while self.zmtp.tx().has_remaining() {
            let chunk = Bytes::copy_from_slice(self.zmtp.tx().chunk());
            if within(self.stream.write_all(&chunk)).await.is_err() {
                return;
            }
            self.zmtp.tx().advance(chunk.len());
        }
    }

    /// Returns the next message, or none at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<ServerMessage> {
        loop {
            match self.zmtp.poll_event(Instant::ZERO) {
                Some(Event::Message(frame)) => {
                    return Some(ServerMessage::decode(&frame).expect("it is a message"));
                }
                Some(other) => panic!("{other:?}"),
                None if self.read().await => {}
                None => return None,
            }
        }
    }

    /// Reads to the end of the stream.
    pub(crate) async fn until_closed(mut self) {
        while self.read().await {}
    }

    pub(crate) async fn create(&mut self) -> Option<ServerMessage> {
        let capabilities = Capabilities::new([("kind".to_owned(), "test".to_owned())]);
        let capabilities = capabilities.expect("short");
        self.send(&ClientMessage::CreateSession { capabilities, nonce: nonce() }).await;
        self.next().await
    }

    pub(crate) async fn session(&mut self) -> SessionId {
        match self.create().await {
            Some(ServerMessage::SessionCreated { session_id, .. }) => session_id,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn resume(&mut self, session: &SessionId) -> Option<ServerMessage> {
        let session_id = session.clone();
        self.send(&ClientMessage::ContinueSession { session_id, nonce: nonce() }).await;
        self.next().await
    }
}

pub(crate) fn request(number: u64) -> RequestId {
    RequestId::new(number).expect("small")
}

pub(crate) fn command(number: u64, payload: impl Into<Bytes>) -> ClientMessage {
    ClientMessage::ClientRequest {
        request_id: request(number),
        lowest_pending_request_id: request(1),
        payload: Payload::new(payload.into()).expect("short"),
        created_at: Timestamp::from_millis(0),
    }
}

pub(crate) fn query(number: u64, payload: impl Into<Bytes>) -> ClientMessage {
    ClientMessage::Query {
        correlation_id: CorrelationId::new(format!("q{number}")).expect("short"),
        payload: Payload::new(payload.into()).expect("short"),
        created_at: Timestamp::from_millis(0),
    }
}
