//! The member, its disk and its state machine, and the rules that its outputs must keep.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use bytes::Bytes;
use zraft_protocol::{
    Capabilities, ClientMessage, Nonce, Payload, RequestId, ServerMessage, SplitMix64, Timestamp,
};
use zraft_replica::{
    Boot, Config, ConnectionId, Done, Job, Limits, LogEntry, Machine, Now, Output, PeerFrame,
    PeerMessage, RaftId, Replica, Role, SnapshotFile, SnapshotMeta, Timing, VoteKind, Write,
};
use zraft_session::{CheckedSettings, StateMachine, Time, applications::AppendLog};

use super::{Operation, messages::configuration};

/// Outputs that one input may lead to. The largest legal burst is a few per connection, session and entry.
const MOST_OUTPUTS: usize = 4096;
/// What a member may hold of a log in which no entry is longer than an input.
const MOST_MEMORY: usize = 16 << 20;
const EPOCH: u64 = 1_700_000_000_000;

/// What the shell owes the member for a snapshot.
enum Owed {
    Read { to: RaftId, index: u64, offset: u64, length: u64 },
    Written { index: u64, up_to: u64 },
    Verified(Box<SnapshotFile>),
    Taken(SnapshotFile),
}

/// The number of writes from which on an acknowledgement counts, and the term and the index that it names.
type Acknowledged = (u64, (u64, u64));

pub(super) struct Member {
    replica: Replica,
    machine: Machine<AppendLog>,
    disk: Boot,
    write: Option<Write>,
    jobs: VecDeque<Job>,
    owed: VecDeque<Owed>,
    /// The newest snapshot's file, as the shell has it.
    newest: Option<SnapshotFile>,
    /// The bytes of every snapshot: an empty state.
    state: Vec<u8>,
    now: Duration,
    open: BTreeSet<ConnectionId>,
    connections: u64,
    random: SplitMix64,
    snapshots: bool,
    /// The candidate that the member voted for in each term. A restart does not clear it.
    votes: BTreeMap<u64, RaftId>,
    /// The first peer that acted as the leader of each term, and how far its log reached here.
    leaders: BTreeMap<u64, (RaftId, u64)>,
    /// The terms in which another peer acted as the leader, too, or in which a leader took its entries back. Such an entry can be gone
    /// before it is durable and its answer is sent.
    torn: BTreeSet<u64>,
    /// The last entry that was sent to each peer, and in which term. A faulty peer acknowledges others, too.
    offered: BTreeMap<RaftId, (u64, u64)>,
    /// What each peer has acknowledged of that to this leader, in which term, and after how many writes. A message may wait for the
    /// write that was under way when it was made and for the one after it, and be older than what its peer has acknowledged since.
    acknowledged: BTreeMap<RaftId, Vec<Acknowledged>>,
    writes: u64,
    stopped: bool,
}

fn own() -> RaftId {
    RaftId::new(1).unwrap()
}

fn replica(
    disk: &Boot,
    newest: Option<SnapshotFile>,
    machine: &Machine<AppendLog>,
    now: Duration,
    seed: u64,
    snapshots: bool,
) -> Replica {
    let limits = Limits {
        held: 4,
        waiting_bytes: 4096 + 64 * 256,
        cached_log_bytes: 400,
        snapshot_after: if snapshots { 200 } else { 1 << 30 },
        ..Limits::default()
    };
    let config = Config {
        id: own(),
        timing: Timing::default(),
        seed,
        settings: CheckedSettings::default(),
        feature_level: 1,
        application_level: 0,
        applies: true,
        limits,
        client_endpoint: None,
    };
    let mut random = SplitMix64::new(seed);
    let entropy = Box::new(move |bytes: &mut [u8]| {
        bytes.iter_mut().for_each(|byte| *byte = random.below(256) as u8);
    });
    Replica::new(config, disk, newest, machine.view(), entropy, at(now)).unwrap()
}

fn at(monotonic: Duration) -> Now {
    Now { monotonic, wall: Time::from_millis(EPOCH + monotonic.as_millis() as u64) }
}

impl Member {
    pub(super) fn new(voters: u64, snapshots: bool, random: SplitMix64) -> Self {
        let disk = Boot::of_new_cluster(configuration(voters));
        let machine = Machine::new(StateMachine::new(AppendLog::new()), disk.snapshot.index);
        let mut state = Vec::new();
        machine.state().snapshot().write_to(&mut state).unwrap();
        let replica = replica(&disk, None, &machine, Duration::ZERO, 1, snapshots);
        Self {
            replica,
            machine,
            disk,
            write: None,
            jobs: VecDeque::new(),
            owed: VecDeque::new(),
            newest: None,
            state,
            now: Duration::ZERO,
            open: BTreeSet::new(),
            connections: 0,
            random,
            snapshots,
            votes: BTreeMap::new(),
            leaders: BTreeMap::new(),
            torn: BTreeSet::new(),
            acknowledged: BTreeMap::new(),
            writes: 0,
            offered: BTreeMap::new(),
            stopped: false,
        }
    }

