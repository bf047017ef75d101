//! Leadership: elections, step-downs and the loss of a leader.

use zraft_protocol::{ServerMessage, SessionCloseReason};

use super::{Engine, Incident};

impl Engine {
    /// Decides after a change of any member whether the leader can commit and whether an election is due.
    pub(super) fn reassess(&mut self) {
        let electable = self.members.iter().filter(|member| member.is_electable()).count();
        let majority = electable * 2 > self.members.len();
        let leader_is_reached =
            self.leader.is_some_and(|leader| self.members[leader].is_electable());
        self.commits = majority && leader_is_reached;
        if !majority || leader_is_reached {
            self.election_at = None;
        } else if self.election_at.is_none() {
            self.election_at = Some(self.now + self.config.election_pause);
        }
        self.run_due();
    }

    pub(super) fn hold_election(&mut self) {
        self.election_at = None;
        let candidate = self.preferred.filter(|index| self.members[*index].is_electable());
        let count = self.members.len();
        let next = candidate.or_else(|| {
            (1..=count)
                .map(|step| (self.last_leader + step) % count)
                .find(|index| self.members[*index].is_electable())
        });
        let Some(next) = next else { return };
        if let Some(old) = self.leader.take() {
            // The old leader is frozen or cut off, so it does not learn of the election.
            let known = self.table.keys().collect();
            self.members[old].unaware = Some(known);
            self.log.clear();
        }
        self.stats.elections += 1;
        self.report(Incident::LeaderElected { member: self.members[next].id.clone() });
        self.step_up(next);
    }

    pub(super) fn step_up(&mut self, member: usize) {
        self.leader = Some(member);
        self.last_leader = member;
        self.preferred = None;
        self.members[member].unaware = None;
        self.log.clear();
        self.renew_sessions();
        self.next_expiry_tick = self.now + self.config.expiry_tick;
        self.next_redelivery_tick = self.now + self.config.redelivery_interval;
        self.reassess();
    }

    /// Restarts the timeout of every session.
    pub(super) fn renew_sessions(&mut self) {
        let expires_at = self.now + self.config.session_timeout;
        self.table.renew(expires_at);
        self.first_expiry = (self.table.len() > 0).then_some(expires_at);
    }

    /// Ends the leader's leadership: it tells the connections bound to it, and drops the entries it has not committed.
    pub(super) fn step_down(&mut self) {
        let Some(leader) = self.leader.take() else { return };
        self.report(Incident::LeaderLost { member: self.members[leader].id.clone() });
        self.log.clear();
        self.announce_step_down(leader);
    }

    /// Ends the leadership of a leader whose process has ended.
    pub(super) fn lose_leader(&mut self) {
        if let Some(leader) = self.leader.take() {
            self.report(Incident::LeaderLost { member: self.members[leader].id.clone() });
        }
        self.log.clear();
    }

    pub(super) fn announce_step_down(&mut self, member: usize) {
        let bound: Vec<_> = self.members[member].bindings.values().copied().collect();
        for peer in bound {
            let reason = SessionCloseReason::NotLeaderAnymore;
            self.send(peer, ServerMessage::SessionClosed { reason, leader_id: None });
            self.drop_peer(peer);
        }
    }

    /// Makes a replaced leader step down, if the other members can reach it.
    pub(super) fn become_aware(&mut self, member: usize) {
        if self.members[member].is_electable() && self.members[member].unaware.take().is_some() {
            self.announce_step_down(member);
        }
    }
}
