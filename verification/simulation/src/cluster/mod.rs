//! A cluster of real members in virtual time: the replica, its state machine and its store on a simulated disk, with a network
//! between the members, clocks and faults, all from one seed.
//!
//! [`Cluster`] has the client port in the shape of the live system's engine. The world around it calls it for what happens on
//! connections and when [`Cluster::poll_timeout`] is due, and carries out each [`Output`].
//!
//! A place is a machine with a name and an address. The member on it may be wiped and come back under another Raft id.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `plan` | what a seed draws |
//! | `clock`, `peers`, `application` | a machine's clocks, the network between members, the application |
//! | `member` | a member's disk and process: how it starts and how it ends |
//! | `work` | what a member's threads do: writes, jobs, its own snapshots |
//! | `receiving` | what a member's disk does with a leader's snapshot |
//! | `handshake`, `network` | how members connect, and the frames on their connections |
//! | `clients` | the client port |
//! | `faults`, `copied`, `operator` | what strikes a cluster, and what its operator does |
//! | `programs` | the versions of the members' programs, and their upgrade |
//! | `finish` | what is compared at the end |
//! | `judge` | the rules that a cluster must keep, whatever strikes it |

// Nothing but tests drives the cluster yet.
#![allow(dead_code, unused_imports)]

pub(crate) mod application;
mod clients;
mod clock;
mod copied;
mod faults;
mod finish;
mod handshake;
pub(crate) mod judge;
mod member;
mod network;
mod operator;
mod peers;
pub(crate) mod plan;
mod programs;
mod receiving;
mod sight;
#[cfg(test)]
mod tests;
mod work;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use bytes::Bytes;
use zraft_core::Instant;
use zraft_protocol::{RequestId, ServerMessage, SessionId};
use zraft_replica::{Configuration, ConnectionId, RaftId, Replica, SnapshotFile, Timing};

use crate::{
    coverage::Coverage,
    judge::Violation,
    random::Rng,
    world::{
        calendar::Queue,
        system::{CloseHow, Listening},
        trace::{Trace, say},
    },
};
pub(crate) use copied::DirectoryCopy;
pub(crate) use faults::DiskFault;
use handshake::Shaking;
use judge::ClusterJudge;
use member::Member;
pub(crate) use operator::Task;
pub(crate) use peers::Link;
use peers::{Frame, Peers};
pub(crate) use plan::{ClusterPlan, Program};

/// A task for the world, which carries the clients' bytes.
#[derive(Debug)]
pub(crate) enum Output {
    Send { peer: ConnectionId, message: ServerMessage },
    Close { peer: ConnectionId, how: CloseHow },
    StopReading { peer: ConnectionId },
    ResumeReading { peer: ConnectionId },
    Listen { member: usize, listening: Listening },
}

/// A command that the application executed.
#[derive(Debug)]
pub(crate) struct Execution {
    pub(crate) session: SessionId,
    pub(crate) request_id: RequestId,
    pub(crate) payload: Bytes,
}

/// What happens in the cluster at some time.
#[derive(Debug)]
enum What {
    Frame(Box<Frame>),
    /// Two members try to connect to each other.
    Connect(usize, usize),
    /// A message of their handshake arrives.
    Shake(Box<Shaking>),
    /// Something within the life of a member's process.
    Within(usize, u64, Event),
    /// The operator looks at the task in hand.
    Operate,
}

/// What happens within the life of a process.
#[derive(Debug)]
enum Event {
    /// The store has finished the write that is under way.
    Written,
    /// The state machine has finished the job in front.
    Job,
    /// The file of the member's own snapshot is finished.
    Frozen,
    Fetched {
        low: u64,
        high: u64,
    },
    Read {
        to: RaftId,
        index: u64,
        offset: u64,
        length: u64,
    },
    Received {
        index: u64,
        up_to: u64,
    },
    Verified(Box<SnapshotFile>),
    Frame(Box<Frame>),
    /// It looks at its clock again.
    Awake,
    /// A client has connected.
    Connected(ConnectionId),
    /// A client's connection has ended.
    Disconnected(ConnectionId),
}

/// N members and everything between them.
pub(crate) struct Cluster {
    plan: ClusterPlan,
    now: Instant,
    origin: Instant,
    rng: Rng,
    queue: Queue<What>,
    members: Vec<Member>,
    peers: Peers,
    /// The pairs of places that try to connect, the lower first.
    connecting: BTreeSet<(usize, usize)>,
    /// On which place the member with this id was last.
    addresses: BTreeMap<RaftId, usize>,
    last_id: u64,
    /// The highest application level that any member has applied.
    level: u32,
    connections: BTreeMap<ConnectionId, usize>,
    last_connection: u64,
    outputs: VecDeque<Output>,
    tasks: VecDeque<Task>,
    operating: bool,
    /// Every command that was executed, and every server request, in the order of the log up to `recorded`.
    journal: Vec<Execution>,
    pushed: BTreeMap<String, Vec<Bytes>>,
    recorded: u64,
    judge: ClusterJudge,
    pub(crate) trace: Trace,
    pub(crate) coverage: Coverage,
    pub(crate) facts: Facts,
    pub(crate) violation: Option<Violation>,
}

/// Once nothing fails any more, a leader answers within this time: the slowest disk and state machine that are drawn are done
/// with everything that can wait by then.
const PATIENCE: Duration = Duration::from_secs(10);

