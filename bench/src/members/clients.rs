//! Real clients of a [`Cluster`]: the client's own state machine, its bytes, and connections that end as TCP's do.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use zraft_core::{
    Action, Completion, Config, ConnEnd, ConnId, Event, Instant, Machine, OpenFailure, RequestKey,
    RequestKind, Timeout, TxBuffer,
};
use zraft_protocol::{ClientMessage, SessionId, Timestamp};
use zraft_replica::ConnectionId;
use zraft_rig::{Host, Input, Rig};
use zraft_zmtp::Connection;

use super::cluster::{Cluster, LATENCY, Told};

/// What clients do.
#[derive(Debug, Clone, Copy)]
pub struct Habit {
    /// Commands in flight of each client.
    pub window: usize,
    /// Time between an answer and the next command.
    pub pause: Duration,
}

/// Real clients, each with one session, and the cluster that they use.
#[derive(Debug)]
pub struct World {
    /// The cluster.
    pub cluster: Cluster,
    /// The clients.
    pub clients: Vec<Client>,
    /// What connections without a client were told.
    pub others: Vec<(Duration, ConnectionId, Told)>,
}

/// A client with its connection.
#[derive(Debug)]
pub struct Client {
    rig: Rig,
    side: Side,
}

#[derive(Debug)]
struct Side {
    number: usize,
    habit: Habit,
    /// The client submits commands.
    busy: bool,
    /// The oldest first.
    lines: Vec<Line>,
    inputs: VecDeque<(Duration, Input)>,
    /// When the next command of each free place in the window may be submitted.
    free: VecDeque<Duration>,
    submitted: u64,
    pending: HashMap<RequestKey, u64>,
    answers: Vec<(Duration, u64)>,
    failures: Vec<String>,
    expired: bool,
}

/// A connection of a client, with the member's end of it.
#[derive(Debug)]
struct Line {
    conn: ConnId,
    member: usize,
    open: bool,
    served: Connection,
    peer: Option<ConnectionId>,
    up: VecDeque<(Duration, Bytes)>,
    ended: bool,
}

/// The instant of a client's clock. The clients' clock began earlier.
fn instant(now: Duration) -> Instant {
    Instant::from_nanos(1 << 40) + now
}

fn elapsed(at: Instant) -> Duration {
    at.saturating_duration_since(Instant::from_nanos(1 << 40))
}

impl World {
    /// Adds clients to a cluster, which connect at once.
    ///
    /// # Panics
    /// Never: the configuration is valid.
    #[must_use]
    pub fn new(cluster: Cluster, clients: usize, habit: Habit, seed: u64) -> Self {
        let members: Vec<_> = (0..cluster.len())
            .map(|member| {
                let id = super::cluster::name(member).as_str().to_owned();
                (id, format!("tcp://127.0.0.1:{}", 7001 + member))
            })
            .collect();
        let clients = (0..clients).map(|number| {
            let config = Config::builder().capability("kind", "bench");
            let config = members.iter().fold(config, |config, (id, at)| config.member(id, at));
            let config = config.build().expect("the configuration is valid");
            let now = instant(cluster.now());
            let mut rig = Rig::new(config, seed.wrapping_mul(31).wrapping_add(number as u64), now);
            rig.machine.connect(now, None);
            let side = Side {
                number,
                habit,
                busy: true,
                lines: Vec::new(),
                inputs: VecDeque::new(),
                free: (0..habit.window).map(|_| cluster.now()).collect(),
                submitted: 0,
                pending: HashMap::new(),
                answers: Vec::new(),
                failures: Vec::new(),
                expired: false,
            };
            Client { rig, side }
        });
        let mut world = Self { clients: clients.collect(), cluster, others: Vec::new() };
        world.clients.iter_mut().for_each(|client| client.turn(&mut world.cluster));
        world
    }

    /// Returns the virtual time.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.cluster.now()
    }

    /// Lets time pass until something is so, for at most a minute. Returns true if it became so.
    pub fn until(&mut self, is: impl Fn(&Self) -> bool) -> bool {
        let end = self.now() + Duration::from_secs(60);
        loop {
            if is(self) {
                return true;
            }
            let next = self.next_event().filter(|next| *next <= end);
            let Some(next) = next else { return false };
            self.step(next);
        }
    }

    /// Lets this much time pass.
    pub fn run(&mut self, duration: Duration) {
        let end = self.now() + duration;
        while let Some(next) = self.next_event().filter(|next| *next <= end) {
            self.step(next);
        }
        self.step(end);
    }

    /// Has all clients submit commands, or none.
    pub fn set_busy(&mut self, busy: bool) {
        self.clients.iter_mut().for_each(|client| client.side.busy = busy);
    }

    fn next_event(&self) -> Option<Duration> {
        let clients = self.clients.iter().filter_map(Client::next_event);
        clients.chain(self.cluster.next_event()).min()
    }

    fn step(&mut self, at: Duration) {
        self.cluster.step(at);
        loop {
            let now = self.now();
            let mut moved = self.dispatch();
            for client in &mut self.clients {
                if client.next_event().is_some_and(|due| due <= now) {
                    moved = true;
                    client.turn(&mut self.cluster);
                }
            }
            if !moved {
                return;
            }
        }
    }

    /// Takes what members say to the clients' connections. Returns true if there was something.
    fn dispatch(&mut self) -> bool {
        let now = self.now();
        let all = self.cluster.take_told();
        let moved = !all.is_empty();
        for (connection, told) in all {
            let bound = |client: &&mut Client| client.side.place_of(connection).is_some();
            match self.clients.iter_mut().find(bound) {
                Some(client) => client.side.told(now, connection, &told),
                None => self.others.push((now, connection, told)),
            }
        }
        moved
    }
}

