//! The liveness query: what the client itself asks, and how often.

use std::{fmt, time::Duration};

use bytes::Bytes;

use super::{Config, ValidationError};

/// The interval, unless the application chooses one: an idle session leaves a leader that lost its majority within 16 s at
/// the default settings, long before the session expires.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);

/// The least interval that is accepted.
const LEAST_INTERVAL: Duration = Duration::from_millis(1);

/// The session must live through the interval, the wait for an answer and the way to another member.
const QUERIES_PER_SESSION_TIMEOUT: u32 = 3;

/// A query that the client itself sends when nothing else shows that the member leads.
///
/// A leader that was cut off from its cluster still answers KeepAlives, but no query. A client that has requests on the wire
/// notices that, and moves to another member. One that only listens for server requests does not: its session expires in the
/// cluster meanwhile. With a liveness query, a client that is connected, waits for no answer and had none for one interval
/// sends this query, and moves on if it is not answered.
///
/// Choose a query that the application answers cheaply. The client sends no more than one at a time, and none while
/// requests of the application are pending. Its answer is dropped. It counts in `sent`, `in_flight` and `answered` of the
/// [`Stats`](crate::Stats), does not hold up a disconnect(), and is not sent again in a session in which it was quarantined.
///
/// ```
/// use std::time::Duration;
/// use zraft_core::{Config, LivenessQuery};
///
/// let config = Config::builder()
///     .member("node-1", "tcp://127.0.0.1:7001")
///     .capability("app", "example")
///     .liveness_query(LivenessQuery::new("ping").every(Duration::from_secs(5)))
///     .build()?;
/// assert_eq!(config.liveness_query().unwrap().payload(), "ping");
/// # Ok::<(), zraft_core::ValidationError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
#[must_use]
pub struct LivenessQuery {
    payload: Bytes,
    interval: Option<Duration>,
}

impl LivenessQuery {
    /// Returns a query with this payload, which must not be empty. The interval is 10 s, or a third of `session_timeout` if
    /// that is shorter.
    pub fn new(payload: impl Into<Bytes>) -> Self {
        Self { payload: payload.into(), interval: None }
    }

    /// Sets for how long nothing may show that the member leads, from 1 ms to a third of `session_timeout`.
    pub fn every(mut self, interval: Duration) -> Self {
        self.interval = Some(interval);
        self
    }

    /// Returns the interval that was chosen, or `None` for the default.
    pub fn interval(&self) -> Option<Duration> {
        self.interval
    }

    /// Returns the payload.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }
}

/// Shows no payload, which may be secret.
impl fmt::Debug for LivenessQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LivenessQuery").field("interval", &self.interval).finish_non_exhaustive()
    }
}

impl Config {
    /// Returns the same configuration with this liveness query, or with none.
    ///
    /// # Errors
    /// What is wrong with the query, and what is accepted.
    pub fn with_liveness_query(
        mut self,
        query: Option<LivenessQuery>,
    ) -> Result<Self, ValidationError> {
        if let Some(query) = &query {
            self.check_liveness_query(query)?;
        }
        self.liveness_query = query;
        Ok(self)
    }

    /// Checks a liveness query against the other settings.
    ///
    /// # Errors
    /// What is wrong with it, and what is accepted.
    pub fn check_liveness_query(&self, query: &LivenessQuery) -> Result<(), ValidationError> {
        if query.payload.is_empty() || query.payload.len() > self.max_payload() {
            return Err(ValidationError::LivenessQueryPayload { limit: self.max_payload() });
        }
        let limit = self.longest_liveness_interval();
        match query.interval {
            Some(interval) if interval < LEAST_INTERVAL || interval > limit => {
                Err(ValidationError::LivenessQueryInterval { limit })
            }
            _ => Ok(()),
        }
    }

    /// Returns for how long nothing may show that the member leads before the query is sent.
    pub(crate) fn liveness_interval(&self, query: &LivenessQuery) -> Duration {
        let default = || DEFAULT_INTERVAL.min(self.longest_liveness_interval());
        query.interval.unwrap_or_else(default)
    }

    fn longest_liveness_interval(&self) -> Duration {
        self.session_timeout / QUERIES_PER_SESSION_TIMEOUT
    }
}
