//! A CLIENT and a SERVER that talk to each other over a simulated network in virtual time.

use std::{collections::VecDeque, time::Duration};

use crate::common::{at, events, written};
use proptest::{collection::vec, prelude::*};
use zraft_zmtp::{Config, Connection, Error, Event, Heartbeat, Instant, Peer, SocketType};

/// One end of the connection, and the bytes that are in flight to it.
struct End {
    connection: Connection,
    inbox: VecDeque<u8>,
    reported: Vec<Event>,
    frozen: bool,
}

impl End {
    fn new(config: Config, now: Instant) -> Self {
        let connection = Connection::new(config, now);
        Self { connection, inbox: VecDeque::new(), reported: Vec::new(), frozen: false }
    }

    /// Reads at most `most` bytes from the inbox.
    fn read(&mut self, now: Instant, most: usize) {
        if self.frozen {
            return;
        }
        let bytes: Vec<u8> = self.inbox.drain(..most.min(self.inbox.len())).collect();
        self.connection.handle_bytes(now, &bytes);
        self.reported.extend(events(&mut self.connection, now));
    }

    fn write(&mut self, to: &mut Self) {
        if !self.frozen {
            to.inbox.extend(written(&mut self.connection));
        }
    }

    fn due(&self) -> Option<Instant> {
        self.connection.poll_timeout().filter(|_| !self.frozen)
    }

    fn messages(&self) -> Vec<Vec<u8>> {
        let message = |event: &Event| match event {
            Event::Message(message) => Some(message.to_vec()),
            _ => None,
        };
        self.reported.iter().filter_map(message).collect()
    }

    fn failure(&self) -> Option<&Error> {
        match self.reported.last() {
            Some(Event::Failed(error)) => Some(error),
            _ => None,
        }
    }
}

struct Pair {
    client: End,
    server: End,
    now: Instant,
}

impl Pair {
    fn new() -> Self {
        let now = at(0);
        let client = End::new(Config::client(), now);
        Self { client, server: End::new(Config::server(), now), now }
    }

    fn opened() -> Self {
        let mut pair = Self::new();
        pair.settle();
        assert!(pair.client.connection.is_ready() && pair.server.connection.is_ready());
        pair
    }

    /// Moves bytes between the ends until none are in flight.
    fn settle(&mut self) {
        loop {
            self.client.write(&mut self.server);
            self.server.write(&mut self.client);
            let moving = |end: &End| !end.frozen && !end.inbox.is_empty();
            if !moving(&self.client) && !moving(&self.server) {
                break;
            }
            self.client.read(self.now, usize::MAX);
            self.server.read(self.now, usize::MAX);
        }
    }

    /// Advances the time. Each timeout fires exactly when it is due, and all bytes are moved after it.
    fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(due) = [self.client.due(), self.server.due()]
            .into_iter()
            .flatten()
            .min()
            .filter(|due| *due <= end)
        {
            self.now = self.now.max(due);
            for end in [&mut self.client, &mut self.server] {
                if !end.frozen {
                    end.connection.handle_timeout(self.now);
                    end.reported.extend(events(&mut end.connection, self.now));
                }
            }
            self.settle();
        }
        self.now = end;
    }
}

#[test]
fn both_ends_become_ready_and_know_each_other() {
    let pair = Pair::opened();
    let ready = |socket_type| Event::Ready(Peer { version: (3, 1), socket_type });
    assert_eq!(pair.client.reported, [ready(SocketType::Server)]);
    assert_eq!(pair.server.reported, [ready(SocketType::Client)]);
}

#[test]
fn idle_pair_stays_connected_for_a_day() {
    let mut pair = Pair::opened();
    pair.pass(Duration::from_secs(86_400));
    assert_eq!(pair.client.failure(), None);
    assert_eq!(pair.server.failure(), None);
    // One PING of nine bytes per second.
    let pings = (pair.server.connection.bytes_received() - 94) / 9;
    assert_eq!(pings, 86_400);
}

#[test]
fn idle_client_wakes_once_per_interval() {
    let mut pair = Pair::opened();
    for second in 1..=100 {
        assert_eq!(pair.client.due(), Some(at(second * 1000)));
        pair.pass(Duration::from_secs(1));
    }
    assert_eq!(
        pair.server.due(),
        Some(pair.now + Duration::from_secs(30)),
        "only the TTL must be pending"
    );
}

