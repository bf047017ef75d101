//! Scenarios that are not drawn: one thing happens, and figures come of it. All times are virtual.

use std::time::Duration;

use zraft_core::{Config, ConfigBuilder, LivenessQuery, RequestKind, StateName};
use zraft_test_server::KillLoss;

use crate::{
    judge::{Settled, Violation},
    world::net::Path,
    world::pipe::Way,
    world::plan::{Plan, member_endpoint, member_name},
    world::sim::Sim,
    world::system::{SystemKind, SystemPlan, live::Live},
    world::trace::ORIGIN,
};

/// What came of many commands.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Commands that were sent at least once.
    pub sent: u64,
    /// ClientRequest frames, the copies included.
    pub frames: u64,
    /// Commands answered.
    pub answered: u64,
    /// Commands that ended in any other way.
    pub failed: u64,
    /// From the first submission to the last answer, or to the end of the scenario.
    pub took: Duration,
}

/// Commands that a client submits at once while load is built up.
const RAMP: usize = 16;

type Result<T> = std::result::Result<T, Violation>;

/// The configuration of a client that knows the first members.
fn config(members: usize) -> ConfigBuilder {
    let mut builder = Config::builder().capability("kind", "scenario").request_timeout(None);
    for index in 0..members {
        builder = builder.member(member_name(index), member_endpoint(index));
    }
    builder
}

/// Members of each scenario.
const MEMBERS: usize = 3;

/// The configuration of a client that knows all members and may have this many requests in flight.
fn window(in_flight: usize) -> ConfigBuilder {
    config(MEMBERS).max_in_flight(in_flight)
}

/// Clients with sessions, three members on a fast network, and no faults.
fn connected(seed: u64, clients: usize, rate: Option<u32>, config: ConfigBuilder) -> Result<Sim> {
    let mut sim = disconnected(seed, clients, rate, config);
    for client in 0..clients {
        sim.connect(client);
    }
    sim.after();
    let connected = |sim: &Sim| {
        let states = sim.rigs.iter().map(|rig| rig.machine.state());
        states.into_iter().all(|state| state == StateName::Connected)
    };
    sim.until(Duration::from_secs(10), connected)?;
    Ok(sim)
}

/// The same before any client connects.
fn disconnected(seed: u64, clients: usize, rate: Option<u32>, config: ConfigBuilder) -> Sim {
    let mut plan = Plan::draw(SystemKind::Live, seed);
    let way = Way {
        latency: Duration::from_micros(250),
        jitter: Duration::ZERO,
        rate: None,
        blocked: false,
    };
    plan.members = MEMBERS;
    plan.path = Path { up: way, down: way, refused: false };
    plan.capacity = 256 << 10;
    if let SystemPlan::Live(live) = &mut plan.system {
        live.calm(MEMBERS, rate);
    }
    let mut first = plan.clients[0].clone();
    first.config = config.build().expect("within the limits");
    first.payload = (64, 64);
    first.consumer = None;
    first.pieces = usize::MAX;
    first.patience = None;
    first.own_deadlines = 0;
    plan.clients = (0..clients as u64)
        .map(|client| {
            let mut plan = first.clone();
            plan.seed = seed.wrapping_add(client);
            plan
        })
        .collect();
    Sim::new(plan, false)
}

fn submit(sim: &mut Sim, client: usize, count: usize) {
    for _ in 0..count {
        sim.submit(client, RequestKind::Command);
    }
    sim.dirty[client] = true;
    sim.after();
}

fn live(sim: &mut Sim) -> &mut Live {
    sim.system.live().expect("the scenarios run on the live system")
}

fn answered(sim: &Sim) -> usize {
    let ok = |settled: &Option<Settled>| matches!(settled, Some(Settled::Answered(_)));
    sim.clients
        .iter()
        .map(|client| client.judge.requests.iter().filter(|asked| ok(&asked.settled)).count())
        .sum()
}

fn load(sim: &Sim, took: Duration) -> Load {
    let requests = || sim.clients.iter().flat_map(|client| client.judge.requests.iter());
    let settled = requests().filter(|asked| asked.settled.is_some()).count() as u64;
    let answered = answered(sim) as u64;
    Load {
        sent: requests().filter(|asked| asked.place.is_some()).count() as u64,
        frames: sim.clients.iter().map(|client| client.judge.request_frames).sum(),
        answered,
        failed: settled - answered,
        took,
    }
}

