//! Disconnected: no session, and no search for one.

use zraft_protocol::SessionId;

use super::{Completion, ConnectingNew, Machine, State};
use crate::{
    Instant,
    event::{DisconnectReason, Event},
    failure::Failure,
};

#[derive(Debug, Default)]
pub(super) struct Disconnected {
    /// The session whose expiry led here.
    pub(super) expired: Option<SessionId>,
}

impl Disconnected {
    /// Returns why a request is not taken.
    pub(super) fn failure(&self) -> Failure {
        match &self.expired {
            Some(id) => Failure::SessionExpired { session_id: Some(id.clone()), sent: false },
            None => Failure::NotConnected,
        }
    }
}

impl Machine {
    /// Leaves Disconnected: asks the first member for a new session.
    pub(super) fn start(&mut self, now: Instant) {
        debug_assert!(matches!(self.state, State::Disconnected(_)));
        debug_assert!(self.link.is_none() && self.session.is_none() && self.drain.is_none());
        debug_assert!(!self.search.is_under_way());
        self.callers.forget_failure();
        self.members.forget_unconfigured();
        self.forget_session();
        let first = self.members.first();
        let create_wait = self.config.connection_timeout;
        self.enter(State::ConnectingNew(ConnectingNew::begin(create_wait, false)));
        self.seek(now, first);
    }

    /// Enters Disconnected, with everything settled. `why` is the failure of the calls that wait for a session.
    pub(super) fn end(&mut self, now: Instant, reason: Option<DisconnectReason>, why: &Failure) {
        debug_assert_eq!(self.requests.queued() + self.requests.in_flight(), 0);
        let link = self.link.as_ref().or(self.search.links().last());
        let member_id = link.map(|link| link.to.id.clone());
        let pings = self.liveness.disconnected();
        self.fail_pings(pings, why);
        self.close_link();
        self.end_search();
        self.forget_session();
        self.session = None;
        self.enter(State::Disconnected(Disconnected::default()));
        if let Some(reason) = reason {
            self.out.event(Event::Disconnected { reason, member_id });
        }
        if self.drain.take().is_some() {
            self.out.complete(Completion::Disconnected);
            // The calls of connect() since disconnect() waited for this.
            if !self.callers.is_empty() {
                self.start(now);
            }
            return;
        }
        self.answer_callers(Err(why));
    }
}
