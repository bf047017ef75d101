//! Faults of machines that take long or go in steps: directories that are lost, set back or copied, disks that fill up, and an
//! upgrade of all programs.

use super::{Replicated, faults::ClusterMend};
use crate::{
    cluster::{Program, Task},
    world::{fault::Fault, sim::Sim},
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
            self.later_cluster(1_000, 6_000, ClusterMend::Revive(member));
        }
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
            ClusterMend::Fill(member, times) if !healing && times > 0 => {
                cluster.fill_further(now, member, self.rng.range(20_000, 150_000));
                self.later_cluster(20, 120, ClusterMend::Fill(member, times - 1));
            }
            ClusterMend::StartCopy(place) => {
                let Some(copy) = strikes.copy.take().filter(|_| !healing) else { return };
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
