//! The typed client: the store's operations over a [`RaftClient`].

use std::{fmt, time::Duration};

use bytes::Bytes;
use zraft_client::{Codec, LivenessQuery, RaftClient, Submission};

use crate::{Command, DecodeError, GetResult, Key, Query, Value, ValueError, Watch};

/// The reason why an operation on the store failed.
///
/// `{:?}` shows the same sentence as `{}`, for a `main` that returns the error.
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The key or the value is outside the limits. Nothing was sent.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// The client failed. [`maybe_executed`](Error::maybe_executed) returns whether the operation may have been
    /// executed nevertheless.
    #[error(transparent)]
    Client(#[from] zraft_client::Error),
    /// The server sent a payload that is not the store's. It runs another application, or a newer version of the store.
    #[error("the server sent a payload that is not of the key-value store: {0}")]
    Decode(#[from] DecodeError),
    /// The session of the watch has ended and the client has no other. The watch continues once the client is connected
    /// again.
    #[error(
        "the session and its watches have ended, connect the client again to continue the watch"
    )]
    NotWatching,
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error {
    /// Returns true if a set or watch may have been executed, or may still be executed. Always false for a get, which
    /// changes nothing.
    pub fn maybe_executed(&self) -> bool {
        match self {
            Self::Client(error) => error.maybe_executed(),
            Self::Value(_) | Self::Decode(_) | Self::NotWatching => false,
        }
    }
}

/// The key that the liveness query reads.
const LIVENESS_KEY: &str = "zraft.liveness";

/// The store's payloads as a [`Codec`], for a [`TypedClient`](zraft_client::TypedClient): to set many keys in one call, for example.
#[derive(Debug, Clone, Copy, Default)]
pub struct StoreCodec;

impl Codec for StoreCodec {
    type Command = Command;
    /// It only shows that the command was executed.
    type Answer = ();
    type Query = Query;
    type Result = GetResult;
    type Error = DecodeError;

    fn encode_command(&self, command: &Command) -> Result<Bytes, DecodeError> {
        Ok(command.encode())
    }

    fn decode_answer(&self, _answer: Bytes) -> Result<(), DecodeError> {
        Ok(())
    }

    fn encode_query(&self, query: &Query) -> Result<Bytes, DecodeError> {
        Ok(query.encode())
    }

    fn decode_result(&self, result: Bytes) -> Result<GetResult, DecodeError> {
        GetResult::decode(&result)
    }

    /// Reads a key that is not expected to have a value.
    fn liveness_query(&self) -> Option<Query> {
        Some(Query::Get { key: Key::new(LIVENESS_KEY).ok()? })
    }
}

/// A client of the key-value store. Clones are cheap and share one [`RaftClient`].
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
    /// Creates a store client on top of `client`, which may be connected before or later.
    ///
    /// A client without a [`LivenessQuery`] gets one that reads a key of the store every 10 s while nothing else is asked, so
    /// that its watches do not fall silent at a leader that was cut off from its cluster. To do without, call
    /// [`set_liveness_query`](RaftClient::set_liveness_query) afterwards.
    pub fn new(client: RaftClient) -> Self {
        if client.liveness_query().is_none()
            && let Some(query) = StoreCodec.liveness_query()
        {
            // The payload is shorter than the least `max_message_size` of any use; a client for which it is too long has none.
            let _ = client.set_liveness_query(Some(LivenessQuery::new(query.encode())));
        }
        Self { client, timeout: None }
    }

    /// Sets how long each operation waits for its answer, in place of the client's `request_timeout`.
    #[must_use]
    pub fn timeout(mut self, time: Duration) -> Self {
        self.timeout = Some(time);
        self
    }

    /// Returns the underlying client.
    pub fn client(&self) -> &RaftClient {
        &self.client
    }

    /// Stores a value. It is stored exactly once, even if the connection fails and the command is resent.
    ///
    /// # Errors
    /// Returns [`Error::Value`] for a key or value outside the limits of [`Key`] and [`Value`], and [`Error::Client`]
    /// if the client fails.
    pub async fn set(&self, key: impl Into<String>, value: impl Into<String>) -> Result<(), Error> {
        let command = Command::Set { key: Key::new(key)?, value: Value::new(value)? };
        self.command(&command).await
    }

    /// Returns the value of a key, or `None` if it has none.
    ///
    /// # Errors
    /// Returns [`Error::Value`] for a key outside the limits of [`Key`], [`Error::Client`] if the client fails, and
    /// [`Error::Decode`] if the answer is not the store's.
    pub async fn get(&self, key: impl Into<String>) -> Result<Option<Value>, Error> {
        let query = Query::Get { key: Key::new(key)? };
        let answer = self.within(self.client.submit_query(query.encode())).await?;
        Ok(GetResult::decode(&answer)?.value)
    }

    /// Watches a key. The watch first returns the key's current value, if it has one, and then every value that is set.
    /// More keys can be [added](Watch::add).
    ///
    /// A client has at most one watch at a time, because the watch consumes the client's server requests.
    ///
    /// # Errors
    /// Returns [`Error::Value`] for a key outside the limits of [`Key`], and [`Error::Client`] if the client fails. A
    /// [`Validation`](zraft_client::Error::Validation) error means that the server requests have another consumer
    /// already.
    pub async fn watch(&self, key: impl Into<String>) -> Result<Watch, Error> {
        let key = Key::new(key)?;
        let mut watch = Watch::begin(self.clone())?;
        watch.add(key.as_str()).await?;
        Ok(watch)
    }

    /// Submits a command. Its answer is empty: it only shows that the command was executed.
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
