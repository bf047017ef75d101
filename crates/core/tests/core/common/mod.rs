//! A machine, its cluster and its clock, all virtual. Real ZMTP servers decode what the machine writes, and encode what the
//! test lets members say.

mod members;
mod messages;
pub(crate) mod rounds;

use std::{collections::VecDeque, time::Duration};

use bytes::{Buf, Bytes};
use zraft_core::{
    Action, Completion, Config, ConfigBuilder, ConnEnd, ConnId, ConnectKey, DisconnectReason,
    Event, Failure, Instant, Machine, MemberList, OpenFailure, RequestKey, RequestKind, StateName,
    Timeout,
};
use zraft_protocol::{
    ClientMessage, CorrelationId, Nonce, Payload, RejectionReason, RequestErrorReason,
    ServerMessage, SessionCloseReason, Timestamp,
};
use zraft_zmtp::Connection;

pub(crate) use messages::*;

/// One connection, as the member at its other end sees it.
pub(crate) struct Peer {
    pub(crate) conn: ConnId,
    pub(crate) member: String,
    pub(crate) zmtp: Connection,
    pub(crate) open: bool,
    /// The client has shut its write half.
    pub(crate) shut: bool,
    /// The connection is closed.
    pub(crate) closed: bool,
    /// The member reads nothing more.
    pub(crate) frozen: bool,
    /// The member answers every KeepAlive by itself and only counts it.
    pub(crate) answers_keep_alives: bool,
    /// How many KeepAlives the member answered by itself.
    pub(crate) keep_alives: usize,
    pub(crate) inbox: VecDeque<ClientMessage>,
}

pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) wall: i64,
    pub(crate) machine: Machine,
    pub(crate) peers: Vec<Peer>,
    pub(crate) completions: Vec<Completion>,
    pub(crate) events: Vec<Event>,
    /// The members at connections opened from now on answer KeepAlives by themselves.
    pub(crate) answers_keep_alives: bool,
}

pub(crate) const SESSION: &str = "0b54d8ae-8b36-4cf1-9d8c-2f8fd0a7e7a9";

pub(crate) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Returns a configuration of three members, node-1 to node-3.
pub(crate) fn three() -> ConfigBuilder {
    Config::builder()
        .member("node-1", "tcp://127.0.0.1:7001")
        .member("node-2", "tcp://127.0.0.1:7002")
        .member("node-3", "tcp://127.0.0.1:7003")
        .capability("protocol", "test")
}

/// Returns a configuration of one member.
pub(crate) fn single() -> ConfigBuilder {
    Config::builder().member("node-1", "tcp://127.0.0.1:7001").capability("protocol", "test")
}

impl World {
    pub(crate) fn new(config: ConfigBuilder) -> Self {
        Self::seeded(config, 42)
    }

    pub(crate) fn seeded(config: ConfigBuilder, seed: u64) -> Self {
        let now = Instant::from_nanos(5_000_000_000_000);
        Self {
            now,
            wall: 1_700_000_000_000,
            machine: Machine::new(config.build().unwrap(), seed, now),
            peers: Vec::new(),
            completions: Vec::new(),
            events: Vec::new(),
            answers_keep_alives: false,
        }
    }

    /// Carries bytes and actions both ways until nothing moves.
    pub(crate) fn pump(&mut self) {
        loop {
            let mut moved = false;
            while let Some(action) = self.machine.poll_action(self.now) {
                moved = true;
                match action {
                    Action::Open { conn, member, .. } => self.peers.push(Peer {
                        conn,
                        member: member.as_str().to_owned(),
                        zmtp: Connection::new(zraft_zmtp::Config::server(), self.now),
                        open: false,
                        shut: false,
                        closed: false,
                        frozen: false,
                        answers_keep_alives: self.answers_keep_alives,
                        keep_alives: 0,
                        inbox: VecDeque::new(),
                    }),
                    Action::ShutdownWrite { conn } => self.peer(conn).shut = true,
                    Action::Close { conn } => self.peer(conn).closed = true,
                }
            }
            for index in 0..self.peers.len() {
                moved |= self.carry(index);
            }
            while let Some(completion) = self.machine.poll_completion() {
                self.completions.push(completion);
            }
            while let Some(event) = self.machine.poll_event() {
                self.events.push(event);
            }
            if !moved {
                break;
            }
        }
    }