#[test]
fn client_notices_a_frozen_server_after_the_heartbeat_timeout() {
    let mut pair = Pair::opened();
    pair.pass(Duration::from_millis(5_500));
    pair.server.frozen = true;
    // The last byte received was the PONG at 5 s.
    pair.pass(Duration::from_nanos(9_499_999_999));
    assert_eq!(pair.client.failure(), None);
    pair.pass(Duration::from_nanos(1));
    assert_eq!(pair.client.failure(), Some(&Error::HeartbeatTimeout));
    assert_eq!(pair.now, at(15_000));
}

#[test]
fn server_that_resumes_in_time_stays_connected() {
    let mut pair = Pair::opened();
    for _ in 0..10 {
        pair.server.frozen = true;
        pair.pass(Duration::from_secs(8));
        pair.server.frozen = false;
        pair.settle();
        pair.pass(Duration::from_secs(2));
    }
    assert_eq!(pair.client.failure(), None);
    assert_eq!(pair.server.failure(), None);
}

#[test]
fn server_notices_a_frozen_client_after_the_announced_ttl() {
    let mut pair = Pair::opened();
    pair.pass(Duration::from_millis(1_500));
    pair.client.frozen = true;
    pair.pass(Duration::from_millis(29_499));
    assert_eq!(pair.server.failure(), None);
    pair.pass(Duration::from_millis(1));
    assert_eq!(pair.server.failure(), Some(&Error::HeartbeatTimeout));
    assert_eq!(pair.now, at(31_000), "30 s after the PING at 1 s");
}

#[test]
fn both_ends_may_send_heartbeats() {
    let beat = Heartbeat::with_timeout(Duration::from_secs(1), Duration::from_secs(3));
    let config = Config { heartbeat: Some(beat), ..Config::server() };
    let mut pair = Pair::new();
    pair.server = End::new(config, at(0));
    pair.settle();
    pair.pass(Duration::from_secs(100));
    assert_eq!((pair.client.failure(), pair.server.failure()), (None, None));
    pair.client.frozen = true;
    pair.pass(Duration::from_secs(3));
    assert_eq!(pair.server.failure(), Some(&Error::HeartbeatTimeout));
}

#[test]
fn two_clients_or_two_servers_refuse_each_other() {
    for (config, name) in [(Config::client(), "CLIENT"), (Config::server(), "SERVER")] {
        let mut pair = Pair::new();
        pair.client = End::new(config, at(0));
        pair.server = End::new(config, at(0));
        pair.settle();
        for end in [&pair.client, &pair.server] {
            assert_eq!(end.reported, [Event::Failed(Error::SocketType(name.to_owned()))]);
        }
    }
}

#[test]
fn end_of_stream_is_reported_after_the_messages_received_before_it() {
    let mut pair = Pair::new();
    let (client, server) = (&mut pair.client, &mut pair.server);
    client.write(server);
    server.write(client);
    client.read(at(1), usize::MAX);
    client.connection.send(b"one").unwrap();
    client.connection.send(b"").unwrap();
    client.write(server);
    // The server reads all bytes and the end of the stream before it polls events.
    let bytes: Vec<u8> = server.inbox.drain(..).collect();
    server.connection.handle_bytes(at(2), &bytes);
    server.connection.handle_eof(at(2));
    let reported = events(&mut server.connection, at(2));
    assert!(matches!(reported[0], Event::Ready(_)));
    let expected = [
        crate::common::message_event("one"),
        crate::common::message_event(""),
        Event::Failed(Error::Closed),
    ];
    assert_eq!(reported[1..], expected);
    assert_eq!(events(&mut server.connection, at(2)), [], "the failure must be reported once");
}

#[test]
fn new_connection_sends_nothing_queued_on_the_old_one() {
    let mut pair = Pair::opened();
    pair.client.connection.send(b"queued on the old connection").unwrap();
    pair.client.connection.handle_eof(pair.now);
    let reported = events(&mut pair.client.connection, pair.now);
    assert_eq!(reported, [Event::Failed(Error::Closed)]);
    assert_eq!(pair.client.connection.tx_queued(), 0, "queued bytes must be dropped");

    pair.client = End::new(Config::client(), pair.now);
    pair.server = End::new(Config::server(), pair.now);
    pair.settle();
    assert_eq!(pair.server.reported.len(), 1);
    assert!(matches!(pair.server.reported[0], Event::Ready(_)));
}

