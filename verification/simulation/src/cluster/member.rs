//! A member's machine: its disk, its clocks, and the process that runs on it, with how that starts and ends.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::OnceLock,
    time::Duration,
};

use zraft_core::Instant;
use zraft_protocol::SplitMix64;
use zraft_replica::{
    Boot, Config, Configuration, ConnectionId, Introduction, Job, Machine, Now, RaftId, Replica,
    Role, SnapshotFile, SnapshotMeta, Space, Write,
};
use zraft_session::{CheckedSettings, Snapshot, StateMachine};
use zraft_simulated_disk::{Faults, SimulatedDisk};
use zraft_store::{
    ClusterId, Identity, Incarnation, RedbStore, Reserve, SnapshotReceiver, Store, StoreError,
};

use super::{
    Cluster, ClusterPlan, DiskFault, Event, Output,
    application::{Ledger, Rules, with_level},
    clock::Clock,
    judge,
    plan::Program,
};
use crate::world::{
    plan::member_endpoint,
    system::{CloseHow, Listening},
    trace::say,
};

const CLUSTER: ClusterId = ClusterId::new(*b"simulatedcluster");
/// A crash within a write strikes one of its first operations on the disk. A commit of the store has fewer.
const OPERATIONS_OF_A_WRITE: u64 = 24;
/// Small, because a simulated disk holds it in memory. A quarter of it is far more than one write.
pub(super) const RESERVE: Reserve = Reserve { base: 1 << 20 };

/// A place, and the member on it.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) place: usize,
    /// What is on the place's disk, if a member was ever set up there.
    pub(crate) disk: Option<SimulatedDisk>,
    /// The id of the member that was set up last.
    pub(crate) id: Option<RaftId>,
    pub(crate) clock: Clock,
    pub(crate) process: Option<Process>,
    /// Counts the processes that ran here.
    pub(crate) life: u64,
    pub(crate) frozen: bool,
    /// It goes on, and reads what has come before it looks at its clock.
    pub(crate) reads_first: bool,
    /// The disk finishes nothing.
    pub(crate) stalled: bool,
    /// What waits until the process runs again, or the disk works.
    pub(crate) waiting: VecDeque<Event>,
    /// The fault of the disk that is planned. A failing write is expected then.
    pub(crate) disk_fault: Option<DiskFault>,
    /// Other programs fill the disk: the bytes that they leave for the member.
    pub(crate) capacity: Option<u64>,
    /// The disk does not hold what the member has acknowledged.
    pub(crate) doubtful: bool,
    /// The directory is a copy of another place's, whose member is not this one.
    pub(crate) copied: bool,
    /// The program that the next start runs.
    pub(crate) program: Program,
    /// The application panics at an entry, so the process runs without it: it votes and stores only.
    pub(crate) applies: bool,
    /// The disk is this many times slower than planned, and the state machine this many.
    pub(crate) slow_disk: u32,
    pub(crate) slow_jobs: u32,
    wakes: Option<Instant>,
}

/// A running member.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) replica: Replica,
    pub(crate) machine: Machine<Ledger>,
    pub(crate) store: RedbStore,
    pub(crate) id: RaftId,
    pub(crate) introduction: Introduction,
    pub(crate) program: Program,
    /// Whether its store keeps a reserve. A store takes one only where the disk fills up: it costs memory here.
    pub(crate) reserves: bool,
    /// What the store last said of its disk.
    pub(crate) space: Space,
    pub(crate) writing: Option<Write>,
    pub(crate) jobs: VecDeque<Job>,
    pub(crate) working: bool,
    pub(crate) freezing: Option<(SnapshotMeta, Box<Snapshot>)>,
    pub(crate) receiver: Option<SnapshotReceiver>,
    /// A part of that file is being written, or the file is being verified.
    pub(crate) filing: bool,
    pub(crate) connections: BTreeSet<ConnectionId>,
    /// Whether the process ends once leadership is handed over.
    pub(crate) stopping: bool,
    /// What was last reported of the role: term, role, and whether the member serves.
    pub(crate) told: Option<(u64, Role, bool)>,
    /// The configuration that was last reported.
    pub(crate) configuration: Configuration,
}

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The machine loses power: what was not synced may be lost.
    PowerLoss,
    /// The process is killed. What it wrote is in the file system.
    Killed,
    /// The process ends in order.
    Stopped,
}

