//! A client: its machine, and the driver that carries bytes, actions and time to it.

use std::time::Duration;

use bytes::Buf;
use zraft_core::{
    Action, Completion, ConnEnd, ConnId, Event, Instant, Machine, OpenFailure, ServerRequest,
    StateName,
};
use zraft_protocol::Timestamp;

use crate::{
    judge::{Judge, Meaning},
    net::Line,
    params::ClientPlan,
    pipe::End,
    rng::Rng,
    sim::{Sim, What},
    trace::{ORIGIN, say},
    wire::{Frame, Tap},
};

/// What the driver reads late of a closed connection, it reads within this time.
const LATE_READS: Duration = Duration::from_secs(8);
const WALL: i64 = 1_700_000_000_000;

/// A connection as the driver sees it.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) line: Line,
    id: ConnId,
    sent: Tap,
    received: Tap,
    written: u64,
    /// The machine has closed it; what is read after that is late.
    closed_at: Option<Instant>,
    finish: bool,
    /// The write half was shut, or will be as soon as all is written.
    shut: bool,
}

pub(crate) struct Client {
    pub(crate) index: usize,
    pub(crate) plan: ClientPlan,
    pub(crate) machine: Machine,
    pub(crate) judge: Judge,
    pub(crate) rng: Rng,
    pub(crate) sockets: Vec<Socket>,
    /// Answers of ports.
    pub(crate) opened: Vec<(Line, bool)>,
    pub(crate) armed: Option<Instant>,
    pub(crate) paused: bool,
    /// Its application blocks the driver for more than a second after each turn.
    pub(crate) late: bool,
    /// Until then.
    pub(crate) blocked_until: Instant,
    pub(crate) wall_offset: i64,
    pub(crate) commands_left: usize,
    pub(crate) queries_left: usize,
    pub(crate) number: u64,
    /// The application takes a server request when it can; while false it is busy.
    pub(crate) consuming: bool,
    pub(crate) slow_until: Instant,
    pub(crate) taken: Option<ServerRequest>,
    pub(crate) connecting: bool,
    /// It wants no session any more.
    pub(crate) leaving: bool,
    pub(crate) poison: u32,
    /// Its next turn; others that were meant are not wanted any more.
    pub(crate) works_at: Option<Instant>,
}

impl Client {
    pub(crate) fn new(index: usize, plan: ClientPlan, rng: Rng, now: Instant) -> Self {
        let machine = Machine::new(plan.config.clone(), plan.seed, now);
        let judge = Judge::new(index, &plan.config, now);
        Self {
            index,
            commands_left: plan.commands,
            queries_left: plan.queries,
            plan,
            machine,
            judge,
            rng,
            sockets: Vec::new(),
            opened: Vec::new(),
            armed: None,
            paused: false,
            late: false,
            blocked_until: now,
            wall_offset: 0,
            number: 0,
            consuming: true,
            slow_until: now,
            taken: None,
            connecting: false,
            leaving: false,
            poison: 0,
            works_at: None,
        }
    }

    pub(crate) fn wall(&self, now: Instant) -> Timestamp {
        let since = (now - ORIGIN).as_millis() as i64;
        Timestamp::from_millis(WALL + since + self.wall_offset)
    }

    pub(crate) fn current(&self) -> Option<Line> {
        self.sockets.iter().find(|socket| socket.closed_at.is_none()).map(|socket| socket.line)
    }
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

