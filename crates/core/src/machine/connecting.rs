//! ConnectingNewSession and ConnectingExistingSession: attempts at one member after the other, until one answers with a
//! session.

use std::time::Duration;

use zraft_protocol::{MemberId, Nonce};

use super::{Action, Machine, State};
use crate::{Instant, event::Event, failure::ConnectionCause, link::Link, policy::members::Next};

/// If a CreateSession was not answered in time, the next one waits this many times longer. Each leaves an orphan
/// session, and a busy leader answers late.
const CREATE_WAIT_GROWTH: u32 = 4;
/// The longest wait for SessionCreated, unless `connectionTimeout` is longer. A leader with 3,000 commands in its queue
/// took 18 s.
const MAX_CREATE_WAIT: Duration = Duration::from_secs(30);

/// A search for a new session.
#[derive(Debug)]
pub(super) struct ConnectingNew {
    pub(super) attempt: Attempt,
    /// How long the next SessionCreated is awaited.
    create_wait: Duration,
    /// The session before expired. The search goes on even if no call of connect() waits.
    pub(super) renews: bool,
}

/// An attempt at a session connection, or the pause before the next.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) phase: AttemptPhase,
    /// Counts the attempts since the session was lost, or since connect().
    number: u32,
    /// A jump of the clock restarted its timer. The next jump does not.
    restarted: bool,
}

#[derive(Debug)]
pub(super) enum AttemptPhase {
    Trying { nonce: Nonce, until: Instant },
    Pausing { until: Instant },
}

impl ConnectingNew {
    pub(super) fn begin(now: Instant, create_wait: Duration, renews: bool) -> Self {
        Self { attempt: Attempt::begin(now), create_wait, renews }
    }
}

impl Attempt {
    /// Returns the pause before the first attempt, which is over at once.
    pub(super) fn begin(now: Instant) -> Self {
        Self { phase: AttemptPhase::Pausing { until: now }, number: 0, restarted: false }
    }
}

impl Machine {
    fn attempt(&self) -> Option<&Attempt> {
        match &self.state {
            State::ConnectingNew(new) => Some(&new.attempt),
            State::ConnectingExisting(attempt) => Some(attempt),
            State::Disconnected(_) | State::Connected(_) => None,
        }
    }

    fn attempt_mut(&mut self) -> Option<&mut Attempt> {
        match &mut self.state {
            State::ConnectingNew(new) => Some(&mut new.attempt),
            State::ConnectingExisting(attempt) => Some(attempt),
            State::Disconnected(_) | State::Connected(_) => None,
        }
    }

    /// Returns the nonce that the answer to the present attempt must carry.
    pub(super) fn expected_nonce(&self) -> Option<Nonce> {
        match self.attempt()?.phase {
            AttemptPhase::Trying { nonce, .. } => Some(nonce),
            AttemptPhase::Pausing { .. } => None,
        }
    }

