//! The state of a run: clients, network and members in virtual time.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use zraft_core::{Instant, Member};
use zraft_protocol::ClientMessage;
use zraft_rig::Rig;

use crate::{
    cluster,
    coverage::Coverage,
    judge::Violation,
    random::Rng,
    world::{
        calendar::{Queue, What},
        client::Client,
        net::{Line, Net},
        plan::{ClientPlan, Plan, member},
        raw::{FIRST_LINE, Raw},
        system::System,
        trace::{ORIGIN, Trace, say},
    },
};

/// The outcome of a run.
#[derive(Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// The same seed gives the same trace.
    pub hash: u64,
    /// The first violated invariant, and when.
    pub violation: Option<(Duration, Violation)>,
    /// The history, if it was asked for.
    pub lines: Vec<String>,
    pub(crate) coverage: Coverage,
    pub(crate) facts: Facts,
}

/// The lists of members are drawn from the run's seed with these bits.
const LISTS: u64 = 0x115_7500;

/// Figures of a run.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Facts {
    pub(crate) commands: u64,
    pub(crate) queries: u64,
    pub(crate) notices: u64,
    pub(crate) faults: u64,
    pub(crate) members: u64,
    pub(crate) leader_changes: u64,
    pub(crate) frames: u64,
    pub(crate) virtual_time: Duration,
    /// From the end of the faults until everything had settled, and frames sent in that time.
    pub(crate) heal_time: Duration,
    pub(crate) heal_frames: u64,
    /// What the members of the replicated system did.
    pub(crate) cluster: cluster::Facts,
}

pub(crate) struct Sim {
    pub(crate) now: Instant,
    pub(crate) plan: Plan,
    pub(crate) queue: Queue<What>,
    pub(crate) system: System,
    /// How many members the clients know.
    pub(crate) members: usize,
    pub(crate) system_armed: Option<Instant>,
    pub(crate) net: Net,
    pub(crate) clients: Vec<Client>,
    /// The machine of each client, in its drive loop.
    pub(crate) rigs: Vec<Rig>,
    pub(crate) raws: Vec<Raw>,
    /// The raw clients by their present connections, and the number of the last of these.
    pub(crate) raw_lines: BTreeMap<Line, usize>,
    pub(crate) raw_line: Line,
    /// What raw clients sent to members that stand still.
    pub(crate) raw_unread: BTreeMap<Line, VecDeque<ClientMessage>>,
    /// The clients whose drivers need a turn.
    pub(crate) dirty: Vec<bool>,
    pub(crate) rng: Rng,
    /// Draws the lists of members that clients get.
    pub(crate) lists: Rng,
    pub(crate) trace: Trace,
    pub(crate) coverage: Coverage,
    pub(crate) facts: Facts,
    pub(crate) violation: Option<Violation>,
    pub(crate) healing: Option<Instant>,
    pub(crate) frames_at_heal: u64,
    pub(crate) closing: bool,
    /// Everything pushed to each session, in order.
    pub(crate) pushed: BTreeMap<String, Vec<bytes::Bytes>>,
    pub(crate) done: bool,
    /// The next session that a client asks for is rejected permanently.
    pub(crate) reject_next: bool,
    /// How many of the next handshakes are answered with stray messages first.
    pub(crate) stray_next: u64,
    /// The member that continues every session and drops the connection then.
    pub(crate) captor: Option<usize>,
    /// Events in a row at the present moment.
    pub(crate) same_moment: u32,
}

impl Sim {
    pub(crate) fn new(plan: Plan, words: bool) -> Self {
        let now = ORIGIN;
        let mut rng = Rng::new(plan.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let everyone: Vec<Member> = (0..plan.members).map(member).collect();
        let mut clients: Vec<_> = plan
            .clients
            .iter()
            .enumerate()
            .map(|(index, client)| Client::new(index, client.clone(), &everyone, rng.fork(), now))
            .collect();
        let rig = |plan: &ClientPlan| Rig::new(plan.config.clone(), plan.seed, now);
        let rigs = plan.clients.iter().map(rig).collect();
        let system = System::new(&plan.system, now, words);
        for client in &mut clients {
            client.judge.may_reject = system.rejects_without_answer();
        }
        let net = Net::new(clients.len(), plan.members, plan.path, plan.capacity, rng.fork());
        let raws = plan.raws.iter().map(|plan| Raw::new(*plan, rng.fork(), now)).collect();
        let dirty = vec![true; clients.len()];
        Self {
            now,
            queue: Queue::new(),
            system,
            members: plan.members,
            system_armed: None,
            net,
            clients,
            rigs,
            raws,
            raw_lines: BTreeMap::new(),
            raw_line: FIRST_LINE,
            raw_unread: BTreeMap::new(),
            dirty,
            rng,
            lists: Rng::new(plan.seed ^ LISTS),
            trace: Trace::new(words),
            coverage: Coverage::default(),
            facts: Facts { members: plan.members as u64, ..Facts::default() },
            violation: None,
            healing: None,
            frames_at_heal: 0,
            closing: false,
            pushed: BTreeMap::new(),
            done: false,
            reject_next: false,
            stray_next: 0,
            captor: None,
            same_moment: 0,
            plan,
        }
    }

    pub(crate) fn violated(&mut self, rule: &'static str, detail: impl Into<String>) {
        let detail = detail.into();
        self.violation.get_or_insert(Violation { rule, detail });
    }

    pub(crate) fn into_outcome(mut self) -> Outcome {
        let passed = self.now - ORIGIN;
        for client in &self.clients {
            self.coverage.merge(&client.judge.coverage);
            self.facts.frames += client.judge.frames;
        }
        if let System::Replicated(system) = &self.system {
            self.coverage.merge(&system.cluster.counted());
            self.facts.cluster = system.cluster.facts;
            self.trace.fact(self.now, 30, system.cluster.trace.hash());
        }
        self.facts.virtual_time = passed;
        self.facts.leader_changes = self.system.leader_changes();
        if let Some(violation) = &self.violation {
            say!(self.trace, self.now, "VIOLATION of “{}”: {}", violation.rule, violation.detail);
        }
        Outcome {
            seed: self.plan.seed,
            hash: self.trace.hash(),
            violation: self.violation.map(|violation| (passed, violation)),
            lines: self.trace.lines,
            coverage: self.coverage,
            facts: self.facts,
        }
    }
}
