//! One member: the real replica and state machine, its disk, and its clock. Equal inputs lead to equal outputs.

use std::{
    fmt::Write as _,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use zraft_protocol::{
    Capabilities, ClientMessage, CorrelationId, MemberId, Nonce, Payload, RequestId, ServerMessage,
    SessionId, SplitMix64, Timestamp,
};
use zraft_replica::{
    Boot, Config, Configuration, ConnectionId, Done, Limits, Machine, MemberInfo, Now, Output,
    PeerFrame, PeerMessage, RaftId, Replica, Role, Timing, VoteKind, Write,
};
use zraft_session::{CheckedSettings, StateMachine, Time};

use crate::{
    disk::Disk,
    journal::{Journal, payload},
};

/// When the clocks of all members begin.
const EPOCH: u64 = 1_700_000_000_000;

/// What happens to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Input {
    /// A peer's frame arrives: its number in the [`Pool`].
    Frame(u32),
    /// A client opens a connection and asks for a session.
    Create(u8),
    /// A client opens a connection and continues its session: the connection, and the client.
    Continue(u8, usize),
    /// A client sends a command: the connection, the id, L, and the command's byte.
    Command(u8, u64, u64, u8),
    /// A client sends a query on this connection.
    Query(u8),
    /// The member has heard no leader for an election timeout, and stands.
    Timeout,
    /// Time passes for as long as the longest election timeout, and the member was not woken.
    Wait,
    /// An operator moves the leadership.
    HandOver(u8),
    /// The write under way becomes durable.
    Durable,
    /// The member learns that its write is durable.
    Acknowledged,
    /// The process ends and starts again from its disk.
    Restart,
}

/// What inputs refer to.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    pub(crate) frames: Vec<PeerFrame>,
    /// The sessions of the clients.
    pub(crate) sessions: Vec<SessionId>,
}

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Told {
    Created(SessionId),
    Continued,
    /// The connection ends. The client looks for another member.
    Ended,
    /// A command's answer: its id, and the place at which it ran.
    Answer(u64, u8),
    /// A command is reported as never answered.
    Evicted(u64),
    /// The commands that a query saw.
    Seen(Vec<u8>),
}

/// What an input leads to.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub(crate) sent: Vec<PeerFrame>,
    pub(crate) told: Vec<(u8, Told)>,
    /// What could be seen of the member when it died.
    pub(crate) last: Option<Facts>,
}

/// What can be seen of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) term: u64,
    pub(crate) role: Role,
    pub(crate) serving: bool,
    pub(crate) commit: u64,
    /// Term and hash of each entry, from the first after the start of the cluster on, the write under way included.
    pub(crate) log: Vec<(u64, u64)>,
    /// The same of the entries that are durable.
    pub(crate) durable: Vec<(u64, u64)>,
    /// The commands that were applied.
    pub(crate) lines: Vec<u8>,
    pub(crate) write: WriteState,
    /// What rule the member broke by itself, and how.
    pub(crate) broken: Option<String>,
}

/// How far the write under way is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum WriteState {
    None,
    /// It may be lost by a crash.
    HandedOut,
    /// It is durable, and the member does not know.
    Durable,
}

/// A mistake that is made on purpose, to show that the models find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mistake {
    /// A member is told that its write is durable before it is.
    EarlyAcknowledgement,
    /// A restart forgets whom the member voted for.
    ForgottenVote,
    /// A leader answers queries from its own state, without a round of heartbeats.
    QueryWithoutRound,
    /// A client sends the copy of a command under a new id.
    CopyUnderNewId,
}

/// Whether writes are durable at once, or by separate steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Disks {
    AtOnce,
    InSteps,
}

/// How a member is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) members: u8,
    pub(crate) disks: Disks,
    pub(crate) mistake: Option<Mistake>,
}

