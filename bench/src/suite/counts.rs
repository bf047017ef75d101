//! Counts: instructions with valgrind's callgrind, system calls with strace, and what commands cost members in entries and
//! fsyncs.
//!
//! Each count is the difference between a long and a short run, so that start and end do not count.

use std::{
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use zraft_bench::members::load::{self, Load};

use super::process::{Server, itself, say};
use crate::budget;

/// The requests by which the long run is longer: enough for a tenth of an instruction per request to show.
const MORE: u64 = 100_000;
/// The requests of the short run: enough for all buffers to have grown.
const FEW: u64 = 20_000;
/// The same for members, whose commands cost more: whole turns, and less than a follower's leader records.
const OF_MEMBERS: [u64; 2] = [12_800, 32_000];

pub(super) fn measure() -> io::Result<Value> {
    let mut rows = Vec::new();
    let mut row = |what: &str, value: f64| -> io::Result<()> {
        say(&format!("{what}: {value:.1}"))?;
        rows.push(
            json!({ "contender": "zraft", "at": { "what": what }, "rounds": [{ "value": value }] }),
        );
        Ok(())
    };
    // Under valgrind, rustix cannot read what it needs at the start; built on libc, it needs nothing.
    let program = build()?;
    let core = |what: &str, pending: u64| {
        per_request([FEW, MORE], |count| {
            let (count, pending) = (count.to_string(), pending.to_string());
            let arguments = ["core", "--what", what, "--pending", &pending, "--count", &count];
            instructions(&program, &arguments)
        })
    };
    row("codec", core("codec", 0)?)?;
    let one = core("command", 1)?;
    row("core.command", one)?;
    row("core.query", core("query", 1000)?)?;
    let million = core("command", 1_000_000)?;
    row("core.command with 1,000,000 pending", million)?;
    row("core.growth", million / one)?;

    for what in ["session", "leader", "follower"] {
        let count = per_request(OF_MEMBERS, |count| {
            instructions(&program, &["core", "--what", what, "--count", &count.to_string()])
        });
        row(&format!("{what}.command"), count?)?;
    }
    let cost = |copies| {
        let load = Load { sessions: 16, window: 4, commands: 400, copies };
        load::cost(load, 1).map_err(io::Error::other)
    };
    let (once, often) = (cost(1)?, cost(3)?);
    row("members.perCommand", often.entries as f64 / often.commands as f64)?;
    row("members.perThousandCommands", once.syncs as f64 * 1000.0 / once.commands as f64)?;

    let peer = Server::start(&["peer", "--answer", "equal"])?;
    let drive = |count: u64| {
        let mut arguments = vec!["drive".to_owned(), "--contender".to_owned(), "zraft".to_owned()];
        let count = count.to_string();
        for (name, value) in
            [("--endpoint", peer.endpoint.as_str()), ("--in-flight", "1024"), ("--count", &count)]
        {
            arguments.extend([name.to_owned(), value.to_owned()]);
        }
        arguments
    };
    row(
        "client.command",
        per_request([FEW, MORE], |count| instructions(&program, &drive(count)))?,
    )?;
    let calls =
        per_request([FEW, MORE], |count| system_calls(&itself()?, &drive(count * 10)))? / 10.0;
    row("client.perThousandCommands", calls * 1000.0)?;
    judge(&rows)?;
    Ok(json!({ "rows": rows }))
}

/// Returns what one request costs, from a run with few and one with more.
fn per_request([few, more]: [u64; 2], run: impl Fn(u64) -> io::Result<f64>) -> io::Result<f64> {
    Ok((run(few + more)? - run(few)?) / more as f64)
}

fn build() -> io::Result<PathBuf> {
    let target = budget::root().join("target/instructions");
    let status = Command::new("cargo")
        .args(["build", "--release", "--locked", "--quiet", "-p", "zraft-bench", "--target-dir"])
        .arg(&target)
        .env("RUSTFLAGS", "--cfg rustix_use_libc")
        .current_dir(budget::root())
        .status()?;
    if !status.success() {
        return Err(io::Error::other("cannot build the program to be counted"));
    }
    Ok(target.join("release/zraft-bench"))
}

fn instructions<S: AsRef<std::ffi::OsStr>>(program: &Path, arguments: &[S]) -> io::Result<f64> {
    let file = std::env::temp_dir().join(format!("zraft-callgrind.{}", std::process::id()));
    let mut option = std::ffi::OsString::from("--callgrind-out-file=");
    option.push(&file);
    let status = Command::new("valgrind")
        .args(["--tool=callgrind", "-q"])
        .arg(option)
        .arg(program)
        .args(arguments)
        .stdout(Stdio::null())
        .status()
        .map_err(|error| io::Error::other(format!("valgrind is needed: {error}")))?;
    if !status.success() {
        return Err(io::Error::other("the program failed under valgrind"));
    }
    let text = std::fs::read_to_string(&file)?;
    std::fs::remove_file(&file)?;
    let total = text
        .lines()
        .find_map(|line| line.strip_prefix("totals:").or(line.strip_prefix("summary:")));
    total
        .and_then(|total| total.split_whitespace().next()?.parse().ok())
        .ok_or_else(|| io::Error::other("callgrind printed no total"))
}

fn system_calls<S: AsRef<std::ffi::OsStr>>(program: &Path, arguments: &[S]) -> io::Result<f64> {
    let file = std::env::temp_dir().join(format!("zraft-strace.{}", std::process::id()));
    let status = Command::new("strace")
        .args(["-f", "-c", "-o"])
        .arg(&file)
        .arg(program)
        .args(arguments)
        .stdout(Stdio::null())
        .status()
        .map_err(|error| io::Error::other(format!("strace is needed: {error}")))?;
    if !status.success() {
        return Err(io::Error::other("the program failed under strace"));
    }
    let text = std::fs::read_to_string(&file)?;
    std::fs::remove_file(&file)?;
    // The last line has the sums: share, seconds, microseconds per call, calls.
    let total = text.lines().rev().find(|line| line.trim_end().ends_with("total"));
    total
        .and_then(|total| total.split_whitespace().nth(3)?.parse().ok())
        .ok_or_else(|| io::Error::other("strace printed no total"))
}

/// Compares the counts with the budget.
///
/// # Errors
/// Names all counts above the budget.
fn judge(rows: &[Value]) -> io::Result<()> {
    let budget = budget::load()?;
    let mut over = Vec::new();
    for row in rows {
        let (what, value) =
            (row["at"]["what"].as_str().unwrap_or_default(), row["rounds"][0]["value"].as_f64());
        if let (Some(value), Some(limit)) = (value, budget::limit(&budget, what))
            && value > limit
        {
            over.push(format!("{what}: {value:.1}, allowed {limit}"));
        }
    }
    if over.is_empty() {
        Ok(())
    } else {
        Err(io::Error::other(format!("over budget: {}", over.join("; "))))
    }
}
