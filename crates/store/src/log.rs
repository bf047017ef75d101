//! The log as tables of redb. Outside of this module, redb is named only by the file backend and by the conversion of errors.
//!
//! | table | key | value |
//! | --- | --- | --- |
//! | `entries` | index, chunk | a piece of an entry |
//! | `terms` | index | the term of the entries from this index on, up to the next key |
//! | `state` | name | format, hard state, first index, snapshots, configuration |
//!
//! redb is used narrowly: inserts, removes and ranges in three fixed tables, and commits with an fsync. No savepoints, no
//! renamed or deleted tables, no repair in place.

use std::sync::Arc;

use redb::{
    Builder, Database, Durability, ReadTransaction, ReadableDatabase, ReadableTable, Table,
    TableDefinition, WriteTransaction,
};
use zraft_replica::{Boot, Configuration, HardState, LogEntry, SnapshotMeta, Write};

use crate::{
    Disk, StoreError,
    backend::Backend,
    record::{
        Decoded, PartialEntry, SnapshotRecord, decode_hard_state, decode_snapshots,
        encode_hard_state, encode_snapshots, entry_chunks,
    },
    snapshots,
};

pub(crate) const FILE: &str = "log.redb";
const UNFINISHED: &str = "log.redb.partial";
const FORMAT: u32 = 1;

const ENTRIES: TableDefinition<'_, (u64, u32), &[u8]> = TableDefinition::new("entries");
const TERMS: TableDefinition<'_, u64, u64> = TableDefinition::new("terms");
const STATE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("state");

/// redb's default is 1 GiB. The replica keeps recent entries in memory, so the cache only serves laggards.
const CACHE: usize = 16 << 20;
/// One write deletes at most this many pieces of old entries, so that compaction never holds up a commit for long. Later
/// writes delete the rest.
const PRUNED_AT_ONCE: usize = 4096;
/// The snapshots that are kept: the newest, and the one that may still be on its way to another member.
const KEPT_SNAPSHOTS: usize = 2;

/// The log, open.
#[derive(Debug)]
pub(crate) struct Log {
    database: Database,
    snapshots: Vec<SnapshotRecord>,
    first_index: u64,
    last_index: u64,
}

type Result<T> = std::result::Result<T, StoreError>;

fn failed(error: impl Into<redb::Error>) -> StoreError {
    StoreError::database(FILE, error)
}

fn damaged(what: &'static str) -> StoreError {
    StoreError::damaged(FILE, what)
}

impl Log {
    /// Creates the log of a new member. A crash leaves the whole file or none.
    pub(crate) fn create(disk: &Arc<dyn Disk>, boot: &Boot) -> Result<()> {
        let file = disk.create(UNFINISHED).map_err(StoreError::io(FILE))?;
        let database = open(Backend(file.clone()))?;
        let transaction = begin(&database)?;
        {
            let mut state = transaction.open_table(STATE).map_err(failed)?;
            insert(&mut state, "format", &FORMAT.to_be_bytes())?;
            insert(&mut state, "hard state", &encode_hard_state(boot.hard_state))?;
            insert(&mut state, "first index", &boot.first_index.to_be_bytes())?;
            let snapshot = SnapshotRecord { meta: boot.snapshot.clone(), len: 0, hash: 0 };
            insert(&mut state, "snapshots", &encode_snapshots(&[snapshot]))?;
            insert(&mut state, "configuration", &boot.snapshot.configuration.encode())?;
            let mut terms = transaction.open_table(TERMS).map_err(failed)?;
            terms.insert(boot.snapshot.index, boot.snapshot.term).map_err(failed)?;
            transaction.open_table(ENTRIES).map_err(failed)?;
        }
        transaction.commit().map_err(failed)?;
        // Windows renames no open file.
        drop(database);
        file.sync().map_err(StoreError::io(FILE))?;
        disk.rename(UNFINISHED, FILE).map_err(StoreError::io(FILE))?;
        disk.sync().map_err(StoreError::io(FILE))
    }

