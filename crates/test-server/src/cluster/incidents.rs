//! The incidents of a cluster, as a stream.

use tokio::sync::broadcast::{self, error::RecvError};

use crate::engine::Incident;

/// Incidents that wait for one receiver. More than anyone reads at once, and a bound on memory: a flood of hostile
/// connections makes incidents faster than a terminal prints them.
pub(super) const CAPACITY: usize = 256;

/// The incidents of a cluster since [`ClusterHandle::incidents`](crate::ClusterHandle::incidents) was called.
///
/// At most 256 incidents wait. When more happen, the oldest are dropped, and [`dropped`](Self::dropped) counts them.
#[derive(Debug)]
pub struct Incidents {
    receiver: Option<broadcast::Receiver<Incident>>,
    dropped: u64,
}

impl Incidents {
    pub(super) fn new(receiver: Option<broadcast::Receiver<Incident>>) -> Self {
        Self { receiver, dropped: 0 }
    }

    /// Waits for the next incident. Returns `None` when the cluster has stopped.
    pub async fn next(&mut self) -> Option<Incident> {
        let receiver = self.receiver.as_mut()?;
        loop {
            match receiver.recv().await {
                Ok(incident) => return Some(incident),
                Err(RecvError::Lagged(count)) => self.dropped += count,
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// Returns the number of incidents dropped so far because too many waited.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}
