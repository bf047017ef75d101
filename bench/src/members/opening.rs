//! Opening a member's log after its process was killed.

use std::{
    io::{self, BufRead, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use clap::Args;
use serde_json::json;
use zraft_protocol::MemberId;
use zraft_replica::{
    Boot, Configuration, EntryKind, HardState, LogEntry, MemberInfo, RaftId, SnapshotMeta, Write,
};
use zraft_store::{Folder, RedbStore, Store, StoreError};

/// Measures how long a log opens whose process was killed with SIGKILL
///
/// The log has entries of 1 KiB, and a snapshot that all but the last 64 MiB are in. Prints one line of JSON.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// MiB of entries.
    #[arg(long, default_value_t = 1024)]
    pub mib: u64,
    /// The folder for the member's directory. It is removed at the end.
    #[arg(long)]
    pub folder: Option<PathBuf>,
    /// Only write, until the process is killed.
    #[arg(long, hide = true)]
    pub fill: bool,
}

/// Bytes of an entry.
const ENTRY: usize = 1 << 10;
/// Entries in a write.
const BATCH: u64 = 64;
/// MiB of entries after the snapshot: those by which a member takes the next one.
const AFTER_SNAPSHOT: u64 = 64;

/// Runs the measurement and prints it.
///
/// # Errors
/// If the disk fails, or an entry is missing that was durable.
pub fn run(arguments: &Arguments) -> io::Result<()> {
    let folder = arguments.folder.clone().unwrap_or_else(|| {
        std::env::temp_dir().join(format!("zraft-opening-{}", std::process::id()))
    });
    if arguments.fill {
        return fill(&folder, arguments.mib).map_err(io::Error::other);
    }
    let measured = measure(&folder, arguments.mib);
    std::fs::remove_dir_all(&folder)?;
    io::stdout().write_fmt(format_args!("{}\n", measured?))
}

fn measure(folder: &Path, mib: u64) -> io::Result<serde_json::Value> {
    let began = Instant::now();
    let mut child = Command::new(std::env::current_exe()?)
        .args(["opening", "--fill", "--mib", &mib.to_string(), "--folder"])
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?).lines();
    // The child says this once enough is durable, and goes on writing.
    let durable = lines.next().ok_or(io::ErrorKind::UnexpectedEof)??;
    let filled = began.elapsed();
    child.kill()?;
    child.wait()?;
    let durable: u64 = durable.trim().parse().map_err(io::Error::other)?;
    let file = std::fs::metadata(folder.join("log.redb"))?.len();
    let begin = Instant::now();
    let disk = Folder::open(folder)?;
    let mut store = RedbStore::open(disk).map_err(io::Error::other)?;
    let boot = store.boot().map_err(io::Error::other)?;
    let after_kill = begin.elapsed();
    let last = boot.entries.last().map_or(0, |entry| entry.index);
    if last < durable {
        return Err(io::Error::other(format!("the log ends at {last}, {durable} was durable")));
    }
    drop((store, boot));
    let begin = Instant::now();
    let mut store = RedbStore::open(Folder::open(folder)?).map_err(io::Error::other)?;
    store.boot().map_err(io::Error::other)?;
    let again = begin.elapsed();
    Ok(json!({
        "fileMiB": file >> 20,
        "fillSeconds": filled.as_secs_f64(),
        "openAfterKillSeconds": after_kill.as_secs_f64(),
        "openAfterCloseSeconds": again.as_secs_f64(),
    }))
}

/// Writes a log of this size, says so, and goes on until it is killed.
fn fill(folder: &Path, mib: u64) -> Result<(), StoreError> {
    let io = |error| StoreError::Io { file: "the data directory".to_owned(), error };
    let name = MemberId::new("node-1").map_err(|error| io(io::Error::other(error)))?;
    let info = MemberInfo { name, address: String::new(), feature_level: 1 };
    let id = RaftId::new(1).ok_or_else(|| io(io::ErrorKind::InvalidInput.into()))?;
    let configuration = Configuration::of_voters([(id, info)]);
    let boot = Boot::of_new_cluster(configuration.clone());
    let mut store = RedbStore::create(Folder::create(folder).map_err(io)?, &boot)?;
    let entries = (mib << 20) / ENTRY as u64;
    let recorded = entries.saturating_sub((AFTER_SNAPSHOT << 20) / ENTRY as u64).max(1);
    let mut last = Boot::FIRST_SNAPSHOT;
    let (mut number, mut snapshot, mut told) = (0, None, false);
    loop {
        number += 1;
        let mut write = Write {
            number,
            install: None,
            record: None,
            first_index: None,
            entries: (1..=BATCH).map(|at| entry(last + at)).collect(),
            hard_state: HardState { term: 1, vote: Some(id), commit: last },
            configuration: None,
        };
        if snapshot.is_none() && last >= recorded {
            let meta = SnapshotMeta { index: last, term: 1, configuration: configuration.clone() };
            let mut writer = store.write_snapshot(&meta)?;
            writer.write_all(b"a state").map_err(io)?;
            snapshot = Some(writer.finish()?);
            write.record = Some(meta);
        }
        store.write(&write)?;
        last += BATCH;
        if last >= entries && !told {
            told = true;
            io::stdout().write_fmt(format_args!("{last}\n")).map_err(io)?;
        }
    }
}

fn entry(index: u64) -> LogEntry {
    // Not all the same, as a file system that compresses would notice.
    let data: Vec<u8> = index.to_be_bytes().into_iter().cycle().take(ENTRY).collect();
    LogEntry { index, term: 1, kind: EntryKind::Normal, data: data.into() }
}
