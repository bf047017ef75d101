//! What becomes of the session: created, continued, closed, rejected, expired.

use std::{collections::BTreeMap, time::Duration};

use zraft_protocol::{MemberId, RejectionReason, SessionCloseReason, SessionId};

use super::{Connected, ConnectingNew, Machine, State};
use crate::{
    ConnId, Instant,
    config::OnSessionExpired,
    event::{DisconnectReason, Event},
    failure::{ConnectionCause, Failure},
    keys::MemberKey,
    loss::Loss,
    resend::Resume,
    tables::server_requests::ServerRequests,
};

/// The client believes a lone member that the session expired if it says so again after this long. A leader that just
/// resumed may say it falsely, but there is no other member to ask.
const SAID_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// The client believes the leader that the others name if it denied the session this often, and first this long ago. A
/// leader that resumed with an old session map is replaced within seconds, and the others then name its successor.
const LEADER_DENIES: u32 = 3;
const LEADER_DENIES_FOR: Duration = Duration::from_secs(10);

/// A session that the server knows.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: SessionId,
    /// The member of the last session connection.
    pub(super) member: MemberKey,
    /// The last time the server was known to know the session.
    pub(super) proof: Instant,
    /// How the last session connection ended.
    pub(super) lost_by: Option<Loss>,
    /// A member said that the session expired, which may be false.
    doubt: Option<Doubt>,
    pub(super) tracker: ServerRequests,
}

/// What the members said since one of them first denied the session.
#[derive(Debug, Default)]
struct Doubt {
    words: BTreeMap<MemberKey, Words>,
}

/// What one member said.
#[derive(Debug, Clone, Default)]
struct Words {
    denials: u32,
    first_denial: Option<Instant>,
    /// The configured member that it named as the leader when it last rejected the session for not leading.
    names: Option<MemberKey>,
}

impl Doubt {
    fn denied(&mut self, now: Instant, member: MemberKey) {
        let words = self.words.entry(member).or_default();
        words.denials = words.denials.saturating_add(1);
        words.first_denial.get_or_insert(now);
        words.names = None;
    }

    /// Returns true if this member denied the session often enough, and is the leader for all others that name one.
    fn convinces(&self, now: Instant, member: MemberKey) -> bool {
        let Some(words) = self.words.get(&member) else { return false };
        let long = self.denies_for(now, member, LEADER_DENIES_FOR);
        let others = self.words.iter().filter(|(other, _)| **other != member);
        let mut named = others.filter_map(|(_, words)| words.names).peekable();
        long && words.denials >= LEADER_DENIES
            && named.peek().is_some()
            && named.all(|leader| leader == member)
    }

    /// Returns true if this member first denied the session at least this long ago.
    fn denies_for(&self, now: Instant, member: MemberKey, long: Duration) -> bool {
        let first = self.words.get(&member).and_then(|words| words.first_denial);
        first.is_some_and(|first| now - first >= long)
    }
}

impl Session {
    /// Forgets what members said that are no longer configured, and what others said of them.
    pub(super) fn believe_only(&mut self, listed: impl Fn(MemberKey) -> bool) {
        let Some(doubt) = &mut self.doubt else { return };
        doubt.words.retain(|member, _| listed(*member));
        for words in doubt.words.values_mut() {
            words.names = words.names.filter(|leader| listed(*leader));
        }
    }
}

impl Machine {
    /// SessionCreated came on this connection, with the right nonce.
    pub(super) fn created(&mut self, now: Instant, conn: ConnId, session_id: &SessionId) {
        debug_assert!(self.session.is_none());
        self.promote(conn);
        let Some(link) = &self.link else { return };
        self.session = Some(Session {
            id: session_id.to_detached(),
            member: link.member,
            proof: now,
            lost_by: None,
            doubt: None,
            tracker: ServerRequests::new(self.config.max_server_requests),
        });
        self.resend.created(link.id);
        self.become_connected(now, false);
    }

    /// SessionContinued came on this connection, with the right nonce.
    pub(super) fn continued(&mut self, now: Instant, conn: ConnId) {
        if matches!(self.state, State::Connected(_)) {
            self.leave_frozen(now);
        }
        self.promote(conn);
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
        session.doubt = None;
        self.resend.resumed(now, &mut self.requests, link.id, resume);
        self.stats.reconnects += 1;
        self.become_connected(now, true);
    }

    /// SessionClosed came on this connection.
    pub(super) fn session_closed(
        &mut self,
        now: Instant,
        conn: ConnId,
        reason: SessionCloseReason,
        leader_id: Option<&MemberId>,
    ) {
        let Some(member) = self.link(conn).map(|link| link.member) else { return };
        let hint = self.hint(conn, leader_id);
        let expired = reason == SessionCloseReason::SessionExpired;
        if self.is_session(conn) {
            // A session that is being closed has ended either way.
            if expired && !self.is_closing() {
                self.session_expired(now, Some(member));
            } else {
                self.lost(now, Loss::Closed { reason, hint });
            }
        } else if expired && matches!(self.state, State::ConnectingExisting) {
            self.session_expired(now, Some(member));
        } else {
            self.attempt_failed(now, conn, ConnectionCause::SessionClosed, hint);
        }
    }

