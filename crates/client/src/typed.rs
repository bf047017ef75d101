//! A client of one application: values in place of payloads.

#[cfg(feature = "json")]
mod json;
#[cfg(feature = "postcard")]
mod postcard;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use zraft_core::LivenessQuery;

use crate::bulk::CommandOutcomes;
use crate::client::RaftClient;
use crate::error::Error;
use crate::submission::Submission;

#[cfg(feature = "json")]
pub use json::{Json, JsonError};
#[cfg(feature = "postcard")]
pub use postcard::{Postcard, PostcardError};

/// The payloads of an application: how its values become bytes, and bytes its values.
///
/// A live ZIO Raft member that receives a payload which it cannot decode stops answering until it is restarted. So encoding must
/// fail for every value that the application could not decode.
///
/// With the features `json` and `postcard`, `Json` and `Postcard` are codecs of types that implement serde's traits.
///
/// ```
/// use zraft_client::{Bytes, Codec};
///
/// /// A counter: commands add a number, queries are empty but for a byte, and both are answered by the sum.
/// #[derive(Clone, Copy, Debug, Default)]
/// struct Counter;
///
/// impl Codec for Counter {
///     type Command = u64;
///     type Answer = u64;
///     type Query = ();
///     type Result = u64;
///     type Error = std::array::TryFromSliceError;
///
///     fn encode_command(&self, add: &u64) -> Result<Bytes, Self::Error> {
///         Ok(Bytes::copy_from_slice(&add.to_be_bytes()))
///     }
///     fn decode_answer(&self, answer: Bytes) -> Result<u64, Self::Error> {
///         Ok(u64::from_be_bytes(answer[..].try_into()?))
///     }
///     fn encode_query(&self, _: &()) -> Result<Bytes, Self::Error> {
///         Ok(Bytes::from_static(b"?"))
///     }
///     fn decode_result(&self, result: Bytes) -> Result<u64, Self::Error> {
///         self.decode_answer(result)
///     }
/// }
/// ```
pub trait Codec {
    /// What changes the state.
    type Command;
    /// The answer to a command.
    type Answer;
    /// What reads the state.
    type Query;
    /// The answer to a query.
    type Result;
    /// Why a value has no payload, or a payload no value.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Returns the payload of a command.
    ///
    /// # Errors
    /// The application could not decode it.
    fn encode_command(&self, command: &Self::Command) -> Result<Bytes, Self::Error>;

    /// Reads the answer to a command.
    ///
    /// # Errors
    /// The bytes are not an answer.
    fn decode_answer(&self, answer: Bytes) -> Result<Self::Answer, Self::Error>;

    /// Returns the payload of a query.
    ///
    /// # Errors
    /// The application could not decode it.
    fn encode_query(&self, query: &Self::Query) -> Result<Bytes, Self::Error>;

    /// Reads the answer to a query.
    ///
    /// # Errors
    /// The bytes are not the answer to a query.
    fn decode_result(&self, result: Bytes) -> Result<Self::Result, Self::Error>;

    /// Returns a query that the application answers cheaply. A [`TypedClient`] makes it the [`LivenessQuery`] of a client that
    /// has none.
    fn liveness_query(&self) -> Option<Self::Query> {
        None
    }
}

/// Why a typed request has no answer. `E` is the [`Error`](Codec::Error) of the codec. `{:?}` shows the same sentence as `{}`.
#[derive(Clone)]
#[non_exhaustive]
pub enum TypedError<E> {
    /// This side cannot encode the request. Nothing was sent.
    #[non_exhaustive]
    Encode {
        /// The reason.
        error: E,
    },
    /// The client failed.
    Client(Error),
    /// The server answered, and this side cannot decode the answer: it runs another application, or another version of it.
    #[non_exhaustive]
    Decode {
        /// True if the request was a command. It was executed.
        command: bool,
        /// The reason.
        error: E,
    },
}

impl<E> TypedError<E> {
    /// Returns true if a command was executed, or may have been, or may still be. Always false for queries.
    pub fn maybe_executed(&self) -> bool {
        match self {
            Self::Encode { .. } => false,
            Self::Client(error) => error.maybe_executed(),
            Self::Decode { command, .. } => *command,
        }
    }
}

impl<E: fmt::Display> fmt::Display for TypedError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encode { error } => {
                write!(f, "the request cannot be encoded, so nothing was sent: {error}")
            }
            Self::Client(error) => error.fmt(f),
            Self::Decode { command, error } => {
                let executed = if *command { "; the command was executed" } else { "" };
                write!(f, "the server's answer cannot be decoded: {error}{executed}")
            }
        }
    }
}

impl<E: fmt::Display> fmt::Debug for TypedError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<E: std::error::Error + 'static> std::error::Error for TypedError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Encode { error } | Self::Decode { error, .. } => Some(error),
            Self::Client(_) => None,
        }
    }
}

impl<E> From<Error> for TypedError<E> {
    fn from(error: Error) -> Self {
        Self::Client(error)
    }
}

/// A client that sends and receives an application's values. It has no method that sends bytes, so it sends nothing that the codec
/// did not encode. Clones are cheap and share one [`RaftClient`].
///
/// ```
/// # #[cfg(feature = "json")]
/// # async fn example(client: zraft_client::RaftClient) -> Result<(), Box<dyn std::error::Error>> {
/// use serde::{Deserialize, Serialize};
/// use zraft_client::{Json, TypedClient};
///
/// #[derive(Serialize, Deserialize)]
/// enum Command {
///     Deposit { account: String, amount: u64 },
/// }
/// #[derive(Serialize, Deserialize)]
/// enum Query {
///     Balance { account: String },
/// }
/// /// Both kinds of requests are answered by a balance.
/// type Bank = Json<Command, u64, Query, u64>;
///
/// let bank = TypedClient::<Bank>::new(client);
/// let account = "ann".to_owned();
/// let balance = bank.submit_command(&Command::Deposit { account, amount: 10 }).await?;
/// let account = "ann".to_owned();
/// assert_eq!(bank.submit_query(&Query::Balance { account }).await?, balance);
/// # Ok(())
/// # }
/// ```
pub struct TypedClient<C> {
    client: RaftClient,
    codec: Arc<C>,
    timeout: Option<Duration>,
}

