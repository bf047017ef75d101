//! The store's operations, over a [`RaftClient`].

use std::time::Duration;

use bytes::Bytes;
use zraft_client::{RaftClient, Submission};

use crate::{Command, DecodeError, GetResult, Key, Query, Value, ValueError, Watch};

/// Why an operation on the store was not done.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The key or the value is not accepted. Nothing was sent.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// The client could not do it. [`maybe_executed`](Error::maybe_executed) tells whether it may have been done all the
    /// same.
    #[error(transparent)]
    Client(#[from] zraft_client::Error),
    /// What the server sent is no payload of the store: it is not a key-value store, or a newer one.
    #[error("the server's payload is not understood: {0}")]
    Decode(#[from] DecodeError),
    /// The session that watched has ended, and there is no other: nothing is watched until the client is connected again.
    #[error("the session has ended, and its watches with it: connect again to go on")]
    NotWatching,
}

impl Error {
    /// Whether a set or watch may have been done, or may still be done. Always false for a get.
    pub fn maybe_executed(&self) -> bool {
        match self {
            Self::Client(error) => error.maybe_executed(),
            Self::Value(_) | Self::Decode(_) | Self::NotWatching => false,
        }
    }
}

/// A client of the key-value store. Clones are cheap, as those of the [`RaftClient`] in it.
///
/// ```no_run
/// # async fn example() -> Result<(), zraft_kv::Error> {
/// let client = zraft_client::RaftClient::builder()
///     .member("node-1", "tcp://127.0.0.1:7001")
///     .capability("app", "example")
///     .build()?;
/// client.connect().await?;
/// let store = zraft_kv::KvClient::new(client);
/// store.set("colour", "green").await?;
/// assert_eq!(store.get("colour").await?.unwrap().as_str(), "green");
/// let mut watch = store.watch("colour").await?;
/// while let Some(change) = watch.next().await {
///     let notification = change?.notification;
///     println!("{} = {}", notification.key, notification.value);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct KvClient {
    client: RaftClient,
    timeout: Option<Duration>,
}

impl KvClient {
    /// The store that this client is, or will be, connected to.
    pub fn new(client: RaftClient) -> Self {
        Self { client, timeout: None }
    }

    /// How long each operation waits for its answer, instead of the client's `request_timeout`.
    #[must_use]
    pub fn timeout(mut self, time: Duration) -> Self {
        self.timeout = Some(time);
        self
    }

    /// The client below.
    pub fn client(&self) -> &RaftClient {
        &self.client
    }

    /// Stores a value: once, whatever happens to the connection on the way.
    ///
    /// # Errors
    /// [`Error::Value`] for a key or value outside the limits of [`Key`] and [`Value`], and [`Error::Client`].
    pub async fn set(&self, key: impl Into<String>, value: impl Into<String>) -> Result<(), Error> {
        let command = Command::Set { key: Key::new(key)?, value: Value::new(value)? };
        self.command(&command).await
    }

    /// The value of a key, if it has one.
    ///
    /// # Errors
    /// [`Error::Value`] for a key outside the limits of [`Key`], [`Error::Client`], and [`Error::Decode`] for an answer
    /// that is none.
    pub async fn get(&self, key: impl Into<String>) -> Result<Option<Value>, Error> {
        let query = Query::Get { key: Key::new(key)? };
        let answer = self.within(self.client.submit_query(query.encode())).await?;
        Ok(GetResult::decode(&answer)?.value)
    }

    /// Watches a key. If it has a value, that is the first thing the watch gives; then every value that is set. More keys
    /// can be [added](Watch::add).
    ///
    /// One watch at a time: it takes the client's server requests.
    ///
    /// # Errors
    /// [`Error::Value`] for a key outside the limits of [`Key`], and [`Error::Client`], of which a
    /// [`Validation`](zraft_client::Error::Validation) error says that something else takes the server requests already.
    pub async fn watch(&self, key: impl Into<String>) -> Result<Watch, Error> {
        let key = Key::new(key)?;
        let mut watch = Watch::begin(self.clone())?;
        watch.add(key.as_str()).await?;
        Ok(watch)
    }

    /// An answer to a command says nothing but that it was executed.
    pub(crate) async fn command(&self, command: &Command) -> Result<(), Error> {
        self.within(self.client.submit_command(command.encode())).await?;
        Ok(())
    }

    async fn within(&self, submission: Submission) -> Result<Bytes, zraft_client::Error> {
        match self.timeout {
            Some(time) => submission.timeout(time).await,
            None => submission.await,
        }
    }
}
