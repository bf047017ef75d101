//! ConnectingNewSession and ConnectingExistingSession: one attempt after the other, until a member answers with a session.

use std::time::Duration;

use zraft_protocol::{MemberId, Nonce, RejectionReason};

use super::{Action, Attempt, AttemptPhase, Completion, Machine, Session, State};
use crate::{
    ConnId, Instant,
    event::{DisconnectReason, Event},
    failure::{ConnectionCause, Failure},
    link::Link,
    policy::members::{Ended, Next},
};

/// A SessionCreated that was waited for in vain is waited for this many times longer next time.
const CREATE_WAIT_GROWTH: u32 = 4;
/// But no longer than this, unless `connectionTimeout` is longer.
const MAX_CREATE_WAIT: Duration = Duration::from_secs(30);
/// A lone member that says again, after this long, that the session expired is believed.
const SAID_AGAIN_AFTER: Duration = Duration::from_secs(5);

impl Machine {
    fn attempt_mut(&mut self) -> Option<&mut Attempt> {
        match &mut self.state {
            State::ConnectingNew(attempt) | State::ConnectingExisting(attempt) => Some(attempt),
            State::Disconnected | State::Connected(_) => None,
        }
    }

    /// The nonce that the present attempt's answer must carry.
    pub(super) fn expected_nonce(&self) -> Option<Nonce> {
        match &self.state {
            State::ConnectingNew(attempt) | State::ConnectingExisting(attempt) => {
                match attempt.phase {
                    AttemptPhase::Trying { nonce, .. } => Some(nonce),
                    AttemptPhase::Pausing { .. } => None,
                }
            }
            State::Disconnected | State::Connected(_) => None,
        }
    }

    /// The nonce is the one that the present attempt's answer must carry.
    pub(super) fn is_expected(&self, nonce: Nonce) -> bool {
        self.expected_nonce() == Some(nonce)
    }

    /// Tries a member now, or pauses.
    pub(super) fn go(&mut self, now: Instant, next: Next) {
        match next {
            Next::Now(member) => self.try_member(now, member),
            Next::At(until) => {
                if let Some(attempt) = self.attempt_mut() {
                    attempt.phase = AttemptPhase::Pausing { until };
                }
            }
        }
    }

    fn try_member(&mut self, now: Instant, member: usize) {
        debug_assert!(self.link.is_none());
        self.connections += 1;
        let conn = ConnId(self.connections);
        self.link = Some(Link::new(conn, member, self.zmtp_config(), now));
        let nonce = self.draw_nonce();
        let until = now + self.config.connection_timeout;
        let had_session = self.unattended || matches!(self.state, State::ConnectingExisting(_));
        let Some(attempt) = self.attempt_mut() else { return };
        attempt.number = attempt.number.saturating_add(1);
        let number = attempt.number;
        attempt.phase = AttemptPhase::Trying { nonce, until };
        attempt.restarted = false;
        let (member_id, address) = self.member(member);
        if had_session {
            self.events.push(Event::Reconnecting {
                attempt: number,
                member_id: member_id.clone(),
                endpoint: address.clone(),
            });
        }
        self.events.push(Event::ConnectionAttempt { member_id: member_id.clone(), address });
        let endpoint = self.config.members[member].endpoint.clone();
        self.actions.push_back(Action::Open { conn, member: member_id, endpoint });
    }

    pub(super) fn zmtp_config(&self) -> zraft_zmtp::Config {
        let mut config = zraft_zmtp::Config::client();
        // A frame is longer than its payload by the fields around it.
        config.max_frame = self.config.max_message_size + (64 << 10);
        config.heartbeat = Some(zraft_zmtp::Heartbeat::with_timeout(
            self.config.heartbeat_interval,
            self.config.heartbeat_timeout,
        ));
        config
    }

    /// The present attempt ended without a session: the next connection.
    pub(super) fn attempt_failed(&mut self, now: Instant, cause: ConnectionCause, ended: Ended) {
        if let Some(link) = &self.link {
            let (member_id, address) = self.member(link.member);
            self.last_failure = Some((address, cause.clone()));
            self.events.push(Event::ConnectionFailure { member_id, error: cause });
        }
        self.close_link();
        let next = self.members.after_attempt(now, ended, &mut self.rng);
        self.go(now, next);
    }

    /// The index of the member that the connected server named as the leader, if it is configured. One that is not
    /// configured is remembered for the error of connect().
    pub(super) fn hint(&mut self, leader_id: Option<&MemberId>) -> Option<usize> {
        // A member id may be empty on the wire, and names no member then.
        let leader_id = leader_id.filter(|id| !id.as_str().is_empty())?;
        let hint = self.config.members.iter().position(|member| member.id == *leader_id);
        match (hint, &self.link) {
            (None, Some(link)) => self.members.named_unconfigured(link.member, leader_id.clone()),
            _ => self.members.forget_unconfigured(),
        }
        hint
    }

