//! What the leader of the live system keeps of each session beside the replicated state.
//!
//! The engine keeps one table for all members: a new leader starts with the sessions of the one before.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use zraft_protocol::SessionId;
use zraft_zmtp::Instant;

/// The number of a session in the order of creation, from 0. Never used again.
pub(crate) type Key = u64;

/// Returns the number of a session that people see, which counts from 1.
pub(crate) fn number(key: Key) -> u64 {
    key + 1
}

/// The sessions that exist, oldest first.
#[derive(Debug, Default)]
pub(crate) struct SessionTable {
    rows: BTreeMap<Key, Row>,
    by_id: HashMap<SessionId, Key>,
    next_key: Key,
}

#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) id: SessionId,
    /// When the leader ends the session.
    pub(crate) expires_at: Instant,
    /// The session's end is in the log, because of CloseSession or an announced expiry.
    pub(crate) ending: bool,
    /// When each unacknowledged server request was last sent, in the order of their ids.
    sent: VecDeque<Instant>,
}

impl SessionTable {
    pub(crate) fn add(&mut self, id: SessionId, expires_at: Instant) -> Key {
        let key = self.next_key;
        self.next_key += 1;
        self.by_id.insert(id.clone(), key);
        self.rows.insert(key, Row { id, expires_at, ending: false, sent: VecDeque::new() });
        key
    }

    pub(crate) fn remove(&mut self, key: Key) {
        if let Some(row) = self.rows.remove(&key) {
            self.by_id.remove(&row.id);
        }
    }

    pub(crate) fn key(&self, id: &SessionId) -> Option<Key> {
        self.by_id.get(id).copied()
    }

    pub(crate) fn get(&self, key: Key) -> Option<&Row> {
        self.rows.get(&key)
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut Row> {
        self.rows.get_mut(&key)
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        self.rows.keys().copied()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &Row)> {
        self.rows.iter().map(|(key, row)| (*key, row))
    }

    /// Restarts the timeout of every session.
    pub(crate) fn renew(&mut self, expires_at: Instant) {
        for row in self.rows.values_mut() {
            row.expires_at = expires_at;
            row.ending = false;
        }
    }

    /// Returns true if any server request was last sent more than `age` ago.
    pub(crate) fn has_overdue(&self, now: Instant, age: Duration) -> bool {
        self.rows.values().any(|row| row.sent.iter().any(|sent| is_overdue(*sent, now, age)))
    }
}

impl Row {
    /// Takes note that a new server request was sent.
    pub(crate) fn pushed(&mut self, now: Instant) {
        self.sent.push_back(now);
    }

    /// Takes note that the client has acknowledged all server requests but the last `left`.
    pub(crate) fn acknowledged(&mut self, left: usize) {
        self.sent.drain(..self.sent.len().saturating_sub(left));
    }

    /// Returns the places, among the unacknowledged server requests, of those that were last sent more than `age` ago, and
    /// marks them as sent now.
    pub(crate) fn take_overdue(&mut self, now: Instant, age: Duration) -> Vec<usize> {
        let mut due = Vec::new();
        for (place, sent) in self.sent.iter_mut().enumerate() {
            if is_overdue(*sent, now, age) {
                *sent = now;
                due.push(place);
            }
        }
        due
    }
}

fn is_overdue(sent: Instant, now: Instant, age: Duration) -> bool {
    now.saturating_duration_since(sent) > age
}
