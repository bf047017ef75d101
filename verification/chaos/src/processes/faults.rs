//! Faults of server processes and of the network between them.

use std::time::Duration;

use fastrand::Rng;
use tokio::time::sleep;

use super::{Cluster, Layer};
use crate::{failure::Failure, proxy::Cut};

/// How far a clock is set at most: the cluster's time follows a leap of 10 s, and waits for an operator at a longer one.
const MOST_MILLIS: i64 = 120_000;

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
    /// The leader is killed, its disk loses writes that were not synced, and it is started again.
    LeaderLosesPower,
    /// The same of all members at the same time.
    AllLosePower,
    /// A member's wall clock is set ahead or back by up to two minutes.
    SetClock,
}

impl ProcessFault {
    /// All kinds of faults.
    pub const ALL: [Self; 18] = [
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
        Self::LeaderLosesPower,
        Self::AllLosePower,
        Self::SetClock,
    ];

    /// Returns true if the layer has the library that this fault needs.
    fn is_possible(self, layer: &Layer) -> bool {
        match self {
            Self::FailedSync | Self::FailedWrite | Self::FullDisk => layer.fails_disks(),
            Self::LeaderLosesPower | Self::AllLosePower | Self::SetClock => layer.loses_power(),
            _ => true,
        }
    }

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
            Self::LeaderLosesPower => "leader-loses-power",
            Self::AllLosePower => "all-lose-power",
            Self::SetClock => "set-clock",
        }
    }

    /// Returns how many processes it kills.
    #[must_use]
    pub fn kills(self) -> u64 {
        match self {
            Self::KillLeader | Self::KillFollower | Self::LeaderLosesPower => 1,
            Self::KillMajority => 2,
            Self::KillAll | Self::AllLosePower => 3,
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
        let possible = ProcessFault::ALL.into_iter();
        let possible: Vec<_> =
            possible.filter(|fault| fault.is_possible(&self.cluster.layer)).collect();
        possible[self.rng.usize(..possible.len())]
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
            ProcessFault::LeaderLosesPower => self.lose_power(&[&leader]).await?,
            ProcessFault::AllLosePower => {
                self.lose_power(&[&leader, others[0], others[1]]).await?;
            }
            ProcessFault::SetClock => {
                let member = if self.rng.bool() { &leader } else { others[0] };
                cluster.set_clock(member, self.rng.i64(-MOST_MILLIS..MOST_MILLIS))?;
                self.pass(200..2000).await;
                // Else it stays wrong until it is set again.
                if self.rng.bool() {
                    cluster.set_clock(member, 0)?;
                }
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

    async fn lose_power(&mut self, names: &[&str]) -> Result<(), Failure> {
        self.cluster.lose_power(names, &mut self.rng)?;
        self.pass(0..1200).await;
        for name in names {
            self.cluster.processes().open(name).map_err(Failure::Member)?;
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
