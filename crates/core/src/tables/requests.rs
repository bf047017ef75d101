//! All requests of a client, and every order in which one of them may have to be found.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::{
    commands::Commands,
    list::List,
    queries::{CorrelationIds, QueryRef},
    slab::{Phase, Place, RequestKey, RequestKind, Slab},
    wheel::Wheel,
};
use crate::{Instant, link::ConnId, policy::resend::OVERTAKEN};

/// What a settled request was.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) key: RequestKey,
    pub(crate) kind: RequestKind,
    pub(crate) phase: Phase,
    pub(crate) id: u64,
    pub(crate) resent: bool,
    pub(crate) in_slow_start: bool,
    pub(crate) suspect: bool,
    pub(crate) sent_on: ConnId,
    pub(crate) sent_at: Option<Instant>,
}

/// Why a request leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leave {
    Answered,
    Forgotten,
}

#[derive(Debug)]
pub(crate) struct Requests {
    pub(crate) slab: Slab,
    pub(crate) commands: Commands,
    wheel: Wheel,
    correlation: CorrelationIds,
    queues: [List; 2],
    /// In the order in which their last bytes went, on the present connection.
    sent: [List; 2],
    due_commands: BTreeSet<u64>,
    due_queries: BTreeMap<u64, u32>,
    queries_pending: usize,
    counter: u64,
    submitted: u64,
    held_bytes: usize,
    detached: usize,
    /// Answered commands of the present connection that stood in the order of sending.
    overtaking: u64,
    /// Those of them sent after the last one that still stands there.
    trailing: u64,
    /// The clock jumped then: what was sent before is no sample of the answer time.
    jumped: Instant,
    /// Waits for answers are counted from here at the earliest.
    floor: Instant,
    expired: Vec<u32>,
}

fn of(kind: RequestKind) -> usize {
    match kind {
        RequestKind::Command => 0,
        RequestKind::Query => 1,
    }
}

