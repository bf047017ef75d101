//! A cluster of three members in which everything is done by hand, and rightly unless a test says otherwise.

mod clients;

use std::time::Duration;

use bytes::Bytes;
use zraft_core::Instant;
use zraft_protocol::{MemberId, Nonce, Payload, RequestId, SessionId};
use zraft_replica::{
    Boot, Change, Configuration, ConnectionId, Done, EntryKind, HardState, Job, LogEntry, Machine,
    MemberInfo, PeerMessage, Position, RaftId, ReadRound, Role, SnapshotMeta, Timing, View,
    VoteKind, Write,
};
use zraft_session::{
    Answer, AppSnapshot, Application, CheckedSettings, Command, Context, Effect, Entry, Genesis,
    Operation, QueryContext, Rejected, RestoreError, SnapshotInput, StateMachine, Time,
};

use super::super::{super::Program, Applied, At, ClusterJudge, Executed, Rest, Standing, Terms};

const EPOCH: u64 = 1_700_000_000_000;
const PATIENCE: Duration = Duration::from_secs(5);

/// The Raft id of the member at a place.
pub(super) fn id(member: usize) -> RaftId {
    RaftId::new(member as u64 + 1).expect("not 0")
}

/// The program of every member.
pub(super) const PROGRAM: Program = Program { features: 2, application: 1 };

pub(super) fn info(member: usize) -> MemberInfo {
    let name = MemberId::new(format!("node-{member}")).expect("short");
    MemberInfo { name, address: "host:7000".to_owned(), feature_level: 1 }
}

pub(super) fn session(name: &str) -> SessionId {
    SessionId::new(name).expect("short")
}

pub(super) fn request(number: u64) -> RequestId {
    RequestId::new(number).expect("small")
}

pub(super) fn payload(text: &str) -> Payload {
    Payload::new(text.to_owned()).expect("short")
}

fn length(length: u64) -> Payload {
    Payload::new(length.to_be_bytes().to_vec()).expect("short")
}

fn nonce(connection: u64) -> Nonce {
    Nonce::new(connection as i64 + 100).expect("not 0")
}

/// Counts what it executed. `push` makes a server request of the sender, `reject` is rejected.
#[derive(Debug, Default)]
pub(super) struct Counter(u64);

impl Application for Counter {
    fn level(&self) -> u32 {
        PROGRAM.application + 1
    }

    fn apply(&mut self, cx: &mut Context<'_>, command: Command<'_>) -> Result<Payload, Rejected> {
        match &command.payload()[..] {
            b"reject" => return Err(Rejected::without_answer()),
            b"push" => {
                cx.push(command.session(), payload("pushed")).expect("room");
            }
            _ => {}
        }
        self.0 += 1;
        Ok(length(self.0 - 1))
    }

    fn query(&self, _: &QueryContext<'_>, _: &Payload) -> Result<Payload, Rejected> {
        Ok(length(self.0))
    }

    fn snapshot(&self) -> AppSnapshot {
        let count = self.0;
        AppSnapshot::new(move |output| output.write_u64(count))
    }

    fn restore(input: &mut SnapshotInput<'_>) -> Result<Self, RestoreError> {
        Ok(Self(input.read_u64()?))
    }
}

pub(super) struct History {
    pub(super) judge: ClusterJudge,
    pub(super) now: Duration,
    pub(super) term: u64,
    leader: usize,
    /// All entries, from the first index on.
    log: Vec<LogEntry>,
    first: Configuration,
    /// Per connection, from 1 on: its session.
    sessions: Vec<String>,
    machines: Vec<Machine<Counter>>,
    /// The hard state that each member has, and the one on its disk.
    hard: Vec<HardState>,
    durable: Vec<HardState>,
    numbers: Vec<u64>,
    standings: Vec<Standing>,
}

impl History {
    /// Returns a cluster whose member 0 serves in term 2, with a client on connection 1 that has the session `s1`.
    pub(super) fn serving() -> Self {
        let mut history = Self::without_settings();
        history.run(Operation::Settings(CheckedSettings::default()));
        history.open(1, "s1");
        history
    }

    /// Returns a cluster whose member 0 serves in term 2.
    pub(super) fn without_settings() -> Self {
        let first = Configuration::of_voters((0..3).map(|member| (id(member), info(member))));
        let terms = Terms { timing: Timing::default(), patience: PATIENCE };
        let boot = Boot::of_new_cluster(first.clone());
        let machine = |_| Machine::new(StateMachine::new(Counter::default()), boot.snapshot.index);
        let standing = Standing {
            term: 1,
            role: Role::Follower,
            serving: false,
            committed: 1,
            last_index: 1,
            known: 1,
        };
        let mut history = Self {
            judge: ClusterJudge::new(terms, &first),
            now: Duration::from_secs(1),
            term: 1,
            leader: 0,
            log: Vec::new(),
            first,
            sessions: vec![String::new(); 10],
            machines: (0..3).map(machine).collect(),
            hard: vec![boot.hard_state; 3],
            durable: vec![boot.hard_state; 3],
            numbers: vec![0; 3],
            standings: vec![standing; 3],
        };
        for member in 0..3 {
            history.start(member, &boot);
        }
        history.elect(0);
        history.serve();
        history
    }