    pub(super) fn replica(&self) -> &Replica {
        &self.replica
    }

    pub(super) fn has_stopped(&self) -> bool {
        self.stopped
    }

    pub(super) fn peer_message(&mut self, from: RaftId, message: PeerMessage) {
        let bytes = PeerFrame { from, to: own(), message }.encode();
        self.peer_bytes(from, bytes);
    }

    pub(super) fn peer_bytes(&mut self, from: RaftId, bytes: Bytes) {
        let Ok(PeerFrame { message, .. }) = PeerFrame::decode(&bytes, from, own()) else { return };
        let (term, leads) = (self.replica.term(), self.replica.role() == Role::Leader);
        let offered = self.offered.get(&from).copied();
        self.replica.peer_message(at(self.now), from, &message);
        if let PeerMessage::Append { term, .. } | PeerMessage::Heartbeat { term, .. } = message {
            let last = self.replica.last_index();
            let (leader, reached) = self.leaders.entry(term).or_insert((from, 0));
            if *leader != from || last < *reached {
                self.torn.insert(term);
            }
            *reached = last.max(*reached);
        }
        // What is sent now may be older than the acknowledgement.
        self.look();
        if let PeerMessage::AppendResponse { term: of, index, rejected: None, .. } = message
            && leads
            && of == term
            && offered.is_some_and(|offered| (term, index) <= offered)
        {
            // Nothing waits when no write is under way.
            let after = self.writes + if self.write.is_some() { 2 } else { 0 };
            let known = self.acknowledged.entry(from).or_default();
            if known.last().is_none_or(|(_, newest)| *newest < (term, index)) {
                known.push((after, (term, index)));
            }
        }
    }

    pub(super) fn connect(&mut self) {
        let connection = ConnectionId(self.connections % 8);
        self.connections += 1;
        // A name is never used twice.
        if self.connections <= 8 {
            self.open.insert(connection);
            self.replica.connected(at(self.now), connection);
        }
    }

    pub(super) fn disconnect(&mut self, connection: ConnectionId) {
        if self.open.remove(&connection) {
            self.replica.disconnected(at(self.now), connection);
        }
    }

    pub(super) fn client_message(&mut self, connection: ConnectionId, message: ClientMessage) {
        self.replica.client_message(at(self.now), connection, message);
    }

    pub(super) fn create(&mut self, connection: ConnectionId) {
        let capabilities = Capabilities::new([("client".to_owned(), "fuzz".to_owned())]).unwrap();
        let nonce = Nonce::new(5).unwrap();
        self.client_message(connection, ClientMessage::CreateSession { capabilities, nonce });
    }

    pub(super) fn command(&mut self, connection: ConnectionId, id: u64) {
        let request_id = RequestId::new(id).unwrap();
        self.client_message(
            connection,
            ClientMessage::ClientRequest {
                request_id,
                lowest_pending_request_id: RequestId::new(1 + id / 2).unwrap(),
                payload: Payload::new(vec![id as u8; 100]).unwrap(),
                created_at: Timestamp::from_millis(0),
            },
        );
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        if self.replica.poll_timeout() <= self.now {
            self.replica.handle_timeout(at(self.now));
        }
    }

    pub(super) fn time_out(&mut self) {
        let due = self.replica.poll_timeout();
        assert!(due <= self.now + Duration::from_secs(3600), "a member is woken within an hour");
        self.now = self.now.max(due);
        self.replica.handle_timeout(at(self.now));
    }

    pub(super) fn operate(&mut self, operation: Operation) {
        let now = at(self.now);
        match operation {
            Operation::HandOver(to) => self.replica.hand_over(now, Some(to)),
            Operation::ShutDown => self.replica.shut_down(now),
            Operation::Unreachable(peer) => self.replica.peer_unreachable(now, peer),
            Operation::Change(change) => {
                let _ = self.replica.change_membership(now, change);
            }
        }
    }

    pub(super) fn write_done(&mut self) {
        let Some(write) = self.write.take() else { return };
        self.commit(&write);
        self.replica.persisted(at(self.now), write.number);
        self.look();
        self.writes += 1;
    }

