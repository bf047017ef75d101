//! The queries that the machine sends unasked, and of which the application hears nothing: when one begins and ends.
//!
//! The frames tell when one goes and is answered. That one waits for the socket, or was given up, only the figures of what the
//! machine holds tell: no two sets of these queries have as many bytes.

use bytes::Bytes;
use zraft_core::{Config, Instant, Machine, RequestKind, RequestRef, StateName};
use zraft_protocol::{CorrelationId, reserved};

use super::{Asked, Judge, Settled};

/// Which query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Own {
    /// It shows that the member leads.
    Liveness,
    /// It asks for the members.
    Members,
}

/// What the judge knows of one of them.
#[derive(Debug, Default)]
pub(super) struct OwnQuery {
    /// Its payload, if the machine may send it.
    payload: Option<Bytes>,
    /// The query that is pending, once it was on the wire.
    number: Option<usize>,
    /// It is pending, and was not on the wire yet.
    queued: bool,
    /// It was given up because members failed: in this session it must not go again.
    quarantined: bool,
}

impl OwnQuery {
    /// The application wants it.
    pub(super) fn may_go(&self) -> bool {
        self.payload.is_some()
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.may_go() && !self.quarantined
    }

    pub(super) fn is_pending(&self) -> bool {
        self.queued || self.number.is_some()
    }

    fn bytes(&self) -> usize {
        self.payload.as_ref().map_or(0, Bytes::len)
    }
}

/// Both of them.
#[derive(Debug)]
pub(super) struct OwnQueries {
    pub(super) liveness: OwnQuery,
    pub(super) members: OwnQuery,
}

impl OwnQueries {
    pub(super) fn new(config: &Config) -> Self {
        let liveness = config.liveness_query().map(|query| query.payload().clone());
        let members = config.discover_members().then(|| reserved::members_question().into_bytes());
        Self {
            liveness: OwnQuery { payload: liveness, ..OwnQuery::default() },
            members: OwnQuery { payload: members, ..OwnQuery::default() },
        }
    }

    fn get_mut(&mut self, which: Own) -> &mut OwnQuery {
        match which {
            Own::Liveness => &mut self.liveness,
            Own::Members => &mut self.members,
        }
    }

    fn each(&self) -> [(Own, &OwnQuery); 2] {
        [(Own::Liveness, &self.liveness), (Own::Members, &self.members)]
    }

    fn find(&self, is: impl Fn(&OwnQuery) -> bool) -> Option<Own> {
        self.each().into_iter().find(|(_, query)| is(query)).map(|(which, _)| which)
    }

    pub(super) fn new_session(&mut self) {
        self.liveness.quarantined = false;
        self.members.quarantined = false;
    }

    /// Returns how many wait to go on the wire, and their bytes.
    pub(super) fn queued(&self) -> (usize, usize) {
        let queued = self.each().map(|(_, query)| query).into_iter().filter(|query| query.queued);
        queued.fold((0, 0), |(count, bytes), query| (count + 1, bytes + query.bytes()))
    }
}

impl Judge {
    /// The time of a turn has passed, and nothing was written yet.
    pub(crate) fn time_passed(&mut self, now: Instant, machine: &Machine) {
        if machine.state() == StateName::Disconnected {
            self.own_queries_end(now);
        }
        let stats = machine.stats();
        let held = stats.queued + stats.in_flight + stats.detached;
        self.own_queries_held(now, held as usize, stats.queued_bytes as usize);
    }

    /// The machine holds this many requests and bytes: learns from that which of the machine's queries are among them.
    pub(super) fn own_queries_held(&mut self, now: Instant, held: usize, bytes: usize) {
        let on_wire =
            self.own.each().map(|(_, query)| query.number.map_or((0, 0), |_| (1, query.bytes())));
        let requests = self.pending - on_wire[0].0 - on_wire[1].0;
        let request_bytes = self.pending_bytes - on_wire[0].1 - on_wire[1].1;
        let (liveness, members) = (self.own.liveness.bytes(), self.own.members.bytes());
        let fits = |(has_liveness, has_members): &(bool, bool)| {
            let (one, other) = (usize::from(*has_liveness), usize::from(*has_members));
            requests + one + other == held
                && request_bytes + one * liveness + other * members == bytes
        };
        let sets = [(false, false), (true, false), (false, true), (true, true)];
        // Otherwise the figures are wrong, which the end of the turn shows.
        let Some((has_liveness, has_members)) = sets.into_iter().find(fits) else { return };
        self.own_query_held(now, Own::Liveness, has_liveness);
        self.own_query_held(now, Own::Members, has_members);
    }