pub(crate) struct Member {
    number: u8,
    plan: Plan,
    replica: Replica,
    machine: Machine<Journal>,
    disk: Disk,
    write: Option<(Write, WriteState)>,
    now: Duration,
    /// How many secrets were drawn. A member that restarts goes on with new ones.
    draws: Arc<AtomicU64>,
    broken: Option<String>,
}

pub(crate) fn id(number: u8) -> RaftId {
    RaftId::new(number.into()).expect("members are counted from 1")
}

fn configuration(members: u8) -> Configuration {
    Configuration::of_voters((1..=members).map(|number| {
        let name = MemberId::new(format!("node-{number}")).expect("the name is short");
        let address = format!("host-{number}:7000");
        (id(number), MemberInfo { name, address, feature_level: 1 })
    }))
}

impl Member {
    pub(crate) fn new(number: u8, plan: Plan) -> Self {
        let disk = Disk::new(Boot::of_new_cluster(configuration(plan.members)));
        Self::start(number, plan, disk, Duration::ZERO, Arc::new(AtomicU64::new(0)))
    }

    fn start(number: u8, plan: Plan, disk: Disk, now: Duration, draws: Arc<AtomicU64>) -> Self {
        let boot = disk.boot();
        let machine = Machine::new(StateMachine::new(Journal::default()), boot.snapshot.index);
        let config = Config {
            id: id(number),
            timing: Timing::default(),
            seed: number.into(),
            settings: CheckedSettings::default(),
            feature_level: 1,
            application_level: 0,
            applies: true,
            limits: Limits::default(),
            client_endpoint: None,
        };
        let counter = Arc::clone(&draws);
        let entropy = Box::new(move |bytes: &mut [u8]| {
            let draw = counter.fetch_add(1, Ordering::Relaxed);
            let mut random = SplitMix64::new(draw << 8 | u64::from(number));
            bytes.iter_mut().for_each(|byte| *byte = random.below(256) as u8);
        });
        let replica = Replica::new(config, boot, None, machine.view(), entropy, at(now))
            .expect("what was durable is sound");
        Self { number, plan, replica, machine, disk, write: None, now, draws, broken: None }
    }

    /// Takes an input, and does everything that follows from it. If `dies` is set, the process ends in the middle: after
    /// everything that waits for no disk was sent, and before the write is durable.
    pub(crate) fn take(&mut self, pool: &Pool, input: Input, dies: bool) -> Effects {
        let mut effects = Effects::default();
        let now = at(self.now);
        match input {
            Input::Frame(number) => {
                let frame = &pool.frames[number as usize];
                self.replica.peer_message(now, frame.from, &frame.message);
            }
            Input::Create(connection) => {
                let nonce = Nonce::new(1).expect("not 0");
                let capabilities = Capabilities::new([("client".to_owned(), "model".to_owned())])
                    .expect("it is one short pair");
                self.open(connection, ClientMessage::CreateSession { capabilities, nonce });
            }
            Input::Continue(connection, client) => {
                let session_id = pool.sessions[client].clone();
                let nonce = Nonce::new(1).expect("not 0");
                self.open(connection, ClientMessage::ContinueSession { session_id, nonce });
            }
            Input::Command(connection, request, lowest, byte) => {
                let id = |number| RequestId::new(number).expect("it is small");
                let message = ClientMessage::ClientRequest {
                    request_id: id(request),
                    lowest_pending_request_id: id(lowest),
                    payload: payload(vec![byte]),
                    created_at: Timestamp::from_millis(0),
                };
                self.replica.client_message(now, ConnectionId(connection.into()), message);
            }
            Input::Query(connection) => self.query(connection, &mut effects),
            Input::Timeout => self.stand(),
            Input::Wait => self.now += Timing::default().election_max,
            Input::HandOver(to) => self.replica.hand_over(now, Some(id(to))),
            Input::Durable => {
                if let Some((write, state)) = &mut self.write {
                    self.disk.commit(write);
                    *state = WriteState::Durable;
                }
            }
            Input::Acknowledged => {
                if let Some((write, _)) = self.write.take() {
                    self.replica.persisted(now, write.number);
                }
            }
            Input::Restart => self.restart(),
        }
        self.settle(dies, &mut effects);
        if dies {
            effects.last = Some(self.facts());
            self.restart();
            self.settle(false, &mut effects);
        }
        effects
    }

