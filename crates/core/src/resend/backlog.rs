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

#[cfg(test)]
mod tests {
    use zraft_protocol::SessionCloseReason;

    use super::*;

    const UNTIL: Instant = Instant::from_nanos(7);

    fn backlog(same_member: bool, loss: Loss, cautious: bool) -> Backlog {
        Backlog::after(Resume { same_member, after: Some(loss), cautious }, UNTIL)
    }

    #[test]
    fn backlog_follows_from_the_member_and_the_loss_as_the_page_on_resending_says() {
        let closed = Loss::Closed { reason: SessionCloseReason::Shutdown, hint: None };
        let broken = [
            Loss::Broken,
            Loss::Violation,
            Loss::HeartbeatTimeout,
            Loss::KeepAliveTimeout,
            Loss::Stalled,
        ];
        for loss in broken {
            assert_eq!(backlog(true, loss, false), Backlog::Await(UNTIL), "{loss:?}");
            assert_eq!(backlog(false, loss, false), Backlog::Burst, "{loss:?}");
        }
        for same_member in [true, false] {
            assert_eq!(backlog(same_member, closed, false), Backlog::Burst);
            assert_eq!(backlog(same_member, Loss::Silent, false), Backlog::SlowStart);
            for loss in broken.into_iter().chain([closed, Loss::Silent]) {
                assert_eq!(backlog(same_member, loss, true), Backlog::SlowStart, "{loss:?}");
            }
        }
    }
}
