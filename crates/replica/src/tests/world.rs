//! Members and their surroundings, driven by one clock. A message takes 1 ms, a write 1 ms, a job no time.

mod clients;
mod messages;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use zraft_protocol::{MemberId, ServerMessage, SplitMix64};
use zraft_session::{CheckedSettings, Settings, StateMachine, Time, verify_snapshot};

use super::application::Journal;
use crate::{
    Boot, Config, Configuration, ConnectionId, Done, Job, Limits, Machine, MemberInfo, Now, Output,
    PeerFrame, RaftId, Replica, Role, SnapshotFile, StopReason, Timing, Write, disk::Disk,
};
pub(crate) use messages::*;

pub(crate) const MS: Duration = Duration::from_millis(1);
const LATENCY: Duration = MS;
const WRITE: Duration = MS;
const EPOCH: u64 = 1_700_000_000_000;

pub(crate) fn id(number: u64) -> RaftId {
    RaftId::new(number).expect("not 0")
}

pub(crate) fn name(number: u64) -> MemberId {
    MemberId::new(format!("node-{number}")).expect("short")
}

pub(crate) fn info(number: u64) -> MemberInfo {
    MemberInfo { name: name(number), address: format!("host-{number}:7000"), feature_level: 1 }
}

/// Where clients reach a member.
pub(crate) fn endpoint(number: u64) -> String {
    format!("tcp://host-{number}:7001")
}

type Files = BTreeMap<u64, (SnapshotFile, Vec<u8>)>;

pub(crate) struct Member {
    pub(crate) replica: Replica,
    pub(crate) machine: Machine<Journal>,
    pub(crate) disk: Disk,
    pub(super) write: Option<(Duration, Write)>,
    jobs: VecDeque<Job>,
    /// The files of complete snapshots, by index.
    pub(crate) files: Files,
    /// The file that comes from the leader, which a restart loses.
    partial: Vec<u8>,
    /// Whether the state machine runs.
    pub(crate) applies: bool,
    /// How many more jobs it runs.
    pub(crate) jobs_left: usize,
    /// Whether the disk finishes writes.
    pub(crate) writes: bool,
    /// Whether the process runs.
    pub(crate) runs: bool,
    pub(crate) stopped: Option<StopReason>,
    pub(crate) seed: u64,
}

pub(crate) struct World {
    pub(crate) now: Duration,
    pub(crate) members: BTreeMap<u64, Member>,
    network: VecDeque<(Duration, RaftId, RaftId, Bytes)>,
    pub(crate) cut: BTreeSet<(u64, u64)>,
    received: BTreeMap<ConnectionId, Vec<ServerMessage>>,
    closed: BTreeSet<ConnectionId>,
    connections: BTreeMap<ConnectionId, u64>,
    last_connection: u64,
    pub(crate) settings: CheckedSettings,
    pub(crate) limits: Limits,
    pub(crate) feature_level: u32,
    pub(crate) application_level: u32,
    /// Whether members that start now apply entries.
    pub(crate) applies: bool,
    /// Offsets of the chunks that leaders read, and whether the next one is damaged.
    pub(crate) chunks: Vec<u64>,
    pub(crate) damage: bool,
    /// How far the wall clocks are ahead of the monotonic one.
    pub(crate) wall: Duration,
    /// A hash of everything that members sent, and when.
    pub(crate) trace: u64,
}

impl World {
    pub(crate) fn new(count: u64) -> Self {
        Self::with_settings(count, Settings::default())
    }

    /// A world whose members draw their election timeouts from this seed.
    pub(crate) fn seeded(count: u64, seed: u64) -> Self {
        let (mut world, mut random) = (Self::new(count), SplitMix64::new(seed));
        for number in 1..=count {
            world.member(number).seed = random.below(1 << 40);
            world.restart(number);
        }
        world
    }

    pub(crate) fn with_settings(count: u64, settings: Settings) -> Self {
        let mut world = Self {
            now: Duration::ZERO,
            members: BTreeMap::new(),
            network: VecDeque::new(),
            cut: BTreeSet::new(),
            received: BTreeMap::new(),
            closed: BTreeSet::new(),
            connections: BTreeMap::new(),
            last_connection: 0,
            settings: settings.check().expect("valid"),
            limits: Limits::default(),
            feature_level: 1,
            application_level: 0,
            applies: true,
            chunks: Vec::new(),
            damage: false,
            wall: Duration::from_millis(EPOCH),
            trace: 0,
        };
        let members = (1..=count).map(|number| (id(number), info(number)));
        let configuration = Configuration::of_voters(members);
        for number in 1..=count {
            let disk = Disk::new(Boot::of_new_cluster(configuration.clone()));
            world.start(number, disk, Files::new(), number);
        }
        world
    }

    pub(crate) fn clock(&self) -> Now {
        let wall = (self.now + self.wall).as_millis();
        Now { monotonic: self.now, wall: Time::from_millis(wall as u64) }
    }

