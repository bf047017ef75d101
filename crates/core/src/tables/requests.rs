//! All requests of a client: queues, ids, deadlines and sizes. The order of resending belongs to `resend`.

use std::time::Duration;

use bytes::Bytes;

use super::{
    commands::Commands,
    list::List,
    queries::{CorrelationIds, QueryRef},
    slab::{Phase, Place, Slab},
    wheel::Wheel,
};
use crate::{ConnId, Instant, RequestKey, RequestKind};

/// What a request was when it settled.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) key: RequestKey,
    pub(crate) kind: RequestKind,
    pub(crate) phase: Phase,
    pub(crate) id: u64,
    pub(crate) suspect: bool,
    pub(crate) submitted_at: Instant,
    pub(crate) sent_on: ConnId,
}

/// The requests of one client.
#[derive(Debug)]
pub(crate) struct Requests {
    pub(crate) slab: Slab,
    pub(crate) commands: Commands,
    wheel: Wheel,
    correlation: CorrelationIds,
    /// Requests that wait to be sent, by kind, in the order of submission.
    queues: [List; 2],
    queries_pending: usize,
    /// The counter of the last query that got one.
    counter: u64,
    /// How many requests were submitted.
    submitted: u64,
    held_bytes: usize,
    detached: usize,
    /// The time of the last request with the default timeout, and its tick.
    default_deadline: (Instant, Option<u64>),
    /// Memory of the last call of `expire`, to be reused.
    expired: Vec<u32>,
}

impl Requests {
    pub(crate) fn new(now: Instant, random: u64) -> Self {
        Self {
            slab: Slab::default(),
            commands: Commands::new(),
            wheel: Wheel::new(now),
            correlation: CorrelationIds::new(random),
            queues: [List::new(Place::Queue), List::new(Place::Queue)],
            queries_pending: 0,
            counter: 0,
            submitted: 0,
            held_bytes: 0,
            detached: 0,
            // No request is submitted at this time.
            default_deadline: (Instant::from_nanos(u64::MAX), None),
            expired: Vec::new(),
        }
    }

    // ---- sizes

    #[inline]
    pub(crate) fn queued(&self) -> usize {
        self.queues[0].len() + self.queues[1].len()
    }

    #[inline]
    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    pub(crate) fn detached(&self) -> usize {
        self.detached
    }

    /// Returns how many requests were handed to a transport and have a caller that waits.
    pub(crate) fn in_flight(&self) -> usize {
        self.commands.pending() - self.detached + self.queries_pending
    }

    /// Returns true if no request is queued, in flight or detached.
    pub(crate) fn is_empty(&self) -> bool {
        self.queued() == 0 && self.commands.pending() == 0 && self.queries_pending == 0
    }

    #[inline]
    pub(crate) fn queries_pending(&self) -> usize {
        self.queries_pending
    }

    // ---- the life of a request

    /// Returns the tick of the deadline of a request with the default timeout. Requests that are submitted at the
    /// same time have the same deadline, so it is computed once for them.
    #[inline]
    pub(crate) fn default_deadline(
        &mut self,
        now: Instant,
        timeout: Option<Duration>,
    ) -> Option<u64> {
        if self.default_deadline.0 != now {
            self.default_deadline = (now, timeout.map(|timeout| Wheel::tick(now, timeout)));
        }
        self.default_deadline.1
    }

    #[inline]
    pub(crate) fn submit(
        &mut self,
        now: Instant,
        kind: RequestKind,
        payload: Bytes,
        deadline: Option<u64>,
    ) -> RequestKey {
        self.held_bytes += payload.len();
        self.submitted += 1;
        let key = self.slab.insert(now, kind, payload, self.submitted);
        self.queues[kind.index()].push_back(&mut self.slab, key.slot);
        if let Some(tick) = deadline {
            self.wheel.add(&mut self.slab, now, key.slot, tick);
        }
        key
    }

    /// Returns the queued request that was submitted first. `commands` and `queries` say which queues may be used.
    #[inline]
    pub(crate) fn first_queued(&self, commands: bool, queries: bool) -> Option<u32> {
        let command = self.queues[0].front().filter(|_| commands);
        let query = self.queues[1].front().filter(|_| queries);
        match (command, query) {
            (Some(command), Some(query)) => {
                let earlier = self.slab.get(command).submitted < self.slab.get(query).submitted;
                Some(if earlier { command } else { query })
            }
            (command, query) => command.or(query),
        }
    }

    /// A queued request is handed to a transport for the first time in this session, and gets its id.
    #[inline(always)]
    pub(crate) fn hand_over(&mut self, slot: u32, conn: ConnId) {
        let entry = self.slab.get_mut(slot);
        let (kind, known) = (entry.kind, entry.id);
        entry.phase = Phase::Live;
        entry.sent_on = conn;
        entry.sent_at = None;
        entry.id = match kind {
            RequestKind::Command => self.commands.assign(slot),
            RequestKind::Query => {
                self.queries_pending += 1;
                if known == 0 {
                    self.counter += 1;
                    self.counter
                } else {
                    known
                }
            }
        };
        self.queues[kind.index()].remove(&mut self.slab, slot);
    }