    pub(super) fn violated(&self) -> Option<&'static str> {
        self.judge.violation().map(|violation| violation.rule)
    }

    pub(super) fn at(&self) -> At {
        let wall = Time::from_millis(EPOCH + self.now.as_millis() as u64);
        At { now: Instant::from_nanos(self.now.as_nanos() as u64), clock: self.now, wall }
    }

    pub(super) fn configuration(&self) -> Configuration {
        self.first.clone()
    }

    pub(super) fn view(&self, member: usize) -> View {
        self.machines[member].view()
    }

    pub(super) fn last(&self) -> u64 {
        1 + self.log.len() as u64
    }

    pub(super) fn log_from(&self, index: u64) -> Vec<LogEntry> {
        self.log.iter().filter(|entry| entry.index >= index).cloned().collect()
    }

    pub(super) fn boot(&self, member: usize) -> Boot {
        let boot = Boot::of_new_cluster(self.first.clone());
        Boot { entries: self.log.clone(), hard_state: self.durable[member], ..boot }
    }

    pub(super) fn start(&mut self, member: usize, boot: &Boot) {
        let machine = Machine::new(StateMachine::new(Counter::default()), boot.snapshot.index);
        self.machines[member] = machine;
        self.numbers[member] = 0;
        let view = self.view(member);
        self.judge.started(self.at(), member, id(member), boot, &view);
        self.judge.program(member, PROGRAM);
    }

    /// A process starts at this place from a copy of a member's directory.
    pub(super) fn copy(&mut self, place: usize, of: usize) {
        let (boot, view) = (self.boot(of), self.view(of));
        self.judge.copied(place);
        self.judge.started(self.at(), place, id(of), &boot, &view);
    }

    pub(super) fn restart(&mut self, member: usize) {
        self.judge.ended(self.at(), member);
        let boot = self.boot(member);
        self.start(member, &boot);
        self.apply(member);
    }

    /// Lets time pass. The leader goes on to hear the others.
    pub(super) fn rest(&mut self, duration: Duration) {
        self.now += duration;
        let leader = self.leader;
        for other in (0..3).filter(|other| *other != leader) {
            self.hear(other);
        }
        self.stand(self.leader);
    }

    /// The leader hears a member, which answers no round.
    pub(super) fn hear(&mut self, from: usize) {
        let term = self.term;
        let message = PeerMessage::HeartbeatResponse { term, commit: 0, round: None };
        self.judge.heard(self.at(), self.leader, id(from), &message);
    }

    /// The leader's round of heartbeats with this number is answered by all.
    pub(super) fn round(&mut self, count: u64) {
        let (term, commit, round) = (self.term, 0, Some(ReadRound { term: self.term, count }));
        for other in (0..3).filter(|other| *other != self.leader) {
            let beat = PeerMessage::Heartbeat { term, commit, round };
            self.judge.sent(self.at(), self.leader, id(other), &beat);
        }
        for other in (0..3).filter(|other| *other != self.leader) {
            let answer = PeerMessage::HeartbeatResponse { term, commit, round };
            self.judge.heard(self.at(), self.leader, id(other), &answer);
        }
    }

    pub(super) fn rest_until(&mut self, end: Duration) {
        while self.now < end {
            self.rest(Duration::from_millis(100).min(end - self.now));
        }
    }

    pub(super) fn write_of(&mut self, member: usize, entries: &[LogEntry]) -> Write {
        self.numbers[member] += 1;
        Write {
            number: self.numbers[member],
            install: None,
            record: None,
            first_index: None,
            entries: entries.to_vec(),
            hard_state: self.hard[member],
            configuration: None,
        }
    }

    pub(super) fn write(&mut self, member: usize, write: &Write) {
        self.judge.writing(self.at(), member, write);
        self.judge.durable(self.at(), member, write.number);
        self.durable[member] = write.hard_state;
    }

    /// Writes an entry to a member's disk.
    pub(super) fn store(&mut self, member: usize, entry: &LogEntry) {
        let write = self.write_of(member, std::slice::from_ref(entry));
        self.write(member, &write);
    }

    pub(super) fn vote(&mut self, member: usize, term: u64, whom: usize) {
        self.hard[member] = HardState { term, vote: Some(id(whom)), ..self.hard[member] };
        let write = self.write_of(member, &[]);
        self.write(member, &write);
    }

    /// A member says how it stands, as the history has it.
    pub(super) fn stand(&mut self, member: usize) {
        self.standings[member].known = self.machines[member].view().applied;
        let standing = self.standings[member];
        self.judge.standing(self.at(), member, standing);
    }

    pub(super) fn standing(&mut self, member: usize) -> &mut Standing {
        &mut self.standings[member]
    }

    /// All members vote for one, which leads and commits the first entry of its term.
    pub(super) fn elect(&mut self, leader: usize) {
        self.term += 1;
        let term = self.term;
        // The old leader sends its clients away.
        for connection in 1..10 {
            self.disconnect(connection);
        }
        for member in 0..3 {
            self.vote(member, term, leader);
            let (role, serving) = (Role::Follower, false);
            self.standings[member] = Standing { term, role, serving, ..self.standings[member] };
            self.stand(member);
        }
        let (last, commit) = (Position::default(), Position::default());
        let ask = PeerMessage::VoteRequest { term, kind: VoteKind::Vote, last, commit };
        self.judge.sent(self.at(), leader, id((leader + 1) % 3), &ask);
        for other in (0..3).filter(|other| *other != leader) {
            let vote =
                PeerMessage::VoteResponse { term, kind: VoteKind::Vote, granted: true, commit };
            self.judge.sent(self.at(), other, id(leader), &vote);
            self.judge.heard(self.at(), leader, id(other), &vote);
        }
        self.leader = leader;
        self.standings[leader].role = Role::Leader;
        self.stand(leader);
        let noop = self.raw(EntryKind::Normal, Bytes::new());
        self.append(&noop);
    }

    /// The leader has applied the first entry of its term.
    pub(super) fn serve(&mut self) {
        self.standings[self.leader].serving = true;
        self.stand(self.leader);
        self.run(Operation::Genesis(Genesis { term: self.term, seed: [7; 32] }));
    }

    pub(super) fn raw(&self, kind: EntryKind, data: Bytes) -> LogEntry {
        LogEntry { index: self.last() + 1, term: self.term, kind, data: data.into() }
    }

    /// Returns the next entry of the log, which holds this operation.
    pub(super) fn entry(&self, operation: Operation) -> LogEntry {
        self.entry_ahead(operation, Duration::ZERO)
    }

    /// Returns the next entry, stamped this far ahead of the clock.
    pub(super) fn entry_ahead(&self, operation: Operation, ahead: Duration) -> LogEntry {
        let time = Time::from_millis(EPOCH + (self.now + ahead).as_millis() as u64);
        self.raw(EntryKind::Normal, Entry { time, operation }.encode())
    }

    /// Returns the next entry, stamped this far behind the clock.
    pub(super) fn entry_behind(&self, operation: Operation, behind: Duration) -> LogEntry {
        let time = Time::from_millis(EPOCH + (self.now - behind).as_millis() as u64);
        self.raw(EntryKind::Normal, Entry { time, operation }.encode())
    }

    fn term_at(&self, index: u64) -> u64 {
        self.log.iter().find(|entry| entry.index == index).map_or(1, |entry| entry.term)
    }

    /// The leader sends an entry to the others.
    pub(super) fn propose(&mut self, entry: &LogEntry) {
        let previous = Position { index: entry.index - 1, term: self.term_at(entry.index - 1) };
        let (commit, entries) = (self.standings[self.leader].committed, vec![entry.clone()]);
        let append = PeerMessage::Append { term: self.term, previous, commit, entries };
        self.judge.sent(self.at(), self.leader, id((self.leader + 1) % 3), &append);
    }

    /// All members say that everything up to an index is committed.
    pub(super) fn commit(&mut self, index: u64) {
        for member in [self.leader, 0, 1, 2] {
            self.standings[member].committed = index;
            self.standings[member].last_index = index;
            self.hard[member].commit = index;
            self.stand(member);
        }
    }

    /// An entry is sent, stored everywhere and committed.
    pub(super) fn append(&mut self, entry: &LogEntry) {
        self.propose(entry);
        for member in 0..3 {
            self.store(member, entry);
        }
        let (term, index, commit) = (self.term, entry.index, 0);
        let stored = PeerMessage::AppendResponse { term, index, commit, rejected: None };
        for other in (0..3).filter(|other| *other != self.leader) {
            self.judge.sent(self.at(), other, id(self.leader), &stored);
            self.judge.heard(self.at(), self.leader, id(other), &stored);
        }
        self.log.push(entry.clone());
        self.commit(entry.index);
        for member in 0..3 {
            self.apply(member);
        }
    }

    /// A member applies everything that is committed.
    pub(super) fn apply(&mut self, member: usize) {
        let applied = self.view(member).applied;
        for entry in self.log_from(applied + 1) {
            self.apply_entry(member, &entry, |_, _| {});
        }
        self.stand(member);
    }

    /// A member applies an entry, and the judge sees what `change` makes of it.
    pub(super) fn apply_entry(
        &mut self,
        member: usize,
        entry: &LogEntry,
        change: impl FnOnce(&mut View, &mut Vec<Effect>),
    ) {
        let job = Job::Apply { entries: vec![entry.clone()], up_to: entry.index };
        let done = self.machines[member].run(job).expect("it can be applied");
        let Done::Applied { mut effects, mut view } = done else { panic!("{done:?}") };
        if entry.data.is_empty() || entry.kind == EntryKind::Change {
            self.judge.reached(self.at(), member, &view);
            return;
        }
        let executed: Vec<_> = executed(entry, &effects).into_iter().collect();
        change(&mut view, &mut effects);
        let applied = Applied { entry, executed: &executed, effects: &effects, view: &view };
        self.judge.applied(self.at(), member, applied);
    }

    /// Commits an operation that no member applies yet.
    pub(super) fn append_unapplied(&mut self, operation: Operation) -> LogEntry {
        let entry = self.entry(operation);
        self.propose(&entry);
        for member in 0..3 {
            self.store(member, &entry);
        }
        self.log.push(entry.clone());
        self.commit(entry.index);
        entry
    }

    pub(super) fn run(&mut self, operation: Operation) {
        let entry = self.entry(operation);
        self.append(&entry);
    }

    pub(super) fn change(&mut self, change: Change) {
        let entry = self.raw(EntryKind::Change, change.encode());
        self.append(&entry);
    }

    /// All members follow the configuration that the log leads to, once their commit index is durable.
    pub(super) fn configure_all(&mut self) {
        let changes = self.log.iter().filter(|entry| entry.kind == EntryKind::Change);
        let after = changes.fold(self.first.clone(), |configuration, entry| {
            configuration.after(&Change::decode(&entry.data.to_bytes()).expect("a change"))
        });
        for member in 0..3 {
            let write = self.write_of(member, &[]);
            self.write(member, &write);
            self.judge.configuration(self.at(), member, &after);
        }
    }

    /// Two members take a snapshot of the last entry.
    pub(super) fn snapshot(&mut self) -> SnapshotMeta {
        let (index, term) = (self.last(), self.term_at(self.last()));
        for member in 0..2 {
            let hash = self.machines[member].state().state_hash().expect("memory").to_bytes();
            self.judge.snapshot(self.at(), member, index, hash);
        }
        SnapshotMeta { index, term, configuration: self.first.clone() }
    }

    pub(super) fn offer_snapshot(&mut self, meta: &SnapshotMeta) {
        let (term, bytes, hash) = (self.term, 100, [1; 16]);
        let offer = PeerMessage::SnapshotOffer { term, snapshot: meta.clone(), bytes, hash };
        self.judge.sent(self.at(), self.leader, id(2), &offer);
        let write = Write { record: Some(meta.clone()), ..self.write_of(0, &[]) };
        self.write(0, &write);
    }

    pub(super) fn restore(&mut self, member: usize, meta: &SnapshotMeta) {
        let view = self.view(member);
        self.judge.restored(self.at(), member, meta, &view);
    }

    /// The run ends: the members are read out.
    pub(super) fn end(&mut self) {
        self.judge.healed(self.at().now);
        self.rest(PATIENCE * 3);
        self.finish(|_, _| {});
    }

    /// The members are read out, and the judge sees what `change` makes of each.
    pub(super) fn finish(&mut self, change: impl Fn(usize, &mut ([u8; 16], Vec<LogEntry>))) {
        let read = (0..3).map(|member| {
            let state = self.machines[member].state().state_hash().expect("memory").to_bytes();
            let mut read = (state, self.log.clone());
            change(member, &mut read);
            read
        });
        let read: Vec<_> = read.collect();
        let rests = read.iter().enumerate().map(|(member, (state, entries))| Rest {
            member,
            applied: self.last(),
            state: *state,
            entries,
        });
        let rests: Vec<_> = rests.collect();
        self.judge.finish(self.at().now, &rests);
    }
}

/// The command that reached the application in an entry.
fn executed(entry: &LogEntry, effects: &[Effect]) -> Option<Executed> {
    let ran = effects.iter().any(|effect| {
        let Effect::Answered { answer, .. } = effect else { return false };
        matches!(answer, Answer::Executed(_) | Answer::Rejected(_) | Answer::TooLong)
    });
    match Entry::decode_shared(&entry.data).expect("sound").operation {
        Operation::Command { session, request_id, payload, .. } if ran => {
            Some(Executed { session, request: request_id, payload })
        }
        _ => None,
    }
}
