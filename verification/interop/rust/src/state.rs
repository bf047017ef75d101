//! What outlives a peer's process.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

/// A file in which SERVERs keep sessions and what they applied: it stands in for the replicated log. Removed when dropped.
#[derive(Debug)]
pub struct State(PathBuf);

impl State {
    /// Empty.
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("zraft-interop-{}-{number}.state", std::process::id());
        let path = std::env::temp_dir().join(name);
        // A process with the same number may have left one behind.
        let _ = std::fs::remove_file(&path);
        Self(path)
    }

    /// The file, which need not exist yet.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for State {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