/// Runs a server of 100 commands a second with clients that have `in_flight` commands in flight each.
///
/// # Errors
/// An invariant is broken.
pub fn overload(clients: usize, in_flight: usize, lasts: Duration) -> Result<Load> {
    let mut sim = connected(1, clients, Some(100), window(in_flight))?;
    let each = (lasts.as_secs() as usize * 100).div_ceil(clients) + 2 * in_flight;
    let from = sim.now;
    // They come to be in flight side by side, not one client's after the other's.
    for _ in 0..in_flight / RAMP {
        for client in 0..clients {
            submit(&mut sim, client, RAMP);
        }
        sim.pass(Duration::from_millis(5))?;
    }
    for client in 0..clients {
        submit(&mut sim, client, each - in_flight);
    }
    sim.pass(lasts - (sim.now - from))?;
    Ok(load(&sim, lasts))
}

/// Submits commands at once, none of which reaches the server at first.
///
/// # Errors
/// An invariant is broken.
pub fn lost_at_once(commands: usize) -> Result<Load> {
    let mut sim = connected(2, 1, None, window(commands))?;
    live(&mut sim).lose_commands(commands as u64);
    let from = sim.now;
    submit(&mut sim, 0, commands);
    sim.until(Duration::from_secs(600), |sim| sim.clients[0].judge.pending() == 0)?;
    Ok(load(&sim, sim.now - from))
}

/// All members are gone, their ports refuse: how often each was tried in the first ten seconds.
///
/// # Errors
/// An invariant is broken.
pub fn outage(seed: u64) -> Result<Vec<usize>> {
    let mut sim = connected(seed, 1, None, window(256))?;
    submit(&mut sim, 0, 10);
    sim.pass(Duration::from_secs(1))?;
    let now = sim.now;
    for member in 0..sim.members {
        live(&mut sim).kill(now, member, KillLoss::Uncommitted);
    }
    sim.net.opened = vec![0; sim.members];
    sim.after();
    sim.pass(Duration::from_secs(10))?;
    Ok(sim.net.opened.clone())
}

/// The leader is killed, and the next elected after a pause: from the moment it can answer until the first command
/// submitted after the kill is answered.
///
/// # Errors
/// An invariant is broken.
pub fn kill(seed: u64) -> Result<Duration> {
    let mut sim = connected(seed, 1, None, window(256))?;
    submit(&mut sim, 0, 10);
    sim.pass(Duration::from_secs(6))?;
    let pause = sim.rng.millis(200, 9_000);
    let leader = sim.system.leader().expect("a member leads");
    let now = sim.now;
    live(&mut sim).pause_elections(pause);
    live(&mut sim).kill(now, leader, KillLoss::Mixed);
    sim.after();
    sim.flows_again(leader)
}

/// Leadership is handed over, and the next leads at once: from then until a command is answered there.
///
/// # Errors
/// An invariant is broken.
pub fn hand_over(seed: u64) -> Result<Duration> {
    let mut sim = connected(seed, 1, None, window(256))?;
    submit(&mut sim, 0, 10);
    sim.pass(Duration::from_secs(6))?;
    let leader = sim.system.leader().expect("a member leads");
    let others: Vec<_> = (0..sim.members).filter(|member| *member != leader).collect();
    let next = sim.rng.pick(&others);
    let now = sim.now;
    live(&mut sim).hand_over(now, next);
    sim.after();
    sim.flows_again(leader)
}

/// The leader freezes with commands in flight, and the next is elected after a pause: how much longer than the pause, or than 1 s
/// if that is longer, no command is answered.
///
/// # Errors
/// An invariant is broken, or a command fails.
pub fn freeze(seed: u64) -> Result<Duration> {
    let mut sim = connected(seed, 1, None, window(256))?;
    submit(&mut sim, 0, 10);
    let wait = Duration::from_secs(6) + sim.rng.millis(0, 1_000);
    sim.pass(wait)?;
    let pause = sim.rng.millis(200, 3_000);
    let leader = sim.system.leader().expect("a member leads");
    let now = sim.now;
    live(&mut sim).pause_elections(pause);
    live(&mut sim).freeze(now, leader);
    let had = answered(&sim);
    submit(&mut sim, 0, 20);
    sim.until(Duration::from_secs(60), |sim| answered(sim) > had)?;
    let took = sim.now - now;
    sim.until(Duration::from_secs(60), |sim| answered(sim) == had + 20)?;
    Ok(took.saturating_sub(pause.max(Duration::from_secs(1))))
}

