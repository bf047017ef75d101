//! The errors of the client, and whether a command may have run nevertheless.
//!
//! Their texts, codes and outcomes are those of [`Failure`], which the Node client shows too.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::watch;
use zraft_core::{ConnectionCause, Failure, RequestRef, ValidationError};
use zraft_protocol::{CorrelationId, RejectionReason, RequestId, SessionId};

/// Why the client did not do what it was asked.
///
/// [`Error::maybe_executed`] returns true if a command may have run, or may still run. If it is
/// false, it is safe to submit the request again. Neither `Display` nor `Debug` shows the session
/// id.
///
/// `{:?}` shows the same sentence as `{}`, so that a `main` that returns the error ends with a
/// sentence. `{:#?}` shows the fields.
#[derive(Clone)]
#[non_exhaustive]
pub enum Error {
    /// No answer came in time.
    #[non_exhaustive]
    Timeout {
        /// The request's id; `None` if it was not sent.
        id: Option<RequestRef>,
        /// True if a command was sent, so that it may have run.
        sent: bool,
        /// Where the late answer arrives.
        late: Option<LateAnswer>,
    },
    /// The request was cancelled, by [`Answer::cancel`](crate::Answer::cancel) or
    /// [`SubmissionFuture::cancel`](crate::SubmissionFuture::cancel).
    #[non_exhaustive]
    Cancelled {
        /// The request's id; `None` if it was not sent.
        id: Option<RequestRef>,
        /// True if a command was sent, so that it may have run.
        sent: bool,
        /// Where the late answer arrives.
        late: Option<LateAnswer>,
    },
    /// The queue is full. Not executed: submit again when [`ready`](crate::RaftClient::ready)
    /// resolves.
    Overloaded,
    /// There is no session and none is being opened. Not executed: call
    /// [`connect`](crate::RaftClient::connect) first.
    NotConnected,
    /// The client was disconnected before the answer came.
    #[non_exhaustive]
    Closed {
        /// True if a command was sent, so that it may have run.
        sent: bool,
    },
    /// The session ended on the server. Connect again for a new one.
    #[non_exhaustive]
    SessionExpired {
        /// The session that expired.
        session_id: Option<SessionId>,
        /// True if a command was sent, so that it may have run.
        sent: bool,
    },
    /// The server refused the session, for a reason that does not pass.
    #[non_exhaustive]
    SessionRejected {
        /// The server's reason.
        reason: RejectionReason,
        /// True if a command was sent, so that it may have run.
        sent: bool,
    },
    /// No session could be opened in time.
    #[non_exhaustive]
    Connection {
        /// The endpoint tried last. With [`ConnectionCause::LeaderNotConfigured`], the endpoint that named the leader.
        endpoint: Option<String>,
        /// What went wrong there.
        cause: ConnectionCause,
    },
    /// The server no longer had the answer when it was asked again. The command may have run.
    #[non_exhaustive]
    ResponseEvicted {
        /// The command.
        request_id: RequestId,
    },
    /// The request was alone in flight when members failed, repeatedly. The client does not send
    /// it any more: its payload is probably one that the application cannot decode.
    #[non_exhaustive]
    Quarantined {
        /// True if a command was sent, so that it may have run.
        sent: bool,
    },
    /// The answer came, and it cannot be decoded or is longer than `max_message_size`.
    #[non_exhaustive]
    Protocol {
        /// True if a command was sent: the server did answer, so it probably ran.
        sent: bool,
        /// What is wrong with the answer.
        detail: String,
    },
    /// An argument or a setting cannot be accepted. Nothing was sent.
    Validation(ValidationError),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_failure().fmt(f)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failure = self.to_failure();
        if f.alternate() { fmt::Debug::fmt(&failure, f) } else { fmt::Display::fmt(&failure, f) }
    }
}

impl std::error::Error for Error {}

impl Error {
    /// Returns true if a command may have run, or may still run. It is always false for queries,
    /// and for calls that are not requests.
    pub fn maybe_executed(&self) -> bool {
        self.to_failure().maybe_executed()
    }