impl Member {
    pub(crate) fn new(place: usize, plan: &ClusterPlan, now: Instant) -> Self {
        let (drift, ahead) = plan.clocks[place];
        Self {
            place,
            disk: None,
            id: None,
            clock: Clock::new(now, drift, ahead),
            process: None,
            life: 0,
            frozen: false,
            reads_first: false,
            stalled: false,
            waiting: VecDeque::new(),
            disk_fault: None,
            capacity: None,
            doubtful: false,
            copied: false,
            program: plan.programs[place],
            applies: true,
            slow_disk: 1,
            slow_jobs: 1,
            wakes: None,
        }
    }

    pub(crate) fn wakes(&self) -> Option<Instant> {
        self.wakes
    }

    /// Returns the faults of the disk that last until it is mended.
    pub(crate) fn lasting_faults(&self) -> Faults {
        Faults { capacity: self.capacity, ..Faults::default() }
    }

    /// Returns what the member's clocks say now, for the judge.
    pub(crate) fn moment(&self, now: Instant) -> judge::At {
        let Now { monotonic, wall } = self.clock.read(now);
        judge::At { now, clock: monotonic, wall }
    }

    /// Reads the timer again. A frozen process has none, nor one that reads first.
    pub(crate) fn set_wake(&mut self) {
        let process = self.process.as_ref().filter(|_| !self.frozen && !self.reads_first);
        self.wakes = process.map(|process| self.clock.when(process.replica.poll_timeout()));
    }

    /// Keeps a timer that was just handled from firing again at the same moment.
    pub(crate) fn defer_wake(&mut self, now: Instant) {
        let later = now + Duration::from_micros(1);
        self.wakes = self.wakes.map(|at| at.max(later));
    }
}

/// The disk of a first member before its identity is written. Making a redb file takes longer than copying one.
fn new_disk(boot: &Boot, seed: u64) -> Result<SimulatedDisk, StoreError> {
    let disk = SimulatedDisk::new(seed);
    RedbStore::create(disk.clone(), boot)?;
    Ok(disk)
}

impl Cluster {
    /// Sets up the disks of the members with which the cluster begins.
    pub(super) fn create_voters(&mut self) -> Configuration {
        let members = (0..self.plan.voters).map(|place| (self.new_id(place), self.info(place)));
        let members: Vec<_> = members.collect::<Vec<_>>();
        let configuration = Configuration::of_voters(members.iter().cloned());
        let boot = Boot::of_new_cluster(configuration.clone());
        let template = match new_disk(&boot, 0) {
            Ok(disk) => disk,
            Err(error) => {
                self.violated("a store can be created", error.to_string());
                return configuration;
            }
        };
        for (place, (id, _)) in members.into_iter().enumerate() {
            let seed = self.rng.next();
            self.identify(place, id, template.copy(seed));
        }
        configuration
    }

    /// Sets up the disk of a member that waits to be added.
    pub(super) fn create_joining(&mut self, place: usize) {
        static TEMPLATE: OnceLock<Option<SimulatedDisk>> = OnceLock::new();
        let template = TEMPLATE.get_or_init(|| new_disk(&Boot::of_joining_member(), 0).ok());
        let Some(template) = template else {
            return self.violated("a store can be created", "of a joining member");
        };
        let (id, seed) = (self.new_id(place), self.rng.next());
        self.identify(place, id, template.copy(seed));
    }

    fn new_id(&mut self, place: usize) -> RaftId {
        self.last_id += 1;
        let id = RaftId::new(self.last_id).expect("it counts up from 1");
        self.addresses.insert(id, place);
        id
    }

