//! One part of a server alone: the state machine, a leader, a follower. Everything around it answers at once, so every run
//! executes the same instructions.

use std::{collections::VecDeque, hint::black_box, time::Duration};

use bytes::Bytes;
use zraft_protocol::{Capabilities, ClientMessage, MemberId, Nonce, ServerMessage, Timestamp};
use zraft_replica::{
    Boot, Config, Configuration, ConnectionId, Done, Limits, Machine, MemberInfo, Now, Output,
    PeerFrame, PeerMessage, Position, RaftId, Replica, Timing, VoteKind,
};
use zraft_session::{
    CheckedSettings, Effect, Entry, Operation, Payload, RequestId, SessionId, StateMachine, Time,
    applications::Echo,
};

/// Commands in flight: those of one turn.
pub const BATCH: u64 = 64;
/// Sessions that share them.
const SESSIONS: u64 = 16;
/// Bytes of a command's payload.
const PAYLOAD: [u8; 64] = [7; 64];

/// Returns the payload of every command, which costs no allocation.
fn payload() -> Payload {
    Payload::new(Bytes::from_static(&PAYLOAD)).expect("64 bytes are a payload")
}

fn request(id: u64) -> RequestId {
    RequestId::new(id).expect("ids of a run are small")
}

/// Returns the command id and lowest pending id of the `number`th command, counted from 0, of sessions that take turns.
fn ids(number: u64) -> (RequestId, RequestId) {
    let id = number / SESSIONS + 1;
    (request(id), request(id.saturating_sub(BATCH / SESSIONS - 1).max(1)))
}

/// The replicated state machine alone: encodes entries, decodes them and applies them.
#[derive(Debug)]
pub struct SessionRig {
    machine: StateMachine<Echo>,
    sessions: Vec<SessionId>,
    commands: u64,
    effects: Vec<Effect>,
}

impl Default for SessionRig {
    fn default() -> Self {
        Self::new()
    }
}

impl SessionRig {
    /// Creates a state machine with some sessions.
    #[must_use]
    pub fn new() -> Self {
        let name = |number| SessionId::new(format!("5fd8a8d2-0961-864e-ad52-f29f94b8{number:04x}"));
        let sessions = (0..SESSIONS).map(|number| name(number).expect("a UUID is an id")).collect();
        let effects = Vec::with_capacity(4);
        let mut rig = Self { machine: StateMachine::new(Echo), sessions, commands: 0, effects };
        for session in rig.sessions.clone() {
            let capabilities = zraft_session::Capabilities::none();
            rig.apply(Operation::CreateSession { session, capabilities });
        }
        rig
    }

    /// Applies [`BATCH`] commands.
    pub fn turn(&mut self) {
        for _ in 0..BATCH {
            let session = self.sessions[(self.commands % SESSIONS) as usize].clone();
            let (request_id, lowest_pending) = ids(self.commands);
            self.commands += 1;
            let payload = payload();
            self.apply(Operation::Command { session, request_id, lowest_pending, payload });
        }
    }

    fn apply(&mut self, operation: Operation) {
        let bytes = Entry { time: Time::from_millis(1), operation }.encode();
        let entry = Entry::decode(&bytes).expect("it was encoded");
        let index = self.machine.applied() + 1;
        self.machine.apply(index, &entry, &mut self.effects).expect("indexes rise");
        black_box(&self.effects);
        self.effects.clear();
    }
}

fn id(number: u64) -> RaftId {
    RaftId::new(number).expect("it is above 0")
}

/// The clock stands still once the leader is elected: no heartbeat disturbs the counts.
const START: Now = Now { monotonic: Duration::ZERO, wall: Time::from_millis(1_700_000_000_000) };

/// A member of a cluster of three, with its state machine and a disk that is done at once.
#[derive(Debug)]
struct Lone {
    own: RaftId,
    replica: Replica,
    machine: Machine<Echo>,
    now: Now,
    answers: Vec<(ConnectionId, ServerMessage)>,
    frames: Vec<(RaftId, PeerFrame)>,
}

impl Lone {
    fn new(number: u64) -> Self {
        let info = |number| MemberInfo {
            name: MemberId::new(format!("node-{number}")).expect("it is short"),
            address: String::new(),
            feature_level: 1,
        };
        let members = (1..=3).map(|number| (id(number), info(number)));
        let boot = Boot::of_new_cluster(Configuration::of_voters(members));
        let machine = Machine::new(StateMachine::new(Echo), boot.snapshot.index);
        let config = Config {
            id: id(number),
            timing: Timing::default(),
            seed: number,
            settings: CheckedSettings::default(),
            feature_level: 1,
            application_level: 0,
            applies: true,
            // No snapshot disturbs the counts.
            limits: Limits { snapshot_after: u64::MAX / 8, ..Limits::default() },
            client_endpoint: None,
        };
        let mut drawn = 0_u8;
        let entropy = Box::new(move |bytes: &mut [u8]| {
            bytes.iter_mut().for_each(|byte| {
                drawn = drawn.wrapping_mul(31).wrapping_add(7);
                *byte = drawn;
            });
            drawn = drawn.wrapping_add(1);
        });
        let replica = Replica::new(config, &boot, None, machine.view(), entropy, START)
            .expect("a new cluster starts");
        let (answers, frames) = (Vec::new(), Vec::new());
        Self { own: id(number), replica, machine, now: START, answers, frames }
    }

