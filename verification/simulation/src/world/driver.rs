//! The driver of each client: it carries bytes, actions and time between the machine and the network, and shows the judge
//! everything that passes.

use std::time::Duration;

use bytes::Buf;
use zraft_core::{
    Action, Completion, ConnEnd, ConnId, Event, Instant, Machine, OpenFailure, StateName, TxBuffer,
};
use zraft_protocol::Timestamp;
use zraft_rig::{Host, Input};

use crate::{
    judge::{
        Meaning, Read,
        frames::{Frame, Tap},
    },
    world::{calendar::What, client::Socket, pipe::End, sim::Sim, trace::say},
};

/// What the driver reads late of a closed connection, it reads within this time.
const LATE_READS: Duration = Duration::from_secs(8);

/// A client's side of the simulation, as its machine's drive loop sees it.
struct Seat<'a> {
    sim: &'a mut Sim,
    client: usize,
}

impl Sim {
    /// The process runs again.
    pub(crate) fn resume(&mut self, client: usize) {
        let paused = std::mem::take(&mut self.clients[client].paused);
        if paused {
            say!(self.trace, self.now, "client {client} runs again");
            self.clients[client].judge.runs_again(self.now);
            self.dirty[client] = true;
        }
    }

    /// Runs one turn of a client's driver, unless its process is stopped or blocked.
    pub(crate) fn turn(&mut self, client: usize) {
        if self.clients[client].paused || self.now < self.clients[client].blocked_until {
            return;
        }
        let now = self.now;
        // The rigs stand apart from the clients while one of them drives the rest of the simulation.
        let mut rigs = std::mem::take(&mut self.rigs);
        rigs[client].turn(now, &mut Seat { sim: self, client });
        self.rigs = rigs;
        self.end_stream(client);
        self.block(client);
        let machine = &self.rigs[client].machine;
        self.clients[client].judge.look(now, machine);
        let state = &mut self.clients[client];
        if let Some(at) = self.rigs[client].next_wake()
            && state.armed.is_none_or(|armed| at < armed)
        {
            let at = at.max(now);
            state.armed = Some(at);
            self.queue.push(at, What::Wake(client));
        }
        let net = &mut self.net;
        state.sockets.retain(|socket| {
            let late = state.plan.reads_late;
            let keep = socket.closed_at.is_none_or(|at| {
                late && now < at + LATE_READS && net.conns.contains_key(&socket.line)
            });
            if !keep && let Some(conn) = net.conns.get_mut(&socket.line) {
                conn.down.discard();
                net.forget(socket.line);
            }
            keep
        });
    }

    /// Hands out what the machine has to report, outside a turn.
    pub(crate) fn drain(&mut self, client: usize) {
        let now = self.now;
        let mut rigs = std::mem::take(&mut self.rigs);
        rigs[client].report(now, &mut Seat { sim: self, client });
        self.rigs = rigs;
    }

    /// Ends the stream of a socket whose write half the machine shuts, once all is written.
    fn end_stream(&mut self, client: usize) {
        for socket in &mut self.clients[client].sockets {
            if socket.closed_at.is_none()
                && std::mem::take(&mut socket.finish)
                && let Some(conn) = self.net.conns.get_mut(&socket.line)
                && !conn.closed
            {
                let way = self.net.paths[client][conn.member].up;
                let at = conn.up.finish(self.now, End::Fin, false, &way, &mut self.net.rng);
                self.queue.push(at, What::Up(socket.line));
            }
        }
    }

    fn open(&mut self, client: usize, id: ConnId, index: usize) {
        let line = self.net.add(client, id, index, self.now);
        let path = *self.net.path(client, index);
        self.queue.push(self.now + path.up.latency, What::Syn(line));
        let state = &mut self.clients[client];
        state.judge.opens(self.now, id, index);
        let longest = state.plan.config.max_message_size() + zraft_zmtp::FRAME_ALLOWANCE;
        state.sockets.push(Socket {
            line,
            id,
            sent: Tap::default(),
            received: Tap::with_limit(longest),
            written: 0,
            closed_at: None,
            finish: false,
            shut: false,
        });
        self.trace.fact(self.now, 1, index as u64);
    }

