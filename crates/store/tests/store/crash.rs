//! Opening after a crash at every operation: the state of some write, never a part of one, and never less than what was
//! durable.

use zraft_simulated_disk::{Faults, SimulatedDisk};
use zraft_store::{RedbStore, Store, StoreError};

use crate::support::{Model, append, entry, life, new_cluster, run, write};

/// The states that the store may have: after each write of the life.
fn states() -> Vec<Model> {
    let mut model = Model::new(&new_cluster());
    let mut states = vec![model.clone()];
    for step in life() {
        model.write(&step.write);
        states.push(model.clone());
    }
    states
}

fn live(disk: &SimulatedDisk) -> usize {
    let Ok(mut store) = RedbStore::create(disk.clone(), &new_cluster()) else { return 0 };
    run(&mut store, &life()).0
}

/// How many operations a whole life takes.
fn operations() -> u64 {
    let disk = SimulatedDisk::new(0);
    assert_eq!(live(&disk), life().len());
    disk.usage().changes
}

#[test]
fn after_a_crash_at_any_operation_a_start_finds_some_write_whole() {
    let states = states();
    let mut partly = 0;
    for seed in 0..4 {
        for at in 0..operations() {
            let disk = SimulatedDisk::new(seed * 10_000 + at);
            disk.plan(Faults { crash_at: Some(at), ..Faults::default() });
            let done = live(&disk);
            disk.crash();
            let mut store = match RedbStore::open(disk.clone()) {
                Ok(store) => store,
                Err(StoreError::Empty { .. }) if done == 0 => continue,
                Err(error) => panic!("crash at {at}, {done} writes durable: {error}"),
            };
            let boot = store.boot().unwrap();
            let found =
                (done..=done + 1).find(|at| states.get(*at).is_some_and(|s| s.boot() == boot));
            assert!(found.is_some(), "crash at {at} after {done} writes: {boot:?}");
            partly += usize::from(found == Some(done + 1));
            // What is left goes on as if nothing had happened.
            let rest = &life()[found.unwrap()..];
            let (ran, error) = run(&mut store, rest);
            assert_eq!(ran, rest.len(), "crash at {at}: {error:?}");
            drop(store);
            let end = RedbStore::open(disk).unwrap().boot().unwrap();
            assert_eq!(end, states.last().unwrap().boot());
        }
    }
    assert!(partly > 0, "no crash left a write that was not acknowledged");
}

#[test]
fn a_failed_sync_or_write_ends_the_store_and_loses_nothing_that_was_durable() {
    let states = states();
    let usage = {
        let disk = SimulatedDisk::new(0);
        live(&disk);
        disk.usage()
    };
    let syncs = (0..usage.syncs).map(|at| Faults { failing_sync: Some(at), ..Faults::default() });
    let writes =
        (0..usage.writes).map(|at| Faults { failing_write: Some(at), ..Faults::default() });
    for (seed, faults) in (0..).zip(syncs.chain(writes)) {
        let disk = SimulatedDisk::new(seed);
        disk.plan(faults);
        let Ok(mut store) = RedbStore::create(disk.clone(), &new_cluster()) else { continue };
        let (done, error) = run(&mut store, &life());
        if let Some(error) = error {
            assert!(matches!(error, StoreError::Io { .. } | StoreError::Ended), "{error}");
            if done > 0 {
                let again = store.write(&life()[done].write);
                assert!(
                    again.is_err(),
                    "{faults:?}: a write after a failed one is not acknowledged"
                );
            }
        }
        drop(store);
        disk.crash();
        let boot = RedbStore::open(disk).unwrap().boot().unwrap();
        let allowed = done..=done + 1;
        assert!(
            allowed.clone().any(|at| states.get(at).is_some_and(|state| state.boot() == boot)),
            "{faults:?} after {done} writes: {boot:?}"
        );
    }
}

