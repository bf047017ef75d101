//! Engines over a network and disks in memory. Nothing happens unless a test says so.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use zraft_protocol::MemberId;

use crate::{
    Boot, Change, Configuration, EntryKind, LogEntry, MemberInfo, PeerFrame, PeerMessage, RaftId,
    ReadRound, Role, SnapshotMeta, StopReason, Timing, Write,
    disk::Disk,
    engine::{Engine, Event, Standing},
};

/// More than most tests write, so that only those of lagging members read entries back.
const CACHED_LOG_BYTES: usize = 8 << 20;

pub(crate) fn id(number: u64) -> RaftId {
    RaftId::new(number).expect("not 0")
}

pub(crate) fn member(number: u64) -> MemberInfo {
    MemberInfo {
        name: MemberId::new(format!("node-{number}")).expect("short"),
        address: format!("10.0.0.{number}:7000"),
        feature_level: 1,
    }
}

pub(crate) fn voters(count: u64) -> Configuration {
    Configuration::of_voters((1..=count).map(|number| (id(number), member(number))))
}

pub(crate) struct Node {
    pub(crate) engine: Engine,
    pub(crate) disk: Disk,
    /// The write that the disk has not done yet.
    pub(crate) write: Option<Write>,
    /// Whether the disk does a write at once.
    pub(crate) fast_disk: bool,
    /// The entries that were handed over, by index. A restart hands over what is above the snapshot again.
    pub(crate) applied: BTreeMap<u64, LogEntry>,
    pub(crate) configured: Vec<u64>,
    pub(crate) reads: Vec<(ReadRound, u64)>,
    pub(crate) standings: Vec<Standing>,
    pub(crate) fetches: Vec<(u64, u64)>,
    pub(crate) snapshot_wanted: bool,
    pub(crate) stopped: Option<StopReason>,
}

pub(crate) struct Cluster {
    pub(crate) nodes: BTreeMap<u64, Node>,
    pub(crate) network: VecDeque<(RaftId, RaftId, PeerMessage)>,
    /// Snapshots whose files are on their way: sender, receiver, term, snapshot.
    pub(crate) snapshots: Vec<(RaftId, RaftId, u64, SnapshotMeta)>,
    /// Pairs of sender and receiver between which nothing passes.
    pub(crate) cut: BTreeSet<(u64, u64)>,
    /// Every message that was sent, in order, lost ones included.
    pub(crate) sent: Vec<(RaftId, RaftId, PeerMessage)>,
    /// Says which messages the network loses, beside those of cut pairs.
    pub(crate) loses: fn(from: u64, to: u64, &PeerMessage) -> bool,
    /// The leaders of every term. Two in one term break Raft.
    leaders: BTreeMap<u64, RaftId>,
}

impl Cluster {
    pub(crate) fn new(count: u64) -> Self {
        let configuration = voters(count);
        let mut cluster = Self {
            nodes: BTreeMap::new(),
            network: VecDeque::new(),
            snapshots: Vec::new(),
            cut: BTreeSet::new(),
            sent: Vec::new(),
            loses: |_, _, _| false,
            leaders: BTreeMap::new(),
        };
        for number in 1..=count {
            cluster.start(number, Boot::of_new_cluster(configuration.clone()), number);
        }
        cluster
    }

    pub(crate) fn start(&mut self, number: u64, boot: Boot, seed: u64) {
        let ticks = Timing::default().ticks().expect("valid");
        let engine = Engine::new(id(number), ticks, &boot, seed, CACHED_LOG_BYTES);
        let engine = engine.expect("the disk is sound");
        let node = Node {
            engine,
            disk: Disk::new(boot),
            write: None,
            fast_disk: true,
            applied: BTreeMap::new(),
            configured: Vec::new(),
            reads: Vec::new(),
            standings: Vec::new(),
            fetches: Vec::new(),
            snapshot_wanted: false,
            stopped: None,
        };
        self.nodes.insert(number, node);
        self.collect(number);
    }