impl Client {
    /// Returns the times at which commands were answered, and their numbers.
    #[must_use]
    pub fn answers(&self) -> &[(Duration, u64)] {
        &self.side.answers
    }

    /// Returns the number of commands that were submitted. Each has its number and the client's in its payload.
    #[must_use]
    pub fn submitted(&self) -> u64 {
        self.side.submitted
    }

    /// Returns what failed, in words.
    #[must_use]
    pub fn failures(&self) -> &[String] {
        &self.side.failures
    }

    /// Returns true if the client was told that its session had expired.
    #[must_use]
    pub fn has_expired(&self) -> bool {
        self.side.expired
    }

    /// Returns the client's session.
    #[must_use]
    pub fn session(&self) -> Option<&SessionId> {
        self.rig.machine.session_id()
    }

    fn next_event(&self) -> Option<Duration> {
        let side = &self.side;
        let line = side.lines.iter().filter_map(|line| Some(line.up.front()?.0)).min();
        let input = side.inputs.front().map(|(at, _)| *at);
        let submit = side.free.front().copied().filter(|_| side.busy && self.session().is_some());
        [self.rig.next_wake().map(elapsed), line, input, submit].into_iter().flatten().min()
    }

    fn turn(&mut self, cluster: &mut Cluster) {
        let now = cluster.now();
        self.side.serve(cluster);
        self.rig.turn(instant(now), &mut Seat { side: &mut self.side, cluster });
    }
}

impl Side {
    /// The payload of a command: whose it is, and its number.
    fn payload(&self, number: u64) -> Bytes {
        payload(self.number, number)
    }

    /// Lets the members read what has arrived.
    fn serve(&mut self, cluster: &mut Cluster) {
        for at in 0..self.lines.len() {
            self.serve_line(at, cluster);
        }
    }

    fn serve_line(&mut self, at: usize, cluster: &mut Cluster) {
        let now = cluster.now();
        let line = &mut self.lines[at];
        if !line.open {
            return;
        }
        while line.up.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, bytes)) = line.up.pop_front() else { break };
            line.served.handle_bytes(instant(now), &bytes);
        }
        let mut messages = Vec::new();
        while let Some(event) = line.served.poll_event(instant(now)) {
            match event {
                zraft_zmtp::Event::Ready(_) => line.peer = cluster.connect(line.member),
                zraft_zmtp::Event::Message(frame) => {
                    messages.push(ClientMessage::decode(&frame).expect("a client encoded it"));
                }
                event => panic!("a real client does not cause it: {event:?}"),
            }
        }
        match line.peer {
            Some(peer) => cluster.say(peer, messages),
            None if cluster.runs(line.member) => {}
            None => {
                self.end(at, now, ConnEnd::Reset);
                return;
            }
        }
        self.flush(at, now);
    }

    fn place_of(&self, connection: ConnectionId) -> Option<usize> {
        self.lines.iter().position(|line| line.peer == Some(connection))
    }

    /// Takes what a member says on this connection.
    fn told(&mut self, now: Duration, connection: ConnectionId, told: &Told) {
        let Some(at) = self.place_of(connection) else { return };
        match told {
            Told::Message(message) => {
                let mut bytes = BytesMut::new();
                message.encode(&mut bytes);
                self.lines[at].served.send_shared(bytes.freeze()).expect("it is ready");
                self.flush(at, now);
            }
            Told::Closed => self.end(at, now, ConnEnd::Eof),
            Told::Reset => self.end(at, now, ConnEnd::Reset),
        }
    }

    fn flush(&mut self, at: usize, now: Duration) {
        let line = &mut self.lines[at];
        let tx = line.served.tx();
        let bytes = tx.copy_to_bytes(tx.remaining());
        if !bytes.is_empty() && !line.ended {
            let input = Input::Received(line.conn, bytes);
            self.arrives(now + LATENCY, input);
        }
    }

    fn end(&mut self, at: usize, now: Duration, how: ConnEnd) {
        let line = &mut self.lines[at];
        if !std::mem::replace(&mut line.ended, true) {
            line.up.clear();
            line.peer = None;
            let input = Input::Ended(line.conn, how);
            self.arrives(now + LATENCY, input);
        }
    }

    /// Queues an input behind all that arrive no later.
    fn arrives(&mut self, at: Duration, input: Input) {
        let place = self.inputs.partition_point(|(other, _)| *other <= at);
        self.inputs.insert(place, (at, input));
    }
}