    fn carry(&mut self, index: usize) -> bool {
        let peer = &mut self.peers[index];
        if !peer.open || peer.closed || peer.frozen {
            return false;
        }
        let mut moved = false;
        let wall = Timestamp::from_millis(self.wall);
        if let Some(tx) = self.machine.transmit(self.now, wall, peer.conn) {
            while tx.has_remaining() {
                let chunk = tx.chunk().to_vec();
                tx.advance(chunk.len());
                peer.zmtp.handle_bytes(self.now, &chunk);
                moved = true;
            }
            self.machine.handle_written(self.now, peer.conn);
        }
        while let Some(event) = peer.zmtp.poll_event(self.now) {
            match event {
                zraft_zmtp::Event::Ready(_) => {}
                zraft_zmtp::Event::Message(frame) => match ClientMessage::decode(&frame).unwrap() {
                    ClientMessage::KeepAlive { timestamp } if peer.answers_keep_alives => {
                        peer.keep_alives += 1;
                        let mut frame = Vec::new();
                        ServerMessage::KeepAliveResponse { timestamp }.encode(&mut frame);
                        peer.zmtp.send(&frame).unwrap();
                    }
                    message => peer.inbox.push_back(message),
                },
                // A client that has shut its write half sends no PINGs; the member closes when the last TTL has passed.
                zraft_zmtp::Event::Failed(zraft_zmtp::Error::HeartbeatTimeout) if peer.shut => {
                    peer.closed = true;
                    self.machine.handle_ended(self.now, peer.conn, ConnEnd::Eof);
                    return true;
                }
                other => panic!("the machine sent something odd: {other:?}"),
            }
        }
        self.read_from(index) || moved
    }

    /// Reads what the members sent, as a driver does before it passes the time.
    fn read(&mut self) {
        for index in 0..self.peers.len() {
            self.read_from(index);
        }
    }

    fn read_from(&mut self, index: usize) -> bool {
        let peer = &mut self.peers[index];
        if !peer.open || peer.closed || peer.frozen {
            return false;
        }
        let bytes = drain(peer.zmtp.tx());
        if !bytes.is_empty()
            && let Some(buffer) = self.machine.recv_buffer(peer.conn)
        {
            buffer.extend_from_slice(&bytes);
            self.machine.handle_received(self.now, peer.conn);
        }
        !bytes.is_empty()
    }

    pub(crate) fn peer(&mut self, conn: ConnId) -> &mut Peer {
        self.peers.iter_mut().find(|peer| peer.conn == conn).expect("no such connection")
    }

    /// Returns the members of the connections that are open or being opened.
    pub(crate) fn open_connections(&mut self) -> Vec<String> {
        self.pump();
        let open = self.peers.iter().filter(|peer| !peer.closed);
        open.map(|peer| peer.member.clone()).collect()
    }

    /// Returns the connection that the machine wants opened and that is neither accepted nor refused yet.
    pub(crate) fn opening(&self) -> Option<(ConnId, String)> {
        let peer = self.peers.last()?;
        (!peer.open && !peer.closed).then(|| (peer.conn, peer.member.clone()))
    }

    /// Calls connect() without a timeout.
    pub(crate) fn connect(&mut self) -> ConnectKey {
        let key = self.machine.connect(self.now, None);
        self.pump();
        key
    }

    /// Replaces the list of members. The port of a member ends with the number of its id.
    pub(crate) fn update(&mut self, ids: &[&str]) {
        let port = |id: &str| id.bytes().last().filter(u8::is_ascii_digit).map_or(0, |b| b - b'0');
        let list = ids.iter().map(|id| (*id, format!("tcp://127.0.0.1:700{}", port(id))));
        self.machine.update_members(self.now, MemberList::new(list).unwrap());
        self.pump();
    }

