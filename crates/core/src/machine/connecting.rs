//! The search for a session's connection: attempts at several members, until one answers with a session.
//!
//! If a member does not answer within [`HEDGE`], the next one is asked beside it, and the first session wins. Only a further
//! CreateSession waits longer, [`CREATE_APART`]. The states ConnectingNewSession and ConnectingExistingSession are such a
//! search. Connected begins one beside its connection if the member seems frozen; see `connected.rs`.

use std::{sync::Arc, time::Duration};

use zraft_protocol::{MemberId, Nonce};

use super::{Action, Machine, State};
use crate::{
    ConnId, Instant,
    event::Event,
    failure::ConnectionCause,
    keys::MemberKey,
    link::Link,
    policy::members::{Ended, Next},
};

/// If an attempt has no session after this time, the next member is asked beside it. A member in the same region answers
/// within some 10 ms, one on another continent needs six round trips of 50 ms.
const HEDGE: Duration = Duration::from_millis(300);
/// At most this many attempts run at once: as many as most clusters have members.
const MAX_ATTEMPTS: usize = 5;
/// While a CreateSession is unanswered, the next one is sent after this long. Each may leave an orphan session.
const CREATE_APART: Duration = Duration::from_secs(1);
/// If a CreateSession was not answered in time, the next one waits this many times longer. Each leaves an orphan
/// session, and a busy leader answers late.
const CREATE_WAIT_GROWTH: u32 = 4;
/// The longest wait for SessionCreated, unless `connectionTimeout` is longer. A leader with 3,000 commands in its queue
/// took 18 s.
const MAX_CREATE_WAIT: Duration = Duration::from_secs(30);

/// What ConnectingNewSession knows besides its search.
#[derive(Debug)]
pub(super) struct ConnectingNew {
    /// How long the next SessionCreated is awaited.
    create_wait: Duration,
    /// The session before expired. The search goes on even if no call of connect() waits.
    pub(super) renews: bool,
}

impl ConnectingNew {
    pub(super) fn begin(create_wait: Duration, renews: bool) -> Self {
        Self { create_wait, renews }
    }
}

/// The attempts that run, and when the next one begins.
#[derive(Debug, Default)]
pub(super) struct Search {
    /// The oldest first.
    attempts: Vec<Attempt>,
    /// Counts the attempts since the search began.
    number: u32,
    step: Step,
}

/// What a search does next, unless an attempt ends before.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Nothing: there is no search, or an attempt must end first.
    #[default]
    None,
    /// Ask the next member of the round at this time.
    Hedge(Instant),
    /// Begin a new round at this time.
    Round(Instant),
}

/// An attempt at a session connection.
#[derive(Debug)]
struct Attempt {
    link: Link,
    /// The session's answer must carry it.
    nonce: Nonce,
    opened: Instant,
    until: Instant,
    /// When CreateSession or ContinueSession was encoded.
    asked: Option<Instant>,
    /// Since when its CreateSession waits because another is unanswered. That time does not count against the attempt.
    held: Option<Instant>,
    /// How long its SessionCreated is awaited, once CreateSession was encoded.
    create_wait: Option<Duration>,
    /// A jump of the clock restarted its timer. The next jump does not.
    restarted: bool,
}

impl Search {
    fn find(&self, conn: ConnId) -> Option<&Attempt> {
        self.attempts.iter().find(|attempt| attempt.link.id == conn)
    }

    fn find_mut(&mut self, conn: ConnId) -> Option<&mut Attempt> {
        self.attempts.iter_mut().find(|attempt| attempt.link.id == conn)
    }

    fn take(&mut self, conn: ConnId) -> Option<Attempt> {
        let place = self.attempts.iter().position(|attempt| attempt.link.id == conn)?;
        Some(self.attempts.remove(place))
    }

    pub(super) fn link(&self, conn: ConnId) -> Option<&Link> {
        self.find(conn).map(|attempt| &attempt.link)
    }

    pub(super) fn link_mut(&mut self, conn: ConnId) -> Option<&mut Link> {
        self.find_mut(conn).map(|attempt| &mut attempt.link)
    }

