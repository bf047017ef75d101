//! A cluster in this process, on sockets.

mod builder;
mod connection;
mod handle;
mod incidents;
mod listener;
mod shared;
mod stats;
mod stream;
mod timer;

use std::fmt;
use std::ops::Deref;

use tokio::sync::mpsc;

pub use builder::{ClusterBuilder, StartError, TransportLimits};
pub use handle::ClusterHandle;
pub use incidents::Incidents;
pub use stats::{Stats, TransportStats};

/// A running cluster. It stops when this is dropped; [`shutdown`](Self::shutdown) also waits for
/// it. Its switches are those of [`ClusterHandle`].
pub struct TestCluster {
    handle: ClusterHandle,
    ended: mpsc::Receiver<()>,
}

impl TestCluster {
    /// Settings of a new cluster: one member, running the key-value store on a free port.
    pub fn builder() -> ClusterBuilder {
        ClusterBuilder::default()
    }

    fn new(handle: ClusterHandle, ended: mpsc::Receiver<()>) -> Self {
        Self { handle, ended }
    }

    /// A handle that does not stop the cluster when it is dropped.
    pub fn handle(&self) -> ClusterHandle {
        self.handle.clone()
    }

    /// Stops the cluster: its ports are closed and all of its tasks have ended when this returns.
    pub async fn shutdown(mut self) {
        self.handle.shared.stop();
        // Nothing is ever sent: this ends when the last task has let go of the channel.
        while self.ended.recv().await.is_some() {}
    }
}

impl fmt::Debug for TestCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle.summary(f, "TestCluster")
    }
}

impl Deref for TestCluster {
    type Target = ClusterHandle;

    fn deref(&self) -> &ClusterHandle {
        &self.handle
    }
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        self.handle.shared.stop();
    }
}