    fn close(&mut self, client: usize, id: ConnId) {
        say!(self.trace, self.now, "client {client} closes {}", id.get());
        self.trace.fact(self.now, 2, id.get());
        let state = &mut self.clients[client];
        state.judge.closes(self.now, id);
        let Some(socket) = state.sockets.iter_mut().find(|socket| socket.id == id) else { return };
        socket.closed_at = Some(self.now);
        let line = socket.line;
        let Some(conn) = self.net.conns.get_mut(&line) else { return };
        conn.closed = true;
        conn.told = true;
        if !conn.open {
            conn.served.over = true;
        } else if !conn.up.is_ended() {
            // Unread bytes make a reset of it, and a reset loses what is under way.
            let unread = !conn.down.arrived.is_empty();
            let end = if unread { End::Reset } else { End::Fin };
            let way = self.net.paths[client][conn.member].up;
            let at = conn.up.finish(self.now, end, unread, &way, &mut self.net.rng);
            self.queue.push(at, What::Up(line));
        }
        self.net.forget(line);
    }

    /// What a port said of a connection that the client asked for.
    fn opening(&mut self, client: usize, machine: &Machine) -> Option<Input> {
        while let Some((line, accepted)) = self.clients[client].opened.pop_front() {
            let Some(conn) = self.net.conns.get(&line).filter(|conn| !conn.closed) else {
                continue;
            };
            let id = conn.id;
            self.trace.fact(self.now, 3, u64::from(accepted));
            let judge = &mut self.clients[client].judge;
            if accepted {
                judge.opened(self.now, id);
                return Some(Input::Opened(id));
            }
            judge.ended(self.now, id, machine.state());
            return Some(Input::OpenFailed(id, OpenFailure::Refused));
        }
        None
    }

    /// A piece of what arrived on this socket, or its end.
    fn arrival(&mut self, client: usize, index: usize, machine: &Machine) -> Option<Input> {
        let state = &mut self.clients[client];
        let socket = &mut state.sockets[index];
        let conn = self.net.conns.get_mut(&socket.line)?;
        let late = socket.closed_at.is_some();
        let (id, line) = (socket.id, socket.line);
        if !conn.open || (late && !state.plan.reads_late) {
            return None;
        }
        let available = conn.down.arrived.len().min(state.plan.pieces);
        if available == 0 {
            let end = conn.down.ended.filter(|_| !conn.told)?;
            conn.told = true;
            let end = if end == End::Fin { ConnEnd::Eof } else { ConnEnd::Reset };
            say!(self.trace, self.now, "client {client}: {} ended: {end:?}", id.get());
            state.judge.ended(self.now, id, machine.state());
            return Some(Input::Ended(id, end));
        }
        let bytes = conn.down.read(available);
        let mid_message = socket.received.mid_message();
        let before = socket.received.message_bytes;
        socket.received.feed(&bytes);
        let mut name = machine.state();
        while let Some(frame) = state.sockets[index].received.next() {
            let fits = matches!(frame, Frame::Message(_));
            let (Frame::Message(body) | Frame::TooLong(body)) = frame else { continue };
            self.trace.fact(self.now, 4, id.get());
            self.trace.bytes(&body);
            if self.trace.words {
                let said = zraft_protocol::ServerMessage::decode(&body);
                let late = if late { ", late," } else { "" };
                say!(self.trace, self.now, "client {client}{late} reads on {}: {said:?}", id.get());
            }
            match state.judge.received(self.now, id, &body, name, fits) {
                Meaning::Connected => name = StateName::Connected,
                Meaning::Over | Meaning::Nothing => {}
            }
        }
        let tap = &state.sockets[index].received;
        let read = Read {
            mid_message,
            message_bytes: tap.message_bytes - before,
            ends_mid_message: tap.mid_message(),
        };
        say!(self.trace, self.now, "client {client} reads {} bytes: {read:?}", bytes.len());
        state.judge.bytes(self.now, id, read);
        self.push_down(line);
        Some(Input::Received(id, bytes))
    }
}