    fn start(&mut self, number: u64, disk: Disk, files: Files, seed: u64) {
        let boot = disk.boot();
        let index = boot.snapshot.index;
        let newest = files.get(&index).cloned();
        let state = match &newest {
            Some((_, bytes)) => StateMachine::restore(&bytes[..]).expect("it was verified"),
            None => StateMachine::new(Journal::default()),
        };
        let machine = Machine::new(state, index);
        let newest = newest.map(|(file, _)| file);
        let config = Config {
            id: id(number),
            timing: Timing::default(),
            seed,
            settings: self.settings.clone(),
            feature_level: self.feature_level,
            application_level: self.application_level,
            applies: self.applies,
            limits: self.limits,
            client_endpoint: Some(endpoint(number)),
        };
        let mut random = SplitMix64::new(seed ^ 0xABCD);
        let entropy = Box::new(move |bytes: &mut [u8]| {
            bytes.iter_mut().for_each(|byte| *byte = random.below(256) as u8);
        });
        let replica = Replica::new(config, &boot, newest, machine.view(), entropy, self.clock());
        let member = Member {
            replica: replica.expect("the disk is sound"),
            machine,
            disk,
            write: None,
            jobs: VecDeque::new(),
            files,
            partial: Vec::new(),
            applies: true,
            jobs_left: usize::MAX,
            writes: true,
            runs: true,
            stopped: None,
            seed,
        };
        self.members.insert(number, member);
        self.collect(number);
    }

    /// Kills a member's process and starts it again. What was not durable is lost, and so are its connections.
    pub(crate) fn restart(&mut self, number: u64) {
        let member = self.members.remove(&number).expect("it exists");
        self.connections.retain(|_, at| *at != number);
        self.network.retain(|(_, from, _, _)| from.get() != number);
        self.start(number, member.disk, member.files, member.seed + 1000);
    }

    /// Starts a member that waits to be added.
    pub(crate) fn join(&mut self, number: u64) {
        self.start(number, Disk::new(Boot::of_joining_member()), Files::new(), number);
    }

    pub(crate) fn member(&mut self, number: u64) -> &mut Member {
        self.members.get_mut(&number).expect("it exists")
    }

    pub(crate) fn replica(&mut self, number: u64) -> &mut Replica {
        &mut self.member(number).replica
    }

    pub(crate) fn isolate(&mut self, number: u64) {
        for other in self.members.keys() {
            self.cut.insert((number, *other));
            self.cut.insert((*other, number));
        }
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
    }

    /// Does everything that a member wants done now.
    pub(crate) fn collect(&mut self, number: u64) {
        let (now, clock) = (self.now, self.clock());
        let Some(member) = self.members.get_mut(&number) else { return };
        if !member.runs {
            return;
        }
        loop {
            let mut idle = true;
            while let Some(output) = member.replica.poll_output() {
                idle = false;
                match output {
                    Output::Send { to, message } => {
                        let frame = PeerFrame { from: id(number), to, message };
                        let bytes = frame.encode();
                        self.trace = traced(self.trace, now, &bytes);
                        self.network.push_back((now + LATENCY, id(number), to, bytes));
                    }
                    Output::Write(write) => {
                        assert!(member.write.is_none(), "two writes are under way");
                        member.write = Some((now + WRITE, *write));
                    }
                    Output::Job(job) => member.jobs.push_back(job),
                    Output::Client { connection, message } => {
                        assert!(!self.closed.contains(&connection), "it was closed");
                        let mut bytes = BytesMut::new();
                        message.encode(&mut bytes);
                        self.trace = traced(self.trace, now, &bytes);
                        self.received.entry(connection).or_default().push(message);
                    }
                    Output::Close(connection) => {
                        self.closed.insert(connection);
                        self.connections.remove(&connection);
                    }
                    Output::Fetch { low, high } => {
                        let entries = member.disk.read(low, high);
                        member.replica.fetched(clock, low, &entries);
                    }
                    Output::ReadSnapshot { to, index, offset, length } => {
                        self.chunks.push(offset);
                        let data = member.files.get(&index).map(|(_, bytes)| {
                            let end = offset + length;
                            let mut data = bytes[offset as usize..end as usize].to_vec();
                            if std::mem::take(&mut self.damage) {
                                data[100] ^= 1;
                            }
                            Bytes::from(data)
                        });
                        member.replica.snapshot_read(clock, to, index, offset, data);
                    }
                    Output::BeginSnapshot(_) => member.partial.clear(),
                    Output::WriteSnapshot { index, offset, data } => {
                        assert_eq!(member.partial.len() as u64, offset);
                        member.partial.extend_from_slice(&data);
                        let up_to = member.partial.len() as u64;
                        member.replica.snapshot_written(clock, index, up_to);
                    }
                    Output::VerifySnapshot(file) => {
                        let index = file.meta.index;
                        let bytes = std::mem::take(&mut member.partial);
                        let sound = verify_snapshot(&bytes[..])
                            .is_ok_and(|summary| summary.hash.to_bytes() == file.hash);
                        if sound {
                            member.files.insert(index, (*file, bytes));
                        }
                        member.replica.snapshot_verified(clock, index, sound);
                    }
                    Output::Stop(reason) => member.stopped = Some(reason),
                }
            }
            while member.applies
                && member.jobs_left > 0
                && let Some(job) = member.jobs.pop_front()
            {
                idle = false;
                member.jobs_left -= 1;
                if let Job::Restore(meta) = &job {
                    let (_, bytes) = &member.files[&meta.index];
                    let done = member.machine.restore(meta, &bytes[..]).expect("it was verified");
                    let Done::Applied { effects, view } = done else { panic!("{done:?}") };
                    member.replica.applied(clock, effects, view);
                    continue;
                }
                match member.machine.run(job).expect("it can be applied") {
                    Done::Applied { effects, view } => {
                        member.replica.applied(clock, effects, view);
                    }
                    Done::Answered { key, answer } => member.replica.answered(clock, key, answer),
                    Done::Frozen { meta, snapshot } => {
                        let mut bytes = Vec::new();
                        let summary = snapshot.write_to(&mut bytes).expect("memory");
                        let hash = summary.hash.to_bytes();
                        let file = SnapshotFile { meta, bytes: summary.bytes, hash };
                        member.files.insert(file.meta.index, (file.clone(), bytes));
                        member.replica.snapshot_taken(clock, file);
                    }
                }
            }
            if idle {
                return;
            }
        }
    }

