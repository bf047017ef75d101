//! Answers that are too long or cannot be decoded.

use crate::common::*;
use zraft_core::{ConnId, Event, Failure, RequestKey, RequestKind, StateName, Timeout};

const LIMIT: usize = 1 << 10;

fn connected() -> (World, ConnId) {
    let config = three()
        .max_message_size(LIMIT)
        .max_in_flight(2)
        .heartbeat_interval(seconds(600))
        .heartbeat_timeout(seconds(600));
    let (mut world, conn) = World::connected(config);
    world.answer_keep_alive(conn);
    world.events.clear();
    world.completions.clear();
    (world, conn)
}

fn head(length: u64, message: &[u8]) -> Vec<u8> {
    let mut bytes = vec![2];
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(message);
    bytes
}

fn client_response(id: u64) -> Vec<u8> {
    let mut bytes = b"zraft\x01\x06".to_vec();
    bytes.extend_from_slice(&id.to_be_bytes());
    bytes
}

fn query_response(id: &str) -> Vec<u8> {
    let mut bytes = b"zraft\x01\x09".to_vec();
    bytes.extend_from_slice(&u16::try_from(id.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(id.as_bytes());
    bytes
}

/// Returns a frame of this length that begins with these bytes; the rest is zeros.
fn frame(length: usize, begin: &[u8]) -> Vec<u8> {
    let mut bytes = head(length as u64, begin);
    bytes.resize(9 + length, 0);
    bytes
}

fn fails(world: &World, key: RequestKey, sent: bool) {
    match world.result(key) {
        Some(Err(Failure::Protocol { sent: told, .. })) => assert_eq!(told, sent),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_response_over_max_message_size_fails_its_command_and_counts_as_answered() {
    let (mut world, conn) = connected();
    let keys: Vec<_> = (0..3).map(|_| world.command("x")).collect();
    world.all_received(conn);
    world.raw(conn, &frame(LIMIT + zraft_zmtp::FRAME_ALLOWANCE + 1, &client_response(1)));
    fails(&world, keys[0], true);
    assert_eq!(world.count_events(|event| matches!(event, Event::ProtocolError { .. })), 1);
    assert_eq!(world.machine.stats().protocol_errors, 1);
    // The next request in the window goes, L has moved on, and the connection stays and works.
    let messages = world.all_received(conn);
    assert_eq!((command_ids(&messages), lowest_ids(&messages)), (vec![3], vec![2]));
    world.answer(conn, 2, "fine");
    assert_eq!(world.result(keys[1]), Some(Ok("fine".into())));
    assert_eq!(world.state(), StateName::Connected);
    assert_eq!(world.peers.len(), 1);
}

#[test]
fn a_response_of_max_message_size_is_taken() {
    let (mut world, conn) = connected();
    let key = world.command("x");
    world.answer(conn, 1, &"r".repeat(LIMIT));
    assert_eq!(world.result(key).unwrap().unwrap().len(), LIMIT);
}

#[test]
fn an_overlong_query_response_fails_its_query() {
    let (mut world, conn) = connected();
    let key = world.query("x");
    let id = correlation_ids(&world.all_received(conn)).pop().unwrap();
    world.raw(conn, &frame(1 << 20, &query_response(id.as_str())));
    fails(&world, key, false);
}

#[test]
fn an_overlong_answer_fails_with_its_first_bytes_and_the_rest_is_skipped() {
    let (mut world, conn) = connected();
    let keys = [world.command("x"), world.command("y")];
    let length: usize = 64 << 20;
    let mut bytes = head(length as u64, &client_response(1));
    bytes.resize(9 + 64, 0);
    world.raw(conn, &bytes);
    fails(&world, keys[0], true);
    let chunk = vec![0; 1 << 20];
    let mut left = length - 64;
    while left > 0 {
        let more = left.min(chunk.len());
        world.raw(conn, &chunk[..more]);
        left -= more;
        let kept = world.machine.recv_buffer(conn).unwrap();
        assert!(kept.is_empty() && kept.capacity() <= 4 << 20, "{}", kept.capacity());
    }
    world.answer(conn, 2, "fine");
    assert_eq!(world.result(keys[1]), Some(Ok("fine".into())));
}

#[test]
fn an_answer_beyond_a_gibibyte_fails_the_request_and_ends_the_connection() {
    let (mut world, conn) = connected();
    let keys = [world.command("x"), world.command("y")];
    let mut bytes = head((1 << 30) + 1, &client_response(1));
    world.raw(conn, &bytes);
    bytes.clear();
    bytes.resize(64, 0);
    world.raw(conn, &bytes);
    fails(&world, keys[0], true);
    assert!(world.peer(conn).closed);
    assert_eq!(world.state(), StateName::ConnectingExistingSession);
    // It is not resent; the other is.
    assert_eq!(world.asks().as_deref(), Some("node-2"));
    let conn = world.resumed();
    assert_eq!(command_ids(&world.all_received(conn)), [2]);
}

#[test]
fn an_impossible_frame_length_ends_the_connection() {
    let (mut world, conn) = connected();
    world.command("x");
    world.raw(conn, &head(u64::MAX, &client_response(9)));
    world.raw(conn, &[0; 64]);
    assert!(world.peer(conn).closed);
    assert_eq!(world.state(), StateName::ConnectingExistingSession);
}

#[test]
fn an_undecodable_answer_whose_id_can_be_read_fails_its_request() {
    let (mut world, conn) = connected();
    let command = world.command("x");
    let query = world.query("y");
    let id = correlation_ids(&world.all_received(conn)).pop().unwrap();
    // The length of the result is negative; the result is cut off.
    let mut bytes = client_response(1);
    bytes.extend_from_slice(&(-1_i32).to_be_bytes());
    world.say_bytes(conn, &bytes);
    fails(&world, command, true);
    let mut bytes = query_response(id.as_str());
    bytes.extend_from_slice(&9_i32.to_be_bytes());
    bytes.extend_from_slice(b"short");
    world.say_bytes(conn, &bytes);
    fails(&world, query, false);
    assert_eq!(world.machine.stats().protocol_errors, 2);
    assert_eq!(world.state(), StateName::Connected);
}

#[test]
fn an_unusable_answer_to_a_detached_command_is_its_resolution() {
    let (mut world, conn) = connected();
    let key = world.command("x");
    world.machine.cancel(world.now, key);
    world.say_bytes(conn, &client_response(1));
    match world.resolution(key) {
        Some(Err(Failure::Protocol { sent: true, .. })) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn unusable_answers_without_a_request_are_only_counted() {
    let (mut world, conn) = connected();
    world.command("x");
    world.completions.clear();
    world.raw(conn, &frame(1 << 20, &client_response(7)));
    world.raw(conn, &frame(1 << 20, &query_response("unmatched")));
    world.raw(conn, &frame(1 << 20, b"zraft\x01\x05"));
    world.raw(conn, &frame(1 << 20, &[0xff; 64]));
    assert!(world.completions.is_empty());
    assert_eq!(world.machine.stats().protocol_errors, 4);
    assert_eq!(world.machine.stats().unmatched, 2);
    assert_eq!(world.state(), StateName::Connected);
}

#[test]
fn before_the_session_is_confirmed_an_overlong_message_settles_nothing() {
    let mut key = None;
    let config = three().max_message_size(LIMIT);
    let mut world = World::stepped_down(config, |world, _| key = Some(world.command("x")));
    let conn = world.accept("node-2");
    world.continue_nonce(conn);
    world.raw(conn, &frame(1 << 20, &client_response(1)));
    assert_eq!(world.result(key.unwrap()), None);
    assert_eq!(world.machine.stats().protocol_errors, 1);
}

#[test]
fn a_multipart_message_is_discarded_and_reported() {
    let (mut world, conn) = connected();
    let key = world.command("x");
    let mut bytes = vec![1, 15];
    bytes.extend_from_slice(&client_response(1));
    bytes.extend_from_slice(&[0, 1, 0]);
    world.raw(conn, &bytes);
    assert_eq!(world.result(key), None);
    assert!(world.count_events(|event| matches!(event, Event::ProtocolError { .. })) >= 1);
    assert_eq!(world.state(), StateName::Connected);
}

#[test]
fn an_answer_of_a_whole_gibibyte_is_skipped_and_the_connection_stays() {
    let (mut world, conn) = connected();
    let key = world.command("x");
    let mut bytes = head(1 << 30, &client_response(1));
    bytes.resize(9 + 64, 0);
    world.raw(conn, &bytes);
    fails(&world, key, true);
    assert_eq!(world.state(), StateName::Connected);
    assert!(!world.peer(conn).closed);
}

#[test]
fn a_connection_with_an_overlong_answer_is_not_barren() {
    let (mut world, conn) = connected();
    for _ in 0..4 {
        world.submit(RequestKind::Command, "x", Timeout::Never);
    }
    world.raw(conn, &frame(1 << 20, &client_response(1)));
    world.all_received(conn);
    world.reset(conn);
    world.refuse("node-1");
    let conn = world.resumed();
    assert_eq!(
        command_ids(&world.all_received(conn)),
        [2, 3],
        "all at once, as far as it was sent"
    );
}

#[test]
fn a_frame_may_be_64_kib_longer_than_max_message_size_and_not_a_byte_more() {
    for (length, too_long) in [
        (LIMIT + zraft_zmtp::FRAME_ALLOWANCE, false),
        (LIMIT + zraft_zmtp::FRAME_ALLOWANCE + 1, true),
    ] {
        let (mut world, conn) = connected();
        // An empty message of any length.
        world.raw(conn, &frame(length, b"nothing"));
        let told = world.events.iter().find_map(|event| match event {
            Event::ProtocolError { detail, .. } => Some(detail.contains("over `max_message_size`")),
            _ => None,
        });
        assert_eq!(told, Some(too_long), "{length}");
    }
}
