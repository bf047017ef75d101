//! The store's payloads: commands, queries, answers and notifications.

use crate::{Key, Value};

/// The payload of a command. Its answer is an empty payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Stores a value under a key.
    Set {
        /// The key.
        key: Key,
        /// The new value.
        value: Value,
    },
    /// Watches a key until the session ends: the server sends a [`Notification`] of the current value, if there is one,
    /// and of every later Set. Watching a key again does not duplicate later notifications.
    Watch {
        /// The key.
        key: Key,
    },
}

/// The payload of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// Reads the value of a key. The answer is a [`GetResult`].
    Get {
        /// The key.
        key: Key,
    },
}

/// The answer to [`Query::Get`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetResult {
    /// The value, or `None` if the key has none. Every five minutes the live store removes the keys that no session
    /// watches.
    pub value: Option<Value>,
}

/// The payload of a server request: the current value of a watched key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// The watched key.
    pub key: Key,
    /// The value of the key.
    pub value: Value,
}