    /// Does what the member wants done, until it wants nothing. Messages to clients and members are kept.
    fn pump(&mut self) {
        loop {
            let mut write = None;
            while let Some(output) = self.replica.poll_output() {
                match output {
                    Output::Send { to, message } => {
                        let frame = PeerFrame { from: self.own, to, message };
                        self.frames.push((to, frame));
                    }
                    Output::Write(due) => write = Some(due.number),
                    Output::Job(job) => match self.machine.run(job) {
                        Ok(Done::Applied { effects, view }) => {
                            self.replica.applied(self.now, effects, view);
                        }
                        done => panic!("there is no other job: {done:?}"),
                    },
                    Output::Client { connection, message } => {
                        self.answers.push((connection, message));
                    }
                    output => panic!("a lone member wants nothing else: {output:?}"),
                }
            }
            // Everything that came before shares the write.
            let Some(write) = write else { return };
            self.replica.persisted(self.now, write);
        }
    }
}

/// Returns what a follower answers at once.
fn reply(message: &PeerMessage) -> Option<PeerMessage> {
    Some(match message {
        PeerMessage::Append { term, previous, commit, entries } => PeerMessage::AppendResponse {
            term: *term,
            index: previous.index + entries.len() as u64,
            commit: *commit,
            rejected: None,
        },
        PeerMessage::Heartbeat { term, commit, round } => {
            PeerMessage::HeartbeatResponse { term: *term, commit: *commit, round: *round }
        }
        PeerMessage::VoteRequest { term, kind, .. } => {
            let kind = if *kind == VoteKind::PreVote { *kind } else { VoteKind::Vote };
            let commit = Position::default();
            PeerMessage::VoteResponse { term: *term, kind, granted: true, commit }
        }
        _ => return None,
    })
}

/// A leader whose two followers answer at once, and its clients.
#[derive(Debug)]
pub struct LeaderRig {
    member: Lone,
    connections: Vec<ConnectionId>,
    commands: u64,
    answered: u64,
    /// The frames to the first follower, by turn, if they are kept.
    recorded: Option<Vec<Vec<Bytes>>>,
}

impl LeaderRig {
    /// Elects a leader and opens its clients' sessions. `record` keeps the frames that a follower gets.
    #[must_use]
    pub fn new(record: bool) -> Self {
        let recorded = record.then(Vec::new);
        let member = Lone::new(1);
        let connections = (1..=SESSIONS).map(ConnectionId).collect();
        let mut rig = Self { member, connections, commands: 0, answered: 0, recorded };
        while !rig.member.replica.is_serving() {
            rig.member.now.monotonic = rig.member.replica.poll_timeout();
            rig.member.replica.handle_timeout(rig.member.now);
            rig.settle();
        }
        for connection in rig.connections.clone() {
            rig.member.replica.connected(rig.member.now, connection);
            let capabilities = Capabilities::new([("kind".to_owned(), "bench".to_owned())]);
            let capabilities = capabilities.expect("they are few and short");
            let nonce = Nonce::new(1).expect("it is not 0");
            let create = ClientMessage::CreateSession { capabilities, nonce };
            rig.member.replica.client_message(rig.member.now, connection, create);
            rig.settle();
        }
        rig
    }

    /// Takes [`BATCH`] commands to their answers.
    pub fn turn(&mut self) {
        for _ in 0..BATCH {
            let connection = self.connections[(self.commands % SESSIONS) as usize];
            let (request_id, lowest_pending_request_id) = ids(self.commands);
            self.commands += 1;
            let command = ClientMessage::ClientRequest {
                request_id,
                lowest_pending_request_id,
                payload: payload(),
                created_at: Timestamp::from_millis(1),
            };
            self.member.replica.client_message(self.member.now, connection, command);
        }
        self.settle();
    }

    /// Returns the number of commands that were answered.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.answered
    }

    /// Lets the leader and its followers act until nothing is left to do.
    fn settle(&mut self) {
        let mut kept = Vec::new();
        loop {
            self.member.pump();
            let is_answer =
                |message: &ServerMessage| matches!(message, ServerMessage::ClientResponse { .. });
            let answers = self.member.answers.drain(..);
            self.answered += answers.filter(|(_, message)| is_answer(message)).count() as u64;
            let frames: VecDeque<_> = self.member.frames.drain(..).collect();
            if frames.is_empty() {
                break;
            }
            for (to, frame) in frames {
                let bytes = black_box(frame.encode());
                if self.recorded.is_some() && to == id(2) {
                    kept.push(bytes);
                }
                if let Some(reply) = reply(&frame.message) {
                    self.member.replica.peer_message(self.member.now, to, &reply);
                }
            }
        }
        if let Some(recorded) = &mut self.recorded {
            recorded.push(kept);
        }
    }
}

/// A follower that gets what a leader has sent.
#[derive(Debug)]
pub struct FollowerRig {
    member: Lone,
    turns: VecDeque<Vec<Bytes>>,
}

impl FollowerRig {
    /// Creates a follower, and has a leader record this many turns for it.
    #[must_use]
    pub fn new(turns: u64) -> Self {
        let mut leader = LeaderRig::new(true);
        let before = leader.recorded.as_ref().map_or(0, Vec::len);
        (0..turns).for_each(|_| leader.turn());
        let turns = leader.recorded.take().unwrap_or_default().into();
        let mut rig = Self { member: Lone::new(2), turns };
        (0..before).for_each(|_| rig.turn());
        rig
    }

    /// Takes the [`BATCH`] commands of one turn from the leader, applies those that are committed, and answers.
    ///
    /// # Panics
    /// After as many turns as were recorded.
    pub fn turn(&mut self) {
        let frames = self.turns.pop_front().expect("a turn was recorded");
        for bytes in frames {
            let frame = PeerFrame::decode(&bytes, id(1), id(2)).expect("it was encoded");
            self.member.replica.peer_message(self.member.now, id(1), &frame.message);
        }
        self.member.pump();
        for (_, frame) in self.member.frames.drain(..) {
            black_box(frame.encode());
        }
    }

    /// Returns the index up to which the follower has applied the log.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.member.replica.view().applied
    }
}
