//! The application of each client: it submits and cancels requests, takes server requests, connects and disconnects.

use std::time::Duration;

use bytes::Bytes;
use zraft_core::{AckServerRequests, Machine, RequestKind, StateName, Timeout};

use crate::world::{calendar::What, plan::POISON, sim::Sim, trace::say};

/// The most server requests of a run: a client that holds few at a time needs a redelivery for each of the others.
const MOST_NOTICES: u64 = 120;

impl Sim {
    /// The application's turn: it seeks a session and submits requests.
    pub(crate) fn work(&mut self, client: usize) {
        let now = self.now;
        let state = &mut self.clients[client];
        if state.leaving || state.works_at.is_some_and(|at| now < at) {
            return;
        }
        if state.paused {
            // The process is stopped: try again later.
            self.works(client, Duration::from_millis(100));
            return;
        }
        self.dirty[client] = true;
        let name = self.rigs[client].machine.state();
        if name == StateName::Disconnected && !state.connecting {
            if self.rng.percent(20) {
                self.submit(client, RequestKind::Query);
            }
            self.connect(client);
        } else if name != StateName::Disconnected && self.rng.percent(2) {
            self.coverage.cell("connect", name);
            self.connect(client);
        }
        let state = &mut self.clients[client];
        let left = state.commands_left + state.queries_left;
        if left == 0 {
            // It has nothing left to submit, but still keeps a session.
            self.works(client, Duration::from_millis(500));
            return;
        }
        let burst = state.rng.range(1, state.plan.burst);
        for _ in 0..burst {
            let state = &mut self.clients[client];
            let left = (state.commands_left + state.queries_left) as u64;
            if left == 0 {
                break;
            }
            let command = state.rng.below(left) < state.commands_left as u64;
            let kind = if command { RequestKind::Command } else { RequestKind::Query };
            if !self.submit(client, kind) {
                break;
            }
        }
        let state = &mut self.clients[client];
        let pause = state.plan.pause.as_micros() as u64;
        let mut pause = state.rng.micros(pause / 2, pause * 3 / 2);
        if self.healing.is_some() {
            pause = pause.min(Duration::from_millis(20));
        }
        self.works(client, pause);
    }

    /// Lets about every second client that is connected submit a request.
    pub(crate) fn clients_show_life(&mut self) {
        for client in 0..self.clients.len() {
            let connected = self.rigs[client].machine.state() == StateName::Connected;
            if connected && !self.clients[client].paused && self.rng.percent(50) {
                let kind = self.rng.pick(&[RequestKind::Command, RequestKind::Query]);
                self.dirty[client] = true;
                self.submit(client, kind);
            }
        }
    }

    /// Sets the application's next turn, in place of any other.
    pub(crate) fn works(&mut self, client: usize, pause: Duration) {
        let at = self.now + pause;
        self.clients[client].works_at = Some(at);
        self.queue.push(at, What::Work(client));
    }

    pub(crate) fn connect(&mut self, client: usize) {
        let state = &mut self.clients[client];
        let name = self.rigs[client].machine.state();
        // In the heal phase every connect() waits for as long as it takes.
        let patience = state.plan.patience.filter(|_| self.healing.is_none());
        self.coverage.cell("connect", name);
        let key = self.rigs[client].machine.connect(self.now, patience);
        state.connecting = true;
        let until = patience.map(|patience| self.now + patience);
        state.judge.connect_called(key, until);
        say!(self.trace, self.now, "client {client}: connect() within {patience:?}");
    }

