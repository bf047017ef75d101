//! Writes as a replica makes them, and what a store must then hold.

use std::{collections::BTreeMap, io::Write as _};

use bytes::Bytes;
use zraft_protocol::MemberId;
use zraft_replica::{
    Boot, Configuration, EntryBytes, EntryKind, HardState, LogEntry, MemberInfo, RaftId,
    SnapshotFile, SnapshotMeta, Write,
};
use zraft_store::{RedbStore, Store, StoreError};

pub(crate) fn configuration() -> Configuration {
    let members = (1..=3).map(|number| {
        let name = MemberId::new(format!("node-{number}")).unwrap();
        let info =
            MemberInfo { name, address: format!("127.0.0.1:{}", 7100 + number), feature_level: 1 };
        (RaftId::new(number).unwrap(), info)
    });
    Configuration::of_voters(members)
}

pub(crate) fn new_cluster() -> Boot {
    Boot::of_new_cluster(configuration())
}

pub(crate) fn entry(index: u64, term: u64, data: impl Into<EntryBytes>) -> LogEntry {
    LogEntry { index, term, kind: EntryKind::Normal, data: data.into() }
}

pub(crate) fn meta(index: u64, term: u64) -> SnapshotMeta {
    SnapshotMeta { index, term, configuration: configuration() }
}

/// A write that changes nothing but the commit index.
pub(crate) fn write(number: u64, term: u64, commit: u64) -> Write {
    Write {
        number,
        install: None,
        record: None,
        first_index: None,
        entries: Vec::new(),
        hard_state: HardState { term, vote: RaftId::new(1), commit },
        configuration: None,
    }
}

pub(crate) fn append(number: u64, term: u64, commit: u64, entries: Vec<LogEntry>) -> Write {
    Write { entries, ..write(number, term, commit) }
}

/// The content that a store must have: a plain model of the rules of [`Write`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Model {
    pub(crate) hard_state: HardState,
    pub(crate) snapshot: SnapshotMeta,
    pub(crate) first_index: u64,
    pub(crate) terms: BTreeMap<u64, u64>,
    pub(crate) entries: BTreeMap<u64, LogEntry>,
}

impl Model {
    pub(crate) fn new(boot: &Boot) -> Self {
        Self {
            hard_state: boot.hard_state,
            snapshot: boot.snapshot.clone(),
            first_index: boot.first_index,
            terms: BTreeMap::from([(boot.snapshot.index, boot.snapshot.term)]),
            entries: BTreeMap::new(),
        }
    }

    pub(crate) fn write(&mut self, write: &Write) {
        if let Some(meta) = &write.install {
            self.entries.clear();
            self.terms = BTreeMap::from([(meta.index, meta.term)]);
            self.snapshot = meta.clone();
            self.first_index = meta.index + 1;
        }
        if let Some(meta) = &write.record {
            self.snapshot = meta.clone();
        }
        if let Some(first) = write.first_index {
            self.first_index = self.first_index.max(first);
            self.entries = self.entries.split_off(&self.first_index);
            self.terms = self.terms.split_off(&(self.first_index - 1));
        }
        if let Some(first) = write.entries.first() {
            self.entries.split_off(&first.index);
            self.terms.split_off(&first.index);
        }
        for entry in &write.entries {
            self.entries.insert(entry.index, entry.clone());
            self.terms.insert(entry.index, entry.term);
        }
        self.hard_state = write.hard_state;
    }

    /// What a member starts from.
    pub(crate) fn boot(&self) -> Boot {
        let mut terms: Vec<(u64, u64)> = Vec::new();
        for (&index, &term) in self.terms.range(self.first_index - 1..=self.snapshot.index) {
            if terms.last().is_none_or(|(_, last)| *last != term) {
                terms.push((index, term));
            }
        }
        Boot {
            hard_state: self.hard_state,
            snapshot: self.snapshot.clone(),
            first_index: self.first_index,
            terms,
            entries: self
                .entries
                .range(self.snapshot.index + 1..)
                .map(|(_, e)| e.clone())
                .collect(),
        }
    }
}

/// Takes a snapshot with this body.
pub(crate) fn take_snapshot(
    store: &RedbStore,
    meta: &SnapshotMeta,
    body: &[u8],
) -> Result<SnapshotFile, StoreError> {
    let mut writer = store.write_snapshot(meta)?;
    let io = |error| StoreError::Io { file: "snapshot".to_owned(), error };
    writer.write_all(body).map_err(io)?;
    writer.finish()
}

/// Does the writes in order, and returns how many were durable before the first error.
pub(crate) fn run(store: &mut RedbStore, script: &[Step]) -> (usize, Option<StoreError>) {
    for (done, step) in script.iter().enumerate() {
        let snapshot = step.snapshot.as_ref();
        let result = snapshot
            .map_or(Ok(()), |(meta, body)| take_snapshot(store, meta, body).map(drop))
            .and_then(|()| store.write(&step.write));
        if let Err(error) = result {
            return (done, Some(error));
        }
    }
    (script.len(), None)
}

/// A snapshot to take, then a write.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) snapshot: Option<(SnapshotMeta, Vec<u8>)>,
    pub(crate) write: Write,
}

impl From<Write> for Step {
    fn from(write: Write) -> Self {
        Self { snapshot: None, write }
    }
}

/// A member's life: appends, a changed term with a cut tail, a snapshot with compaction, an installed snapshot.
pub(crate) fn life() -> Vec<Step> {
    let long = Bytes::from(vec![7; 200_000]);
    let recorded = meta(4, 2);
    let installed = meta(20, 3);
    vec![
        append(1, 1, 1, vec![entry(2, 1, "a"), entry(3, 1, "b")]).into(),
        append(2, 1, 3, vec![entry(4, 1, "never committed"), entry(5, 1, long.clone())]).into(),
        append(3, 2, 3, vec![entry(4, 2, "c"), entry(5, 2, ""), entry(6, 2, long)]).into(),
        write(4, 2, 6).into(),
        Step {
            snapshot: Some((recorded.clone(), b"state at 4".repeat(1000))),
            write: Write { record: Some(recorded), ..write(5, 2, 6) },
        },
        Write { first_index: Some(4), ..append(6, 2, 7, vec![entry(7, 2, "d")]) }.into(),
        Write { configuration: Some(configuration()), ..write(7, 3, 7) }.into(),
        Step {
            snapshot: Some((installed.clone(), b"state at 20".repeat(1000))),
            write: Write { install: Some(installed), ..append(8, 3, 20, vec![entry(21, 3, "e")]) },
        },
        append(9, 3, 21, vec![entry(22, 3, "f")]).into(),
    ]
}