impl Host for Seat<'_> {
    fn act(&mut self, now: Instant, action: Action) {
        let (sim, client) = (&mut *self.sim, self.client);
        match action {
            Action::Open { conn, member, endpoint } => {
                say!(sim.trace, now, "client {client} opens {} to {member}", conn.get());
                if let Some(index) = sim.clients[client].judge.dials(&member, &endpoint) {
                    sim.open(client, conn, index);
                }
            }
            Action::ShutdownWrite { conn } => {
                for socket in &mut sim.clients[client].sockets {
                    socket.finish |= socket.id == conn;
                    socket.shut |= socket.id == conn;
                }
                say!(sim.trace, now, "client {client} will shut {}", conn.get());
            }
            Action::Close { conn } => sim.close(client, conn),
        }
    }

    fn input(&mut self, _: Instant, machine: &Machine) -> Option<Input> {
        let client = self.client;
        let input = self.sim.opening(client, machine).or_else(|| {
            let sockets = self.sim.clients[client].sockets.len();
            (0..sockets).find_map(|index| self.sim.arrival(client, index, machine))
        });
        if input.is_none() {
            self.sim.clients[client].judge.all_was_read(self.sim.now);
        }
        input
    }

    fn sockets(&self) -> Vec<ConnId> {
        let open = |socket: &&Socket| {
            let conn = self.sim.net.conns.get(&socket.line);
            socket.closed_at.is_none() && conn.is_some_and(|conn| !conn.closed)
        };
        self.sim.clients[self.client].sockets.iter().filter(open).map(|socket| socket.id).collect()
    }

    fn wall(&self, now: Instant) -> Timestamp {
        self.sim.clients[self.client].wall(now)
    }

    fn write(&mut self, now: Instant, id: ConnId, tx: &mut TxBuffer) -> usize {
        let (sim, client) = (&mut *self.sim, self.client);
        let state = &mut sim.clients[client];
        let Some(socket) = state.sockets.iter_mut().find(|socket| socket.id == id) else {
            return 0;
        };
        let Some(conn) = sim.net.conns.get_mut(&socket.line) else { return 0 };
        if socket.shut && tx.has_remaining() {
            let detail = format!("{} bytes", tx.remaining());
            state.judge.violated("nothing is written after the write half was shut", detail);
            return 0;
        }
        // What was encoded just now stands at the end of it.
        let total = socket.written + tx.remaining() as u64;
        let mut skip = tx.remaining().saturating_sub((total - socket.sent.seen) as usize);
        let mut slices = [std::io::IoSlice::new(&[]); 256];
        let count = tx.chunks_vectored(&mut slices);
        for slice in &slices[..count] {
            let from = skip.min(slice.len());
            skip -= from;
            socket.sent.feed(&slice[from..]);
        }
        debug_assert_eq!(socket.sent.seen, total, "all of it is seen");
        let room = conn.up.room();
        let way = sim.net.paths[client][conn.member].up;
        let mut taken = 0;
        while tx.has_remaining() && taken < room {
            let length = tx.chunk().len().min(room - taken);
            let at = conn.up.send(now, &tx.chunk()[..length], &way, &mut sim.net.rng);
            sim.queue.push(at, What::Up(socket.line));
            tx.advance(length);
            taken += length;
        }
        socket.written += taken as u64;
        let written = socket.written;
        while let Some(frame) = socket.sent.next() {
            let end = total - socket.sent.left() as u64;
            let Frame::Message(body) = frame else { continue };
            sim.trace.fact(now, 5, id.get());
            sim.trace.bytes(&body);
            if sim.trace.words {
                let said = zraft_protocol::ClientMessage::decode(&body);
                say!(sim.trace, now, "client {client} writes on {}: {said:?}", id.get());
            }
            state.judge.sent(now, id, &body, end);
        }
        if taken > 0 {
            state.judge.written(now, id, written);
        }
        taken
    }

    fn event(&mut self, now: Instant, machine: &Machine, event: Event) {
        let (sim, client) = (&mut *self.sim, self.client);
        sim.trace.fact(now, 6, event.name().len() as u64);
        let loud =
            matches!(event, Event::ConnectionAttempt { .. } | Event::ServerRequestReceived { .. });
        if !loud {
            say!(sim.trace, now, "client {client}: {event:?}");
        }
        sim.clients[client].judge.event(now, &event, machine.state());
    }

    fn completion(&mut self, now: Instant, machine: &Machine, completion: Completion) {
        let (sim, client) = (&mut *self.sim, self.client);
        sim.trace.fact(now, 7, completion_number(&completion));
        say!(sim.trace, now, "client {client}: {completion:?}");
        let state = &mut sim.clients[client];
        match completion {
            Completion::Connect { .. } => state.connecting = false,
            Completion::Disconnected => {
                state.connecting &= machine.state() != StateName::Disconnected;
            }
            _ => {}
        }
        state.judge.completed(now, completion, machine.state());
    }

    fn application(&mut self, now: Instant, machine: &mut Machine) {
        debug_assert_eq!(now, self.sim.now);
        self.sim.clients[self.client].judge.time_passed(now, machine);
        self.sim.consume(self.client, machine);
    }
}

fn completion_number(completion: &Completion) -> u64 {
    match completion {
        Completion::Request { result, .. } => 1 + u64::from(result.is_ok()),
        Completion::Resolution { result, .. } => 3 + u64::from(result.is_ok()),
        Completion::Connect { result, .. } => 5 + u64::from(result.is_ok()),
        Completion::Ping { result, .. } => 7 + u64::from(result.is_ok()),
        Completion::Disconnected => 9,
    }
}
