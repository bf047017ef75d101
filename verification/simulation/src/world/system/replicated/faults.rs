//! The faults of the replicated system, and what its operator does meanwhile.
//!
//! Any number of members may be down or cut off at a time. Of their disks, no more than one member's is lost or set back until
//! the operator has replaced that member: a cluster survives the loss of a minority of disks, not of a majority.

use zraft_protocol::SessionId;
use zraft_session::Settings;

use crate::{
    cluster::{DirectoryCopy, DiskFault, Link, Program, Task},
    world::{
        calendar::Mend,
        fault::Fault,
        sim::Sim,
        system::{SystemMend, replicated::Replicated},
    },
};

/// The end of a fault of the replicated system, or its next part.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ClusterMend {
    Start(usize),
    /// The disk works again, and the member runs again if it had ended.
    Revive(usize),
    Thaw(usize),
    /// The member stands still for these milliseconds. If true, clients do not reach it meanwhile.
    Suspend(usize, u64, bool),
    Kill(usize),
    /// The clients send a KeepAlive, or come back on a new connection.
    SignsOfLife,
    /// The leader hands over to this member.
    HandOver(usize),
    OpenWays,
    Clock(usize, i64),
    Speed(usize),
    /// The application works again.
    Application(usize),
    /// The directory is set back to what it was when the backup was made, once all members run; looks this many times more.
    RollBack(usize, u32),
    /// The operator replaces a member that has no disk, or one that its disk betrayed.
    Rejoin(usize),
    /// Other programs take more of a disk that fills up, this many times.
    Fill(usize, u32),
    /// The machine loses power after its process has restarted.
    PowerLoss(usize),
    /// A process starts on a copied directory, at this place.
    StartCopy(usize),
    RemoveCopy(usize),
    /// The place gets the new program; a running member is killed for it or stopped in order.
    Upgrade(usize, bool),
    /// The operator raises the level of the application.
    RaiseLevel,
    /// Strikes a snapshot transfer as soon as there is one; looks this many times more.
    Interrupt(usize, u32),
}

/// What the faults of this run must remember.
#[derive(Debug, Default)]
pub(super) struct Strikes {
    /// The member whose disk was lost or set back, until its place holds a sound member again.
    pub(super) damaged: Option<usize>,
    /// A member runs on a disk that was set back. The others know more than it does, and must live to say so: a member that
    /// lost what it acknowledged may make a majority with one that never had it.
    pub(super) set_back: bool,
    pub(super) backup: Option<zraft_simulated_disk::SimulatedDisk>,
    /// A copy of a member's directory, until a process starts on it.
    pub(super) copy: Option<DirectoryCopy>,
    /// The program that an upgrade brings. A run has at most one upgrade.
    pub(super) program: Option<Program>,
}

impl Sim {
    fn replicated(&mut self) -> Option<&mut Replicated> {
        self.system.replicated()
    }

    pub(super) fn later_cluster(&mut self, low: u64, high: u64, mend: ClusterMend) {
        self.later(low, high, Mend::System(SystemMend::Replicated(mend)));
    }

    /// Picks the leader half of the time, else any running member.
    pub(super) fn some_running(&mut self) -> Option<usize> {
        let leader = self.system.leader().filter(|_| self.rng.percent(50));
        if leader.is_some() {
            return leader;
        }
        let cluster = &self.system.replicated()?.cluster;
        let running: Vec<usize> =
            (0..self.members).filter(|place| cluster.is_running(*place)).collect();
        (!running.is_empty()).then(|| self.rng.pick(&running))
    }

    /// Picks a running member that does not serve.
    pub(super) fn some_follower(&mut self) -> Option<usize> {
        let leader = self.system.leader();
        let cluster = &self.system.replicated()?.cluster;
        let followers: Vec<usize> = (0..self.members)
            .filter(|place| cluster.is_running(*place) && Some(*place) != leader)
            .collect();
        (!followers.is_empty()).then(|| self.rng.pick(&followers))
    }

