//! The part of the log that the engine reads while it runs: all terms, and the entries that are not yet durable or not
//! yet handed to the state machine. The engine reads it synchronously, and it never reads a disk.

use std::{cell::RefCell, collections::VecDeque, ops::Range};

use raft::{
    GetEntriesContext, RaftState, StorageError,
    eraftpb::{Entry, Snapshot},
};

use super::convert;
use crate::{Boot, RaftId, SnapshotMeta};

/// What the engine asked for and this log does not have.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Entries that are no longer in memory, for one lagging member after the other.
    pub(super) fetch: Option<Range<u64>>,
    /// A snapshot that suits a member which needs one.
    pub(super) snapshot: bool,
}

#[derive(Debug)]
pub(super) struct MemoryLog {
    initial: RaftState,
    snapshot: SnapshotMeta,
    /// The index below the first entry of the log. Its term stays readable.
    start: u64,
    last: u64,
    /// Runs of equal terms from `start` on: first index and term.
    terms: VecDeque<(u64, u64)>,
    /// The entries in memory, up to `last`.
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Entries that the store read back for a lagging member. Only appends may use them.
    fetched: Vec<Entry>,
    /// The range that the store is reading.
    fetching: Option<Range<u64>>,
    wanted: RefCell<Wanted>,
}

impl MemoryLog {
    /// The log that a checked boot record describes.
    pub(super) fn new(boot: &Boot) -> Self {
        let mut log = Self {
            initial: RaftState::new(
                convert::hard_state_to_raft(boot.hard_state),
                convert::configuration_to_raft(&boot.snapshot.configuration),
            ),
            snapshot: boot.snapshot.clone(),
            start: boot.first_index - 1,
            last: boot.snapshot.index,
            terms: boot.terms.iter().copied().collect(),
            entries: VecDeque::new(),
            bytes: 0,
            fetched: Vec::new(),
            fetching: None,
            wanted: RefCell::default(),
        };
        log.append(boot.entries.iter().map(convert::entry_to_raft));
        log
    }

    /// Appends entries, and first drops those that they replace.
    pub(super) fn append(&mut self, entries: impl IntoIterator<Item = Entry>) {
        for entry in entries {
            if entry.index <= self.last {
                self.truncate(entry.index);
            }
            self.last = entry.index;
            if self.terms.back().is_none_or(|(_, term)| *term != entry.term) {
                self.terms.push_back((entry.index, entry.term));
            }
            self.bytes += size(&entry);
            self.entries.push_back(entry);
        }
    }

    /// Drops everything from `index` on.
    fn truncate(&mut self, index: u64) {
        while self.entries.back().is_some_and(|entry| entry.index >= index) {
            self.bytes -= self.entries.pop_back().as_ref().map_or(0, size);
        }
        while self.terms.back().is_some_and(|(first, _)| *first >= index) {
            self.terms.pop_back();
        }
        self.fetched.clear();
        self.last = index - 1;
    }

    /// Replaces the whole log by a snapshot.
    pub(super) fn install(&mut self, snapshot: SnapshotMeta) {
        self.entries.clear();
        self.fetched.clear();
        self.bytes = 0;
        (self.start, self.last) = (snapshot.index, snapshot.index);
        self.terms = VecDeque::from([(snapshot.index, snapshot.term)]);
        self.snapshot = snapshot;
    }

    /// Takes note of a snapshot of this member's own state.
    pub(super) fn record(&mut self, snapshot: SnapshotMeta) {
        self.snapshot = snapshot;
    }

    pub(super) fn newest_snapshot(&self) -> &SnapshotMeta {
        &self.snapshot
    }

    /// Forgets the log below `first_index`. The term of the entry before it stays.
    pub(super) fn compact(&mut self, first_index: u64) {
        let start = first_index - 1;
        if start <= self.start || start > self.last {
            return;
        }
        self.start = start;
        while self.terms.get(1).is_some_and(|(first, _)| *first <= start) {
            self.terms.pop_front();
        }
        if let Some(run) = self.terms.front_mut() {
            run.0 = start;
        }
        self.release(start, 0);
    }

