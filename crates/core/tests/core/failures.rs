//! The texts of failures name the request, the place and the cause, and whether the request may have run.

use crate::common::*;
use zraft_core::{ConnectionCause, Failure, RequestRef, ValidationError};
use zraft_protocol::{CorrelationId, RejectionReason};

#[test]
fn a_failures_text_names_the_request_the_outcome_and_what_to_do() {
    let command = Some(RequestRef::Command(request(7)));
    let query = Some(RequestRef::Query(CorrelationId::new("c-1").unwrap()));
    let endpoint = Some("tcp://127.0.0.1:7001".to_owned());
    let cause = ConnectionCause::Refused;
    let detail = "too long".to_owned();
    let reason = RejectionReason::Other;
    let cases = [
        (
            Failure::Timeout { id: command.clone(), sent: true },
            "command 7 was not answered in time; it may have been executed: await its resolution, \
             or read the state to find out",
        ),
        (
            Failure::Timeout { id: None, sent: false },
            "the request was not answered in time; not executed: it is safe to submit again",
        ),
        (
            Failure::Cancelled { id: query, sent: false },
            "query c-1 was cancelled; not executed: it is safe to submit again",
        ),
        (
            Failure::Overloaded,
            "the queue is full (`max_queued` or `max_queued_bytes`); not executed: submit \
             again once ready() resolves",
        ),
        (Failure::NotConnected, "not connected; not executed: call connect() first"),
        (
            Failure::Closed { sent: true },
            "the client was disconnected; it may have been executed: read the state to find out",
        ),
        (
            Failure::SessionExpired { session_id: Some(session()), sent: false },
            "the session expired; not executed: it is safe to submit again; connect() \
             opens a new session",
        ),
        (
            Failure::Connection { endpoint, cause: cause.clone() },
            "no session could be opened at tcp://127.0.0.1:7001: connection refused",
        ),
        (
            Failure::Connection { endpoint: None, cause },
            "no session could be opened: connection refused",
        ),
        (
            Failure::ResponseEvicted { request_id: request(7) },
            "the server no longer has the answer to command 7; it may have been executed: read \
             the state to find out",
        ),
        (
            Failure::Quarantined { sent: true },
            "members failed each time they received this request; it may have been executed: do \
             not submit its payload again",
        ),
        (
            Failure::Protocol { detail, sent: true },
            "the answer cannot be used (too long); it may have been executed: raise \
             `max_message_size` if it is too long, else repair the server",
        ),
        (
            Failure::SessionRejected { reason, sent: false },
            "the server rejected the session (Other); not executed: the server's log says \
             more",
        ),
        (
            Failure::SessionRejected { reason: RejectionReason::InvalidCapabilities, sent: false },
            "the server rejected the session (InvalidCapabilities); not executed: correct \
             `capabilities`",
        ),
        (Failure::Validation(ValidationError::EmptyPayload), "payload: must not be empty"),
    ];
    for (failure, text) in cases {
        assert_eq!(failure.to_string(), text, "{failure:?}");
    }
}

#[test]
fn only_a_sent_command_may_have_run() {
    let failures = |sent| {
        [
            Failure::Timeout { id: None, sent },
            Failure::Cancelled { id: None, sent },
            Failure::Closed { sent },
            Failure::SessionExpired { session_id: None, sent },
            Failure::SessionRejected { reason: RejectionReason::Other, sent },
            Failure::Quarantined { sent },
            Failure::Protocol { detail: String::new(), sent },
        ]
    };
    assert!(failures(true).iter().all(Failure::maybe_executed));
    assert!(!failures(false).iter().any(Failure::maybe_executed));
    assert!(Failure::ResponseEvicted { request_id: request(1) }.maybe_executed());
    let cause = ConnectionCause::TimedOut;
    for failure in [
        Failure::Overloaded,
        Failure::NotConnected,
        Failure::Connection { endpoint: None, cause },
        Failure::Validation(ValidationError::EmptyPayload),
    ] {
        assert!(!failure.maybe_executed(), "{failure:?}");
    }
}