    fn own_query_held(&mut self, now: Instant, which: Own, held: bool) {
        let query = self.own.get_mut(which);
        match (query.is_pending(), held) {
            (false, true) => {
                query.queued = true;
                self.own_query_begins(now, which);
            }
            (true, false) => {
                match which {
                    Own::Liveness => {
                        let rule = "a liveness query waits for its answer";
                        self.violated(rule, "it was given up");
                    }
                    Own::Members => self.question_given_up(now),
                }
                self.own_query_ends(now, which);
            }
            _ => {}
        }
    }

    fn own_query_begins(&mut self, now: Instant, which: Own) {
        let wanted = self.disconnecting.is_none() && self.own.get_mut(which).is_wanted();
        self.demand(wanted, "the machine sends own queries only where they are wanted", || {
            format!("{which:?}")
        });
        match which {
            Own::Liveness => self.liveness_query_begins(now),
            Own::Members => self.question_begins(now),
        }
    }

    /// A query with this payload is on the wire. If it is the machine's own and new, it is pending from now on.
    pub(super) fn own_query_sent(&mut self, now: Instant, payload: &Bytes) {
        let is = |query: &OwnQuery| query.payload.as_ref() == Some(payload);
        let Some(which) = self.own.find(is) else { return };
        let query = self.own.get_mut(which);
        if query.number.is_some() {
            return;
        }
        if !std::mem::take(&mut query.queued) {
            self.own_query_begins(now, which);
        }
        let number = self.requests.len();
        self.by_beginning.insert(super::beginning(payload), number);
        self.pending += 1;
        self.pending_bytes += payload.len();
        let deadline = self.own_deadline(which);
        self.requests.push(Asked::new(RequestKind::Query, payload.clone(), None, deadline));
        self.own.get_mut(which).number = Some(number);
        self.coverage.count(which.name(), "sent");
    }

    /// A request was answered. If it was the machine's own, nothing more is heard of it.
    pub(super) fn own_query_answered(&mut self, now: Instant, number: usize) {
        let Some(which) = self.own.find(|query| query.number == Some(number)) else { return };
        self.coverage.count(which.name(), "answered");
        let answer = self.requests[number].answer.clone();
        if let (Own::Members, Some(Ok(answer))) = (which, answer) {
            self.discovery.answer = Some(answer);
        }
        self.own_query_ends(now, which);
    }

    /// The machine no longer holds the query.
    fn own_query_ends(&mut self, now: Instant, which: Own) {
        let query = self.own.get_mut(which);
        query.queued = false;
        if let Some(number) = query.number.take() {
            self.requests[number].settled = Some(Settled::Failed);
            self.leaves(now, number);
        }
    }

    /// The machine no longer wants its queries.
    pub(super) fn own_queries_end(&mut self, now: Instant) {
        self.own_query_ends(now, Own::Liveness);
        self.own_query_ends(now, Own::Members);
    }

    /// The application is notified of a query with this id.
    pub(super) fn is_not_own(&mut self, id: &CorrelationId) {
        let number = self.by_correlation.get(id.as_bytes());
        let own = self.own.find(|query| query.number.is_some() && query.number.as_ref() == number);
        self.demand(
            own.is_none(),
            "the application hears nothing of the machine's queries",
            || format!("{own:?}"),
        );
    }

    /// A request was quarantined.
    pub(super) fn own_query_quarantined(&mut self, now: Instant, id: &RequestRef) {
        let RequestRef::Query(id) = id else { return };
        let Some(&number) = self.by_correlation.get(id.as_bytes()) else { return };
        let Some(which) = self.own.find(|query| query.number == Some(number)) else { return };
        let may = self.may_give_up();
        let rule = "an own query is given up only as other requests are";
        self.demand(may, rule, || format!("{which:?}"));
        self.own_query_ends(now, which);
        self.own.get_mut(which).quarantined = true;
    }
}

impl Own {
    /// Its name among the counters.
    fn name(self) -> &'static str {
        match self {
            Self::Liveness => "liveness query",
            Self::Members => "discovery",
        }
    }
}