    /// Returns the connections of the attempts, the oldest first.
    pub(super) fn links(&self) -> impl Iterator<Item = &Link> {
        self.attempts.iter().map(|attempt| &attempt.link)
    }

    pub(super) fn links_mut(&mut self) -> impl Iterator<Item = &mut Link> {
        self.attempts.iter_mut().map(|attempt| &mut attempt.link)
    }

    /// Returns true if members are asked, now or later.
    #[inline]
    pub(super) fn is_under_way(&self) -> bool {
        !self.attempts.is_empty() || self.step != Step::None
    }

    /// Returns true if an attempt at this member runs.
    pub(super) fn asks(&self, member: MemberKey) -> bool {
        self.links().any(|link| link.member == member)
    }

    /// Returns true if the answer to this connection's session message must carry this nonce.
    pub(super) fn expects(&self, conn: ConnId, nonce: Nonce) -> bool {
        self.find(conn).is_some_and(|attempt| attempt.asked.is_some() && attempt.nonce == nonce)
    }

    /// Returns true if an attempt has not had [`HEDGE`] yet.
    fn is_young(&self, now: Instant) -> bool {
        self.attempts.iter().any(|attempt| now < attempt.opened + HEDGE)
    }

    /// Returns when one more CreateSession may be sent; `None` if none is unanswered.
    fn create_at(&self) -> Option<Instant> {
        self.attempts.iter().filter_map(|attempt| attempt.asked).max().map(|at| at + CREATE_APART)
    }

    /// `creates` says whether its attempts send CreateSession.
    fn next_timeout(&self, creates: bool) -> Option<Instant> {
        let step = match self.step {
            Step::None => None,
            Step::Hedge(at) | Step::Round(at) => Some(at),
        };
        let timed = self.attempts.iter().filter(|attempt| attempt.held.is_none());
        let ends = timed.map(|attempt| attempt.until).min();
        let held = |attempt: &Attempt| attempt.asked.is_none() && attempt.link.zmtp.is_ready();
        let create = self.create_at().filter(|_| creates && self.attempts.iter().any(held));
        [step, ends, create].into_iter().flatten().min()
    }
}

impl Machine {
    /// Begins a search.
    pub(super) fn seek(&mut self, now: Instant, next: Next) {
        debug_assert!(!self.search.is_under_way());
        self.search.number = 0;
        self.go(now, next);
    }

    /// The session lost its connection while a search ran beside it. The search goes on, and may ask that member too; at
    /// once if it `dropped` the connection, since it may run again.
    pub(super) fn go_on(&mut self, now: Instant, dropped: bool) {
        self.search.number = 0;
        if self.search.step == Step::None {
            self.search.step = Step::Round(if dropped { now } else { now + HEDGE });
        }
    }

    /// Returns true if the member has a connection: it is being asked, or the session is connected to it.
    fn busy(search: &Search, link: Option<&Link>) -> impl Fn(MemberKey) -> bool {
        let session = link.map(|link| link.member);
        move |member| session == Some(member) || search.asks(member)
    }

    /// Asks a member now, or pauses.
    pub(super) fn go(&mut self, now: Instant, next: Next) {
        match next {
            Next::Now(member) => self.open_attempt(now, member),
            Next::At(until) => self.search.step = Step::Round(until),
            Next::Wait => {}
        }
    }