#[test]
fn new_connection_works_after_any_failure() {
    for broken in
        [&b"HTTP/1.1"[..], &crate::common::header(0, 1 << 63), &crate::common::message(b"early")]
    {
        let mut pair = Pair::new();
        let mut bytes = crate::common::greeting();
        bytes.extend_from_slice(broken);
        pair.client.inbox.extend(bytes);
        pair.client.read(at(1), usize::MAX);
        assert!(pair.client.failure().is_some());
        pair.client = End::new(Config::client(), at(2));
        pair.settle();
        assert!(pair.client.connection.is_ready());
    }
}

#[derive(Debug, Clone)]
enum Op {
    ClientSends(usize),
    ServerSends(usize),
    ClientReads(usize),
    ServerReads(usize),
    ClientWrites,
    ServerWrites,
    Passes(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let length = || prop_oneof![8 => 0..300usize, 1 => 16_000..40_000usize];
    let read = || prop_oneof![0..100usize, 0..20_000usize];
    prop_oneof![
        length().prop_map(Op::ClientSends),
        length().prop_map(Op::ServerSends),
        read().prop_map(Op::ClientReads),
        read().prop_map(Op::ServerReads),
        Just(Op::ClientWrites),
        Just(Op::ServerWrites),
        (0..2000u64).prop_map(Op::Passes),
    ]
}

/// Returns a message that contains its number.
fn body(number: usize, length: usize) -> Vec<u8> {
    let mut body = number.to_be_bytes().to_vec();
    body.resize(8 + length, number as u8);
    body
}

fn send(end: &mut End, sent: &mut Vec<Vec<u8>>, length: usize) {
    if end.connection.is_ready() {
        let body = body(sent.len(), length);
        end.connection.send_shared(body.clone().into()).expect("the connection must be ready");
        sent.push(body);
    }
}

proptest! {
    #![proptest_config(crate::common::cases(256))]

    #[test]
    fn all_messages_arrive_in_order_in_both_directions(ops in vec(op(), 1..120)) {
        let mut pair = Pair::new();
        let (mut up, mut down) = (Vec::new(), Vec::new());
        // Bytes always arrive before a timeout is due.
        let mut calm = 0;
        for op in ops {
            let now = pair.now;
            match op {
                Op::ClientSends(length) => send(&mut pair.client, &mut up, length),
                Op::ServerSends(length) => send(&mut pair.server, &mut down, length),
                Op::ClientReads(most) => pair.client.read(now, most),
                Op::ServerReads(most) => pair.server.read(now, most),
                Op::ClientWrites => pair.client.write(&mut pair.server),
                Op::ServerWrites => pair.server.write(&mut pair.client),
                Op::Passes(millis) if calm + millis < 4_000 => {
                    calm += millis;
                    pair.now = now + Duration::from_millis(millis);
                    pair.client.connection.handle_timeout(pair.now);
                    pair.server.connection.handle_timeout(pair.now);
                }
                Op::Passes(_) => {
                    calm = 0;
                    pair.settle();
                }
            }
        }
        pair.settle();
        prop_assert_eq!(pair.client.failure(), None);
        prop_assert_eq!(pair.server.failure(), None);
        prop_assert_eq!(pair.server.messages(), up);
        prop_assert_eq!(pair.client.messages(), down);
        let (client, server) = (&pair.client.connection, &pair.server.connection);
        prop_assert_eq!(client.bytes_received(), server.tx_written());
        prop_assert_eq!(server.bytes_received(), client.tx_written());
    }

    #[test]
    fn stream_cut_at_any_byte_delivers_the_whole_messages_before_it(
        lengths in vec(0..600usize, 0..10),
        part in any::<prop::sample::Index>(),
    ) {
        let mut pair = Pair::opened();
        let mut sent = Vec::new();
        let mut ends = Vec::new();
        let start = pair.client.connection.tx_total();
        for length in lengths {
            send(&mut pair.client, &mut sent, length);
            ends.push(pair.client.connection.tx_total() - start);
        }
        pair.client.write(&mut pair.server);
        let cut = part.index(pair.server.inbox.len() + 1);
        pair.server.inbox.truncate(cut);
        pair.server.read(at(1), usize::MAX);
        pair.server.connection.handle_eof(at(1));
        pair.server.read(at(1), 0);
        let whole = ends.iter().filter(|end| **end <= cut as u64).count();
        prop_assert_eq!(pair.server.messages(), &sent[..whole]);
        prop_assert_eq!(pair.server.failure(), Some(&Error::Closed));
    }
}
