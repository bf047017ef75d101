//! How faults end: each after its time, and all at once in the heal phase. After that, everything must settle.

use std::time::Duration;

use zraft_core::{RequestKind, StateName};

use crate::world::{
    calendar::{Mend, What},
    fault::Fault,
    plan::LEAVING,
    raw::Raw,
    sim::Sim,
    system::SystemKind,
    trace::say,
};

/// How long everything may take to settle after the last fault, in virtual time. The longest waits that the rules allow are a
/// minute each: a doubled resend timeout, and patience with silence.
pub(crate) const SETTLES_WITHIN: Duration = Duration::from_secs(400);

impl Sim {
    pub(crate) fn mend(&mut self, mend: Mend) {
        say!(self.trace, self.now, "mended: {mend:?}");
        match mend {
            Mend::Paths(client, member) => {
                let healthy = self.net.healthy;
                for (index, paths) in self.net.paths.iter_mut().enumerate() {
                    for (to, path) in paths.iter_mut().enumerate() {
                        if client.is_none_or(|client| client == index)
                            && member.is_none_or(|member| member == to)
                        {
                            *path = healthy;
                        }
                    }
                }
                self.knock(client, member);
            }
            Mend::Line(line) => {
                if let Some(conn) = self.net.conns.get_mut(&line) {
                    conn.half_open = false;
                    conn.held_back = false;
                    self.queue.push(self.now, What::Up(line));
                    self.queue.push(self.now, What::Down(line));
                }
            }
            Mend::Silent(member) => {
                self.net.ports[member].silent = false;
                self.accept_all(member);
            }
            Mend::System(mend) => self.mend_system(mend),
            Mend::Renew(client) => {
                let state = &self.clients[client];
                if self.healing.is_none()
                    && !state.paused
                    && self.rigs[client].machine.state() != StateName::Disconnected
                {
                    self.disconnect(client, Duration::ZERO);
                    self.connect(client);
                }
            }
            Mend::HoldBack(client) => self.hold_back(client),
            Mend::Prompt(client) => self.prompt(client),
            Mend::Murmur(line) => self.murmur(line),
            Mend::Drop(line) => self.drop_hostile(line),
            Mend::Free => self.captor = None,
            Mend::Release(client, line) => {
                if self.healing.is_none() && !self.clients[client].paused {
                    self.some_commands(client);
                }
                self.mend(Mend::Line(line));
            }
        }
    }

    /// Holds back the answers to the present session that are on their way.
    fn hold_back(&mut self, client: usize) {
        if self.healing.is_some() || self.clients[client].paused {
            return;
        }
        let line = self.clients[client].current();
        let connected = self.rigs[client].machine.state() == StateName::Connected;
        let conn = line.and_then(|line| self.net.conns.get_mut(&line)).filter(|_| connected);
        if let (Some(conn), Some(line)) = (conn, line) {
            conn.held_back = true;
            self.some_commands(client);
            self.later(100, 500, Mend::Renew(client));
            self.later(1_500, 3_000, Mend::Release(client, line));
        } else {
            self.later(20, 200, Mend::HoldBack(client));
        }
    }

    fn some_commands(&mut self, client: usize) {
        self.dirty[client] = true;
        for _ in 0..8 {
            if !self.submit(client, RequestKind::Command) {
                break;
            }
        }
    }

    /// All faults end.
    pub(crate) fn heal(&mut self) {
        let least = self.plan.least;
        if self.facts.faults < least.faults as u64 {
            self.queue.push(self.now, What::Fault);
            self.queue.push(self.now + Duration::from_millis(500), What::Heal);
            return;
        }
        say!(self.trace, self.now, "the heal phase begins");
        self.healing = Some(self.now);
        self.mend(Mend::Paths(None, None));
        self.mend(Mend::Free);
        for line in self.net.lines(None, None) {
            self.mend(Mend::Line(line));
            self.mend(Mend::Drop(line));
        }
        for member in 0..self.members {
            self.mend(Mend::Silent(member));
            self.heal_member(member);
        }
        self.heal_system();
        for client in 0..self.clients.len() {
            self.resume(client);
            self.prompt(client);
            self.whole_list(client);
            let state = &mut self.clients[client];
            state.slow_until = self.now;
            state.consuming = true;
            state.poison = 0;
            self.dirty[client] = true;
            self.works(client, Duration::ZERO);
        }
        // The first client submits what is missing.
        let missing = |wanted: usize, had: u64| wanted.saturating_sub(had as usize);
        let commands = missing(least.commands, self.facts.commands);
        let queries = missing(least.queries, self.facts.queries);
        let first = &mut self.clients[0];
        first.commands_left = first.commands_left.max(commands);
        first.queries_left = first.queries_left.max(queries);
        for _ in 0..missing(least.notices, self.facts.notices) {
            let at = self.now + self.rng.millis(10, 1_000);
            self.queue.push(at, What::Notice);
        }
        self.frames_at_heal = self.clients.iter().map(|client| client.judge.frames).sum();
        self.queue.push(self.now + Duration::from_millis(100), What::Check);
    }

    /// Checks whether everything has settled. If so, all clients leave; once they have left, the run is over.
    pub(crate) fn check(&mut self) {
        let since = self.healing.map_or(Duration::ZERO, |healing| self.now - healing);
        // A member that took long to stop may have ended only now.
        if let Some(system) = self.system.replicated() {
            system.cluster.start_all(self.now);
            system.cluster.watch(self.now);
        }
        let settled = if self.closing { self.all_left() } else { self.all_settled() };
        if settled {
            if self.closing {
                self.finish();
            } else {
                self.settled(since);
                self.leave();
            }
        } else if since > SETTLES_WITHIN {
            let waits = self.what_waits();
            self.violated("after the faults everything settles", waits);
        }
        self.queue.push(self.now + Duration::from_millis(100), What::Check);
    }

