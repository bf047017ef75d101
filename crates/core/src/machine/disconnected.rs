//! Disconnected: no session, and none sought.

use super::{Attempt, AttemptPhase, Completion, Machine, State};
use crate::{
    Instant, event::DisconnectReason, event::Event, failure::Failure, policy::members::Next,
};

impl Machine {
    /// Leaves Disconnected: asks the first member for a new session.
    pub(super) fn start(&mut self, now: Instant) {
        debug_assert!(self.link.is_none() && self.session.is_none());
        self.expired = None;
        self.unattended = false;
        self.last_failure = None;
        self.members.forget_unconfigured();
        self.create_wait = self.config.connection_timeout;
        self.forget_session();
        let member = self.members.first();
        self.enter(State::ConnectingNew(Attempt::first(now)));
        self.go(now, Next::Now(member));
    }

    /// Enters Disconnected. Everything must be settled; whoever waits for connect() is told why it did not come about.
    pub(super) fn end(&mut self, now: Instant, reason: Option<DisconnectReason>, why: &Failure) {
        let member_id = self.link.as_ref().map(|link| self.config.members[link.member].id.clone());
        let pings = self.liveness.disconnected();
        self.fail_pings(pings, why);
        self.close_link();
        self.forget_session();
        self.session = None;
        self.enter(State::Disconnected);
        if let Some(reason) = reason {
            self.events.push(Event::Disconnected { reason, member_id });
        }
        if self.drain.take().is_some() {
            self.completions.push_back(Completion::Disconnected);
            // Who called connect() meanwhile waited for this.
            if !self.waiters.is_empty() {
                self.start(now);
            }
            return;
        }
        for waiter in std::mem::take(&mut self.waiters) {
            self.completions
                .push_back(Completion::Connect { key: waiter.key, result: Err(why.clone()) });
        }
    }

    /// Prepares requests and policies for a session that knows nothing of the one before. No command that was sent may be
    /// left.
    pub(super) fn forget_session(&mut self) {
        self.resend.new_session(&mut self.requests);
        self.requests.new_session();
        self.quarantine.reset();
    }
}

impl Attempt {
    pub(super) fn first(now: Instant) -> Self {
        Self { phase: AttemptPhase::Pausing { until: now }, number: 0, restarted: false }
    }
}