    /// Does a write as one transaction.
    fn commit(&mut self, write: &Write) {
        let disk = &mut self.disk;
        assert!(write.hard_state.term >= disk.hard_state.term, "a term never falls");
        assert!(
            write.hard_state.term > disk.hard_state.term
                || disk.hard_state.vote.is_none()
                || write.hard_state.vote == disk.hard_state.vote,
            "a member votes once in a term"
        );
        assert!(write.hard_state.commit >= disk.hard_state.commit, "a commit index never falls");
        disk.hard_state = write.hard_state;
        if let Some(meta) = &write.install {
            assert!(meta.index > disk.snapshot.index, "an installed snapshot is newer");
            disk.snapshot = meta.clone();
            disk.entries.clear();
        }
        if let Some(first) = write.entries.first() {
            let last = disk.entries.last().map_or(disk.snapshot.index, |entry| entry.index);
            assert!(first.index <= last + 1, "a write leaves no gap");
            assert!(first.index > disk.snapshot.index, "what a snapshot holds is not replaced");
            disk.entries.retain(|entry| entry.index < first.index);
            let follows = |pair: &[LogEntry]| pair[0].index + 1 == pair[1].index;
            assert!(write.entries.windows(2).all(follows), "entries have no gap");
            disk.entries.extend(write.entries.iter().cloned());
        }
        if let Some(meta) = &write.record {
            let known = disk.entries.iter().any(|entry| entry.index == meta.index);
            assert!(known, "a recorded snapshot is of an entry of the log");
            disk.snapshot = meta.clone();
            disk.entries.retain(|entry| entry.index > meta.index);
        }
        // This disk keeps no entry below its snapshot.
        disk.first_index = disk.snapshot.index + 1;
        disk.terms = vec![(disk.snapshot.index, disk.snapshot.term)];
        let last = disk.entries.last().map_or(disk.snapshot.index, |entry| entry.index);
        assert!(disk.hard_state.commit <= last, "what is committed is in the log");
        assert!(disk.hard_state.commit >= disk.snapshot.index, "a snapshot is committed");
    }

    pub(super) fn job_done(&mut self) {
        let Some(job) = self.jobs.pop_front() else { return };
        let now = at(self.now);
        let done = match &job {
            Job::Restore(meta) => match self.machine.restore(meta, &self.state[..]) {
                Ok(done) => done,
                Err(error) => panic!("the snapshot was verified: {error}"),
            },
            // An entry of a peer need not be one that the state machine knows: the member ends then.
            _ => match self.machine.run(job) {
                Ok(done) => done,
                Err(_) => {
                    self.stopped = true;
                    return;
                }
            },
        };
        match done {
            Done::Applied { effects, view } => self.replica.applied(now, effects, view),
            Done::Answered { key, answer } => self.replica.answered(now, key, answer),
            Done::Frozen { meta, .. } => self.owed.push_back(Owed::Taken(self.file(meta))),
        }
        self.look();
    }

    fn file(&self, meta: SnapshotMeta) -> SnapshotFile {
        SnapshotFile { meta, bytes: self.state.len() as u64, hash: [7; 16] }
    }

    /// Does the next thing for a snapshot, well or not.
    pub(super) fn snapshot_step(&mut self, well: bool) {
        let now = at(self.now);
        match self.owed.pop_front() {
            None => {}
            Some(Owed::Read { to, index, offset, length }) => {
                let data = well.then(|| Bytes::from(vec![0; length as usize]));
                self.replica.snapshot_read(now, to, index, offset, data);
            }
            Some(Owed::Written { index, up_to }) => {
                self.replica.snapshot_written(now, index, up_to);
            }
            Some(Owed::Verified(file)) => {
                let index = file.meta.index;
                if well {
                    self.newest = Some(*file);
                }
                self.replica.snapshot_verified(now, index, well);
            }
            Some(Owed::Taken(file)) if well => {
                self.newest = Some(file.clone());
                self.replica.snapshot_taken(now, file);
            }
            Some(Owed::Taken(_)) => self.replica.snapshot_failed(now),
        }
    }

    /// Ends the process and starts it again from its disk.
    pub(super) fn restart(&mut self) {
        let index = self.disk.snapshot.index;
        // The first snapshot of a cluster has no file.
        let has_file = index > Boot::FIRST_SNAPSHOT;
        let newest = has_file.then(|| self.file(self.disk.snapshot.clone()));
        self.machine = Machine::new(StateMachine::new(AppendLog::new()), index);
        (self.write, self.jobs, self.owed) = (None, VecDeque::new(), VecDeque::new());
        self.open.clear();
        self.acknowledged.clear();
        self.offered.clear();
        self.connections = 0;
        let seed = self.random.below(1 << 32);
        self.replica = replica(&self.disk, newest, &self.machine, self.now, seed, self.snapshots);
    }

    /// Takes all outputs, and checks them.
    pub(super) fn look(&mut self) {
        let mut count = 0;
        while let Some(output) = self.replica.poll_output() {
            count += 1;
            assert!(count < MOST_OUTPUTS, "one input leads to few outputs");
            assert!(!self.stopped, "nothing comes after the stop");
            self.output(output);
        }
        assert!(self.replica.log_memory() < MOST_MEMORY, "the log in memory is bounded");
    }

