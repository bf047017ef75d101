//! What the disk can do by itself.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// The bytes that are written before each sync: a page, the least that a log writes.
const BYTES: usize = 4096;

/// Appends pages to a file and syncs each of them, one after the other, for this time.
pub(super) fn fsyncs(folder: &Path, time: Duration) -> io::Result<Value> {
    let path = folder.join("fsyncs");
    let mut file = File::create(&path)?;
    let mut took: Histogram<u64> = Histogram::new(3).map_err(io::Error::other)?;
    let begin = Instant::now();
    while begin.elapsed() < time {
        let from = Instant::now();
        file.write_all(&[7; BYTES])?;
        file.sync_data()?;
        took.saturating_record(from.elapsed().as_micros() as u64);
    }
    let rate = took.len() as f64 / begin.elapsed().as_secs_f64();
    fs::remove_file(&path)?;
    Ok(
        json!({ "rate": rate, "p50": took.value_at_quantile(0.5), "p99": took.value_at_quantile(0.99) }),
    )
}
