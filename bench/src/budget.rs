//! The budget in `bench/results/budget.json`: the greatest allowed counts of codec, client and members.

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

/// Returns the limit of a count of `run --only counts`, or none if it has no budget.
pub(crate) fn limit(budget: &Value, what: &str) -> Option<f64> {
    ["instructions", "systemCalls", "entries", "syncs"]
        .iter()
        .find_map(|group| budget[*group][what].as_f64())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) fn read() -> Value {
    load().unwrap()
}
