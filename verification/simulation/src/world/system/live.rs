//! The model of the live Scala system. Only this module and those below it name the engine.

mod faults;
mod mends;

use std::time::Duration;

use zraft_core::Instant;
use zraft_protocol::{ClientMessage, ClientMessageKind, MemberId, Payload, SessionId};
use zraft_test_server::{
    AppendLog, Engine, EngineConfig, KillLoss, MemberIndex, MessageClass, PeerId,
};

use super::{CloseHow, Execution, Lines, Listening, Output};
use crate::{
    random::Rng,
    world::{
        net::Line,
        plan::{member_endpoint, member_name},
    },
};
pub(crate) use mends::LiveMend;

/// What a seed draws of the live system.
#[derive(Debug, Clone)]
pub(crate) struct LivePlan {
    pub(crate) engine: EngineConfig,
    /// Commits per second, if they are limited.
    pub(crate) rate: Option<u32>,
}

impl LivePlan {
    pub(crate) fn draw(rng: &mut Rng, members: usize, session_timeout: Duration) -> Self {
        let names = (0..members).filter_map(|index| MemberId::new(member_name(index)).ok());
        let mut engine = EngineConfig::new(names.collect());
        engine.session_timeout = session_timeout;
        engine.commit_delay = rng.pick(&[
            Duration::from_micros(200),
            Duration::from_millis(1),
            Duration::from_millis(8),
            Duration::from_millis(25),
        ]);
        engine.election_pause = rng.millis(20, 3_000);
        engine.redelivery_interval =
            if rng.percent(50) { Duration::from_secs(10) } else { rng.millis(1_000, 5_000) };
        engine.stop_linger = rng.millis(100, 2_300);
        engine.seed = rng.next();
        Self { engine, rate: None }
    }

    /// Draws whether commits are limited. A draw apart, since earlier draws decide other parts of the plan.
    pub(crate) fn draw_rate(&mut self, rng: &mut Rng) {
        self.rate = rng.percent(15).then(|| rng.range(30, 400) as u32);
    }

    /// A system without faults for scenarios: fast commits, and sessions that outlive every wait.
    pub(crate) fn calm(&mut self, members: usize, rate: Option<u32>) {
        self.engine.members.truncate(members);
        self.engine.endpoints = (0..members).map(member_endpoint).collect();
        self.engine.commit_delay = Duration::from_millis(1);
        self.engine.session_timeout = Duration::from_secs(90);
        self.rate = rate;
    }
}

pub(crate) struct Live {
    engine: Engine,
    members: Vec<MemberIndex>,
    lines: Lines<PeerId>,
    commit_delay: Duration,
    rate: Option<u32>,
}

impl Live {
    pub(crate) fn new(plan: &LivePlan, now: Instant) -> Self {
        let mut engine = Engine::new(plan.engine.clone(), AppendLog::new(), now);
        engine.set_commits_per_second(now, plan.rate);
        let members = plan.engine.members.iter();
        Self {
            members: members.filter_map(|id| engine.index_of(id.as_str())).collect(),
            engine,
            lines: Lines::new(),
            commit_delay: plan.engine.commit_delay,
            rate: plan.rate,
        }
    }

    pub(super) fn connected(&mut self, now: Instant, line: Line, member: usize) -> bool {
        let peer = self.engine.connected(now, self.members[member]);
        if let Some(peer) = peer {
            self.lines.insert(line, peer);
        }
        peer.is_some()
    }

    pub(super) fn received(&mut self, now: Instant, line: Line, message: ClientMessage) {
        if let Some(peer) = self.lines.peer(line) {
            self.engine.received(now, peer, message);
        }
    }

    pub(super) fn disconnected(&mut self, now: Instant, line: Line) {
        if let Some(peer) = self.lines.remove_line(line) {
            self.engine.disconnected(now, peer);
        }
    }

    pub(super) fn reads(&self, line: Line) -> bool {
        self.lines.peer(line).is_some_and(|peer| self.engine.reads(peer))
    }

    pub(super) fn poll_output(&mut self) -> Option<Output> {
        loop {
            let output = self.engine.poll_output()?;
            if let Some(output) = self.translated(output) {
                return Some(output);
            }
        }
    }