    /// Returns the stable name of this kind of error, the same in every language's client.
    pub fn code(&self) -> &'static str {
        self.to_failure().code()
    }

    /// Returns the command's id, if it was sent.
    pub fn request_id(&self) -> Option<RequestId> {
        match self {
            Self::Timeout { id: Some(RequestRef::Command(id)), .. }
            | Self::Cancelled { id: Some(RequestRef::Command(id)), .. }
            | Self::ResponseEvicted { request_id: id } => Some(*id),
            _ => None,
        }
    }

    /// Returns the query's id, if it was sent.
    pub fn correlation_id(&self) -> Option<&CorrelationId> {
        match self {
            Self::Timeout { id: Some(RequestRef::Query(id)), .. }
            | Self::Cancelled { id: Some(RequestRef::Query(id)), .. } => Some(id),
            _ => None,
        }
    }

    /// Returns the late answer of a command that was sent before its deadline passed or it was
    /// cancelled; `None` for every other error.
    ///
    /// The client tracks the command for `detached_timeout`, whether or not the resolution is
    /// awaited. The future gives the answer if it still comes, else the reason why it never will.
    /// It can be asked for at any time, any number of times.
    pub fn resolution(&self) -> Option<Resolution> {
        match self {
            Self::Timeout { late: Some(late), .. } | Self::Cancelled { late: Some(late), .. } => {
                Some(late.resolution())
            }
            _ => None,
        }
    }

    /// Returns the error of a request that never reached the driver.
    pub(crate) fn cancelled_unsent() -> Self {
        Self::Cancelled { id: None, sent: false, late: None }
    }

    pub(crate) fn closed(sent: bool) -> Self {
        Self::Closed { sent }
    }

    /// Returns the error for the machine's failure of a request. Its late answer, if one can come,
    /// arrives at `late`.
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

    /// Returns the machine's failure that this error is. It has the text, the code and the outcome,
    /// which are the same in every language.
    fn to_failure(&self) -> Failure {
        match self.clone() {
            Self::Timeout { id, sent, .. } => Failure::Timeout { id, sent },
            Self::Cancelled { id, sent, .. } => Failure::Cancelled { id, sent },
            Self::Overloaded => Failure::Overloaded,
            Self::NotConnected => Failure::NotConnected,
            Self::Closed { sent } => Failure::Closed { sent },
            Self::SessionExpired { session_id, sent } => {
                Failure::SessionExpired { session_id, sent }
            }
            Self::SessionRejected { reason, sent } => Failure::SessionRejected { reason, sent },
            Self::Connection { endpoint, cause } => Failure::Connection { endpoint, cause },
            Self::ResponseEvicted { request_id } => Failure::ResponseEvicted { request_id },
            Self::Quarantined { sent } => Failure::Quarantined { sent },
            Self::Protocol { sent, detail } => Failure::Protocol { sent, detail },
            Self::Validation(error) => Failure::Validation(error),
        }
    }
}

impl From<ValidationError> for Error {
    fn from(error: ValidationError) -> Self {
        Self::Validation(error)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::from_failure(failure, None)
    }
}

pub(crate) type LateResult = Option<Result<Bytes, Error>>;

/// Where the late answer of a detached command arrives.
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
                // The driver ended, and the command was sent.
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
    fn each_error_has_the_text_the_code_and_the_outcome_of_its_failure() {
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
            assert_eq!(error.to_string(), failure.to_string());
            assert_eq!(error.code(), failure.code());
            assert_eq!(error.maybe_executed(), failure.maybe_executed(), "{failure:?}");
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("bearer-secret"), "{shown}");
        }
    }

    #[test]
    fn each_error_has_the_fields_of_its_failure() {
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
    fn error_of_main_is_printed_as_a_sentence_and_the_fields_on_demand() {
        let error = Error::from(Failure::Timeout { id: None, sent: false });
        assert_eq!(format!("{error:?}"), error.to_string());
        let fields = format!("{error:#?}");
        assert!(fields.starts_with("Timeout {\n") && fields.contains("sent: false"), "{fields}");
        let boxed: Box<dyn std::error::Error> = error.clone().into();
        assert_eq!(format!("{boxed:?}"), error.to_string());
    }

    #[test]
    fn errors_cross_threads_and_fit_a_result() {
        fn crosses<T: Send + Sync + Clone + std::error::Error + 'static>() {}
        crosses::<Error>();
        assert!(size_of::<Error>() <= 128);
    }
}
