//! The faults of the live system: what its members were seen to do.

use std::time::Duration;

use zraft_core::{RequestKind, StateName};
use zraft_protocol::{
    ClientMessage, ClientMessageKind, MemberId, ServerMessage, ServerMessageKind,
    SessionCloseReason, SessionId,
};
use zraft_test_server::{Hints, KillLoss, MessageClass};

use super::{Live, LiveMend};
use crate::world::{
    fault::Fault,
    pipe::End,
    plan::{POISON, member_name},
    sim::Sim,
};

impl Sim {
    /// Brings about a change of leadership. Returns true if that was possible.
    pub(in crate::world::system) fn change_live_leader(&mut self) -> Option<Fault> {
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
        let commits = self.system.live().is_some_and(|live| live.commits());
        (commits && self.strike_at_leader(fault)).then_some(fault)
    }

    /// Brings a fault of the members about. Returns true if that was possible.
    pub(in crate::world::system) fn strike_live(&mut self, fault: Fault) -> bool {
        match fault {
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
                let Some(live) = self.system.live() else { return false };
                for member in &live.members {
                    let _ = live.engine.kill(self.now, *member, KillLoss::Mixed);
                }
                self.later_live(200, 12_000, LiveMend::Outage);
                true
            }
            Fault::LostSessions => self.lose_sessions(),
            Fault::Deaf | Fault::StaleSessionMap => self.strike_mind(fault),
            Fault::HintsAbsent
            | Fault::HintsStale
            | Fault::HintsSelf
            | Fault::HintsCircular
            | Fault::HintsOutsider => self.strike_hints(fault),
            Fault::SlowServer => {
                let rate = self.rng.range(5, 100) as u32;
                let Some(live) = self.system.live() else { return false };
                live.engine.set_commits_per_second(self.now, Some(rate));
                self.later_live(2_000, 15_000, LiveMend::Rate);
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
            Fault::SlowBacklog => self.strike_backlog(),
            _ => false,
        }
    }

    fn strike_at_leader(&mut self, fault: Fault) -> bool {
        let now = self.now;
        let Some(leader) = self.system.leader() else { return false };
        let Some(live) = self.system.live() else { return false };
        // Leave a majority running, so that there is a next leader.
        if (live.running() - 1) * 2 <= live.members.len() && fault != Fault::StepDown {
            return false;
        }
        let index = live.members[leader];
        live.engine.set_election_pause(self.rng.millis(20, 4_000));
        let loss = match fault {
            Fault::KillUnreceived => Some(KillLoss::Unreceived),
            Fault::KillUncommitted => Some(KillLoss::Uncommitted),
            Fault::KillUnanswered => Some(KillLoss::Unanswered),
            Fault::KillMixed => Some(KillLoss::Mixed),
            _ => None,
        };
        if let Some(loss) = loss {
            let killed = live.engine.kill(now, index, loss).is_ok();
            self.later_live(200, 10_000, LiveMend::Start(leader));
            return killed;
        }
        match fault {
            Fault::Stop | Fault::Shutdown => {
                if fault == Fault::Shutdown {
                    self.all_told(leader, SessionCloseReason::Shutdown);
                }
                self.later_live(3_000, 10_000, LiveMend::Start(leader));
                self.live_does(|live| live.engine.stop(now, index).is_ok())
            }
            Fault::StepDown => live.engine.step_down_for(now, None).is_ok(),
            Fault::HandOver => {
                live.engine.set_election_pause(Duration::ZERO);
                let next = live.members[self.rng.index(live.members.len())];
                next != index && live.engine.step_down_for(now, Some(next)).is_ok()
            }
            Fault::StaleLeader => {
                self.later_live(1_000, 15_000, LiveMend::Rejoin(leader));
                self.live_does(|live| live.engine.set_stale_leader(now, index, true).is_ok())
            }
            _ => {
                self.later_live(300, 15_000, LiveMend::Thaw(leader));
                self.live_does(|live| live.engine.set_frozen(now, index, true).is_ok())
            }
        }
    }

    /// Returns true if there is a live system and the deed succeeded.
    fn live_does(&mut self, deed: impl FnOnce(&mut Live) -> bool) -> bool {
        self.system.live().is_some_and(deed)
    }

    fn strike_mind(&mut self, fault: Fault) -> bool {
        let now = self.now;
        let member = self.some_member();
        if fault == Fault::Deaf {
            self.later_live(1_000, 20_000, LiveMend::Hear(member));
            return self
                .live_does(|live| live.engine.set_deaf(now, live.members[member], true).is_ok());
        }
        let Some(live) = self.system.live() else { return false };
        let sessions: Vec<_> = live.engine.sessions().map(|session| session.id).collect();
        let known: Vec<SessionId> = sessions.into_iter().filter(|_| self.rng.percent(40)).collect();
        self.later_live(1_000, 15_000, LiveMend::TrueMap(member));
        if self.rng.percent(60) {
            // Cut its connections, as happens to a leader that comes back from a pause.
            self.cut_connections(member);
        }
        self.live_does(|live| {
            let index = live.members[member];
            live.engine.set_stale_session_map(now, index, Some(&known)).is_ok()
        })
    }