#[test]
fn a_start_after_a_failed_sync_builds_on_nothing_that_only_a_cache_holds() {
    let states = states();
    let syncs = {
        let disk = SimulatedDisk::new(0);
        live(&disk);
        disk.usage().syncs
    };
    let mut restarts = 0;
    for (seed, at) in (0..syncs).flat_map(|at| (0..4).map(move |seed| (seed, at))) {
        for dropped in [false, true] {
            let disk = SimulatedDisk::new(seed * 1_000 + at);
            disk.plan(Faults { failing_sync: Some(at), ..Faults::default() });
            let Ok(mut store) = RedbStore::create(disk.clone(), &new_cluster()) else { continue };
            let (done, _) = run(&mut store, &life());
            drop(store);
            disk.plan(Faults::default());
            // Another process starts. The machine has run all the time, and its system keeps or drops what it could not write.
            if dropped {
                disk.drop_clean_blocks();
            }
            let mut store = RedbStore::open(disk.clone()).unwrap();
            let first = store.boot().unwrap();
            let found = (done..=done + 1)
                .find(|at| states.get(*at).is_some_and(|state| state.boot() == first));
            let case = format!("sync {at}, seed {seed}, dropped: {dropped}");
            assert!(found.is_some(), "{case}, {done} writes: {first:?}");
            // The machine loses power: what the member started from must still be there.
            drop(store);
            disk.crash();
            let mut store = RedbStore::open(disk).unwrap_or_else(|error| panic!("{case}: {error}"));
            assert_eq!(store.boot().unwrap(), first, "{case}");
            let rest = &life()[found.unwrap()..];
            let (ran, error) = run(&mut store, rest);
            assert_eq!(ran, rest.len(), "{case}: {error:?}");
            restarts += 1;
        }
    }
    assert!(restarts > 100, "only {restarts} restarts");
}

#[test]
fn a_full_disk_is_told_as_full_and_loses_nothing_that_was_durable() {
    let disk = SimulatedDisk::new(1);
    let mut store = RedbStore::create(disk.clone(), &new_cluster()).unwrap();
    let used = disk.bytes("log.redb").unwrap().len() as u64;
    disk.plan(Faults { capacity: Some(used + 4_000_000), ..Faults::default() });
    let mut number = 0;
    let error = loop {
        number += 1;
        let next = append(number, 1, 1, vec![entry(1 + number, 1, vec![1; 300_000])]);
        if let Err(error) = store.write(&next) {
            break error;
        }
        assert!(number < 100, "the disk is never full");
    };
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    assert!(matches!(store.write(&write(number + 1, 1, 1)), Err(StoreError::Ended)));
    drop(store);
    disk.plan(Faults::default());
    let boot = RedbStore::open(disk).unwrap().boot().unwrap();
    assert!(boot.entries.len() as u64 >= number - 1, "{} of {number}", boot.entries.len());
}

#[test]
fn damage_to_any_page_is_refused_or_harmless() {
    let disk = SimulatedDisk::new(1);
    live(&disk);
    let whole = RedbStore::open(disk.clone()).unwrap().boot().unwrap();
    let files = ["log.redb", "snapshot-0000000000000003-0000000000000014"];
    let mut refused = 0;
    for file in files {
        let len = disk.bytes(file).unwrap().len() as u64;
        for offset in (0..len).step_by(1009) {
            let copy = disk.copy(offset);
            copy.flip(file, offset, offset as u8);
            match RedbStore::open(copy) {
                Ok(mut store) => {
                    let source = store.newest_snapshot().unwrap().unwrap();
                    let mut source = source;
                    let read = std::io::copy(&mut source, &mut std::io::sink());
                    let sound = read.is_ok() && source.verify().is_ok();
                    refused += usize::from(!sound);
                    assert_eq!(store.boot().unwrap(), whole, "{file} at {offset}");
                }
                Err(
                    StoreError::Damaged { .. } | StoreError::Version { .. } | StoreError::Io { .. },
                ) => refused += 1,
                Err(error) => panic!("{file} at {offset}: {error}"),
            }
        }
    }
    assert!(refused > 0);
}