    fn output(&mut self, output: Output) {
        match output {
            Output::Send { to, message } => self.sent(to, message),
            Output::Write(write) => {
                assert!(self.write.is_none(), "one write is under way at most");
                self.write = Some(*write);
            }
            Output::Job(job) => self.jobs.push_back(job),
            Output::Client { connection, message } => {
                assert!(self.open.contains(&connection), "an open connection is told {message:?}");
                let mut bytes = Vec::new();
                message.encode(&mut bytes);
                assert_eq!(ServerMessage::decode(&bytes.into()), Ok(message));
            }
            Output::Close(connection) => {
                assert!(self.open.remove(&connection), "an open connection is closed");
            }
            Output::Fetch { low, high } => {
                assert!(low < high, "an empty range is not fetched");
                let entries = self.disk.entries.iter();
                let wanted: Vec<_> =
                    entries.filter(|entry| (low..high).contains(&entry.index)).cloned().collect();
                self.replica.fetched(at(self.now), low, &wanted);
            }
            Output::ReadSnapshot { to, index, offset, length } => {
                assert!(length <= 1 << 20, "a part of a snapshot is short");
                self.owed.push_back(Owed::Read { to, index, offset, length });
            }
            Output::BeginSnapshot(_) => {
                let busy = |owed: &Owed| matches!(owed, Owed::Written { .. } | Owed::Verified(_));
                assert!(!self.owed.iter().any(busy), "one file of a leader is handled at a time");
            }
            Output::WriteSnapshot { index, offset, data } => {
                let up_to = offset + data.len() as u64;
                self.owed.push_back(Owed::Written { index, up_to });
            }
            Output::VerifySnapshot(file) => self.owed.push_back(Owed::Verified(file)),
            Output::Stop(_) => self.stopped = true,
        }
    }

    /// A message keeps what it promises, is for another member, and is one that the codec takes.
    fn sent(&mut self, to: RaftId, message: PeerMessage) {
        assert_ne!(to, own(), "a member sends nothing to itself");
        match &message {
            PeerMessage::AppendResponse { term, index, rejected: None, .. } => {
                let last = self.disk.entries.last().map_or(self.disk.snapshot.index, |e| e.index);
                // Entries that a leader of a later term has replaced need not become durable before their late answer. It is as
                // if they had been durable for a moment.
                let durable = self.disk.hard_state.term;
                let promised = durable > *term || (durable == *term && last >= *index);
                let promised = promised || self.torn.contains(term);
                assert!(promised, "{message:?} is not durable");
            }
            PeerMessage::VoteResponse { term, kind: VoteKind::Vote, granted: true, .. } => {
                self.voted(*term, to);
            }
            PeerMessage::VoteRequest {
                term, kind: VoteKind::Vote | VoteKind::HandOver, ..
            } => self.voted(*term, own()),
            PeerMessage::Append { term, previous, entries, .. } => {
                let last = previous.index + entries.len() as u64;
                let offered = self.offered.entry(to).or_default();
                *offered = (*offered).max((*term, last));
                let known = self.acknowledged.get(&to).into_iter().flatten();
                let known = known.filter(|(after, (of, _))| *after <= self.writes && of == term);
                let has = known.map(|(_, (_, index))| *index).max().unwrap_or(0);
                assert!(previous.index >= has, "{to} has {has}, and gets {message:?}");
            }
            _ => {}
        }
        let frame = PeerFrame { from: own(), to, message };
        let bytes = frame.encode();
        assert_eq!(PeerFrame::decode(&bytes, own(), to).as_ref(), Ok(&frame), "others take it");
    }

    /// A vote is durable before a message tells it. A later term that is durable does as well: no vote in an earlier
    /// term can follow it.
    fn voted(&mut self, term: u64, candidate: RaftId) {
        let state = self.disk.hard_state;
        let durable = state.term > term || (state.term, state.vote) == (term, Some(candidate));
        assert!(durable, "the vote for {candidate:?} in term {term} is not durable: {state:?}");
        let first = *self.votes.entry(term).or_insert(candidate);
        assert_eq!(first, candidate, "a member votes once in term {term}");
    }

    /// Does everything that is left to do.
    pub(super) fn finish(&mut self) {
        for _ in 0..1000 {
            if self.stopped
                || (self.write.is_none() && self.jobs.is_empty() && self.owed.is_empty())
            {
                return;
            }
            self.write_done();
            if !self.stopped {
                self.job_done();
            }
            if !self.stopped {
                self.snapshot_step(false);
                self.look();
            }
        }
        panic!("a member that gets no input comes to rest");
    }
}
