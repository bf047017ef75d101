//! Members that mean ill, and drivers that are always late: what must not hold a client for ever.

use std::time::Duration;

use zraft_protocol::{Nonce, ServerMessage, Timestamp};

use crate::{
    fault::Fault,
    mend::Mend,
    net::{Hostile, Line},
    pipe::End,
    sim::{Sim, What},
};

/// A late driver is blocked for this long after each turn, in milliseconds: always over a second.
const BLOCKED: (u64, u64) = (1_050, 2_500);
/// The same, at most.
pub(crate) const MAX_BLOCKED: Duration = Duration::from_millis(BLOCKED.1);
/// The length that a trickled message announces: it never ends.
const TRICKLED: u64 = 60_000;

impl Sim {
    pub(crate) fn strike_hostile(&mut self, fault: Fault) -> bool {
        let Some((line, client)) = self.word_line() else { return false };
        match fault {
            Fault::Captor => {
                // Whoever is connected to it loses the connection, and comes back to it first.
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

    /// The answer to a KeepAlive that was perhaps never sent: its timestamp is guessed.
    fn answer_unasked(&mut self, line: Line, client: usize) {
        let wall = self.clients[client].wall(self.now).as_millis();
        let timestamp = Timestamp::from_millis(wall - self.rng.below(3_000) as i64);
        self.say(line, &ServerMessage::KeepAliveResponse { timestamp });
    }

    fn begins_to_hold(&mut self, line: Line, fault: Fault) -> bool {
        let Some(conn) = self.net.conns.get_mut(&line) else { return false };
        // What the member says by hand begins where its last frame ended.
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

    /// Bytes that no ZMTP engine made.
    fn says_by_hand(&mut self, line: Line, bytes: &[u8]) {
        let Some(conn) = self.net.conns.get_mut(&line) else { return };
        if conn.down.room() < bytes.len() {
            return;
        }
        let way = self.net.paths[conn.client][conn.member].down;
        let at = conn.down.send(self.now, bytes, &way, &mut self.net.rng);
        self.queue.push(at, What::Down(line));
    }

    /// The heartbeat's timeout is never reached: a byte comes before.
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

    /// The member says that it continues the session, and drops the connection then.
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

    /// A connection that a hostile member holds is torn off.
    pub(crate) fn drop_hostile(&mut self, line: Line) {
        let hostile = self.net.conns.get(&line).map(|conn| conn.served.hostile);
        if hostile.is_some_and(|hostile| hostile != Hostile::No) {
            self.ends_stream(line, End::Reset, false);
            self.member_end_gone(line);
        }
    }

    /// The turn of a late driver is over: nothing runs for a while.
    pub(crate) fn block(&mut self, client: usize) {
        let state = &mut self.clients[client];
        if state.late {
            let (low, high) = BLOCKED;
            state.blocked_until = self.now + state.rng.millis(low, high);
            state.judge.late_until = state.blocked_until;
            self.queue.push(state.blocked_until, What::Wake(client));
        }
    }

    /// The driver wakes in time again.
    pub(crate) fn prompt(&mut self, client: usize) {
        let state = &mut self.clients[client];
        state.late = false;
        state.blocked_until = self.now;
        self.dirty[client] = true;
    }
}
