//! Members with real stores on simulated disks, in virtual time. A message takes 1 ms, a write with its fsync 1 ms, a job of
//! the state machine no time.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use bytes::Bytes;
use zraft_protocol::{ClientMessage, MemberId, ServerMessage, SplitMix64};
use zraft_replica::{
    Boot, Config, Configuration, ConnectionId, Done, Job, Limits, Machine, MemberInfo, Now, Output,
    PeerFrame, RaftId, Replica, SnapshotMeta, Timing, Write,
};
use zraft_session::{CheckedSettings, StateMachine, Time, applications::AppendLog};
use zraft_simulated_disk::{SimulatedDisk, Usage};
use zraft_store::{RedbStore, SnapshotReceiver, Store, StoreError};

/// The time that a message takes, between members as between a client and a member.
pub const LATENCY: Duration = Duration::from_millis(1);
/// The time that a write takes until it is durable.
pub const WRITE: Duration = Duration::from_millis(1);
/// The wall clock at the start.
const EPOCH: Duration = Duration::from_millis(1_700_000_000_000);
/// Bytes of entries that a store reads back at once.
const FETCHED_AT_ONCE: usize = 1 << 20;

/// What a client's connection gets.
#[derive(Debug)]
pub enum Told {
    /// A message.
    Message(ServerMessage),
    /// The member closes the connection, after what it sent before.
    Closed,
    /// The member's process ended, and the connection with it.
    Reset,
}

/// A cluster in virtual time. Members are numbered from 0.
#[derive(Debug)]
pub struct Cluster {
    now: Duration,
    members: Vec<Member>,
    frames: VecDeque<(Duration, usize, usize, Bytes)>,
    cut: BTreeSet<(usize, usize)>,
    told: VecDeque<(ConnectionId, Told)>,
    connections: BTreeMap<ConnectionId, usize>,
    last_connection: u64,
    limits: Limits,
    random: SplitMix64,
}

#[derive(Debug)]
struct Member {
    disk: SimulatedDisk,
    process: Option<Process>,
}

#[derive(Debug)]
struct Process {
    replica: Replica,
    machine: Machine<AppendLog>,
    store: RedbStore,
    write: Option<(Duration, Box<Write>)>,
    receiver: Option<SnapshotReceiver>,
}

fn id(member: usize) -> RaftId {
    RaftId::new(member as u64 + 1).expect("it is above 0")
}

/// Returns the name of a member.
///
/// # Panics
/// Never: the name is short.
#[must_use]
pub fn name(member: usize) -> MemberId {
    MemberId::new(format!("node-{}", member + 1)).expect("it is short")
}

impl Cluster {
    /// Starts a new cluster. The seed decides the election timeouts, the sessions' ids and what crashes leave on a disk.
    ///
    /// # Errors
    /// Never on a sound store.
    pub fn new(count: usize, seed: u64, limits: Limits) -> Result<Self, StoreError> {
        let mut random = SplitMix64::new(seed);
        let info =
            |member| MemberInfo { name: name(member), address: String::new(), feature_level: 1 };
        let members = (0..count).map(|member| (id(member), info(member)));
        let boot = Boot::of_new_cluster(Configuration::of_voters(members));
        // One directory serves all: it does not say whose it is.
        let disk = SimulatedDisk::new(random.next());
        drop(RedbStore::create(disk.clone(), &boot)?);
        let members =
            (0..count).map(|_| Member { disk: disk.copy(random.next()), process: None }).collect();
        let mut cluster = Self {
            now: Duration::ZERO,
            members,
            frames: VecDeque::new(),
            cut: BTreeSet::new(),
            told: VecDeque::new(),
            connections: BTreeMap::new(),
            last_connection: 0,
            limits,
            random,
        };
        for member in 0..count {
            cluster.start(member)?;
        }
        Ok(cluster)
    }

    /// Starts a member's process from its disk.
    ///
    /// # Errors
    /// [`StoreError`] if the disk is not as a crash may leave it.
    ///
    /// # Panics
    /// If the replica refuses to start from what the store holds.
    pub fn start(&mut self, member: usize) -> Result<(), StoreError> {
        let mut store = RedbStore::open(self.members[member].disk.clone())?;
        let boot = store.boot()?;
        let (state, newest) = match store.newest_snapshot()? {
            Some(mut source) => {
                let state = StateMachine::restore(&mut source).expect("the snapshot was verified");
                source.verify()?;
                (state, Some(source.describe()))
            }
            None => (StateMachine::new(AppendLog::new()), None),
        };
        let machine = Machine::new(state, boot.snapshot.index);
        let config = Config {
            id: id(member),
            timing: Timing::default(),
            seed: self.random.next(),
            settings: CheckedSettings::default(),
            feature_level: 1,
            application_level: 0,
            applies: true,
            limits: self.limits,
            client_endpoint: None,
        };
        let mut random = SplitMix64::new(self.random.next());
        let entropy = Box::new(move |bytes: &mut [u8]| {
            bytes.iter_mut().for_each(|byte| *byte = random.next() as u8);
        });
        let now = self.clock();
        let replica = Replica::new(config, &boot, newest, machine.view(), entropy, now)
            .expect("the store is sound");
        let process = Process { replica, machine, store, write: None, receiver: None };
        self.members[member].process = Some(process);
        self.collect(member);
        Ok(())
    }

