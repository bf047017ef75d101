//! Random faults under clients that never give up: what they were told must be true, and everything must settle.

use std::collections::{BTreeMap, BTreeSet};

use zraft_protocol::{RejectionReason, ServerMessage, SessionCloseReason, SessionId};

use super::world::{MS, World, command, continue_session, id, query};
use crate::ConnectionId;
use zraft_protocol::SplitMix64;

const CLIENTS: u64 = 4;

struct Client {
    number: u64,
    connection: Option<ConnectionId>,
    session: Option<SessionId>,
    bound: bool,
    /// The command that is not answered yet.
    next: u64,
    /// How many commands of all clients were answered when the query was sent.
    query: Option<(u64, usize)>,
    queries: u64,
}

struct Run {
    world: World,
    members: u64,
    random: SplitMix64,
    clients: Vec<Client>,
    /// Every line whose command was answered, and the answer.
    answered: BTreeMap<String, String>,
    queried: u64,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = SplitMix64::new(seed);
        let members = 3 + 2 * (seed % 2);
        let mut world = World::new(members);
        // Every third run takes snapshots all the time, so that logs end and members need them.
        if seed.is_multiple_of(3) {
            world.limits.snapshot_after = 300;
        }
        // Each run draws its election timeouts from another seed.
        for number in 1..=members {
            world.member(number).seed = random.below(1 << 40);
            world.restart(number);
        }
        let client = |number| Client {
            number,
            connection: None,
            session: None,
            bound: false,
            next: 1,
            query: None,
            queries: 0,
        };
        let clients = (0..CLIENTS).map(client).collect();
        Self { world, members, random, clients, answered: BTreeMap::new(), queried: 0 }
    }

    fn fault(&mut self) {
        let number = 1 + self.random.below(self.members);
        match self.random.below(12) {
            0 => self.world.restart(number),
            1 => self.world.isolate(number),
            2 => {
                let other = 1 + self.random.below(self.members);
                self.world.cut.insert((number, other));
            }
            3 => {
                let runs = self.world.member(number).runs;
                self.world.member(number).runs = !runs;
            }
            4 => {
                let writes = self.world.member(number).writes;
                self.world.member(number).writes = !writes;
            }
            5 => {
                let now = self.world.clock();
                let to = id(1 + self.random.below(self.members));
                self.world.replica(number).hand_over(now, Some(to));
                self.world.collect(number);
            }
            6 => {
                let at = self.random.below(CLIENTS) as usize;
                if let Some(connection) = self.clients[at].connection {
                    self.world.disconnect(connection);
                }
            }
            _ => self.repair(),
        }
    }

    fn repair(&mut self) {
        self.world.heal();
        for number in 1..=self.members {
            self.world.member(number).runs = true;
            self.world.member(number).writes = true;
        }
    }

    fn line(client: &Client) -> String {
        format!("{}-{}", client.number, client.next)
    }

    /// Lets a client do its next thing.
    fn act(&mut self, at: usize) {
        let answered = self.answered.len();
        let client = &mut self.clients[at];
        let open = client.connection.filter(|connection| self.world.is_open(*connection));
        let Some(connection) = open else {
            (client.bound, client.query) = (false, None);
            let member = 1 + self.random.below(self.members);
            if !self.world.member(member).runs {
                return;
            }
            let connection = self.world.connect(member);
            client.connection = Some(connection);
            match client.session.clone() {
                Some(session) => self.world.send(connection, continue_session(&session)),
                None => self.world.create(connection),
            }
            return;
        };
        if !client.bound {
            return;
        }
        if self.random.below(4) == 0 && client.query.is_none() {
            client.queries += 1;
            client.query = Some((client.queries, answered));
            let message = query(client.queries);
            self.world.send(connection, message);
            return;
        }
        // Often a copy.
        let message = command(client.next, client.next, &Self::line(client));
        self.world.send(connection, message);
    }

    fn read(&mut self, at: usize) {
        let client = &mut self.clients[at];
        let Some(connection) = client.connection else { return };
        for message in self.world.received(connection) {
            match message {
                ServerMessage::SessionCreated { session_id, .. } => {
                    (client.session, client.bound) = (Some(session_id), true);
                }
                ServerMessage::SessionContinued { .. } => client.bound = true,
                ServerMessage::SessionRejected { reason, .. } => {
                    assert_eq!(reason, RejectionReason::NotLeader, "a living session was rejected");
                }
                ServerMessage::ClientResponse { request_id, result } => {
                    if request_id.get() == client.next {
                        let result = String::from_utf8_lossy(&result).into_owned();
                        self.answered.insert(Self::line(client), result);
                        client.next += 1;
                    }
                }
                ServerMessage::QueryResponse { correlation_id, result } => {
                    let (number, answered) = client.query.take().expect("it asked");
                    assert_eq!(correlation_id.as_str(), format!("q{number}"));
                    let lines = result.split(|byte| *byte == b',');
                    let seen = lines.filter(|line| !line.is_empty()).count();
                    assert!(seen >= answered, "{seen} of {answered} answered commands were seen");
                    self.queried += 1;
                }
                ServerMessage::SessionClosed { reason, .. } => {
                    assert_ne!(reason, SessionCloseReason::SessionExpired, "no session expires");
                }
                message => panic!("{message:?}"),
            }
        }
    }

    fn round(&mut self, faults: bool) {
        if faults && self.random.below(8) == 0 {
            self.fault();
        }
        for at in 0..self.clients.len() {
            if self.random.below(3) == 0 {
                self.act(at);
            }
        }
        let pause = 1 + self.random.below(40) as u32;
        self.world.run(MS * pause);
        for at in 0..self.clients.len() {
            self.read(at);
        }
    }

    fn check(&mut self, seed: u64) {
        let histories: BTreeSet<_> =
            (1..=self.members).map(|number| self.world.replica(number).view().history).collect();
        assert_eq!(histories.len(), 1, "seed {seed}: the members differ");
        let lines = self.world.lines(1);
        for (line, answer) in &self.answered {
            let places: Vec<usize> = (0..lines.len()).filter(|at| lines[*at] == **line).collect();
            assert_eq!(places.len(), 1, "seed {seed}: {line} ran {} times", places.len());
            assert_eq!(format!("{}", places[0] + 1), *answer, "seed {seed}: a wrong answer");
        }
        let distinct: BTreeSet<_> = lines.iter().collect();
        assert_eq!(distinct.len(), lines.len(), "seed {seed}: a command ran twice");
    }
}

