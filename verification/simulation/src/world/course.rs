//! The course of a run: what happens next, and what follows from it at the same moment.

use zraft_core::Instant;

use crate::world::{calendar::What, sim::Sim, trace::say};

impl Sim {
    /// Enters the plan's events in the calendar.
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
        self.schedule_lists();
        for index in 0..self.raws.len() {
            let at = self.now + self.rng.millis(0, 300);
            self.queue.push(at, What::Raw(index));
        }
        self.after();
    }

    fn moment(&mut self) -> Instant {
        let millis = self.plan.duration.as_millis() as u64;
        self.now + self.rng.millis(50, millis)
    }

    /// Runs to the end, or to the first violation.
    pub(crate) fn run(&mut self) {
        while !self.done && self.violation.is_none() {
            if !self.step() {
                self.violated("the calendar of a run has an end", "nothing happens any more");
            }
        }
    }

    /// Executes the next event. Returns false if there is none.
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
            What::SystemTimer => {
                // A timer that an earlier one has replaced arms nothing: else both would go on side by side.
                if self.system_armed.is_some_and(|armed| armed <= self.now) {
                    self.system_armed = None;
                    self.system.handle_timeout(self.now);
                }
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
            What::Raw(index) => self.raw_turn(index),
            What::RawUp(line, message) => self.raw_up(line, *message),
            What::RawReads(line) => self.raw_reads(line),
            What::RawDown(line, message) => self.raw_down(line, *message),
            What::RawEnd(line) => self.raw_end(line),
            What::Notice => self.notice(),
            What::Fault => self.fault(),
            What::LeaderChange => self.leader_change(),
            What::Members(client, drawn) => self.new_list(client, drawn),
            What::Mend(mend) => self.mend(mend),
            What::Heal => self.heal(),
            What::Check => self.check(),
        }
    }

    /// Does everything that follows at the same moment.
    pub(crate) fn after(&mut self) {
        self.carry_out();
        self.take_members_history();
        for client in 0..self.clients.len() {
            if std::mem::take(&mut self.dirty[client]) {
                self.turn(client);
                if let Some(violation) = self.clients[client].judge.violation.take() {
                    self.violation.get_or_insert(violation);
                }
            }
        }
        if let Some(at) = self.system.poll_timeout()
            && self.system_armed.is_none_or(|armed| at < armed)
        {
            let at = at.max(self.now);
            self.system_armed = Some(at);
            self.queue.push(at, What::SystemTimer);
        }
    }
}