/// The leader of a session that only listens is cut off from the others, which elect another after a pause, and goes on
/// answering KeepAlives: how long it takes until the session is at the new one. The client has a liveness query with the
/// interval that is the default.
///
/// # Errors
/// An invariant is broken.
pub fn cut_off(seed: u64) -> Result<Duration> {
    let config = window(256).liveness_query(LivenessQuery::new("alive?"));
    let mut sim = connected(seed, 1, None, config)?;
    let wait = Duration::from_secs(6) + sim.rng.millis(0, 20_000);
    sim.pass(wait)?;
    let pause = sim.rng.millis(200, 3_000);
    let leader = sim.system.leader().expect("a member leads");
    let now = sim.now;
    live(&mut sim).pause_elections(pause);
    live(&mut sim).cut_off(now, leader);
    sim.after();
    let moved = |sim: &Sim| {
        let at = sim.clients[0].current().and_then(|line| sim.net.conns.get(&line));
        let member = at.map(|conn| conn.member);
        let connected = sim.rigs[0].machine.state() == StateName::Connected;
        connected && member != Some(leader) && member == sim.system.leader()
    };
    sim.until(Duration::from_secs(80), moved)?;
    Ok(sim.now - now)
}

/// A client is configured with one member, the leader, and learns the others from it. That one is killed and stays away, and the next
/// elected after a pause: from the moment it can answer until the first command submitted after the kill is answered.
///
/// # Errors
/// An invariant is broken.
pub fn discovery(seed: u64) -> Result<Duration> {
    let mut sim = disconnected(seed, 1, None, config(1).max_in_flight(256).discover_members(true));
    sim.after();
    sim.elect(0)?;
    sim.connect(0);
    submit(&mut sim, 0, 10);
    sim.until(Duration::from_secs(10), |sim| answered(sim) == 10)?;
    let pause = sim.rng.millis(200, 9_000);
    let now = sim.now;
    live(&mut sim).pause_elections(pause);
    live(&mut sim).kill(now, 0, KillLoss::Mixed);
    sim.after();
    sim.flows_again(0)
}

/// What two members that are not the leader do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// Both name the leader.
    Well,
    /// One accepts connections and says nothing, the other refuses connections.
    SilentAndRefusing,
    /// Those that the client asks before the leader refuse connections.
    Dead,
}

/// A client without a session connects, and then resumes its session after its connection broke: how long each takes.
///
/// # Errors
/// An invariant is broken.
pub fn connect(seed: u64, others: Others) -> Result<[Duration; 2]> {
    let mut sim = disconnected(seed, 1, None, window(256));
    sim.after();
    let leader = sim.rng.index(MEMBERS);
    sim.elect(leader)?;
    let first = sim.rng.index(2);
    for (place, member) in (0..MEMBERS).filter(|member| *member != leader).enumerate() {
        match others {
            Others::Well => {}
            Others::SilentAndRefusing if place == first => sim.net.ports[member].silent = true,
            Others::SilentAndRefusing | Others::Dead => sim.net.paths[0][member].refused = true,
        }
    }
    let connected = |sim: &Sim| sim.rigs[0].machine.state() == StateName::Connected;
    let mut times = [Duration::ZERO; 2];
    let from = sim.now;
    sim.connect(0);
    sim.dirty[0] = true;
    sim.after();
    sim.until(Duration::from_secs(60), connected)?;
    times[0] = sim.now - from;
    submit(&mut sim, 0, 10);
    sim.pass(Duration::from_secs(6))?;
    let from = sim.now;
    // The leader's port is closed for a moment, so that the client asks the others as well.
    sim.net.paths[0][leader].refused = true;
    sim.cut_connections(leader);
    sim.after();
    sim.until(Duration::from_secs(1), |sim| !connected(sim))?;
    sim.pass(Duration::from_millis(20))?;
    sim.net.paths[0][leader].refused = false;
    sim.until(Duration::from_secs(60), connected)?;
    times[1] = sim.now - from;
    Ok(times)
}

/// What a client does whose session is unknown to a restarted cluster.
#[derive(Debug, Clone, Copy)]
pub struct LostSession {
    /// From the moment at which a leader can answer until the client believes it.
    pub took: Duration,
    /// Session messages that it sent meanwhile.
    pub messages: u64,
    /// Commands in flight at the restart whose outcome is unknown.
    pub unknown: usize,
    /// From the next `connect()` until the first command of the new session is answered.
    pub again: Duration,
}

