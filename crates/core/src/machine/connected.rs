//! Connected: the session has its connection; and how it comes to lose it.

use std::time::Duration;

use zraft_protocol::{MemberId, SessionCloseReason, SessionId};

use super::{Attempt, Completion, Connected, LastEnd, Machine, Session, State};
use crate::{
    Instant, PingKey,
    event::{DisconnectReason, Event},
    failure::{ConnectionCause, Failure},
    policy::{
        members::{Ended, Next},
        quarantine::{Carried, Finding, Loss},
    },
    resend::Backlog,
    tables::server_requests::ServerRequests,
};

/// A connection that stands for this long was worth the attempt, even if nothing was answered on it.
const STANDS: Duration = Duration::from_secs(5);

/// How a connection that had been Connected ended.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    /// The stream ended or broke.
    Broken,
    /// The peer violated ZMTP.
    Violation,
    HeartbeatTimeout,
    KeepAliveTimeout,
    /// A keep-alive could not even be written.
    Stalled,
    Silent,
    /// SessionClosed, and the leader it named.
    Told(SessionCloseReason, Option<usize>),
}

impl End {
    fn reason(self) -> DisconnectReason {
        match self {
            Self::Broken | Self::Violation => DisconnectReason::ConnectionLost,
            Self::HeartbeatTimeout => DisconnectReason::HeartbeatTimeout,
            Self::KeepAliveTimeout | Self::Stalled => DisconnectReason::KeepAliveTimeout,
            Self::Silent => DisconnectReason::Silent,
            Self::Told(reason, _) => match reason {
                SessionCloseReason::Shutdown => DisconnectReason::ServerShutdown,
                SessionCloseReason::NotLeaderAnymore => DisconnectReason::NotLeader,
                SessionCloseReason::SessionError => DisconnectReason::SessionError,
                SessionCloseReason::ConnectionClosed => DisconnectReason::ConnectionLost,
                SessionCloseReason::SessionExpired => DisconnectReason::SessionExpired,
            },
        }
    }

    /// `stood_still`: not even PINGs were answered, or the member was in the middle of a message.
    fn loss(self, stood_still: bool) -> Loss {
        match self {
            Self::Broken | Self::Violation | Self::HeartbeatTimeout | Self::Stalled => Loss::Broken,
            Self::KeepAliveTimeout if stood_still => Loss::Broken,
            Self::KeepAliveTimeout => Loss::Deaf,
            Self::Silent => Loss::Silent,
            Self::Told(..) => Loss::Told,
        }
    }

    fn last_end(self) -> LastEnd {
        match self {
            Self::Silent => LastEnd::Silent,
            Self::Told(..) => LastEnd::Told,
            _ => LastEnd::Lost,
        }
    }
}

impl Connected {
    /// Were it to end now, it would count as a round that failed.
    pub(super) fn is_stillborn(&self, now: Instant) -> bool {
        !self.heard && now - self.since < STANDS
    }
}

impl Machine {
    /// SessionCreated with the right nonce.
    pub(super) fn created(&mut self, now: Instant, session_id: &SessionId) {
        let Some(link) = &self.link else { return };
        self.session = Some(Session {
            id: session_id.to_detached(),
            member: link.member,
            proof: now,
            ended: LastEnd::Lost,
            doubted: None,
            tracker: ServerRequests::new(self.config.max_server_requests),
        });
        self.unattended = false;
        self.create_wait = self.config.connection_timeout;
        self.become_connected(now, false, Backlog::None);
    }

    /// SessionContinued with the right nonce.
    pub(super) fn continued(&mut self, now: Instant) {
        let (Some(link), Some(session)) = (&self.link, &mut self.session) else { return };
        let same = session.member == link.member;
        let ended = session.ended;
        session.member = link.member;
        session.proof = now;
        session.doubted = None;
        let backlog = if self.quarantine.one_at_a_time()
            || self.quarantine.slow_resume()
            || ended == LastEnd::Silent
        {
            Backlog::SlowStart
        } else if !same || ended == LastEnd::Told {
            Backlog::Burst
        } else {
            self.resend.await_answers(now)
        };
        self.stats.reconnects += 1;
        self.become_connected(now, true, backlog);
    }

    fn become_connected(&mut self, now: Instant, resumed: bool, backlog: Backlog) {
        let (Some(link), Some(session)) = (&self.link, &self.session) else { return };
        let (member_id, endpoint) = self.member(link.member);
        let session_id = session.id.clone();
        self.liveness.connected(now);
        self.resend.connected(&mut self.requests, link.id, backlog);
        self.quarantine.connected();
        self.last_failure = None;
        self.members.forget_unconfigured();
        self.enter(State::Connected(Connected { since: now, heard: false }));
        self.events.push(Event::Connected { session_id, member_id, endpoint, resumed });
        for waiter in std::mem::take(&mut self.waiters) {
            // During a drain they wait for the session after it.
            if self.drain.is_some() {
                self.waiters.push(waiter);
            } else {
                self.completions.push_back(Completion::Connect { key: waiter.key, result: Ok(()) });
            }
        }
    }

