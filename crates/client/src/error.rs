//! What can go wrong, and whether a command may have run all the same.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::watch;
use zraft_core::{ConnectionCause, Failure, RequestRef, ValidationError};
use zraft_protocol::{CorrelationId, RejectionReason, RequestId, SessionId};

/// Why something asked of the client was not done.
///
/// [`Error::maybe_executed`] tells whether a command may have run, or may still run. When it is
/// false, submitting again is safe. Neither `Display` nor `Debug` shows the session id.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No answer came in time.
    #[error("no answer in time{}; {}", Named(id), fate(*sent))]
    #[non_exhaustive]
    Timeout {
        /// The request's id; `None` when it was never given one.
        id: Option<RequestRef>,
        /// Whether it is a command that was handed to the transport.
        sent: bool,
        /// Where the late answer arrives.
        late: Option<LateAnswer>,
    },
    /// The request was cancelled, by [`Answer::cancel`](crate::Answer::cancel) or
    /// [`SubmissionFuture::cancel`](crate::SubmissionFuture::cancel).
    #[error("cancelled{}; {}", Named(id), fate(*sent))]
    #[non_exhaustive]
    Cancelled {
        /// The request's id; `None` when it was never given one.
        id: Option<RequestRef>,
        /// Whether it is a command that was handed to the transport.
        sent: bool,
        /// Where the late answer arrives.
        late: Option<LateAnswer>,
    },
    /// The queue is full. Not executed: submit again when [`ready`](crate::RaftClient::ready)
    /// resolves.
    #[error("the queue is full (max_queued or max_queued_bytes); not executed, submit again later")]
    Overloaded,
    /// There is no session and none is being opened. Not executed: call
    /// [`connect`](crate::RaftClient::connect) first.
    #[error("not connected: call connect() first; not executed")]
    NotConnected,
    /// The client was disconnected before the answer came.
    #[error("the client was disconnected; {}", fate(*sent))]
    #[non_exhaustive]
    Closed {
        /// Whether it is a command that was handed to the transport.
        sent: bool,
    },
    /// The session ended on the server. Connect again for a new one.
    #[error("the session expired; {}; connect() opens a new session", fate(*sent))]
    #[non_exhaustive]
    SessionExpired {
        /// The session that ended.
        session_id: Option<SessionId>,
        /// Whether it is a command that was handed to the transport.
        sent: bool,
    },
    /// The server refused the session.
    #[error("the server refused the session: {reason:?}; {}", fate(*sent))]
    #[non_exhaustive]
    SessionRejected {
        /// The server's reason.
        reason: RejectionReason,
        /// Whether it is a command that was handed to the transport.
        sent: bool,
    },
    /// No session could be opened in time.
    #[error("no session in time{}: {cause}", At(endpoint))]
    #[non_exhaustive]
    Connection {
        /// The endpoint tried last. With [`ConnectionCause::LeaderNotConfigured`], the endpoint that named the leader.
        endpoint: Option<String>,
        /// What happened there.
        cause: ConnectionCause,
    },
    /// The command ran, but the server had forgotten its answer when it was asked again.
    #[error("the answer of request {request_id} is no longer kept by the server; it may have run")]
    #[non_exhaustive]
    ResponseEvicted {
        /// The command.
        request_id: RequestId,
    },
    /// The request was alone in flight when members fell silent, again and again, and is not
    /// sent any more: it probably cannot be decoded by the application.
    #[error("given up: members fall silent whenever this request is sent; {}", fate(*sent))]
    #[non_exhaustive]
    Quarantined {
        /// Whether it is a command that was handed to the transport.
        sent: bool,
    },
    /// The answer came, but cannot be read or is longer than `max_message_size`.
    #[error("its answer cannot be used: {detail}; {}", fate(*sent))]
    #[non_exhaustive]
    Protocol {
        /// Whether it is a command that was handed to the transport.
        sent: bool,
        /// What is wrong with the answer.
        detail: String,
    },
    /// An argument or a setting that cannot be accepted. Nothing was sent.
    #[error(transparent)]
    Validation(#[from] ValidationError),
}

impl Error {
    /// Whether a command may have run, or may still run. Always false for queries and for what
    /// is no request.
    pub fn maybe_executed(&self) -> bool {
        match self {
            Self::Timeout { sent, .. }
            | Self::Cancelled { sent, .. }
            | Self::Closed { sent }
            | Self::SessionExpired { sent, .. }
            | Self::SessionRejected { sent, .. }
            | Self::Quarantined { sent }
            | Self::Protocol { sent, .. } => *sent,
            Self::ResponseEvicted { .. } => true,
            Self::Overloaded
            | Self::NotConnected
            | Self::Connection { .. }
            | Self::Validation(_) => false,
        }
    }

