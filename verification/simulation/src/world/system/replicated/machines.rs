//! Faults of machines that take long or go in steps: directories that are lost, set back or copied, disks that fill up, a leader
//! that is cut off and stands still, and an upgrade of all programs.

use super::{Replicated, faults::ClusterMend};
use crate::{
    cluster::{Program, Task},
    world::{calendar::Mend, fault::Fault, sim::Sim},
};

/// How often other programs take more of a disk that fills up. All steps together take about 3 MB, more than is left at first.
const FILLS: u32 = 40;
/// How often the operator tries to raise the level of the application, every 50 ms.
const TRIES: u32 = 60;

impl Sim {
    /// Strikes the disk of a member that the operator must replace afterwards.
    pub(super) fn strike_directory(&mut self, fault: Fault) -> bool {
        let now = self.now;
        let Some(member) = self.some_follower() else { return false };
        let Some(Replicated { cluster, strikes, .. }) = self.system.replicated() else {
            return false;
        };
        if cluster.is_copied(member)
            || strikes.damaged.is_some()
            || cluster.tasks() > 0
            || !cluster.has_spare_disk(member)
        {
            return false;
        }
        strikes.damaged = Some(member);
        match fault {
            Fault::WipedDisk => {
                cluster.wipe(now, member);
                self.later_cluster(100, 2_000, ClusterMend::Rejoin(member));
            }
            Fault::RolledBackDisk => {
                strikes.backup = cluster.back_up(now, member);
                self.later_cluster(200, 3_000, ClusterMend::RollBack(member, 30));
            }
            _ => return false,
        }
        true
    }

    /// Copies a member's directory, for a second process that starts at once or later.
    pub(super) fn copy_directory(&mut self) -> bool {
        let now = self.now;
        let (member, place) = (self.some_running(), self.some_empty_place());
        let (Some(member), Some(place)) = (member, place) else { return false };
        let Some(Replicated { cluster, strikes, .. }) = self.system.replicated() else {
            return false;
        };
        if cluster.is_copied(member) || strikes.copy.is_some() {
            return false;
        }
        strikes.copy = cluster.copy_directory(now, member);
        if strikes.copy.is_none() {
            return false;
        }
        let most = if self.rng.percent(40) { 20 } else { 3_000 };
        self.later_cluster(0, most, ClusterMend::StartCopy(place));
        true
    }

    /// Fills the disk of one member, or of all.
    pub(super) fn fill_disks(&mut self) -> bool {
        let now = self.now;
        let Some(one) = self.some_running() else { return false };
        let all = self.rng.percent(30);
        for member in 0..self.members {
            let left = self.rng.range(0, 1_500_000);
            let Some(Replicated { cluster, .. }) = self.system.replicated() else { return false };
            if (!all && member != one) || !cluster.is_running(member) {
                continue;
            }
            cluster.fill_disk(now, member, left);
            self.later_cluster(20, 120, ClusterMend::Fill(member, FILLS));
            let until = self.rng.range(1_000, 6_000);
            self.later_cluster(until, until, ClusterMend::Revive(member));
            if self.rng.percent(40) {
                // It does not run when the disk gets space again.
                self.later_cluster(until - 700, until - 1, ClusterMend::Kill(member));
            }
        }
        true
    }

    /// Cuts the leader off from the other members, and lets it stand still at about the time at which it must give leadership up.
    /// It goes on while it is still cut off. A leader that is the only voter leads all the time.
    pub(super) fn set_leader_apart(&mut self) -> bool {
        let now = self.now;
        let Some(leader) = self.system.leader() else { return false };
        let Some(Replicated { cluster, .. }) = self.system.replicated() else { return false };
        if cluster.is_frozen(leader) {
            return false;
        }
        let timing = cluster.timing();
        let (shortest, longest) =
            (timing.election_min.as_millis() as u64, timing.election_max.as_millis() as u64);
        for other in (0..self.members).filter(|other| *other != leader) {
            for (from, to) in [(leader, other), (other, leader)] {
                cluster.block(now, from, to, true);
            }
        }
        let alone = cluster.voters() == 1;
        let session = cluster.settings().session_timeout_millis;
        // Shorter than the shortest election timeout: it may wake just after its leadership should have ended. Or a little longer,
        // so that it must prove that it still leads, and cannot. Or longer than sessions live.
        let kind = match alone {
            true => 2 + u64::from(self.rng.percent(70)),
            false => self.rng.below(4),
        };
        let (at, stands) = match kind {
            0 => {
                let stands = self.rng.range(shortest / 2, shortest);
                (2 * shortest - stands + self.rng.range(0, shortest / 3), stands)
            }
            1 => (self.rng.range(0, shortest / 4), shortest + self.rng.range(1, shortest / 4)),
            2 => (self.rng.range(0, 2 * longest), self.rng.range(shortest, 4_000)),
            _ if alone => (self.rng.range(0, longest), session * self.rng.range(80, 120) / 100),
            _ => (self.rng.range(0, longest), self.rng.range(4_000, 12_500)),
        };
        let silent = self.rng.percent(if alone { 70 } else { 20 });
        self.later_cluster(at, at, ClusterMend::Suspend(leader, stands, silent));
        // The member reads that first once it goes on.
        self.later_cluster(at, at, ClusterMend::SignsOfLife);
        if kind == 1 {
            // It puts this off, because it cannot prove that it leads.
            let soon = at + stands + 1;
            self.later_cluster(soon, soon + shortest / 5, ClusterMend::SignsOfLife);
        }
        self.later_cluster(at + stands, at + stands + 4_000, ClusterMend::OpenWays);
        true
    }

