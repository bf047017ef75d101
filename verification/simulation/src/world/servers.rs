//! The members: their ports and their sockets. The system behind them has their rules.

use std::time::Duration;

use bytes::{Buf, Bytes};
use zraft_protocol::{ClientMessage, ServerMessage};
use zraft_zmtp::{Config, Connection, Event};

use crate::world::{
    calendar::What,
    net::{Conn, Hostile, Line},
    pipe::End,
    raw::FIRST_LINE,
    sim::Sim,
    system::{CloseHow, Listening, Output},
    trace::say,
};

/// A member drops messages to a connection that has more bytes than this waiting: the high-water mark of live members.
const HIGH_WATER: usize = 256 << 10;
/// A lost SYN is sent again after this: TCP's first retransmission timeout.
const SYN_AGAIN: Duration = Duration::from_secs(1);

impl Sim {
    /// A SYN reaches the member's port, which accepts or refuses.
    pub(crate) fn syn(&mut self, line: Line) {
        let Some(conn) = self.net.conns.get(&line) else { return };
        if conn.closed {
            return;
        }
        let path = *self.net.path(conn.client, conn.member);
        let port = self.net.ports[conn.member];
        if path.up.blocked || path.down.blocked {
            self.queue.push(self.now + SYN_AGAIN, What::Syn(line));
            return;
        }
        let accepted = !path.refused && port.listening != Listening::Closed;
        self.queue.push(self.now + path.down.latency, What::SynAck(line, accepted));
    }

    pub(crate) fn syn_ack(&mut self, line: Line, accepted: bool) {
        let Some(conn) = self.net.conns.get_mut(&line) else { return };
        if conn.closed {
            return;
        }
        let client = conn.client;
        self.dirty[client] = true;
        if accepted && self.net.ports[conn.member].listening != Listening::Closed {
            conn.open = true;
            self.clients[client].opened.push_back((line, true));
            self.accept(line);
        } else {
            conn.served.over = true;
            self.clients[client].opened.push_back((line, false));
        }
    }

    /// The member's process accepts a connection from its port, if it accepts any now.
    fn accept(&mut self, line: Line) {
        let Some(conn) = self.net.conns.get_mut(&line) else { return };
        let port = self.net.ports[conn.member];
        if port.listening == Listening::Open && !port.silent && conn.open && !conn.served.accepted {
            conn.served.accepted = true;
            conn.served.zmtp = Connection::new(Config::server(), self.now);
            self.serve(line);
        }
    }

    /// The member accepts all connections that wait at its port.
    pub(crate) fn accept_all(&mut self, member: usize) {
        for line in self.net.lines(None, Some(member)) {
            self.accept(line);
        }
    }

    fn way_is_free(&self, conn: &Conn, up: bool) -> bool {
        let path = self.net.path(conn.client, conn.member);
        let way = if up { path.up } else { path.down };
        !way.blocked && !conn.half_open && (up || !conn.held_back)
    }

    /// Bytes may have arrived at the member.
    pub(crate) fn serve(&mut self, line: Line) {
        let Some(conn) = self.net.conns.get(&line) else { return };
        let free = self.way_is_free(conn, true);
        let Some(conn) = self.net.conns.get_mut(&line) else { return };
        if free {
            conn.up.arrive(self.now);
        }
        if conn.served.over {
            conn.up.discard();
            return;
        }
        // A process that stands still completes no handshake.
        let held = self.net.ports[conn.member].listening == Listening::Held;
        if !conn.served.accepted || !conn.served.reading || (!conn.served.known && held) {
            return;
        }
        let bytes = conn.up.read(conn.up.arrived.len());
        let client = conn.client;
        if !bytes.is_empty() {
            conn.served.zmtp.handle_bytes(self.now, &bytes);
            self.dirty[client] = true;
        }
        match conn.up.ended {
            Some(End::Fin) => conn.served.zmtp.handle_eof(self.now),
            Some(End::Reset) => {
                self.take_messages(line);
                self.gone(line);
                return;
            }
            None => {}
        }
        self.take_messages(line);
        self.push_down(line);
        self.arm_peer(line);
    }