    /// The caller of a sent command is given "outcome unknown". Its answer is still awaited until `tick`.
    pub(crate) fn detach(&mut self, now: Instant, slot: u32, tick: u64) {
        self.wheel.remove(&mut self.slab, slot);
        self.slab.get_mut(slot).phase = Phase::Detached;
        self.detached += 1;
        self.wheel.add(&mut self.slab, now, slot, tick);
    }

    /// Takes a request out of every table. The policy of resending must have let it go.
    #[inline(always)]
    pub(crate) fn settle(&mut self, slot: u32) -> Settled {
        let entry = self.slab.get(slot);
        let settled = Settled {
            key: RequestKey { slot, generation: entry.generation },
            kind: entry.kind,
            phase: entry.phase,
            id: entry.id,
            suspect: entry.suspect,
            submitted_at: entry.submitted_at,
            sent_on: entry.sent_on,
        };
        debug_assert!(matches!(entry.place, Place::Nowhere | Place::Queue));
        self.held_bytes -= entry.payload.len();
        self.wheel.remove(&mut self.slab, slot);
        if settled.phase == Phase::Queued {
            self.queues[settled.kind.index()].remove(&mut self.slab, slot);
        } else {
            match settled.kind {
                RequestKind::Command => self.commands.settle(settled.id),
                RequestKind::Query => self.queries_pending -= 1,
            }
        }
        if settled.phase == Phase::Detached {
            self.detached -= 1;
        }
        self.slab.remove(slot);
        settled
    }

    // ---- finding

    /// Returns the slot of a pending command.
    #[inline]
    pub(crate) fn command(&self, id: u64) -> Option<u32> {
        self.commands.slot(id)
    }

    /// Returns the slot of the pending query that a correlation id names.
    #[inline]
    pub(crate) fn query(&self, text: &[u8]) -> Option<u32> {
        let QueryRef { slot, counter } = self.correlation.read(text)?;
        let entry = self.slab.get_if_occupied(slot)?;
        let pending = entry.kind == RequestKind::Query && entry.phase == Phase::Live;
        (pending && entry.id == counter).then_some(slot)
    }

    pub(crate) fn correlation_text(&self, slot: u32, counter: u64) -> [u8; 36] {
        self.correlation.text(QueryRef { slot, counter })
    }

    // ---- ends

    /// Makes every pending request a suspect, and returns how many there are. Scans all requests.
    pub(crate) fn suspect_all(&mut self) -> usize {
        let pending: Vec<u32> = self.pending().collect();
        for slot in &pending {
            self.slab.get_mut(*slot).suspect = true;
        }
        pending.len()
    }

    /// Returns every pending request. Scans all requests.
    pub(crate) fn pending(&self) -> impl Iterator<Item = u32> + '_ {
        self.slab.occupied().filter(|slot| self.slab.get(*slot).phase != Phase::Queued)
    }

    /// Returns every request, in the order of submission. Scans all requests.
    pub(crate) fn all(&self) -> Vec<u32> {
        let mut all: Vec<u32> = self.slab.occupied().collect();
        all.sort_by_key(|slot| self.slab.get(*slot).submitted);
        all
    }

    /// A new session begins: command ids start at 1 again, and pending queries wait at the front of the queue. No sent
    /// command may be left, and the policy of resending must have let all requests go.
    pub(crate) fn new_session(&mut self) {
        let mut queries: Vec<u32> = self.pending().collect();
        queries.sort_by_key(|slot| std::cmp::Reverse(self.slab.get(*slot).id));
        for slot in queries {
            let kind = self.slab.get(slot).kind;
            debug_assert!(kind == RequestKind::Query);
            let entry = self.slab.get_mut(slot);
            entry.phase = Phase::Queued;
            entry.suspect = false;
            self.queries_pending -= 1;
            self.queues[kind.index()].push_front(&mut self.slab, slot);
        }
        self.commands = Commands::new();
    }

    // ---- time

    /// Takes the requests whose deadline has passed. Give the vector back to [`give_back`](Self::give_back).
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<u32> {
        self.expired.clear();
        let mut expired = std::mem::take(&mut self.expired);
        self.wheel.expire(&mut self.slab, now, &mut expired);
        expired
    }

    /// Takes back the vector of [`expire`](Self::expire), to reuse its memory.
    pub(crate) fn give_back(&mut self, expired: Vec<u32>) {
        self.expired = expired;
    }

    /// Returns when the next deadline may pass.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.wheel.next()
    }

    pub(crate) fn visits(&self) -> u64 {
        self.slab.visits()
    }
}
