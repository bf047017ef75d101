//! The backlog: what a resume does with the requests that were pending when the connection ended.

use crate::Instant;

/// What remains of the requests that were pending at the last resume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backlog {
    /// Nothing, or due requests that go in slow start beside new work.
    None,
    /// All of them go at once, in id order; new work goes after them.
    Burst,
    /// All of them go in slow start; new work goes after them.
    SlowStart,
    /// Their answers are expected without a copy until then; those that are unanswered then are due.
    Await(Instant),
}
