//! The budget in `bench/results/budget.json`: the greatest allowed counts of codec, core and client.

use std::{io, path::PathBuf};

use serde_json::Value;

/// Returns the root folder of the repository.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub(crate) fn load() -> io::Result<Value> {
    let file = root().join("bench/results/budget.json");
    serde_json::from_str(&std::fs::read_to_string(file)?).map_err(io::Error::other)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) fn read() -> Value {
    load().unwrap()
}