    /// Opens the log, and reads what a member starts from.
    pub(crate) fn open(disk: &Arc<dyn Disk>) -> Result<(Self, Boot)> {
        let file = match disk.open(FILE) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(StoreError::Empty { folder: disk.name() });
            }
            file => file.map_err(StoreError::io(FILE))?,
        };
        if file.is_empty().map_err(StoreError::io(FILE))? {
            // redb would create a new database in it.
            return Err(damaged("it is empty"));
        }
        // An earlier process may have ended because a sync failed. What only a cache holds must not count as durable.
        file.reread().map_err(StoreError::io(FILE))?;
        let database = open(Backend(file))?;
        let mut log = Self { database, snapshots: Vec::new(), first_index: 0, last_index: 0 };
        let boot = log.read()?;
        for record in &log.snapshots {
            if record.len > 0 {
                snapshots::check(&**disk, record)?;
            }
        }
        snapshots::delete_others(&**disk, &log.snapshots)?;
        Ok((log, boot))
    }

    fn read(&mut self) -> Result<Boot> {
        let transaction = self.database.begin_read().map_err(failed)?;
        let state = transaction.open_table(STATE).map_err(failed)?;
        let format =
            state_value(&state, "format", |bytes| number(bytes, "the format is unreadable"))?;
        if format != u64::from(FORMAT) {
            return Err(StoreError::Version {
                file: FILE.to_owned(),
                found: format as u32,
                known: FORMAT,
            });
        }
        let hard_state = state_value(&state, "hard state", decode_hard_state)?;
        let first_index = state_value(&state, "first index", |bytes| {
            number(bytes, "the first index is unreadable")
        })?;
        self.snapshots = state_value(&state, "snapshots", decode_snapshots)?;
        let snapshot =
            self.snapshots.last().ok_or_else(|| damaged("it names no snapshot"))?.meta.clone();
        if first_index == 0 || first_index > snapshot.index + 1 {
            return Err(damaged("entries between the snapshot and the log are missing"));
        }
        if hard_state.commit < snapshot.index {
            return Err(damaged("the commit index is below the snapshot"));
        }
        let entries = entries(&transaction, snapshot.index + 1, u64::MAX, usize::MAX)?;
        self.first_index = first_index;
        self.last_index = entries.last().map_or(snapshot.index, |entry| entry.index);
        if hard_state.commit > self.last_index {
            return Err(damaged("committed entries are missing"));
        }
        let runs = runs(&transaction)?;
        for entry in &entries {
            if term_at(&runs, entry.index) != Some(entry.term) {
                return Err(damaged("the terms of the entries do not fit"));
            }
        }
        if term_at(&runs, snapshot.index) != Some(snapshot.term) {
            return Err(damaged("the term of the snapshot does not fit"));
        }
        let terms = runs_between(&runs, first_index - 1, snapshot.index);
        Ok(Boot { hard_state, snapshot, first_index, terms, entries })
    }

    /// Does one write of the replica in one transaction. Returns the snapshots that no longer count.
    pub(crate) fn write(&mut self, disk: &dyn Disk, write: &Write) -> Result<Vec<SnapshotRecord>> {
        self.check(write)?;
        let mut snapshots = self.snapshots.clone();
        for meta in write.install.iter().chain(&write.record) {
            let source = snapshots::SnapshotSource::open(disk, meta.index, meta.term)?;
            if source.meta() != meta {
                return Err(StoreError::NoSnapshot { index: meta.index, term: meta.term });
            }
            snapshots.push(source.record());
        }
        let surplus = snapshots.len().saturating_sub(KEPT_SNAPSHOTS);
        let dropped: Vec<_> = snapshots.drain(..surplus).collect();

        let transaction = begin(&self.database)?;
        let (mut first_index, mut last_index) = (self.first_index, self.last_index);
        {
            let mut log = transaction.open_table(ENTRIES).map_err(failed)?;
            let mut terms = transaction.open_table(TERMS).map_err(failed)?;
            let mut state = transaction.open_table(STATE).map_err(failed)?;
            if let Some(meta) = &write.install {
                remove_entries(&mut log, 0, usize::MAX)?;
                remove_terms(&mut terms, |_| true)?;
                terms.insert(meta.index, meta.term).map_err(failed)?;
                (first_index, last_index) = (meta.index + 1, meta.index);
            }
            if let Some(first) = write.first_index {
                first_index = first_index.max(first);
                let kept = term_run_start(&terms, first_index - 1)?;
                remove_terms(&mut terms, |start| start < kept)?;
            }
            prune(&mut log, first_index)?;
            if let Some(first) = write.entries.first() {
                if first.index <= last_index {
                    remove_entries(&mut log, first.index, usize::MAX)?;
                    remove_terms(&mut terms, |start| start >= first.index)?;
                }
                append(&mut log, &mut terms, &write.entries)?;
                last_index = first.index + write.entries.len() as u64 - 1;
            }
            insert(&mut state, "hard state", &encode_hard_state(write.hard_state))?;
            if first_index != self.first_index {
                insert(&mut state, "first index", &first_index.to_be_bytes())?;
            }
            if snapshots != self.snapshots {
                insert(&mut state, "snapshots", &encode_snapshots(&snapshots))?;
            }
            if let Some(configuration) = &write.configuration {
                insert(&mut state, "configuration", &configuration.encode())?;
            }
        }
        transaction.commit().map_err(failed)?;
        self.snapshots = snapshots;
        (self.first_index, self.last_index) = (first_index, last_index);
        Ok(dropped)
    }

    /// Refuses a write that would leave a gap, before anything changes.
    fn check(&self, write: &Write) -> Result<()> {
        let refuse = |what| Err(StoreError::OutOfOrder { number: write.number, what });
        let newest = self.snapshots.last().map_or(0, |record| record.meta.index);
        let mut snapshot = newest;
        let (mut first, mut last) = (self.first_index, self.last_index);
        if let Some(meta) = &write.install {
            if meta.index <= newest {
                return refuse("the installed snapshot is not newer");
            }
            snapshot = meta.index;
            (first, last) = (meta.index + 1, meta.index);
        }
        if let Some(meta) = &write.record {
            if meta.index <= snapshot || meta.index > last {
                return refuse("the recorded snapshot is not newer, or past the log");
            }
            snapshot = meta.index;
        }
        if let Some(at) = write.first_index {
            if at > snapshot + 1 {
                return refuse("entries after the snapshot would be deleted");
            }
            first = first.max(at);
        }
        if let Some(entry) = write.entries.first() {
            if entry.index > last + 1 || entry.index < first || entry.index <= snapshot {
                return refuse("the entries do not follow the log");
            }
            if write.entries.windows(2).any(|pair| pair[1].index != pair[0].index + 1) {
                return refuse("the entries have a gap");
            }
            last = entry.index + write.entries.len() as u64 - 1;
        }
        if write.hard_state.commit < snapshot || write.hard_state.commit > last {
            return refuse("the commit index is outside of the log");
        }
        Ok(())
    }

    /// Reads entries, for a member that lags behind. The first one is returned even if it is longer than `most_bytes`.
    pub(crate) fn entries(&self, from: u64, to: u64, most_bytes: usize) -> Result<Vec<LogEntry>> {
        if from < self.first_index || to > self.last_index + 1 {
            return Ok(Vec::new());
        }
        let transaction = self.database.begin_read().map_err(failed)?;
        entries(&transaction, from, to, most_bytes)
    }

    pub(crate) fn configuration(&self) -> Result<Configuration> {
        let transaction = self.database.begin_read().map_err(failed)?;
        let state = transaction.open_table(STATE).map_err(failed)?;
        state_value(&state, "configuration", |bytes| {
            let bytes = bytes::Bytes::copy_from_slice(bytes);
            Configuration::decode(&bytes).map_err(|_| "the configuration is unreadable")
        })
    }

    /// Returns the newest snapshot, if it has a file: a new member starts from an empty state that needs none.
    pub(crate) fn newest_snapshot(&self) -> Option<&SnapshotMeta> {
        self.snapshots.last().filter(|record| record.len > 0).map(|record| &record.meta)
    }

    /// Returns the snapshot at this index, if it counts and has a file.
    pub(crate) fn snapshot(&self, index: u64) -> Option<&SnapshotMeta> {
        let mut files = self.snapshots.iter().filter(|record| record.len > 0);
        files.find(|record| record.meta.index == index).map(|record| &record.meta)
    }

    /// Returns the length of the newest snapshot's file, 0 if it has none.
    pub(crate) fn newest_snapshot_len(&self) -> u64 {
        self.snapshots.last().map_or(0, |record| record.len)
    }

    pub(crate) fn hard_state(&self) -> Result<HardState> {
        let transaction = self.database.begin_read().map_err(failed)?;
        let state = transaction.open_table(STATE).map_err(failed)?;
        state_value(&state, "hard state", decode_hard_state)
    }
}

