use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use zraft_kv::{Command, GetResult, Key, Notification, Query, Value};
use zraft_protocol::{Payload, SessionId};
use zraft_zmtp::Instant;

use crate::application::{Application, Outcome, Rejected};

/// The interval at which the store removes keys that no session watches: that of the live system.
const PURGE_INTERVAL: Duration = Duration::from_secs(300);
/// The default limit on bytes of keys, values and watches: 1 GiB, far more than a test needs, and still memory that a
/// developer's machine has.
const DEFAULT_LIMIT: usize = 1 << 30;

/// The key-value store with watches that the live system ships. The `zraft-kv` crate describes its payloads.
///
/// As on the live system, the store removes keys that no session watches every 5 minutes. It rejects a command that
/// would pass its limit on bytes.
#[derive(Debug)]
pub struct KvStore {
    values: HashMap<Key, Value>,
    /// The sessions that watch a key, ordered, so that equal runs push in the same order.
    watchers: HashMap<Key, BTreeSet<SessionId>>,
    watches: HashMap<SessionId, BTreeSet<Key>>,
    bytes: usize,
    limit: usize,
    next_purge: Instant,
}

impl Default for KvStore {
    fn default() -> Self {
        Self::new()
    }
}

impl KvStore {
    /// Creates an empty store with a limit of 1 GiB.
    pub fn new() -> Self {
        Self::with_limit(DEFAULT_LIMIT)
    }

    /// Creates an empty store that holds at most this many bytes of keys, values and watches.
    pub fn with_limit(bytes: usize) -> Self {
        Self {
            values: HashMap::new(),
            watchers: HashMap::new(),
            watches: HashMap::new(),
            bytes: 0,
            limit: bytes,
            next_purge: Instant::ZERO + PURGE_INTERVAL,
        }
    }

    fn set(&mut self, key: &Key, value: &Value) -> Result<Outcome, Rejected> {
        let old = self.values.get(key).map(|old| size_of_entry(key, old)).unwrap_or_default();
        let bytes = (self.bytes - old).saturating_add(size_of_entry(key, value));
        if bytes > self.limit {
            return Err(Rejected::Full);
        }
        self.bytes = bytes;
        self.values.insert(key.to_detached(), value.to_detached());
        let server_requests = match self.watchers.get(key) {
            None => Vec::new(),
            Some(watchers) => {
                let notification = notification(key, value)?;
                watchers.iter().map(|watcher| (watcher.clone(), notification.clone())).collect()
            }
        };
        Ok(Outcome { answer: Payload::default(), server_requests })
    }

    fn watch(&mut self, session: &SessionId, key: &Key) -> Result<Outcome, Rejected> {
        let watched = self.watchers.get(key).is_some_and(|watchers| watchers.contains(session));
        if !watched {
            let bytes = self.bytes.saturating_add(size_of_watch(session, key));
            if bytes > self.limit {
                return Err(Rejected::Full);
            }
            self.bytes = bytes;
            let key = key.to_detached();
            self.watchers.entry(key.clone()).or_default().insert(session.clone());
            self.watches.entry(session.clone()).or_default().insert(key);
        }
        let server_requests = match self.values.get(key) {
            None => Vec::new(),
            Some(value) => vec![(session.clone(), notification(key, value)?)],
        };
        Ok(Outcome { answer: Payload::default(), server_requests })
    }
}

impl Application for KvStore {
    fn apply(
        &mut self,
        session: &SessionId,
        payload: &Payload,
        _now: Instant,
    ) -> Result<Outcome, Rejected> {
        match Command::decode(payload.as_bytes()) {
            Ok(Command::Set { key, value }) => self.set(&key, &value),
            Ok(Command::Watch { key }) => self.watch(session, &key),
            Err(_) => Err(Rejected::Undecodable),
        }
    }

    fn query(&self, payload: &Payload) -> Result<Payload, Rejected> {
        let Ok(Query::Get { key }) = Query::decode(payload.as_bytes()) else {
            return Err(Rejected::Undecodable);
        };
        let result = GetResult { value: self.values.get(&key).cloned() };
        Payload::new(result.encode()).map_err(|_| Rejected::Full)
    }

    fn session_ended(&mut self, session: &SessionId) {
        for key in self.watches.remove(session).unwrap_or_default() {
            self.bytes -= size_of_watch(session, &key);
            if let Some(watchers) = self.watchers.get_mut(&key) {
                watchers.remove(session);
                if watchers.is_empty() {
                    self.watchers.remove(&key);
                }
            }
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        Some(self.next_purge)
    }

    fn handle_timeout(&mut self, now: Instant) {
        while self.next_purge <= now {
            self.next_purge = self.next_purge + PURGE_INTERVAL;
        }
        let (watchers, bytes) = (&self.watchers, &mut self.bytes);
        self.values.retain(|key, value| {
            let watched = watchers.contains_key(key);
            if !watched {
                *bytes -= size_of_entry(key, value);
            }
            watched
        });
    }
}

fn notification(key: &Key, value: &Value) -> Result<Payload, Rejected> {
    let notification = Notification { key: key.clone(), value: value.clone() };
    Payload::new(notification.encode()).map_err(|_| Rejected::Full)
}

fn size_of_entry(key: &Key, value: &Value) -> usize {
    key.len() + value.len() + size_of::<(Key, Value)>()
}

fn size_of_watch(session: &SessionId, key: &Key) -> usize {
    2 * (session.as_bytes().len() + key.len() + size_of::<(SessionId, Key)>())
}
