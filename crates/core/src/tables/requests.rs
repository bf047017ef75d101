//! All requests of a client, and every order in which one of them may have to be found.

use bytes::Bytes;

use super::{
    commands::Commands,
    list::List,
    queries::{CorrelationIds, QueryRef},
    slab::{Phase, Place, Slab},
    wheel::Wheel,
};
use crate::{ConnId, Instant, RequestKey, RequestKind};

/// What a settled request was.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) key: RequestKey,
    pub(crate) kind: RequestKind,
    pub(crate) phase: Phase,
    pub(crate) id: u64,
    pub(crate) suspect: bool,
    pub(crate) sent_on: ConnId,
}

#[derive(Debug)]
pub(crate) struct Requests {
    pub(crate) slab: Slab,
    pub(crate) commands: Commands,
    wheel: Wheel,
    correlation: CorrelationIds,
    queues: [List; 2],
    queries_pending: usize,
    counter: u64,
    submitted: u64,
    held_bytes: usize,
    detached: usize,
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

    /// Handed to a transport, unanswered, with a caller that waits.
    pub(crate) fn in_flight(&self) -> usize {
        self.commands.pending() - self.detached + self.queries_pending
    }

    #[inline]
    pub(crate) fn queries_pending(&self) -> usize {
        self.queries_pending
    }

    // ---- the life of a request

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
        let key = self.slab.insert(kind, payload, self.submitted);
        self.queues[kind.index()].push_back(&mut self.slab, key.slot);
        if let Some(tick) = deadline {
            self.wheel.add(&mut self.slab, now, key.slot, tick);
        }
        key
    }

    /// The request that was submitted first of those in the queues that are open.
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

    /// A queued request is handed to a transport for the first time and gets its id.
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

    /// The caller of a sent command was told "outcome unknown"; its answer is still wanted until `tick`.
    pub(crate) fn detach(&mut self, now: Instant, slot: u32, tick: u64) {
        self.wheel.remove(&mut self.slab, slot);
        self.slab.get_mut(slot).phase = Phase::Detached;
        self.detached += 1;
        self.wheel.add(&mut self.slab, now, slot, tick);
    }

    /// Takes a request out of every table. The policy of resending must have let it go before.
    #[inline(always)]
    pub(crate) fn settle(&mut self, slot: u32) -> Settled {
        let entry = self.slab.get(slot);
        let settled = Settled {
            key: RequestKey { slot, generation: entry.generation },
            kind: entry.kind,
            phase: entry.phase,
            id: entry.id,
            suspect: entry.suspect,
            sent_on: entry.sent_on,
        };
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

    #[inline]
    pub(crate) fn command(&self, id: u64) -> Option<u32> {
        self.commands.slot(id)
    }

    /// The pending query that a correlation id names.
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

    /// Everything handed to a transport and not settled becomes suspect. Gives how many. Scans.
    pub(crate) fn suspect_all(&mut self) -> usize {
        let pending: Vec<u32> = self.pending().collect();
        for slot in &pending {
            self.slab.get_mut(*slot).suspect = true;
        }
        pending.len()
    }

    /// Every request that was handed to a transport. Scans.
    pub(crate) fn pending(&self) -> impl Iterator<Item = u32> + '_ {
        self.slab.occupied().filter(|slot| self.slab.get(*slot).phase != Phase::Queued)
    }

    /// Every request, in the order of submission. Scans.
    pub(crate) fn all(&self) -> Vec<u32> {
        let mut all: Vec<u32> = self.slab.occupied().collect();
        all.sort_by_key(|slot| self.slab.get(*slot).submitted);
        all
    }

    /// A new session: commands are numbered from 1 again, and queries that were sent wait first in the queue. No
    /// command that was sent may be left, and the policy of resending must have let all requests go before.
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

    /// What passed its deadline.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<u32> {
        self.expired.clear();
        let mut expired = std::mem::take(&mut self.expired);
        self.wheel.expire(&mut self.slab, now, &mut expired);
        expired
    }

    /// Gives the vector of `expire` back, to be used again.
    pub(crate) fn give_back(&mut self, expired: Vec<u32>) {
        self.expired = expired;
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.wheel.next()
    }

    pub(crate) fn visits(&self) -> u64 {
        self.slab.visits()
    }
}
