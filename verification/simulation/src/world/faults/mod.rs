//! How each fault comes about, and how it ends.

mod ends;
mod hostile;
mod messages;

use zraft_protocol::{RejectionReason, ServerMessage};

use crate::world::{
    calendar::{Mend, What},
    fault::Fault,
    net::Line,
    pipe::End,
    sim::Sim,
    system::Listening,
    trace::say,
};

impl Sim {
    pub(crate) fn fault(&mut self) {
        if self.healing.is_some() {
            return;
        }
        // A seed that drew no faults may have any.
        let fault = if self.plan.faults.is_empty() {
            self.any_fault()
        } else {
            self.plan.faults[self.rng.index(self.plan.faults.len())]
        };
        if self.strike(fault) {
            self.struck(fault);
        } else {
            // This one is not possible now. Try another one soon.
            let at = self.now + self.rng.millis(10, 300);
            self.queue.push(at, What::Fault);
        }
    }

    fn any_fault(&mut self) -> Fault {
        let faults: Vec<Fault> = Fault::of(self.system.kind()).map(|(fault, _)| fault).collect();
        faults[self.rng.index(faults.len())]
    }

    /// Brings about a change of leadership.
    pub(crate) fn leader_change(&mut self) {
        if self.healing.is_some() {
            return;
        }
        if let Some(fault) = self.change_leader() {
            self.struck(fault);
        } else {
            let at = self.now + self.rng.millis(200, 800);
            self.queue.push(at, What::LeaderChange);
        }
    }

    pub(crate) fn later(&mut self, low: u64, high: u64, mend: Mend) {
        let at = self.now + self.rng.millis(low, high);
        self.queue.push(at, What::Mend(mend));
    }

    /// Picks the leader most of the time, else any member.
    pub(crate) fn some_member(&mut self) -> usize {
        match self.system.leader() {
            Some(leader) if self.rng.percent(70) => leader,
            _ => self.rng.index(self.members),
        }
    }

    pub(crate) fn some_client(&mut self) -> usize {
        self.rng.index(self.clients.len())
    }

    /// A client's present connection, open at both ends.
    pub(crate) fn some_line(&mut self) -> Option<Line> {
        let client = self.some_client();
        let line = self.clients[client].current()?;
        let conn = self.net.conns.get(&line)?;
        (conn.open && !conn.served.over && !conn.closed).then_some(line)
    }

    /// Brings the fault about. Returns true if that was possible.
    fn strike(&mut self, fault: Fault) -> bool {
        match fault {
            Fault::Reset
            | Fault::ResetLosingBytes
            | Fault::Eof
            | Fault::EofLosingBytes
            | Fault::HalfOpen
            | Fault::LateBytes => self.strike_line(fault),
            Fault::Stall
            | Fault::Partition
            | Fault::BlockedToServer
            | Fault::BlockedToClient
            | Fault::SlowLink
            | Fault::Latency
            | Fault::Refused
            | Fault::SilentAccept => self.strike_ways(fault),
            Fault::RejectForGood
            | Fault::SessionClosedInWords
            | Fault::StrayMessages
            | Fault::Undecodable
            | Fault::TooLong => self.strike_words(fault),
            Fault::NotReading | Fault::Trickle => self.strike_hostile(fault),
            Fault::Captor | Fault::Unsolicited => self.strike_hostile(fault),
            Fault::ClientPause
            | Fault::LateDriver
            | Fault::WallJump
            | Fault::Cancel
            | Fault::Reconnect
            | Fault::SlowConsumer
            | Fault::Ping
            | Fault::Poison => self.strike_client(fault),
            _ => self.strike_system(fault),
        }
    }

    fn strike_line(&mut self, fault: Fault) -> bool {
        let Some(line) = self.some_line() else { return false };
        let losing = matches!(fault, Fault::ResetLosingBytes | Fault::EofLosingBytes);
        match fault {
            Fault::LateBytes => {
                // Hold back the answers to a young session, until the next session waits for answers with the same ids.
                let client = self.net.conns.get(&line).map_or(0, |conn| conn.client);
                if self.clients[client].paused {
                    return false;
                }
                self.mend(Mend::Renew(client));
                self.later(100, 600, Mend::HoldBack(client));
            }
            Fault::HalfOpen => {
                if let Some(conn) = self.net.conns.get_mut(&line) {
                    conn.half_open = true;
                }
                self.later(1_000, 20_000, Mend::Line(line));
            }
            _ => {
                let end = if matches!(fault, Fault::Reset | Fault::ResetLosingBytes) {
                    End::Reset
                } else {
                    End::Fin
                };
                self.ends_stream(line, end, losing);
                self.member_end_gone(line);
            }
        }
        true
    }

