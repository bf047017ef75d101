//! Whether the member still reads: KeepAlives, their answers, and deaf members.

use crate::common::*;
use zraft_core::{
    ConfigBuilder, ConnId, DisconnectReason, Failure, RequestKind, StateName, Timeout,
};
use zraft_protocol::{ClientMessage, ServerMessage, Timestamp};

fn heard(config: ConfigBuilder) -> (World, ConnId) {
    let (mut world, conn) = World::connected(config);
    world.answer_keep_alive(conn);
    world.completions.clear();
    (world, conn)
}

pub(crate) fn command(world: &mut World) {
    world.submit(RequestKind::Command, "x", Timeout::Never);
}

pub(crate) fn moved(world: &World) -> bool {
    world.state() != StateName::Connected
}

fn keep_alive(world: &mut World, conn: ConnId) -> Timestamp {
    match world.received(conn) {
        Some(ClientMessage::KeepAlive { timestamp }) => timestamp,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_keep_alive_goes_every_interval_whatever_else_happens() {
    let (mut world, conn) = World::connected(single().keep_alive_interval(seconds(10)));
    world.peer(conn).answers_keep_alives = true;
    for round in 1..=6 {
        // Answers and server requests do not replace a KeepAlive.
        for _ in 0..10 {
            world.command("x");
            for id in command_ids(&world.all_received(conn)) {
                world.answer(conn, id, "");
            }
            world.advance(seconds(1));
        }
        assert_eq!(world.peer(conn).keep_alives, round);
    }
}

#[test]
fn an_unanswered_keep_alive_loses_the_connection_and_the_next_member_is_asked() {
    let (mut world, conn) = heard(three().connection_timeout(seconds(2)));
    world.machine.ping(world.now);
    world.advance(millis(1_999));
    assert!(!moved(&world));
    world.advance(millis(1));
    assert_eq!(world.disconnect_reason(), Some(DisconnectReason::KeepAliveTimeout));
    assert!(world.peer(conn).closed);
    assert_eq!(world.asks().as_deref(), Some("node-2"));
}

#[test]
fn the_wait_for_an_answer_starts_when_the_socket_has_taken_the_keep_alives_last_byte() {
    let (mut world, conn) = heard(three().heartbeat_timeout(seconds(60)));
    world.peer(conn).frozen = true;
    world.machine.ping(world.now);
    let wall = Timestamp::from_millis(0);
    assert!(world.machine.transmit(world.now, wall, conn).is_some());
    world.advance(seconds(20));
    assert!(!moved(&world), "it is not written yet");
    world.peer(conn).frozen = false;
    world.pump();
    world.advance(millis(4_999));
    assert!(!moved(&world));
    world.advance(millis(1));
    assert!(moved(&world));
}

/// Returns a configuration without heartbeats, whose PONGs would fall into the frames that these tests make by hand.
fn quiet() -> ConfigBuilder {
    three().heartbeat_interval(seconds(600)).heartbeat_timeout(seconds(600))
}

/// Returns the head of a ZMTP frame of this length that contains a ClientResponse.
fn long_frame(length: u64) -> Vec<u8> {
    let mut bytes = vec![2];
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(b"zraft\x01\x06");
    bytes.extend_from_slice(&1_u64.to_be_bytes());
    bytes
}

#[test]
fn the_wait_for_an_answer_pauses_while_bytes_of_a_message_arrive() {
    let (mut world, conn) = heard(quiet());
    world.machine.ping(world.now);
    world.pump();
    world.raw(conn, &long_frame(1 << 20));
    for _ in 0..40 {
        world.advance(millis(500));
        world.raw(conn, &[0; 512]);
        assert!(!moved(&world));
    }
    // The bytes stop: the rest of the wait begins.
    world.advance(millis(4_400));
    assert!(!moved(&world));
    world.advance(millis(700));
    assert!(moved(&world));
}

#[test]
fn pongs_do_not_pause_the_wait_for_an_answer() {
    let (mut world, _) = heard(three());
    world.machine.ping(world.now);
    // The member's ZMTP answers a PING every second.
    world.advance(millis(4_999));
    assert!(!moved(&world));
    world.advance(millis(1));
    assert!(moved(&world));
}

#[test]
fn each_keep_alive_has_its_own_wait() {
    let (mut world, conn) = heard(three());
    world.machine.ping(world.now);
    let first = keep_alive(&mut world, conn);
    world.advance(seconds(4));
    world.machine.ping(world.now);
    let second = keep_alive(&mut world, conn);
    world.say(conn, ServerMessage::KeepAliveResponse { timestamp: first });
    world.advance(millis(4_999));
    assert!(!moved(&world));
    world.advance(millis(1));
    assert!(moved(&world), "{second:?} was not answered");
}

#[test]
fn bytes_of_a_message_pause_the_wait_of_every_keep_alive_behind_them() {
    let (mut world, conn) = heard(quiet());
    world.machine.ping(world.now);
    let first = keep_alive(&mut world, conn);
    world.advance(seconds(1));
    world.machine.ping(world.now);
    keep_alive(&mut world, conn);
    // Nine seconds of one long answer, then the answer to the first KeepAlive.
    world.raw(conn, &long_frame(18 * 512 + 15));
    for _ in 0..18 {
        world.advance(millis(500));
        world.raw(conn, &[0; 512]);
    }
    world.say(conn, ServerMessage::KeepAliveResponse { timestamp: first });
    assert!(!moved(&world));
    world.advance(seconds(3));
    assert!(!moved(&world), "the second has waited for four seconds beside those");
    world.advance(seconds(2));
    assert!(moved(&world));
}

#[test]
fn a_keep_alive_goes_when_a_request_has_waited_a_resend_timeout_without_any_answer() {
    let (mut world, conn) = World::connected(three());
    command(&mut world);
    world.advance(millis(2_999));
    assert_eq!(keep_alives(&world.all_received(conn)), 0);
    world.advance(millis(1));
    assert_eq!(keep_alives(&world.all_received(conn)), 1);
}

#[test]
fn answers_hold_the_probe_back() {
    let (mut world, conn) = World::connected(three());
    command(&mut world);
    for id in 1..=20 {
        world.advance(millis(500));
        command(&mut world);
        world.answer(conn, id, "");
        assert_eq!(keep_alives(&world.all_received(conn)), 0, "{id}");
    }
    world.advance(millis(2_999));
    assert_eq!(keep_alives(&world.all_received(conn)), 0);
    world.advance(millis(1));
    assert_eq!(keep_alives(&world.all_received(conn)), 1);
}

#[test]
fn a_deaf_member_with_a_request_in_flight_is_found_by_the_probe() {
    let (mut world, conn) = World::connected(three());
    command(&mut world);
    let took = world.advance_until(seconds(60), moved);
    assert_eq!(took, seconds(8), "a resend timeout, then the wait for the keep-alive");
    assert_eq!(world.disconnect_reason(), Some(DisconnectReason::KeepAliveTimeout));
    assert!(world.peer(conn).closed);
}

#[test]
fn an_unsolicited_keep_alive_response_ends_no_wait() {
    let (mut world, conn) = heard(three());
    world.machine.ping(world.now);
    let timestamp = keep_alive(&mut world, conn);
    for other in [0, 1, timestamp.as_millis() + 1] {
        let timestamp = Timestamp::from_millis(other);
        world.say(conn, ServerMessage::KeepAliveResponse { timestamp });
    }
    world.advance(seconds(5));
    assert!(moved(&world));
}

#[test]
fn keep_alives_of_the_same_millisecond_are_distinguished() {
    let (mut world, conn) = heard(three());
    let first = world.machine.ping(world.now);
    let first_timestamp = keep_alive(&mut world, conn);
    let second = world.machine.ping(world.now);
    let second_timestamp = keep_alive(&mut world, conn);
    assert_ne!(first_timestamp, second_timestamp);
    world.say(conn, ServerMessage::KeepAliveResponse { timestamp: first_timestamp });
    let answered = |world: &World, wanted| {
        world.completions.iter().any(|completion| {
            matches!(completion, zraft_core::Completion::Ping { key, result: Ok(_) } if *key == wanted)
        })
    };
    assert!(answered(&world, first) && !answered(&world, second));
}

#[test]
fn a_ping_fails_when_not_connected_or_when_the_connection_ends() {
    let mut world = World::new(three());
    let key = world.machine.ping(world.now);
    world.pump();
    let failed = zraft_core::Completion::Ping { key, result: Err(Failure::NotConnected) };
    assert!(world.completions.contains(&failed));
    let (mut world, conn) = heard(three());
    world.machine.ping(world.now);
    world.reset(conn);
    let failed = world.completions.iter().filter(|completion| {
        matches!(completion, zraft_core::Completion::Ping { result: Err(_), .. })
    });
    assert_eq!(failed.count(), 1);
}

#[test]
fn the_probe_waits_for_four_smoothed_answer_times_when_that_is_longer() {
    let (mut world, conn) = World::connected(three());
    command(&mut world);
    world.advance(millis(2_500));
    world.answer(conn, 1, "");
    command(&mut world);
    world.all_received(conn);
    world.advance(millis(9_999));
    assert_eq!(keep_alives(&world.all_received(conn)), 0);
    world.advance(millis(1));
    assert_eq!(keep_alives(&world.all_received(conn)), 1);
}