    /// Ends a member's process and starts it again from its disk. A write that was not done is lost.
    pub(crate) fn restart(&mut self, number: u64, seed: u64) {
        let node = self.nodes.remove(&number).expect("it runs");
        let (boot, applied) = (node.disk.boot(), node.applied);
        self.network.retain(|(from, _, _)| from.get() != number);
        self.start(number, boot, seed);
        // The disk still has what the boot record does not repeat.
        let started = self.node(number);
        started.disk = node.disk;
        started.applied = applied;
        started.fast_disk = node.fast_disk;
    }

    pub(crate) fn node(&mut self, number: u64) -> &mut Node {
        self.nodes.get_mut(&number).expect("it runs")
    }

    pub(crate) fn engine(&mut self, number: u64) -> &mut Engine {
        &mut self.node(number).engine
    }

    pub(crate) fn isolate(&mut self, number: u64) {
        for other in self.nodes.keys() {
            self.cut.insert((number, *other));
            self.cut.insert((*other, number));
        }
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
    }

    /// Takes everything that a member's engine wants done.
    pub(crate) fn collect(&mut self, number: u64) {
        let Some(node) = self.nodes.get_mut(&number) else { return };
        loop {
            while let Some(event) = node.engine.poll() {
                match event {
                    Event::Send(addressed) => {
                        let message = addressed.message.clone();
                        self.sent.push((id(number), addressed.to, message));
                        self.network.push_back((id(number), addressed.to, addressed.message));
                    }
                    Event::SendSnapshot { to, snapshot } => {
                        let term = node.engine.standing().term;
                        self.snapshots.push((id(number), to, term, snapshot));
                    }
                    Event::Standing(standing) => {
                        if standing.role == Role::Leader {
                            let leader = *self.leaders.entry(standing.term).or_insert(id(number));
                            assert_eq!(leader, id(number), "two leaders in term {}", standing.term);
                        }
                        node.standings.push(standing);
                    }
                    Event::Committed(entry) => {
                        assert_eq!(entry.kind, EntryKind::Normal);
                        let before = node.applied.insert(entry.index, entry.clone());
                        assert!(
                            before.is_none_or(|before| before == entry),
                            "entry {} changed after it was committed",
                            entry.index
                        );
                    }
                    Event::Configured { index, .. } => node.configured.push(index),
                    Event::Installed(snapshot) => node.configured.push(snapshot.index),
                    Event::ReadReady { round, index } => node.reads.push((round, index)),
                    Event::Fetch(range) => node.fetches.push((range.start, range.end)),
                    Event::SnapshotWanted => node.snapshot_wanted = true,
                }
            }
            if node.write.is_none() {
                node.write = node.engine.take_write();
            }
            let done = node.write.take_if(|_| node.fast_disk);
            let Some(write) = done else { break };
            node.disk.commit(&write);
            let result = node.engine.persisted(write.number);
            node.stopped = node.stopped.take().or(result.err());
        }
    }

    /// Lets a member's disk do the write that is under way.
    pub(crate) fn finish_write(&mut self, number: u64) {
        let node = self.node(number);
        let Some(write) = node.write.take() else { return };
        node.disk.commit(&write);
        node.engine.persisted(write.number).expect("it goes on");
        self.collect(number);
    }

    pub(crate) fn deliver_one(&mut self) -> bool {
        let Some((from, to, message)) = self.network.pop_front() else { return false };
        self.hand_in(from, to, message);
        true
    }

    /// Gives a message to its receiver, by way of its bytes.
    pub(crate) fn hand_in(&mut self, from: RaftId, to: RaftId, message: PeerMessage) {
        if self.cut.contains(&(from.get(), to.get()))
            || (self.loses)(from.get(), to.get(), &message)
        {
            return;
        }
        let Some(node) = self.nodes.get_mut(&to.get()) else { return };
        if node.stopped.is_some() {
            return;
        }
        let bytes = PeerFrame { from, to, message }.encode();
        let frame = PeerFrame::decode(&bytes, from, to).expect("the codec reads what it writes");
        let result = node.engine.step(from, &frame.message);
        node.stopped = result.err();
        self.collect(to.get());
    }