    fn strike_hints(&mut self, fault: Fault) -> bool {
        let hints = match fault {
            Fault::HintsAbsent => Hints::Absent,
            Fault::HintsSelf => Hints::Itself,
            Fault::HintsCircular => Hints::Circular,
            _ => {
                // An outsider is a member of the cluster that the client's configuration does not have.
                let outsider = fault == Fault::HintsOutsider;
                let index = if outsider { self.members } else { self.rng.index(3) };
                let name = member_name(index);
                let Ok(name) = MemberId::new(name) else { return false };
                Hints::Wrong(name)
            }
        };
        self.live_does(|live| live.engine.set_hints(None, hints).is_ok());
        self.later_live(2_000, 15_000, LiveMend::Hints);
        // Depose the leader, so that clients ask for the next.
        let now = self.now;
        self.live_does(|live| live.engine.step_down_for(now, None).is_ok());
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
        let Some(live) = self.system.live() else { return false };
        for class in classes {
            live.engine.drop_messages(*class, few);
        }
        if matches!(fault, Fault::DropHandshakes | Fault::OrphanSession) {
            // Break a connection, so that its client asks for a session.
            if let Some(line) = self.some_line() {
                self.ends_stream(line, End::Reset, false);
                self.member_end_gone(line);
            }
        }
        self.later_live(500, 8_000, LiveMend::Deliver);
        true
    }

    fn strike_session(&mut self, fault: Fault) -> bool {
        let now = self.now;
        let client = self.some_client();
        let id = self.clients[client].judge.session_id().map(str::to_owned);
        let Some(id) = id.and_then(|id| SessionId::new(id).ok()) else { return false };
        if !self.live_does(|live| live.engine.expire_session(now, &id).is_ok()) {
            return false;
        }
        if fault == Fault::ShortLived {
            let times = self.rng.range(10, 40) as u32;
            self.later_live(1, 10, LiveMend::ExpireAgain(client, times));
        }
        if fault == Fault::LostExpiry {
            self.carry_out();
            self.live_does(|live| live.engine.step_down_for(now, None).is_ok());
        }
        true
    }

    /// All members are restarted without their sessions, or the leader goes on without any.
    fn lose_sessions(&mut self) -> bool {
        let now = self.now;
        let restarts = self.rng.percent(70);
        let Some(live) = self.system.live() else { return false };
        if restarts {
            for member in &live.members {
                let _ = live.engine.kill(now, *member, KillLoss::Mixed);
            }
            self.later_live(50, 3_000, LiveMend::Outage);
        } else if !live.commits() {
            return false;
        }
        self.live_does(|live| {
            live.engine.forget_sessions(now);
            true
        })
    }

    /// A client with large payloads builds up a backlog, and leadership moves while its link is slow.
    fn strike_backlog(&mut self) -> bool {
        let client = self.some_client();
        let name = self.rigs[client].machine.state();
        if self.clients[client].paused
            || self.plan.clients[client].payload.0 < 1000
            || name != StateName::Connected
        {
            return false;
        }
        for _ in 0..40 {
            self.submit(client, RequestKind::Command);
        }
        if let Some(live) = self.system.live() {
            live.engine.set_commits_per_second(self.now, Some(5));
        }
        self.later_live(150, 600, LiveMend::SlowMove(client));
        self.drain(client);
        self.dirty[client] = true;
        true
    }

    /// The member sends SessionClosed on all its connections.
    fn all_told(&mut self, member: usize, reason: SessionCloseReason) {
        for line in self.net.lines(None, Some(member)) {
            self.say(line, &ServerMessage::SessionClosed { reason, leader_id: None });
        }
    }

    /// The live server's message loop stops at such a payload, until an operator restarts the member. Returns true if the
    /// message is such a payload and the member takes it.
    pub(in crate::world::system) fn poisons_live(
        &mut self,
        member: usize,
        message: &ClientMessage,
    ) -> bool {
        let poison = match message {
            ClientMessage::ClientRequest { payload, .. } | ClientMessage::Query { payload, .. } => {
                payload.starts_with(POISON)
            }
            _ => false,
        };
        if !poison || self.healing.is_some() || self.system.leader() != Some(member) {
            return false;
        }
        let now = self.now;
        if self.live_does(|live| live.engine.set_deaf(now, live.members[member], true).is_ok()) {
            self.later_live(3_000, 12_000, LiveMend::Restart(member));
            self.coverage.fault("poison taken");
        }
        true
    }
}