    pub(super) fn some_empty_place(&mut self) -> Option<usize> {
        let cluster = &self.system.replicated()?.cluster;
        let empty: Vec<usize> =
            (0..self.members).filter(|place| cluster.is_empty(*place)).collect();
        (!empty.is_empty()).then(|| self.rng.pick(&empty))
    }

    /// Brings a change of leadership about.
    pub(in crate::world::system) fn change_cluster_leader(&mut self) -> Option<Fault> {
        self.system.leader()?;
        if self.replicated().is_some_and(|system| system.strikes.set_back) {
            return None;
        }
        let alone = self.replicated().is_some_and(|system| system.cluster.voters() == 1);
        if alone && self.rng.percent(50) {
            // No other member can lead.
            return self.strike_leader(Fault::MemberSuspended).then_some(Fault::MemberSuspended);
        }
        let fault = self.rng.pick(&[
            Fault::CrashMember,
            Fault::KillMember,
            Fault::GracefulStop,
            Fault::MoveLeader,
            Fault::MemberSuspended,
            Fault::PeerPartition,
            Fault::StalledDisk,
            Fault::LeaderApart,
            Fault::StalledRemoval,
        ]);
        match fault {
            Fault::LeaderApart => return self.set_leader_apart().then_some(fault),
            Fault::StalledRemoval => return self.remove_while_stalled().then_some(fault),
            _ => {}
        }
        self.strike_leader(fault).then_some(fault)
    }

    fn strike_leader(&mut self, fault: Fault) -> bool {
        match self.system.leader() {
            Some(leader) => self.strike_member(fault, leader),
            None => false,
        }
    }

    /// Brings a fault of the members about. Returns true if that was possible.
    pub(in crate::world::system) fn strike_cluster(&mut self, fault: Fault) -> bool {
        if self.replicated().is_some_and(|system| system.strikes.set_back) {
            return false;
        }
        match fault {
            Fault::RawReconnect => self.raw_reconnects(),
            Fault::PeerLink | Fault::PeerSlow => self.strike_links(fault),
            Fault::RestartAll | Fault::CrashAll => self.strike_all(fault),
            Fault::RolledBackDisk | Fault::WipedDisk => self.strike_directory(fault),
            Fault::CopiedDirectory => self.copy_directory(),
            Fault::LeaderApart => self.set_leader_apart(),
            Fault::StalledRemoval => self.remove_while_stalled(),
            Fault::FillingDisk => self.fill_disks(),
            Fault::Upgrade => self.upgrade_members(),
            Fault::AddMember
            | Fault::RemoveMember
            | Fault::ReplaceMember
            | Fault::ChangeSettings
            | Fault::RemoveSession => self.strike_order(fault),
            Fault::SnapshotInterrupted => {
                // A member that was away for a while comes back behind the log that the others still have.
                let Some(follower) = self.some_follower() else { return false };
                let now = self.now;
                if let Some(system) = self.replicated() {
                    system.cluster.kill(now, follower);
                }
                let away = self.rng.range(600, 2_500);
                self.later_cluster(away, away, ClusterMend::Start(follower));
                self.later_cluster(away, away, ClusterMend::Interrupt(follower, 100));
                true
            }
            _ => match self.some_running() {
                Some(member) => self.strike_member(fault, member),
                None => false,
            },
        }
    }

