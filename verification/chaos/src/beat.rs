//! The schedule of a run, by time or by executed commands.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use zraft_test_server::ClusterHandle;

/// The distance between two scheduled actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// This much time.
    Every(Duration),
    /// This many executed commands.
    Executed(u64),
}

/// Counts beats from its creation.
#[derive(Debug)]
pub struct Beats {
    beat: Beat,
    cluster: ClusterHandle,
    started: Instant,
    executed: u64,
    count: u32,
}

impl Beats {
    /// Starts counting now.
    pub fn new(beat: Beat, cluster: ClusterHandle) -> Self {
        let executed = cluster.executed().0;
        Self { beat, cluster, started: Instant::now(), executed, count: 0 }
    }

    /// Waits for the next beat.
    pub async fn next(&mut self) {
        self.count += 1;
        match self.beat {
            Beat::Every(time) => sleep_until(self.started + time * self.count).await,
            Beat::Executed(commands) => {
                let reached = self.executed + commands * u64::from(self.count);
                self.cluster.journal_reached(reached).await;
            }
        }
    }
}
