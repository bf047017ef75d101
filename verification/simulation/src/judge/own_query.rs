//! The liveness query, which the machine sends unasked, and of which the application hears nothing.

use std::time::Duration;

use bytes::Bytes;
use zraft_core::{Config, Instant, RequestKind, RequestRef};

use super::{Asked, Judge, Settled, Stage, watch::SLACK};

/// What the judge knows of the liveness query.
#[derive(Debug, Default)]
pub(super) struct OwnQuery {
    payload: Option<Bytes>,
    interval: Duration,
    /// The query that is pending, once it was on the wire.
    number: Option<usize>,
    /// It is pending, and the socket has not taken enough for it to go.
    queued: bool,
    /// It was given up: in this session it must not go again.
    quarantined: bool,
    /// When a request was last answered on a session connection.
    pub(super) led: Option<Instant>,
}

impl OwnQuery {
    pub(super) fn new(config: &Config) -> Self {
        let query = config.liveness_query();
        Self {
            payload: query.map(|query| query.payload().clone()),
            interval: query.and_then(zraft_core::LivenessQuery::interval).unwrap_or_default(),
            ..Self::default()
        }
    }

    /// Returns true if this is its payload.
    pub(super) fn is(&self, payload: &Bytes) -> bool {
        self.payload.as_ref() == Some(payload)
    }

    pub(super) fn is_pending(&self) -> bool {
        self.number.is_some()
    }

    pub(super) fn new_session(&mut self) {
        self.quarantined = false;
    }

    /// Returns how many bytes it has while it is queued, if it is.
    pub(super) fn queued_bytes(&self) -> Option<usize> {
        self.payload.as_ref().filter(|_| self.queued).map(Bytes::len)
    }
}

impl Judge {
    /// Returns for how long nothing has shown that the member leads.
    fn unproven(&self, now: Instant) -> Option<Duration> {
        let wire = self.wire.as_ref().filter(|wire| wire.stage == Stage::Connected)?;
        Some(now - self.own_query.led.map_or(wire.connected_at, |at| at.max(wire.connected_at)))
    }

    /// Its payload is on the wire. Notes a query that is pending from now on.
    pub(super) fn own_query_sent(&mut self, now: Instant, payload: &Bytes) {
        if self.own_query.number.is_some() {
            return;
        }
        let unproven = self.unproven(now).unwrap_or_default();
        let queued = std::mem::take(&mut self.own_query.queued);
        let (pending, interval) = (self.pending, self.own_query.interval);
        let alone = pending == 0 || queued;
        self.demand(alone, "a liveness query goes only while nothing is pending", || {
            format!("{pending} are")
        });
        self.demand(unproven >= interval, "a liveness query waits for its interval", || {
            format!("{unproven:?}, not {interval:?}")
        });
        let wanted = self.disconnecting.is_none() && !self.own_query.quarantined;
        self.demand(wanted, "a liveness query goes only where it is wanted", String::new);
        let number = self.requests.len();
        self.by_beginning.insert(super::beginning(payload), number);
        self.pending += 1;
        self.pending_bytes += payload.len();
        self.requests.push(Asked::new(RequestKind::Query, payload.clone(), None, None));
        self.own_query.number = Some(number);
        self.coverage.count("liveness query", "sent");
    }

    /// A request was answered. Returns true if it was the liveness query, of which nothing more is heard.
    pub(super) fn own_query_answered(&mut self, now: Instant, number: usize) -> bool {
        let own = self.own_query.number == Some(number);
        if own {
            self.coverage.count("liveness query", "answered");
            self.own_query_ends(now);
        }
        own
    }

    /// The machine gives the liveness query up, or no longer wants it.
    pub(super) fn own_query_ends(&mut self, now: Instant) {
        if let Some(number) = self.own_query.number.take() {
            self.requests[number].settled = Some(Settled::Failed);
            self.leaves(now, number);
        }
    }

    /// A request was quarantined.
    pub(super) fn own_query_quarantined(&mut self, now: Instant, id: &RequestRef) {
        let Some(number) = self.own_query.number else { return };
        let correlation = self.requests[number].correlation.clone();
        if let RequestRef::Query(id) = id
            && correlation.is_some_and(|own| own == id.as_bytes())
        {
            let may = self.may_give_up();
            self.demand(
                may,
                "a liveness query is given up only as other requests are",
                String::new,
            );
            self.own_query_ends(now);
            self.own_query.quarantined = true;
        }
    }

    /// At the end of a turn: `held` requests are in the machine. One more than the judge knows of may wait for the socket.
    pub(super) fn own_query_waits(&mut self, now: Instant, held: u64) {
        let due = self.unproven(now).is_some_and(|unproven| unproven >= self.own_query.interval);
        let may = self.own_query.payload.is_some() && self.own_query.number.is_none();
        let more = held == self.pending as u64 + 1;
        self.own_query.queued = more && may && (due || self.own_query.queued);
    }

    /// An idle session asks in time whether its member leads.
    pub(super) fn asks_for_the_leader(&mut self, now: Instant) {
        let Some(wire) = &self.wire else { return };
        let idle = self.own_query.payload.is_some()
            && self.pending == 0
            && !self.own_query.queued
            && !self.own_query.quarantined
            && self.disconnecting.is_none()
            && wire.stage == Stage::Connected
            && wire.encoded <= wire.written;
        let led = self.own_query.led.map_or(wire.connected_at, |at| at.max(wire.connected_at));
        // A request that settled without an answer held it up.
        let since = led.max(wire.left_at.unwrap_or(led)).max(self.awake(now));
        let most = self.own_query.interval + self.lateness(now) + SLACK;
        let waited = now.saturating_duration_since(since);
        self.demand(
            !idle || waited <= most,
            "an idle session asks whether its member leads",
            || format!("{waited:?} without a sign of it"),
        );
    }
}