    fn identify(&mut self, place: usize, id: RaftId, disk: SimulatedDisk) {
        let mut incarnation = [0; 16];
        incarnation[..8].copy_from_slice(&self.rng.next().to_be_bytes());
        let identity = Identity {
            cluster: CLUSTER,
            member: self.info(place).name,
            raft_id: id,
            incarnation: Incarnation::new(incarnation),
        };
        if let Err(error) = identity.create(&disk) {
            self.violated("a store can be created", error.to_string());
        }
        let member = &mut self.members[place];
        (member.disk, member.id, member.doubtful) = (Some(disk), Some(id), false);
        member.copied = false;
        self.judge.new_directory(place);
    }

    /// Starts the member's process, if there is a member and it does not run.
    pub(crate) fn start(&mut self, now: Instant, place: usize) {
        self.now = self.now.max(now);
        if self.members[place].process.is_some() {
            return;
        }
        let Some(disk) = self.members[place].disk.clone() else { return };
        self.members[place].life += 1;
        disk.plan(self.members[place].lasting_faults());
        match self.boot(place, disk) {
            Ok(process) => {
                say!(
                    self.trace,
                    self.now,
                    "          member {} starts as {}",
                    place + 1,
                    process.id
                );
                self.trace.fact(self.now, 20, place as u64);
                self.facts.starts += 1;
                self.members[place].process = Some(process);
                self.outputs
                    .push_back(Output::Listen { member: place, listening: Listening::Open });
                for other in 0..self.members.len() {
                    if other != place {
                        self.plan_connect(place, other, Duration::ZERO);
                    }
                }
                self.report(place);
                self.collect(place);
                self.tell_space(place);
            }
            Err(error) => {
                say!(self.trace, self.now, "          member {} cannot start: {error}", place + 1);
                self.coverage.count("start", "refused");
                if !self.members[place].doubtful && !self.is_too_old(place) {
                    self.violated("a member starts from what a crash left", error);
                }
            }
        }
    }

    /// Does what a process does until its replica runs.
    fn boot(&mut self, place: usize, disk: SimulatedDisk) -> Result<Process, String> {
        let told = |error: StoreError| error.to_string();
        let identity = Identity::read(&disk).map_err(told)?;
        let mut store = RedbStore::open(disk).map_err(told)?;
        let program = self.members[place].program;
        let reserves = self.members[place].capacity.is_some();
        if reserves {
            store.set_reserve(RESERVE);
        }
        let boot = store.boot().map_err(told)?;
        let (state, newest) = restored(&store, self.plan.rules, program)?;
        let machine = Machine::new(state, boot.snapshot.index);
        let at = self.moment(place);
        if self.members[place].copied {
            self.judge.copied(place);
        }
        self.judge.started(at, place, identity.raft_id, &boot, &machine.view());
        self.judge.program(place, program);
        let config = Config {
            id: identity.raft_id,
            timing: self.plan.timing,
            seed: self.rng.next(),
            settings: self.configured_settings(place),
            feature_level: program.features,
            application_level: program.application,
            applies: self.members[place].applies,
            limits: self.plan.limits,
            // A copied directory comes with its configuration file.
            client_endpoint: self.addresses.get(&identity.raft_id).copied().map(member_endpoint),
        };
        let mut random = SplitMix64::new(self.rng.next());
        let entropy = Box::new(move |bytes: &mut [u8]| {
            for chunk in bytes.chunks_mut(8) {
                chunk.copy_from_slice(&random.next().to_be_bytes()[..chunk.len()]);
            }
        });
        let now = self.members[place].clock.read(self.now);
        let replica = Replica::new(config, &boot, newest, machine.view(), entropy, now)
            .map_err(|error| error.to_string())?;
        let introduction = Introduction {
            cluster: identity.cluster,
            incarnation: identity.incarnation,
            address: self.info(place).address,
        };
        Ok(Process {
            replica,
            machine,
            store,
            id: identity.raft_id,
            introduction,
            program,
            reserves,
            space: Space::Ample,
            writing: None,
            jobs: VecDeque::new(),
            working: false,
            freezing: None,
            receiver: None,
            filing: false,
            connections: BTreeSet::new(),
            stopping: false,
            told: None,
            configuration: Configuration::default(),
        })
    }

