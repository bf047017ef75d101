//! How each fault comes about, and how it ends.

mod ends;
mod hostile;
mod messages;

use std::time::Duration;

use zraft_core::{RequestKind, StateName};
use zraft_protocol::{
    ClientMessageKind, MemberId, RejectionReason, ServerMessage, ServerMessageKind,
    SessionCloseReason, SessionId,
};
use zraft_test_server::{Hints, KillLoss, Listening, MessageClass};

use crate::world::{
    calendar::{Mend, What},
    fault::Fault,
    net::Line,
    pipe::End,
    plan::member_name,
    sim::Sim,
    trace::say,
};

impl Sim {
    pub(crate) fn fault(&mut self) {
        if self.healing.is_some() {
            return;
        }
        // A seed that drew no faults may have any.
        let fault = if self.plan.faults.is_empty() {
            Fault::ALL[self.rng.index(Fault::ALL.len())].0
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

    /// Brings about a change of leadership.
    pub(crate) fn leader_change(&mut self) {
        if self.healing.is_some() {
            return;
        }
        let fault = self.rng.pick(&[
            Fault::StepDown,
            Fault::HandOver,
            Fault::KillUncommitted,
            Fault::KillUnanswered,
            Fault::KillMixed,
            Fault::Stop,
            Fault::Shutdown,
            Fault::Freeze,
            Fault::StaleLeader,
        ]);
        if self.engine.commits() && self.strike_at_leader(fault) {
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

    fn leader(&self) -> Option<usize> {
        self.engine.leader().map(zraft_test_server::MemberIndex::get)
    }

    /// Picks the leader most of the time, else any member.
    fn some_member(&mut self) -> usize {
        match self.leader() {
            Some(leader) if self.rng.percent(70) => leader,
            _ => self.rng.index(self.members.len()),
        }
    }

    fn some_client(&mut self) -> usize {
        self.rng.index(self.clients.len())
    }

    /// A client's present connection, open at both ends.
    pub(crate) fn some_line(&mut self) -> Option<Line> {
        let client = self.some_client();
        let line = self.clients[client].current()?;
        let conn = self.net.conns.get(&line)?;
        (conn.open && !conn.served.over && !conn.closed).then_some(line)
    }

    fn running(&self) -> usize {
        let running = |member: &&zraft_test_server::MemberIndex| self.engine.is_running(**member);
        self.members.iter().filter(running).count()
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
            Fault::KillUnreceived
            | Fault::KillUncommitted
            | Fault::KillUnanswered
            | Fault::KillMixed
            | Fault::Stop
            | Fault::Shutdown
            | Fault::StepDown
            | Fault::HandOver
            | Fault::StaleLeader
            | Fault::Freeze => self.strike_at_leader(fault),
            Fault::Outage => {
                for member in 0..self.members.len() {
                    let _ = self.engine.kill(self.now, self.members[member], KillLoss::Mixed);
                }
                self.later(200, 12_000, Mend::Outage);
                true
            }
            Fault::Deaf | Fault::StaleSessionMap => self.strike_mind(fault),
            Fault::HintsAbsent
            | Fault::HintsStale
            | Fault::HintsSelf
            | Fault::HintsCircular
            | Fault::HintsOutsider => self.strike_hints(fault),
            Fault::SlowServer => {
                let rate = self.rng.range(5, 100) as u32;
                self.engine.set_commits_per_second(self.now, Some(rate));
                self.later(2_000, 15_000, Mend::Rate);
                true
            }
            Fault::DropCommands
            | Fault::DropQueries
            | Fault::DropAnswers
            | Fault::DropAcks
            | Fault::DropKeepAlives
            | Fault::DropServerRequests
            | Fault::DropHandshakes
            | Fault::OrphanSession
            | Fault::DropAll => self.strike_messages(fault),
            Fault::ExpireSession | Fault::LostExpiry | Fault::ShortLived => {
                self.strike_session(fault)
            }
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
            | Fault::SlowBacklog
            | Fault::Poison => self.strike_client(fault),
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
            let _ = self.engine.cut_connections(self.now, Some(self.members[member]));
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
            let _ = self.engine.cut_connections(self.now, Some(self.members[member]));
        }
        let (low, high) = match fault {
            Fault::Stall => (20, 900),
            _ => (1_000, 15_000),
        };
        self.later(low, high, Mend::Paths(client, Some(member)));
        true
    }

    fn strike_at_leader(&mut self, fault: Fault) -> bool {
        let Some(leader) = self.leader() else { return false };
        let index = self.members[leader];
        // Leave a majority running, so that there is a next leader.
        if (self.running() - 1) * 2 <= self.members.len() && fault != Fault::StepDown {
            return false;
        }
        let pause = self.rng.millis(20, 4_000);
        self.engine.set_election_pause(pause);
        let loss = match fault {
            Fault::KillUnreceived => Some(KillLoss::Unreceived),
            Fault::KillUncommitted => Some(KillLoss::Uncommitted),
            Fault::KillUnanswered => Some(KillLoss::Unanswered),
            Fault::KillMixed => Some(KillLoss::Mixed),
            _ => None,
        };
        if let Some(loss) = loss {
            let killed = self.engine.kill(self.now, index, loss).is_ok();
            self.later(200, 10_000, Mend::Start(leader));
            return killed;
        }
        match fault {
            Fault::Stop | Fault::Shutdown => {
                if fault == Fault::Shutdown {
                    self.all_told(leader, SessionCloseReason::Shutdown);
                }
                self.later(3_000, 10_000, Mend::Start(leader));
                self.engine.stop(self.now, index).is_ok()
            }
            Fault::StepDown => self.engine.step_down_for(self.now, None).is_ok(),
            Fault::HandOver => {
                self.engine.set_election_pause(Duration::ZERO);
                let next = self.members[self.rng.index(self.members.len())];
                next != index && self.engine.step_down_for(self.now, Some(next)).is_ok()
            }
            Fault::StaleLeader => {
                self.later(1_000, 15_000, Mend::Rejoin(leader));
                self.engine.set_stale_leader(self.now, index, true).is_ok()
            }
            _ => {
                self.later(300, 15_000, Mend::Thaw(leader));
                self.engine.set_frozen(self.now, index, true).is_ok()
            }
        }
    }

    fn strike_mind(&mut self, fault: Fault) -> bool {
        let member = self.some_member();
        let index = self.members[member];
        if fault == Fault::Deaf {
            self.later(1_000, 20_000, Mend::Hear(member));
            return self.engine.set_deaf(self.now, index, true).is_ok();
        }
        let sessions: Vec<_> = self.engine.sessions().map(|session| session.id).collect();
        let known: Vec<SessionId> = sessions.into_iter().filter(|_| self.rng.percent(40)).collect();
        self.later(1_000, 15_000, Mend::TrueMap(member));
        if self.rng.percent(60) {
            // Cut its connections, as happens to a leader that comes back from a pause.
            let _ = self.engine.cut_connections(self.now, Some(index));
        }
        self.engine.set_stale_session_map(self.now, index, Some(&known)).is_ok()
    }

    fn strike_hints(&mut self, fault: Fault) -> bool {
        let hints = match fault {
            Fault::HintsAbsent => Hints::Absent,
            Fault::HintsSelf => Hints::Itself,
            Fault::HintsCircular => Hints::Circular,
            _ => {
                // An outsider is a member of the cluster that the client's configuration does not have.
                let outsider = fault == Fault::HintsOutsider;
                let index = if outsider { self.members.len() } else { self.rng.index(3) };
                let name = member_name(index);
                let Ok(name) = MemberId::new(name) else { return false };
                Hints::Wrong(name)
            }
        };
        let _ = self.engine.set_hints(None, hints);
        self.later(2_000, 15_000, Mend::Hints);
        // Depose the leader, so that clients ask for the next.
        let _ = self.engine.step_down_for(self.now, None);
        true
    }

    fn strike_messages(&mut self, fault: Fault) -> bool {
        use ClientMessageKind as From;
        use ServerMessageKind as To;
        let few = Some(self.rng.range(1, 60));
        let (classes, few): (&[MessageClass], _) = match fault {
            Fault::DropCommands => (&[MessageClass::FromClient(From::ClientRequest)], few),
            Fault::DropQueries => (&[MessageClass::FromClient(From::Query)], few),
            Fault::DropAnswers => (&[MessageClass::Answers], few),
            Fault::DropAcks => (&[MessageClass::FromClient(From::ServerRequestAck)], few),
            Fault::DropKeepAlives => (&[MessageClass::FromClient(From::KeepAlive)], few),
            Fault::DropServerRequests => (&[MessageClass::ToClient(To::ServerRequest)], few),
            Fault::DropHandshakes => (
                &[
                    MessageClass::FromClient(From::CreateSession),
                    MessageClass::FromClient(From::ContinueSession),
                ],
                Some(self.rng.range(1, 4)),
            ),
            Fault::OrphanSession => (
                &[
                    MessageClass::ToClient(To::SessionCreated),
                    MessageClass::ToClient(To::SessionContinued),
                ],
                Some(self.rng.range(1, 3)),
            ),
            _ => (&[MessageClass::AllFromClients, MessageClass::AllToClients], None),
        };
        for class in classes {
            self.engine.drop_messages(*class, few);
        }
        if matches!(fault, Fault::DropHandshakes | Fault::OrphanSession) {
            // Break a connection, so that its client asks for a session.
            if let Some(line) = self.some_line() {
                self.ends_stream(line, End::Reset, false);
                self.member_end_gone(line);
            }
        }
        self.later(500, 8_000, Mend::Deliver);
        true
    }

    fn strike_session(&mut self, fault: Fault) -> bool {
        let client = self.some_client();
        let id = self.clients[client].judge.session_id().map(str::to_owned);
        let Some(id) = id.and_then(|id| SessionId::new(id).ok()) else { return false };
        if self.engine.expire_session(self.now, &id).is_err() {
            return false;
        }
        if fault == Fault::ShortLived {
            let times = self.rng.range(10, 40) as u32;
            self.later(1, 10, Mend::ExpireAgain(client, times));
        }
        if fault == Fault::LostExpiry {
            self.carry_out();
            let _ = self.engine.step_down_for(self.now, None);
        }
        true
    }

    /// The member sends SessionClosed on all its connections.
    fn all_told(&mut self, member: usize, reason: SessionCloseReason) {
        for line in self.net.lines(None, Some(member)) {
            self.say(line, &ServerMessage::SessionClosed { reason, leader_id: None });
        }
    }

    /// The member's end of a connection is gone.
    pub(crate) fn member_end_gone(&mut self, line: Line) {
        let Some(conn) = self.net.conns.get_mut(&line) else { return };
        conn.up.discard();
        if let Some(peer) = conn.served.peer.take() {
            self.net.by_peer.remove(&peer);
            self.engine.disconnected(self.now, peer);
        }
    }

    fn strike_client(&mut self, fault: Fault) -> bool {
        let client = self.some_client();
        let name = self.rigs[client].machine.state();
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
            Fault::SlowBacklog => {
                let plan = &self.plan.clients[client];
                if plan.payload.0 < 1000 || name != StateName::Connected {
                    return false;
                }
                for _ in 0..40 {
                    self.submit(client, RequestKind::Command);
                }
                self.engine.set_commits_per_second(self.now, Some(5));
                self.later(150, 600, Mend::SlowMove(client));
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
