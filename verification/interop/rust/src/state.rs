//! The state of a SERVER that outlives its process.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

/// A file in which SERVERs keep their sessions and their log, in place of a replicated log. It is removed when this value
/// is dropped.
#[derive(Debug)]
pub struct State(PathBuf);

impl State {
    /// Creates an empty state.
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("zraft-interop-{}-{number}.state", std::process::id());
        let path = std::env::temp_dir().join(name);
        // An earlier process with the same id may have left a file behind.
        let _ = std::fs::remove_file(&path);
        Self(path)
    }

    /// Returns the path of the file, which need not exist yet.
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
