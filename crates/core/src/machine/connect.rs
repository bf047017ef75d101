//! connect(): the calls that wait for a session, and why they do not get one.

use std::time::Duration;

use zraft_protocol::MemberId;

use super::{Completion, ConnectingNew, Machine, State};
use crate::{
    ConnectKey, Instant,
    failure::{ConnectionCause, Failure},
};

/// The calls of connect() that wait.
#[derive(Debug, Default)]
pub(super) struct Callers {
    waiting: Vec<Caller>,
    /// The endpoint of the last attempt that failed, and why it failed.
    last_failure: Option<(String, ConnectionCause)>,
}

#[derive(Debug)]
struct Caller {
    key: ConnectKey,
    until: Option<Instant>,
}

impl Callers {
    /// Returns when the next call has waited long enough.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.waiting.iter().filter_map(|caller| caller.until).min()
    }

    /// Returns true if no call waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// An attempt failed.
    pub(super) fn failed(&mut self, endpoint: String, cause: ConnectionCause) {
        self.last_failure = Some((endpoint, cause));
    }

    /// The configured members changed: an attempt no longer failed because its leader is not configured, if that one is now.
    pub(super) fn configured(&mut self, listed: impl Fn(&MemberId) -> bool) {
        if let Some((_, ConnectionCause::LeaderNotConfigured { leader_id })) = &self.last_failure
            && listed(leader_id)
        {
            self.last_failure = None;
        }
    }

    /// A search for a session begins, or one was found.
    pub(super) fn forget_failure(&mut self) {
        self.last_failure = None;
    }
}

impl Machine {
    /// Asks for a session. Ends in one [`Completion::Connect`]: at once if Connected, otherwise within `timeout`.
    ///
    /// The state has changed when this returns, so requests submitted after the call are queued. The timeout concerns
    /// this call alone; the attempt ends when no call waits for it any more and no session was established since it
    /// began. During a [`disconnect`](Self::disconnect) the call waits for its end, and requests are refused as
    /// closed until then.
    pub fn connect(&mut self, now: Instant, timeout: Option<Duration>) -> ConnectKey {
        let key = ConnectKey(self.next_call());
        if self.drain.is_none() && matches!(self.state, State::Connected(_)) {
            self.out.complete(Completion::Connect { key, result: Ok(()) });
            return key;
        }
        let until = timeout.map(|timeout| now + timeout);
        self.callers.waiting.push(Caller { key, until });
        if self.drain.is_none() && matches!(self.state, State::Disconnected(_)) {
            self.start(now);
        }
        key
    }

    /// The caller of a connect() no longer waits. No completion follows.
    pub fn cancel_connect(&mut self, now: Instant, key: ConnectKey) {
        let before = self.callers.waiting.len();
        self.callers.waiting.retain(|caller| caller.key != key);
        if self.callers.waiting.len() < before {
            let cause = self.last_failure();
            self.give_up_if_unattended(now, &cause);
        }
    }

    /// Ends all calls that wait.
    pub(super) fn answer_callers(&mut self, result: Result<(), &Failure>) {
        for Caller { key, .. } in std::mem::take(&mut self.callers.waiting) {
            let result = result.map_err(Failure::clone);
            self.out.complete(Completion::Connect { key, result });
        }
    }

    /// Ends the calls that waited long enough.
    pub(super) fn connect_timeouts(&mut self, now: Instant) {
        if self.callers.next_timeout().is_none_or(|until| now < until) {
            return;
        }
        let why = self.last_failure();
        for caller in std::mem::take(&mut self.callers.waiting) {
            if caller.until.is_some_and(|until| until <= now) {
                let result = Err(why.clone());
                self.out.complete(Completion::Connect { key: caller.key, result });
            } else {
                self.callers.waiting.push(caller);
            }
        }
        self.give_up_if_unattended(now, &why);
    }

    /// Ends a search for the first session if no caller waits for it.
    fn give_up_if_unattended(&mut self, now: Instant, why: &Failure) {
        let first = matches!(self.state, State::ConnectingNew(ConnectingNew { renews: false, .. }));
        if first && self.callers.is_empty() {
            self.settle_all(|_| why.clone());
            self.end(now, None, why);
        }
    }

    /// Returns why there is no session.
    fn last_failure(&self) -> Failure {
        // However the other members failed, a session can only be opened at the leader.
        if let Some((giver, leader_id)) = self.members.unconfigured() {
            let cause = ConnectionCause::LeaderNotConfigured { leader_id: leader_id.clone() };
            return Failure::Connection { endpoint: Some(giver.endpoint.to_string()), cause };
        }
        let (endpoint, cause) = match &self.callers.last_failure {
            Some((endpoint, cause)) => (Some(endpoint.clone()), cause.clone()),
            None => (None, ConnectionCause::TimedOut),
        };
        Failure::Connection { endpoint, cause }
    }
}