    /// A rejection with the right nonce.
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
                self.attempt_failed(now, cause, Ended::Refused { hint });
            }
            RejectionReason::SessionExpired => {
                if self.expiry_is_believed(now) {
                    self.session_expired(now);
                } else {
                    let ended = Ended::Refused { hint };
                    self.attempt_failed(now, ConnectionCause::SessionUnknown, ended);
                }
            }
            RejectionReason::InvalidCapabilities | RejectionReason::Other => {
                self.settle_all(|sent| Failure::SessionRejected { reason, sent });
                let why = Failure::SessionRejected { reason, sent: false };
                self.end(now, Some(DisconnectReason::Rejected), &why);
            }
        }
    }

    /// A member that resumed or was just elected may deny a session that lives: it is believed only when that can be.
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

    /// When a denied session that nobody continues counts as expired.
    pub(super) fn doubt_until(&self) -> Option<Instant> {
        let session = self.session.as_ref()?;
        let connecting = matches!(self.state, State::ConnectingExisting(_));
        (connecting && session.doubted.is_some())
            .then(|| session.proof + self.config.session_timeout)
    }

    /// The session is gone. Believed: everything settles, or goes on in a new session.
    pub(super) fn session_expired(&mut self, now: Instant) {
        let Some(Session { id, .. }) = self.session.take() else { return };
        self.events.push(Event::SessionExpired { session_id: id.clone() });
        let session_id = Some(id.clone());
        let renew = self.config.on_session_expired == crate::config::OnSessionExpired::NewSession;
        if !renew || self.drain.is_some() {
            self.settle_all(|sent| Failure::SessionExpired {
                session_id: session_id.clone(),
                sent,
            });
            self.end(
                now,
                Some(DisconnectReason::SessionExpired),
                &Failure::SessionExpired { session_id: session_id.clone(), sent: false },
            );
            if matches!(self.state, State::Disconnected) {
                self.expired = Some(id);
            }
            return;
        }
        let why = Failure::SessionExpired { session_id, sent: true };
        let (was_connected, stillborn) = match &self.state {
            State::Connected(connected) => (true, connected.is_stillborn(now)),
            _ => (false, false),
        };
        let member = self.link.as_ref().map(|link| link.member);
        if was_connected {
            let pings = self.liveness.disconnected();
            self.fail_pings(pings, &why);
            self.resend.disconnected(&mut self.requests);
            self.events.push(Event::Disconnected {
                reason: DisconnectReason::SessionExpired,
                member_id: member.map(|member| self.config.members[member].id.clone()),
            });
        }
        self.close_link();
        self.settle_sent_commands(&why);
        self.forget_session();
        self.unattended = true;
        self.create_wait = self.config.connection_timeout;
        self.enter(State::ConnectingNew(Attempt::first(now)));
        // The member that ended the session leads, or did; else the next round begins.
        let next = match member {
            // Sessions that expire as soon as they stand must not be asked for without pause.
            Some(member) if stillborn => {
                self.members.after_stillborn(now, member, Some(member), None, &mut self.rng)
            }
            Some(member) => Next::Now(self.members.same_again(member)),
            None => Next::Now(self.members.begin_round()),
        };
        self.go(now, next);
    }

    /// The attempt, or the pause after one, is over. `true` when something happened.
    pub(super) fn attempt_timeout(&mut self, now: Instant) {
        let Some(attempt) = self.attempt_mut() else { return };
        match attempt.phase {
            AttemptPhase::Trying { until, .. } if until <= now => {
                let new_session = matches!(self.state, State::ConnectingNew(_));
                let (ready, asked) = self
                    .link
                    .as_ref()
                    .map_or((false, false), |link| (link.zmtp.is_ready(), link.asked));
                if new_session && asked {
                    let limit = MAX_CREATE_WAIT.max(self.config.connection_timeout);
                    self.create_wait = (self.create_wait * CREATE_WAIT_GROWTH).min(limit);
                }
                let cause =
                    if ready { ConnectionCause::NeverAnswered } else { ConnectionCause::TimedOut };
                self.attempt_failed(now, cause, Ended::NoAnswer);
            }
            AttemptPhase::Pausing { until } if until <= now => {
                let member = self.members.begin_round();
                self.go(now, Next::Now(member));
            }
            _ => {}
        }
    }

    /// CreateSession went out: it may be waited for longer than the rest of an attempt.
    pub(super) fn await_created(&mut self) {
        let extra = self.create_wait.saturating_sub(self.config.connection_timeout);
        if let State::ConnectingNew(Attempt { phase: AttemptPhase::Trying { until, .. }, .. }) =
            &mut self.state
        {
            *until = *until + extra;
        }
    }

    /// The clock jumped: the attempt has all of its time again, but only once.
    pub(super) fn restart_attempt(&mut self, now: Instant) {
        let asked = self.link.as_ref().is_some_and(|link| link.asked);
        let wait = match self.state {
            State::ConnectingNew(_) if asked => self.create_wait,
            _ => self.config.connection_timeout,
        };
        if let Some(Attempt { phase: AttemptPhase::Trying { until, .. }, restarted, .. }) =
            self.attempt_mut()
            && !std::mem::replace(restarted, true)
        {
            *until = now + wait;
        }
    }

    pub(super) fn attempt_until(&self) -> Option<Instant> {
        match &self.state {
            State::ConnectingNew(attempt) | State::ConnectingExisting(attempt) => {
                match attempt.phase {
                    AttemptPhase::Trying { until, .. } | AttemptPhase::Pausing { until } => {
                        Some(until)
                    }
                }
            }
            State::Disconnected | State::Connected(_) => None,
        }
    }

    /// Calls of connect() that waited long enough.
    pub(super) fn connect_timeouts(&mut self, now: Instant) {
        if !self.waiters.iter().any(|waiter| waiter.until.is_some_and(|until| until <= now)) {
            return;
        }
        let why = self.last_failure();
        let waiters = std::mem::take(&mut self.waiters);
        for waiter in waiters {
            if waiter.until.is_some_and(|until| until <= now) {
                let result = Err(why.clone());
                self.completions.push_back(Completion::Connect { key: waiter.key, result });
            } else {
                self.waiters.push(waiter);
            }
        }
        self.give_up_if_unattended(now, &why);
    }

    /// A first attempt that nobody waits for ends.
    pub(super) fn give_up_if_unattended(&mut self, now: Instant, why: &Failure) {
        let first = matches!(self.state, State::ConnectingNew(_)) && !self.unattended;
        if first && self.waiters.is_empty() {
            self.settle_all(|_| why.clone());
            self.end(now, None, why);
        }
    }
}
