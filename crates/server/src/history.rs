//! What a member remembers of its history, so that members can be compared.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use zraft_replica::HistoryPoint;

/// The last entries, each with its hash: they show on which entry members disagreed. A follower that works is far less behind, so
/// members that are asked at the same moment have some of them in common.
const RECENT: usize = 4096;
/// One entry in this many is remembered for longer.
const STRIDE: u64 = 1024;
/// How many of these are remembered: about 4 million entries, or 10 minutes at 7,000 commands a second. With the recent ones, they take
/// 128 KiB.
const SPARSE: usize = 4096;

/// The hashes of a member's history after some entries.
#[derive(Clone, Debug)]
pub(crate) struct History {
    /// The last entries that the state machine has applied, all of them.
    pub(crate) recent: VecDeque<HistoryPoint>,
    /// The first entry that was applied of each 1,024 indexes. All members take the same.
    pub(crate) sparse: VecDeque<HistoryPoint>,
}

impl History {
    /// Returns a history that begins after this entry.
    fn new(start: HistoryPoint) -> Self {
        Self { recent: [start].into(), sparse: [start].into() }
    }

    fn add(&mut self, point: HistoryPoint) {
        let last = self.recent.back().map(|last| last.index / STRIDE);
        if last != Some(point.index / STRIDE) {
            push(&mut self.sparse, point, SPARSE);
        }
        push(&mut self.recent, point, RECENT);
    }
}

fn push(points: &mut VecDeque<HistoryPoint>, point: HistoryPoint, limit: usize) {
    if points.len() >= limit {
        points.pop_front();
    }
    points.push_back(point);
}

/// A history that the thread of the state machine writes and the admin port reads.
#[derive(Clone, Debug)]
pub(crate) struct SharedHistory(Arc<Mutex<History>>);

impl SharedHistory {
    /// Returns a history that begins after this entry.
    pub(crate) fn new(start: HistoryPoint) -> Self {
        Self(Arc::new(Mutex::new(History::new(start))))
    }

    fn lock(&self) -> MutexGuard<'_, History> {
        // Nothing panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds entries that were applied.
    pub(crate) fn add(&self, points: &[HistoryPoint]) {
        let mut history = self.lock();
        points.iter().for_each(|point| history.add(*point));
    }

    /// Begins again after this entry: a snapshot has replaced the state, and what came before belongs to another history.
    pub(crate) fn restart(&self, start: HistoryPoint) {
        *self.lock() = History::new(start);
    }

    /// Returns the history as it is now.
    pub(crate) fn read(&self) -> History {
        self.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use zraft_session::HistoryHash;

    use super::*;

    fn point(index: u64) -> HistoryPoint {
        HistoryPoint { index, hash: HistoryHash::default() }
    }

    fn indexes(points: &VecDeque<HistoryPoint>) -> Vec<u64> {
        points.iter().map(|point| point.index).collect()
    }

    #[test]
    fn all_of_the_last_entries_are_remembered_and_then_one_in_1024() {
        let history = SharedHistory::new(point(0));
        // Index 2,048 is one of Raft alone.
        let applied: Vec<_> = (1..=10_000).filter(|index| *index != 2048).map(point).collect();
        history.add(&applied);
        let read = history.read();
        assert_eq!(indexes(&read.recent), (5905..=10_000).collect::<Vec<_>>());
        assert_eq!(
            indexes(&read.sparse),
            [0, 1024, 2049, 3072, 4096, 5120, 6144, 7168, 8192, 9216]
        );
    }

    #[test]
    fn members_that_begin_at_different_entries_remember_the_same_of_each_1024() {
        let (first, second) = (SharedHistory::new(point(0)), SharedHistory::new(point(1500)));
        first.add(&(1..=9000).map(point).collect::<Vec<_>>());
        second.add(&(1501..=9000).map(point).collect::<Vec<_>>());
        assert_eq!(indexes(&first.read().sparse)[2..], indexes(&second.read().sparse)[1..]);
    }

    #[test]
    fn history_is_bounded() {
        let history = SharedHistory::new(point(0));
        for block in 0..10_000 {
            history.add(&[point(block * STRIDE), point(block * STRIDE + 1)]);
        }
        let read = history.read();
        assert_eq!((read.recent.len(), read.sparse.len()), (RECENT, SPARSE));
        assert_eq!(read.sparse.back(), Some(&point(9999 * STRIDE)));
    }

    #[test]
    fn snapshot_that_replaces_the_state_begins_a_history() {
        let history = SharedHistory::new(point(0));
        history.add(&[point(1), point(2)]);
        history.restart(point(90));
        history.add(&[point(91)]);
        assert_eq!(indexes(&history.read().recent), [90, 91]);
        assert_eq!(indexes(&history.read().sparse), [90]);
    }
}
