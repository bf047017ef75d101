//! What is written is what a start reads.

use proptest::prelude::*;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use zraft_simulated_disk::SimulatedDisk;
use zraft_store::{Disk, Folder, RedbStore, Store, StoreError};

use crate::support::{Model, append, entry, life, new_cluster, run, write};

#[test]
fn a_new_store_starts_from_what_it_was_created_with() {
    let mut store = RedbStore::create(SimulatedDisk::new(1), &new_cluster()).unwrap();
    assert_eq!(store.boot().unwrap(), new_cluster());
    assert_eq!(store.configuration().unwrap(), new_cluster().snapshot.configuration);
    assert!(store.newest_snapshot().unwrap().is_none());
}

#[test]
fn a_start_reads_what_the_last_write_left_at_every_point_of_a_life() {
    let folder = tempfile::tempdir().unwrap();
    let mut model = Model::new(&new_cluster());
    drop(RedbStore::create(Folder::open(folder.path()).unwrap(), &new_cluster()).unwrap());
    for step in life() {
        let mut store = RedbStore::open(Folder::open(folder.path()).unwrap()).unwrap();
        let (done, error) = run(&mut store, std::slice::from_ref(&step));
        assert!(done == 1, "{error:?}");
        drop(store);
        model.write(&step.write);
        let mut store = RedbStore::open(Folder::open(folder.path()).unwrap()).unwrap();
        assert_eq!(store.boot().unwrap(), model.boot());
    }
}

#[test]
fn entries_for_a_laggard_are_limited_by_bytes_but_never_none() {
    let mut store = RedbStore::create(SimulatedDisk::new(1), &new_cluster()).unwrap();
    let long = vec![1; 100_000];
    let entries: Vec<_> = (2..12).map(|index| entry(index, 1, long.clone())).collect();
    store.write(&append(1, 1, 1, entries.clone())).unwrap();
    assert_eq!(store.entries(2, 12, usize::MAX).unwrap(), entries);
    assert_eq!(store.entries(5, 9, usize::MAX).unwrap(), entries[3..7]);
    assert_eq!(store.entries(2, 12, 1).unwrap(), entries[..1]);
    assert_eq!(store.entries(2, 12, 250_000).unwrap(), entries[..3]);
    assert_eq!(store.entries(2, 13, usize::MAX).unwrap(), [], "past the log");
    assert_eq!(store.entries(1, 3, usize::MAX).unwrap(), [], "before the log");
}

#[test]
fn a_write_that_would_leave_a_gap_is_refused_and_changes_nothing() {
    let mut store = RedbStore::create(SimulatedDisk::new(1), &new_cluster()).unwrap();
    store.write(&append(1, 1, 1, vec![entry(2, 1, "a")])).unwrap();
    let refused = [
        append(2, 1, 1, vec![entry(4, 1, "gap")]),
        append(2, 1, 1, vec![entry(3, 1, "a"), entry(5, 1, "gap inside")]),
        append(2, 1, 1, vec![entry(1, 1, "below the snapshot")]),
        write(2, 1, 3),
        write(2, 1, 0),
        zraft_replica::Write { first_index: Some(3), ..write(2, 1, 2) },
    ];
    for write in refused {
        let error = store.write(&write).unwrap_err();
        assert!(matches!(error, StoreError::OutOfOrder { number: 2, .. }), "{write:?}: {error}");
    }
    store.write(&append(2, 1, 2, vec![entry(3, 1, "b")])).unwrap();
    assert_eq!(store.entries(2, 4, usize::MAX).unwrap().len(), 2);
}

#[test]
fn a_write_costs_one_sync_and_growth_of_the_file_few_more() {
    let disk = SimulatedDisk::new(1);
    let mut store = RedbStore::create(disk.clone(), &new_cluster()).unwrap();
    let before = disk.usage().syncs;
    for number in 0..100 {
        let entries = (0..64).map(|at| entry(2 + number * 64 + at, 1, "a command")).collect();
        store.write(&append(number + 1, 1, 1, entries)).unwrap();
    }
    let syncs = disk.usage().syncs - before;
    assert!((100..=105).contains(&syncs), "{syncs} syncs for 100 writes");
}

