//! Snapshot files: whole, verified, two kept, and sent in pieces.

use std::io::{Read, Write as _};

use zraft_replica::Write;
use zraft_simulated_disk::{Faults, SimulatedDisk};
use zraft_store::{Disk, RedbStore, Store, StoreError};

use crate::support::{append, entry, meta, new_cluster, take_snapshot, write};

fn store(disk: &SimulatedDisk) -> RedbStore {
    let mut store = RedbStore::create(disk.clone(), &new_cluster()).unwrap();
    let entries = (2..30).map(|index| entry(index, 1, "entry")).collect();
    store.write(&append(1, 1, 29, entries)).unwrap();
    store
}

fn files(disk: &SimulatedDisk) -> usize {
    disk.list().unwrap().iter().filter(|name| name.starts_with("snapshot-")).count()
}

#[test]
fn a_snapshot_is_read_back_as_it_was_written_whatever_its_length() {
    for len in [0, 1, 255 << 10, 256 << 10, (256 << 10) + 1, 3_000_000] {
        let disk = SimulatedDisk::new(1);
        let mut store = store(&disk);
        let body: Vec<u8> = (0..len).map(|at: usize| (at % 251) as u8).collect();
        take_snapshot(&store, &meta(10, 1), &body).unwrap();
        store.write(&Write { record: Some(meta(10, 1)), ..write(2, 1, 29) }).unwrap();
        drop(store);
        let store = RedbStore::open(disk).unwrap();
        let mut source = store.newest_snapshot().unwrap().unwrap();
        assert_eq!(source.meta(), &meta(10, 1));
        let mut read = Vec::new();
        source.read_to_end(&mut read).unwrap();
        source.verify().unwrap();
        assert!(read == body, "{len} bytes");
    }
}

#[test]
fn a_write_that_names_a_snapshot_without_a_complete_file_is_refused() {
    let disk = SimulatedDisk::new(1);
    let mut store = store(&disk);
    let record = Write { record: Some(meta(10, 1)), ..write(2, 1, 29) };
    assert!(matches!(store.write(&record), Err(StoreError::NoSnapshot { index: 10, term: 1 })));
    let mut writer = store.write_snapshot(&meta(10, 1)).unwrap();
    writer.write_all(b"state").unwrap();
    assert!(matches!(store.write(&record), Err(StoreError::NoSnapshot { .. })), "unfinished");
    writer.finish().unwrap();
    store.write(&record).unwrap();
}

#[test]
fn two_snapshots_are_kept_and_older_ones_are_deleted() {
    let disk = SimulatedDisk::new(1);
    let mut store = store(&disk);
    for (number, index) in (2..).zip([5, 10, 15, 20]) {
        take_snapshot(&store, &meta(index, 1), b"state").unwrap();
        store.write(&Write { record: Some(meta(index, 1)), ..write(number, 1, 29) }).unwrap();
        assert_eq!(files(&disk), (number as usize - 1).min(2));
    }
    assert_eq!(store.newest_snapshot().unwrap().unwrap().meta().index, 20);
    let kept = [5, 10, 15, 20].map(|index| store.snapshot(index).unwrap().is_some());
    assert_eq!(kept, [false, false, true, true]);
}

#[test]
fn a_write_that_could_not_delete_an_old_snapshot_fails() {
    for at in 0.. {
        let disk = SimulatedDisk::new(1);
        let mut store = store(&disk);
        for (number, index) in (2..).zip([5, 10]) {
            take_snapshot(&store, &meta(index, 1), b"state").unwrap();
            store.write(&Write { record: Some(meta(index, 1)), ..write(number, 1, 29) }).unwrap();
        }
        take_snapshot(&store, &meta(15, 1), b"state").unwrap();
        disk.plan(Faults { crash_at: Some(disk.usage().changes + at), ..Faults::default() });
        if store.write(&Write { record: Some(meta(15, 1)), ..write(4, 1, 29) }).is_ok() {
            assert!(at > 0 && files(&disk) == 2, "at change {at}");
            break;
        }
    }
}

#[test]
fn a_start_deletes_files_that_no_write_names() {
    let disk = SimulatedDisk::new(1);
    let mut store = store(&disk);
    take_snapshot(&store, &meta(5, 1), b"named").unwrap();
    store.write(&Write { record: Some(meta(5, 1)), ..write(2, 1, 29) }).unwrap();
    take_snapshot(&store, &meta(10, 1), b"complete, but never named").unwrap();
    let mut unfinished = store.write_snapshot(&meta(11, 1)).unwrap();
    unfinished.write_all(&[1; 600_000]).unwrap();
    assert_eq!(files(&disk), 3);
    drop((store, unfinished));
    RedbStore::open(disk.clone()).unwrap();
    assert_eq!(files(&disk), 1);
}