fn open(backend: Backend) -> Result<Database> {
    // Without the check, redb trusts the pages of a file that was closed well, and damage would be read as data. A start
    // reads the whole log anyway.
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE).set_check_integrity_on_open(true);
    builder.create_with_backend(backend).map_err(failed)
}

fn begin(database: &Database) -> Result<WriteTransaction> {
    let mut transaction = database.begin_write().map_err(failed)?;
    // One fsync for everything in the transaction, before commit returns.
    transaction.set_durability(Durability::Immediate).map_err(failed)?;
    Ok(transaction)
}

fn insert(table: &mut Table<'_, &str, &[u8]>, name: &str, value: &[u8]) -> Result<()> {
    table.insert(name, value).map_err(failed)?;
    Ok(())
}

fn state_value<T>(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    name: &'static str,
    decode: impl FnOnce(&[u8]) -> Decoded<T>,
) -> Result<T> {
    let value = table.get(name).map_err(failed)?.ok_or_else(|| damaged("a record is missing"))?;
    decode(value.value()).map_err(damaged)
}

fn number(bytes: &[u8], what: &'static str) -> Decoded<u64> {
    match *bytes {
        [a, b, c, d] => Ok(u32::from_be_bytes([a, b, c, d]).into()),
        _ => bytes.try_into().map(u64::from_be_bytes).map_err(|_| what),
    }
}

