//! Asking the server for the members: a request of the machine's own, whose answer says whom to ask from then on.
//!
//! The members that the server lists are asked before all others, at the endpoints that it gives. The configured members
//! that it does not list, or lists elsewhere, are asked last: the client may see the network otherwise than the server.

use std::{mem, time::Duration};

use bytes::Bytes;
use zraft_protocol::reserved;

use super::{Machine, State};
use crate::{
    Endpoint, Instant, Member, RequestKey, RequestKind, config::MemberList, failure::Failure,
    tables::wheel::Wheel,
};

/// The server is asked again after this time, besides each time that the session gets a connection. It sends each list that
/// differs by itself, so this serves servers of versions that do not.
const ASK_AGAIN: Duration = Duration::from_secs(300);

#[derive(Debug, Default)]
pub(super) struct Discovery {
    /// The query that is pending.
    pending: Option<RequestKey>,
    /// When the server is asked next.
    due: Option<Instant>,
    /// Members stopped answering when the query was alone in flight. It is not sent again in this session.
    quarantined: bool,
    /// The answer, until the machine takes it.
    answer: Option<Bytes>,
}

impl Discovery {
    /// Returns true if this request is the question for the members.
    #[inline]
    pub(super) fn is(&self, key: RequestKey) -> bool {
        self.pending == Some(key)
    }

    pub(super) fn pending(&self) -> Option<RequestKey> {
        self.pending
    }

    /// A new session begins.
    pub(super) fn new_session(&mut self) {
        self.quarantined = false;
    }
}

impl Machine {
    /// Returns the members, in the order in which they are asked: those of the last
    /// [`update_members`](Self::update_members), or, with [`discover_members`](crate::ConfigBuilder::discover_members), those
    /// that the server lists and after them the configured ones that are not among them.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.iter()
    }

    /// The session has a connection, or the application gave a new list: the server is asked.
    pub(super) fn ask_for_members(&mut self, now: Instant) {
        if self.config.discover_members {
            self.discovery.due = Some(now);
        }
    }

    /// Returns when the server is asked, or its answer taken.
    pub(super) fn discovery_at(&self) -> Option<Instant> {
        if self.discovery.answer.is_some() {
            return Some(self.clock.latest);
        }
        let may_ask = matches!(self.state, State::Connected(_))
            && self.drain.is_none()
            && self.discovery.pending.is_none()
            && !self.discovery.quarantined
            && !self.quarantine.one_at_a_time();
        self.discovery.due.filter(|_| may_ask)
    }

    /// Asks the server if it is time, and takes its answer. It is not taken where it is read, because it can end attempts.
    pub(super) fn discover(&mut self, now: Instant) {
        if let Some(answer) = self.discovery.answer.take() {
            self.take_discovered(now, &answer);
        }
        if self.discovery_at().is_some_and(|at| at <= now) {
            self.discovery.due = None;
            let question = reserved::members_question().into_bytes();
            // A server that does not know the question may never answer. It must not count as silent for that: it has at
            // least two resend intervals.
            let patience = self.config.resend_interval * 3 / 2;
            let deadline = Some(Wheel::tick(now, patience));
            let key = self.requests.submit(now, RequestKind::Query, question, deadline);
            self.discovery.pending = Some(key);
        }
    }

    /// The question settled.
    #[cold]
    pub(super) fn discovery_settled(&mut self, result: Result<Bytes, Failure>) {
        self.discovery.pending = None;
        match result {
            Ok(answer) => self.discovery.answer = Some(answer),
            Err(Failure::Quarantined { .. }) => self.discovery.quarantined = true,
            // A connection that came meanwhile is asked at once.
            Err(Failure::Timeout { .. }) if self.discovery.due.is_none() => {
                self.ask_for_members_again(self.clock.latest);
            }
            Err(_) => {}
        }
    }

    /// Returns true if this answer, which no query waits for, may be a list that the server sends because the members have changed.
    pub(super) fn listens_for_members(&self, answer: &[u8]) -> bool {
        self.config.discover_members && reserved::is_reserved(answer)
    }

    /// The server sent another list.
    pub(super) fn members_changed(&mut self, list: Bytes) {
        self.discovery.answer = Some(list);
    }

    fn ask_for_members_again(&mut self, now: Instant) {
        self.discovery.due = Some(now + ASK_AGAIN + self.rng.up_to(ASK_AGAIN / 4));
    }

    fn take_discovered(&mut self, now: Instant, answer: &[u8]) {
        // Otherwise the server does not know the question. It is not asked again on its connection.
        let Ok(listed) = reserved::Members::from_answer(answer) else { return };
        self.ask_for_members_again(now);
        let configured = self.config.members.as_slice();
        // A server must not lead a client that speaks TLS to a port without it, or to a file of its machine.
        let may_use = |endpoint: &Endpoint| {
            configured
                .iter()
                .any(|each| mem::discriminant(&each.endpoint) == mem::discriminant(endpoint))
        };
        let mut list: Vec<Member> = Vec::new();
        for reserved::Member { id, endpoint } in listed {
            let given = endpoint.and_then(|text| text.parse().ok()).filter(may_use);
            // A member that the leader has not met is where it was.
            let known = || self.members.iter().find(|each| each.id == id);
            let endpoint = given.or_else(|| known().map(|each| each.endpoint.clone()));
            list.extend(endpoint.map(|endpoint| Member { id, endpoint }));
        }
        if list.is_empty() {
            return;
        }
        let listed = list.len();
        let others: Vec<Member> =
            configured.iter().filter(|each| !list.contains(each)).cloned().collect();
        list.extend(others);
        self.set_members(now, &MemberList::discovered(list, listed));
    }
}
