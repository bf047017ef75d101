//! The order of sending, and the requests that are due.
//!
//! A request whose last byte was written stands in the order of sending, so the oldest is the first. A request that is
//! due stands in the order in which requests are resent instead: commands by id, then queries.
//!
//! A command is *overtaken* when [`OVERTAKEN`] commands written after it were answered. To count them for each command
//! would cost as much as there are commands. Instead each one carries the difference to its predecessor, its `gap`: how
//! many commands that were written between the two were answered. Only the first in the order is ever compared.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    ConnId, Instant, RequestKey, RequestKind,
    tables::{
        list::List,
        requests::Requests,
        slab::{Copies, Phase, Place},
    },
};

/// A command is due at once when this many commands written after it on its connection were answered. Commands have no
/// order at the server, so a few may overtake one that is merely slow; 32 make a loss far more likely.
const OVERTAKEN: u64 = 32;

#[derive(Debug)]
pub(crate) struct Order {
    /// Requests in the order in which their last bytes were written on the present connection, by kind.
    sent: [List; 2],
    due_commands: BTreeSet<u64>,
    /// The slots of due queries, by their counters.
    due_queries: BTreeMap<u64, u32>,
    /// Commands that were answered while they stood in the order, on the present connection.
    overtaking: u64,
    /// How many of those were written after the last command that still stands there.
    trailing: u64,
    /// Waits are counted from here at the earliest: the clock jumped then.
    floor: Instant,
}

impl Order {
    pub(crate) fn new() -> Self {
        Self {
            sent: [List::new(Place::Sent), List::new(Place::Sent)],
            due_commands: BTreeSet::new(),
            due_queries: BTreeMap::new(),
            overtaking: 0,
            trailing: 0,
            floor: Instant::ZERO,
        }
    }

    /// The last byte of a request's frame was written. Returns true if the request joins the order of sending; one that
    /// was answered, forgotten or handed to another connection meanwhile does not.
    #[inline]
    pub(crate) fn written(
        &mut self,
        now: Instant,
        requests: &mut Requests,
        key: RequestKey,
        conn: ConnId,
    ) -> bool {
        let Some(entry) = requests.slab.find_mut(key) else { return false };
        let waits = matches!(entry.phase, Phase::Live | Phase::Detached);
        if !waits || entry.sent_on != conn || entry.place != Place::Nowhere {
            return false;
        }
        let kind = entry.kind;
        entry.sent_at = Some(now);
        entry.gap = match kind {
            RequestKind::Command => std::mem::take(&mut self.trailing),
            RequestKind::Query => 0,
        };
        self.sent[kind.index()].push_back(&mut requests.slab, key.slot);
        true
    }

    /// Takes out a request that was answered.
    #[inline(always)]
    pub(crate) fn answered(&mut self, requests: &mut Requests, slot: u32) {
        self.leave(requests, slot, true);
    }

    /// Takes out a request that was not answered.
    pub(crate) fn remove(&mut self, requests: &mut Requests, slot: u32) {
        self.leave(requests, slot, false);
    }

    #[inline(always)]
    fn leave(&mut self, requests: &mut Requests, slot: u32, answered: bool) {
        let entry = requests.slab.get(slot);
        let (kind, gap) = (entry.kind, entry.gap);
        match entry.place {
            Place::Nowhere | Place::Queue => {}
            Place::Sent => {
                let next = self.sent[kind.index()].remove(&mut requests.slab, slot);
                if kind == RequestKind::Command {
                    let passed = gap + u64::from(answered);
                    self.overtaking += u64::from(answered);
                    match next {
                        Some(next) => requests.slab.get_mut(next).gap += passed,
                        None => self.trailing += passed,
                    }
                }
            }
            Place::DueByAge | Place::Due => self.no_longer_due(requests, slot),
        }
    }

    fn no_longer_due(&mut self, requests: &mut Requests, slot: u32) {
        let entry = requests.slab.get_mut(slot);
        debug_assert!(entry.place.is_due());
        entry.place = Place::Nowhere;
        let (kind, id) = (entry.kind, entry.id);
        match kind {
            RequestKind::Command => self.due_commands.remove(&id),
            RequestKind::Query => self.due_queries.remove(&id).is_some(),
        };
    }