fn append(
    log: &mut Table<'_, (u64, u32), &[u8]>,
    terms: &mut Table<'_, u64, u64>,
    entries: &[LogEntry],
) -> Result<()> {
    let mut last = terms.last().map_err(failed)?.map(|(_, term)| term.value());
    for entry in entries {
        if last != Some(entry.term) {
            terms.insert(entry.index, entry.term).map_err(failed)?;
            last = Some(entry.term);
        }
        for (number, chunk) in (0..).zip(entry_chunks(entry)) {
            log.insert((entry.index, number), &chunk[..]).map_err(failed)?;
        }
    }
    Ok(())
}

/// Deletes up to `most` pieces of entries from `from` on.
fn remove_entries(log: &mut Table<'_, (u64, u32), &[u8]>, from: u64, most: usize) -> Result<()> {
    remove(log, (from, 0)..=(u64::MAX, u32::MAX), most)
}

/// Deletes some of the entries below `first_index`.
fn prune(log: &mut Table<'_, (u64, u32), &[u8]>, first_index: u64) -> Result<()> {
    remove(log, (0, 0)..=(first_index.saturating_sub(1), u32::MAX), PRUNED_AT_ONCE)
}

fn remove(
    log: &mut Table<'_, (u64, u32), &[u8]>,
    range: std::ops::RangeInclusive<(u64, u32)>,
    most: usize,
) -> Result<()> {
    let mut keys = Vec::new();
    for item in log.range(range).map_err(failed)?.take(most) {
        keys.push(item.map_err(failed)?.0.value());
    }
    for key in keys {
        log.remove(key).map_err(failed)?;
    }
    Ok(())
}