    /// Kills a member's process. Of what it had not synced, its disk keeps what chance leaves.
    pub fn kill(&mut self, member: usize) {
        self.members[member].process = None;
        self.members[member].disk.crash();
        self.frames.retain(|(_, from, to, _)| *from != member && *to != member);
        let dead: Vec<_> = self.connections.iter().filter(|(_, at)| **at == member).collect();
        let dead: Vec<_> = dead.into_iter().map(|(connection, _)| *connection).collect();
        for connection in dead {
            self.connections.remove(&connection);
            self.told.push_back((connection, Told::Reset));
        }
    }

    /// Cuts a member off from the others. Clients still reach it.
    pub fn cut_off(&mut self, member: usize) {
        for other in 0..self.members.len() {
            self.cut.extend([(member, other), (other, member)]);
        }
    }

    /// Has the leader hand over to any other member.
    pub fn hand_over(&mut self) {
        let clock = self.clock();
        if let Some(leader) = self.serving()
            && let Some(process) = &mut self.members[leader].process
        {
            process.replica.hand_over(clock, None);
            self.collect(leader);
        }
    }

    /// Has the leader's process end in order.
    pub fn shut_down(&mut self) {
        let clock = self.clock();
        if let Some(leader) = self.serving()
            && let Some(process) = &mut self.members[leader].process
        {
            process.replica.shut_down(clock);
            self.collect(leader);
        }
    }

    /// Returns the virtual time.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.now
    }

    fn clock(&self) -> Now {
        let wall = (self.now + EPOCH).as_millis() as u64;
        Now { monotonic: self.now, wall: Time::from_millis(wall) }
    }

    /// Returns the number of members.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Returns true if there is no member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Returns true if the member's process runs.
    #[must_use]
    pub fn runs(&self, member: usize) -> bool {
        self.members[member].process.is_some()
    }

    /// Returns the member that serves clients, or the newest of them.
    #[must_use]
    pub fn serving(&self) -> Option<usize> {
        let running = (0..self.members.len()).filter_map(|at| Some((at, self.replica(at)?)));
        let serving = running.filter(|(_, replica)| replica.is_serving());
        serving.max_by_key(|(_, replica)| replica.term()).map(|(member, _)| member)
    }

    /// Returns a member's replica, if its process runs.
    #[must_use]
    pub fn replica(&self, member: usize) -> Option<&Replica> {
        self.members[member].process.as_ref().map(|process| &process.replica)
    }

    /// Returns the commands that a member has executed, in order, if its process runs.
    #[must_use]
    pub fn log(&self, member: usize) -> Option<&AppendLog> {
        self.members[member].process.as_ref().map(|process| process.machine.state().application())
    }

    /// Returns how often the members' disks were used, one after the other.
    #[must_use]
    pub fn usage(&self) -> Vec<Usage> {
        self.members.iter().map(|member| member.disk.usage()).collect()
    }

    /// Returns the time at which something happens next.
    #[must_use]
    pub fn next_event(&self) -> Option<Duration> {
        let processes = self.members.iter().filter_map(|member| member.process.as_ref());
        let due = processes.flat_map(|process| {
            [Some(process.replica.poll_timeout()), process.write.as_ref().map(|(at, _)| *at)]
        });
        due.chain([self.frames.front().map(|(at, ..)| *at)]).flatten().min()
    }

    /// Lets time pass up to `now`, and does the due work. `now` must not be after [`next_event`](Self::next_event).
    ///
    /// # Panics
    /// If a member fails, which no crash explains.
    pub fn step(&mut self, now: Duration) {
        self.now = self.now.max(now);
        let clock = self.clock();
        while self.frames.front().is_some_and(|(at, ..)| *at <= now) {
            let Some((_, from, to, bytes)) = self.frames.pop_front() else { break };
            let cut = self.cut.contains(&(from, to));
            let Some(process) = self.members[to].process.as_mut().filter(|_| !cut) else {
                continue;
            };
            let frame = PeerFrame::decode(&bytes, id(from), id(to)).expect("it was encoded");
            process.replica.peer_message(clock, id(from), &frame.message);
            self.collect(to);
        }
        for member in 0..self.members.len() {
            let Some(process) = &mut self.members[member].process else { continue };
            if let Some((_, write)) = process.write.take_if(|(at, _)| *at <= now) {
                process.store.write(&write).expect("the disk has no fault");
                process.replica.persisted(clock, write.number);
            }
            if process.replica.poll_timeout() <= now {
                process.replica.handle_timeout(clock);
            }
            self.collect(member);
        }
    }

    /// Connects a client to a member, if its process runs.
    pub fn connect(&mut self, member: usize) -> Option<ConnectionId> {
        let clock = self.clock();
        let process = self.members[member].process.as_mut()?;
        self.last_connection += 1;
        let connection = ConnectionId(self.last_connection);
        process.replica.connected(clock, connection);
        self.connections.insert(connection, member);
        self.collect(member);
        Some(connection)
    }

    /// Ends a client's connection from its side.
    pub fn hang_up(&mut self, connection: ConnectionId) {
        let clock = self.clock();
        if let Some(member) = self.connections.remove(&connection)
            && let Some(process) = &mut self.members[member].process
        {
            process.replica.disconnected(clock, connection);
            self.collect(member);
        }
    }

    /// Gives a member a client's messages, which it reads together.
    pub fn say(
        &mut self,
        connection: ConnectionId,
        messages: impl IntoIterator<Item = ClientMessage>,
    ) {
        let clock = self.clock();
        let Some(member) = self.connections.get(&connection).copied() else { return };
        let Some(process) = &mut self.members[member].process else { return };
        for message in messages {
            process.replica.client_message(clock, connection, message);
        }
        self.collect(member);
    }

    /// Returns what clients were told since the last call, in order.
    pub fn take_told(&mut self) -> VecDeque<(ConnectionId, Told)> {
        std::mem::take(&mut self.told)
    }

    /// Does everything that a member wants done now.
    fn collect(&mut self, member: usize) {
        let (now, clock) = (self.now, self.clock());
        let Some(process) = &mut self.members[member].process else { return };
        while let Some(output) = process.replica.poll_output() {
            match output {
                Output::Send { to, message } => {
                    let bytes = PeerFrame { from: id(member), to, message }.encode();
                    let to = to.get() as usize - 1;
                    self.frames.push_back((now + LATENCY, member, to, bytes));
                }
                Output::Write(write) => process.write = Some((now + WRITE, write)),
                Output::Job(job) => process.run(clock, job).expect("the disk has no fault"),
                Output::Client { connection, message } => {
                    self.told.push_back((connection, Told::Message(message)));
                }
                Output::Close(connection) => {
                    self.connections.remove(&connection);
                    self.told.push_back((connection, Told::Closed));
                }
                Output::Stop(reason) => panic!("member {} stopped: {reason}", member + 1),
                output => process.use_disk(clock, output).expect("the disk has no fault"),
            }
        }
    }
}

