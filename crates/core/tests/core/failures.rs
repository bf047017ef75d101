//! What failures say: which request, where, why, and whether it may have run.

use crate::common::*;
use zraft_core::{ConnectionCause, Failure, RequestRef, ValidationError};
use zraft_protocol::{CorrelationId, RejectionReason};

#[test]
fn a_failure_names_its_request_its_endpoint_and_what_became_of_it() {
    let command = Some(RequestRef::Command(request(7)));
    let query = Some(RequestRef::Query(CorrelationId::new("c-1").unwrap()));
    let endpoint = Some("tcp://127.0.0.1:7001".to_owned());
    let cause = ConnectionCause::Refused;
    let detail = "too long".to_owned();
    let reason = RejectionReason::Other;
    let cases = [
        (
            Failure::Timeout { id: command.clone(), sent: true },
            "no answer in time for command 7; it may have been executed",
        ),
        (Failure::Timeout { id: None, sent: false }, "no answer in time; not executed"),
        (Failure::Cancelled { id: query, sent: false }, "cancelled for query c-1; not executed"),
        (Failure::Closed { sent: true }, "the client is closed; it may have been executed"),
        (
            Failure::Connection { endpoint, cause: cause.clone() },
            "no session could be opened at tcp://127.0.0.1:7001: connection refused",
        ),
        (
            Failure::Connection { endpoint: None, cause },
            "no session could be opened: connection refused",
        ),
        (
            Failure::Protocol { detail, sent: true },
            "unusable answer (too long); it may have been executed",
        ),
        (
            Failure::SessionRejected { reason, sent: false },
            "the server rejected the session (Other); not executed",
        ),
    ];
    for (failure, text) in cases {
        assert_eq!(failure.to_string(), text, "{failure:?}");
    }
}

#[test]
fn what_was_sent_may_have_run_and_nothing_else_may() {
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
