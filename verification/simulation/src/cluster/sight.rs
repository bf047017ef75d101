//! What the world can see of a cluster, and what it does to a whole one.

use zraft_core::Instant;
use zraft_protocol::SessionId;
use zraft_replica::ConnectionId;
use zraft_session::CheckedSettings;
use zraft_simulated_disk::SimulatedDisk;

use super::{Cluster, Facts, Link};
use crate::judge::Violation;

impl Cluster {
    /// Returns the member that a client's connection leads to.
    pub(crate) fn place_of(&self, peer: ConnectionId) -> Option<usize> {
        self.connections.get(&peer).copied()
    }

    /// Returns how many server requests a session has not acknowledged, as the leader knows, or `None` if the session has ended.
    pub(crate) fn unacknowledged(&self, session: &SessionId) -> Option<usize> {
        let process = self.members[self.leader()?].process.as_ref()?;
        let session = process.replica.view().sessions.get(session)?;
        Some(session.unacknowledged() as usize)
    }

    /// Returns true if the leader that read the session's CloseSession leads no more, so that it may have been lost.
    pub(crate) fn may_have_lost_close(&self, session: &SessionId) -> bool {
        self.judge.may_have_lost_close(session)
    }

    /// Returns true if the application may reject a command without an answer.
    pub(crate) fn rejects_without_answer(&self) -> bool {
        self.plan.rules.reject > 0
    }

    /// Returns the settings that the leader has, or those with which the cluster began.
    pub(crate) fn settings(&self) -> CheckedSettings {
        let leader = self.leader().and_then(|leader| self.members[leader].process.as_ref());
        let settings = leader.map(|process| process.replica.view().settings.clone());
        settings.unwrap_or_else(|| self.plan.settings.clone())
    }

    /// Returns true if the others of the leader's voters are a majority without this member, and all of them have their disks.
    pub(crate) fn has_spare_disk(&self, place: usize) -> bool {
        let Some(leader) = self.leader().and_then(|leader| self.members[leader].process.as_ref())
        else {
            return false;
        };
        let configuration = leader.replica.configuration();
        let voters = &configuration.voters;
        let sound = voters.iter().filter(|id| {
            let member = self.addresses.get(id).map(|place| &self.members[*place]);
            member.is_some_and(|member| {
                member.id == Some(**id) && member.disk.is_some() && member.place != place
            })
        });
        let sound = sound.count();
        !configuration.is_joint() && sound * 2 > voters.len() && sound + 1 >= voters.len()
    }

    /// Returns true if every voter of the leader runs, on a disk that works, hears the leader, and has what is committed.
    ///
    /// Then no entry depends on a single disk. Members that have met remember each other's promises, but one that lacks
    /// entries does not know who has promised to keep them.
    pub(crate) fn is_whole(&self) -> bool {
        let Some(leader) = self.leader() else { return false };
        let Some(process) = &self.members[leader].process else { return false };
        let committed = process.replica.committed();
        let peers = process.replica.peers();
        let behind = |id| peers.iter().any(|peer| peer.id == id && peer.matched < committed);
        process.replica.configuration().voters.iter().all(|id| {
            let member = self.addresses.get(id).map(|place| &self.members[*place]);
            member.is_some_and(|member| {
                let follows = member.process.as_ref().is_some_and(|voter| {
                    voter.id == *id
                        && !voter.stopping
                        && voter.replica.leader() == Some(process.id)
                        && !behind(*id)
                });
                let works = !member.frozen && !member.stalled && member.disk_fault.is_none();
                let blocked = self.peers.is_blocked(leader, member.place);
                follows && works && !blocked
            })
        })
    }

    /// Starts every member that was set up and does not run.
    pub(crate) fn start_all(&mut self, now: Instant) {
        for place in 0..self.members.len() {
            self.start(now, place);
        }
    }

    /// Returns true if a snapshot from the leader is on its way to this member.
    pub(crate) fn is_receiving(&self, place: usize) -> bool {
        let process = self.members[place].process.as_ref();
        process.is_some_and(|process| process.receiver.is_some())
    }

    /// Opens all ways between members, at their usual speed.
    pub(crate) fn open_ways(&mut self, now: Instant) {
        let link = Link { blocked: false, ..self.plan.link };
        for from in 0..self.members.len() {
            for to in 0..self.members.len() {
                self.set_link(now, from, to, link);
            }
        }
    }

    /// Ends the member and sets its disk back to an earlier copy of it, then starts it again.
    pub(crate) fn roll_back(&mut self, now: Instant, place: usize, backup: SimulatedDisk) {
        self.crash(now, place);
        if self.members[place].disk.is_some() {
            self.members[place].disk = Some(backup);
            self.members[place].doubtful = true;
            self.judge.lost_disk(place);
            self.judge.new_directory(place);
        }
        self.start(now, place);
    }

    /// Takes the first rule that was broken.
    pub(crate) fn take_violation(&mut self) -> Option<Violation> {
        self.violation.take()
    }
}

impl Facts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.entries += other.entries;
        self.executed += other.executed;
        self.writes += other.writes;
        self.frames += other.frames;
        self.leaderships += other.leaderships;
        self.snapshots_taken += other.snapshots_taken;
        self.snapshots_restored += other.snapshots_restored;
        self.starts += other.starts;
        self.membership_changes += other.membership_changes;
    }
}
