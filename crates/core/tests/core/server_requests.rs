//! Server requests are delivered once and in order, and acknowledged up to the last delivered one.

use crate::common::*;
use bytes::Bytes;
use zraft_core::{ConnId, Event, OnSessionExpired};
use zraft_protocol::{ClientMessage, Payload, ServerMessage, SessionCloseReason, Timestamp};

fn connected() -> (World, ConnId) {
    World::connected(single())
}

/// Returns the acknowledgements sent until now and in the next 50 ms.
fn acked(world: &mut World, conn: ConnId) -> Vec<u64> {
    world.advance(millis(50));
    acks(&world.all_received(conn))
}

fn large(world: &mut World, conn: ConnId, id: u64, bytes: usize) {
    let payload = Payload::new(Bytes::from(vec![7; bytes])).unwrap();
    let created_at = Timestamp::from_millis(0);
    world.say(conn, ServerMessage::ServerRequest { request_id: request(id), payload, created_at });
}

#[test]
fn the_next_request_in_order_is_delivered_then_acknowledged() {
    let (mut world, conn) = connected();
    for id in 1..=3 {
        world.server_request(conn, id, &format!("payload {id}"));
        let request = world.machine.poll_server_request().unwrap();
        assert_eq!(request.request_id.get(), id);
        assert_eq!(request.payload, format!("payload {id}"));
        assert_eq!(request.created_at.as_millis(), world.wall);
        assert!(acked(&mut world, conn).is_empty(), "not delivered yet");
        world.machine.server_request_done(world.now, request.request_id);
        assert_eq!(acked(&mut world, conn), [id]);
    }
    assert_eq!(world.machine.stats().server_requests, 3);
}

#[test]
fn a_request_seen_before_is_acknowledged_again_and_not_delivered_again() {
    let (mut world, conn) = connected();
    for id in 1..=2 {
        world.server_request(conn, id, "x");
    }
    assert_eq!(world.deliver(), [1, 2]);
    assert_eq!(acked(&mut world, conn), [2]);
    world.server_request(conn, 1, "x");
    assert!(world.deliver().is_empty());
    assert_eq!(acked(&mut world, conn), [2]);
    assert_eq!(world.machine.stats().duplicates, 1);
    // Ids begin at 1, so 0 is never a valid id.
    world.server_request(conn, 0, "x");
    assert!(world.deliver().is_empty());
}

#[test]
fn a_request_above_a_gap_is_held_unacknowledged_until_the_gap_fills() {
    let (mut world, conn) = connected();
    for id in [3, 2, 5] {
        world.server_request(conn, id, "x");
    }
    assert!(world.deliver().is_empty());
    assert!(acked(&mut world, conn).is_empty());
    world.server_request(conn, 1, "x");
    assert_eq!(world.deliver(), [1, 2, 3]);
    assert_eq!(acked(&mut world, conn), [3], "never past the contiguous prefix");
    world.server_request(conn, 4, "x");
    assert_eq!(world.deliver(), [4, 5]);
    assert_eq!(acked(&mut world, conn), [5]);
}

#[test]
fn each_server_request_emits_one_event() {
    let (mut world, conn) = connected();
    for id in [1, 1, 2, 1, 2] {
        world.server_request(conn, id, "x");
    }
    let received = |event: &Event| matches!(event, Event::ServerRequestReceived { .. });
    assert_eq!(world.count_events(received), 2);
    assert_eq!(world.machine.stats().duplicates, 3);
}

#[test]
fn acknowledgements_are_coalesced_for_fifty_milliseconds() {
    let (mut world, conn) = connected();
    for id in 1..=10 {
        world.server_request(conn, id, "x");
        world.deliver();
        world.advance(millis(4));
    }
    world.advance(millis(9));
    assert!(acks(&world.all_received(conn)).is_empty());
    world.advance(millis(1));
    assert_eq!(acks(&world.all_received(conn)), [10], "50 ms after the first");
    assert!(acked(&mut world, conn).is_empty());
}

#[test]
fn thirty_two_deliveries_are_acknowledged_at_once() {
    let (mut world, conn) = connected();
    for id in 1..=70 {
        world.server_request(conn, id, "x");
        world.deliver();
    }
    assert_eq!(acks(&world.all_received(conn)), [32, 64]);
    assert_eq!(acked(&mut world, conn), [70]);
}

#[test]
fn without_a_consumer_server_requests_wait_unacknowledged() {
    let (mut world, conn) = connected();
    for id in 1..=5 {
        world.server_request(conn, id, "x");
    }
    world.advance(seconds(1));
    assert!(acks(&world.all_received(conn)).is_empty());
    // The server sends them again: they are delivered only once.
    for id in 1..=5 {
        world.server_request(conn, id, "x");
    }
    assert_eq!(world.deliver(), [1, 2, 3, 4, 5]);
    assert_eq!(acked(&mut world, conn), [5]);
}