    /// Strikes one running member.
    fn strike_member(&mut self, fault: Fault, member: usize) -> bool {
        let now = self.now;
        let rng = &mut self.rng;
        let Some(Replicated { cluster, .. }) = self.system.replicated() else { return false };
        if cluster.is_frozen(member) {
            return false;
        }
        let (low, high, mend) = match fault {
            Fault::CrashMember => {
                cluster.crash(now, member);
                (50, 3_000, ClusterMend::Start(member))
            }
            Fault::KillMember => {
                cluster.kill(now, member);
                (50, 3_000, ClusterMend::Start(member))
            }
            Fault::CrashTwice => {
                cluster.crash(now, member);
                cluster.start(now, member);
                cluster.disk_fault(now, member, DiskFault::Dead(rng.below(8)));
                (100, 2_000, ClusterMend::Revive(member))
            }
            Fault::GracefulStop => {
                cluster.stop(now, member);
                (300, 3_000, ClusterMend::Start(member))
            }
            Fault::CrashAtWrite => {
                cluster.disk_fault(now, member, DiskFault::Dead(rng.below(60)));
                (300, 3_000, ClusterMend::Revive(member))
            }
            Fault::FailingSync => {
                cluster.disk_fault(now, member, DiskFault::FailingSync(rng.below(6)));
                if rng.percent(50) {
                    // What only a cache held when the process started again is gone then.
                    self.later_cluster(800, 5_000, ClusterMend::PowerLoss(member));
                }
                (300, 3_000, ClusterMend::Revive(member))
            }
            Fault::FailingWrite => {
                cluster.disk_fault(now, member, DiskFault::FailingWrite(rng.below(20)));
                (300, 3_000, ClusterMend::Revive(member))
            }
            Fault::FullDisk => {
                cluster.disk_fault(now, member, DiskFault::Full(rng.below(20_000)));
                (500, 3_000, ClusterMend::Revive(member))
            }
            Fault::SlowDisk => {
                cluster.slow_disk(now, member, rng.range(5, 60) as u32);
                (500, 4_000, ClusterMend::Revive(member))
            }
            Fault::StalledDisk => {
                cluster.stall_disk(now, member);
                (200, 4_000, ClusterMend::Revive(member))
            }
            Fault::MemberSuspended => {
                cluster.freeze(now, member, false);
                if cluster.voters() == 1 && rng.percent(70) {
                    // It still leads once it goes on, and some sessions would have ended meanwhile.
                    let session = cluster.settings().session_timeout_millis;
                    (session * 4 / 5, session * 6 / 5, ClusterMend::Thaw(member))
                } else if rng.percent(40) {
                    // A leader may still lead, and must prove it before it takes what came meanwhile.
                    let shortest = cluster.timing().election_min.as_millis() as u64;
                    self.later_cluster(1, shortest, ClusterMend::SignsOfLife);
                    (shortest, 2 * shortest, ClusterMend::Thaw(member))
                } else {
                    (50, 4_000, ClusterMend::Thaw(member))
                }
            }
            Fault::MachineSuspended => {
                cluster.freeze(now, member, true);
                (50, 4_000, ClusterMend::Thaw(member))
            }
            Fault::MemberClock => {
                let most = rng.pick(&[100, 3_000, 20_000, 3_600_000]);
                let jump = rng.range(0, 2 * most) as i64 - most as i64;
                cluster.jump_wall(now, member, jump);
                (500, 4_000, ClusterMend::Clock(member, -jump))
            }
            Fault::SlowApplication => {
                cluster.slow_jobs(now, member, rng.range(10, 300) as u32);
                (300, 3_000, ClusterMend::Speed(member))
            }
            Fault::BrokenApplication => {
                cluster.break_application(now, member);
                (300, 4_000, ClusterMend::Application(member))
            }
            Fault::MoveLeader => {
                let to = rng.percent(70).then(|| rng.index(self.members));
                cluster.order(now, Task::HandOver { to });
                return true;
            }
            Fault::PeerPartition => {
                // The member is cut off with some others, or alone.
                let side: Vec<bool> =
                    (0..self.members).map(|place| place == member || rng.percent(30)).collect();
                for from in 0..self.members {
                    for to in 0..self.members {
                        if side[from] != side[to] {
                            cluster.block(now, from, to, true);
                        }
                    }
                }
                (200, 4_000, ClusterMend::OpenWays)
            }
            Fault::PeerOneWay => {
                let out = rng.percent(50);
                for other in (0..self.members).filter(|other| *other != member) {
                    let (from, to) = if out { (member, other) } else { (other, member) };
                    cluster.block(now, from, to, true);
                }
                (200, 4_000, ClusterMend::OpenWays)
            }
            Fault::PeerReset => {
                for other in (0..self.members).filter(|other| *other != member) {
                    cluster.reset_connections(now, member, other);
                }
                return true;
            }
            _ => return false,
        };
        self.later_cluster(low, high, mend);
        true
    }

