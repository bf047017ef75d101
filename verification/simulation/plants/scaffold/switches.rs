//! Which bug is planted in this thread. The list of bugs is written below when the copy is made.

use std::cell::Cell;

thread_local! {
    static PLANTED: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// A bug that can be planted.
#[derive(Debug)]
pub struct Bug {
    pub name: &'static str,
    pub title: &'static str,
    pub by_simulation: bool,
    pub by_corpus: bool,
    pub by_cluster: bool,
    /// The first seed to run.
    pub from: u64,
}

/// Plants the bug with this number in everything that runs on this thread, or none.
pub fn plant(bug: Option<usize>) {
    PLANTED.set(bug.unwrap_or(usize::MAX));
}

/// Returns true if that bug is planted.
#[inline]
pub fn is(bug: usize) -> bool {
    PLANTED.get() == bug
}
