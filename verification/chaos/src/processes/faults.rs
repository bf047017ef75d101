//! Faults of server processes and of the network between them.

use std::time::Duration;

use fastrand::Rng;
use tokio::time::sleep;

use super::Cluster;
use crate::{failure::Failure, proxy::Cut};

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProcessFault {
    /// The leader is killed by SIGKILL and started again.
    KillLeader,
    /// A follower is killed and started again.
    KillFollower,
    /// The leader and a follower are killed at the same time and started again.
    KillMajority,
    /// All members are killed at the same time and started again.
    KillAll,
    /// The leader stands still by SIGSTOP, most often for longer than an election takes.
    FreezeLeader,
    /// A follower stands still.
    FreezeFollower,
    /// Nothing passes between the leader and the others; clients still reach it.
    CutOff,
    /// Nothing passes from the others to the leader.
    Deaf,
    /// Nothing passes from the leader to the others.
    Mute,
    /// Everything between members is delayed.
    Delay,
    /// Every client's connection is reset.
    Reset,
    /// Leadership is handed over.
    HandOver,
    /// A member's fsync fails with EIO. The member ends, and is started again.
    FailedSync,
    /// A member's write fails with EIO. The member ends, and is started again.
    FailedWrite,
    /// A member's write fails with ENOSPC. The member ends, and is started again.
    FullDisk,
}

impl ProcessFault {
    /// All kinds of faults. The last ones need a [`Layer`](super::Layer).
    pub const ALL: [Self; 15] = [
        Self::KillLeader,
        Self::KillFollower,
        Self::KillMajority,
        Self::KillAll,
        Self::FreezeLeader,
        Self::FreezeFollower,
        Self::CutOff,
        Self::Deaf,
        Self::Mute,
        Self::Delay,
        Self::Reset,
        Self::HandOver,
        Self::FailedSync,
        Self::FailedWrite,
        Self::FullDisk,
    ];
    /// Those that need a layer.
    const OF_DISKS: usize = 3;

    /// Returns the name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::KillLeader => "kill-leader",
            Self::KillFollower => "kill-follower",
            Self::KillMajority => "kill-majority",
            Self::KillAll => "kill-all",
            Self::FreezeLeader => "freeze-leader",
            Self::FreezeFollower => "freeze-follower",
            Self::CutOff => "cut-off",
            Self::Deaf => "deaf",
            Self::Mute => "mute",
            Self::Delay => "delay",
            Self::Reset => "reset",
            Self::HandOver => "hand-over",
            Self::FailedSync => "failed-sync",
            Self::FailedWrite => "failed-write",
            Self::FullDisk => "full-disk",
        }
    }

    /// Returns how many processes it kills.
    #[must_use]
    pub fn kills(self) -> u64 {
        match self {
            Self::KillLeader | Self::KillFollower => 1,
            Self::KillMajority => 2,
            Self::KillAll => 3,
            _ => 0,
        }
    }
}

/// Injects faults at random moments.
#[derive(Debug)]
pub struct Faults<'a> {
    cluster: &'a Cluster,
    rng: Rng,
}

impl<'a> Faults<'a> {
    /// Returns the faults of a cluster.
    #[must_use]
    pub fn new(cluster: &'a Cluster, seed: u64) -> Self {
        Self { cluster, rng: Rng::with_seed(seed) }
    }

    /// Returns the next fault.
    pub fn choose(&mut self) -> ProcessFault {
        let of_disks = if self.cluster.layer.is_some() { 0 } else { ProcessFault::OF_DISKS };
        ProcessFault::ALL[self.rng.usize(..ProcessFault::ALL.len() - of_disks)]
    }

    /// Injects a fault at a random moment, keeps it up for a while and takes it back. Completes when a member serves again.
    ///
    /// # Errors
    /// [`Failure`] if a member cannot be started, signalled or asked.
    pub async fn inject(&mut self, fault: ProcessFault) -> Result<(), Failure> {
        let cluster = self.cluster;
        let leader = cluster.leader().await?;
        let mut others: Vec<&str> = cluster.names().filter(|name| *name != leader).collect();
        self.rng.shuffle(&mut others);
        self.pass(5..200).await;
        match fault {
            ProcessFault::KillLeader => self.kill(&[&leader]).await?,
            ProcessFault::KillFollower => self.kill(&others[..1]).await?,
            ProcessFault::KillMajority => self.kill(&[&leader, others[0]]).await?,
            ProcessFault::KillAll => self.kill(&[&leader, others[0], others[1]]).await?,
            ProcessFault::FreezeLeader => self.freeze(&leader).await?,
            ProcessFault::FreezeFollower => self.freeze(others[0]).await?,
            ProcessFault::CutOff | ProcessFault::Deaf | ProcessFault::Mute => {
                for other in &others {
                    if fault != ProcessFault::Mute {
                        cluster.block(other, &leader);
                    }
                    if fault != ProcessFault::Deaf {
                        cluster.block(&leader, other);
                    }
                }
                self.pass(100..2500).await;
            }
            ProcessFault::Delay => {
                cluster.delay(Duration::from_millis(self.rng.u64(1..80)));
                self.pass(200..1500).await;
            }
            ProcessFault::Reset => {
                for name in cluster.names() {
                    if let Some(door) = cluster.door(name) {
                        door.cut(Cut::Reset).await;
                    }
                }
            }
            ProcessFault::FailedSync | ProcessFault::FailedWrite | ProcessFault::FullDisk => {
                let member = if self.rng.bool() { &leader } else { others[0] };
                cluster.fail_disk(member, fault).await?;
                self.pass(0..500).await;
                cluster.processes().open(member).map_err(Failure::Member)?;
            }
            // It is refused while another one is under way, for example after an election.
            ProcessFault::HandOver => drop(cluster.hand_over().await),
        }
        cluster.heal();
        cluster.leader().await.map(drop)
    }

    async fn kill(&mut self, names: &[&str]) -> Result<(), Failure> {
        let processes = self.cluster.processes();
        names.iter().for_each(|name| processes.kill(name));
        self.pass(0..1200).await;
        for name in names {
            processes.open(name).map_err(Failure::Member)?;
        }
        Ok(())
    }

    async fn freeze(&mut self, name: &str) -> Result<(), Failure> {
        let processes = self.cluster.processes();
        processes.freeze(name).map_err(Failure::Member)?;
        self.pass(100..3000).await;
        processes.thaw(name).map_err(Failure::Member)
    }

    /// Lets a random time pass, in milliseconds.
    async fn pass(&mut self, time: std::ops::Range<u64>) {
        sleep(Duration::from_millis(self.rng.u64(time))).await;
    }
}