    /// The stable name of this kind of error, the same in every language's client.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Timeout { .. } => "TIMEOUT",
            Self::Cancelled { .. } => "CANCELLED",
            Self::Overloaded => "OVERLOADED",
            Self::NotConnected => "NOT_CONNECTED",
            Self::Closed { .. } => "CLOSED",
            Self::SessionExpired { .. } => "SESSION_EXPIRED",
            Self::SessionRejected { .. } => "SESSION_REJECTED",
            Self::Connection { .. } => "CONNECTION",
            Self::ResponseEvicted { .. } => "RESPONSE_EVICTED",
            Self::Quarantined { .. } => "QUARANTINED",
            Self::Protocol { .. } => "PROTOCOL",
            Self::Validation(_) => "VALIDATION",
        }
    }

    /// The command's id, where one was given.
    pub fn request_id(&self) -> Option<RequestId> {
        match self {
            Self::Timeout { id: Some(RequestRef::Command(id)), .. }
            | Self::Cancelled { id: Some(RequestRef::Command(id)), .. }
            | Self::ResponseEvicted { request_id: id } => Some(*id),
            _ => None,
        }
    }

    /// The query's id, where one was given.
    pub fn correlation_id(&self) -> Option<&CorrelationId> {
        match self {
            Self::Timeout { id: Some(RequestRef::Query(id)), .. }
            | Self::Cancelled { id: Some(RequestRef::Query(id)), .. } => Some(id),
            _ => None,
        }
    }

    /// The late answer of a command that was sent before its deadline passed or it was
    /// cancelled; `None` for every other error.
    ///
    /// The command is tracked for `detached_timeout`, whether or not anybody asks. The future
    /// gives its answer if it still comes, else why it never will. It may be asked for at any
    /// time, and as often as wanted.
    pub fn resolution(&self) -> Option<Resolution> {
        match self {
            Self::Timeout { late: Some(late), .. } | Self::Cancelled { late: Some(late), .. } => {
                Some(late.resolution())
            }
            _ => None,
        }
    }

    /// Of a request that never reached the driver.
    pub(crate) fn cancelled_unsent() -> Self {
        Self::Cancelled { id: None, sent: false, late: None }
    }

    pub(crate) fn closed(sent: bool) -> Self {
        Self::Closed { sent }
    }

    /// The machine's failure of a request whose late answer, if one can come, arrives at `late`.
    pub(crate) fn from_failure(failure: Failure, late: Option<LateAnswer>) -> Self {
        match failure {
            Failure::Timeout { id, sent } => Self::Timeout { id, sent, late },
            Failure::Cancelled { id, sent } => Self::Cancelled { id, sent, late },
            Failure::Overloaded => Self::Overloaded,
            Failure::NotConnected => Self::NotConnected,
            Failure::Closed { sent } => Self::Closed { sent },
            Failure::SessionExpired { session_id, sent } => {
                Self::SessionExpired { session_id, sent }
            }
            Failure::SessionRejected { reason, sent } => Self::SessionRejected { reason, sent },
            Failure::Connection { endpoint, cause } => Self::Connection { endpoint, cause },
            Failure::ResponseEvicted { request_id } => Self::ResponseEvicted { request_id },
            Failure::Quarantined { sent } => Self::Quarantined { sent },
            Failure::Protocol { sent, detail } => Self::Protocol { sent, detail },
            Failure::Validation(error) => Self::Validation(error),
            // The machine's failures may grow before this list does.
            other => Self::Protocol { sent: other.maybe_executed(), detail: other.to_string() },
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::from_failure(failure, None)
    }
}

fn fate(sent: bool) -> &'static str {
    if sent { "it may have been executed" } else { "not executed" }
}

struct Named<'a>(&'a Option<RequestRef>);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(RequestRef::Command(id)) => write!(f, " (command {})", id.get()),
            Some(RequestRef::Query(id)) => write!(f, " (query {})", id.as_str()),
            None => Ok(()),
        }
    }
}

struct At<'a>(&'a Option<String>);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(endpoint) => write!(f, " at {endpoint}"),
            None => Ok(()),
        }
    }
}

pub(crate) type LateResult = Option<Result<Bytes, Error>>;

/// Where the answer of a command that nobody waits for any more arrives.
#[derive(Clone)]
pub struct LateAnswer(watch::Receiver<LateResult>);