    fn strike_links(&mut self, fault: Fault) -> bool {
        let now = self.now;
        let (a, b) = (self.rng.index(self.members), self.rng.index(self.members));
        let slow = self.rng.millis(5, 400);
        let jitter = self.rng.millis(0, 100);
        let Some(Replicated { cluster, .. }) = self.system.replicated() else { return false };
        if a == b || !cluster.is_running(a) || !cluster.is_running(b) {
            return false;
        }
        for (from, to) in [(a, b), (b, a)] {
            if fault == Fault::PeerLink {
                cluster.block(now, from, to, true);
            } else {
                let link = Link { latency: slow, jitter, duplicate: 10, ..Link::default() };
                cluster.set_link(now, from, to, link);
            }
        }
        self.later_cluster(200, 4_000, ClusterMend::OpenWays);
        true
    }

    fn strike_all(&mut self, fault: Fault) -> bool {
        let now = self.now;
        for member in 0..self.members {
            let Some(Replicated { cluster, .. }) = self.system.replicated() else { return false };
            if !cluster.is_running(member) {
                continue;
            }
            if fault == Fault::RestartAll {
                cluster.stop(now, member);
            } else {
                cluster.crash(now, member);
            }
            self.later_cluster(300, 2_500, ClusterMend::Start(member));
        }
        true
    }

    fn strike_order(&mut self, fault: Fault) -> bool {
        let now = self.now;
        let empty = self.some_empty_place();
        let member = self.rng.index(self.members);
        let client = self.some_client();
        let session =
            self.clients[client].judge.session_id().and_then(|id| SessionId::new(id).ok());
        let rng = &mut self.rng;
        let Some(Replicated { cluster, strikes, .. }) = self.system.replicated() else {
            return false;
        };
        let free = cluster.tasks() == 0 && strikes.damaged.is_none();
        let holds = |place: &usize| !cluster.is_empty(*place) && !cluster.is_copied(*place);
        let members = (0..self.members).filter(holds).count();
        let task = match (fault, empty, session) {
            (Fault::AddMember, Some(place), _) if free && members < 6 => Task::Add { place },
            (Fault::ReplaceMember, Some(new), _) if free && holds(&member) => {
                Task::Replace { old: member, new }
            }
            (Fault::RemoveMember, ..) if free && members > 1 && holds(&member) => {
                Task::Remove { place: member }
            }
            (Fault::RemoveSession, _, Some(session)) => Task::EndSession(session),
            (Fault::ChangeSettings, ..) => {
                let settings = Settings {
                    cached_answers: rng.range(50, 5_000) as u32,
                    server_requests: rng.range(200, 5_000) as u32,
                    ..cluster.settings().clone().into_inner()
                };
                let Ok(settings) = settings.check() else { return false };
                Task::Settings(Box::new(settings))
            }
            _ => return false,
        };
        let joins = match task {
            Task::Add { place } | Task::Replace { new: place, .. } => Some(place),
            _ => None,
        };
        cluster.order(now, task);
        if let Some(place) = joins {
            self.may_interrupt(place);
        }
        true
    }

    /// A member that joins gets a snapshot. Some of these transfers are interrupted.
    fn may_interrupt(&mut self, place: usize) {
        if self.rng.percent(40) {
            self.later_cluster(1, 60, ClusterMend::Interrupt(place, 200));
        }
    }