    /// Does all there is to do at this moment, in a driver's order: what can be read is read before deadlines fire.
    pub(crate) fn turn(&mut self, client: usize) {
        if self.clients[client].paused || self.now < self.clients[client].blocked_until {
            return;
        }
        self.act(client);
        self.openings(client);
        self.read(client);
        let now = self.now;
        self.clients[client].machine.handle_timeout(now);
        self.drain(client);
        self.act(client);
        self.consume(client);
        self.write(client);
        self.drain(client);
        self.act(client);
        self.block(client);
        let state = &mut self.clients[client];
        state.judge.look(now, &state.machine);
        if let Some(at) = state.machine.poll_timeout()
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

    /// What the machine wants done with sockets.
    pub(crate) fn act(&mut self, client: usize) {
        while let Some(action) = self.clients[client].machine.poll_action(self.now) {
            match action {
                Action::Open { conn, member, .. } => {
                    let index = self
                        .engine
                        .index_of(member.as_str())
                        .map_or(0, zraft_test_server::MemberIndex::get);
                    let line = self.net.add(client, conn, index, self.now);
                    let path = *self.net.path(client, index);
                    self.queue.push(self.now + path.up.latency, What::Syn(line));
                    let state = &mut self.clients[client];
                    state.judge.opens(self.now, conn, index);
                    let longest =
                        state.plan.config.max_message_size() + zraft_zmtp::FRAME_ALLOWANCE;
                    state.sockets.push(Socket {
                        line,
                        id: conn,
                        sent: Tap::default(),
                        received: Tap::with_limit(longest),
                        written: 0,
                        closed_at: None,
                        finish: false,
                        shut: false,
                    });
                    self.trace.fact(self.now, 1, index as u64);
                    say!(self.trace, self.now, "client {client} opens {} to {member}", conn.get());
                }
                Action::ShutdownWrite { conn } => {
                    for socket in &mut self.clients[client].sockets {
                        socket.finish |= socket.id == conn;
                        socket.shut |= socket.id == conn;
                    }
                    say!(self.trace, self.now, "client {client} will shut {}", conn.get());
                }
                Action::Close { conn } => self.close(client, conn),
            }
        }
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

    fn openings(&mut self, client: usize) {
        for (line, accepted) in std::mem::take(&mut self.clients[client].opened) {
            let Some(conn) = self.net.conns.get(&line) else { continue };
            let (id, closed) = (conn.id, conn.closed);
            if closed {
                continue;
            }
            let state = &mut self.clients[client];
            if accepted {
                state.judge.opened(self.now, id);
                state.machine.handle_opened(self.now, id);
            } else {
                let name = state.machine.state();
                state.judge.ended(self.now, id, name);
                state.machine.handle_open_failed(self.now, id, OpenFailure::Refused);
            }
            self.trace.fact(self.now, 3, u64::from(accepted));
            self.drain(client);
            self.act(client);
        }
    }

    fn read(&mut self, client: usize) {
        let mut index = 0;
        while index < self.clients[client].sockets.len() {
            while self.read_some(client, index) {}
            index += 1;
        }
    }

    /// Offers a piece of what arrived to the machine. True: there may be more.
    fn read_some(&mut self, client: usize, index: usize) -> bool {
        let state = &mut self.clients[client];
        let socket = &mut state.sockets[index];
        let Some(conn) = self.net.conns.get_mut(&socket.line) else { return false };
        let late = socket.closed_at.is_some();
        let id = socket.id;
        if !conn.open || (late && !state.plan.reads_late) {
            return false;
        }
        let available = conn.down.arrived.len().min(state.plan.pieces);
        if available == 0 {
            if let Some(end) = conn.down.ended
                && !conn.told
            {
                conn.told = true;
                let end = if end == End::Fin { ConnEnd::Eof } else { ConnEnd::Reset };
                say!(self.trace, self.now, "client {client}: {} ended: {end:?}", id.get());
                let name = state.machine.state();
                state.judge.ended(self.now, id, name);
                state.machine.handle_ended(self.now, id, end);
                self.drain(client);
                self.act(client);
            }
            return false;
        }
        let bytes = conn.down.read(available);
        let line = socket.line;
        socket.received.feed(&bytes);
        let mut name = state.machine.state();
        let mut message = socket.received.mid_message();
        while let Some(frame) = socket.received.next() {
            let fits = matches!(frame, Frame::Message(_));
            if let Frame::Message(body) | Frame::TooLong(body) = frame {
                message = true;
                self.trace.fact(self.now, 4, id.get());
                self.trace.bytes(&body);
                if self.trace.words {
                    let said = zraft_protocol::ServerMessage::decode(&body);
                    let late = if late { ", late," } else { "" };
                    say!(
                        self.trace,
                        self.now,
                        "client {client}{late} reads on {}: {said:?}",
                        id.get()
                    );
                }
                match state.judge.received(self.now, id, &body, name, fits) {
                    Meaning::Connected => name = StateName::Connected,
                    Meaning::Over | Meaning::Nothing => {}
                }
            }
        }
        state.judge.bytes(self.now, id, message, bytes.len());
        if let Some(buffer) = state.machine.recv_buffer(id) {
            buffer.extend_from_slice(&bytes);
            state.machine.handle_received(self.now, id);
        }
        self.push_down(line);
        self.drain(client);
        self.act(client);
        true
    }

    /// Writes what the socket takes.
    fn write(&mut self, client: usize) {
        let Some(index) =
            self.clients[client].sockets.iter().position(|socket| socket.closed_at.is_none())
        else {
            return;
        };
        loop {
            let state = &mut self.clients[client];
            let wall = state.wall(self.now);
            let socket = &mut state.sockets[index];
            let (id, line) = (socket.id, socket.line);
            let Some(conn) = self.net.conns.get_mut(&line) else { return };
            if conn.closed {
                return;
            }
            let Some(tx) = state.machine.transmit(self.now, wall, id) else { break };
            if socket.shut && tx.has_remaining() {
                let detail = format!("{} bytes", tx.remaining());
                state.judge.violated("nothing is written after the write half was shut", detail);
                break;
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
            let way = self.net.paths[client][conn.member].up;
            let mut taken = 0;
            while tx.has_remaining() && taken < room {
                let length = tx.chunk().len().min(room - taken);
                let at = conn.up.send(self.now, &tx.chunk()[..length], &way, &mut self.net.rng);
                self.queue.push(at, What::Up(line));
                tx.advance(length);
                taken += length;
            }
            socket.written += taken as u64;
            let written = socket.written;
            let mut frames = Vec::new();
            while let Some(frame) = socket.sent.next() {
                frames.push((frame, total - socket.sent.left() as u64));
            }
            for (frame, end) in frames {
                if let Frame::Message(body) = frame {
                    self.trace.fact(self.now, 5, id.get());
                    self.trace.bytes(&body);
                    if self.trace.words {
                        let said = zraft_protocol::ClientMessage::decode(&body);
                        say!(
                            self.trace,
                            self.now,
                            "client {client} writes on {}: {said:?}",
                            id.get()
                        );
                    }
                    state.judge.sent(self.now, id, &body, end);
                }
            }
            if taken > 0 {
                state.judge.written(self.now, id, written);
                state.machine.handle_written(self.now, id);
            }
            // Encoding may have settled what a disconnect() waits for.
            self.drain(client);
            if taken == 0 {
                break;
            }
        }
        self.act(client);
        let Some(socket) = self.clients[client].sockets.get_mut(index) else { return };
        if std::mem::take(&mut socket.finish)
            && let Some(conn) = self.net.conns.get_mut(&socket.line)
            && !conn.closed
        {
            let way = self.net.paths[client][conn.member].up;
            let at = conn.up.finish(self.now, End::Fin, false, &way, &mut self.net.rng);
            self.queue.push(at, What::Up(socket.line));
        }
    }

    /// Hands out what the machine has to tell.
    pub(crate) fn drain(&mut self, client: usize) {
        let state = &mut self.clients[client];
        let name = state.machine.state();
        while let Some(event) = state.machine.poll_event() {
            self.trace.fact(self.now, 6, event.name().len() as u64);
            if !matches!(
                event,
                Event::ConnectionAttempt { .. } | Event::ServerRequestReceived { .. }
            ) {
                say!(self.trace, self.now, "client {client}: {event:?}");
            }
            state.judge.event(self.now, &event, name);
        }
        while let Some(completion) = state.machine.poll_completion() {
            self.trace.fact(self.now, 7, completion_number(&completion));
            say!(self.trace, self.now, "client {client}: {completion:?}");
            match completion {
                Completion::Connect { .. } => state.connecting = false,
                Completion::Disconnected => {
                    state.connecting &= state.machine.state() != StateName::Disconnected;
                }
                _ => {}
            }
            state.judge.completed(self.now, completion, name);
        }
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