    fn open_attempt(&mut self, now: Instant, member: MemberKey) {
        debug_assert!(!self.search.asks(member));
        let Some(to) = self.members.get(member) else {
            debug_assert!(false, "only configured members are asked");
            return;
        };
        let conn = self.next_connection();
        let (member_id, address) = to.names();
        let endpoint = to.endpoint.clone();
        let link = Link::new(conn, member, to, self.zmtp_config(), now);
        let nonce = self.draw_nonce();
        let until = now + self.config.connection_timeout;
        let reconnects = match &self.state {
            State::ConnectingNew(new) => new.renews,
            State::ConnectingExisting => true,
            // In Connected the session has its connection, and may keep it.
            State::Connected(_) | State::Disconnected(_) => false,
        };
        let search = &mut self.search;
        search.number = search.number.saturating_add(1);
        search.step = Step::Hedge(now + HEDGE);
        let number = search.number;
        search.attempts.push(Attempt {
            link,
            nonce,
            opened: now,
            until,
            asked: None,
            held: None,
            create_wait: None,
            restarted: false,
        });
        if reconnects {
            self.out.event(Event::Reconnecting {
                attempt: number,
                member_id: member_id.clone(),
                endpoint: address.clone(),
            });
        }
        self.out.event(Event::ConnectionAttempt { member_id: member_id.clone(), address });
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

    /// Returns the nonce of the session message if that may be sent on this connection now, and notes that it is sent. Each
    /// connection carries one.
    pub(super) fn may_ask(&mut self, now: Instant, conn: ConnId) -> Option<Nonce> {
        let creates = matches!(self.state, State::ConnectingNew(_));
        let waits = creates && self.search.create_at().is_some_and(|at| now < at);
        let limit = self.config.connection_timeout;
        let attempt = self.search.find_mut(conn).filter(|attempt| attempt.asked.is_none())?;
        if waits {
            attempt.held.get_or_insert(now);
            return None;
        }
        attempt.asked = Some(now);
        if let Some(since) = attempt.held.take() {
            attempt.until = attempt.until + (now - since);
        }
        // A new session may be awaited for longer than the rest of an attempt.
        if let State::ConnectingNew(new) = &self.state {
            attempt.until = attempt.until + new.create_wait.saturating_sub(limit);
            attempt.create_wait = Some(new.create_wait);
        }
        Some(attempt.nonce)
    }

    /// An attempt ended without a session: the search goes on. `hint` is the configured leader that the member named, if
    /// it answered.
    pub(super) fn attempt_failed(
        &mut self,
        now: Instant,
        conn: ConnId,
        cause: ConnectionCause,
        hint: Option<MemberKey>,
    ) {
        let Some(attempt) = self.search.take(conn) else { return };
        let answered = is_answer(&cause);
        let member = attempt.link.member;
        let (member_id, address) = attempt.link.to.names();
        self.callers.failed(address, cause.clone());
        self.out.event(Event::ConnectionFailure { member_id, error: cause });
        self.close_attempt(attempt, answered);
        if hint.is_some_and(|leader| self.awaits_new_session(leader)) {
            self.members.leader_is_busy();
        }
        let busy = Self::busy(&self.search, self.link.as_ref());
        let pauses = match self.search.step {
            Step::None => true,
            Step::Hedge(_) => !self.search.is_young(now),
            Step::Round(_) => false,
        };
        let ended = Ended { member, answered, hint };
        let next = self.members.after_attempt(now, ended, busy, pauses, &mut self.rng);
        self.go(now, next);
    }

    /// Returns true if this member was asked for a new session and has not answered yet.
    fn awaits_new_session(&self, member: MemberKey) -> bool {
        let asked = |attempt: &Attempt| attempt.link.member == member && attempt.asked.is_some();
        matches!(self.state, State::ConnectingNew(_)) && self.search.attempts.iter().any(asked)
    }

    /// Closes the connection of an attempt. `answered` says whether its session message has its answer.
    fn close_attempt(&mut self, attempt: Attempt, answered: bool) {
        let creates = matches!(self.state, State::ConnectingNew(_));
        if creates && attempt.asked.is_some() && !answered {
            self.stats.orphans += 1;
        }
        self.forget_link(attempt.link);
    }

    /// Ends the search. No attempt is left.
    pub(super) fn end_search(&mut self) {
        self.search.step = Step::None;
        for attempt in std::mem::take(&mut self.search.attempts) {
            self.close_attempt(attempt, false);
        }
    }

    /// This connection has the session: it becomes the session's connection, and the search ends.
    pub(super) fn promote(&mut self, conn: ConnId) {
        debug_assert!(self.link.is_none());
        self.link = self.search.take(conn).map(|attempt| attempt.link);
        if let Some(link) = &self.link {
            self.members.found(link.member);
        }
        self.end_search();
    }

    /// The configured members changed. Ends the attempts at members that are no longer configured, and goes on with the
    /// search among the others: with a new round if one was `added`.
    pub(super) fn search_among(&mut self, now: Instant, added: bool) {
        if !self.search.is_under_way() {
            return;
        }
        let attempts = std::mem::take(&mut self.search.attempts);
        let before = attempts.len();
        for attempt in attempts {
            if self.members.get(attempt.link.member).is_some() {
                self.search.attempts.push(attempt);
            } else {
                self.close_attempt(attempt, false);
            }
        }
        let left = self.search.attempts.len();
        let next_is_due = match self.search.step {
            Step::None => left < before,
            Step::Hedge(_) => left == 0,
            Step::Round(_) => false,
        };
        let busy = Self::busy(&self.search, self.link.as_ref());
        // Where as many attempts run as may, the end of one goes on.
        let next = if added && left < MAX_ATTEMPTS {
            self.members.begin_round(busy)
        } else if next_is_due {
            self.members.hedge(now, busy, &mut self.rng)
        } else {
            return;
        };
        self.search.step = Step::None;
        self.go(now, next);
    }

    /// Ends all attempts but this one, whose session message has its answer.
    pub(super) fn end_other_attempts(&mut self, conn: ConnId) {
        let kept = self.search.take(conn);
        self.end_search();
        // Closing it leaves no orphan.
        self.search.attempts.extend(kept.map(|attempt| Attempt { asked: None, ..attempt }));
    }

    /// Returns the member that was named as the leader on this connection, if it is configured. One that is not configured is
    /// remembered for the error of connect().
    pub(super) fn hint(&mut self, conn: ConnId, leader_id: Option<&MemberId>) -> Option<MemberKey> {
        // A member id may be empty on the wire. Then it names no member.
        let leader_id = leader_id.filter(|id| !id.as_str().is_empty())?;
        let hint = self.members.by_id(leader_id);
        match hint {
            None => {
                let giver = self.link(conn).map(|link| Arc::clone(&link.to))?;
                self.members.named_unconfigured(giver, leader_id.clone());
            }
            Some(_) => self.members.forget_unconfigured(),
        }
        hint
    }

    /// Returns when the search has something to do, besides the timers of its connections.
    pub(super) fn search_at(&self) -> Option<Instant> {
        self.search.next_timeout(matches!(self.state, State::ConnectingNew(_)))
    }

    /// Ends the attempts whose time is over, and goes on with the search if it is time.
    pub(super) fn search_timeouts(&mut self, now: Instant) {
        let late = |attempt: &&Attempt| attempt.held.is_none() && attempt.until <= now;
        while let Some(attempt) = self.search.attempts.iter().find(late) {
            let (conn, ready, waited) =
                (attempt.link.id, attempt.link.zmtp.is_ready(), attempt.create_wait);
            if let (Some(waited), State::ConnectingNew(new)) = (waited, &mut self.state) {
                let limit = MAX_CREATE_WAIT.max(self.config.connection_timeout);
                new.create_wait = new.create_wait.max((waited * CREATE_WAIT_GROWTH).min(limit));
            }
            let cause =
                if ready { ConnectionCause::NeverAnswered } else { ConnectionCause::TimedOut };
            self.attempt_failed(now, conn, cause, None);
        }
        let (Step::Hedge(at) | Step::Round(at)) = self.search.step else { return };
        if now < at {
            return;
        }
        let step = std::mem::take(&mut self.search.step);
        if self.search.attempts.len() >= MAX_ATTEMPTS {
            // The end of an attempt goes on.
            return;
        }
        let busy = Self::busy(&self.search, self.link.as_ref());
        let next = match step {
            Step::Round(_) => self.members.begin_round(busy),
            _ => self.members.hedge(now, busy, &mut self.rng),
        };
        self.go(now, next);
    }

    /// The clock jumped: each attempt has all of its time again, but only once.
    pub(super) fn restart_attempts(&mut self, now: Instant) {
        for attempt in &mut self.search.attempts {
            let wait = attempt.create_wait.unwrap_or(self.config.connection_timeout);
            if !std::mem::replace(&mut attempt.restarted, true) {
                attempt.until = now + wait;
                attempt.held = attempt.held.map(|_| now);
            }
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
