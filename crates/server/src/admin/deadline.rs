//! When a connection is given up.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// When a connection is given up. An answer that takes long postpones it as long as its receiver takes more of it.
#[derive(Clone, Debug)]
pub(super) struct Deadline {
    at: Arc<Mutex<Instant>>,
    time: Duration,
}

impl Deadline {
    /// Returns a deadline that passes after this time unless it is postponed.
    pub(super) fn after(time: Duration) -> Self {
        Self { at: Arc::new(Mutex::new(Instant::now() + time)), time }
    }

    /// Begins the time again.
    pub(super) fn postpone(&self) {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now() + self.time;
    }

    /// Waits until it has passed.
    pub(super) async fn passed(&self) {
        loop {
            let at = *self.at.lock().unwrap_or_else(PoisonError::into_inner);
            if Instant::now() >= at {
                return;
            }
            sleep_until(at).await;
        }
    }
}
