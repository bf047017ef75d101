//! Connected: the session has its connection; and what follows when it loses it.

use std::time::Duration;

use super::{Machine, State};
use crate::{
    Instant,
    event::{DisconnectReason, Event},
    failure::{ConnectionCause, Failure},
    keys::MemberKey,
    loss::Loss,
    policy::{
        members::Next,
        quarantine::{Carried, Finding},
    },
};

/// A connection that stood for this long was worth the attempt, even if nothing was answered on it. A shorter one
/// counts as a failed round, so a member that drops connections is not asked without pauses.
const STANDS: Duration = Duration::from_secs(5);

/// A member with requests in flight gets this many PINGs in a `heartbeatInterval`, and counts as frozen if it is silent all
/// that time. A pause of a garbage collector can be as long: the other members reject the session then, and the connection
/// is kept.
const FROZEN_PINGS: u32 = 3;

/// If `heartbeatInterval` is shorter, this time is taken instead: a round trip to another continent takes 200 ms.
const LEAST_SILENCE: Duration = Duration::from_millis(300);

#[derive(Debug)]
pub(super) struct Connected {
    since: Instant,
    /// A request or a KeepAlive was answered on this connection.
    heard: bool,
    /// Another member was sought beside it since the last byte.
    pub(super) sought_beside: bool,
}

impl Connected {
    pub(super) fn begin(now: Instant) -> Self {
        Self { since: now, heard: false, sought_beside: false }
    }

    /// Returns true if the connection has stood for long enough to be worth the attempt.
    fn stands(&self, now: Instant) -> bool {
        now - self.since >= STANDS
    }

    /// Returns true if the connection, were it to end now, would count as a failed round.
    pub(super) fn is_short_lived(&self, now: Instant) -> bool {
        !self.heard && !self.stands(now)
    }
}

/// A session connection that ended.
#[derive(Debug, Clone, Copy)]
struct Ended {
    member: MemberKey,
    /// It counts as a failed round.
    short_lived: bool,
    /// The member served on it.
    served: bool,
}

impl Machine {
    /// Returns since when the member owes a sign of life: requests are on the wire, and nothing came. `None` if it owes
    /// none, or there is no other member to ask.
    fn owes_since(&self) -> Option<Instant> {
        let since = self.liveness.silent_since()?;
        let link = self.link.as_ref()?;
        Some(since.max(link.zmtp.last_received()).max(link.pushed))
    }

    /// Returns when a PING is due beside those of the heartbeat, and when the member counts as frozen.
    fn frozen_times(&self) -> Option<(Instant, Option<Instant>)> {
        if self.is_closing() || self.search.is_under_way() {
            return None;
        }
        let since = self.owes_since()?;
        let silence = self.config.heartbeat_interval.max(LEAST_SILENCE);
        let pinged = self.link.as_ref().map_or(since, |link| link.pinged);
        let ping = since.max(pinged) + silence / (FROZEN_PINGS + 1);
        // The client itself may have been stopped. Only a PING that had its time and is not answered says something.
        let frozen = (pinged > since).then(|| ping.max(since + silence));
        Some((ping, frozen))
    }

    /// Returns when [`seek_beside`](Self::seek_beside) has something to do.
    pub(super) fn frozen_at(&self) -> Option<Instant> {
        self.frozen_times().map(|(ping, _)| ping)
    }

    /// Looks for another member if this one seems frozen. The connection is kept until another has the session, or until
    /// the member shows that it lives.
    pub(super) fn seek_beside(&mut self, now: Instant) {
        let Some((ping, frozen)) = self.frozen_times() else { return };
        let Some(link) = &mut self.link else { return };
        if frozen.is_some_and(|at| at <= now) {
            if let State::Connected(connected) = &mut self.state {
                connected.sought_beside = true;
            }
            let next = self.members.beside(link.member);
            self.seek(now, next);
        } else if ping <= now {
            link.pinged = now;
            link.zmtp.ping_now(now);
        }
    }

    /// A request or a KeepAlive was answered, so the connection was worth the attempt.
    #[inline]
    pub(super) fn heard(&mut self) {
        if let State::Connected(connected) = &mut self.state
            && !connected.heard
        {
            connected.heard = true;
            self.members.heard();
        }
    }