    /// Connects to the first member.
    pub(crate) fn connected(config: ConfigBuilder) -> (Self, ConnId) {
        let mut world = Self::new(config);
        world.connect();
        let conn = world.accept("node-1");
        world.create(conn);
        assert_eq!(world.machine.state(), StateName::Connected);
        world.events.clear();
        world.completions.clear();
        (world, conn)
    }

    /// Returns a world whose session lost its connection to node-1 by a step-down, with an attempt at node-2 under way.
    pub(crate) fn continuing(config: ConfigBuilder) -> Self {
        Self::stepped_down(config, |_, _| {})
    }

    /// Returns the same world, after `before` ran on the connection.
    pub(crate) fn stepped_down(
        config: ConfigBuilder,
        before: impl FnOnce(&mut Self, ConnId),
    ) -> Self {
        let (mut world, conn) = Self::connected(config);
        before(&mut world, conn);
        // An answered KeepAlive resets the backoff.
        world.answer_keep_alive(conn);
        world.closed(conn, SessionCloseReason::NotLeaderAnymore, None);
        assert_eq!(world.machine.state(), StateName::ConnectingExistingSession);
        world.events.clear();
        world.completions.clear();
        world
    }

    /// The application takes every server request it is offered. Returns their ids.
    pub(crate) fn deliver(&mut self) -> Vec<u64> {
        let mut ids = Vec::new();
        while let Some(request) = self.machine.poll_server_request() {
            ids.push(request.request_id.get());
            self.machine.server_request_done(self.now, request.request_id);
        }
        self.pump();
        ids
    }

    /// Returns the member to which a connection is being opened.
    pub(crate) fn asks(&mut self) -> Option<String> {
        self.pump();
        self.opening().map(|(_, member)| member)
    }

    /// Waits until a connection is being opened. Returns the member and how long it took.
    pub(crate) fn next_asked(&mut self, limit: Duration) -> (String, Duration) {
        let took = self.advance_until(limit, |world| world.opening().is_some());
        (self.asks().unwrap(), took)
    }

    /// Continues the session at the member being asked.
    pub(crate) fn resumed(&mut self) -> ConnId {
        let (member, _) = self.next_asked(seconds(60));
        let conn = self.accept(&member);
        self.resume(conn);
        assert_eq!(self.state(), StateName::Connected);
        conn
    }

    /// Returns everything that can be observed of the client.
    pub(crate) fn outside(&self) -> impl PartialEq + std::fmt::Debug + use<> {
        let mut stats = self.machine.stats();
        stats.bytes_in = 0;
        let open: Vec<(ConnId, bool, bool)> =
            self.peers.iter().map(|peer| (peer.conn, peer.open, peer.closed)).collect();
        let inboxes: usize = self.peers.iter().map(|peer| peer.inbox.len()).sum();
        let session = self.machine.session_id().cloned();
        (self.state(), stats, open, inboxes, session, self.completions.clone(), self.events.clone())
    }