#[test]
fn compaction_shrinks_what_a_start_reads_and_frees_its_pages() {
    let disk = SimulatedDisk::new(1);
    let mut store = RedbStore::create(disk.clone(), &new_cluster()).unwrap();
    let mut number = 0;
    let mut size = 0;
    for round in 0..30 {
        let first = 2 + round * 100;
        let entries = (first..first + 100).map(|index| entry(index, 1, vec![3; 10_000])).collect();
        number += 1;
        store.write(&append(number, 1, first, entries)).unwrap();
        let meta = crate::support::meta(first + 50, 1);
        crate::support::take_snapshot(&store, &meta, b"state").unwrap();
        number += 1;
        let compact = zraft_replica::Write {
            record: Some(meta.clone()),
            first_index: Some(meta.index),
            ..write(number, 1, first + 60)
        };
        store.write(&compact).unwrap();
        if round == 10 {
            size = disk.bytes("log.redb").unwrap().len();
        }
    }
    assert!(disk.bytes("log.redb").unwrap().len() <= size * 2, "the file does not grow for ever");
}

#[test]
fn a_log_that_does_not_begin_as_a_database_is_damaged() {
    let disk = SimulatedDisk::new(1);
    drop(RedbStore::create(disk.clone(), &new_cluster()).unwrap());
    disk.open("log.redb").unwrap().write_at(0, b"something else").unwrap();
    let opened = RedbStore::open(disk);
    assert!(matches!(opened, Err(StoreError::Damaged { .. })), "{opened:?}");
}

#[test]
fn compaction_deletes_the_terms_below_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Folder::open(folder.path()).unwrap();
    let mut store = RedbStore::create(disk, &new_cluster()).unwrap();
    // Each entry has its own term.
    let entries = (2..12).map(|index| entry(index, index, "a")).collect();
    store.write(&append(1, 11, 11, entries)).unwrap();
    let meta = crate::support::meta(9, 9);
    crate::support::take_snapshot(&store, &meta, b"state").unwrap();
    let write =
        zraft_replica::Write { record: Some(meta), first_index: Some(8), ..write(2, 11, 11) };
    store.write(&write).unwrap();
    drop(store);
    let database = Database::open(folder.path().join("log.redb")).unwrap();
    let table = database.begin_read().unwrap();
    let table = table.open_table(TableDefinition::<u64, u64>::new("terms")).unwrap();
    let terms = table.iter().unwrap().map(|item| item.unwrap().0.value());
    assert_eq!(terms.collect::<Vec<_>>(), [7, 8, 9, 10, 11], "7 is the term below the first entry");
}

#[test]
fn two_stores_never_use_one_directory_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = RedbStore::create(Folder::open(folder.path()).unwrap(), &new_cluster()).unwrap();
    let second = RedbStore::open(Folder::open(folder.path()).unwrap());
    assert!(matches!(second, Err(StoreError::InUse { .. })), "{second:?}");
    drop(store);
    RedbStore::open(Folder::open(folder.path()).unwrap()).unwrap();
}

#[test]
fn a_directory_without_a_log_is_not_taken_for_a_new_member() {
    let folder = tempfile::tempdir().unwrap();
    let opened = RedbStore::open(Folder::open(folder.path()).unwrap());
    assert!(matches!(opened, Err(StoreError::Empty { .. })), "{opened:?}");
    let store = RedbStore::create(Folder::open(folder.path()).unwrap(), &new_cluster()).unwrap();
    drop(store);
    let again = RedbStore::create(Folder::open(folder.path()).unwrap(), &new_cluster());
    assert!(matches!(again, Err(StoreError::Exists { .. })), "{again:?}");
}

