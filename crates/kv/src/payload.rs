//! What travels inside the protocol's payloads.

use crate::{Key, Value};

/// The payload of a command. Its answer is an empty payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Stores a value.
    Set {
        /// Where.
        key: Key,
        /// What.
        value: Value,
    },
    /// Asks for a [`Notification`] of the key's present value, if it has one, and then of every Set of it, for as long as
    /// the session lives. Watching a key again does not double it.
    Watch {
        /// Which.
        key: Key,
    },
}

/// The payload of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// Asks for a key's value; answered by a [`GetResult`].
    Get {
        /// Which.
        key: Key,
    },
}

/// The answer to [`Query::Get`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetResult {
    /// The value, if the key has one. The store forgets keys that nobody watches, every five minutes.
    pub value: Option<Value>,
}

/// The payload of a server request: a watched key has this value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// The key watched.
    pub key: Key,
    /// Its value.
    pub value: Value,
}
