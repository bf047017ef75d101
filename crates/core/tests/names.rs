//! The lists of names that other languages are checked against are those that are used.

use std::collections::HashSet;

use zraft_core::{ConnectionCause, DisconnectReason, Event, Failure, StateName, Stats};

#[test]
fn no_name_is_listed_twice() {
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
fn what_names_itself_stands_in_the_list() {
    assert!(Event::NAMES.contains(&Event::Lagged(1).name()));
    assert!(Event::NAMES.contains(&Event::RequestTimeout { request_id: None }.name()));
    assert!(Failure::CODES.contains(&Failure::Overloaded.code()));
    assert!(ConnectionCause::NAMES.contains(&ConnectionCause::NoLeader.name()));
}