    /// Returns true if the answer to the present attempt must carry this nonce.
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
        let conn = self.next_connection();
        self.link = Some(Link::new(conn, member, self.zmtp_config(), now));
        let nonce = self.draw_nonce();
        let until = now + self.config.connection_timeout;
        let had_session = match &self.state {
            State::ConnectingNew(new) => new.renews,
            State::ConnectingExisting(_) => true,
            State::Disconnected(_) | State::Connected(_) => false,
        };
        let Some(attempt) = self.attempt_mut() else { return };
        attempt.number = attempt.number.saturating_add(1);
        let number = attempt.number;
        attempt.phase = AttemptPhase::Trying { nonce, until };
        attempt.restarted = false;
        let (member_id, address) = self.member(member);
        if had_session {
            self.out.event(Event::Reconnecting {
                attempt: number,
                member_id: member_id.clone(),
                endpoint: address.clone(),
            });
        }
        self.out.event(Event::ConnectionAttempt { member_id: member_id.clone(), address });
        let endpoint = self.config.members[member].endpoint.clone();
        self.out.act(Action::Open { conn, member: member_id, endpoint });
    }

    pub(super) fn zmtp_config(&self) -> zraft_zmtp::Config {
        let mut config = zraft_zmtp::Config::client();
        config.max_frame = self.config.max_message_size + zraft_zmtp::FRAME_ALLOWANCE;
        config.heartbeat = Some(zraft_zmtp::Heartbeat::with_timeout(
            self.config.heartbeat_interval,
            self.config.heartbeat_timeout,
        ));
        config
    }

    /// The present attempt ended without a session: goes on to the next. `hint` is the configured leader that the
    /// member named, if it answered.
    pub(super) fn attempt_failed(
        &mut self,
        now: Instant,
        cause: ConnectionCause,
        hint: Option<usize>,
    ) {
        let answered = is_answer(&cause);
        if let Some(link) = &self.link {
            let (member_id, address) = self.member(link.member);
            self.callers.failed(address, cause.clone());
            self.out.event(Event::ConnectionFailure { member_id, error: cause });
        }
        self.close_link();
        let next = self.members.after_attempt(now, answered, hint, &mut self.rng);
        self.go(now, next);
    }

    /// Returns the index of the member that the connected server named as the leader, if it is configured. One that
    /// is not configured is remembered for the error of connect().
    pub(super) fn hint(&mut self, leader_id: Option<&MemberId>) -> Option<usize> {
        // A member id may be empty on the wire. Then it names no member.
        let leader_id = leader_id.filter(|id| !id.as_str().is_empty())?;
        let hint = self.config.members.iter().position(|member| member.id == *leader_id);
        match (hint, &self.link) {
            (None, Some(link)) => self.members.named_unconfigured(link.member, leader_id.clone()),
            _ => self.members.forget_unconfigured(),
        }
        hint
    }

    /// Ends the attempt, or the pause after one, if its time is over.
    pub(super) fn attempt_timeout(&mut self, now: Instant) {
        let Some(attempt) = self.attempt_mut() else { return };
        match attempt.phase {
            AttemptPhase::Trying { until, .. } if until <= now => {
                let (ready, asked) = self
                    .link
                    .as_ref()
                    .map_or((false, false), |link| (link.zmtp.is_ready(), link.asked));
                if asked && let State::ConnectingNew(new) = &mut self.state {
                    let limit = MAX_CREATE_WAIT.max(self.config.connection_timeout);
                    new.create_wait = (new.create_wait * CREATE_WAIT_GROWTH).min(limit);
                }
                let cause =
                    if ready { ConnectionCause::NeverAnswered } else { ConnectionCause::TimedOut };
                self.attempt_failed(now, cause, None);
            }
            AttemptPhase::Pausing { until } if until <= now => {
                let member = self.members.begin_round();
                self.go(now, Next::Now(member));
            }
            AttemptPhase::Trying { .. } | AttemptPhase::Pausing { .. } => {}
        }
    }

    /// CreateSession was sent: it may be awaited for longer than the rest of an attempt.
    pub(super) fn await_created(&mut self) {
        if let State::ConnectingNew(new) = &mut self.state
            && let AttemptPhase::Trying { until, .. } = &mut new.attempt.phase
        {
            *until = *until + new.create_wait.saturating_sub(self.config.connection_timeout);
        }
    }

    /// The clock jumped: the attempt has all of its time again, but only once.
    pub(super) fn restart_attempt(&mut self, now: Instant) {
        let asked = self.link.as_ref().is_some_and(|link| link.asked);
        let wait = match &self.state {
            State::ConnectingNew(new) if asked => new.create_wait,
            _ => self.config.connection_timeout,
        };
        if let Some(Attempt { phase: AttemptPhase::Trying { until, .. }, restarted, .. }) =
            self.attempt_mut()
            && !std::mem::replace(restarted, true)
        {
            *until = now + wait;
        }
    }

    /// Returns when the attempt, or the pause, is over.
    pub(super) fn attempt_until(&self) -> Option<Instant> {
        match self.attempt()?.phase {
            AttemptPhase::Trying { until, .. } | AttemptPhase::Pausing { until } => Some(until),
        }
    }
}

/// Returns true if an attempt that failed for this cause was answered by the member, though not with a session.
fn is_answer(cause: &ConnectionCause) -> bool {
    match cause {
        ConnectionCause::NoLeader
        | ConnectionCause::LeaderNotConfigured { .. }
        | ConnectionCause::SessionUnknown
        | ConnectionCause::SessionClosed => true,
        ConnectionCause::Refused
        | ConnectionCause::UnknownHost
        | ConnectionCause::Unreachable(_)
        | ConnectionCause::Tls(_)
        | ConnectionCause::TimedOut
        | ConnectionCause::ClosedBeforeFirstMessage
        | ConnectionCause::NeverAnswered
        | ConnectionCause::Lost
        | ConnectionCause::Zmtp(_) => false,
    }
}