    /// SessionRejected came on this connection, with the right nonce.
    pub(super) fn rejected(
        &mut self,
        now: Instant,
        conn: ConnId,
        reason: RejectionReason,
        leader_id: Option<&MemberId>,
    ) {
        let Some(link) = self.link(conn) else { return };
        let (member, member_id) = (link.member, link.to.id.clone());
        let hint = self.hint(conn, leader_id);
        match reason {
            RejectionReason::NotLeader => {
                if let Some(doubt) =
                    self.session.as_mut().and_then(|session| session.doubt.as_mut())
                {
                    doubt.words.entry(member).or_default().names = hint;
                }
                let cause = match leader_id.filter(|id| hint.is_none() && !id.as_str().is_empty()) {
                    Some(id) => ConnectionCause::LeaderNotConfigured { leader_id: id.clone() },
                    None => ConnectionCause::NoLeader,
                };
                self.attempt_failed(now, conn, cause, hint);
            }
            RejectionReason::SessionExpired => {
                // While the session has a connection, it lives until that one says otherwise.
                if self.link.is_none() && self.expiry_is_believed(now, member, member_id) {
                    self.session_expired(now, Some(member));
                } else {
                    self.members.denied(member);
                    self.attempt_failed(now, conn, ConnectionCause::SessionUnknown, hint);
                }
            }
            RejectionReason::InvalidCapabilities | RejectionReason::Other
                if self.link.is_some() =>
            {
                self.attempt_failed(now, conn, ConnectionCause::SessionUnknown, hint);
            }
            RejectionReason::InvalidCapabilities | RejectionReason::Other => {
                self.end_other_attempts(conn);
                self.settle_all(|sent| Failure::SessionRejected { reason, sent });
                let why = Failure::SessionRejected { reason, sent: false };
                self.end(now, Some(DisconnectReason::Rejected), &why);
            }
        }
    }

    /// A member denies the session. Returns true if the session may really have expired. A member that resumed or was just
    /// elected may reject a session that lives, so the client believes it only when time, or the others, allow it.
    fn expiry_is_believed(&mut self, now: Instant, member: MemberKey, member_id: MemberId) -> bool {
        let lone = !self.members.has_other_than(member);
        let limit = self.config.session_timeout;
        let Some(session) = &mut self.session else { return false };
        if now - session.proof >= limit {
            return true;
        }
        let begins = session.doubt.is_none();
        let doubt = session.doubt.get_or_insert_default();
        doubt.denied(now, member);
        let alone = lone && doubt.denies_for(now, member, SAID_AGAIN_AFTER);
        let believed = alone || doubt.convinces(now, member);
        if begins && !believed {
            self.out.event(Event::SessionDoubted { member_id });
        }
        believed
    }

    /// Returns when a session that a member rejected counts as expired, if no other member continues it.
    pub(super) fn doubt_until(&self) -> Option<Instant> {
        let session = self.session.as_ref()?;
        let connecting = matches!(self.state, State::ConnectingExisting);
        (connecting && session.doubt.is_some()).then(|| session.proof + self.config.session_timeout)
    }

    /// The session expired, and the client believes it: everything settles, or goes on in a new session.
    /// `member` said it, or else the time did.
    pub(super) fn session_expired(&mut self, now: Instant, member: Option<MemberKey>) {
        debug_assert!(matches!(self.state, State::Connected(_) | State::ConnectingExisting));
        let Some(Session { id, .. }) = self.session.take() else { return };
        self.out.event(Event::SessionExpired { session_id: id.clone() });
        if self.config.on_session_expired == OnSessionExpired::NewSession && self.drain.is_none() {
            self.renew(now, id, member);
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
    fn renew(&mut self, now: Instant, id: SessionId, member: Option<MemberKey>) {
        let why = Failure::SessionExpired { session_id: Some(id), sent: true };
        let mut short_lived = false;
        if let State::Connected(connected) = &self.state {
            short_lived = connected.is_short_lived(now);
            let pings = self.liveness.disconnected();
            self.fail_pings(pings, &why);
            self.resend.disconnected(&mut self.requests);
            self.out.event(Event::Disconnected {
                reason: DisconnectReason::SessionExpired,
                member_id: self.link.as_ref().map(|link| link.to.id.clone()),
            });
        }
        self.close_link();
        self.end_search();
        self.settle_sent_commands(&why);
        self.forget_session();
        let create_wait = self.config.connection_timeout;
        self.enter(State::ConnectingNew(ConnectingNew::begin(create_wait, true)));
        // The member that ended the session leads, or did.
        let next = match member {
            // A member whose sessions expire at once must not be asked without a pause.
            Some(member) if short_lived => {
                self.members.after_short_lived(now, member, Some(member), None, &mut self.rng)
            }
            Some(member) => self.members.same_again(member),
            None => self.members.begin_round(|_| false),
        };
        self.seek(now, next);
    }

    /// The session has a connection.
    fn become_connected(&mut self, now: Instant, resumed: bool) {
        let (Some(link), Some(session)) = (&self.link, &self.session) else { return };
        let (member_id, endpoint) = link.to.names();
        let session_id = session.id.clone();
        self.liveness.connected(now);
        self.liveness.set_can_move(self.members.has_other_than(link.member));
        self.quarantine.connected();
        self.callers.forget_failure();
        self.members.forget_unconfigured();
        self.enter(State::Connected(Connected::begin(now)));
        self.out.event(Event::Connected { session_id, member_id, endpoint, resumed });
        self.ask_for_members(now);
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
        self.own_query.new_session();
        self.discovery.new_session();
    }
}