/// Returns the payload of a client's command.
#[must_use]
pub fn payload(client: usize, number: u64) -> Bytes {
    let mut payload = [0; 64];
    payload[..8].copy_from_slice(&(client as u64).to_be_bytes());
    payload[8..16].copy_from_slice(&number.to_be_bytes());
    Bytes::copy_from_slice(&payload)
}

/// A client's side of the world, as its machine's drive loop sees it.
struct Seat<'a> {
    side: &'a mut Side,
    cluster: &'a mut Cluster,
}

impl Host for Seat<'_> {
    fn act(&mut self, _: Instant, action: Action) {
        let now = self.cluster.now();
        match action {
            Action::Open { conn, member, .. } => {
                let member = (0..self.cluster.len())
                    .find(|at| super::cluster::name(*at) == member)
                    .expect("it was configured");
                let input = if self.cluster.runs(member) {
                    self.side.lines.push(Line {
                        conn,
                        member,
                        open: false,
                        served: Connection::new(zraft_zmtp::Config::server(), instant(now)),
                        peer: None,
                        up: VecDeque::new(),
                        ended: false,
                    });
                    Input::Opened(conn)
                } else {
                    Input::OpenFailed(conn, OpenFailure::Refused)
                };
                self.side.arrives(now + 2 * LATENCY, input);
            }
            Action::Close { conn } => {
                self.side.inputs.retain(|(_, input)| !is_of(input, conn));
                if let Some(at) = self.side.lines.iter().position(|line| line.conn == conn)
                    && let Some(peer) = self.side.lines.remove(at).peer
                {
                    self.cluster.hang_up(peer);
                }
            }
            // Only a client that disconnects does it, and these do not.
            Action::ShutdownWrite { .. } => {}
        }
    }

    fn input(&mut self, _: Instant, _: &Machine) -> Option<Input> {
        let now = self.cluster.now();
        self.side.inputs.front().filter(|(at, _)| *at <= now)?;
        let (_, input) = self.side.inputs.pop_front()?;
        if let Input::Opened(conn) = &input
            && let Some(line) = self.side.lines.iter_mut().find(|line| line.conn == *conn)
        {
            line.open = true;
        }
        Some(input)
    }

    fn sockets(&self) -> Vec<ConnId> {
        let open = self.side.lines.iter().filter(|line| line.open && !line.ended);
        open.map(|line| line.conn).collect()
    }

    fn wall(&self, _: Instant) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + self.cluster.now().as_millis() as i64)
    }

    fn write(&mut self, _: Instant, conn: ConnId, tx: &mut TxBuffer) -> usize {
        let at = self.cluster.now() + LATENCY;
        let bytes = tx.copy_to_bytes(tx.remaining());
        let taken = bytes.len();
        let line = self.side.lines.iter_mut().find(|line| line.conn == conn);
        if let Some(line) = line.filter(|_| taken > 0) {
            line.up.push_back((at, bytes));
        }
        taken
    }

    fn event(&mut self, _: Instant, _: &Machine, event: Event) {
        self.side.expired |= matches!(event, Event::SessionExpired { .. });
    }

    fn completion(&mut self, _: Instant, _: &Machine, completion: Completion) {
        let now = self.cluster.now();
        let Completion::Request { key, result, .. } = completion else { return };
        let Some(number) = self.side.pending.remove(&key) else { return };
        match result {
            Ok(_) => self.side.answers.push((now, number)),
            Err(failure) => self.side.failures.push(failure.to_string()),
        }
        self.side.free.push_back(now + self.side.habit.pause);
    }

    fn application(&mut self, at: Instant, machine: &mut Machine) {
        let now = self.cluster.now();
        while self.side.busy
            && machine.session_id().is_some()
            && self.side.free.front().is_some_and(|free| *free <= now)
        {
            self.side.free.pop_front();
            self.side.submitted += 1;
            let number = self.side.submitted;
            let payload = self.side.payload(number);
            match machine.submit(at, RequestKind::Command, payload, Timeout::Never) {
                Ok(key) => _ = self.side.pending.insert(key, number),
                Err(failure) => self.side.failures.push(failure.to_string()),
            }
        }
    }
}

fn is_of(input: &Input, conn: ConnId) -> bool {
    match input {
        Input::Opened(of)
        | Input::OpenFailed(of, _)
        | Input::Received(of, _)
        | Input::Ended(of, _) => *of == conn,
    }
}
