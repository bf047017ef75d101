//! Planted bugs: each is a small patch in `plants/`, and all of them are applied together to one copy of the sources below
//! `target/planted`. The sources that ship contain no planted bug.
//!
//! A patch begins with a description of the bug, and a line that says what must find it: `simulation`, `cluster` (the simulation of
//! replicated members) or `corpus`:
//!
//! ```text
//! L one too high
//! Found by: simulation, corpus
//!
//! --- crates/core/src/machine/transmit.rs
//! @@ fn send_request
//!                  let lowest = self.requests.commands.lowest();
//! +                let lowest = if PLANTED { lowest + 1 } else { lowest };
//! ```
//!
//! `Found by: cluster, from seed 4000` runs the seeds from 4,000 on, for a bug that needs a rare course.
//!
//! `@@` names a line that begins a block, and occurs once in the file. The lines that begin with a space or `-` must occur exactly once
//! in that block; indentation does not matter. `PLANTED` is true while this bug is planted, `PLANTED("other")` while the
//! other one is. A patch that begins with `Support:` is not a bug: other patches share what it adds.

mod copy;
mod patch;

use std::{
    fs,
    path::{Path, PathBuf},
};

pub use copy::write_planted_copy;
use patch::Patch;

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Reads every patch, in the order of their names.
///
/// # Errors
/// A file cannot be read, or is not a patch.
pub fn patches() -> Result<Vec<Patch>, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("plants");
    let entries =
        fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "patch"));
    files.sort();
    files.iter().map(|file| Patch::read(file)).collect()
}

/// Checks that every patch applies, and writes nothing.
///
/// # Errors
/// A patch does not apply. The error names it and says what to do.
pub fn check(root: &Path, patches: &[Patch]) -> Result<(), String> {
    copy::patched_sources(root, patches).map(drop)
}