    /// The session lost its connection. It is continued on another, unless it is being closed.
    pub(super) fn lost(&mut self, now: Instant, loss: Loss) {
        if self.is_closing() {
            return self.end(now, Some(DisconnectReason::Closed), &Failure::Closed { sent: false });
        }
        let Some(ended) = self.leave(now, loss) else {
            debug_assert!(false, "only a session connection is lost");
            return;
        };
        let keeps_dropping = self.judge_member(now, loss, ended);
        self.enter(State::ConnectingExisting);
        if self.search.is_under_way() {
            self.go_on(now, loss.is_drop() && !keeps_dropping);
        } else {
            let next = self.after_loss(now, loss, ended, keeps_dropping);
            self.seek(now, next);
        }
    }

    /// Another member continues the session, because this one seems frozen.
    pub(super) fn leave_frozen(&mut self, now: Instant) {
        if let Some(ended) = self.leave(now, Loss::HeartbeatTimeout) {
            self.judge_member(now, Loss::HeartbeatTimeout, ended);
        }
        self.enter(State::ConnectingExisting);
    }

    /// Closes the session's connection, reports it, and tells the policies what it carried.
    fn leave(&mut self, now: Instant, loss: Loss) -> Option<Ended> {
        let (State::Connected(connected), Some(link)) = (&self.state, &self.link) else {
            return None;
        };
        let (heard, stands) = (connected.heard, connected.stands(now));
        let short_lived = connected.is_short_lived(now);
        // Only an answer to a request shows that a member serves. If no request was sent, a connection that stood and
        // whose KeepAlives were answered shows it too.
        let served = link.answered || (!link.carried && heard && stands);
        let member = link.member;
        // A deaf member answers PING. One that does not is frozen or cut off, and so is one that stopped in the
        // middle of a message. Where PINGs are too rare to tell, a member counts as deaf.
        let two_pings = self.config.heartbeat_interval.saturating_mul(2);
        let frozen = link.zmtp.mid_message()
            || two_pings < self.config.connection_timeout
                && now - link.zmtp.last_received() > two_pings;
        let carried = Carried {
            any: link.carried,
            answered: link.answered,
            in_flight: link.on_the_wire > 0,
            frozen,
        };
        if !heard && stands {
            self.members.heard();
        }
        let (member_id, endpoint) = link.to.names();
        let why = Failure::Connection { endpoint: Some(endpoint), cause: ConnectionCause::Lost };
        let pings = self.liveness.disconnected();
        self.fail_pings(pings, &why);
        self.close_link();
        self.resend.disconnected(&mut self.requests);
        self.out.event(Event::Disconnected { reason: loss.reason(), member_id: Some(member_id) });
        if let Some(session) = &mut self.session {
            session.lost_by = Some(loss);
        }
        match self.quarantine.lost(loss, carried) {
            Finding::Harmless => {}
            Finding::Begin => {
                let suspects = self.requests.suspect_all();
                self.quarantine.begin(suspects);
            }
            Finding::GiveUp => self.give_up_suspect(),
        }
        Some(Ended { member, short_lived, served })
    }

    /// Notes what the loss says of the member. Returns true if it continues the session each time and drops it again, so
    /// that it must not keep the client to itself.
    fn judge_member(&mut self, now: Instant, loss: Loss, ended: Ended) -> bool {
        let Ended { member, served, .. } = ended;
        if served {
            self.members.served(member);
        }
        if matches!(loss, Loss::KeepAliveTimeout | Loss::Stalled) {
            self.members.deaf(now, member);
        }
        loss.is_drop() && !served && self.members.dropped(now, member)
    }

    /// Returns where to continue the session.
    fn after_loss(&mut self, now: Instant, loss: Loss, ended: Ended, keeps_dropping: bool) -> Next {
        let Ended { member, short_lived, .. } = ended;
        let same = (loss.is_drop() && !keeps_dropping).then_some(member);
        let hint = match loss {
            Loss::Closed { hint, .. } if !keeps_dropping => hint,
            _ => None,
        };
        if short_lived {
            return self.members.after_short_lived(now, member, same, hint, &mut self.rng);
        }
        if let Some(member) = same {
            return self.members.same_again(member);
        }
        let answered = !keeps_dropping && matches!(loss, Loss::Silent | Loss::Closed { .. });
        self.members.after_session(now, member, answered, hint, &mut self.rng)
    }
}
