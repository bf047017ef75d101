//! What waits for the disk: the next write, the write under way, and the messages that must not go before it.

use std::collections::VecDeque;

use crate::{Addressed, Configuration, HardState, LogEntry, Position, SnapshotMeta, Write};

/// A Ready of the engine that was taken and is not yet durable, or waits behind one that is not.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) number: u64,
    /// Whether it holds anything that must be written: a new commit index alone need not be.
    pub(super) must_write: bool,
    /// The snapshot that it installs.
    pub(super) install: Option<SnapshotMeta>,
    /// Promises that may be made only once everything up to this Ready is durable.
    pub(super) messages: Vec<Addressed>,
}

#[derive(Debug)]
struct UnderWay {
    write: u64,
    /// The last Ready that the write contains.
    ready: u64,
    commit: u64,
    /// What is durable with it: the last entry of the log, and the term of the hard state.
    position: Position,
}

#[derive(Debug)]
pub(super) struct Persistence {
    pending: VecDeque<Pending>,
    under_way: Option<UnderWay>,
    writes: u64,
    last_ready: u64,
    /// Everything of the Readys up to this one is durable.
    durable_ready: u64,
    /// The commit index that is durable.
    durable_commit: u64,
    /// The last entry of the log and the term of the hard state that are durable.
    durable: Position,
    hard_state: HardState,
    /// Whether there is anything to write.
    due: bool,
    draft: Draft,
}

#[derive(Debug, Default)]
struct Draft {
    install: Option<SnapshotMeta>,
    record: Option<SnapshotMeta>,
    first_index: Option<u64>,
    entries: Vec<LogEntry>,
    configuration: Option<Configuration>,
}

impl Persistence {
    pub(super) fn new(hard_state: HardState, last_index: u64) -> Self {
        Self {
            pending: VecDeque::new(),
            under_way: None,
            writes: 0,
            last_ready: 0,
            durable_ready: 0,
            durable_commit: hard_state.commit,
            durable: Position { index: last_index, term: hard_state.term },
            hard_state,
            due: false,
            draft: Draft::default(),
        }
    }

    pub(super) fn durable_commit(&self) -> u64 {
        self.durable_commit
    }

    pub(super) fn durable(&self) -> Position {
        self.durable
    }

    /// Whether anything that must be durable is not.
    pub(super) fn is_writing(&self) -> bool {
        self.pending.iter().any(|pending| pending.must_write)
    }

    pub(super) fn hard_state(&mut self, state: HardState) {
        self.hard_state = state;
    }

    /// Takes the entries of a Ready into the next write.
    pub(super) fn entries(&mut self, entries: Vec<LogEntry>) {
        if let (Some(first), Some(drafted)) = (entries.first(), self.draft.entries.first()) {
            let kept = first.index.saturating_sub(drafted.index);
            self.draft.entries.truncate(kept as usize);
        }
        self.draft.entries.extend(entries);
    }

    pub(super) fn install(&mut self, snapshot: SnapshotMeta) {
        self.draft.entries.clear();
        self.draft.record = None;
        self.draft.first_index = None;
        self.draft.configuration = Some(snapshot.configuration.clone());
        self.draft.install = Some(snapshot);
    }

    pub(super) fn record(&mut self, snapshot: SnapshotMeta) {
        self.draft.record = Some(snapshot);
        self.due = true;
    }

    pub(super) fn first_index(&mut self, index: u64) {
        self.draft.first_index = Some(index);
        self.due = true;
    }

    pub(super) fn configuration(&mut self, configuration: Configuration) {
        self.draft.configuration = Some(configuration);
        self.due = true;
    }

    /// Asks for a write even if it holds nothing but the commit index.
    pub(super) fn force(&mut self) {
        self.due = true;
    }

    pub(super) fn ready(&mut self, pending: Pending) {
        self.last_ready = pending.number;
        self.due |= pending.must_write;
        self.pending.push_back(pending);
    }

    /// The next write, if there is anything to write and no write is under way. Everything that came since the last one
    /// shares one transaction.
    pub(super) fn take_write(&mut self) -> Option<Write> {
        if !self.due || self.under_way.is_some() {
            return None;
        }
        self.due = false;
        self.writes += 1;
        let Draft { install, record, first_index, entries, configuration } =
            std::mem::take(&mut self.draft);
        let (number, hard_state) = (self.writes, self.hard_state);
        let installed = install.as_ref().map(|snapshot: &SnapshotMeta| snapshot.index);
        let last = entries.last().map(|entry: &LogEntry| entry.index).or(installed);
        let index = last.unwrap_or(self.durable.index);
        self.under_way = Some(UnderWay {
            write: number,
            ready: self.last_ready,
            commit: hard_state.commit,
            position: Position { index, term: hard_state.term },
        });
        Some(Write { number, install, record, first_index, entries, hard_state, configuration })
    }

    /// Takes note of a durable write. Returns false if that write is not under way.
    pub(super) fn persisted(&mut self, number: u64) -> bool {
        let Some(write) = self.under_way.take_if(|write| write.write == number) else {
            return false;
        };
        self.durable_ready = write.ready;
        self.durable_commit = write.commit;
        self.durable = write.position;
        true
    }

    /// The next Ready whose promises hold now.
    pub(super) fn next_durable(&mut self) -> Option<Pending> {
        let next = self.pending.front()?;
        if next.must_write && next.number > self.durable_ready {
            return None;
        }
        self.pending.pop_front()
    }

    /// Everything that decides what comes next, without the numbers by which Readys and writes are named.
    #[cfg(feature = "fingerprint")]
    pub(super) fn fingerprint(&self) -> impl std::fmt::Debug {
        let Self {
            pending, under_way, durable_ready, durable_commit, hard_state, due, draft, ..
        } = self;
        let written = under_way.as_ref().map_or(0, |write| write.ready);
        let pending: Vec<_> = pending
            .iter()
            .map(|each| {
                let Pending { number, must_write, install, messages } = each;
                (*number <= *durable_ready, *number <= written, must_write, install, messages)
            })
            .collect();
        let under_way = under_way.as_ref().map(|write| write.commit);
        format!("{pending:?} {under_way:?} {durable_commit} {hard_state:?} {due} {draft:?}")
    }
}
