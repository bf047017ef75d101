//! How requests end: each exactly once, with what is known about it and no more.

use std::ops::Range;

use bytes::Bytes;
use zraft_protocol::{CorrelationId, RequestId};

use super::{Completion, Machine};
use crate::{
    Instant, RequestKind,
    event::Event,
    failure::{Failure, RequestRef},
    tables::{requests::Settled, slab::Phase, wheel::Wheel},
};

/// Why the caller of a request no longer waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GaveUp {
    Deadline,
    Cancelled,
}

impl Machine {
    /// A request was answered on the present connection, by a result or a failure.
    pub(super) fn answered(&mut self, now: Instant, slot: u32, result: Result<Bytes, Failure>) {
        let Some(settled) = self.settle_answered(now, slot) else { return };
        match &result {
            // A detached command was counted as unknown when it was detached.
            Err(failure) if failure.maybe_executed() => {
                self.stats.unknown += u64::from(settled.phase != Phase::Detached);
            }
            Ok(_) if settled.phase == Phase::Live => {
                self.stats.answered += 1;
                self.latencies.answered(settled.kind, settled.submitted_at, now);
            }
            _ => self.stats.answered += 1,
        }
        self.complete(&settled, result);
        self.after_settling(&settled);
    }

    /// A request was answered by a result, which lies at this place in the received bytes. Nearly every request takes this
    /// way.
    #[inline(always)]
    pub(super) fn answered_well(
        &mut self,
        now: Instant,
        slot: u32,
        bytes: &Bytes,
        place: Range<usize>,
    ) {
        let Some(settled) = self.settle_answered(now, slot) else { return };
        self.stats.answered += 1;
        let key = settled.key;
        if self.is_own(key) {
            self.own_query_settled(key, Ok(bytes.slice(place)));
        } else if settled.phase == Phase::Detached {
            let result = Ok(bytes.slice(place));
            self.out.complete(Completion::Resolution { key, result });
        } else {
            self.latencies.answered(settled.kind, settled.submitted_at, now);
            self.out.answer(key, place);
        }
        self.after_settling(&settled);
    }

    #[inline(always)]
    fn settle_answered(&mut self, now: Instant, slot: u32) -> Option<Settled> {
        let link = self.link.as_mut()?;
        self.resend.answered(now, &mut self.requests, slot, &mut self.rng);
        let settled = self.requests.settle(slot);
        link.on_the_wire -= usize::from(settled.sent_on == link.id);
        link.answered = true;
        let more = link.on_the_wire > 0;
        self.liveness.request_answered(now, more);
        self.heard();
        Some(settled)
    }

    /// The deadline of a request passed, or its caller cancelled it. The two differ only in the failure.
    pub(super) fn give_up_waiting(&mut self, now: Instant, slot: u32, why: GaveUp) {
        let entry = self.requests.slab.get(slot);
        let (phase, kind, id) = (entry.phase, entry.kind, entry.id);
        let own = self.is_own(self.requests.slab.key(slot));
        let reference = self.reference(slot, kind, id).filter(|_| phase != Phase::Queued);
        let failure = |sent| match why {
            GaveUp::Deadline => Failure::Timeout { id: reference.clone(), sent },
            GaveUp::Cancelled => Failure::Cancelled { id: reference.clone(), sent },
        };
        match phase {
            Phase::Free => debug_assert!(false, "a request that settled has no deadline"),
            // Ignored: its caller has the outcome already.
            Phase::Detached if why == GaveUp::Cancelled => {}
            Phase::Detached => self.forget(slot, failure(true)),
            Phase::Live if kind == RequestKind::Command => {
                let tick = Wheel::tick(now, self.config.detached_timeout);
                let key = self.requests.slab.key(slot);
                self.requests.detach(now, slot, tick);
                self.stats.unknown += 1;
                let result = Err(failure(true));
                self.out.complete(Completion::Request { key, result, detached: true });
            }
            Phase::Queued | Phase::Live => self.forget(slot, failure(false)),
        }
        if why == GaveUp::Deadline && phase != Phase::Detached && !own {
            self.out.event(match (kind, reference) {
                (RequestKind::Command, Some(RequestRef::Command(id))) => {
                    Event::RequestTimeout { request_id: Some(id) }
                }
                (RequestKind::Command, _) => Event::RequestTimeout { request_id: None },
                (RequestKind::Query, Some(RequestRef::Query(id))) => {
                    Event::QueryTimeout { correlation_id: Some(id) }
                }
                (RequestKind::Query, _) => Event::QueryTimeout { correlation_id: None },
            });
        }
    }

    /// A request settles without an answer.
    pub(super) fn forget(&mut self, slot: u32, failure: Failure) {
        self.resend.forgotten(&mut self.requests, slot);
        let settled = self.requests.settle(slot);
        if settled.phase != Phase::Queued
            && let Some(link) = &mut self.link
            && settled.sent_on == link.id
        {
            link.on_the_wire -= 1;
            if link.on_the_wire == 0 {
                self.liveness.nothing_on_the_wire();
            }
        }
        match settled.phase {
            _ if self.is_own(settled.key) => {}
            Phase::Queued => self.stats.not_executed += 1,
            Phase::Live if failure.maybe_executed() => self.stats.unknown += 1,
            _ => {}
        }
        self.complete(&settled, Err(failure));
        self.after_settling(&settled);
    }

    fn complete(&mut self, settled: &Settled, result: Result<Bytes, Failure>) {
        let key = settled.key;
        if self.is_own(key) {
            return self.own_query_settled(key, result);
        }
        self.out.complete(match settled.phase {
            Phase::Detached => Completion::Resolution { key, result },
            _ => Completion::Request { key, result, detached: false },
        });
    }

    #[inline]
    fn after_settling(&mut self, settled: &Settled) {
        if settled.suspect {
            self.quarantine.cleared();
        }
    }

    /// Gives up the request that was alone in flight when members failed.
    pub(super) fn give_up_suspect(&mut self) {
        let Some(key) = self.quarantine.take_alone() else { return };
        let Some(entry) = self.requests.slab.find(key) else { return };
        let (kind, id) = (entry.kind, entry.id);
        if let Some(id) = self.reference(key.slot, kind, id) {
            self.out.event(Event::RequestQuarantined { id });
        }
        self.forget(key.slot, Failure::Quarantined { sent: kind == RequestKind::Command });
    }

    /// Settles every request. `failure` makes its failure; the argument is true for a command that was sent.
    pub(super) fn settle_all(&mut self, failure: impl Fn(bool) -> Failure) {
        for slot in self.requests.all() {
            let entry = self.requests.slab.get(slot);
            let sent = entry.phase != Phase::Queued && entry.kind == RequestKind::Command;
            self.forget(slot, failure(sent));
        }
    }

    /// Settles the commands that were sent in a session that is gone, in id order.
    pub(super) fn settle_sent_commands(&mut self, failure: &Failure) {
        let mut sent: Vec<(u64, u32)> = self.requests.commands.iter().collect();
        sent.sort_unstable();
        for (_, slot) in sent {
            self.forget(slot, failure.clone());
        }
    }

    /// Returns the id under which a request was sent, if it was.
    pub(super) fn reference(&self, slot: u32, kind: RequestKind, id: u64) -> Option<RequestRef> {
        if id == 0 {
            return None;
        }
        match kind {
            RequestKind::Command => RequestId::new(id).ok().map(RequestRef::Command),
            RequestKind::Query => {
                let text = self.requests.correlation_text(slot, id);
                let text = String::from_utf8_lossy(&text).into_owned();
                CorrelationId::new(text).ok().map(RequestRef::Query)
            }
        }
    }
}