/// All members are killed with commands in flight, and restarted without their sessions after a second.
///
/// # Errors
/// An invariant is broken, or the client does not report its doubt.
pub fn lost_session(seed: u64) -> Result<LostSession> {
    const COMMANDS: usize = 20;
    let mut sim = connected(seed, 1, None, window(256))?;
    submit(&mut sim, 0, 10);
    let wait = Duration::from_secs(6) + sim.rng.millis(0, 1_000);
    sim.pass(wait)?;
    let had = answered(&sim);
    submit(&mut sim, 0, COMMANDS);
    let now = sim.now;
    for member in 0..MEMBERS {
        live(&mut sim).kill(now, member, KillLoss::Uncommitted);
    }
    live(&mut sim).forget_sessions(now);
    sim.after();
    sim.pass(Duration::from_secs(1))?;
    let now = sim.now;
    for member in 0..MEMBERS {
        live(&mut sim).restart(now, member);
    }
    sim.after();
    sim.until(Duration::from_secs(10), |sim| sim.system.commits())?;
    let (from, frames) = (sim.now, sim.clients[0].judge.frames);
    let ended = |sim: &Sim| sim.rigs[0].machine.state() == StateName::Disconnected;
    sim.until(Duration::from_secs(100), ended)?;
    let (took, messages) = (sim.now - from, sim.clients[0].judge.frames - frames);
    let judge = &sim.clients[0].judge;
    if !judge.coverage.counts.contains_key(&("outcome", "session doubted", "")) {
        return Err(Violation { rule: "a doubt is reported", detail: format!("not in {took:?}") });
    }
    let unknown = |settled: &Option<Settled>| matches!(settled, Some(Settled::Unknown));
    let unknown = judge.requests.iter().filter(|asked| unknown(&asked.settled)).count();
    let from = sim.now;
    sim.connect(0);
    submit(&mut sim, 0, 1);
    sim.until(Duration::from_secs(60), |sim| answered(sim) > had)?;
    Ok(LostSession { took, messages, unknown, again: sim.now - from })
}

/// A member that does not lead denies every session for a minute, while the client's connection breaks every few seconds: how many
/// commands end in another way than by an answer, and how often the client is in doubt.
///
/// # Errors
/// An invariant is broken, or the session ends.
pub fn false_expiry(seed: u64) -> Result<(u64, u64)> {
    let mut sim = connected(seed, 1, None, window(256))?;
    let leader = sim.system.leader().expect("a member leads");
    let liar = (leader + 1 + sim.rng.index(MEMBERS - 1)) % MEMBERS;
    let now = sim.now;
    live(&mut sim).deny_all(now, liar);
    for _ in 0..15 {
        submit(&mut sim, 0, 10);
        // The leader's port is closed for a moment, so that the client asks the others first.
        sim.net.paths[0][leader].refused = true;
        sim.cut_connections(leader);
        sim.after();
        let closed = sim.rng.millis(1, 3_000);
        sim.pass(closed)?;
        sim.net.paths[0][leader].refused = false;
        sim.pass(Duration::from_secs(4) - closed)?;
    }
    sim.until(Duration::from_secs(60), |sim| sim.clients[0].judge.pending() == 0)?;
    let judge = &sim.clients[0].judge;
    if judge.sessions != 1 {
        let detail = format!("{} sessions", judge.sessions);
        return Err(Violation { rule: "a session outlives a false expiry", detail });
    }
    let doubts = judge.coverage.counts.get(&("outcome", "session doubted", ""));
    Ok((load(&sim, Duration::ZERO).failed, doubts.copied().unwrap_or(0)))
}

impl Sim {
    /// Waits until this member leads, and commits.
    fn elect(&mut self, leader: usize) -> Result<()> {
        let leads = |sim: &Self| sim.system.commits();
        self.until(Duration::from_secs(10), leads)?;
        if self.system.leader() != Some(leader) {
            let now = self.now;
            live(self).hand_over(now, leader);
            self.after();
            self.until(Duration::from_secs(10), |sim| sim.system.leader() == Some(leader))?;
            self.until(Duration::from_secs(10), leads)?;
        }
        Ok(())
    }

    fn flows_again(&mut self, before: usize) -> Result<Duration> {
        let had = answered(self);
        submit(self, 0, 20);
        let leads = |sim: &Self| {
            sim.system.commits() && sim.system.leader().is_some_and(|leader| leader != before)
        };
        self.until(Duration::from_secs(20), leads)?;
        let from = self.now;
        let executed = |sim: &Self| answered(sim) > had;
        self.until(Duration::from_secs(60), executed)?;
        Ok(self.now - from)
    }

    /// Lets time pass.
    fn pass(&mut self, time: Duration) -> Result<()> {
        let until = self.now + time;
        while self.queue.next().is_some_and(|at| at <= until) {
            self.step();
            self.sound()?;
        }
        self.now = until;
        Ok(())
    }

    /// Lets time pass until this holds.
    fn until(&mut self, limit: Duration, holds: impl Fn(&Self) -> bool) -> Result<()> {
        let until = self.now + limit;
        while !holds(self) {
            if self.queue.next().is_none_or(|at| at > until) {
                let since = self.now - ORIGIN;
                let detail = format!("not by {since:?}: {:?}", self.rigs[0].machine);
                return Err(Violation { rule: "the scenario comes about", detail });
            }
            self.step();
            self.sound()?;
        }
        Ok(())
    }

    fn sound(&mut self) -> Result<()> {
        self.violation.take().map_or(Ok(()), Err)
    }
}