    /// Delivers everything, what it leads to included.
    pub(crate) fn deliver(&mut self) {
        while self.deliver_one() {}
    }

    pub(crate) fn tick(&mut self, number: u64, ticks: usize) {
        for _ in 0..ticks {
            self.engine(number).tick(1).expect("it goes on");
            self.collect(number);
        }
    }

    /// Lets time pass for all members alike, with a network that takes no time.
    pub(crate) fn run(&mut self, ticks: usize) {
        for _ in 0..ticks {
            let numbers: Vec<u64> = self.nodes.keys().copied().collect();
            for number in numbers {
                self.tick(number, 1);
            }
            self.deliver();
        }
    }

    /// Lets all other followers stop counting on a leader, without standing themselves.
    pub(crate) fn expire_leases(&mut self, number: u64) {
        let expired = Timing::default().ticks().expect("valid").election_min;
        for (other, node) in &mut self.nodes {
            if *other != number && node.engine.standing().leader != Some(id(*other)) {
                node.engine.node.raft.election_elapsed = expired;
            }
        }
    }

    /// Makes a member the leader by letting time pass for it alone.
    pub(crate) fn elect(&mut self, number: u64) {
        for _ in 0..200 {
            if self.engine(number).is_leader() {
                self.deliver();
                return;
            }
            self.expire_leases(number);
            self.tick(number, 1);
            self.deliver();
        }
        panic!("member {number} was not elected");
    }

    pub(crate) fn propose(&mut self, number: u64, text: &str) -> u64 {
        let index = self.engine(number).propose(vec![Bytes::copy_from_slice(text.as_bytes())]);
        let index = index.expect("it leads");
        self.engine(number).drain().expect("it goes on");
        self.collect(number);
        index
    }

    pub(crate) fn change(&mut self, number: u64, change: &Change) -> u64 {
        let index = self.engine(number).propose_change(change).expect("it is possible");
        self.engine(number).drain().expect("it goes on");
        self.collect(number);
        index
    }

    /// Takes a snapshot of a member's state and forgets the log below it.
    pub(crate) fn snapshot(&mut self, number: u64) -> SnapshotMeta {
        let snapshot = self.engine(number).snapshot_point();
        let first = snapshot.index + 1;
        self.engine(number).record(snapshot.clone(), first).expect("it goes on");
        self.collect(number);
        snapshot
    }

    /// Gives the snapshots that were sent to their receivers.
    pub(crate) fn deliver_snapshots(&mut self) {
        for (from, to, term, snapshot) in std::mem::take(&mut self.snapshots) {
            let cut = self.cut.contains(&(from.get(), to.get()));
            if !cut && let Some(node) = self.nodes.get_mut(&to.get()) {
                node.engine.install(from, term, snapshot).expect("it goes on");
                self.collect(to.get());
            }
            if let Some(node) = self.nodes.get_mut(&from.get()) {
                node.engine.report_snapshot(to, !cut).expect("it goes on");
                self.collect(from.get());
            }
        }
    }

    /// Reads back from a member's disk what its engine asked for.
    pub(crate) fn serve_fetches(&mut self, number: u64) {
        let node = self.node(number);
        for (low, high) in std::mem::take(&mut node.fetches) {
            let entries = node.disk.read(low, high);
            node.engine.fetched(low, &entries).expect("it goes on");
        }
        self.collect(number);
    }

    pub(crate) fn leader(&self) -> Option<u64> {
        let mut leaders: Vec<_> =
            self.nodes.iter().filter(|(_, node)| node.engine.is_leader()).collect();
        leaders.sort_by_key(|(_, node)| node.engine.standing().term);
        leaders.last().map(|(number, _)| **number)
    }

    /// The texts that a member's state machine got.
    pub(crate) fn texts(&self, number: u64) -> Vec<String> {
        let applied = self.nodes[&number].applied.values();
        let texts = applied.filter(|entry| !entry.data.is_empty());
        texts.map(|entry| String::from_utf8_lossy(&entry.data.to_bytes()).into_owned()).collect()
    }
}
