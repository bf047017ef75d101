//! What becomes of the session: created, continued, closed, rejected, expired.

use std::time::Duration;

use zraft_protocol::{MemberId, RejectionReason, SessionCloseReason, SessionId};

use super::{Attempt, Connected, ConnectingNew, Machine, State};
use crate::{
    Instant,
    config::OnSessionExpired,
    event::{DisconnectReason, Event},
    failure::{ConnectionCause, Failure},
    loss::Loss,
    policy::members::Next,
    resend::Resume,
    tables::server_requests::ServerRequests,
};

/// The client believes a lone member that the session expired if it says so again after this long. A leader that just
/// resumed may say it falsely, but there is no other member to ask.
const SAID_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// A session that the server knows.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: SessionId,
    /// The member of the last session connection.
    pub(super) member: usize,
    /// The last time the server was known to know the session.
    pub(super) proof: Instant,
    /// How the last session connection ended.
    pub(super) lost_by: Option<Loss>,
    /// When a member first said that the session expired. That may be false.
    doubted: Option<Instant>,
    pub(super) tracker: ServerRequests,
}

impl Machine {
    /// SessionCreated came, with the right nonce.
    pub(super) fn created(&mut self, now: Instant, session_id: &SessionId) {
        debug_assert!(self.session.is_none());
        let Some(link) = &self.link else { return };
        self.session = Some(Session {
            id: session_id.to_detached(),
            member: link.member,
            proof: now,
            lost_by: None,
            doubted: None,
            tracker: ServerRequests::new(self.config.max_server_requests),
        });
        self.resend.created(link.id);
        self.become_connected(now, false);
    }

    /// SessionContinued came, with the right nonce.
    pub(super) fn continued(&mut self, now: Instant) {
        let (Some(link), Some(session)) = (&self.link, &mut self.session) else {
            debug_assert!(false, "a session is continued on a connection");
            return;
        };
        let resume = Resume {
            same_member: session.member == link.member,
            after: session.lost_by,
            cautious: self.quarantine.one_at_a_time() || self.quarantine.slow_resume(),
        };
        session.member = link.member;
        session.proof = now;
        session.doubted = None;
        self.resend.resumed(now, &mut self.requests, link.id, resume);
        self.stats.reconnects += 1;
        self.become_connected(now, true);
    }

    /// SessionClosed came.
    pub(super) fn session_closed(
        &mut self,
        now: Instant,
        reason: SessionCloseReason,
        leader_id: Option<&MemberId>,
    ) {
        let hint = self.hint(leader_id);
        match (&self.state, reason) {
            // A session that is being closed has ended either way.
            (State::Connected(_), _) if self.is_closing() => {
                self.lost(now, Loss::Closed { reason, hint });
            }
            (
                State::Connected(_) | State::ConnectingExisting(_),
                SessionCloseReason::SessionExpired,
            ) => self.session_expired(now),
            (State::Connected(_), _) => self.lost(now, Loss::Closed { reason, hint }),
            (State::ConnectingNew(_) | State::ConnectingExisting(_), _) => {
                self.attempt_failed(now, ConnectionCause::SessionClosed, hint);
            }
            // Ignored: there is no connection that it could come on.
            (State::Disconnected(_), _) => {}
        }
    }

    /// SessionRejected came, with the right nonce.
    pub(super) fn rejected(
        &mut self,
        now: Instant,
        reason: RejectionReason,
        leader_id: Option<&MemberId>,
    ) {
        let hint = self.hint(leader_id);
        match reason {
            RejectionReason::NotLeader => {
                let cause = match leader_id.filter(|id| hint.is_none() && !id.as_str().is_empty()) {
                    Some(id) => ConnectionCause::LeaderNotConfigured { leader_id: id.clone() },
                    None => ConnectionCause::NoLeader,
                };
                self.attempt_failed(now, cause, hint);
            }
            RejectionReason::SessionExpired => {
                if self.expiry_is_believed(now) {
                    self.session_expired(now);
                } else {
                    self.attempt_failed(now, ConnectionCause::SessionUnknown, hint);
                }
            }
            RejectionReason::InvalidCapabilities | RejectionReason::Other => {
                self.settle_all(|sent| Failure::SessionRejected { reason, sent });
                let why = Failure::SessionRejected { reason, sent: false };
                self.end(now, Some(DisconnectReason::Rejected), &why);
            }
        }
    }

