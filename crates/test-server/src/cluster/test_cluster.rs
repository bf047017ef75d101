use std::fmt;
use std::ops::Deref;

use tokio::sync::mpsc;

use super::handle::ClusterHandle;

/// A running cluster. It stops when this value is dropped; [`shutdown`](Self::shutdown) also waits until it has
/// stopped. Its methods are those of [`ClusterHandle`].
pub struct TestCluster {
    handle: ClusterHandle,
    /// Closed when the last task has ended.
    ended: mpsc::Receiver<()>,
}

impl TestCluster {
    pub(super) fn new(handle: ClusterHandle, ended: mpsc::Receiver<()>) -> Self {
        Self { handle, ended }
    }

    /// Returns a handle that does not stop the cluster when it is dropped.
    pub fn handle(&self) -> ClusterHandle {
        self.handle.clone()
    }

    /// Stops the cluster. When this returns, its ports are closed and all of its tasks have ended.
    pub async fn shutdown(mut self) {
        self.handle.shared.stop();
        // No task sends anything: this ends when the last of them has dropped its sender.
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