#[test]
fn a_request_handed_over_is_not_yet_delivered() {
    let (mut world, conn) = connected();
    for id in 1..=3 {
        world.server_request(conn, id, "x");
    }
    let first = world.machine.poll_server_request().unwrap();
    let second = world.machine.poll_server_request().unwrap();
    // A done report out of order does not count.
    world.machine.server_request_done(world.now, second.request_id);
    assert!(acked(&mut world, conn).is_empty());
    world.machine.server_request_done(world.now, first.request_id);
    assert_eq!(acked(&mut world, conn), [1]);
    world.machine.server_request_done(world.now, second.request_id);
    world.machine.server_request_done(world.now, second.request_id);
    assert_eq!(acked(&mut world, conn), [2]);
    assert_eq!(world.machine.stats().server_requests, 2);
}

#[test]
fn beyond_max_server_requests_the_highest_are_dropped_unacknowledged() {
    let (mut world, conn) = World::connected(single().max_server_requests(3));
    for id in 1..=6 {
        world.server_request(conn, id, "x");
    }
    assert_eq!(world.deliver(), [1, 2, 3]);
    assert_eq!(acked(&mut world, conn), [3]);
    // The server sends the others again.
    for id in [6, 5, 4] {
        world.server_request(conn, id, "x");
    }
    assert_eq!(world.deliver(), [4, 5, 6]);
    for id in [10, 9, 11, 8] {
        world.server_request(conn, id, "x");
    }
    world.server_request(conn, 7, "x");
    assert_eq!(world.deliver(), [7, 8, 9], "10 and 11 gave way");
    assert_eq!(acked(&mut world, conn), [9]);
}

#[test]
fn the_next_request_in_order_has_room_when_requests_out_of_order_fill_the_queue() {
    for max in [1, 3] {
        let (mut world, conn) = World::connected(single().max_server_requests(max));
        for id in 2..2 + max as u64 {
            world.server_request(conn, id, "x");
        }
        world.server_request(conn, 1, "x");
        let expected: Vec<u64> = (1..=max as u64).collect();
        assert_eq!(world.deliver(), expected, "the highest were dropped");
        assert_eq!(acked(&mut world, conn), [max as u64]);
        // The server sends the dropped request again.
        world.server_request(conn, max as u64 + 1, "x");
        assert_eq!(world.deliver(), [max as u64 + 1]);
    }
}

#[test]
fn a_request_handed_over_and_not_done_counts_as_held() {
    let (mut world, conn) = World::connected(single().max_server_requests(4));
    let mut handed = Vec::new();
    for id in 1..=20 {
        world.server_request(conn, id, "x");
        handed.extend(world.machine.poll_server_request());
    }
    assert_eq!(handed.len(), 4);
    for request in handed {
        world.machine.server_request_done(world.now, request.request_id);
    }
    assert_eq!(acked(&mut world, conn), [4]);
    world.server_request(conn, 5, "x");
    assert_eq!(world.deliver(), [5]);
}

#[test]
fn beyond_64_mebibytes_the_highest_are_dropped_and_a_single_request_may_be_longer() {
    let (mut world, conn) = World::connected(single().max_message_size(80 << 20));
    large(&mut world, conn, 3, 40 << 20);
    large(&mut world, conn, 4, 40 << 20);
    large(&mut world, conn, 2, 10 << 20);
    large(&mut world, conn, 1, 70 << 20);
    assert_eq!(world.deliver(), [1], "it has room, and those above are dropped");
    assert_eq!(acked(&mut world, conn), [1]);
    large(&mut world, conn, 2, 10 << 20);
    large(&mut world, conn, 3, 40 << 20);
    assert_eq!(world.deliver(), [2, 3]);
    assert_eq!(acked(&mut world, conn), [3]);
}

#[test]
fn requests_of_64_mebibytes_together_are_held_and_not_a_byte_more() {
    for (last, delivered) in [((16 << 20) - 1, vec![1, 2, 3, 4, 5]), (16 << 20, vec![1, 2, 3, 4])] {
        let (mut world, conn) = World::connected(single());
        for id in 2..=4 {
            large(&mut world, conn, id, 16 << 20);
        }
        large(&mut world, conn, 5, last);
        large(&mut world, conn, 1, 1);
        assert_eq!(world.deliver(), delivered);
    }
}

#[test]
fn a_request_above_max_message_size_is_reported_and_acknowledged() {
    let (mut world, conn) = World::connected(single().max_message_size(1 << 10));
    large(&mut world, conn, 1, 200 << 10);
    assert_eq!(world.count_events(|event| matches!(event, Event::ProtocolError { .. })), 1);
    assert!(world.deliver().is_empty());
    assert_eq!(acked(&mut world, conn), [1]);
    world.server_request(conn, 2, "x");
    assert_eq!(world.deliver(), [2]);
    // Between others it waits for its turn.
    large(&mut world, conn, 4, 200 << 10);
    world.server_request(conn, 5, "x");
    assert_eq!(acked(&mut world, conn), [2]);
    world.server_request(conn, 3, "x");
    assert_eq!(world.deliver(), [3, 5]);
    assert_eq!(acked(&mut world, conn), [5]);
}

