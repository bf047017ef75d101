//! The log in memory: which entries and terms it still has, and what it asks the store for.

use raft::{Error, GetEntriesContext, Storage, StorageError, eraftpb::Entry};

use super::cluster::voters;
use crate::{
    Boot,
    engine::memory_log::{MemoryLog, size},
};

fn entry(index: u64, term: u64) -> Entry {
    Entry { index, term, data: vec![7; 100].into(), ..Entry::default() }
}

/// A log with the entries 2 to 9, of term 1 up to 4 and of term 2 from there on.
fn log() -> MemoryLog {
    let mut log = MemoryLog::new(&Boot::of_new_cluster(voters(3)));
    log.append((2..10).map(|index| entry(index, if index < 5 { 1 } else { 2 })));
    log
}

fn read(log: &MemoryLog, low: u64, high: u64, most: Option<u64>) -> Result<Vec<u64>, Error> {
    let entries = log.entries(low, high, most, GetEntriesContext::empty(true))?;
    Ok(entries.iter().map(|entry| entry.index).collect())
}

fn terms(log: &MemoryLog) -> Vec<Option<u64>> {
    (0..12).map(|index| log.term_of(index)).collect()
}

#[test]
fn entries_replace_all_entries_from_their_index_on() {
    let mut log = log();
    log.append([entry(6, 3), entry(7, 3)]);
    assert_eq!(log.last_index(), Ok(7));
    assert_eq!(read(&log, 2, 8, None), Ok(vec![2, 3, 4, 5, 6, 7]));
    let (one, two, three) = (Some(1), Some(2), Some(3));
    let expected = [None, one, one, one, one, two, three, three, None, None, None, None];
    assert_eq!(terms(&log), expected);
    assert_eq!(log.start_of_last_term(), 6);
    assert_eq!(log.bytes(), 6 * size(&entry(2, 1)));
}

#[test]
fn a_whole_term_is_replaced_with_its_first_entry() {
    let mut log = log();
    log.append([entry(5, 4)]);
    assert_eq!((log.term_of(4), log.term_of(5), log.term_of(6)), (Some(1), Some(4), None));
    assert_eq!(log.start_of_last_term(), 5);
}

#[test]
fn entries_leave_the_memory_in_order_and_only_above_the_limit() {
    let mut log = log();
    let one = size(&entry(2, 1));
    log.release(9, 6 * one);
    assert_eq!(log.bytes(), 6 * one);
    log.release(5, 0);
    assert_eq!(log.bytes(), 4 * one, "the entries above the index stay");
    assert_eq!(read(&log, 6, 10, None), Ok(vec![6, 7, 8, 9]));
    assert_eq!(log.term_of(3), Some(1), "the terms stay");
}

#[test]
fn a_compacted_log_keeps_the_term_below_its_first_entry() {
    let mut log = log();
    log.compact(7);
    assert_eq!(log.first_index(), 7);
    assert_eq!((log.term_of(5), log.term_of(6), log.term_of(7)), (None, Some(2), Some(2)));
    assert_eq!(read(&log, 6, 8, None), Err(Error::Store(StorageError::Compacted)));
    assert_eq!(read(&log, 7, 9, None), Ok(vec![7, 8]));
    assert_eq!(log.bytes(), 3 * size(&entry(2, 1)));
    // Nothing is above the last entry, and what is gone stays gone.
    log.compact(12);
    log.compact(3);
    assert_eq!(log.first_index(), 7);
    log.compact(10);
    assert_eq!((log.first_index(), log.bytes(), log.term_of(9)), (10, 0, Some(2)));
}

#[test]
fn a_read_returns_as_many_entries_as_fit_and_at_least_one() {
    let log = log();
    let one = size(&entry(2, 1)) as u64;
    assert_eq!(read(&log, 3, 9, Some(3 * one)), Ok(vec![3, 4, 5]));
    assert_eq!(read(&log, 3, 9, Some(3 * one - 1)), Ok(vec![3, 4]));
    assert_eq!(read(&log, 3, 9, Some(0)), Ok(vec![3]));
}

#[test]
fn the_store_is_asked_once_for_what_left_the_memory_and_its_answer_is_used_until_it_is_dropped() {
    let mut log = log();
    log.release(6, 0);
    let missing = Err(Error::Store(StorageError::LogTemporarilyUnavailable));
    assert_eq!(read(&log, 3, 10, None), missing);
    assert_eq!(log.take_wanted().fetch, Some(3..7), "the rest is in memory");
    assert_eq!(read(&log, 4, 6, None), missing);
    assert_eq!(log.take_wanted().fetch, None, "a read is under way");

    assert_eq!(
        log.fetched(3, (3..6).map(|index| entry(index, log.term_of(index).unwrap_or(0))).collect()),
        Some(3)
    );
    assert_eq!(read(&log, 3, 10, None), Ok(vec![3, 4, 5]));
    assert_eq!(read(&log, 4, 5, None), Ok(vec![4]));
    assert_eq!(read(&log, 6, 10, None), missing, "past the answer");
    assert_eq!(read(&log, 2, 4, None), missing, "before the answer");
    log.drop_fetched();
    assert_eq!(read(&log, 3, 10, None), missing);
    assert_eq!(log.take_wanted().fetch, Some(3..7));
}

#[test]
fn an_answer_of_the_store_that_was_not_asked_for_or_does_not_fit_is_not_used() {
    let answers = [
        (4, vec![entry(4, 1)]),
        (3, vec![entry(4, 1)]),
        (3, vec![entry(3, 1), entry(5, 2)]),
        (3, vec![entry(3, 1), entry(4, 2)]),
        (3, vec![]),
    ];
    for (low, entries) in answers {
        let mut log = log();
        assert_eq!(log.fetched(3, vec![entry(3, 1)]), None, "nothing was asked for");
        log.release(6, 0);
        assert!(read(&log, 3, 7, None).is_err());
        log.take_wanted();
        assert_eq!(log.fetched(low, entries), None);
        assert!(read(&log, 3, 7, None).is_err());
        assert_eq!(log.take_wanted().fetch, Some(3..7), "it is asked again");
    }
}

#[test]
fn what_the_engine_must_have_at_once_is_never_read_from_the_store() {
    let mut log = log();
    log.release(6, 0);
    let entries = log.entries(3, 7, None, GetEntriesContext::empty(false));
    assert_eq!(entries, Err(Error::Store(StorageError::Unavailable)));
    assert_eq!(log.take_wanted().fetch, None);
}
