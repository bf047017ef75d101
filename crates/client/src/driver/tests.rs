//! The driver over a transport in memory.

#![allow(clippy::unwrap_used, reason = "test helpers may unwrap as tests do")]

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Buf;
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex,
};
use tokio::sync::mpsc;
use zraft_core::{Config, ConnectionCause, Endpoint, Instant, Machine, OpenFailure};
use zraft_protocol::{ClientMessage, Payload, ServerMessage, SessionId};
use zraft_zmtp::{Connection, Event};

use super::{Driver, Frontend, Progress};
use crate::transport::{ByteStream, Connecting, Transport};
use crate::{Error, RaftClient, StateName};

/// Longer than this is a hang.
const LIMIT: Duration = Duration::from_secs(20);

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future).await.expect("nothing happened for 20 s")
}

/// A stream that hands bytes to the one below only when it is flushed, as TLS may.
struct HoldsUntilFlushed {
    below: DuplexStream,
    held: VecDeque<u8>,
}

impl HoldsUntilFlushed {
    fn poll_hand_down(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let (bytes, _) = self.held.as_slices();
            let written = std::task::ready!(Pin::new(&mut self.below).poll_write(context, bytes))?;
            self.held.drain(..written);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for HoldsUntilFlushed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.below).poll_read(context, buffer)
    }
}

impl AsyncWrite for HoldsUntilFlushed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.held.extend(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.poll_hand_down(context))?;
        Pin::new(&mut self.below).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        assert!(self.held.is_empty(), "shut down before the flush completed");
        Pin::new(&mut self.below).poll_shutdown(context)
    }
}

/// Connects to the test itself. A host called `unreachable` is.
#[derive(Debug)]
struct InMemory {
    accepted: mpsc::UnboundedSender<DuplexStream>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Transport for InMemory {
    fn connect(&self, endpoint: Endpoint) -> Connecting {
        self.asked.lock().unwrap().push(endpoint.to_string());
        if matches!(endpoint, Endpoint::Tcp { host, .. } if host == "unreachable") {
            let failure = OpenFailure::Other("no route in this test".to_owned());
            return Box::pin(std::future::ready(Err(failure)));
        }
        let accepted = self.accepted.clone();
        Box::pin(async move {
            // Less than the largest payload of the tests, so that both sides must wait for each other.
            let (ours, theirs) = duplex(16 << 10);
            accepted.send(theirs).map_err(|_| OpenFailure::Refused)?;
            let stream = HoldsUntilFlushed { below: ours, held: VecDeque::new() };
            let stream: Box<dyn ByteStream> = Box::new(stream);
            Ok(stream)
        })
    }
}

/// A member at the other end of an in-memory stream.
struct Member {
    stream: DuplexStream,
    zmtp: Connection,
}

impl Member {
    const NOW: Instant = Instant::from_nanos(1);

    async fn accept(accepted: &mut mpsc::UnboundedReceiver<DuplexStream>) -> Self {
        let stream = within(accepted.recv()).await.expect("the transport lives");
        Self { stream, zmtp: Connection::new(zraft_zmtp::Config::server(), Self::NOW) }
    }

    /// The client's next message, or `None` when the client has shut down its write half.
    async fn message(&mut self) -> Option<ClientMessage> {
        loop {
            while let Some(event) = self.zmtp.poll_event(Self::NOW) {
                if let Event::Message(frame) = event {
                    return Some(ClientMessage::decode(&frame).unwrap());
                }
            }
            self.flush().await;
            let mut bytes = [0; 4096];
            let read = within(self.stream.read(&mut bytes)).await.unwrap();
            if read == 0 {
                return None;
            }
            self.zmtp.handle_bytes(Self::NOW, &bytes[..read]);
        }
    }

    async fn send(&mut self, message: &ServerMessage) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        self.zmtp.send(&bytes).unwrap();
        self.flush().await;
    }

    async fn flush(&mut self) {
        let output = self.zmtp.tx();
        let mut bytes = vec![0; output.remaining()];
        output.copy_to_slice(&mut bytes);
        within(self.stream.write_all(&bytes)).await.unwrap();
    }
}

struct Rig {
    client: RaftClient,
    accepted: mpsc::UnboundedReceiver<DuplexStream>,
    asked: Arc<Mutex<Vec<String>>>,
}

fn rig(endpoints: &[&str]) -> Rig {
    let mut config = Config::builder().capability("kind", "test");
    for (index, endpoint) in endpoints.iter().enumerate() {
        config = config.member(format!("node-{index}"), *endpoint);
    }
    let (sender, accepted) = mpsc::unbounded_channel();
    let asked = Arc::default();
    let transport = InMemory { accepted: sender, asked: Arc::clone(&asked) };
    let client = RaftClient::with_transport(
        config.build().unwrap(),
        false,
        Arc::new(transport),
        crate::lookup::Sources::default(),
    );
    Rig { client, accepted, asked }
}

