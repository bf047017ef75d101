//! Every cell of the table of states and events is a test, named after state and event. STATE_TABLE.md lists them.

mod connected;
mod connecting_existing;
mod connecting_new;
mod disconnected;

use std::collections::{BTreeMap, BTreeSet};

const TABLE: &str = include_str!("../../STATE_TABLE.md");

/// The states, by the prefix of their tests' names, and the tests.
const STATES: [(&str, &str, &str); 4] = [
    ("Disconnected", "disconnected", include_str!("state_table/disconnected.rs")),
    ("ConnectingNewSession", "connecting_new", include_str!("state_table/connecting_new.rs")),
    (
        "ConnectingExistingSession",
        "connecting_existing",
        include_str!("state_table/connecting_existing.rs"),
    ),
    ("Connected", "connected", include_str!("state_table/connected.rs")),
];

/// The events, in the order of the table, and the states in which each can happen.
const EVENTS: [(&str, &[usize]); 28] = [
    ("connect", &[0, 1, 2, 3]),
    ("submit_command", &[0, 1, 2, 3]),
    ("submit_query", &[0, 1, 2, 3]),
    ("session_created", &[0, 1, 2, 3]),
    ("session_continued", &[0, 1, 2, 3]),
    ("rejected_not_leader", &[0, 1, 2, 3]),
    ("rejected_session_expired", &[0, 1, 2, 3]),
    ("rejected_permanently", &[0, 1, 2, 3]),
    ("other_nonce", &[0, 1, 2, 3]),
    ("superseded_connection", &[0, 1, 2, 3]),
    ("client_response", &[0, 1, 2, 3]),
    ("query_response", &[0, 1, 2, 3]),
    ("response_evicted", &[0, 1, 2, 3]),
    ("server_request", &[0, 1, 2, 3]),
    ("keep_alive_response", &[0, 1, 2, 3]),
    ("session_closed", &[0, 1, 2, 3]),
    ("session_closed_expired", &[0, 1, 2, 3]),
    ("undecodable", &[0, 1, 2, 3]),
    ("connection_lost", &[1, 2, 3]),
    ("attempt_timeout", &[1, 2, 3]),
    ("attempt_slow", &[1, 2]),
    ("frozen", &[3]),
    ("keep_alive_tick", &[3]),
    ("keep_alive_unanswered", &[3]),
    ("resend_due", &[3]),
    ("request_deadline", &[1, 2, 3]),
    ("update_members", &[0, 1, 2, 3]),
    ("disconnect", &[0, 1, 2, 3]),
];

struct Cell {
    what: String,
    test: Option<String>,
}

/// Returns the cells that STATE_TABLE.md lists, by event and state.
fn cells() -> BTreeMap<(String, String), Cell> {
    let mut cells = BTreeMap::new();
    for line in TABLE.lines().filter(|line| line.starts_with('|')) {
        let columns: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(columns.len(), 4, "{line}");
        if columns[0] == "event" || columns[0].starts_with("---") {
            continue;
        }
        let event = columns[0].trim_matches('`').to_owned();
        let test = match columns[3] {
            "not applicable" => None,
            name => Some(name.trim_matches('`').to_owned()),
        };
        let cell = Cell { what: columns[2].to_owned(), test };
        let place = (event, columns[1].to_owned());
        assert!(cells.insert(place, cell).is_none(), "listed twice: {line}");
    }
    cells
}

/// Returns the names of the tests in a source file.
fn tests_in(source: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut marked = false;
    for line in source.lines() {
        if marked {
            let name = line.strip_prefix("fn ").and_then(|rest| rest.split('(').next());
            names.push(name.expect("a function follows #[test]").to_owned());
        }
        marked = line == "#[test]";
    }
    names
}

#[test]
fn the_table_has_every_event_in_every_state_and_nothing_else() {
    let cells = cells();
    let mut expected = BTreeSet::new();
    for (event, applicable) in EVENTS {
        for (index, (state, ..)) in STATES.iter().enumerate() {
            let place = (event.to_owned(), (*state).to_owned());
            let cell = cells.get(&place).unwrap_or_else(|| panic!("{event} in {state} is missing"));
            assert!(!cell.what.is_empty(), "{event} in {state} says nothing");
            assert_eq!(cell.test.is_some(), applicable.contains(&index), "{event} in {state}");
            expected.insert(place);
        }
    }
    let listed: BTreeSet<_> = cells.into_keys().collect();
    assert_eq!(listed, expected);
}

#[test]
fn every_cell_has_its_test_and_every_test_its_cell() {
    let mut listed: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for ((event, state), cell) in cells() {
        let Some(test) = cell.test else { continue };
        let (name, prefix, _) = STATES.iter().find(|(name, ..)| *name == state).unwrap();
        assert!(
            test.starts_with(&format!("{prefix}_{event}_")),
            "{test} is for {event} in {state}"
        );
        listed.entry(name).or_default().push(test);
    }
    for (state, _, source) in STATES {
        let mut listed = listed.remove(state).unwrap_or_default();
        let mut written = tests_in(source);
        listed.sort();
        written.sort();
        assert_eq!(listed, written, "the cells and the tests of {state}");
    }
}
