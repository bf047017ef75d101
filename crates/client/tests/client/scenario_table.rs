//! The scenarios that the testing section of the original design lists for Rust, and the test of each. The test below
//! fails if a named test is renamed or deleted.

use std::path::Path;

const VECTORS: &str = "protocol/tests/protocol/vectors.rs";
const RULES: &str = "protocol/tests/protocol/rules.rs";
const HOSTILE: &str = "protocol/tests/protocol/hostile.rs";
const PROPERTIES: &str = "protocol/tests/protocol/properties.rs";
const CAPTURES: &str = "protocol/tests/protocol/captures.rs";
const STATES: &str = "core/tests/core/state_table.rs";
const CONNECTED: &str = "core/tests/core/state_table/connected.rs";
const DEADLINES: &str = "core/tests/core/deadlines.rs";
const IDS: &str = "core/tests/core/ids_and_lowest.rs";
const SCENARIOS: &str = "client/tests/client/scenarios.rs";
const SERVER_REQUESTS: &str = "client/tests/client/server_requests.rs";
const CANCELLATION: &str = "client/tests/client/cancellation.rs";
const TIMEOUTS: &str = "client/tests/client/timeouts.rs";

/// The scenario, the file below `crates`, and the test.
const TABLE: &[(&str, &str, &str)] = &[
    // Protocol codecs
    (
        "round trip of all messages of clients",
        PROPERTIES,
        "client_messages_survive_encoding_and_decoding",
    ),
    (
        "round trip of all messages of servers",
        PROPERTIES,
        "server_messages_survive_encoding_and_decoding",
    ),
    ("byte for byte as the Scala codec, encoding", VECTORS, "vectors_encode_to_their_bytes"),
    ("byte for byte as the Scala codec, decoding", VECTORS, "vectors_decode_to_their_fields"),
    (
        "signature and version are validated",
        HOSTILE,
        "flipped_header_bits_give_a_signature_or_version_error",
    ),
    ("invalid messages are errors", HOSTILE, "truncated_vectors_are_errors"),
    ("invalid values are errors", RULES, "unknown_reasons_are_errors"),
    // State machine
    ("all state transitions", STATES, "every_cell_has_its_test_and_every_test_its_cell"),
    (
        "every event in every state",
        STATES,
        "the_table_has_every_event_in_every_state_and_nothing_else",
    ),
    ("edge case reconnection", CONNECTED, "connected_connection_lost_continues_the_session"),
    ("edge case session expiry", CONNECTED, "connected_session_closed_expired_is_believed"),
    // Request management
    (
        "pending request added and completed",
        CONNECTED,
        "connected_client_response_settles_that_command_and_an_unknown_id_is_counted",
    ),
    (
        "pending request timed out",
        TIMEOUTS,
        "sent_command_times_out_with_its_id_and_an_unknown_outcome",
    ),
    (
        "pending request cancelled",
        CANCELLATION,
        "dropped_command_that_was_sent_is_detached_until_its_answer_comes",
    ),
    ("ids are sequential without gaps", SCENARIOS, "request_ids_are_sequential_without_gaps"),
    (
        "ids are given when first sent",
        IDS,
        "a_command_gets_its_id_when_it_is_first_handed_to_the_transport",
    ),
    ("timeout detection", DEADLINES, "the_time_runs_from_submission_not_from_sending"),
    // Server request tracking
    (
        "consecutive ids are delivered and acknowledged",
        SERVER_REQUESTS,
        "only_taken_requests_are_acknowledged",
    ),
    (
        "a duplicate is detected",
        SERVER_REQUESTS,
        "duplicate_is_acknowledged_again_and_not_delivered",
    ),
    ("a gap is detected", SERVER_REQUESTS, "gap_delays_later_requests_until_it_is_filled"),
    // Full lifecycle
    (
        "constructor, connect, submit, disconnect",
        SCENARIOS,
        "full_lifecycle_construct_connect_submit_disconnect",
    ),
    ("resolution with the actual answer", SCENARIOS, "each_request_gets_its_own_answer"),
    (
        "events connected and disconnected",
        SCENARIOS,
        "connected_and_disconnected_events_are_emitted",
    ),
    // Reconnection
    ("automatic reconnection", SCENARIOS, "network_disconnect_leads_to_automatic_reconnection"),
    ("session resumption by ContinueSession", SCENARIOS, "session_resumption_by_continue_session"),
    (
        "pending requests preserved and resent",
        SCENARIOS,
        "pending_requests_are_preserved_and_resent",
    ),
    // Session expiry
    ("rejection as expired", SCENARIOS, "session_expired_rejection_is_handled"),
    ("all pending requests fail", SCENARIOS, "all_pending_requests_fail_on_session_expiry"),
    ("the event", SCENARIOS, "session_expired_event_is_emitted"),
    // Performance: the benchmarks measure rates and latencies; tests do not assert them
    ("ten thousand requests", SCENARIOS, "ten_thousand_requests_are_answered_once_each"),
    // Compatibility with the live system, represented by captures
    ("messages of live peers", CAPTURES, "captured_messages_survive_decoding_and_encoding"),
];

#[test]
fn every_scenario_has_its_test() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (scenario, file, test) in TABLE {
        let source = std::fs::read_to_string(crates.join(file))
            .unwrap_or_else(|error| panic!("{scenario}: crates/{file}: {error}"));
        let named = format!("fn {test}(");
        assert!(source.contains(&named), "{scenario}: no test {test} in crates/{file}");
    }
}