fn remove_terms(terms: &mut Table<'_, u64, u64>, unwanted: impl Fn(u64) -> bool) -> Result<()> {
    let mut keys = Vec::new();
    for item in terms.range::<u64>(..).map_err(failed)? {
        keys.push(item.map_err(failed)?.0.value());
    }
    for key in keys.into_iter().filter(|key| unwanted(*key)) {
        terms.remove(key).map_err(failed)?;
    }
    Ok(())
}

/// Returns where the run of equal terms begins that holds `index`.
fn term_run_start(terms: &Table<'_, u64, u64>, index: u64) -> Result<u64> {
    let mut range = terms.range(..=index).map_err(failed)?;
    let last = range.next_back().transpose().map_err(failed)?;
    Ok(last.map_or(0, |(start, _)| start.value()))
}

fn runs(transaction: &ReadTransaction) -> Result<Vec<(u64, u64)>> {
    let terms = transaction.open_table(TERMS).map_err(failed)?;
    let mut runs = Vec::new();
    for item in terms.range::<u64>(..).map_err(failed)? {
        let (start, term) = item.map_err(failed)?;
        runs.push((start.value(), term.value()));
    }
    if runs.windows(2).any(|pair| pair[0].1 >= pair[1].1) {
        return Err(damaged("the terms do not rise"));
    }
    Ok(runs)
}

fn term_at(runs: &[(u64, u64)], index: u64) -> Option<u64> {
    let after = runs.partition_point(|(start, _)| *start <= index);
    Some(runs[after.checked_sub(1)?].1)
}

/// Returns the runs from `from` to `to`, the first one cut to begin at `from`.
fn runs_between(runs: &[(u64, u64)], from: u64, to: u64) -> Vec<(u64, u64)> {
    let after = runs.partition_point(|(start, _)| *start <= from);
    let first = after.checked_sub(1).map(|at| (from, runs[at].1));
    let rest = runs[after..].iter().copied().take_while(|(start, _)| *start <= to);
    first.into_iter().chain(rest).collect()
}

fn entries(
    transaction: &ReadTransaction,
    from: u64,
    to: u64,
    most_bytes: usize,
) -> Result<Vec<LogEntry>> {
    let log = transaction.open_table(ENTRIES).map_err(failed)?;
    let mut entries: Vec<LogEntry> = Vec::new();
    let mut partial: Option<PartialEntry> = None;
    let mut bytes = 0;
    let mut next = from;
    for item in log.range((from, 0)..(to, 0)).map_err(failed)? {
        let (key, value) = item.map_err(failed)?;
        let (index, chunk) = key.value();
        if chunk > 0 {
            let entry = partial.as_mut().filter(|_| index + 1 == next);
            let entry = entry.ok_or_else(|| damaged("a part of an entry stands alone"))?;
            entry.further(value.value()).map_err(damaged)?;
            continue;
        }
        if let Some(entry) = partial.take() {
            let entry = entry.finish().map_err(damaged)?;
            bytes += entry.data.len();
            entries.push(entry);
            if bytes >= most_bytes {
                return Ok(entries);
            }
        }
        if index != next {
            return Err(damaged("an entry is missing"));
        }
        next = index + 1;
        partial = Some(PartialEntry::first(index, value.value()).map_err(damaged)?);
    }
    if let Some(entry) = partial {
        entries.push(entry.finish().map_err(damaged)?);
    }
    Ok(entries)
}
