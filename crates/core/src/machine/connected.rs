//! Connected: the session has its connection; and what follows when it loses it.

use std::time::Duration;

use zraft_protocol::SessionCloseReason;

use super::{Machine, State};
use crate::{
    Instant,
    event::{DisconnectReason, Event},
    failure::{ConnectionCause, Failure},
    loss::Loss,
    policy::{
        members::Next,
        quarantine::{Carried, Finding},
    },
};

/// A connection that stood for this long was worth the attempt, even if nothing was answered on it. A shorter one
/// counts as a failed round, so a member that drops connections is not asked without pauses.
const STANDS: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Connected {
    since: Instant,
    /// A request or a KeepAlive was answered on this connection.
    heard: bool,
}

impl Connected {
    pub(super) fn begin(now: Instant) -> Self {
        Self { since: now, heard: false }
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

impl Machine {
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
        let (State::Connected(connected), Some(link)) = (&self.state, &self.link) else {
            debug_assert!(false, "only a session connection is lost");
            return;
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
        let (member_id, endpoint) = self.member(member);
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
        let next = self.after_loss(now, loss, member, short_lived, served);
        self.seek_connection(now, next);
    }

    /// Returns where to continue the session.
    fn after_loss(
        &mut self,
        now: Instant,
        loss: Loss,
        member: usize,
        short_lived: bool,
        served: bool,
    ) -> Next {
        if served {
            self.members.served(member);
        }
        if matches!(loss, Loss::KeepAliveTimeout | Loss::Stalled) {
            self.members.deaf(now, member);
        }
        let dropped = matches!(
            loss,
            Loss::Broken | Loss::Closed { reason: SessionCloseReason::SessionError, .. }
        );
        // A member that continues the session each time and drops it again must not keep the client to itself.
        let keeps_dropping = dropped && !served && self.members.dropped(now, member);
        let same = (dropped && !keeps_dropping).then_some(member);
        let hint = match loss {
            Loss::Closed { hint, .. } if !keeps_dropping => hint,
            _ => None,
        };
        if short_lived {
            return self.members.after_short_lived(now, member, same, hint, &mut self.rng);
        }
        if let Some(member) = same {
            return Next::Now(self.members.same_again(member));
        }
        let answered = !keeps_dropping && matches!(loss, Loss::Silent | Loss::Closed { .. });
        self.members.after_session(now, member, answered, hint, &mut self.rng)
    }
}
