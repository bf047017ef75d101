//! The backlog: what a resume does with the requests that were pending when the connection ended.

use crate::{Instant, loss::Loss};

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

/// How a session was continued.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resume {
    /// The session's last connection went to the same member.
    pub(crate) same_member: bool,
    /// How that connection ended.
    pub(crate) after: Option<Loss>,
    /// A pending request may be the reason: the last connection was barren, or requests are in quarantine.
    pub(crate) cautious: bool,
}

impl Backlog {
    /// Returns what becomes of the pending requests. Answers are expected without a copy until `until`, if at all.
    pub(super) fn after(resume: Resume, until: Instant) -> Self {
        let silent = resume.after == Some(Loss::Silent);
        let closed = resume.after.is_some_and(Loss::is_closed);
        if resume.cautious || silent {
            // A burst would be the worst for a slow member, and would hide which request takes members down.
            Self::SlowStart
        } else if !resume.same_member || closed {
            // This member has none of the requests in its queue, so waiting is useless.
            Self::Burst
        } else {
            // At the same member most answers come without a copy.
            Self::Await(until)
        }
    }
}
