//! A peer for the tests, written from the RFC. The bytes it sends come from no code under test.

use bytes::{Buf, Bytes};
use zraft_zmtp::{Config, Connection, Error, Event, Instant};

pub(crate) const MORE: u8 = 1;
pub(crate) const LONG: u8 = 2;
pub(crate) const COMMAND: u8 = 4;

/// Returns the instant this many milliseconds after the origin.
pub(crate) fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

/// Returns a greeting in the form that live peers send.
pub(crate) fn greeting_of(major: u8, minor: u8, mechanism: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, major, minor];
    bytes.extend_from_slice(mechanism);
    bytes.resize(64, 0);
    bytes
}

/// Returns the greeting of JeroMQ.
pub(crate) fn greeting() -> Vec<u8> {
    greeting_of(3, 0, b"NULL")
}

/// Returns a frame with the shortest header.
pub(crate) fn frame(flags: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = match u8::try_from(body.len()) {
        Ok(length) => vec![flags, length],
        Err(_) => header(flags | LONG, body.len() as u64),
    };
    bytes.extend_from_slice(body);
    bytes
}

/// Returns a long header that announces `length` bytes.
pub(crate) fn header(flags: u8, length: u64) -> Vec<u8> {
    let mut bytes = vec![flags | LONG];
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes
}

pub(crate) fn message(body: &[u8]) -> Vec<u8> {
    frame(0, body)
}

pub(crate) fn command(name: &str, data: &[u8]) -> Vec<u8> {
    let mut body = vec![name.len() as u8];
    body.extend_from_slice(name.as_bytes());
    body.extend_from_slice(data);
    frame(COMMAND, &body)
}

pub(crate) fn property(name: &str, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![name.len() as u8];
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(&(value.len() as u32).to_be_bytes());
    bytes.extend_from_slice(value);
    bytes
}

pub(crate) fn ready(socket_type: &str) -> Vec<u8> {
    command("READY", &property("Socket-Type", socket_type.as_bytes()))
}

pub(crate) fn ping(ttl_tenths: u16, context: &[u8]) -> Vec<u8> {
    command("PING", &[&ttl_tenths.to_be_bytes(), context].concat())
}

pub(crate) fn pong(context: &[u8]) -> Vec<u8> {
    command("PONG", context)
}

/// Polls all events.
pub(crate) fn events(connection: &mut Connection, now: Instant) -> Vec<Event> {
    std::iter::from_fn(|| connection.poll_event(now)).collect()
}

/// Feeds `bytes` to the connection and returns the events they cause.
pub(crate) fn feed(connection: &mut Connection, now: Instant, bytes: &[u8]) -> Vec<Event> {
    connection.handle_bytes(now, bytes);
    events(connection, now)
}

/// Drains the transmit buffer and returns its bytes.
pub(crate) fn written(connection: &mut Connection) -> Vec<u8> {
    let tx = connection.tx();
    let mut bytes = Vec::with_capacity(tx.remaining());
    while tx.has_remaining() {
        let chunk = tx.chunk();
        bytes.extend_from_slice(chunk);
        let length = chunk.len();
        tx.advance(length);
    }
    bytes
}

/// Returns a connection that completed its handshake at `now` and has an empty transmit buffer.
pub(crate) fn open(config: Config, now: Instant) -> Connection {
    let mut connection = Connection::new(config, now);
    let partner = match config.socket_type {
        zraft_zmtp::SocketType::Client => "SERVER",
        zraft_zmtp::SocketType::Server => "CLIENT",
    };
    let events = feed(&mut connection, now, &[greeting(), ready(partner)].concat());
    assert!(matches!(events[..], [Event::Ready(_)]), "{events:?}");
    written(&mut connection);
    connection
}

pub(crate) fn open_client() -> Connection {
    open(Config::client(), at(0))
}

pub(crate) fn open_server() -> Connection {
    open(Config::server(), at(0))
}

/// Returns the settings of a CLIENT without heartbeats.
pub(crate) fn quiet_client() -> Config {
    Config { heartbeat: None, ..Config::client() }
}

pub(crate) fn message_event(bytes: impl Into<Bytes>) -> Event {
    Event::Message(bytes.into())
}

/// Returns the error of the failure, which must be the only event.
pub(crate) fn failure(events: &[Event]) -> Error {
    match events {
        [Event::Failed(error)] => error.clone(),
        other => panic!("expected exactly one failure, got {other:?}"),
    }
}

/// Returns a proptest configuration with this many cases. A failure's seed is recorded beside the test.
pub(crate) fn cases(cases: u32) -> proptest::test_runner::Config {
    use proptest::test_runner::{Config, FileFailurePersistence};
    let beside = FileFailurePersistence::WithSource("proptest-regressions");
    Config { cases, failure_persistence: Some(Box::new(beside)), ..Default::default() }
}
