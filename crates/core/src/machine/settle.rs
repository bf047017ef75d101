//! How requests end: each exactly once, with what is known of them and no more.

use bytes::Bytes;
use zraft_protocol::{CorrelationId, RequestId};

use super::{Completion, Machine};
use crate::{
    Instant, RequestKind,
    event::Event,
    failure::{Failure, RequestRef},
    tables::{requests::Settled, slab::Phase, wheel::Wheel},
};

/// Why a caller no longer waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GaveUp {
    Deadline,
    Cancelled,
}

impl Machine {
    /// A request was answered on the present connection, well or not.
    pub(super) fn answered(&mut self, now: Instant, slot: u32, result: Result<Bytes, Failure>) {
        let Some(settled) = self.settle_answered(now, slot) else { return };
        match &result {
            // What is detached was counted when its caller was told.
            Err(failure) if failure.maybe_executed() => {
                self.stats.unknown += u64::from(settled.phase != Phase::Detached);
            }
            _ => self.stats.answered += 1,
        }
        self.complete(&settled, result, false);
        self.after_settling(&settled);
    }

    /// The same for what was answered well: the way that nearly every request takes.
    #[inline(always)]
    pub(super) fn answered_well(&mut self, now: Instant, slot: u32, answer: Bytes) {
        let Some(settled) = self.settle_answered(now, slot) else { return };
        self.stats.answered += 1;
        let (key, result) = (settled.key, Ok(answer));
        if settled.phase == Phase::Detached {
            self.completions.push_back(Completion::Resolution { key, result });
        } else {
            self.completions.push_back(Completion::Request { key, result, detached: false });
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

    /// The deadline passed, or the caller cancelled: the two are alike.
    pub(super) fn give_up_waiting(&mut self, now: Instant, slot: u32, why: GaveUp) {
        let entry = self.requests.slab.get(slot);
        let (phase, kind, id) = (entry.phase, entry.kind, entry.id);
        let reference = self.reference(slot, kind, id).filter(|_| phase != Phase::Queued);
        let failure = |sent| match why {
            GaveUp::Deadline => Failure::Timeout { id: reference.clone(), sent },
            GaveUp::Cancelled => Failure::Cancelled { id: reference.clone(), sent },
        };
        match phase {
            Phase::Free => {}
            Phase::Detached if why == GaveUp::Cancelled => {}
            Phase::Detached => self.forget(slot, failure(true)),
            Phase::Live if kind == RequestKind::Command => {
                let tick = Wheel::tick(now, self.config.detached_timeout);
                let key = self.requests.slab.key(slot);
                self.requests.detach(now, slot, tick);
                self.stats.unknown += 1;
                let result = Err(failure(true));
                self.completions.push_back(Completion::Request { key, result, detached: true });
            }
            Phase::Queued | Phase::Live => self.forget(slot, failure(false)),
        }
        if why == GaveUp::Deadline && phase != Phase::Detached {
            self.events.push(match (kind, reference) {
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

    /// A request leaves without an answer.
    fn forget(&mut self, slot: u32, failure: Failure) {
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
            Phase::Queued => self.stats.not_executed += 1,
            Phase::Live if failure.maybe_executed() => self.stats.unknown += 1,
            _ => {}
        }
        self.complete(&settled, Err(failure), false);
        self.after_settling(&settled);
    }

    fn complete(&mut self, settled: &Settled, result: Result<Bytes, Failure>, detached: bool) {
        let key = settled.key;
        self.completions.push_back(match settled.phase {
            Phase::Detached => Completion::Resolution { key, result },
            _ => Completion::Request { key, result, detached },
        });
    }

    #[inline]
    fn after_settling(&mut self, settled: &Settled) {
        if settled.suspect {
            self.quarantine.cleared();
        }
    }

    /// The request that went alone when members failed is given up.
    pub(super) fn convict(&mut self) {
        let Some(key) = self.quarantine.take_alone() else { return };
        let Some(entry) = self.requests.slab.find(key) else { return };
        let (kind, id) = (entry.kind, entry.id);
        if let Some(id) = self.reference(key.slot, kind, id) {
            self.events.push(Event::RequestQuarantined { id });
        }
        self.forget(key.slot, Failure::Quarantined { sent: kind == RequestKind::Command });
    }

    /// Everything settles. `failure` is asked with whether a command was sent.
    pub(super) fn settle_all(&mut self, failure: impl Fn(bool) -> Failure) {
        for slot in self.requests.all() {
            let entry = self.requests.slab.get(slot);
            let sent = entry.phase != Phase::Queued && entry.kind == RequestKind::Command;
            self.forget(slot, failure(sent));
        }
    }

    /// The commands of a session that is gone settle; nothing else does.
    pub(super) fn settle_sent_commands(&mut self, failure: &Failure) {
        let mut sent: Vec<(u64, u32)> = self.requests.commands.iter().collect();
        sent.sort_unstable();
        for (_, slot) in sent {
            self.forget(slot, failure.clone());
        }
    }

    /// The id under which a request went out.
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
