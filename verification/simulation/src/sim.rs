//! One run: clients, network and members in virtual time.

use std::time::Duration;

use zraft_core::Instant;
use zraft_test_server::{AppendLog, Engine, MemberIndex};

use crate::{
    client::Client,
    coverage::Coverage,
    judge::Violation,
    mend::Mend,
    net::{Line, Net},
    params::Plan,
    queue::Queue,
    rng::Rng,
    trace::{ORIGIN, Trace, say},
};

/// What happens at a moment.
#[derive(Debug)]
pub(crate) enum What {
    /// Bytes, or an end, may have arrived at the member's end, or at the client's.
    Up(Line),
    Down(Line),
    /// A connection is asked for at the member's port.
    Syn(Line),
    /// The answer to that: the port's state when it was asked.
    SynAck(Line, bool),
    PeerTimer(Line),
    EngineTimer,
    /// A client's machine wants to be called.
    Wake(usize),
    /// A client's application has something to do.
    Work(usize),
    /// It takes server requests.
    Consume(usize),
    Resume(usize),
    /// A server request is pushed to somebody.
    Notice,
    Fault,
    LeaderChange,
    Mend(Mend),
    /// Faults are over.
    Heal,
    /// Is everything settled?
    Check,
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// Which.
    pub seed: u64,
    /// The same seed gives the same trace.
    pub hash: u64,
    /// The first promise that was broken, and when.
    pub violation: Option<(Duration, Violation)>,
    /// What happened, when words were asked for.
    pub lines: Vec<String>,
    pub(crate) coverage: Coverage,
    pub(crate) facts: Facts,
}

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
}

pub(crate) struct Sim {
    pub(crate) now: Instant,
    pub(crate) plan: Plan,
    pub(crate) queue: Queue<What>,
    pub(crate) engine: Engine,
    pub(crate) members: Vec<MemberIndex>,
    pub(crate) engine_armed: Option<Instant>,
    pub(crate) net: Net,
    pub(crate) clients: Vec<Client>,
    /// Clients that something happened to.
    pub(crate) dirty: Vec<bool>,
    pub(crate) rng: Rng,
    pub(crate) trace: Trace,
    pub(crate) coverage: Coverage,
    pub(crate) facts: Facts,
    pub(crate) violation: Option<Violation>,
    pub(crate) healing: Option<Instant>,
    pub(crate) frames_at_heal: u64,
    pub(crate) closing: bool,
    /// Everything pushed to each session, in order.
    pub(crate) pushed: std::collections::BTreeMap<String, Vec<bytes::Bytes>>,
    pub(crate) done: bool,
    /// The next session that is asked for is rejected for good.
    pub(crate) reject_next: bool,
    /// So many of the next sessions that are asked for are preceded by stray messages.
    pub(crate) stray_next: u64,
    /// The member that continues every session and drops the connection then.
    pub(crate) captor: Option<usize>,
    same_moment: u32,
}

impl Sim {
    pub(crate) fn new(plan: Plan, words: bool) -> Self {
        let now = ORIGIN;
        let mut rng = Rng::new(plan.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut engine = Engine::new(plan.engine.clone(), Box::new(AppendLog::new()), now);
        engine.set_commits_per_second(now, plan.rate);
        let members = plan.engine.members.iter();
        let members: Vec<_> = members.filter_map(|id| engine.index_of(id.as_str())).collect();
        let clients: Vec<_> = plan
            .clients
            .iter()
            .enumerate()
            .map(|(index, client)| Client::new(index, client.clone(), rng.fork(), now))
            .collect();
        let net = Net::new(clients.len(), plan.members, plan.path, plan.capacity, rng.fork());
        let dirty = vec![true; clients.len()];
        Self {
            now,
            queue: Queue::new(),
            engine,
            members,
            engine_armed: None,
            net,
            clients,
            dirty,
            rng,
            trace: Trace::new(words),
            coverage: Coverage::default(),
            facts: Facts { members: plan.members as u64, ..Facts::default() },
            violation: None,
            healing: None,
            frames_at_heal: 0,
            closing: false,
            pushed: std::collections::BTreeMap::new(),
            done: false,
            reject_next: false,
            stray_next: 0,
            captor: None,
            same_moment: 0,
            plan,
        }
    }

    /// Puts on the calendar what the plan says.
    pub(crate) fn schedule(&mut self) {
        let end = self.now + self.plan.duration;
        self.queue.push(end, What::Heal);
        for _ in 0..self.plan.fault_count {
            let at = self.moment();
            self.queue.push(at, What::Fault);
        }
        for _ in 0..self.plan.leader_changes {
            let at = self.moment();
            self.queue.push(at, What::LeaderChange);
        }
        for _ in 0..self.plan.notices {
            let at = self.moment();
            self.queue.push(at, What::Notice);
        }
        for client in 0..self.clients.len() {
            say!(self.trace, self.now, "client {client}: {:?}", self.clients[client].plan.config);
            let at = self.now + self.rng.millis(0, 100);
            self.queue.push(at, What::Work(client));
        }
        self.after();
    }

    fn moment(&mut self) -> Instant {
        let millis = self.plan.duration.as_millis() as u64;
        self.now + self.rng.millis(50, millis)
    }

    /// Runs to its end, or to the first violation.
    pub(crate) fn run(&mut self) {
        while !self.done && self.violation.is_none() {
            if !self.step() {
                self.violated("the calendar of a run has an end", "nothing happens any more");
            }
        }
    }

    /// The next thing happens. False: there is none.
    pub(crate) fn step(&mut self) -> bool {
        let Some((at, what)) = self.queue.pop() else { return false };
        if at > self.now {
            self.same_moment = 0;
        } else {
            self.same_moment += 1;
            if self.same_moment > 200_000 {
                self.violated("time does not stand still", format!("{what:?}"));
            }
        }
        self.now = self.now.max(at);
        self.happens(what);
        self.after();
        true
    }

    fn happens(&mut self, what: What) {
        match what {
            What::Up(line) => self.serve(line),
            What::Down(line) => self.arrives(line),
            What::Syn(line) => self.syn(line),
            What::SynAck(line, accepted) => self.syn_ack(line, accepted),
            What::PeerTimer(line) => self.peer_timer(line),
            What::EngineTimer => {
                self.engine_armed = None;
                self.engine.handle_timeout(self.now);
            }
            What::Wake(client) => {
                self.clients[client].armed = None;
                self.dirty[client] = true;
            }
            What::Work(client) => self.work(client),
            What::Consume(client) => {
                self.clients[client].consuming = true;
                self.dirty[client] = true;
            }
            What::Resume(client) => self.resume(client),
            What::Notice => self.notice(),
            What::Fault => self.fault(),
            What::LeaderChange => self.leader_change(),
            What::Mend(mend) => self.mend(mend),
            What::Heal => self.heal(),
            What::Check => self.check(),
        }
    }

    /// Whatever follows at the same moment.
    pub(crate) fn after(&mut self) {
        self.carry_out();
        for client in 0..self.clients.len() {
            if std::mem::take(&mut self.dirty[client]) {
                self.turn(client);
                if let Some(violation) = self.clients[client].judge.violation.take() {
                    self.violation.get_or_insert(violation);
                }
            }
        }
        if let Some(at) = self.engine.poll_timeout()
            && self.engine_armed.is_none_or(|armed| at < armed)
        {
            let at = at.max(self.now);
            self.engine_armed = Some(at);
            self.queue.push(at, What::EngineTimer);
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
        self.facts.virtual_time = passed;
        self.facts.leader_changes = self.engine.stats().elections;
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