/// Returns a ServerRequest whose payload has a negative length: it is undecodable, but its id can be read.
fn undecodable(id: i64) -> Vec<u8> {
    let mut bytes = b"zraft\x01\x07".to_vec();
    bytes.extend_from_slice(&id.to_be_bytes());
    bytes.extend_from_slice(&(-1_i32).to_be_bytes());
    bytes.extend_from_slice(&[0; 8]);
    bytes
}

#[test]
fn an_undecodable_request_with_a_readable_id_is_reported_and_acknowledged_in_its_turn() {
    let (mut world, conn) = connected();
    world.server_request(conn, 1, "x");
    world.say_bytes(conn, &undecodable(2));
    world.server_request(conn, 3, "x");
    assert_eq!(world.count_events(|event| matches!(event, Event::ProtocolError { .. })), 1);
    assert!(acked(&mut world, conn).is_empty(), "not before its predecessor is delivered");
    assert_eq!(world.deliver(), [1, 3], "what comes after it is not held up for ever");
    assert_eq!(acked(&mut world, conn), [3]);
    // Its copy was seen before.
    world.say_bytes(conn, &undecodable(2));
    assert_eq!(acked(&mut world, conn), [3]);
    assert_eq!(world.machine.stats().duplicates, 1);
    assert_eq!(world.machine.stats().protocol_errors, 2);
    assert_eq!(world.machine.stats().server_requests, 2);
}

#[test]
fn an_undecodable_request_before_the_session_is_confirmed_is_not_acknowledged() {
    let mut world = World::continuing(three());
    let conn = world.accept("node-2");
    let nonce = world.continue_nonce(conn);
    world.say_bytes(conn, &undecodable(1));
    world.say(conn, ServerMessage::SessionContinued { nonce });
    assert!(acked(&mut world, conn).is_empty());
    world.server_request(conn, 1, "x");
    assert_eq!(world.deliver(), [1]);
}

#[test]
fn the_tracker_survives_a_resume() {
    let mut world = World::stepped_down(three(), |world, conn| {
        for id in [1, 2, 4] {
            world.server_request(conn, id, "x");
        }
        let first = world.machine.poll_server_request().unwrap();
        world.machine.server_request_done(world.now, first.request_id);
    });
    // Delivery continues without a connection.
    assert_eq!(world.deliver(), [2]);
    let conn = world.accept("node-2");
    world.resume(conn);
    assert_eq!(acked(&mut world, conn), [2]);
    for id in [2, 3] {
        world.server_request(conn, id, "x");
    }
    assert_eq!(world.deliver(), [3, 4]);
    assert_eq!(acked(&mut world, conn), [4]);
}

#[test]
fn a_new_session_resets_the_tracker_and_drops_undelivered_requests() {
    let config = single().on_session_expired(OnSessionExpired::NewSession);
    let (mut world, conn) = World::connected(config);
    world.answer_keep_alive(conn);
    for id in 1..=3 {
        world.server_request(conn, id, "old");
    }
    let first = world.machine.poll_server_request().unwrap();
    world.closed(conn, SessionCloseReason::SessionExpired, None);
    assert!(world.deliver().is_empty());
    let conn = world.accept("node-1");
    world.create(conn);
    world.machine.server_request_done(world.now, first.request_id);
    assert!(acked(&mut world, conn).is_empty(), "it belongs to the old session");
    world.server_request(conn, 1, "new");
    assert_eq!(world.machine.poll_server_request().unwrap().payload, "new");
}

#[test]
fn delivered_requests_are_acknowledged_before_closing() {
    let (mut world, conn) = connected();
    world.server_request(conn, 1, "x");
    world.deliver();
    world.machine.disconnect(world.now, seconds(5));
    match &world.all_received(conn)[..] {
        [ClientMessage::ServerRequestAck { request_id }, ClientMessage::CloseSession { .. }] => {
            assert_eq!(request_id.get(), 1);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn acknowledgements_do_not_wait_for_requests_or_answers() {
    let (mut world, conn) = World::connected(single().max_in_flight(1));
    world.command("a");
    world.command("b");
    world.server_request(conn, 1, "x");
    world.deliver();
    assert_eq!(acked(&mut world, conn), [1]);
}

#[test]
fn a_server_request_shows_its_id_and_the_length_of_its_payload_only() {
    let (mut world, conn) = World::connected(single());
    world.server_request(conn, 1, "private words");
    let shown = format!("{:?}", world.machine.poll_server_request().unwrap());
    assert!(shown.contains("RequestId(1)") && shown.contains("13 bytes"), "{shown}");
    assert!(!shown.contains("private"), "{shown}");
}

#[test]
fn exactly_64_mebibytes_are_held_and_not_a_byte_more() {
    for (second, expected) in [(32 << 20, [1, 2].as_slice()), ((32 << 20) + 1, &[1])] {
        let (mut world, conn) = World::connected(single().max_message_size(80 << 20));
        large(&mut world, conn, 1, 32 << 20);
        large(&mut world, conn, 2, second);
        assert_eq!(world.deliver(), expected);
    }
}
