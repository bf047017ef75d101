//! The question for the members: it goes after each connect, and its answer says whom the client asks from then on.

use std::time::Duration;

use bytes::Bytes;
use zraft_core::{Instant, Machine};
use zraft_protocol::reserved;

use super::{Judge, Stage, own_query::Own, settled::LATE, watch::SLACK};

/// The server is asked again after this time, and after a quarter more at the latest.
const AGAIN: Duration = Duration::from_secs(300);

/// When the server is asked for its members, and what it answers.
#[derive(Debug, Default)]
pub(super) struct Discovery {
    /// When the server may be asked at the earliest, and when it must be at the latest.
    due: Option<(Instant, Instant)>,
    /// Since when nothing keeps the client from asking.
    free_since: Option<Instant>,
    /// When the question that is pending is given up.
    deadline: Option<Instant>,
    /// The answer, until the machine takes it.
    pub(super) answer: Option<Bytes>,
}

impl Judge {
    /// The session has a connection, or the client a new list: the server must be asked.
    pub(super) fn must_ask_for_members(&mut self, now: Instant) {
        self.discovery.due = Some((now, now));
    }

    fn asks_for_members_later(&mut self, now: Instant) {
        self.discovery.due = Some((now + AGAIN, now + AGAIN * 5 / 4));
    }

    pub(super) fn question_begins(&mut self, now: Instant) {
        let due = self.discovery.due.take();
        let may = due.is_some_and(|(earliest, _)| now >= earliest);
        self.demand(may, "the server is asked for its members only now and then", || {
            format!("{due:?}")
        });
        self.discovery.deadline = Some(now + self.terms.resend_interval * 3 / 2);
    }

    /// Returns the deadline of a query that begins.
    pub(super) fn own_deadline(&self, which: Own) -> Option<Instant> {
        self.discovery.deadline.filter(|_| which == Own::Members)
    }

    /// The machine waits no longer for the answer.
    pub(super) fn question_given_up(&mut self, now: Instant) {
        let deadline = self.discovery.deadline;
        let over = deadline.is_some_and(|deadline| deadline <= now);
        self.demand(over, "the server has its time to list its members", || {
            format!("{deadline:?}")
        });
        self.coverage.count("discovery", "given up");
        if self.discovery.due.is_none() {
            self.asks_for_members_later(now);
        }
    }

    /// No query waits for this answer. A client that discovers the members takes it for a list that the server sent unasked.
    pub(super) fn later_list(&mut self, list: Bytes) {
        if self.own.members.may_go() && reserved::is_reserved(&list) {
            self.coverage.count("discovery", "a later list");
            self.discovery.answer = Some(list);
        }
    }

    /// The machine has read all that there was to read, and takes an answer that was among it.
    pub(crate) fn all_was_read(&mut self, now: Instant) {
        let Some(answer) = self.discovery.answer.take() else { return };
        let Ok(members) = reserved::Members::from_answer(&answer) else { return };
        self.asks_for_members_later(now);
        let mut list = Vec::new();
        for reserved::Member { id, endpoint } in &members {
            let is = |index: &usize| self.terms.configured[*index].id == *id;
            let Some(index) = (0..self.terms.configured.len()).find(is) else { continue };
            // A member whose endpoint the server does not know is where the client knows it.
            if endpoint.is_some() || self.terms.listed.contains(&index) {
                list.push(index);
            }
        }
        if list.is_empty() {
            return;
        }
        let listed = list.len();
        let others = self.terms.given.iter().filter(|index| !list.contains(index));
        let others: Vec<usize> = others.copied().collect();
        list.extend(others);
        let news = if self.terms.listed == list { "no news" } else { "a new list" };
        self.coverage.count("discovery", news);
        self.members_are(now, &list, listed);
    }

    /// A client that discovers the members asks for them in time, and waits no longer than it may.
    pub(super) fn asks_for_members(&mut self, now: Instant) {
        let (pending, late) = (self.own.members.is_pending(), self.lateness(now));
        let suspects = self.suspicion.suspects.iter();
        let one_at_a_time = self.suspicion.row >= 3
            || suspects.clone().any(|number| self.requests[*number].is_pending());
        let wire = self.wire.as_ref();
        let free = self.own.members.is_wanted()
            && !pending
            && !one_at_a_time
            && self.disconnecting.is_none()
            && wire.is_some_and(|wire| wire.stage == Stage::Connected);
        self.discovery.free_since = self.discovery.free_since.filter(|_| free);
        if free {
            let since = *self.discovery.free_since.get_or_insert(now);
            let due = self.discovery.due.map(|(_, latest)| latest.max(since).max(self.awake(now)));
            let late = due.is_some_and(|due| now > due + late + SLACK);
            self.demand(!late, "the server is asked for its members in time", || {
                format!("due since {due:?}")
            });
        }
        let deadline = self.discovery.deadline.filter(|_| pending);
        let most =
            deadline.map(|at| (at + LATE).max(self.awake(now) + super::settled::GRACE) + late);
        self.demand(
            most.is_none_or(|most| now <= most),
            "a question for the members is given up in time",
            || format!("{deadline:?}"),
        );
    }

    /// Checks that the machine has the members that it should have, in their order.
    pub(super) fn has_its_members(&mut self, machine: &Machine) {
        let terms = &self.terms;
        let same = machine.members().eq(terms.listed.iter().map(|index| &terms.configured[*index]));
        self.demand(same, "the members are those listed last", || {
            let has: Vec<&str> = machine.members().map(|member| member.id.as_str()).collect();
            format!("{has:?}")
        });
    }
}
