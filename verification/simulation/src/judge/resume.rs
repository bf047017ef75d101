//! How a resumed session resends the requests of earlier connections: all at once, or in slow start.

use zraft_core::{DisconnectReason, Instant};

use super::{Judge, Stage};

/// How the session's new connection must resend. The machine may have reasons for caution that frames do not show, so the judge
/// demands only what is certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resume {
    /// Nothing is demanded.
    Nothing,
    /// Everything pending goes at once.
    Burst,
    /// Everything pending goes in slow start.
    Slow,
}

/// What a lost connection did.
#[derive(Debug, Clone, Copy)]
pub(super) struct Loss {
    pub(super) carried: bool,
    pub(super) answered: bool,
    pub(super) in_flight: bool,
    pub(super) last_bytes: Option<Instant>,
    pub(super) mid_message: bool,
}

/// How the session's last connections ended.
#[derive(Debug, Default)]
pub(super) struct LastLoss {
    /// The member of the last connection.
    member: Option<usize>,
    /// The last connection ended by SessionClosed.
    told: bool,
    /// The client left the last connection because requests stayed unanswered.
    silent: bool,
    /// The last connection that carried requests was lost without an answer.
    barren: bool,
}

impl Judge {
    pub(super) fn note_loss(&mut self, now: Instant, reason: DisconnectReason, loss: Loss) {
        let Some(wire) = &self.wire else { return };
        let last = &mut self.last_loss;
        last.member = Some(wire.member);
        last.told = wire.told;
        last.silent = reason == DisconnectReason::Silent;
        if loss.carried {
            last.barren = !loss.answered && !wire.told;
        }
        // Of a member that is not listed the client remembers nothing.
        let deaf = reason == DisconnectReason::KeepAliveTimeout
            && self.terms.listed.contains(&wire.member);
        self.tries.lost(now, wire.member, deaf);
    }

    /// Returns how the session must resend on the present connection.
    pub(super) fn resume(&self) -> Resume {
        let Some(wire) = &self.wire else { return Resume::Nothing };
        let last = &self.last_loss;
        if last.barren || last.silent {
            return Resume::Slow;
        }
        let pending = |number: &usize| self.requests[*number].is_pending();
        let suspicious = self.suspicion.row > 0 || self.suspicion.suspects.iter().any(pending);
        let moved = last.member.is_some_and(|member| member != wire.member);
        if !suspicious && (moved || last.told) { Resume::Burst } else { Resume::Nothing }
    }

    /// At the end of a turn, a burst is complete unless the socket takes no more.
    pub(super) fn bursts(&mut self) {
        let Some(wire) = self.wire.as_mut().filter(|wire| {
            wire.resume == Resume::Burst
                && wire.stage == Stage::Connected
                && wire.encoded <= wire.written
        }) else {
            return;
        };
        wire.resume = Resume::Nothing;
        let (id, present) = (wire.id, self.sessions);
        let left = self.requests.iter().position(|asked| {
            let sent = asked.place.is_some_and(|(of, _)| of == present)
                || (asked.correlation.is_some() && asked.settled.is_none());
            sent && asked.is_pending() && asked.last_wire != Some(id)
        });
        self.demand(left.is_none(), "a resume elsewhere sends everything pending", || {
            format!("request {} was not", left.unwrap_or_default())
        });
    }
}