    pub(in crate::world::system) fn mend_cluster(&mut self, mend: ClusterMend) {
        let now = self.now;
        let healing = self.healing.is_some();
        let Some(Replicated { cluster, strikes, .. }) = self.system.replicated() else { return };
        match mend {
            ClusterMend::Start(member) => cluster.start(now, member),
            ClusterMend::Revive(member) => {
                cluster.mend_disk(now, member);
                cluster.start(now, member);
            }
            ClusterMend::Thaw(member) => cluster.thaw(now, member),
            ClusterMend::OpenWays => cluster.open_ways(now),
            ClusterMend::Clock(member, millis) => cluster.jump_wall(now, member, millis),
            ClusterMend::Speed(member) => cluster.slow_jobs(now, member, 1),
            ClusterMend::Application(member) => cluster.mend_application(now, member),
            ClusterMend::PowerLoss(member) => {
                if !healing && !strikes.set_back {
                    cluster.crash(now, member);
                    self.later_cluster(50, 2_000, ClusterMend::Start(member));
                }
            }
            ClusterMend::Suspend(..)
            | ClusterMend::Kill(_)
            | ClusterMend::SignsOfLife
            | ClusterMend::HandOver(_)
            | ClusterMend::Fill(..)
            | ClusterMend::StartCopy(_)
            | ClusterMend::RemoveCopy(_)
            | ClusterMend::Upgrade(..)
            | ClusterMend::RaiseLevel => self.go_on_striking(mend),
            ClusterMend::RollBack(member, times) => {
                if healing || times == 0 {
                    strikes.backup = None;
                    strikes.damaged = None;
                } else if !cluster.is_whole() {
                    self.later_cluster(50, 200, ClusterMend::RollBack(member, times - 1));
                } else if let Some(backup) = strikes.backup.take() {
                    strikes.set_back = true;
                    cluster.roll_back(now, member, backup);
                    self.coverage.count("disk", "set back");
                    self.later_cluster(300, 800, ClusterMend::Rejoin(member));
                }
            }
            ClusterMend::Rejoin(member) => {
                if healing && strikes.damaged != Some(member) {
                    return;
                }
                cluster.wipe(now, member);
                cluster.order(now, Task::Rejoin { place: member });
                (strikes.damaged, strikes.set_back) = (None, false);
                self.may_interrupt(member);
            }
            ClusterMend::Interrupt(member, times) => {
                if healing || times == 0 {
                    return;
                }
                if cluster.is_receiving(member) {
                    let from = cluster.leader();
                    match (self.rng.below(4), from) {
                        (0, Some(leader)) => cluster.crash(now, leader),
                        (1, Some(leader)) => cluster.reset_connections(now, leader, member),
                        (2, _) => {
                            // Perhaps in the write that installs the snapshot.
                            let fault = DiskFault::Dead(self.rng.below(60));
                            cluster.disk_fault(now, member, fault);
                            self.later_cluster(300, 2_000, ClusterMend::Revive(member));
                        }
                        _ => cluster.crash(now, member),
                    }
                    self.coverage.count("snapshot", "transfer interrupted");
                    self.later_cluster(50, 500, ClusterMend::Start(member));
                    if let Some(leader) = from {
                        self.later_cluster(50, 500, ClusterMend::Start(leader));
                    }
                } else {
                    self.later_cluster(3, 12, ClusterMend::Interrupt(member, times - 1));
                }
            }
        }
    }

    /// Ends every fault of the cluster. A member whose disk is damaged is replaced.
    pub(in crate::world::system) fn heal_cluster(&mut self) {
        let now = self.now;
        let Some(Replicated { cluster, strikes, .. }) = self.system.replicated() else { return };
        let damaged = strikes.damaged.take().filter(|_| strikes.backup.take().is_none());
        strikes.set_back = false;
        strikes.copy = None;
        for place in 0..self.members {
            cluster.remove_copy(now, place);
        }
        cluster.heal(now);
        if let Some(member) = damaged {
            cluster.wipe(now, member);
            cluster.order(now, Task::Rejoin { place: member });
        }
    }
}