impl<C: Codec> TypedClient<C> {
    /// Creates a typed client on top of `client`, which may be connected before or later.
    pub fn new(client: RaftClient) -> Self
    where
        C: Default,
    {
        Self::with_codec(client, C::default())
    }

    /// Does the same as [`new`](Self::new), with a codec that has settings.
    pub fn with_codec(client: RaftClient, codec: C) -> Self {
        let query = codec.liveness_query().and_then(|query| codec.encode_query(&query).ok());
        if let Some(payload) = query.filter(|_| client.liveness_query().is_none()) {
            // A payload that is too long for the settings leaves the client without a liveness query.
            let _ = client.set_liveness_query(Some(LivenessQuery::new(payload)));
        }
        Self { client, codec: Arc::new(codec), timeout: None }
    }

    /// Sets how long each request waits for its answer, in place of the client's `request_timeout`.
    #[must_use]
    pub fn timeout(mut self, time: Duration) -> Self {
        self.timeout = Some(time);
        self
    }

    /// Returns the underlying client, to connect and observe it.
    pub fn client(&self) -> &RaftClient {
        &self.client
    }

    /// Submits a command. It is executed exactly once, or the error says that its outcome is unknown.
    ///
    /// # Errors
    /// [`TypedError::Encode`] if the command has no payload, [`TypedError::Client`] if the client fails, and
    /// [`TypedError::Decode`] if the command was executed and its answer cannot be decoded.
    pub async fn submit_command(
        &self,
        command: &C::Command,
    ) -> Result<C::Answer, TypedError<C::Error>> {
        let payload = self.codec.encode_command(command);
        let payload = payload.map_err(|error| TypedError::Encode { error })?;
        let answer = self.within(self.client.submit_command(payload)).await?;
        let answer = self.codec.decode_answer(answer);
        answer.map_err(|error| TypedError::Decode { command: true, error })
    }

    /// Submits a query.
    ///
    /// # Errors
    /// [`TypedError::Encode`] if the query has no payload, [`TypedError::Client`] if the client fails, and
    /// [`TypedError::Decode`] if its answer cannot be decoded.
    pub async fn submit_query(&self, query: &C::Query) -> Result<C::Result, TypedError<C::Error>> {
        let payload = self.codec.encode_query(query);
        let payload = payload.map_err(|error| TypedError::Encode { error })?;
        let result = self.within(self.client.submit_query(payload)).await?;
        let result = self.codec.decode_result(result);
        result.map_err(|error| TypedError::Decode { command: false, error })
    }

    /// Submits many commands and returns their outcomes as a stream, in their order. All of them are encoded first.
    ///
    /// # Errors
    /// [`TypedError::Encode`] if one of the commands has no payload. None is sent then.
    pub fn submit_commands<'a>(
        &self,
        commands: impl IntoIterator<Item = &'a C::Command>,
    ) -> Result<TypedOutcomes<C>, TypedError<C::Error>>
    where
        C::Command: 'a,
    {
        let encoded = commands.into_iter().map(|command| self.codec.encode_command(command));
        let payloads: Vec<Bytes> =
            encoded.collect::<Result<_, _>>().map_err(|error| TypedError::Encode { error })?;
        let mut outcomes = self.client.submit_commands(payloads);
        if let Some(time) = self.timeout {
            outcomes = outcomes.timeout(time);
        }
        Ok(TypedOutcomes { outcomes, codec: self.codec.clone() })
    }

    async fn within(&self, submission: Submission) -> Result<Bytes, Error> {
        match self.timeout {
            Some(time) => submission.timeout(time).await,
            None => submission.await,
        }
    }
}

impl<C> Clone for TypedClient<C> {
    fn clone(&self) -> Self {
        let (client, codec) = (self.client.clone(), self.codec.clone());
        Self { client, codec, timeout: self.timeout }
    }
}

impl<C> fmt::Debug for TypedClient<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedClient")
            .field("client", &self.client)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// The outcomes of many typed commands, in their order. Created by [`TypedClient::submit_commands`]; otherwise like
/// [`CommandOutcomes`].
#[must_use = "streams do nothing unless polled"]
pub struct TypedOutcomes<C> {
    outcomes: CommandOutcomes<std::vec::IntoIter<Bytes>>,
    codec: Arc<C>,
}

impl<C: Codec> TypedOutcomes<C> {
    /// Returns the next outcome, or `None` after the last one. Dropping the future loses nothing.
    ///
    /// # Errors
    /// Those of [`TypedClient::submit_command`], for this command alone.
    pub async fn next(&mut self) -> Option<Result<C::Answer, TypedError<C::Error>>> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl<C: Codec> Stream for TypedOutcomes<C> {
    type Item = Result<C::Answer, TypedError<C::Error>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let outcome = std::task::ready!(Pin::new(&mut self.outcomes).poll_next(context));
        Poll::Ready(outcome.map(|outcome| {
            let answer = self.codec.decode_answer(outcome?);
            answer.map_err(|error| TypedError::Decode { command: true, error })
        }))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.outcomes.size_hint()
    }
}

impl<C> fmt::Debug for TypedOutcomes<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TypedOutcomes").field(&self.outcomes).finish()
    }
}