    fn take_messages(&mut self, line: Line) {
        loop {
            let Some(conn) = self.net.conns.get_mut(&line) else { return };
            if conn.served.over || !conn.served.reading {
                return;
            }
            let member = conn.member;
            let Some(event) = conn.served.zmtp.poll_event(self.now) else { return };
            match event {
                Event::Ready(_) => {
                    conn.served.known = self.system.connected(self.now, line, member);
                    if !conn.served.known {
                        self.ends_stream(line, End::Fin, false);
                        return;
                    }
                }
                Event::Message(frame) => self.message(line, member, &frame),
                Event::Failed(_) => {
                    self.ends_stream(line, End::Fin, false);
                    self.gone(line);
                    return;
                }
                _ => {}
            }
            // The system may say that nothing more is read.
            self.carry_out();
        }
    }

    fn message(&mut self, line: Line, member: usize, frame: &Bytes) {
        if !self.system.reads(line) {
            return;
        }
        let Ok(message) = ClientMessage::decode(frame) else {
            self.violated(
                "members understand what they are sent",
                format!("{} bytes", frame.len()),
            );
            return;
        };
        say!(self.trace, self.now, "          member {} reads {message:?}", member + 1);
        if self.poisons(member, &message) {
            return;
        }
        if let ClientMessage::CreateSession { nonce, .. }
        | ClientMessage::ContinueSession { nonce, .. } = &message
        {
            if std::mem::take(&mut self.reject_next) {
                let nonce = *nonce;
                self.reject(line, nonce);
                return;
            }
            if self.stray_next > 0 {
                self.stray_next -= 1;
                if let Some(client) = self.net.conns.get(&line).map(|conn| conn.client) {
                    for _ in 0..3 {
                        let message = self.stray(client);
                        self.say(line, &message);
                    }
                }
            }
        }
        if let ClientMessage::ContinueSession { nonce, .. } = &message
            && self.captor == Some(member)
        {
            let nonce = *nonce;
            self.capture(line, nonce);
            return;
        }
        self.system.received(self.now, line, message);
    }

    /// The member's end of the connection is gone.
    fn gone(&mut self, line: Line) {
        let Some(conn) = self.net.conns.get_mut(&line) else { return };
        conn.served.over = true;
        conn.up.discard();
        if std::mem::take(&mut conn.served.known) {
            self.system.disconnected(self.now, line);
        }
        self.net.forget(line);
    }

    /// The member ends its direction of the stream.
    pub(crate) fn ends_stream(&mut self, line: Line, end: End, losing: bool) {
        self.push_down(line);
        let Some(conn) = self.net.conns.get_mut(&line) else { return };
        if conn.down.is_ended() {
            return;
        }
        conn.served.over = true;
        let way = self.net.paths[conn.client][conn.member].down;
        let at = conn.down.finish(self.now, end, losing, &way, &mut self.net.rng);
        self.queue.push(at, What::Down(line));
    }

    /// Carries out the system's outputs.
    pub(crate) fn carry_out(&mut self) {
        while let Some(output) = self.system.poll_output() {
            match output {
                Output::Send { line, message } if line >= FIRST_LINE => {
                    self.raw_told(line, message);
                }
                Output::Close { line, how } if line >= FIRST_LINE => self.raw_closed(line, how),
                Output::Send { line, message } => self.say(line, &message),
                Output::Close { line, how } => {
                    if let Some(conn) = self.net.conns.get_mut(&line) {
                        conn.served.known = false;
                    }
                    match how {
                        CloseHow::Flush => self.ends_stream(line, End::Fin, false),
                        CloseHow::Reset => {
                            let losing = self.rng.percent(50);
                            self.ends_stream(line, End::Reset, losing);
                        }
                    }
                    self.serve(line);
                }
                Output::StopReading { line } => {
                    if let Some(conn) = self.net.conns.get_mut(&line) {
                        conn.served.reading = false;
                    }
                }
                Output::ResumeReading { line } if line >= FIRST_LINE => {
                    self.queue.push(self.now, What::RawReads(line));
                }
                Output::ResumeReading { line } => {
                    if let Some(conn) = self.net.conns.get_mut(&line) {
                        conn.served.reading = true;
                        self.queue.push(self.now, What::Up(line));
                    }
                }
                Output::Listen { member, listening } => self.listen(member, listening),
            }
        }
    }

