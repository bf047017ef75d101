//! What a store must keep, and what it reads when a member starts.

use zraft_session::EntryBytes;

use crate::{Configuration, RaftId};

/// An entry of the Raft log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Its place in the log. Places have no gaps.
    pub index: u64,
    /// The term of the leader that appended it.
    pub term: u64,
    /// What `data` is.
    pub kind: EntryKind,
    /// A session entry, a change of the configuration, or nothing: the entry by which a leader begins its term.
    pub data: EntryBytes,
}

/// What an entry of the Raft log holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// An entry for the state machine, or nothing.
    Normal,
    /// A [`Change`](crate::Change) of the configuration.
    Change,
}

/// What Raft must never forget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    /// The highest term that the member has seen.
    pub term: u64,
    /// The member that got this member's vote in `term`.
    pub vote: Option<RaftId>,
    /// Entries up to this index are committed.
    pub commit: u64,
}

/// The state machine's state that a snapshot holds, as a place in the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotMeta {
    /// The last entry that the snapshot contains.
    pub index: u64,
    /// The term of that entry.
    pub term: u64,
    /// The configuration at that entry.
    pub configuration: Configuration,
}

/// One transaction of the store. The store makes all of it durable, or nothing.
///
/// At most one write is under way at a time. The store does the steps in the order of the fields, then reports the
/// number through [`Replica::persisted`](crate::Replica::persisted).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Counts up from 1 since the member started.
    pub number: u64,
    /// A snapshot that replaces the whole state. The store deletes all entries of the log and records the snapshot. Its
    /// file is already complete and verified.
    pub install: Option<SnapshotMeta>,
    /// A snapshot that this member took. The store records it and keeps the log.
    pub record: Option<SnapshotMeta>,
    /// The store deletes the entries below this index. The term of the entry just below it stays readable.
    pub first_index: Option<u64>,
    /// Entries to append. The store first deletes all entries from the first one's index on.
    pub entries: Vec<LogEntry>,
    /// Replaces the stored one. Its commit index is never below the index of a snapshot in the same write.
    pub hard_state: HardState,
    /// The newest configuration that is in force, for the addresses of the peers. Raft does not start from it.
    pub configuration: Option<Configuration>,
}

/// How much space the disk has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Space {
    /// Enough to go on as usual.
    #[default]
    Ample,
    /// Less than the reserve. The member takes no new commands from clients and makes its log shorter.
    Low,
}

/// What the store reads when a member starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot {
    /// The hard state of the last write.
    pub hard_state: HardState,
    /// The newest recorded snapshot. The state machine starts from it, and so does the configuration.
    pub snapshot: SnapshotMeta,
    /// The first index of the log that the store still has, at most the snapshot's index + 1.
    pub first_index: u64,
    /// The terms of the log from `first_index - 1` up to the snapshot's index: pairs of the first index and the term of
    /// each run of equal terms, in order.
    pub terms: Vec<(u64, u64)>,
    /// All entries after the snapshot's index, without a gap.
    pub entries: Vec<LogEntry>,
}

impl Boot {
    /// The index of the snapshot with which a cluster begins. It is above 0, so that a member that joins with an empty
    /// log, which knows no configuration, must get a snapshot first.
    pub const FIRST_SNAPSHOT: u64 = 1;

    /// Returns the state of each first member of a new cluster.
    #[must_use]
    pub fn of_new_cluster(configuration: Configuration) -> Self {
        let index = Self::FIRST_SNAPSHOT;
        Self {
            hard_state: HardState { term: 1, vote: None, commit: index },
            snapshot: SnapshotMeta { index, term: 1, configuration },
            first_index: index + 1,
            terms: vec![(index, 1)],
            entries: Vec::new(),
        }
    }

    /// Returns the state of a member that has an empty log and waits to be added to a cluster.
    #[must_use]
    pub fn of_joining_member() -> Self {
        Self {
            hard_state: HardState::default(),
            snapshot: SnapshotMeta::default(),
            first_index: 1,
            terms: vec![(0, 0)],
            entries: Vec::new(),
        }
    }

    pub(crate) fn check(&self) -> Result<(), StartError> {
        let SnapshotMeta { index, term, configuration } = &self.snapshot;
        let damaged = |what| Err(StartError::Damaged(what));
        if !configuration.is_consistent() {
            return damaged("the snapshot's configuration");
        }
        if self.first_index == 0 || self.first_index > index + 1 {
            return damaged("the log's first index");
        }
        if self.terms.first().is_none_or(|(first, _)| *first != self.first_index - 1)
            || !self.terms.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1)
            || self.terms.last().is_none_or(|(first, last)| first > index || last != term)
        {
            return damaged("the log's terms");
        }
        let mut last = (*index, *term);
        for entry in &self.entries {
            if entry.index != last.0 + 1 || entry.term < last.1 {
                return damaged("the log's entries");
            }
            last = (entry.index, entry.term);
        }
        let HardState { term, commit, .. } = self.hard_state;
        if commit < *index {
            return Err(StartError::CommitBelowSnapshot { commit, snapshot: *index });
        }
        if commit > last.0 {
            return Err(StartError::LostLog { commit, last: last.0 });
        }
        if term < last.1 {
            return damaged("the term, which is below the log's last term");
        }
        Ok(())
    }
}

/// Why a member cannot start from what its store holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A part of the stored state contradicts the rest.
    #[error("the stored state is damaged: {0}; restore this member as a new one")]
    Damaged(&'static str),
    /// The store recorded a snapshot without the commit index that covers it.
    #[error(
        "the commit index {commit} is below the snapshot at {snapshot}; restore this member as a new one"
    )]
    CommitBelowSnapshot {
        /// The stored commit index.
        commit: u64,
        /// The index of the snapshot.
        snapshot: u64,
    },
    /// Committed entries are missing.
    #[error("the log ends at {last}, but {commit} is committed; restore this member as a new one")]
    LostLog {
        /// The stored commit index.
        commit: u64,
        /// The last entry of the log.
        last: u64,
    },
    /// The cluster uses features that this version of the program does not know.
    #[error("the cluster is at feature level {needed}, this program knows {supported}; upgrade it")]
    FeatureLevel {
        /// The cluster's level.
        needed: u32,
        /// The program's level.
        supported: u32,
    },
    /// The timing is not usable.
    #[error("the timing is invalid: {0}")]
    Timing(&'static str),
    /// The engine refused to start.
    #[error("the Raft engine refused to start: {0}")]
    Engine(String),
}