    fn make_due(&mut self, requests: &mut Requests, slot: u32, place: Place) {
        debug_assert!(place.is_due());
        self.remove(requests, slot);
        let entry = requests.slab.get_mut(slot);
        entry.place = place;
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

    /// Returns true if a request is due.
    #[inline]
    pub(crate) fn any_due(&self) -> bool {
        !self.due_commands.is_empty() || !self.due_queries.is_empty()
    }

    /// Returns the due request that is resent first: commands go in id order, then queries.
    #[inline]
    pub(crate) fn first_due(&self, requests: &Requests) -> Option<u32> {
        match self.due_commands.first() {
            Some(id) => requests.commands.slot(*id),
            None => self.first_due_query(),
        }
    }

    fn first_due_query(&self) -> Option<u32> {
        self.due_queries.first_key_value().map(|(_, slot)| *slot)
    }

    fn first_due_of(&self, requests: &Requests, kind: RequestKind) -> Option<u32> {
        match kind {
            RequestKind::Command => {
                self.due_commands.first().and_then(|id| requests.commands.slot(*id))
            }
            RequestKind::Query => self.first_due_query(),
        }
    }

    /// Makes due the requests that were written `after` ago or earlier, and the commands that are overtaken.
    pub(crate) fn find_due(&mut self, now: Instant, requests: &mut Requests, after: Duration) {
        for kind in RequestKind::BOTH {
            while let Some(slot) = self.sent[kind.index()].front() {
                let entry = requests.slab.get(slot);
                let late = self.is_older(now, entry.sent_at, after);
                let overtaken =
                    kind == RequestKind::Command && self.overtaking - entry.gap >= OVERTAKEN;
                match (overtaken, late) {
                    (true, _) => self.make_due(requests, slot, Place::Due),
                    (false, true) => self.make_due(requests, slot, Place::DueByAge),
                    (false, false) => break,
                }
            }
        }
    }

    /// Moves requests that are due only by age back to waiting if `after`, the RTO at the server's present pace, no
    /// longer makes them due.
    pub(crate) fn wait_longer(&mut self, now: Instant, requests: &mut Requests, after: Duration) {
        for kind in RequestKind::BOTH {
            let mut early = Vec::new();
            while let Some(slot) = self.first_due_of(requests, kind) {
                let entry = requests.slab.get(slot);
                if entry.place != Place::DueByAge || self.is_older(now, entry.sent_at, after) {
                    break;
                }
                self.no_longer_due(requests, slot);
                early.push(slot);
            }
            let sent = &mut self.sent[kind.index()];
            for slot in early.into_iter().rev() {
                // The answers counted before the next command was written now count as before this one, too.
                let before = match sent.front() {
                    Some(next) => &mut requests.slab.get_mut(next).gap,
                    None => &mut self.trailing,
                };
                let gap = match kind {
                    RequestKind::Command => std::mem::take(before),
                    RequestKind::Query => 0,
                };
                requests.slab.get_mut(slot).gap = gap;
                sent.push_front(&mut requests.slab, slot);
            }
        }
    }

    /// Returns true if a request that was written at `sent_at` has waited for `after`.
    fn is_older(&self, now: Instant, sent_at: Option<Instant>, after: Duration) -> bool {
        sent_at.is_some_and(|at| at.max(self.floor) + after <= now)
    }

    /// Returns when the next request is due by its age.
    pub(crate) fn next_due(&self, requests: &Requests, after: Duration) -> Option<Instant> {
        self.sent
            .iter()
            .filter_map(|list| requests.slab.get(list.front()?).sent_at)
            .map(|at| at.max(self.floor) + after)
            .min()
    }

    /// Makes due every pending request that was not handed to `conn`. Scans all requests: once per connection at most.
    pub(crate) fn all_due(&mut self, requests: &mut Requests, conn: ConnId) {
        let slots: Vec<u32> = requests
            .slab
            .occupied()
            .filter(|slot| {
                let entry = requests.slab.get(*slot);
                entry.phase != Phase::Queued && !entry.place.is_due() && entry.sent_on != conn
            })
            .collect();
        for slot in slots {
            self.make_due(requests, slot, Place::Due);
        }
    }

    /// Empties the order: the connection is gone, and nothing is due. Scans all requests.
    pub(crate) fn clear(&mut self, requests: &mut Requests) {
        let pending: Vec<u32> = requests.pending().collect();
        for slot in pending {
            self.remove(requests, slot);
            let entry = requests.slab.get_mut(slot);
            entry.gap = 0;
            // No answer to a copy can come on a connection that is gone.
            if entry.copies == Copies::Counted {
                entry.copies = Copies::Uncounted;
            }
        }
        debug_assert!(!self.any_due() && self.sent.iter().all(|list| list.front().is_none()));
        self.overtaking = 0;
        self.trailing = 0;
    }

    /// The clock jumped: requests written earlier wait from `now` on.
    pub(crate) fn restart_waits(&mut self, now: Instant) {
        self.floor = now;
    }
}