    /// Returns true if the session may really have expired. A member that resumed or was just elected may reject a
    /// session that lives, so the client believes it only when time allows it.
    fn expiry_is_believed(&mut self, now: Instant) -> bool {
        let single = self.config.members.len() == 1;
        let limit = self.config.session_timeout;
        let Some(session) = &mut self.session else { return false };
        if now - session.proof >= limit {
            return true;
        }
        let first = *session.doubted.get_or_insert(now);
        single && now - first >= SAID_AGAIN_AFTER
    }

    /// Returns when a session that a member rejected counts as expired, if no other member continues it.
    pub(super) fn doubt_until(&self) -> Option<Instant> {
        let session = self.session.as_ref()?;
        let connecting = matches!(self.state, State::ConnectingExisting(_));
        (connecting && session.doubted.is_some())
            .then(|| session.proof + self.config.session_timeout)
    }

    /// The session expired, and the client believes it: everything settles, or goes on in a new session.
    pub(super) fn session_expired(&mut self, now: Instant) {
        debug_assert!(matches!(self.state, State::Connected(_) | State::ConnectingExisting(_)));
        let Some(Session { id, .. }) = self.session.take() else { return };
        self.out.event(Event::SessionExpired { session_id: id.clone() });
        if self.config.on_session_expired == OnSessionExpired::NewSession && self.drain.is_none() {
            self.renew(now, id);
        } else {
            self.terminate(now, id);
        }
    }

    /// Ends with the session that expired.
    fn terminate(&mut self, now: Instant, id: SessionId) {
        let failure = |sent| Failure::SessionExpired { session_id: Some(id.clone()), sent };
        self.settle_all(failure);
        self.end(now, Some(DisconnectReason::SessionExpired), &failure(false));
        // A connect() during a drain may have begun a new search.
        if let State::Disconnected(disconnected) = &mut self.state {
            disconnected.expired = Some(id);
        }
    }

    /// Goes on in a new session: sent commands settle as unknown, everything else is sent in that session.
    fn renew(&mut self, now: Instant, id: SessionId) {
        let why = Failure::SessionExpired { session_id: Some(id), sent: true };
        let member = self.link.as_ref().map(|link| link.member);
        let mut short_lived = false;
        if let State::Connected(connected) = &self.state {
            short_lived = connected.is_short_lived(now);
            let pings = self.liveness.disconnected();
            self.fail_pings(pings, &why);
            self.resend.disconnected(&mut self.requests);
            self.out.event(Event::Disconnected {
                reason: DisconnectReason::SessionExpired,
                member_id: member.map(|member| self.config.members[member].id.clone()),
            });
        }
        self.close_link();
        self.settle_sent_commands(&why);
        self.forget_session();
        let create_wait = self.config.connection_timeout;
        self.enter(State::ConnectingNew(ConnectingNew::begin(now, create_wait, true)));
        // The member that ended the session leads, or did.
        let next = match member {
            // A member whose sessions expire at once must not be asked without a pause.
            Some(member) if short_lived => {
                self.members.after_short_lived(now, member, Some(member), None, &mut self.rng)
            }
            Some(member) => Next::Now(self.members.same_again(member)),
            None => Next::Now(self.members.begin_round()),
        };
        self.go(now, next);
    }

    /// The session has a connection.
    fn become_connected(&mut self, now: Instant, resumed: bool) {
        let (Some(link), Some(session)) = (&self.link, &self.session) else { return };
        let (member_id, endpoint) = self.member(link.member);
        let session_id = session.id.clone();
        self.liveness.connected(now);
        self.quarantine.connected();
        self.callers.forget_failure();
        self.members.forget_unconfigured();
        self.enter(State::Connected(Connected::begin(now)));
        self.out.event(Event::Connected { session_id, member_id, endpoint, resumed });
        // Calls during a drain wait for the session after it.
        if self.drain.is_none() {
            self.answer_callers(Ok(()));
        }
    }

    /// Prepares requests and policies for a session that knows nothing of the one before. No command that was sent
    /// may be left.
    pub(super) fn forget_session(&mut self) {
        self.resend.new_session(&mut self.requests);
        self.requests.new_session();
        self.quarantine.reset();
    }

    /// The session lost its connection: a search for another begins.
    pub(super) fn seek_connection(&mut self, now: Instant, next: Next) {
        debug_assert!(self.session.is_some() && self.link.is_none());
        self.enter(State::ConnectingExisting(Attempt::begin(now)));
        self.go(now, next);
    }
}