impl Requests {
    pub(crate) fn new(now: Instant, random: u64) -> Self {
        Self {
            slab: Slab::default(),
            commands: Commands::new(),
            wheel: Wheel::new(now),
            correlation: CorrelationIds::new(random),
            queues: [List::new(Place::Queue), List::new(Place::Queue)],
            sent: [List::new(Place::Sent), List::new(Place::Sent)],
            due_commands: BTreeSet::new(),
            due_queries: BTreeMap::new(),
            queries_pending: 0,
            counter: 0,
            submitted: 0,
            held_bytes: 0,
            detached: 0,
            overtaking: 0,
            trailing: 0,
            jumped: Instant::ZERO,
            floor: Instant::ZERO,
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
        self.queues[of(kind)].push_back(&mut self.slab, key.slot);
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
        self.queues[of(kind)].remove(&mut self.slab, slot);
    }

    /// A due request is handed to a transport once more.
    pub(crate) fn hand_over_again(&mut self, slot: u32, conn: ConnId) {
        self.no_longer_due(slot);
        let entry = self.slab.get_mut(slot);
        entry.resent = true;
        entry.overtaken = false;
        entry.sent_on = conn;
        entry.sent_at = None;
    }

    /// The socket took the last byte of a request's frame.
    #[inline]
    pub(crate) fn written(&mut self, now: Instant, key: RequestKey, conn: ConnId) -> bool {
        let Some(entry) = self.slab.find_mut(key) else { return false };
        let waits = matches!(entry.phase, Phase::Live | Phase::Detached);
        if !waits || entry.sent_on != conn || entry.place != Place::Nowhere || entry.due {
            return false;
        }
        let kind = entry.kind;
        entry.sent_at = Some(now);
        entry.gap = match kind {
            RequestKind::Command => std::mem::take(&mut self.trailing),
            RequestKind::Query => 0,
        };
        self.sent[of(kind)].push_back(&mut self.slab, key.slot);
        true
    }

    /// The caller of a sent command was told "outcome unknown"; its answer is still wanted until `tick`.
    pub(crate) fn detach(&mut self, now: Instant, slot: u32, tick: u64) {
        self.wheel.remove(&mut self.slab, slot);
        self.slab.get_mut(slot).phase = Phase::Detached;
        self.detached += 1;
        self.wheel.add(&mut self.slab, now, slot, tick);
    }

    /// Takes a request out of every table.
    #[inline(always)]
    pub(crate) fn settle(&mut self, slot: u32, leave: Leave) -> Settled {
        let entry = self.slab.get(slot);
        let settled = Settled {
            key: RequestKey { slot, generation: entry.generation },
            kind: entry.kind,
            phase: entry.phase,
            id: entry.id,
            resent: entry.resent,
            in_slow_start: entry.in_slow_start,
            suspect: entry.suspect,
            sent_on: entry.sent_on,
            sent_at: entry.sent_at.filter(|at| *at >= self.jumped),
        };
        self.held_bytes -= entry.payload.len();
        let (place, due) = (entry.place, entry.due);
        self.wheel.remove(&mut self.slab, slot);
        if place != Place::Nowhere {
            self.leave_order(slot, leave == Leave::Answered);
        }
        if due {
            self.no_longer_due(slot);
        }
        if settled.phase != Phase::Queued {
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

    /// Leaves the queue or the order of sending, whichever it stands in.
    #[inline(always)]
    fn leave_order(&mut self, slot: u32, answered: bool) {
        let entry = self.slab.get(slot);
        let (kind, gap) = (entry.kind, entry.gap);
        match entry.place {
            Place::Nowhere => {}
            Place::Queue => {
                self.queues[of(kind)].remove(&mut self.slab, slot);
            }
            Place::Sent => {
                let next = self.sent[of(kind)].remove(&mut self.slab, slot);
                if kind == RequestKind::Command {
                    let passed = gap + u64::from(answered);
                    self.overtaking += u64::from(answered);
                    match next {
                        Some(next) => self.slab.get_mut(next).gap += passed,
                        None => self.trailing += passed,
                    }
                }
            }
        }
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

    // ---- what is due

    fn no_longer_due(&mut self, slot: u32) {
        let entry = self.slab.get_mut(slot);
        if !std::mem::take(&mut entry.due) {
            return;
        }
        let (kind, id) = (entry.kind, entry.id);
        match kind {
            RequestKind::Command => self.due_commands.remove(&id),
            RequestKind::Query => self.due_queries.remove(&id).is_some(),
        };
    }

    fn make_due(&mut self, slot: u32) {
        self.leave_order(slot, false);
        let entry = self.slab.get_mut(slot);
        entry.due = true;
        let (kind, id) = (entry.kind, entry.id);
        match kind {
            RequestKind::Command => {
                self.due_commands.insert(id);
            }
            RequestKind::Query => {
                self.due_queries.insert(id, slot);
            }
        }
    }

    #[inline]
    pub(crate) fn any_due(&self) -> bool {
        !self.due_commands.is_empty() || !self.due_queries.is_empty()
    }

    /// The first of what is due: commands in id order, then queries.
    #[inline]
    pub(crate) fn first_due(&self) -> Option<u32> {
        match self.due_commands.first() {
            Some(id) => self.commands.slot(*id),
            None => self.due_queries.first_key_value().map(|(_, slot)| *slot),
        }
    }

    /// Moves to what is due whatever was sent longer than `after` ago, and commands that many overtook.
    pub(crate) fn find_due(&mut self, now: Instant, after: std::time::Duration) {
        for kind in 0..2 {
            while let Some(slot) = self.sent[kind].front() {
                let entry = self.slab.get(slot);
                let late = entry.sent_at.is_some_and(|at| at.max(self.floor) + after <= now);
                let overtaken = kind == 0 && self.overtaking - entry.gap >= OVERTAKEN;
                if !late && !overtaken {
                    break;
                }
                self.make_due(slot);
                self.slab.get_mut(slot).overtaken = overtaken;
            }
        }
    }

    /// What is due by its age alone is waited for on where, at the pace that the server is known to have now, it would not be.
    pub(crate) fn wait_on(&mut self, now: Instant, conn: ConnId, after: std::time::Duration) {
        for kind in 0..2 {
            let mut early = Vec::new();
            while let Some(slot) = self.first_due_of(kind) {
                let entry = self.slab.get(slot);
                let ripe = entry.overtaken
                    || entry.sent_on != conn
                    || entry.sent_at.is_none_or(|at| at.max(self.floor) + after <= now);
                if ripe {
                    break;
                }
                self.no_longer_due(slot);
                early.push(slot);
            }
            for slot in early.into_iter().rev() {
                // Those answered before its follower was sent count as sent before it, too.
                let before = match self.sent[kind].front() {
                    Some(next) => &mut self.slab.get_mut(next).gap,
                    None => &mut self.trailing,
                };
                let gap = if kind == 0 { std::mem::take(before) } else { 0 };
                self.slab.get_mut(slot).gap = gap;
                self.sent[kind].push_front(&mut self.slab, slot);
            }
        }
    }

    fn first_due_of(&self, kind: usize) -> Option<u32> {
        if kind == 0 {
            self.due_commands.first().and_then(|id| self.commands.slot(*id))
        } else {
            self.due_queries.first_key_value().map(|(_, slot)| *slot)
        }
    }

    /// When the next request is due by its age.
    pub(crate) fn next_due(&self, after: std::time::Duration) -> Option<Instant> {
        self.sent
            .iter()
            .filter_map(|list| self.slab.get(list.front()?).sent_at)
            .map(|at| at.max(self.floor) + after)
            .min()
    }

    /// Everything pending that was not handed to this connection is due. Scans: once per connection at most.
    pub(crate) fn all_due(&mut self, conn: ConnId) {
        let slots: Vec<u32> = self
            .slab
            .occupied()
            .filter(|slot| {
                let entry = self.slab.get(*slot);
                entry.phase != Phase::Queued && !entry.due && entry.sent_on != conn
            })
            .collect();
        for slot in slots {
            self.make_due(slot);
        }
    }

    // ---- ends

    /// The connection is gone: nothing stands in the order of sending any more, nothing is due. Scans.
    pub(crate) fn connection_gone(&mut self) {
        for kind in 0..2 {
            while let Some(slot) = self.sent[kind].front() {
                self.sent[kind].remove(&mut self.slab, slot);
            }
        }
        let pending: Vec<u32> = self.slab.occupied().collect();
        for slot in pending {
            self.no_longer_due(slot);
            let entry = self.slab.get_mut(slot);
            entry.in_slow_start = false;
            entry.gap = 0;
        }
        self.overtaking = 0;
        self.trailing = 0;
    }

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
    /// command that was sent may be left.
    pub(crate) fn new_session(&mut self) {
        let mut queries: Vec<u32> = self.pending().collect();
        queries.sort_by_key(|slot| std::cmp::Reverse(self.slab.get(*slot).id));
        for slot in queries {
            let kind = self.slab.get(slot).kind;
            debug_assert!(kind == RequestKind::Query);
            self.leave_order(slot, false);
            self.no_longer_due(slot);
            let entry = self.slab.get_mut(slot);
            entry.phase = Phase::Queued;
            entry.in_slow_start = false;
            entry.suspect = false;
            self.queries_pending -= 1;
            self.queues[of(kind)].push_front(&mut self.slab, slot);
        }
        self.commands = Commands::new();
        self.overtaking = 0;
        self.trailing = 0;
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

    /// The clock jumped: how long answers took that come from now on to what was sent before says nothing.
    pub(crate) fn clock_jumped(&mut self, now: Instant) {
        self.jumped = now;
    }

    /// What was sent before is waited for from now on.
    pub(crate) fn restart_waits(&mut self, now: Instant) {
        self.floor = now;
    }

    pub(crate) fn visits(&self) -> u64 {
        self.slab.visits()
    }
}