    fn open(&mut self, connection: u8, message: ClientMessage) {
        let (now, connection) = (at(self.now), ConnectionId(connection.into()));
        self.replica.connected(now, connection);
        self.replica.client_message(now, connection, message);
    }

    fn query(&mut self, connection: u8, effects: &mut Effects) {
        if self.plan.mistake == Some(Mistake::QueryWithoutRound) && self.replica.is_serving() {
            let lines = self.machine.state().application().0.clone();
            effects.told.push((connection, Told::Seen(lines)));
            return;
        }
        let message = ClientMessage::Query {
            correlation_id: CorrelationId::new("q").expect("it is short"),
            payload: Payload::default(),
            created_at: Timestamp::from_millis(0),
        };
        self.replica.client_message(at(self.now), ConnectionId(connection.into()), message);
    }

    /// Lets time pass until the member stands for election.
    fn stand(&mut self) {
        // Other times, such as that of a session message that is held, can come first.
        for _ in 0..100 {
            if self.replica.role() == Role::Candidate {
                return;
            }
            self.now = self.now.max(self.replica.poll_timeout());
            self.replica.handle_timeout(at(self.now));
        }
    }

    fn restart(&mut self) {
        let mut disk = self.disk.clone();
        if self.plan.mistake == Some(Mistake::ForgottenVote) {
            disk.forget_vote();
        }
        let (draws, broken) = (Arc::clone(&self.draws), self.broken.take());
        *self = Self::start(self.number, self.plan, disk, self.now, draws);
        self.broken = broken;
    }

    /// Does what the member wants done, until it wants nothing.
    fn settle(&mut self, dies: bool, effects: &mut Effects) {
        while let Some(output) = self.replica.poll_output() {
            let now = at(self.now);
            match output {
                // It says what the others know.
                Output::Send { message: PeerMessage::Level { .. }, .. } => {}
                Output::Send { to, message } => {
                    self.check_promise(&message, to);
                    effects.sent.push(PeerFrame { from: id(self.number), to, message });
                }
                Output::Write(write) => self.write(*write, dies),
                Output::Job(job) => match self.machine.run(job) {
                    Ok(Done::Applied { effects, view }) => {
                        self.replica.applied(now, effects, view);
                    }
                    Ok(Done::Answered { key, answer }) => self.replica.answered(now, key, answer),
                    other => self.fails(format!("a job ended in {other:?}")),
                },
                Output::Client { connection, message } => self.tell(connection, message, effects),
                Output::Close(connection) => {
                    effects.told.push((connection.0 as u8, Told::Ended));
                }
                other => self.fails(format!("unexpected: {other:?}")),
            }
        }
    }

    fn write(&mut self, write: Write, dies: bool) {
        if self.write.is_some() {
            self.fails("two writes are under way".to_owned());
        }
        if self.plan.mistake == Some(Mistake::EarlyAcknowledgement) {
            // The shell says that it is durable. Then it is on its way.
            let number = write.number;
            if !dies {
                self.disk.commit(&write);
            }
            self.replica.persisted(at(self.now), number);
        } else if dies || self.plan.disks == Disks::InSteps {
            self.write = Some((write, WriteState::HandedOut));
        } else {
            self.disk.commit(&write);
            self.replica.persisted(at(self.now), write.number);
        }
    }

