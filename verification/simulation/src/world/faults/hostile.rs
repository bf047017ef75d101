//! Hostile members and drivers that always wake late. Neither may hold a client forever.

use zraft_protocol::{Nonce, ServerMessage, Timestamp};

use crate::{
    judge::LATEST_WAKE,
    world::{
        calendar::{Mend, What},
        fault::Fault,
        net::{Hostile, Line},
        pipe::End,
        sim::Sim,
    },
};

/// A late driver is blocked for at least this many milliseconds after each turn. The machine takes a wake that is more than a
/// second late for the end of a stop.
const EARLIEST_WAKE: u64 = 1_050;
/// The length that a trickled message announces: too long for it ever to be complete.
const TRICKLED: u64 = 60_000;

impl Sim {
    pub(crate) fn strike_hostile(&mut self, fault: Fault) -> bool {
        let Some((line, client)) = self.word_line() else { return false };
        match fault {
            Fault::Captor => {
                // Its client loses the connection, and asks this member first.
                self.captor = self.net.conns.get(&line).map(|conn| conn.member);
                self.ends_stream(line, End::Reset, false);
                self.member_end_gone(line);
                self.later(3_000, 20_000, Mend::Free);
            }
            Fault::Unsolicited => {
                for _ in 0..self.rng.range(1, 20) {
                    self.answer_unasked(line, client);
                }
            }
            _ => return self.begins_to_hold(line, fault),
        }
        true
    }

    /// Answers a KeepAlive that was perhaps never sent: the timestamp is a guess.
    fn answer_unasked(&mut self, line: Line, client: usize) {
        let wall = self.clients[client].wall(self.now).as_millis();
        let timestamp = Timestamp::from_millis(wall - self.rng.below(3_000) as i64);
        self.say(line, &ServerMessage::KeepAliveResponse { timestamp });
    }

    fn begins_to_hold(&mut self, line: Line, fault: Fault) -> bool {
        let Some(conn) = self.net.conns.get_mut(&line) else { return false };
        // The raw bytes must begin where the member's last frame ended.
        if conn.served.hostile != Hostile::No || conn.served.zmtp.tx_queued() > 0 {
            return false;
        }
        if fault == Fault::NotReading {
            conn.served.hostile = Hostile::NotReading;
            conn.served.reading = false;
            conn.up.stuffed = true;
        } else {
            conn.served.hostile = Hostile::Trickles;
            let mut head = vec![2];
            head.extend_from_slice(&TRICKLED.to_be_bytes());
            self.says_by_hand(line, &head);
        }
        self.later(10, 100, Mend::Murmur(line));
        self.later(8_000, 30_000, Mend::Drop(line));
        true
    }

    /// Sends raw bytes.
    fn says_by_hand(&mut self, line: Line, bytes: &[u8]) {
        let Some(conn) = self.net.conns.get_mut(&line) else { return };
        if conn.down.room() < bytes.len() {
            return;
        }
        let way = self.net.paths[conn.client][conn.member].down;
        let at = conn.down.send(self.now, bytes, &way, &mut self.net.rng);
        self.queue.push(at, What::Down(line));
    }

    /// Sends a little before the heartbeat timeout passes, so that it never does.
    pub(crate) fn murmur(&mut self, line: Line) {
        let Some(conn) = self.net.conns.get(&line) else { return };
        if conn.closed || conn.served.over {
            return;
        }
        let wait = self.clients[conn.client].plan.config.heartbeat_timeout() / 3;
        match conn.served.hostile {
            Hostile::NotReading => self.says_by_hand(line, b"\x04\x05\x04PONG"),
            Hostile::Trickles => self.says_by_hand(line, &[0]),
            Hostile::No | Hostile::Captor => return,
        }
        self.queue.push(self.now + wait, What::Mend(Mend::Murmur(line)));
    }

    /// The member continues the session and then drops the connection.
    pub(crate) fn capture(&mut self, line: Line, nonce: Nonce) {
        self.say(line, &ServerMessage::SessionContinued { nonce });
        let Some(conn) = self.net.conns.get_mut(&line) else { return };
        let client = conn.client;
        conn.served.hostile = Hostile::Captor;
        conn.served.reading = false;
        if self.rng.percent(50) {
            self.answer_unasked(line, client);
        }
        let holds = self.rng.pick(&[0, 0, 10, 1_000]);
        self.later(0, holds, Mend::Drop(line));
    }

    /// Resets a connection that a hostile member holds.
    pub(crate) fn drop_hostile(&mut self, line: Line) {
        let hostile = self.net.conns.get(&line).map(|conn| conn.served.hostile);
        if hostile.is_some_and(|hostile| hostile != Hostile::No) {
            self.ends_stream(line, End::Reset, false);
            self.member_end_gone(line);
        }
    }

    /// Blocks a late driver for a while after its turn.
    pub(crate) fn block(&mut self, client: usize) {
        let state = &mut self.clients[client];
        if state.late {
            let blocked = state.rng.millis(EARLIEST_WAKE, LATEST_WAKE.as_millis() as u64);
            state.blocked_until = self.now + blocked;
            state.judge.wakes_late(state.blocked_until);
            self.queue.push(state.blocked_until, What::Wake(client));
        }
    }

    /// The driver no longer wakes late.
    pub(crate) fn prompt(&mut self, client: usize) {
        let state = &mut self.clients[client];
        state.late = false;
        state.blocked_until = self.now;
        state.judge.wakes_in_time(self.now);
        self.dirty[client] = true;
    }
}