    fn strike_ways(&mut self, fault: Fault) -> bool {
        let client = if self.rng.percent(50) { None } else { Some(self.some_client()) };
        let member = self.some_member();
        if fault == Fault::SilentAccept {
            self.net.ports[member].silent = true;
            // Cut its connections, so that clients come to its port.
            self.cut_connections(member);
            self.later(500, 8_000, Mend::Silent(member));
            return true;
        }
        let rate = if self.plan.clients[0].payload.0 > 1000 {
            self.rng.range(20_000, 200_000)
        } else {
            self.rng.range(500, 20_000)
        };
        let latency = self.rng.millis(50, 900);
        for (index, paths) in self.net.paths.iter_mut().enumerate() {
            if client.is_some_and(|client| client != index) {
                continue;
            }
            let path = &mut paths[member];
            match fault {
                Fault::Stall | Fault::Partition => {
                    (path.up.blocked, path.down.blocked) = (true, true);
                }
                Fault::BlockedToServer => path.up.blocked = true,
                Fault::BlockedToClient => path.down.blocked = true,
                Fault::SlowLink => (path.up.rate, path.down.rate) = (Some(rate), Some(rate)),
                Fault::Latency => (path.up.latency, path.down.latency) = (latency, latency * 2),
                Fault::Refused => path.refused = true,
                _ => {}
            }
        }
        if fault == Fault::Refused {
            self.cut_connections(member);
        }
        let (low, high) = match fault {
            Fault::Stall => (20, 900),
            _ => (1_000, 15_000),
        };
        self.later(low, high, Mend::Paths(client, Some(member)));
        true
    }

    /// The member's end of a connection is gone.
    pub(crate) fn member_end_gone(&mut self, line: Line) {
        let Some(conn) = self.net.conns.get_mut(&line) else { return };
        conn.up.discard();
        if std::mem::take(&mut conn.served.known) {
            self.system.disconnected(self.now, line);
        }
    }

    fn strike_client(&mut self, fault: Fault) -> bool {
        let client = self.some_client();
        match fault {
            Fault::ClientPause => {
                if self.clients[client].paused {
                    return false;
                }
                self.clients[client].paused = true;
                self.clients[client].judge.stops(self.now);
                let at = self.now + self.rng.millis(100, 15_000);
                self.queue.push(at, What::Resume(client));
                say!(self.trace, self.now, "client {client} is stopped");
            }
            Fault::LateDriver => {
                if self.clients[client].late {
                    return false;
                }
                self.clients[client].late = true;
                self.later(5_000, 30_000, Mend::Prompt(client));
            }
            Fault::WallJump => {
                let hours = self.rng.range(1, 48) as i64 * 3_600_000;
                let back = self.rng.percent(60);
                self.clients[client].wall_offset += if back { -hours } else { hours };
            }
            _ if self.clients[client].paused => return false,
            Fault::Cancel => {
                for _ in 0..self.rng.range(1, 20) {
                    let back = self.rng.index(30);
                    let state = &mut self.clients[client];
                    if let Some(key) = state.judge.cancel(back) {
                        self.rigs[client].machine.cancel(self.now, key);
                    }
                }
            }
            Fault::Reconnect => {
                let within = self.rng.millis(0, 5_000);
                self.disconnect(client, within);
                if self.rng.percent(70) {
                    self.drain(client);
                    self.connect(client);
                    if self.rng.percent(30) {
                        let within = self.rng.millis(0, 5_000);
                        self.disconnect(client, within);
                    }
                }
            }
            Fault::SlowConsumer => {
                let until = self.now + self.rng.millis(1_000, 15_000);
                self.clients[client].slow_until = until;
                self.queue.push(until, What::Consume(client));
                for _ in 0..6 {
                    self.queue.push(self.now, What::Notice);
                }
            }
            Fault::Poison => self.clients[client].poison += 1,
            _ => {
                let key = self.rigs[client].machine.ping(self.now);
                self.clients[client].judge.pings(key);
            }
        }
        // A late driver's next turn may be far off, so hand out reports now.
        self.drain(client);
        self.dirty[client] = true;
        true
    }

    /// Picks a connection on which a member can send a message, and its client.
    pub(crate) fn word_line(&mut self) -> Option<(Line, usize)> {
        let line = self.some_line()?;
        let conn = self.net.conns.get(&line)?;
        let ready = conn.served.zmtp.is_ready();
        let lives = self.net.ports[conn.member].listening == Listening::Open;
        (ready && lives).then_some((line, conn.client))
    }

    /// A member rejects the session of a connection permanently.
    pub(crate) fn reject(&mut self, line: Line, nonce: zraft_protocol::Nonce) {
        let reason = self.rng.pick(&[RejectionReason::InvalidCapabilities, RejectionReason::Other]);
        self.say(line, &ServerMessage::SessionRejected { reason, nonce, leader_id: None });
    }
}