    /// Checks that what a message promises is durable.
    fn check_promise(&mut self, message: &PeerMessage, to: RaftId) {
        let state = self.disk.hard_state();
        let entries = self.disk.entries();
        let kept = match message {
            PeerMessage::AppendResponse { term, index, rejected: None, .. } => {
                let last = entries.last().map_or(Boot::FIRST_SNAPSHOT, |entry| entry.index);
                state.term >= *term && last >= *index
            }
            PeerMessage::VoteResponse { term, kind: VoteKind::Vote, granted: true, .. } => {
                state.term == *term && state.vote == Some(to)
            }
            PeerMessage::VoteRequest {
                term, kind: VoteKind::Vote | VoteKind::HandOver, ..
            } => state.term == *term && state.vote == Some(id(self.number)),
            _ => true,
        };
        // The mistake breaks this at once. What comes of it is found by the rules of the cluster.
        if !kept && self.plan.mistake != Some(Mistake::EarlyAcknowledgement) {
            self.fails(format!("{message:?} was sent before what it promises was durable"));
        }
    }

    fn tell(&mut self, connection: ConnectionId, message: ServerMessage, effects: &mut Effects) {
        let told = match message {
            ServerMessage::SessionCreated { session_id, .. } => Told::Created(session_id),
            ServerMessage::SessionContinued { .. } => Told::Continued,
            ServerMessage::ClientResponse { request_id, result } => {
                Told::Answer(request_id.get(), result.first().copied().unwrap_or(u8::MAX))
            }
            ServerMessage::RequestError { request_id, .. } => Told::Evicted(request_id.get()),
            ServerMessage::QueryResponse { result, .. } => Told::Seen(result.to_vec()),
            // The connection is closed after them.
            ServerMessage::SessionRejected { reason, .. } => {
                if reason == zraft_protocol::RejectionReason::SessionExpired {
                    self.fails("a living session was rejected as expired".to_owned());
                }
                return;
            }
            ServerMessage::SessionClosed { .. } => return,
            other => return self.fails(format!("a client was told {other:?}")),
        };
        effects.told.push((connection.0 as u8, told));
    }

    fn fails(&mut self, why: String) {
        self.broken.get_or_insert(why);
    }

    pub(crate) fn facts(&self) -> Facts {
        let durable = hashed(&self.disk);
        let mut disk = self.disk.clone();
        if let Some((write, _)) = &self.write {
            disk.commit(write);
        }
        Facts {
            term: self.replica.term(),
            role: self.replica.role(),
            serving: self.replica.is_serving(),
            commit: self.replica.committed(),
            log: hashed(&disk),
            durable,
            lines: self.machine.state().application().0.clone(),
            write: self.write.as_ref().map_or(WriteState::None, |(_, state)| *state),
            broken: self.broken.clone(),
        }
    }

    /// Returns a hash of everything that decides what this member does next.
    pub(crate) fn fingerprint(&self) -> u64 {
        let mut hashed = Hashed(DefaultHasher::new());
        let _ = self.replica.write_fingerprint(&mut hashed);
        // The state machine follows from what was applied, which the replica's view shows, except for the application.
        let _ = write!(
            hashed,
            "{} {:?} {:?} {:?} {:?} {:?} {:?}",
            self.number,
            self.machine.state().application(),
            self.disk,
            self.write,
            self.now,
            self.draws,
            self.broken,
        );
        hashed.0.finish()
    }
}

/// Term and hash of each entry.
fn hashed(disk: &Disk) -> Vec<(u64, u64)> {
    let entries = disk.entries().iter().map(|entry| {
        let mut hasher = DefaultHasher::new();
        (entry.index, entry.data.to_bytes()).hash(&mut hasher);
        (entry.term, hasher.finish())
    });
    entries.collect()
}

/// Hashes text instead of keeping it.
struct Hashed(DefaultHasher);

impl std::fmt::Write for Hashed {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

fn at(monotonic: Duration) -> Now {
    let wall = Time::from_millis(EPOCH + monotonic.as_millis() as u64);
    Now { monotonic, wall }
}
