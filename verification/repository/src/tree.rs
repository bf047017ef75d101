//! The files of the repository.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// Returns the repository's root folder.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Returns the paths, relative to the root, of the files that git tracks or would add, sorted.
///
/// # Errors
/// `git` does not start, or this is not a git repository.
pub fn files() -> io::Result<Vec<String>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!(
            "git ls-files failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )));
    }
    let listed = String::from_utf8_lossy(&output.stdout);
    let mut files: Vec<String> =
        listed.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect();
    files.sort_unstable();
    files.dedup();
    Ok(files)
}

/// Reads a text file of the repository. Returns `None` if it is not text, or if git lists it but it was deleted.
///
/// # Errors
/// The file exists but cannot be read.
pub fn text(path: &str) -> io::Result<Option<String>> {
    match fs::read(root().join(path)) {
        Ok(bytes) => Ok(String::from_utf8(bytes).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