    /// Lets time pass until this much later.
    pub(crate) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(next) = self.next_event().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.step();
        }
        self.now = end;
    }

    fn next_event(&self) -> Option<Duration> {
        let members = self.members.values().filter(|member| member.runs);
        let members = members.flat_map(|member| {
            let write = member.write.as_ref().filter(|_| member.writes).map(|(at, _)| *at);
            [Some(member.replica.poll_timeout()), write]
        });
        let network = self.network.iter().map(|(at, ..)| Some(*at));
        members.chain(network).flatten().min()
    }

    fn step(&mut self) {
        let (now, clock) = (self.now, self.clock());
        while self.network.front().is_some_and(|(at, ..)| *at <= now) {
            let Some((_, from, to, bytes)) = self.network.pop_front() else { break };
            let cut = self.cut.contains(&(from.get(), to.get()));
            let Some(member) = self.members.get_mut(&to.get()).filter(|member| member.runs) else {
                continue;
            };
            if !cut {
                let frame = PeerFrame::decode(&bytes, from, to).expect("it was encoded");
                member.replica.peer_message(clock, from, &frame.message);
                self.collect(to.get());
            }
        }
        let numbers: Vec<u64> = self.members.keys().copied().collect();
        for number in numbers {
            let member = self.member(number);
            if !member.runs {
                continue;
            }
            let done = member.writes && member.write.as_ref().is_some_and(|(at, _)| *at <= now);
            if let Some((_, write)) = member.write.take_if(|_| done) {
                member.disk.commit(&write);
                member.replica.persisted(clock, write.number);
                self.collect(number);
            }
            let member = self.member(number);
            if member.replica.poll_timeout() <= now {
                member.replica.handle_timeout(clock);
                self.collect(number);
            }
        }
    }

    /// Lets time pass until something is so, for at most ten seconds.
    pub(crate) fn until(&mut self, what: &str, mut is: impl FnMut(&mut Self) -> bool) {
        for _ in 0..10_000 {
            if is(self) {
                return;
            }
            self.run(MS);
        }
        panic!("not within 10 s: {what}");
    }

    pub(crate) fn serving(&self) -> Option<u64> {
        let serving =
            self.members.iter().filter(|(_, member)| member.runs && member.replica.is_serving());
        serving.max_by_key(|(_, member)| member.replica.term()).map(|(number, _)| *number)
    }

    /// Waits for a leader that serves, and that all others follow.
    pub(crate) fn settle(&mut self) -> u64 {
        self.until("a leader serves", |world| world.serving().is_some());
        let leader = self.serving().expect("it serves");
        self.until("the leader is known", |world| {
            let known = world.members.values().filter(|member| member.runs);
            known.clone().all(|member| member.replica.leader() == Some(id(leader)))
        });
        leader
    }

    pub(crate) fn others(&self, number: u64) -> Vec<u64> {
        self.members.keys().copied().filter(|other| *other != number).collect()
    }

    pub(crate) fn role(&mut self, number: u64) -> Role {
        self.replica(number).role()
    }

    pub(crate) fn lines(&mut self, number: u64) -> Vec<String> {
        self.member(number).machine.state().application().lines.clone()
    }
}

/// FNV-1a over what happened.
fn traced(trace: u64, now: Duration, bytes: &[u8]) -> u64 {
    let time = now.as_nanos().to_be_bytes();
    let all = time.iter().chain(bytes);
    all.fold(trace, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3))
}