    /// Returns the settings of a program's configuration. An operator may change them once the cluster has its own.
    fn configured_settings(&mut self, place: usize) -> CheckedSettings {
        let (own, first) = (&self.plan.local_settings[place], &self.plan.settings);
        if own == first || !self.judge.settings_are_set() {
            return first.clone();
        }
        self.coverage.count("start", "with other settings than the cluster's");
        own.clone()
    }

    /// Calls a member's replica with what its clocks say, then does what it wants. Does nothing if no process runs.
    pub(super) fn with(&mut self, place: usize, call: impl FnOnce(&mut Replica, Now)) {
        let member = &mut self.members[place];
        let Some(process) = member.process.as_mut() else { return };
        call(&mut process.replica, member.clock.read(self.now));
        self.report(place);
        self.collect(place);
    }

    /// Ends a member's process.
    pub(super) fn end_process(&mut self, place: usize, end: End) {
        if end != End::Stopped {
            self.tear(place);
        }
        let member = &mut self.members[place];
        let Some(process) = member.process.take() else { return };
        let id = process.id;
        let connections = process.connections.clone();
        if let Some(disk) = &member.disk {
            if end != End::Stopped {
                // A dead process finishes nothing.
                disk.plan(Faults { crash_at: Some(0), ..Faults::default() });
            }
            drop(process);
            match end {
                End::PowerLoss => disk.crash(),
                End::Killed | End::Stopped => disk.plan(member.lasting_faults()),
            }
        }
        self.judge.ended(member.moment(self.now), place);
        member.life += 1;
        (member.frozen, member.stalled, member.disk_fault) = (false, false, None);
        member.reads_first = false;
        member.waiting.clear();
        member.clock.set_standing(self.now, false);
        member.set_wake();
        say!(self.trace, self.now, "          member {} ends: {end:?}", place + 1);
        self.trace.fact(self.now, 21, place as u64);
        let how = if end == End::Stopped { CloseHow::Flush } else { CloseHow::Reset };
        for peer in connections {
            self.connections.remove(&peer);
            self.outputs.push_back(Output::Close { peer, how });
        }
        self.outputs.push_back(Output::Listen { member: place, listening: Listening::Closed });
        self.disconnect_peers(place, id);
    }

    /// Lets the write or the snapshot that is under way get some operations far before the process dies.
    fn tear(&mut self, place: usize) {
        let (at, which) = (self.rng.below(OPERATIONS_OF_A_WRITE), self.rng.below(3));
        let member = &mut self.members[place];
        let (Some(process), Some(disk)) = (&mut member.process, &member.disk) else { return };
        if member.disk_fault.is_some() {
            return;
        }
        let crash_at = Some(disk.usage().changes + at);
        disk.plan(Faults { crash_at, capacity: member.capacity, ..Faults::default() });
        let done = match (which, process.writing.take(), process.freezing.take()) {
            (0 | 1, Some(write), _) => process.store.write(&write).is_ok(),
            (_, _, Some((meta, snapshot))) => {
                super::work::write_snapshot(&process.store, &meta, *snapshot).is_ok()
            }
            _ => return,
        };
        self.coverage.count("crash within a write", if done { "after it" } else { "torn" });
    }
}

/// Returns the state machine that the newest snapshot holds, and what the replica must know of that.
fn restored(
    store: &RedbStore,
    rules: Rules,
    program: Program,
) -> Result<(StateMachine<Ledger>, Option<SnapshotFile>), String> {
    let Some(mut source) = store.newest_snapshot().map_err(|error| error.to_string())? else {
        return Ok((StateMachine::new(Ledger::new(rules, program.application)), None));
    };
    let state = with_level(program.application, || StateMachine::restore(&mut source));
    let state = state.map_err(|error| error.to_string())?;
    source.verify().map_err(|error| error.to_string())?;
    Ok((state, Some(source.describe())))
}