impl Process {
    fn run(&mut self, now: Now, job: Job) -> Result<(), StoreError> {
        let done = match job {
            Job::Restore(meta) => {
                let source = self.store.newest_snapshot()?;
                let mut source = source.expect("the write that installs it is durable");
                let done = self.machine.restore(&meta, &mut source).expect("it was verified");
                source.verify()?;
                done
            }
            job => self.machine.run(job).expect("the entry was made by a leader"),
        };
        match done {
            Done::Applied { effects, view } => self.replica.applied(now, effects, view),
            Done::Answered { key, answer } => self.replica.answered(now, key, answer),
            Done::Frozen { meta, snapshot } => {
                let mut writer = self.store.write_snapshot(&meta)?;
                snapshot.write_to(&mut writer).expect("the disk has no fault");
                let file = writer.finish()?;
                self.replica.snapshot_taken(now, file);
            }
        }
        Ok(())
    }

    /// Does what has to do with the log and with snapshots of other members.
    fn use_disk(&mut self, now: Now, output: Output) -> Result<(), StoreError> {
        match output {
            Output::Fetch { low, high } => {
                let entries = self.store.entries(low, high, FETCHED_AT_ONCE)?;
                self.replica.fetched(now, low, &entries);
            }
            Output::ReadSnapshot { to, index, offset, length } => {
                let source = self.store.snapshot(index)?;
                let data = source.map(|source| source.piece(offset, length as usize));
                self.replica.snapshot_read(now, to, index, offset, data.transpose()?);
            }
            Output::BeginSnapshot(file) => {
                let SnapshotMeta { index, term, .. } = file.meta;
                self.receiver = Some(self.store.receive_snapshot(index, term, file.bytes)?);
            }
            Output::WriteSnapshot { index, offset, data } => {
                if let Some(receiver) = &mut self.receiver {
                    receiver.append(offset, &data)?;
                    self.replica.snapshot_written(now, index, receiver.received());
                }
            }
            Output::VerifySnapshot(file) => {
                let received = self.receiver.take().map(SnapshotReceiver::finish);
                let sound = received.is_some_and(|received| received.is_ok_and(|it| it == *file));
                self.replica.snapshot_verified(now, file.meta.index, sound);
            }
            output => unreachable!("it was handled: {output:?}"),
        }
        Ok(())
    }
}