    /// An answer of any kind came: the connection is worth something.
    #[inline]
    pub(super) fn heard(&mut self) {
        if let State::Connected(connected) = &mut self.state
            && !connected.heard
        {
            connected.heard = true;
            self.members.heard();
        }
    }

    pub(super) fn session_closed(
        &mut self,
        now: Instant,
        reason: SessionCloseReason,
        leader_id: Option<&MemberId>,
    ) {
        let hint = self.hint(leader_id);
        match (&self.state, reason) {
            (State::Disconnected, _) => {}
            (
                State::Connected(_) | State::ConnectingExisting(_),
                SessionCloseReason::SessionExpired,
            ) if !self.is_closing() => self.session_expired(now),
            (State::Connected(_), _) => self.lost(now, End::Told(reason, hint)),
            (State::ConnectingNew(_) | State::ConnectingExisting(_), _) => {
                self.attempt_failed(now, ConnectionCause::SessionClosed, Ended::Refused { hint });
            }
        }
    }

    /// The session lost its connection: it is continued on another.
    pub(super) fn lost(&mut self, now: Instant, end: End) {
        if self.is_closing() {
            return self.end(now, Some(DisconnectReason::Closed), &Failure::Closed { sent: false });
        }
        let (State::Connected(connected), Some(link)) = (&self.state, &self.link) else { return };
        let stillborn = connected.is_stillborn(now);
        let worth = !connected.heard && !stillborn;
        // Only an answer to a request shows that a member serves. Where none was asked, a connection that stood and whose
        // keep-alives were answered shows it too.
        let stood = connected.heard && now - connected.since >= STANDS;
        let served = link.answered || (!link.carried && stood);
        let member = link.member;
        let carried =
            Carried { any: link.carried, answered: link.answered, in_flight: link.on_the_wire > 0 };
        if worth {
            self.members.heard();
        }
        // A deaf member answers PING. One that does not is frozen or cut off, for which no request is to blame. Where
        // PINGs are too rare to tell, it counts as deaf. Nor is one deaf that has begun to say something.
        let two_pings = self.config.heartbeat_interval.saturating_mul(2);
        let stood_still = link.zmtp.mid_message()
            || two_pings < self.config.connection_timeout
                && now - link.zmtp.last_received() > two_pings;
        let (member_id, endpoint) = self.member(member);
        let why = Failure::Connection { endpoint: Some(endpoint), cause: ConnectionCause::Lost };
        let pings = self.liveness.disconnected();
        self.fail_pings(pings, &why);
        self.close_link();
        self.resend.disconnected(&mut self.requests);
        self.events.push(Event::Disconnected { reason: end.reason(), member_id: Some(member_id) });
        if let Some(session) = &mut self.session {
            session.ended = end.last_end();
            session.member = member;
        }
        match self.quarantine.lost(end.loss(stood_still), carried) {
            Finding::Nothing => {}
            Finding::Suspect => {
                let suspects = self.requests.suspect_all();
                self.quarantine.suspect(suspects);
            }
            Finding::Convict => self.convict(),
        }
        self.enter(State::ConnectingExisting(Attempt::first(now)));
        let next = self.after_loss(now, end, member, stillborn, served);
        self.go(now, next);
    }

    fn after_loss(
        &mut self,
        now: Instant,
        end: End,
        member: usize,
        stillborn: bool,
        served: bool,
    ) -> Next {
        let dropped = matches!(end, End::Broken | End::Told(SessionCloseReason::SessionError, _));
        if served {
            self.members.served(member);
        }
        // One that continues the session each time and drops it again must not keep the client to itself.
        let captor = dropped && !served && self.members.dropped(now, member);
        let same = (dropped && !captor).then_some(member);
        if matches!(end, End::KeepAliveTimeout | End::Stalled) {
            self.members.deaf(now, member);
        }
        let hint = match end {
            End::Told(_, hint) if !captor => hint,
            _ => None,
        };
        if stillborn {
            return self.members.after_stillborn(now, member, same, hint, &mut self.rng);
        }
        if let Some(member) = same {
            return Next::Now(self.members.same_again(member));
        }
        let ended = match end {
            _ if captor => Ended::NoAnswer,
            End::KeepAliveTimeout
            | End::Stalled
            | End::HeartbeatTimeout
            | End::Violation
            | End::Broken => Ended::NoAnswer,
            End::Silent | End::Told(..) => Ended::Refused { hint },
        };
        self.members.after_session(now, member, ended, &mut self.rng)
    }

    pub(super) fn fail_pings(&mut self, pings: Vec<PingKey>, why: &Failure) {
        for key in pings {
            self.completions.push_back(Completion::Ping { key, result: Err(why.clone()) });
        }
    }
}