#[tokio::test]
async fn session_works_over_a_stream_that_holds_bytes_until_they_are_flushed() {
    let Rig { client, mut accepted, .. } = rig(&["tcp://member:1"]);
    let connect = client.connect();
    let mut member = Member::accept(&mut accepted).await;
    let Some(ClientMessage::CreateSession { nonce, .. }) = member.message().await else {
        panic!("the client creates a session")
    };
    let session_id = SessionId::new("session").unwrap();
    member.send(&ServerMessage::SessionCreated { session_id, nonce }).await;
    within(connect).await.unwrap();

    // Longer than the pipe, so that writes wait for the member.
    let command = vec![7; 100 << 10];
    let answer = client.try_submit_command(command.clone()).unwrap();
    let Some(ClientMessage::ClientRequest { request_id, payload, .. }) = member.message().await
    else {
        panic!("the client sends the command")
    };
    assert_eq!(payload.into_bytes(), command);
    let result = Payload::new("done").unwrap();
    member.send(&ServerMessage::ClientResponse { request_id, result }).await;
    assert_eq!(within(answer).await.unwrap(), "done");

    let disconnect = client.disconnect();
    assert!(matches!(member.message().await, Some(ClientMessage::CloseSession { .. })));
    assert!(member.message().await.is_none(), "the write half is shut down after CloseSession");
    drop(member);
    within(disconnect).await;
    assert_eq!(*client.state().borrow(), StateName::Disconnected);
}

#[tokio::test]
async fn connect_tries_the_next_member_when_the_transport_fails() {
    let Rig { client, mut accepted, asked } = rig(&["tcp://unreachable:1", "tcp://member:1"]);
    let connect = client.connect();
    let mut member = Member::accept(&mut accepted).await;
    let Some(ClientMessage::CreateSession { nonce, .. }) = member.message().await else {
        panic!("the client creates a session")
    };
    let session_id = SessionId::new("session").unwrap();
    member.send(&ServerMessage::SessionCreated { session_id, nonce }).await;
    within(connect).await.unwrap();
    assert_eq!(*asked.lock().unwrap(), ["tcp://unreachable:1", "tcp://member:1"]);
}

#[tokio::test]
async fn connect_reports_the_reason_of_a_transport_that_fails() {
    let Rig { client, .. } = rig(&["tcp://unreachable:1"]);
    let error = within(client.connect_within(Duration::from_millis(100))).await.unwrap_err();
    let Error::Connection { cause, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*cause, ConnectionCause::Unreachable("no route in this test".to_owned()));
}

/// An application that connects. Each time it gets outputs, it notes whether the driver has written.
struct NotesWrites<const BEFORE_WRITING: bool> {
    accepted: mpsc::UnboundedReceiver<DuplexStream>,
    member: Option<DuplexStream>,
    written: Vec<bool>,
}

impl<const BEFORE_WRITING: bool> Frontend for NotesWrites<BEFORE_WRITING> {
    const DELIVERS_BEFORE_WRITING: bool = BEFORE_WRITING;

    fn process_inputs(
        &mut self,
        machine: &mut Machine,
        now: &mut dyn FnMut() -> Instant,
    ) -> Progress {
        machine.connect(now(), None);
        Progress::Idle
    }

    fn wants_messages(&self) -> bool {
        false
    }

    fn deliver_outputs(&mut self, _: &mut Machine) {
        let member = self
            .member
            .get_or_insert_with(|| self.accepted.try_recv().expect("the driver has connected"));
        let mut context = Context::from_waker(Waker::noop());
        let read = Pin::new(member).poll_read(&mut context, &mut ReadBuf::new(&mut [0]));
        self.written.push(read.is_ready());
    }

    fn prepare_sleep(&mut self, _: &Machine, _: &Waker) -> Progress {
        Progress::Idle
    }

    fn is_finished(&self, _: &Machine) -> bool {
        false
    }
}

/// Whether the driver has written, at each delivery of its first turn.
fn first_turn<const BEFORE_WRITING: bool>() -> Vec<bool> {
    let (sender, accepted) = mpsc::unbounded_channel();
    let transport = InMemory { accepted: sender, asked: Arc::default() };
    let config = Config::builder().member("node-1", "tcp://member:1").capability("kind", "test");
    let frontend = NotesWrites::<BEFORE_WRITING> { accepted, member: None, written: Vec::new() };
    let mut driver = Driver::with_transport(config.build().unwrap(), frontend, Arc::new(transport));
    let _ = driver.turn(&mut Context::from_waker(Waker::noop()));
    std::mem::take(&mut driver.frontend_mut().written)
}

#[test]
fn application_with_its_own_thread_gets_outputs_before_the_driver_writes() {
    assert_eq!(first_turn::<true>(), [false, true]);
    assert_eq!(first_turn::<false>(), [true]);
}
