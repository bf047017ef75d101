//! The liveness query: a request of the machine's own, of which the application hears nothing. So is the question for the
//! members, in `discovery.rs`.

use bytes::Bytes;

use super::{Machine, State};
use crate::{
    Instant, RequestKey, RequestKind,
    config::{LivenessQuery, ValidationError},
    failure::Failure,
};

#[derive(Debug, Default)]
pub(super) struct OwnQuery {
    /// The query that is pending.
    pending: Option<RequestKey>,
    /// Members stopped answering when it was alone in flight. It is not sent again in this session.
    quarantined: bool,
}

impl OwnQuery {
    /// Returns true if this request is the liveness query.
    #[inline]
    pub(super) fn is(&self, key: RequestKey) -> bool {
        self.pending == Some(key)
    }

    /// A new session begins.
    pub(super) fn new_session(&mut self) {
        self.quarantined = false;
    }
}

impl Machine {
    /// Replaces the liveness query, or stops it. A query that is pending is still awaited.
    ///
    /// # Errors
    /// The query is refused, and the present one kept: its payload is empty or too long, or its interval outside its limits.
    pub fn set_liveness_query(
        &mut self,
        query: Option<LivenessQuery>,
    ) -> Result<(), ValidationError> {
        if let Some(query) = &query {
            self.config.check_liveness_query(query)?;
        }
        let interval = query.as_ref().map(|query| self.config.liveness_interval(query));
        self.liveness.set_query_interval(interval);
        self.config.liveness_query = query;
        Ok(())
    }

    /// Returns when the liveness query goes, if nothing else does first.
    pub(super) fn own_query_at(&self) -> Option<Instant> {
        let may_ask = matches!(self.state, State::Connected(_))
            && self.drain.is_none()
            && !self.own_query.quarantined
            && self.requests.is_empty();
        self.liveness.query_at().filter(|_| may_ask)
    }

    /// Submits the liveness query if it is time. It has no deadline: until it is answered, nothing shows that a member leads.
    pub(super) fn submit_own_query(&mut self, now: Instant) {
        if self.own_query_at().is_some_and(|at| at <= now)
            && let Some(query) = &self.config.liveness_query
        {
            let payload = query.payload().clone();
            let key = self.requests.submit(now, RequestKind::Query, payload, None);
            self.own_query.pending = Some(key);
        }
    }

    /// Returns true if this request is the machine's own.
    #[inline]
    pub(super) fn is_own(&self, key: RequestKey) -> bool {
        self.own_query.is(key) || self.discovery.is(key)
    }

    /// Takes back the machine's own queries, which a drain does not wait for.
    pub(super) fn withdraw_own_queries(&mut self) {
        let own = [self.own_query.pending, self.discovery.pending()];
        for key in own.into_iter().flatten() {
            self.forget(key.slot, Failure::Closed { sent: false });
        }
    }

    /// One of the machine's own queries settled.
    #[cold]
    pub(super) fn own_query_settled(&mut self, key: RequestKey, result: Result<Bytes, Failure>) {
        if self.discovery.is(key) {
            return self.discovery_settled(result);
        }
        self.own_query.pending = None;
        if matches!(result, Err(Failure::Quarantined { .. })) {
            self.own_query.quarantined = true;
        }
    }
}