impl LateAnswer {
    pub(crate) fn new() -> (watch::Sender<LateResult>, Self) {
        let (sender, receiver) = watch::channel(None);
        (sender, Self(receiver))
    }

    fn resolution(&self) -> Resolution {
        let mut receiver = self.0.clone();
        Resolution(Box::pin(async move {
            match receiver.wait_for(Option::is_some).await {
                Ok(result) => result.clone().unwrap_or(Err(Error::closed(true))),
                // The driver is gone, and the command was sent.
                Err(_) => Err(Error::closed(true)),
            }
        }))
    }
}

impl fmt::Debug for LateAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.borrow().is_some() { "LateAnswer(known)" } else { "LateAnswer(..)" })
    }
}

/// The answer of a command after its deadline or cancellation; see [`Error::resolution`].
#[must_use = "futures do nothing unless awaited"]
pub struct Resolution(Pin<Box<dyn Future<Output = Result<Bytes, Error>> + Send>>);

impl Future for Resolution {
    type Output = Result<Bytes, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context)
    }
}

impl fmt::Debug for Resolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolution")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_of_the_machine_keeps_its_code_and_its_outcome() {
        let session_id = Some(SessionId::new("bearer-secret").unwrap());
        let id = Some(RequestRef::Command(RequestId::FIRST));
        let failures = [true, false].into_iter().flat_map(|sent| {
            [
                Failure::Timeout { id: id.clone(), sent },
                Failure::Cancelled { id: None, sent },
                Failure::Overloaded,
                Failure::NotConnected,
                Failure::Closed { sent },
                Failure::SessionExpired { session_id: session_id.clone(), sent },
                Failure::SessionRejected { reason: RejectionReason::Other, sent },
                Failure::Connection {
                    endpoint: Some("tcp://h:1".into()),
                    cause: ConnectionCause::Refused,
                },
                Failure::ResponseEvicted { request_id: RequestId::FIRST },
                Failure::Quarantined { sent },
                Failure::Protocol { detail: "too long".into(), sent },
                Failure::Validation(ValidationError::EmptyPayload),
            ]
        });
        for failure in failures {
            let error = Error::from(failure.clone());
            assert_eq!(error.code(), failure.code());
            assert_eq!(error.maybe_executed(), failure.maybe_executed(), "{failure:?}");
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("bearer-secret"), "{shown}");
        }
    }

    #[test]
    fn each_failure_of_the_machine_keeps_what_it_tells() {
        let id = SessionId::new("bearer-secret").unwrap();
        let error =
            Error::from(Failure::SessionExpired { session_id: Some(id.clone()), sent: true });
        assert!(
            matches!(&error, Error::SessionExpired { session_id: Some(told), .. } if *told == id)
        );
        let reason = RejectionReason::InvalidCapabilities;
        let error = Error::from(Failure::SessionRejected { reason, sent: false });
        assert!(matches!(&error, Error::SessionRejected { reason: told, .. } if *told == reason));
        let error = Error::from(Failure::Connection {
            endpoint: Some("tcp://h:1".into()),
            cause: ConnectionCause::NoLeader,
        });
        let Error::Connection { endpoint: Some(endpoint), cause: ConnectionCause::NoLeader } =
            &error
        else {
            panic!("{error:?}")
        };
        assert_eq!(endpoint, "tcp://h:1");
        let error = Error::from(Failure::ResponseEvicted { request_id: RequestId::FIRST });
        assert_eq!((error.request_id(), error.correlation_id()), (Some(RequestId::FIRST), None));
        let query = CorrelationId::new("c-1").unwrap();
        for id in [RequestRef::Command(RequestId::FIRST), RequestRef::Query(query.clone())] {
            let told = match &id {
                RequestRef::Command(id) => (Some(*id), None),
                RequestRef::Query(_) => (None, Some(&query)),
            };
            let timeout = Error::from(Failure::Timeout { id: Some(id.clone()), sent: false });
            assert_eq!((timeout.request_id(), timeout.correlation_id()), told);
            let cancelled = Error::from(Failure::Cancelled { id: Some(id.clone()), sent: false });
            assert_eq!((cancelled.request_id(), cancelled.correlation_id()), told);
        }
        let error = Error::from(Failure::Protocol { detail: "too long".into(), sent: false });
        assert!(matches!(&error, Error::Protocol { detail, .. } if detail == "too long"));
    }

    #[test]
    fn errors_cross_threads_and_fit_a_result() {
        fn crosses<T: Send + Sync + Clone + std::error::Error + 'static>() {}
        crosses::<Error>();
        assert!(size_of::<Error>() <= 128);
    }
}