#[test]
fn a_run_repeats_byte_for_byte() {
    let trace = |seed| {
        let mut run = Run::new(seed);
        for _ in 0..150 {
            run.round(true);
        }
        run.world.trace
    };
    for seed in 100..105 {
        assert_eq!(trace(seed), trace(seed), "seed {seed}");
    }
    assert_ne!(trace(100), trace(101));
}

#[test]
fn answered_commands_ran_once_and_everything_settles_whatever_fails() {
    let (mut answered, mut queried, mut chunks) = (0, 0, 0);
    for seed in 0..60 {
        let mut run = Run::new(seed);
        for _ in 0..200 {
            run.round(true);
        }
        run.repair();
        let before: Vec<u64> = run.clients.iter().map(|client| client.next).collect();
        let mut rounds = 0;
        while run.clients.iter().zip(&before).any(|(client, before)| client.next <= *before) {
            run.round(false);
            rounds += 1;
            assert!(rounds < 1000, "seed {seed}: a command waits without end");
        }
        run.world.settle();
        run.world.run(500 * MS);
        run.check(seed);
        chunks += run.world.chunks.len();
        answered += run.answered.len();
        queried += run.queried;
    }
    assert!(answered > 2_000 && queried > 500, "{answered} commands, {queried} queries");
    assert!(chunks > 20, "{chunks} chunks of snapshots");
}