#[derive(Debug, Clone)]
enum Act {
    /// Appends entries of these lengths, after cutting `cut` entries off the uncommitted tail.
    Append {
        cut: u64,
        lens: Vec<usize>,
    },
    Commit,
    /// Records a snapshot `below` entries below the commit index, and keeps `keep` entries before it.
    Record {
        below: u64,
        keep: u64,
    },
    /// Installs a snapshot `above` entries above the log's end.
    Install {
        above: u64,
    },
    Reopen,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0_u64..4, prop::collection::vec(0_usize..150_000, 1..4))
            .prop_map(|(cut, lens)| Act::Append { cut, lens }),
        2 => Just(Act::Commit),
        1 => (0_u64..3, 0_u64..3).prop_map(|(below, keep)| Act::Record { below, keep }),
        1 => (1_u64..5).prop_map(|above| Act::Install { above }),
        2 => Just(Act::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48,
        failure_persistence: Some(Box::new(
            proptest::test_runner::FileFailurePersistence::WithSource("proptest-regressions"),
        )),
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_course_of_writes_is_read_back_as_the_model_has_it(
        acts in prop::collection::vec(act(), 1..24),
    ) {
        let disk = SimulatedDisk::new(5);
        let mut store = RedbStore::create(disk.clone(), &new_cluster()).unwrap();
        let mut model = Model::new(&new_cluster());
        let (mut number, mut term) = (0, 1);
        for act in acts {
            let commit = model.hard_state.commit;
            let last = model.entries.keys().last().copied().unwrap_or(model.snapshot.index);
            number += 1;
            let mut next = write(number, term, commit);
            match act {
                Act::Append { cut, lens } => {
                    let first = (last + 1 - cut.min(last - commit)).max(model.snapshot.index + 1);
                    term += u64::from(cut > 0);
                    next.hard_state.term = term;
                    let entries = (first..).zip(lens);
                    next.entries = entries.map(|(index, len)| entry(index, term, vec![9; len])).collect();
                }
                Act::Commit => next.hard_state.commit = last,
                Act::Record { below, keep } => {
                    let index = commit.saturating_sub(below);
                    if index <= model.snapshot.index {
                        continue;
                    }
                    let meta = crate::support::meta(index, model.terms[&index]);
                    crate::support::take_snapshot(&store, &meta, b"state").unwrap();
                    let first = (index + 1).saturating_sub(keep);
                    next.first_index = Some(first.max(model.first_index));
                    next.record = Some(meta);
                }
                Act::Install { above } => {
                    term += 1;
                    let meta = crate::support::meta(last + above, term);
                    crate::support::take_snapshot(&store, &meta, b"state").unwrap();
                    next.hard_state.term = term;
                    next.hard_state.commit = meta.index;
                    next.install = Some(meta);
                }
                Act::Reopen => {
                    number = 0;
                    drop(store);
                    store = RedbStore::open(disk.clone()).unwrap();
                    prop_assert_eq!(store.boot().unwrap(), model.boot());
                    continue;
                }
            }
            store.write(&next).unwrap();
            model.write(&next);
        }
        drop(store);
        let mut store = RedbStore::open(disk).unwrap();
        prop_assert_eq!(store.boot().unwrap(), model.boot());
    }
}

/// The settings allow commands of up to 1 GiB. An entry that a start takes for damage would end the member permanently.
#[test]
fn an_entry_of_more_than_64_mib_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Folder::open(folder.path()).unwrap();
    let mut store = RedbStore::create(disk.clone(), &new_cluster()).unwrap();
    let long = entry(2, 1, vec![7; (64 << 20) + 1]);
    store.write(&append(1, 1, 2, vec![long.clone()])).unwrap();
    drop(store);
    let mut store = RedbStore::open(disk).unwrap();
    assert_eq!(store.boot().unwrap().entries, [long]);
}