    fn listen(&mut self, member: usize, listening: Listening) {
        self.net.ports[member].listening = listening;
        match listening {
            Listening::Open => {
                self.accept_all(member);
                for line in self.net.lines(None, Some(member)) {
                    self.queue.push(self.now, What::Up(line));
                }
            }
            Listening::Held => {}
            Listening::Closed => {
                // Connections that are not peers yet end with the process.
                for line in self.net.lines(None, Some(member)) {
                    let conn = &self.net.conns[&line];
                    if conn.open && !conn.served.known && !conn.served.over {
                        self.ends_stream(line, End::Reset, true);
                    }
                }
            }
        }
    }

    /// A member sends a message on a connection.
    pub(crate) fn say(&mut self, line: Line, message: &ServerMessage) {
        let mut frame = Vec::with_capacity(message.encoded_len());
        message.encode(&mut frame);
        self.say_bytes(line, &frame);
    }

    pub(crate) fn say_bytes(&mut self, line: Line, frame: &[u8]) {
        let Some(conn) = self.net.conns.get_mut(&line) else { return };
        if conn.served.over {
            return;
        }
        if conn.served.zmtp.tx_queued() > HIGH_WATER {
            self.coverage.fault("message dropped at a full pipe");
            return;
        }
        if conn.served.zmtp.send(frame).is_ok() {
            self.push_down(line);
        }
    }

    /// Sends what the member wrote, as far as there is room.
    pub(crate) fn push_down(&mut self, line: Line) {
        let Some(conn) = self.net.conns.get_mut(&line) else { return };
        if conn.served.hostile == Hostile::Trickles {
            return;
        }
        let way = self.net.paths[conn.client][conn.member].down;
        let tx = conn.served.zmtp.tx();
        let mut last = None;
        while tx.has_remaining() {
            let room = conn.down.room();
            if room == 0 {
                break;
            }
            let chunk = tx.chunk();
            let length = chunk.len().min(room);
            last = Some(conn.down.send(self.now, &chunk[..length], &way, &mut self.net.rng));
            tx.advance(length);
        }
        if let Some(at) = last {
            self.queue.push(at, What::Down(line));
        }
    }

    /// Bytes may have arrived at the client.
    pub(crate) fn arrives(&mut self, line: Line) {
        let Some(conn) = self.net.conns.get(&line) else { return };
        let free = self.way_is_free(conn, false);
        let Some(conn) = self.net.conns.get_mut(&line) else { return };
        if free && conn.down.arrive(self.now) {
            self.dirty[conn.client] = true;
        }
    }

    fn arm_peer(&mut self, line: Line) {
        let Some(conn) = self.net.conns.get_mut(&line) else { return };
        if conn.served.over {
            return;
        }
        if let Some(at) = conn.served.zmtp.poll_timeout()
            && conn.served.armed.is_none_or(|armed| at < armed)
        {
            conn.served.armed = Some(at);
            self.queue.push(at, What::PeerTimer(line));
        }
    }

    pub(crate) fn peer_timer(&mut self, line: Line) {
        let Some(conn) = self.net.conns.get_mut(&line) else { return };
        conn.served.armed = None;
        if conn.served.over || !conn.served.accepted {
            return;
        }
        if conn.served.reading {
            conn.served.zmtp.handle_timeout(self.now);
            self.take_messages(line);
            self.push_down(line);
            self.arm_peer(line);
        } else {
            // The process stands still. Look again later.
            let at = self.now + Duration::from_secs(1);
            conn.served.armed = Some(at);
            self.queue.push(at, What::PeerTimer(line));
        }
    }

    /// A path changed: bytes that waited may arrive.
    pub(crate) fn knock(&mut self, client: Option<usize>, member: Option<usize>) {
        for line in self.net.lines(client, member) {
            self.queue.push(self.now, What::Up(line));
            self.queue.push(self.now, What::Down(line));
        }
    }
}