    /// Counts the events that match.
    pub(crate) fn count_events(&self, wanted: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|event| wanted(event)).count()
    }

    /// Returns the reason of the only Disconnected event.
    pub(crate) fn disconnect_reason(&self) -> Option<DisconnectReason> {
        let mut reasons = self.events.iter().filter_map(|event| match event {
            Event::Disconnected { reason, .. } => Some(*reason),
            _ => None,
        });
        let reason = reasons.next();
        assert!(reasons.next().is_none(), "there are two Disconnected events");
        reason
    }

    pub(crate) fn command(&mut self, payload: &str) -> RequestKey {
        self.submit(RequestKind::Command, payload, Timeout::Default)
    }

    pub(crate) fn query(&mut self, payload: &str) -> RequestKey {
        self.submit(RequestKind::Query, payload, Timeout::Default)
    }

    pub(crate) fn submit(
        &mut self,
        kind: RequestKind,
        payload: &str,
        timeout: Timeout,
    ) -> RequestKey {
        let payload = Bytes::copy_from_slice(payload.as_bytes());
        let key = self.machine.submit(self.now, kind, payload, timeout).unwrap();
        self.pump();
        key
    }

    /// Advances the time, and stops whenever the machine or a member has something to do.
    pub(crate) fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        while self.step(end) {}
    }

    /// Advances the time until this holds. Returns how long that took; panics if it takes longer than `limit`.
    pub(crate) fn advance_until(
        &mut self,
        limit: Duration,
        holds: impl Fn(&Self) -> bool,
    ) -> Duration {
        let start = self.now;
        let end = start + limit;
        self.pump();
        while !holds(self) {
            assert!(self.step(end), "it did not happen within {limit:?}");
        }
        self.now - start
    }

    /// Advances to the next moment at which the machine or a member has something to do. Returns false at `end`.
    fn step(&mut self, end: Instant) -> bool {
        self.pump();
        let next = self
            .peers
            .iter()
            .filter(|peer| peer.open && !peer.closed && !peer.frozen)
            .filter_map(|peer| peer.zmtp.poll_timeout())
            .chain(self.machine.poll_timeout())
            .min()
            .filter(|next| *next <= end);
        let Some(next) = next else {
            self.wall += (end - self.now).as_millis() as i64;
            self.now = end;
            return false;
        };
        let stuck = next <= self.now;
        if next > self.now {
            self.wall += (next - self.now).as_millis() as i64;
            self.now = next;
        }
        for peer in &mut self.peers {
            if peer.open && !peer.closed && !peer.frozen {
                peer.zmtp.handle_timeout(self.now);
            }
        }
        self.read();
        self.machine.handle_timeout(self.now);
        self.pump();
        let again = self.machine.poll_timeout();
        assert!(
            !stuck || again.is_none_or(|again| again > self.now),
            "the machine wants to be woken at once, again and again"
        );
        true
    }

    /// Stops the process for this long: nothing runs meanwhile.
    pub(crate) fn sleep(&mut self, by: Duration) {
        // A driver asks for the timeout before it sleeps.
        let _ = self.machine.poll_timeout();
        self.now = self.now + by;
        self.wall += by.as_millis() as i64;
    }

    pub(crate) fn wake(&mut self) {
        self.read();
        self.machine.handle_timeout(self.now);
        self.pump();
    }

    /// Returns how this request settled, if it did.
    pub(crate) fn result(&self, key: RequestKey) -> Option<Result<Bytes, Failure>> {
        self.completions.iter().find_map(|completion| match completion {
            Completion::Request { key: settled, result, .. } if *settled == key => {
                Some(result.clone())
            }
            _ => None,
        })
    }

    /// Returns the resolution of this detached request, if it has one.
    pub(crate) fn resolution(&self, key: RequestKey) -> Option<Result<Bytes, Failure>> {
        self.completions.iter().find_map(|completion| match completion {
            Completion::Resolution { key: settled, result } if *settled == key => {
                Some(result.clone())
            }
            _ => None,
        })
    }

    pub(crate) fn connect_result(&self, key: ConnectKey) -> Option<Result<(), Failure>> {
        self.completions.iter().find_map(|completion| match completion {
            Completion::Connect { key: settled, result } if *settled == key => Some(result.clone()),
            _ => None,
        })
    }

    pub(crate) fn is_disconnected(&self) -> bool {
        self.completions.contains(&Completion::Disconnected)
    }

    pub(crate) fn state(&self) -> StateName {
        self.machine.state()
    }
}

fn drain(tx: &mut impl Buf) -> Vec<u8> {
    let mut bytes = vec![0; tx.remaining()];
    tx.copy_to_slice(&mut bytes);
    bytes
}