/// Figures of a run.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Facts {
    /// Entries of the log that were applied somewhere.
    pub(crate) entries: u64,
    pub(crate) executed: u64,
    pub(crate) writes: u64,
    pub(crate) frames: u64,
    /// How often a member began to serve.
    pub(crate) leaderships: u64,
    pub(crate) snapshots_taken: u64,
    pub(crate) snapshots_restored: u64,
    pub(crate) starts: u64,
    pub(crate) membership_changes: u64,
}

impl Cluster {
    /// Creates the cluster's members on new disks and starts them.
    pub(crate) fn new(plan: ClusterPlan, now: Instant, words: bool) -> Self {
        let mut rng = Rng::new(plan.seed);
        let network = rng.fork();
        let members = (0..plan.places).map(|place| Member::new(place, &plan, now)).collect();
        let terms = judge::Terms { timing: plan.timing, patience: PATIENCE };
        let mut cluster = Self {
            peers: Peers::new(plan.places, plan.link, now, network),
            now,
            origin: now,
            rng,
            queue: Queue::new(),
            members,
            connecting: BTreeSet::new(),
            addresses: BTreeMap::new(),
            last_id: 0,
            level: 0,
            connections: BTreeMap::new(),
            last_connection: 0,
            outputs: VecDeque::new(),
            tasks: VecDeque::new(),
            operating: false,
            journal: Vec::new(),
            pushed: BTreeMap::new(),
            recorded: 0,
            judge: ClusterJudge::new(terms, &Configuration::default()),
            trace: Trace::new(words),
            coverage: Coverage::default(),
            facts: Facts::default(),
            violation: None,
            plan,
        };
        let first = cluster.create_voters();
        cluster.judge = ClusterJudge::new(terms, &first);
        for place in 0..cluster.plan.places {
            let runs = place < cluster.plan.voters;
            let listening = if runs { Listening::Open } else { Listening::Closed };
            cluster.outputs.push_back(Output::Listen { member: place, listening });
        }
        for place in 0..cluster.plan.voters {
            cluster.start(now, place);
        }
        cluster
    }

    /// Returns the time at which [`handle_timeout`](Self::handle_timeout) must be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let timers = self.members.iter().filter_map(Member::wakes);
        timers.chain(self.queue.next()).min()
    }

    /// Lets everything happen that is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        while let Some(due) = self.poll_timeout().filter(|due| *due <= now) {
            self.now = self.now.max(due);
            if self.queue.next() == Some(due) {
                if let Some((_, what)) = self.queue.pop() {
                    self.happen(what);
                }
                continue;
            }
            for place in 0..self.members.len() {
                if self.members[place].wakes().is_some_and(|at| at <= self.now) {
                    self.with(place, Replica::handle_timeout);
                    self.members[place].defer_wake(self.now);
                }
            }
        }
        self.now = self.now.max(now);
        self.take_verdict();
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Frame(frame) => self.frame_arrives(*frame),
            What::Connect(a, b) => self.try_to_connect(a, b),
            What::Shake(shaking) => self.shake(*shaking),
            What::Within(place, life, event) => {
                if self.members[place].life == life {
                    self.within(place, event);
                }
            }
            What::Operate => self.operate(),
        }
    }

    /// Plans something within the present life of a member's process.
    fn plan_within(&mut self, place: usize, after: Duration, event: Event) {
        let life = self.members[place].life;
        self.queue.push(self.now + after, What::Within(place, life, event));
    }

    /// Returns the place of the member that serves; of two that believe so, the one with the higher term.
    pub(crate) fn leader(&self) -> Option<usize> {
        let serving = self.members.iter().filter_map(|member| {
            let replica = &member.process.as_ref()?.replica;
            replica.is_serving().then(|| (replica.term(), member.place))
        });
        serving.max().map(|(_, place)| place)
    }

    pub(crate) fn is_running(&self, place: usize) -> bool {
        self.members[place].process.is_some()
    }

    pub(crate) fn timing(&self) -> Timing {
        self.plan.timing
    }

    /// Returns the number of voters that the leader knows.
    pub(crate) fn voters(&self) -> usize {
        let leader = self.leader().and_then(|leader| self.members[leader].process.as_ref());
        leader.map_or(0, |process| process.replica.configuration().voters.len())
    }

    pub(crate) fn is_frozen(&self, place: usize) -> bool {
        self.members[place].frozen
    }

    /// Returns the commands that the cluster executed, in order.
    pub(crate) fn journal(&self) -> &[Execution] {
        &self.journal
    }

    /// Returns the payloads of all server requests that were pushed to a session, in order.
    pub(crate) fn pushed(&self, session: &str) -> &[Bytes] {
        self.pushed.get(session).map_or(&[], |pushed| &pushed[..])
    }

    /// Takes over what the judge has found.
    fn take_verdict(&mut self) {
        if self.violation.is_none()
            && let Some(Violation { rule, detail }) = self.judge.violation()
        {
            let (rule, detail) = (*rule, detail.clone());
            self.violated(rule, detail);
        }
    }

    /// When something happens at a place now, for the judge.
    fn moment(&self, place: usize) -> judge::At {
        self.members[place].moment(self.now)
    }

    /// Returns what occurred in the run, the judge's counts included.
    pub(crate) fn counted(&self) -> Coverage {
        let mut all = self.coverage.clone();
        self.judge.count(&mut all);
        all
    }

    fn violated(&mut self, rule: &'static str, detail: impl Into<String>) {
        let detail = detail.into();
        say!(self.trace, self.now, "VIOLATION of “{rule}”: {detail}");
        self.violation.get_or_insert(Violation { rule, detail });
    }
}
