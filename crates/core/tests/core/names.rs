//! The lists of names, with which the clients of other languages are compared, are complete.

use std::collections::HashSet;

use zraft_core::{ConnectionCause, DisconnectReason, Event, Failure, StateName, Stats};
use zraft_protocol::MemberId;

#[test]
fn no_list_has_a_name_twice() {
    let states: Vec<_> = StateName::ALL.iter().map(|state| state.name()).collect();
    let reasons: Vec<_> = DisconnectReason::ALL.iter().map(|reason| reason.name()).collect();
    let figures: Vec<_> = Stats::default().figures().iter().map(|(name, _)| *name).collect();
    for list in [&states, &reasons, &figures, Event::NAMES, Failure::CODES, ConnectionCause::NAMES]
        as [&[&str]; 6]
    {
        assert_eq!(list.iter().collect::<HashSet<_>>().len(), list.len(), "{list:?}");
    }
}

#[test]
fn names_that_values_report_are_in_the_lists() {
    assert!(Event::NAMES.contains(&Event::Lagged(1).name()));
    assert!(Event::NAMES.contains(&Event::RequestTimeout { request_id: None }.name()));
    assert!(Failure::CODES.contains(&Failure::Overloaded.code()));
    assert!(ConnectionCause::NAMES.contains(&ConnectionCause::NoLeader.name()));
}

#[test]
fn no_event_is_called_error() {
    // Node ends a process in which an "error" event has no listener.
    assert!(!Event::NAMES.contains(&"error"));
}

#[test]
fn every_cause_of_a_connection_error_is_in_the_list_and_the_list_has_no_other() {
    let causes = [
        ConnectionCause::Refused,
        ConnectionCause::UnknownHost,
        ConnectionCause::Unreachable("no route to host".into()),
        ConnectionCause::Tls("the member asks for a client certificate".into()),
        ConnectionCause::TimedOut,
        ConnectionCause::ClosedBeforeFirstMessage,
        ConnectionCause::NeverAnswered,
        ConnectionCause::Lost,
        ConnectionCause::Zmtp(zraft_zmtp::Error::HeartbeatTimeout),
        ConnectionCause::NoLeader,
        ConnectionCause::LeaderNotConfigured { leader_id: MemberId::new("node-9").unwrap() },
        ConnectionCause::SessionUnknown,
        ConnectionCause::SessionClosed,
    ];
    let names: Vec<_> = causes.iter().map(ConnectionCause::name).collect();
    assert_eq!(names, ConnectionCause::NAMES);
    // These texts help a user who gave a wrong port.
    for cause in [ConnectionCause::ClosedBeforeFirstMessage, ConnectionCause::NeverAnswered] {
        assert!(cause.to_string().contains("is this a client port?"), "{cause}");
    }
}