    /// Drops entries up to `index` from memory, as long as more than `keep_bytes` are held.
    pub(super) fn release(&mut self, index: u64, keep_bytes: usize) {
        while self.bytes > keep_bytes
            && self.entries.front().is_some_and(|entry| entry.index <= index)
        {
            self.bytes -= self.entries.pop_front().as_ref().map_or(0, size);
        }
    }

    pub(super) fn first_index(&self) -> u64 {
        self.start + 1
    }

    /// The bytes of all entries in memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The term of an entry, or none if the log does not reach there.
    pub(super) fn term_of(&self, index: u64) -> Option<u64> {
        if index < self.start || index > self.last {
            return None;
        }
        let run = self.terms.partition_point(|(first, _)| *first <= index);
        self.terms.get(run.checked_sub(1)?).map(|(_, term)| *term)
    }

    pub(super) fn start_of_last_term(&self) -> u64 {
        self.terms.back().map_or(self.start, |(first, _)| *first)
    }

    pub(super) fn take_wanted(&mut self) -> Wanted {
        let mut wanted = self.wanted.take();
        // One read at a time. The engine asks again with every heartbeat.
        if self.fetching.is_some() {
            wanted.fetch = None;
        } else {
            self.fetching = wanted.fetch.clone();
        }
        wanted
    }

    /// Keeps what the store read, until the engine has sent it. Returns the index of the first entry if it was asked
    /// for.
    pub(super) fn fetched(&mut self, low: u64, entries: Vec<Entry>) -> Option<u64> {
        let asked = self.fetching.take()?;
        let right = asked.start == low
            && (low..).zip(&entries).all(|(index, entry)| {
                entry.index == index && self.term_of(index) == Some(entry.term)
            });
        if !right || entries.is_empty() {
            return None;
        }
        self.fetched = entries;
        Some(low)
    }

    pub(super) fn drop_fetched(&mut self) {
        self.fetched.clear();
    }

    fn offset(&self) -> u64 {
        self.last + 1 - self.entries.len() as u64
    }
}

/// What an entry takes in memory.
pub(super) fn size(entry: &Entry) -> usize {
    entry.data.len() + entry.context.len() + size_of::<Entry>()
}

fn limited<'a>(entries: impl Iterator<Item = &'a Entry>, most: Option<u64>) -> Vec<Entry> {
    let mut total = 0_u64;
    let fits = move |(at, entry): &(usize, &Entry)| {
        total += size(entry) as u64;
        *at == 0 || most.is_none_or(|most| total <= most)
    };
    entries.enumerate().take_while(fits).map(|(_, entry)| entry.clone()).collect()
}

impl raft::Storage for MemoryLog {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(self.initial.clone())
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.start {
            return Err(StorageError::Compacted.into());
        }
        let most = max_size.into();
        let offset = self.offset();
        if low >= offset {
            let range = (low - offset) as usize..(high - offset) as usize;
            return Ok(limited(self.entries.range(range), most));
        }
        if !context.can_async() {
            // Everything that the engine must have at once is in memory.
            return Err(StorageError::Unavailable.into());
        }
        if let Some(first) = self.fetched.first().map(|entry| entry.index)
            && low >= first
            && low - first < self.fetched.len() as u64
        {
            let from = (low - first) as usize;
            let to = self.fetched.len().min((high - first) as usize);
            return Ok(limited(self.fetched[from..to].iter(), most));
        }
        self.wanted.borrow_mut().fetch = Some(low..high.min(offset));
        Err(StorageError::LogTemporarilyUnavailable.into())
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index < self.start {
            return Err(StorageError::Compacted.into());
        }
        self.term_of(index).ok_or_else(|| StorageError::Unavailable.into())
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.first_index())
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last)
    }

    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        let to = RaftId::new(to);
        let snapshot = &self.snapshot;
        // A member ignores a snapshot that does not contain it, and the leader would wait for it without end.
        let suits = snapshot.index >= request_index.max(self.start)
            && snapshot.index > 0
            && to.is_some_and(|to| snapshot.configuration.contains(to));
        if !suits {
            self.wanted.borrow_mut().snapshot = true;
            return Err(StorageError::SnapshotTemporarilyUnavailable.into());
        }
        Ok(convert::snapshot_to_raft(snapshot))
    }
}