#[test]
fn a_missing_or_foreign_snapshot_file_is_refused_with_the_remedy() {
    let disk = SimulatedDisk::new(1);
    let mut store = store(&disk);
    take_snapshot(&store, &meta(5, 1), b"state").unwrap();
    store.write(&Write { record: Some(meta(5, 1)), ..write(2, 1, 29) }).unwrap();
    drop(store);
    let name = "snapshot-0000000000000001-0000000000000005";
    let missing = disk.copy(1);
    missing.remove(name).unwrap();
    let error = RedbStore::open(missing).unwrap_err().to_string();
    assert!(error.contains(name) && error.contains("add it again as a new member"), "{error}");
    let shorter = disk.copy(2);
    let file = shorter.open(name).unwrap();
    file.set_len(file.len().unwrap() - 1).unwrap();
    let error = RedbStore::open(shorter).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
}

#[test]
fn a_snapshot_crosses_to_another_member_in_pieces_and_goes_on_after_a_lost_one() {
    let (from, to) = (SimulatedDisk::new(1), SimulatedDisk::new(2));
    let (sender, mut receiver) = (store(&from), store(&to));
    let body = vec![5; 1_000_000];
    let taken = take_snapshot(&sender, &meta(40, 1), &body).unwrap();
    let mut sender = sender;
    let entries = (30..=40).map(|index| entry(index, 1, "entry")).collect();
    sender.write(&append(2, 1, 40, entries)).unwrap();
    sender.write(&Write { record: Some(meta(40, 1)), ..write(3, 1, 40) }).unwrap();

    let source = sender.newest_snapshot().unwrap().unwrap();
    assert_eq!(source.describe(), taken);
    let mut incoming = receiver.receive_snapshot(40, 1, source.file_len()).unwrap();
    let mut pieces = 0;
    while incoming.received() < source.file_len() {
        let piece = source.piece(incoming.received(), 70_000).unwrap();
        let at = incoming.received();
        assert!(!incoming.append(at + 1, &piece).unwrap(), "a piece out of order is not taken");
        assert!(incoming.append(at, &piece).unwrap());
        pieces += 1;
    }
    assert!(pieces > 10);
    assert!(!incoming.append(incoming.received(), b"more").unwrap(), "past the announced length");
    assert_eq!(incoming.finish().unwrap(), taken);
    receiver.write(&Write { install: Some(meta(40, 1)), ..write(2, 1, 40) }).unwrap();
    drop(receiver);
    let mut receiver = RedbStore::open(to).unwrap();
    assert_eq!(receiver.boot().unwrap().snapshot, meta(40, 1));
    let mut read = Vec::new();
    let mut source = receiver.newest_snapshot().unwrap().unwrap();
    source.read_to_end(&mut read).unwrap();
    source.verify().unwrap();
    assert!(read == body);
}

#[test]
fn a_member_can_take_the_snapshot_that_it_is_receiving() {
    let disk = SimulatedDisk::new(1);
    let mut sender = store(&disk);
    take_snapshot(&sender, &meta(10, 1), &[7; 600_000]).unwrap();
    sender.write(&Write { record: Some(meta(10, 1)), ..write(2, 1, 29) }).unwrap();
    let source = sender.snapshot(10).unwrap().unwrap();
    let whole = source.piece(0, source.file_len() as usize).unwrap();

    let store = store(&SimulatedDisk::new(2));
    let mut receiver = store.receive_snapshot(10, 1, source.file_len()).unwrap();
    let mut writer = store.write_snapshot(&meta(10, 1)).unwrap();
    assert!(receiver.append(0, &whole[..300_000]).unwrap());
    writer.write_all(&[7; 600_000]).unwrap();
    assert!(receiver.append(300_000, &whole[300_000..]).unwrap());
    let taken = writer.finish().unwrap();
    assert_eq!(receiver.finish().unwrap(), taken);
}

#[test]
fn a_snapshot_that_was_damaged_on_the_way_is_not_taken() {
    let (from, to) = (SimulatedDisk::new(1), SimulatedDisk::new(2));
    let (mut sender, receiver) = (store(&from), store(&to));
    take_snapshot(&sender, &meta(20, 1), &[5; 100_000]).unwrap();
    sender.write(&Write { record: Some(meta(20, 1)), ..write(2, 1, 29) }).unwrap();
    let source = sender.newest_snapshot().unwrap().unwrap();
    let bytes = source.piece(0, usize::MAX).unwrap();
    for at in [0, 9, 30, 50_000, bytes.len() - 1] {
        let mut damaged = bytes.to_vec();
        damaged[at] ^= 4;
        let mut incoming = receiver.receive_snapshot(20, 1, source.file_len()).unwrap();
        assert!(incoming.append(0, &damaged).unwrap());
        let error = incoming.finish().unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "byte {at}: {error}");
    }
    let mut incoming = receiver.receive_snapshot(20, 1, source.file_len()).unwrap();
    assert!(incoming.append(0, &bytes[..1000]).unwrap());
    assert!(matches!(incoming.finish(), Err(StoreError::Damaged { .. })), "incomplete");
    // The head is whole, and the configuration that it announces is not.
    let mut incoming = receiver.receive_snapshot(20, 1, 60).unwrap();
    assert!(incoming.append(0, &bytes[..60]).unwrap());
    assert!(matches!(incoming.finish(), Err(StoreError::Damaged { .. })), "cut in the head");
}
