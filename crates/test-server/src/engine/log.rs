//! The leader's log: what it has received and not yet committed, first in first out.

use std::collections::VecDeque;
use std::time::Duration;

use zraft_protocol::{CorrelationId, Nonce, Payload, RequestId};
use zraft_session::{Capabilities, EndReason};
use zraft_zmtp::Instant;

use super::output::PeerId;
use super::table::Key;

/// Something that waits for its commit. Most become an operation of the replicated state.
#[derive(Debug)]
pub(crate) enum Entry {
    CreateSession {
        peer: PeerId,
        nonce: Nonce,
        capabilities: Capabilities,
    },
    Command {
        session: Key,
        request_id: RequestId,
        lowest_pending: RequestId,
        payload: Payload,
    },
    Acknowledge {
        session: Key,
        request_id: RequestId,
    },
    EndSession {
        session: Key,
        reason: EndReason,
    },
    Redeliver,
    /// Not an entry of the log. It waits for the entries before it, so that its answer includes them.
    Query {
        session: Key,
        correlation_id: CorrelationId,
        payload: Payload,
    },
}

impl Entry {
    /// Returns the bytes of the peer that the entry holds.
    fn held_len(&self) -> usize {
        match self {
            Self::Command { payload, .. } | Self::Query { payload, .. } => payload.len(),
            Self::CreateSession { capabilities, .. } => {
                capabilities.iter().map(|(name, value)| name.len() + value.len()).sum()
            }
            _ => 0,
        }
    }

    fn is_logged(&self) -> bool {
        !matches!(self, Self::Query { .. })
    }
}

#[derive(Debug)]
pub(crate) struct Log {
    entries: VecDeque<(Instant, Entry)>,
    bytes: usize,
    /// When the next entry may commit under a limited rate.
    next_slot: Instant,
}

impl Log {
    pub(crate) fn new() -> Self {
        Self { entries: VecDeque::new(), bytes: 0, next_slot: Instant::ZERO }
    }

    pub(crate) fn push(&mut self, earliest: Instant, entry: Entry) {
        self.bytes += entry.held_len();
        self.entries.push_back((earliest, entry));
    }

    /// Returns when the first entry may commit, or `None` if the log is empty.
    pub(crate) fn due(&self, interval: Option<Duration>) -> Option<Instant> {
        let (earliest, entry) = self.entries.front()?;
        Some(match interval {
            _ if !entry.is_logged() => Instant::ZERO,
            None => *earliest,
            Some(_) => (*earliest).max(self.next_slot),
        })
    }

    /// Removes and returns the first entry, due or not.
    pub(crate) fn pop(&mut self, interval: Option<Duration>) -> Option<Entry> {
        let due = self.due(interval)?;
        let (_, entry) = self.entries.pop_front()?;
        self.bytes -= entry.held_len();
        if let (Some(interval), true) = (interval, entry.is_logged()) {
            // Count from the due time, not from the clock: a late timer must not lower the rate.
            self.next_slot = due + interval;
        }
        Some(entry)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }
}
