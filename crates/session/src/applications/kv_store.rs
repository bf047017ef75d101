use std::time::Duration;

use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};
use zraft_kv::{Command as Request, GetResult, Key, Notification, Query, Value};

use super::{DEFAULT_LIMIT, FULL, UNDECODABLE};
use crate::{
    AppSnapshot, Application, Capabilities, Command, Context, Payload, QueryContext, Rejected,
    RestoreError, SessionEnd, SessionId, SnapshotInput, SnapshotOutput, Time,
};

/// The interval at which the store removes keys that no session watches: that of the live system.
const PURGE_INTERVAL: Duration = Duration::from_secs(300);
/// About the bytes that an entry takes besides its text: nodes of two trees and two buffers.
const ENTRY_OVERHEAD: u64 = 256;

/// The key-value store with watches that the live system ships. The `zraft-kv` crate has its payloads.
///
/// A Watch notifies at once if the key has a value, and then at every Set, after the Set was answered. Watches end with
/// their session. Keys that no session watches are removed every 5 minutes of replicated time from the first session
/// on, as on the live system, so a key can vanish soon after its Set.
///
/// A command that would pass the limit on bytes is rejected, and so is a payload that is not the store's. The
/// rejection carries no answer, because the store's encoding has no errors.
#[derive(Clone, Debug)]
pub struct KvStore {
    values: RedBlackTreeMapSync<Key, Value>,
    /// The sessions that watch a key. Never an empty set.
    watchers: RedBlackTreeMapSync<Key, RedBlackTreeSetSync<SessionId>>,
    /// The keys that a session watches. The same relation as `watchers`.
    watches: RedBlackTreeMapSync<SessionId, RedBlackTreeSetSync<Key>>,
    bytes: u64,
    limit: u64,
    /// The next purge, 5 minutes after the one before; none before the first session. It can be over while there is no
    /// value to purge.
    next_purge: Option<Time>,
}

impl Default for KvStore {
    fn default() -> Self {
        Self::new()
    }
}

impl KvStore {
    /// Returns an empty store that holds at most 1 GiB of keys, values and watches.
    #[must_use]
    pub fn new() -> Self {
        Self::with_limit(DEFAULT_LIMIT)
    }

    /// Returns an empty store that holds at most this many bytes of keys, values and watches. It must be the same on
    /// all members.
    #[must_use]
    pub fn with_limit(bytes: u64) -> Self {
        Self {
            values: RedBlackTreeMapSync::new_sync(),
            watchers: RedBlackTreeMapSync::new_sync(),
            watches: RedBlackTreeMapSync::new_sync(),
            bytes: 0,
            limit: bytes,
            next_purge: None,
        }
    }

    /// Returns the value of a key.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&Value> {
        self.values.get(key)
    }

    /// Returns the number of keys that have a value.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.size()
    }

    /// Returns true if no key has a value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Stores a value, without telling watchers.
    fn put(&mut self, key: &Key, value: &Value) -> Result<(), Rejected> {
        let old = self.values.get(key).map_or(0, |old| size_of_entry(key, old));
        let bytes = self.bytes - old + size_of_entry(key, value);
        if bytes > self.limit {
            return Err(Rejected::without_answer().because(FULL));
        }
        self.bytes = bytes;
        self.values.insert_mut(key.to_detached(), value.to_detached());
        Ok(())
    }

    /// Adds a watch, if it is not there yet.
    fn watch(&mut self, session: &SessionId, key: &Key) -> Result<(), Rejected> {
        if self.watchers.get(key).is_some_and(|watchers| watchers.contains(session)) {
            return Ok(());
        }
        let bytes = self.bytes + size_of_watch(session, key);
        if bytes > self.limit {
            return Err(Rejected::without_answer().because(FULL));
        }
        self.bytes = bytes;
        let key = key.to_detached();
        if let Some(watchers) = self.watchers.get_mut(&key) {
            watchers.insert_mut(session.clone());
        } else {
            let watchers = RedBlackTreeSetSync::new_sync().insert(session.clone());
            self.watchers.insert_mut(key.clone(), watchers);
        }
        if let Some(watches) = self.watches.get_mut(session) {
            watches.insert_mut(key);
        } else {
            self.watches.insert_mut(session.clone(), RedBlackTreeSetSync::new_sync().insert(key));
        }
        Ok(())
    }

    /// Moves the next purge past `now`. It stays in its rhythm, however long the store was empty.
    fn schedule_purge(&mut self, now: Time) {
        let Some(next) = self.next_purge else {
            self.next_purge = Some(now + PURGE_INTERVAL);
            return;
        };
        if next <= now {
            let late = now.saturating_duration_since(next).as_millis();
            let passed = late / PURGE_INTERVAL.as_millis() + 1;
            let passed = u32::try_from(passed).unwrap_or(u32::MAX);
            self.next_purge = Some(next + PURGE_INTERVAL.saturating_mul(passed));
        }
    }

    fn write(&self, output: &mut SnapshotOutput<'_>) -> std::io::Result<()> {
        output.write_u64(self.limit)?;
        output.write_u8(self.next_purge.is_some().into())?;
        self.next_purge.iter().try_for_each(|purge| output.write_time(*purge))?;
        output.write_u64(self.values.size() as u64)?;
        for (key, value) in &self.values {
            let set = Request::Set { key: key.clone(), value: value.clone() };
            output.write_bytes(&set.encode())?;
        }
        output.write_u64(self.watches.size() as u64)?;
        for (session, keys) in &self.watches {
            output.write_session_id(session)?;
            output.write_u64(keys.size() as u64)?;
            for key in keys {
                output.write_bytes(&Request::Watch { key: key.clone() }.encode())?;
            }
        }
        Ok(())
    }
}