    /// Returns the task in the world's words, unless its connection has ended or it is none for the world.
    fn translated(&mut self, output: zraft_test_server::Output) -> Option<Output> {
        use zraft_test_server::Output as Of;
        Some(match output {
            Of::Send { peer, message } => Output::Send { line: self.lines.line(peer)?, message },
            Of::Close { peer, how } => {
                let how = match how {
                    zraft_test_server::CloseHow::Flush => CloseHow::Flush,
                    zraft_test_server::CloseHow::Reset => CloseHow::Reset,
                };
                Output::Close { line: self.lines.remove_peer(peer)?, how }
            }
            Of::StopReading { peer } => Output::StopReading { line: self.lines.line(peer)? },
            Of::ResumeReading { peer } => Output::ResumeReading { line: self.lines.line(peer)? },
            Of::Listen { member, listening } => {
                let listening = match listening {
                    zraft_test_server::Listening::Open => Listening::Open,
                    zraft_test_server::Listening::Held => Listening::Held,
                    zraft_test_server::Listening::Closed => Listening::Closed,
                };
                Output::Listen { member: member.get(), listening }
            }
            _ => return None,
        })
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.engine.poll_timeout()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.engine.handle_timeout(now);
    }

    pub(super) fn leader(&self) -> Option<usize> {
        self.engine.leader().map(MemberIndex::get)
    }

    pub(super) fn leader_changes(&self) -> u64 {
        self.engine.stats().elections
    }

    pub(super) fn is_bound(&self, line: Line) -> bool {
        self.lines.peer(line).is_some_and(|peer| self.engine.is_bound(peer))
    }

    pub(super) fn unacknowledged(&self, session: &str) -> Option<usize> {
        let view = self.engine.session(&SessionId::new(session).ok()?)?;
        Some(view.unacknowledged)
    }

    pub(super) fn push(&mut self, now: Instant, session: &SessionId, payload: &Payload) -> bool {
        self.engine.push_server_request(now, session, payload).is_ok()
    }

    pub(super) fn executions(&self) -> Vec<Execution<'_>> {
        let executions = self.engine.journal().iter().map(|execution| Execution {
            position: execution.position,
            session: &execution.session,
            request_id: execution.request_id,
            payload: execution.payload.as_bytes(),
        });
        executions.collect()
    }

    pub(super) fn forgotten(&self) -> u64 {
        self.engine.journal().dropped()
    }

    pub(super) fn cut_connections(&mut self, now: Instant, member: usize) {
        let _ = self.engine.cut_connections(now, Some(self.members[member]));
    }

    fn running(&self) -> usize {
        let running = |member: &&MemberIndex| self.engine.is_running(**member);
        self.members.iter().filter(running).count()
    }

    /// Returns true if a leader commits.
    pub(crate) fn commits(&self) -> bool {
        self.engine.commits()
    }

    /// Commits what is about to be committed, at the end of a run.
    pub(crate) fn commit_the_rest(&mut self, now: Instant) {
        self.engine.handle_timeout(now + self.commit_delay + Duration::from_millis(500));
    }

    /// The next commands are lost on their way to the member.
    pub(crate) fn lose_commands(&mut self, count: u64) {
        let class = MessageClass::FromClient(ClientMessageKind::ClientRequest);
        self.engine.drop_messages(class, Some(count));
    }

    /// The next elections take this long.
    pub(crate) fn pause_elections(&mut self, pause: Duration) {
        self.engine.set_election_pause(pause);
    }

    pub(crate) fn kill(&mut self, now: Instant, member: usize, loss: KillLoss) {
        let _ = self.engine.kill(now, self.members[member], loss);
    }

    pub(crate) fn restart(&mut self, now: Instant, member: usize) {
        let _ = self.engine.restart(now, self.members[member]);
    }

    /// The member sends and reads nothing more.
    pub(crate) fn freeze(&mut self, now: Instant, member: usize) {
        let _ = self.engine.set_frozen(now, self.members[member], true);
    }

    /// The member is cut off from the others, and believes that it leads.
    pub(crate) fn cut_off(&mut self, now: Instant, member: usize) {
        let _ = self.engine.set_stale_leader(now, self.members[member], true);
    }

    /// All sessions end without a word, as at a restart without state.
    pub(crate) fn forget_sessions(&mut self, now: Instant) {
        self.engine.forget_sessions(now);
    }

    /// The member denies every session from now on.
    pub(crate) fn deny_all(&mut self, now: Instant, member: usize) {
        let _ = self.engine.set_stale_session_map(now, self.members[member], Some(&[]));
    }

    /// The leader hands over, and the next member leads at once.
    pub(crate) fn hand_over(&mut self, now: Instant, next: usize) {
        self.engine.set_election_pause(Duration::ZERO);
        let _ = self.engine.step_down_for(now, Some(self.members[next]));
    }
}
