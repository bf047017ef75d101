use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use zraft_kv::{Command, GetResult, Key, Notification, Query, Value};
use zraft_protocol::{Payload, SessionId};
use zraft_zmtp::Instant;

use crate::application::{Application, Outcome, Rejected};

/// How often keys that nobody watches are purged.
const PURGE_INTERVAL: Duration = Duration::from_secs(300);
/// Bytes of keys, values and watches that are held at most, unless told otherwise: 1 GiB.
const DEFAULT_LIMIT: usize = 1 << 30;

/// The key-value store with watches that the live system ships; see the `zraft-kv` crate for its
/// payloads.
///
/// Keys that nobody watches vanish every 5 minutes, as there. What it holds is bounded: a command
/// that would pass the bound is refused.
#[derive(Debug)]
pub struct KvStore {
    values: HashMap<Key, Value>,
    /// Who watches a key. In the order of the ids, so that a run can be repeated.
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
    /// An empty store.
    pub fn new() -> Self {
        Self::with_limit(DEFAULT_LIMIT)
    }

    /// An empty store that holds so many bytes of keys, values and watches at most.
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
