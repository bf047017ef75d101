//! The incidents of a cluster, as a stream.

use tokio::sync::broadcast::{self, error::RecvError};

use crate::engine::Incident;

/// Incidents that wait for one receiver. A cluster under a flood of hostile connections must not fill the memory of whoever
/// watches it.
pub(super) const WAITING: usize = 256;

/// The incidents of a cluster from the moment on at which [`ClusterHandle::incidents`](super::ClusterHandle::incidents) was
/// called.
///
/// At most 256 incidents wait. When more come, the oldest are dropped, and [`dropped`](Self::dropped) counts them.
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

    /// How many incidents were dropped so far because too many waited.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}