    /// Submits one request. Returns false if the machine refused it.
    pub(crate) fn submit(&mut self, client: usize, kind: RequestKind) -> bool {
        let state = &mut self.clients[client];
        let name = self.rigs[client].machine.state();
        state.number += 1;
        let poison = state.poison > 0 && kind == RequestKind::Command;
        let mut text = Vec::new();
        if poison {
            text.extend_from_slice(POISON);
        }
        let letter = if kind == RequestKind::Command { 'c' } else { 'q' };
        text.extend_from_slice(format!("{letter}{client}.{}:", state.number).as_bytes());
        let (low, high) = state.plan.payload;
        let length = state.rng.range(low, high) as usize;
        text.resize(length.max(text.len()), state.number as u8);
        let payload = Bytes::from(text);
        let (timeout, patience) = if state.rng.below(100) < state.plan.own_deadlines {
            let after = state.rng.millis(1, 3_000);
            (Timeout::After(after), Some(after))
        } else {
            (Timeout::Default, state.plan.config.request_timeout())
        };
        let event = if kind == RequestKind::Command { "submit_command" } else { "submit_query" };
        self.coverage.cell(event, name);
        match self.rigs[client].machine.submit(self.now, kind, payload.clone(), timeout) {
            Ok(key) => {
                if poison {
                    state.poison -= 1;
                }
                let deadline = patience.map(|patience| self.now + patience);
                state.judge.submitted(key, kind, payload, deadline);
                match kind {
                    RequestKind::Command => {
                        state.commands_left = state.commands_left.saturating_sub(1);
                        self.facts.commands += 1;
                    }
                    RequestKind::Query => {
                        state.queries_left = state.queries_left.saturating_sub(1);
                        self.facts.queries += 1;
                    }
                }
                true
            }
            Err(failure) => {
                self.coverage.count("not taken", failure.code());
                let disconnected = name == StateName::Disconnected;
                let fits = match failure.code() {
                    "NOT_CONNECTED" | "SESSION_EXPIRED" => disconnected,
                    "CLOSED" => state.judge.disconnecting.is_some(),
                    "OVERLOADED" => {
                        let stats = self.rigs[client].machine.stats();
                        stats.queued as usize >= state.plan.config.max_queued()
                    }
                    _ => false,
                };
                if !fits || failure.maybe_executed() {
                    self.violated(
                        "a request is refused only with a reason",
                        format!("{failure:?} while {name:?}"),
                    );
                }
                false
            }
        }
    }

    pub(crate) fn disconnect(&mut self, client: usize, within: Duration) {
        let state = &mut self.clients[client];
        let name = self.rigs[client].machine.state();
        self.coverage.cell("disconnect", name);
        say!(self.trace, self.now, "client {client}: disconnect() within {within:?}");
        state.judge.disconnect_called(self.now, within);
        self.rigs[client].machine.disconnect(self.now, within);
        self.drain(client);
        self.dirty[client] = true;
    }

    /// The application takes the waiting server requests, unless it is busy.
    pub(crate) fn consume(&mut self, client: usize, machine: &mut Machine) {
        let now = self.now;
        let state = &mut self.clients[client];
        if now < state.slow_until {
            return;
        }
        let handled = state.plan.config.ack_server_requests() == AckServerRequests::Handled;
        while state.consuming {
            if let Some(request) = state.taken.take() {
                machine.server_request_done(now, request.request_id);
                state.judge.done(now, request.request_id.get());
            }
            let Some(request) = machine.poll_server_request() else { break };
            self.trace.fact(now, 8, request.request_id.get());
            say!(self.trace, now, "client {client} takes {request:?}");
            state.judge.took(request.request_id.get(), &request.payload);
            let busy = state.plan.consumer.filter(|_| self.healing.is_none());
            if handled {
                state.taken = Some(request);
            } else {
                machine.server_request_done(now, request.request_id);
                state.judge.done(now, request.request_id.get());
            }
            if let Some(busy) = busy {
                state.consuming = false;
                let busy = state.rng.micros(0, busy.as_micros() as u64);
                self.queue.push(now + busy, What::Consume(client));
            }
        }
    }

    /// The cluster's application pushes server requests to a session.
    pub(crate) fn notice(&mut self) {
        let client = self.rng.index(self.clients.len());
        let living = self.clients[client].judge.session_id().map(str::to_owned);
        let session = living.and_then(|id| zraft_protocol::SessionId::new(id).ok());
        let Some(session) = session.filter(|id| self.system.unacknowledged(id.as_str()).is_some())
        else {
            self.queue.push(self.now + Duration::from_millis(700), What::Notice);
            return;
        };
        if self.facts.notices >= MOST_NOTICES {
            return;
        }
        let count = if self.rng.percent(4) { 40 } else { self.rng.range(1, 2) };
        for _ in 0..count {
            self.facts.notices += 1;
            let mut text = format!("n{}", self.facts.notices);
            if self.plan.clients[client].payload.0 > 1000 {
                text.push_str(&"~".repeat(self.rng.index(20_000)));
            }
            let Ok(payload) = zraft_protocol::Payload::new(text) else { continue };
            if self.system.push(self.now, &session, &payload) {
                let pushed = self.pushed.entry(session.as_str().to_owned()).or_default();
                pushed.push(payload.into_bytes());
            }
        }
    }
}