    fn all_settled(&self) -> bool {
        let least = &self.plan.least;
        self.facts.commands >= least.commands as u64
            && self.facts.queries >= least.queries as u64
            && self.facts.notices >= least.notices as u64
            && self.clients.iter().all(|client| {
                client.commands_left + client.queries_left == 0
                    && client.judge.pending() == 0
                    && self.rigs[client.index].machine.state() == StateName::Connected
                    && self.is_heard(client.index)
                    && self.has_all_notices(client.index)
            })
            && (0..self.raws.len()).all(|index| self.raw_settled(index))
            && self.system.is_settled()
    }

    /// Returns true if the client's connection is bound to its session at the leader. A client that waits for no answer learns only
    /// with its next KeepAlive that it is not.
    fn is_heard(&self, client: usize) -> bool {
        let line = self.clients[client].current();
        let conn = line.and_then(|line| self.net.conns.get(&line));
        line.zip(conn).is_some_and(|(line, conn)| {
            // Bytes sent while the path was slow arrive at their time, even after the path is fast again.
            conn.up.is_empty()
                && self.system.leader() == Some(conn.member)
                && self.system.is_bound(line)
        })
    }

    /// Returns true if the application took every server request of its session and the cluster knows.
    fn has_all_notices(&self, client: usize) -> bool {
        let judge = &self.clients[client].judge;
        let Some(id) = judge.session_id() else { return false };
        let pushed = self.pushed_to(id).len();
        judge.delivered_in_session() as usize == pushed && self.system.unacknowledged(id) == Some(0)
    }

    fn what_waits(&self) -> String {
        let mut waits = Vec::new();
        for client in &self.clients {
            let stats = self.rigs[client.index].machine.stats();
            waits.push(format!(
                "client {}: {:?}, {} queued, {} in flight, {} detached, {} to submit, notices {}",
                client.index,
                self.rigs[client.index].machine.state(),
                stats.queued,
                stats.in_flight,
                stats.detached,
                client.commands_left + client.queries_left,
                self.has_all_notices(client.index),
            ));
        }
        let raws = self.raws.iter().enumerate();
        waits.extend(raws.map(|(index, raw)| format!("raw {index}: {}", raw.describe())));
        waits.extend(self.system.unsettled());
        waits.join("; ")
    }

    /// Everything has settled. The number of frames is bounded by the work that there was.
    fn settled(&mut self, since: Duration) {
        let frames: u64 = self.clients.iter().map(|client| client.judge.frames).sum();
        let frames = frames - self.frames_at_heal;
        self.facts.heal_time = since;
        self.facts.heal_frames = frames;
        let requests: u64 = self.clients.iter().map(|c| c.judge.requests.len() as u64).sum();
        let notices = self.facts.notices;
        let clients = self.clients.len() as u64;
        let per_second = match self.system.kind() {
            SystemKind::Live => 12,
            // A session that an operator has ended looks like a false expiry for a session timeout. The client asks all six
            // places and follows hints meanwhile, after pauses of 300 ms and more.
            SystemKind::Replicated => 45,
        };
        let time = since.as_secs() + 1;
        let most = 200 * clients + 4 * requests + notices + per_second * clients * time;
        if frames > most {
            self.violated("the heal phase takes few frames", format!("{frames}, over {most}"));
        }
    }

    fn leave(&mut self) {
        self.closing = true;
        say!(self.trace, self.now, "everything has settled; all clients leave");
        for client in 0..self.clients.len() {
            self.clients[client].leaving = true;
            self.disconnect(client, LEAVING);
        }
        for index in 0..self.raws.len() {
            self.raw_leaves(index);
        }
    }

    fn all_left(&self) -> bool {
        self.clients
            .iter()
            .all(|client| self.rigs[client.index].machine.state() == StateName::Disconnected)
            && self.raws.iter().all(Raw::has_left)
            && self.system.is_settled()
            && (self.system.kind() == SystemKind::Live || self.all_arrived())
    }

    /// Returns true if no member still has to read what a client sent, such as the end of a session.
    fn all_arrived(&self) -> bool {
        self.net.conns.values().all(|conn| conn.up.is_empty() || conn.served.over)
    }

    /// Ends the run: compares the journal with what the callers were told.
    fn finish(&mut self) {
        // The end of a session is committed like a command, so give it time.
        if let Some(live) = self.system.live() {
            live.commit_the_rest(self.now);
        }
        if let Some(system) = self.system.replicated() {
            system.cluster.finish(self.now);
        }
        self.take_members_history();
        self.done = true;
        for client in &mut self.clients {
            client.judge.finish();
            if let Some(violation) = client.judge.violation.take() {
                self.violation.get_or_insert(violation);
            }
        }
        self.check_journal();
        self.check_notices();
        for client in 0..self.clients.len() {
            let last = self.clients[client].judge.session_ids.last().cloned();
            let alive = last.is_some_and(|id| {
                self.system.unacknowledged(&id).is_some() && !self.system.may_have_lost_close(&id)
            });
            if alive {
                self.violated(
                    "a session closed in order is gone",
                    format!("the one of client {client} lives on"),
                );
            }
        }
    }

    /// Counts a fault that came about.
    pub(crate) fn struck(&mut self, fault: Fault) {
        self.facts.faults += 1;
        self.trace.fact(self.now, 9, fault as u64);
        self.coverage.fault(fault.name());
        say!(self.trace, self.now, "fault: {}", fault.name());
    }
}