impl Application for KvStore {
    fn apply(
        &mut self,
        context: &mut Context<'_>,
        command: Command<'_>,
    ) -> Result<Payload, Rejected> {
        match Request::decode(command.payload().as_bytes()) {
            Ok(Request::Set { key, value }) => {
                let empty = self.is_empty();
                self.put(&key, &value)?;
                if empty {
                    self.schedule_purge(context.time());
                }
                if let Some(watchers) = self.watchers.get(&key) {
                    let notification = notification(&key, &value);
                    for watcher in watchers {
                        // A watcher that does not keep up is ended: it would miss a value and not know.
                        let _ = context.push(watcher, notification.clone());
                    }
                }
            }
            Ok(Request::Watch { key }) => {
                self.watch(command.session(), &key)?;
                if let Some(value) = self.values.get(&key) {
                    let _ = context.push(command.session(), notification(&key, value));
                }
            }
            Err(_) => return Err(Rejected::without_answer().because(UNDECODABLE)),
        }
        Ok(Payload::default())
    }

    fn query(&self, _context: &QueryContext<'_>, query: &Payload) -> Result<Payload, Rejected> {
        let Ok(Query::Get { key }) = Query::decode(query.as_bytes()) else {
            return Err(Rejected::without_answer().because(UNDECODABLE));
        };
        let result = GetResult { value: self.values.get(&key).cloned() };
        Payload::new(result.encode()).map_err(|_| Rejected::without_answer().because(FULL))
    }

    fn session_created(
        &mut self,
        context: &mut Context<'_>,
        _session: &SessionId,
        _capabilities: &Capabilities,
    ) -> Result<(), Rejected> {
        if self.next_purge.is_none() {
            self.schedule_purge(context.time());
        }
        Ok(())
    }

    fn session_ended(&mut self, _context: &mut Context<'_>, session: &SessionId, _end: SessionEnd) {
        let Some(keys) = self.watches.get(session).cloned() else { return };
        self.watches.remove_mut(session);
        for key in &keys {
            self.bytes -= size_of_watch(session, key);
            let Some(watchers) = self.watchers.get_mut(key) else { continue };
            watchers.remove_mut(session);
            if watchers.is_empty() {
                self.watchers.remove_mut(key);
            }
        }
    }

    fn next_tick(&self) -> Option<Time> {
        self.next_purge.filter(|_| !self.is_empty())
    }

    fn tick(&mut self, context: &mut Context<'_>) {
        let unwatched = self.values.keys().filter(|key| !self.watchers.contains_key(*key));
        for key in unwatched.cloned().collect::<Vec<_>>() {
            if let Some(value) = self.values.get(&key) {
                self.bytes -= size_of_entry(&key, value);
                self.values.remove_mut(&key);
            }
        }
        self.schedule_purge(context.time());
    }

    fn snapshot(&self) -> AppSnapshot {
        let store = self.clone();
        AppSnapshot::new(move |output| store.write(output))
    }

    fn restore(input: &mut SnapshotInput<'_>) -> Result<Self, RestoreError> {
        let invalid = || RestoreError::invalid("the key-value store holds another payload");
        let full = |_| RestoreError::invalid("the key-value store is larger than its limit");
        let mut store = Self::with_limit(input.read_u64()?);
        if input.read_u8()? != 0 {
            store.next_purge = Some(input.read_time()?);
        }
        for _ in 0..input.read_u64()? {
            let Ok(Request::Set { key, value }) = Request::decode(&input.read_bytes()?) else {
                return Err(invalid());
            };
            store.put(&key, &value).map_err(full)?;
        }
        for _ in 0..input.read_u64()? {
            let session = input.read_session_id()?;
            for _ in 0..input.read_u64()? {
                let Ok(Request::Watch { key }) = Request::decode(&input.read_bytes()?) else {
                    return Err(invalid());
                };
                store.watch(&session, &key).map_err(full)?;
            }
        }
        Ok(store)
    }
}

fn notification(key: &Key, value: &Value) -> Payload {
    let notification = Notification { key: key.clone(), value: value.clone() };
    // It is as long as the Set that brought the value, which was a payload.
    Payload::new(notification.encode()).unwrap_or_default()
}

fn size_of_entry(key: &Key, value: &Value) -> u64 {
    (key.len() + value.len()) as u64 + ENTRY_OVERHEAD
}

fn size_of_watch(session: &SessionId, key: &Key) -> u64 {
    2 * ((session.as_bytes().len() + key.len()) as u64 + ENTRY_OVERHEAD)
}