    fn suspend(&mut self, member: usize, stands: u64, silent: bool) {
        let now = self.now;
        // With its machine, it does not know that it stood still.
        let machine = self.rng.percent(10);
        let Some(Replicated { cluster, .. }) = self.system.replicated() else { return };
        if !cluster.is_running(member) || cluster.is_frozen(member) {
            return;
        }
        cluster.freeze(now, member, machine);
        self.later_cluster(stands, stands, ClusterMend::Thaw(member));
        if silent {
            self.net.ports[member].silent = true;
            self.later(stands, stands + 2_000, Mend::Silent(member));
        }
        if silent || self.rng.percent(40) {
            // The clients come back, and the member reads that once it goes on.
            self.cut_connections(member);
        }
    }

    /// Stalls the leader's disk, removes a member, and hands over to it: the next leader brings its own removal about.
    pub(super) fn remove_while_stalled(&mut self) -> bool {
        let now = self.now;
        let (leader, follower) = (self.system.leader(), self.some_follower());
        let (Some(leader), Some(follower)) = (leader, follower) else { return false };
        let Some(Replicated { cluster, strikes, .. }) = self.system.replicated() else {
            return false;
        };
        let free = cluster.tasks() == 0 && strikes.damaged.is_none();
        if !free || cluster.is_copied(follower) || cluster.is_frozen(leader) {
            return false;
        }
        cluster.stall_disk(now, leader);
        cluster.order(now, Task::Remove { place: follower });
        self.later_cluster(20, 150, ClusterMend::HandOver(follower));
        self.later_cluster(150, 900, ClusterMend::Revive(leader));
        true
    }

    /// Gives one place after the other a newer program. Some empty places keep the old one, so that a member that joins later is
    /// too old; some member may be down until all others are done.
    pub(super) fn upgrade_members(&mut self) -> bool {
        let now = self.now;
        let down = self.some_running().filter(|_| self.rng.percent(40));
        let features = u32::from(self.rng.percent(70));
        let Some(Replicated { cluster, strikes, .. }) = self.system.replicated() else {
            return false;
        };
        if strikes.program.is_some() {
            return false;
        }
        let newest = cluster.newest_program();
        let program =
            Program { features: newest.features + features, application: newest.application + 1 };
        strikes.program = Some(program);
        let empty: Vec<bool> = (0..self.members).map(|place| cluster.is_empty(place)).collect();
        if let Some(down) = down {
            cluster.crash(now, down);
        }
        let (first, mut at) = (self.rng.index(self.members), 0);
        let members = self.members;
        for place in (0..members).map(|place| (first + place) % members) {
            if empty[place] && self.rng.percent(50) {
                continue;
            }
            at += self.rng.range(50, 500);
            let kills = self.rng.percent(30);
            self.later_cluster(at, at, ClusterMend::Upgrade(place, kills));
        }
        if let Some(down) = down {
            self.later_cluster(at, at + 1_000, ClusterMend::Start(down));
        }
        self.later_cluster(at / 2, at + 1_000, ClusterMend::RaiseLevel);
        true
    }

    /// The next part of one of these faults.
    pub(super) fn go_on_striking(&mut self, mend: ClusterMend) {
        let now = self.now;
        let healing = self.healing.is_some();
        let Some(Replicated { cluster, strikes, .. }) = self.system.replicated() else { return };
        match mend {
            ClusterMend::Suspend(member, stands, silent) if !healing => {
                self.suspend(member, stands, silent);
            }
            ClusterMend::Kill(member) if !healing && !strikes.set_back => cluster.kill(now, member),
            ClusterMend::SignsOfLife if !healing => {
                self.raws_show_life();
                self.clients_show_life();
            }
            ClusterMend::HandOver(to) if !healing => cluster.hand_over(now, to),
            ClusterMend::Fill(member, times) if !healing && times > 0 => {
                cluster.fill_further(now, member, self.rng.range(20_000, 150_000));
                self.later_cluster(20, 120, ClusterMend::Fill(member, times - 1));
            }
            ClusterMend::StartCopy(place) => {
                // The operator is about to replace the member whose disk this place has lost.
                let free = strikes.damaged != Some(place);
                let copy = strikes.copy.take().filter(|_| free && !healing);
                let Some(copy) = copy else { return };
                cluster.start_copy(now, place, copy);
                // It stops when a member refuses it, and is started again.
                self.later_cluster(100, 1_500, ClusterMend::Start(place));
                self.later_cluster(1_000, 3_000, ClusterMend::Start(place));
                self.later_cluster(1_500, 6_000, ClusterMend::RemoveCopy(place));
            }
            ClusterMend::RemoveCopy(place) => cluster.remove_copy(now, place),
            ClusterMend::Upgrade(place, kills) if !healing => {
                let Some(program) = strikes.program else { return };
                if strikes.set_back {
                    return self.later_cluster(200, 400, mend);
                }
                cluster.upgrade(now, place, program, kills);
                self.later_cluster(300, 1_500, ClusterMend::Start(place));
            }
            ClusterMend::RaiseLevel if !healing => {
                if let Some(Program { application, .. }) = strikes.program {
                    cluster.order(now, Task::RaiseLevel { to: application, tries: TRIES });
                }
            }
            _ => {}
        }
    }
}
