//! Time: what follows from a jump of the clock.

use std::time::Duration;

use crate::common::*;
use zraft_core::{ConnId, Event, Failure, RequestKind, StateName, Timeout};
use zraft_protocol::{ClientMessage, ServerMessage};

/// Puts an answer into the socket's buffer while the process is stopped.
fn answered_meanwhile(world: &mut World, conn: ConnId, messages: &[ServerMessage]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for message in messages {
        let mut frame = Vec::new();
        message.encode(&mut frame);
        bytes.push(0);
        bytes.push(u8::try_from(frame.len()).unwrap());
        bytes.extend_from_slice(&frame);
    }
    assert!(!world.peer(conn).closed);
    bytes
}

fn response(id: u64) -> ServerMessage {
    ServerMessage::ClientResponse { request_id: request(id), result: payload("r") }
}

#[test]
fn the_wall_clock_fills_timestamps_and_nothing_else() {
    let (mut world, conn) = World::connected(single());
    world.wall = 1_000;
    world.command("a");
    world.wall = -5_000;
    world.query("b");
    let times: Vec<i64> = world
        .all_received(conn)
        .iter()
        .filter_map(|message| match message {
            ClientMessage::ClientRequest { created_at, .. }
            | ClientMessage::Query { created_at, .. } => Some(created_at.as_millis()),
            _ => None,
        })
        .collect();
    assert_eq!(times, [1_000, -5_000]);
    world.wall = i64::MAX;
    world.advance(Duration::ZERO);
    assert!(world.completions.is_empty());
    assert_eq!(world.state(), StateName::Connected);
}

#[test]
fn a_resumed_process_finds_answers_rather_than_timeouts() {
    let (mut world, conn) = World::connected(three());
    let keys: Vec<_> = (0..3).map(|_| world.command("x")).collect();
    let bytes = answered_meanwhile(&mut world, conn, &[response(1), response(2)]);
    world.sleep(seconds(60));
    // The driver reads everything available, then passes the time.
    world.arrive(conn, &bytes);
    world.wake();
    for key in &keys[..2] {
        assert_eq!(world.result(*key), Some(Ok("r".into())));
    }
    assert_eq!(world.result(keys[2]), None, "not yet: the connection is probed first");
    assert_eq!(world.state(), StateName::Connected);
}

#[test]
fn after_a_jump_the_connection_is_probed_at_once_and_deadlines_fire_after_the_probes_answer() {
    let (mut world, conn) = World::connected(three());
    let key = world.command("x");
    world.all_received(conn);
    world.sleep(seconds(60));
    world.wake();
    let timestamp = match world.received(conn) {
        Some(ClientMessage::KeepAlive { timestamp }) => timestamp,
        other => panic!("{other:?}"),
    };
    world.advance(millis(300));
    assert_eq!(world.result(key), None);
    world.say(conn, ServerMessage::KeepAliveResponse { timestamp });
    world.advance(millis(1));
    assert!(matches!(world.result(key), Some(Err(Failure::Timeout { sent: true, .. }))));
}

#[test]
fn without_the_probes_answer_deadlines_fire_after_a_second() {
    let (mut world, conn) = World::connected(three());
    let key = world.command("x");
    world.sleep(seconds(60));
    world.wake();
    world.advance(millis(999));
    assert_eq!(world.result(key), None);
    // An answer that comes in this second is not too late.
    let other = world.command("y");
    world.answer(conn, 2, "r");
    assert_eq!(world.result(other), Some(Ok("r".into())));
    world.advance(millis(1));
    assert!(matches!(world.result(key), Some(Err(Failure::Timeout { .. }))));
}

#[test]
fn while_there_is_no_connection_deadlines_fire_a_second_after_a_jump_too() {
    let mut world = World::continuing(three());
    let key = world.command("x");
    world.sleep(seconds(60));
    world.wake();
    assert_eq!(world.result(key), None);
    world.advance(seconds(1));
    assert_eq!(world.result(key), Some(Err(Failure::Timeout { id: None, sent: false })));
}

#[test]
fn a_delay_of_up_to_a_second_is_not_a_jump() {
    let (mut world, _) = World::connected(three());
    let key = world.submit(RequestKind::Command, "x", Timeout::After(millis(400)));
    world.advance(millis(399));
    world.sleep(seconds(1));
    world.wake();
    assert!(matches!(world.result(key), Some(Err(Failure::Timeout { .. }))));
}

#[test]
fn after_a_jump_the_heartbeat_starts_again() {
    let (mut world, conn) = World::connected(three());
    world.sleep(seconds(3_600));
    world.wake();
    assert_eq!(world.state(), StateName::Connected);
    // A peer that is really unreachable is noticed later.
    world.peer(conn).frozen = true;
    world.advance(seconds(12));
    assert_ne!(world.state(), StateName::Connected);
}

#[test]
fn after_a_jump_the_wait_for_a_keep_alive_starts_again() {
    let (mut world, _) = World::connected(three());
    world.machine.ping(world.now);
    world.pump();
    world.sleep(seconds(60));
    world.wake();
    assert_eq!(world.state(), StateName::Connected);
    world.advance(millis(4_999));
    assert_eq!(world.state(), StateName::Connected);
    world.advance(millis(1));
    assert_ne!(world.state(), StateName::Connected);
}

#[test]
fn after_a_jump_the_waits_for_silence_and_resends_start_again() {
    let (mut world, conn) = World::connected(three());
    world.peer(conn).answers_keep_alives = true;
    world.submit(RequestKind::Command, "x", Timeout::Never);
    world.all_received(conn);
    world.advance(seconds(2));
    world.sleep(seconds(60));
    world.wake();
    world.advance(millis(2_999));
    assert!(command_ids(&world.all_received(conn)).is_empty());
    world.advance(millis(400));
    assert_eq!(command_ids(&world.all_received(conn)), [1]);
    world.advance(millis(2_500));
    assert_eq!(world.state(), StateName::Connected);
    world.advance(millis(200));
    assert_ne!(world.state(), StateName::Connected, "silent for six seconds");
}

#[test]
fn after_a_jump_an_attempt_starts_again() {
    let mut world = World::new(three());
    world.connect();
    let conn = world.accept("node-1");
    let nonce = world.create_nonce(conn);
    world.sleep(seconds(60));
    world.wake();
    assert!(!world.peer(conn).closed);
    world.advance(millis(4_999));
    assert!(!world.peer(conn).closed);
    world.say(conn, ServerMessage::SessionCreated { session_id: session(), nonce });
    assert_eq!(world.state(), StateName::Connected);
}

#[test]
fn after_a_jump_the_wait_for_session_created_is_as_long_as_before() {
    let mut world = World::new(single());
    world.connect();
    let conn = world.accept("node-1");
    world.create_nonce(conn);
    world.advance(seconds(5));
    world.next_asked(seconds(1));
    let conn = world.accept("node-1");
    world.create_nonce(conn);
    world.advance(seconds(2));
    world.sleep(seconds(60));
    world.wake();
    world.advance(millis(19_999));
    assert!(!world.peer(conn).closed);
    world.advance(millis(1));
    assert!(world.peer(conn).closed);
}

#[test]
fn an_answer_found_after_a_jump_is_not_a_sample() {
    let (mut world, conn) = World::connected(three());
    world.command("x");
    world.advance(millis(20));
    world.answer(conn, 1, "");
    let before = world.machine.stats().smoothed_answer;
    world.submit(RequestKind::Command, "x", Timeout::Never);
    let bytes = answered_meanwhile(&mut world, conn, &[response(2)]);
    world.sleep(seconds(600));
    world.arrive(conn, &bytes);
    world.wake();
    assert_eq!(world.machine.stats().answered, 2);
    assert_eq!(world.machine.stats().smoothed_answer, before);
}

#[test]
fn suspended_time_counts_for_the_expiry_of_the_session() {
    let mut world = World::continuing(three());
    world.sleep(seconds(91));
    world.wake();
    let conn = world.accept("node-2");
    let nonce = world.continue_nonce(conn);
    world.reject(conn, nonce, zraft_protocol::RejectionReason::SessionExpired, None);
    assert_eq!(world.count_events(|event| matches!(event, Event::SessionExpired { .. })), 1);
}

#[test]
fn available_bytes_are_read_before_a_timer_fires() {
    let (mut world, conn) = World::connected(three());
    world.machine.ping(world.now);
    let timestamp = match world.received(conn) {
        Some(ClientMessage::KeepAlive { timestamp }) => timestamp,
        other => panic!("{other:?}"),
    };
    // The answer is in the socket when the wait ends.
    world.now = world.now + seconds(5);
    world.say(conn, ServerMessage::KeepAliveResponse { timestamp });
    world.wake();
    assert_eq!(world.state(), StateName::Connected);
}

#[test]
fn keep_alives_go_ahead_of_queued_work() {
    let (mut world, conn) = World::connected(single());
    world.peer(conn).frozen = true;
    for _ in 0..10 {
        world.command(&"x".repeat(100 << 10));
    }
    world.machine.ping(world.now);
    let wall = zraft_protocol::Timestamp::from_millis(0);
    world.machine.transmit(world.now, wall, conn);
    world.peer(conn).frozen = false;
    let messages = world.all_received(conn);
    let place = messages.iter().position(|m| matches!(m, ClientMessage::KeepAlive { .. }));
    assert!(place.unwrap() <= 3, "{place:?}");
    assert_eq!(command_ids(&messages).len(), 10);
}

#[test]
fn a_submit_after_a_long_pause_is_not_a_jump() {
    // Nothing was due for an hour, so no wake was late.
    let mut world = World::new(three());
    world.sleep(seconds(3_600));
    world.connect();
    let key = world.submit(RequestKind::Command, "x", Timeout::After(seconds(7)));
    world.wake();
    world.advance(millis(6_999));
    assert_eq!(world.result(key), None);
    world.advance(millis(1));
    assert!(world.result(key).is_some(), "its deadline is not put off");
    // The same in every pause between two rounds.
    for pause in (100..5_000).step_by(300) {
        let mut world = World::continuing(three());
        world.submit(RequestKind::Command, "far away", Timeout::After(seconds(80_000)));
        let mut waited = std::time::Duration::ZERO;
        while waited < seconds(4) {
            let member = world.next_asked(seconds(10)).0;
            world.refuse(&member);
            waited = world.machine.poll_timeout().unwrap() - world.now;
        }
        let part = millis(pause).min(waited);
        world.sleep(part);
        let key = world.submit(RequestKind::Command, "x", Timeout::After(millis(1)));
        world.wake();
        // A deadline is rounded up to a whole millisecond, and the pause ended within one.
        world.sleep(millis(2));
        world.wake();
        assert!(world.result(key).is_some(), "after {part:?}");
    }
}

#[test]
fn after_a_jump_requests_in_flight_get_a_new_resend_timeout() {
    let (mut world, conn) = World::connected(three());
    world.answers_keep_alives = true;
    world.command("answered: the connection is not barren");
    world.answer(conn, 1, "");
    world.submit(RequestKind::Command, "x", Timeout::Never);
    world.reset(conn);
    let conn = world.resumed();
    assert!(command_ids(&world.all_received(conn)).is_empty());
    world.sleep(seconds(60));
    world.wake();
    world.advance(millis(49));
    assert!(command_ids(&world.all_received(conn)).is_empty(), "its answer may be on its way");
    world.advance(millis(1));
    assert_eq!(command_ids(&world.all_received(conn)), [2]);
}

#[test]
fn only_the_probes_answer_ends_the_grace() {
    let (mut world, conn) = World::connected(three());
    let key = world.command("x");
    world.machine.ping(world.now);
    let keep_alive = |world: &mut World| {
        let messages = world.all_received(conn);
        messages.into_iter().find_map(|message| match message {
            ClientMessage::KeepAlive { timestamp } => Some(timestamp),
            _ => None,
        })
    };
    let before = keep_alive(&mut world).unwrap();
    world.sleep(seconds(60));
    world.wake();
    let probe = keep_alive(&mut world).unwrap();
    // Answers from before the jump may still come, one read after the other.
    world.say(conn, ServerMessage::KeepAliveResponse { timestamp: before });
    let nothing = zraft_protocol::Timestamp::from_millis(7);
    world.say(conn, ServerMessage::KeepAliveResponse { timestamp: nothing });
    world.advance(millis(1));
    assert_eq!(world.result(key), None, "the probe was not answered yet");
    world.say(conn, ServerMessage::KeepAliveResponse { timestamp: probe });
    world.advance(millis(1));
    assert!(matches!(world.result(key), Some(Err(Failure::Timeout { sent: true, .. }))));
}

#[test]
fn a_wake_more_than_a_second_late_is_a_jump() {
    for (late, jumped) in [(seconds(1), false), (seconds(1) + Duration::from_nanos(1), true)] {
        let (mut world, conn) = World::connected(three());
        let key = world.submit(RequestKind::Command, "x", Timeout::After(millis(300)));
        world.all_received(conn);
        let told = world.machine.poll_timeout().unwrap();
        world.sleep(told - world.now + late);
        world.wake();
        assert_eq!(world.result(key).is_none(), jumped, "{late:?}");
        assert_eq!(keep_alives(&world.all_received(conn)), usize::from(jumped), "{late:?}");
    }
}

#[test]
fn after_a_jump_the_next_keep_alive_goes_an_interval_after_the_probe() {
    let (mut world, conn) = World::connected(three().keep_alive_interval(seconds(10)));
    world.peer(conn).answers_keep_alives = true;
    world.sleep(seconds(6));
    world.wake();
    assert_eq!(world.peer(conn).keep_alives, 1, "the probe");
    world.advance(millis(9_999));
    assert_eq!(world.peer(conn).keep_alives, 1);
    world.advance(millis(1));
    assert_eq!(world.peer(conn).keep_alives, 2);
}

#[test]
fn after_a_jump_a_paused_wait_is_not_longer() {
    let config = three().heartbeat_interval(seconds(600)).heartbeat_timeout(seconds(600));
    let (mut world, conn) = World::connected(config);
    world.answer_keep_alive(conn);
    world.machine.ping(world.now);
    world.pump();
    // Part of an answer is there for four seconds.
    let mut head = vec![2];
    head.extend_from_slice(&(1_u64 << 20).to_be_bytes());
    world.raw(conn, &head);
    for _ in 0..8 {
        world.advance(millis(500));
        world.raw(conn, &[0; 512]);
    }
    world.sleep(seconds(60));
    world.wake();
    world.advance(millis(4_999));
    assert_eq!(world.state(), StateName::Connected);
    world.advance(millis(1));
    assert_ne!(world.state(), StateName::Connected);
}

#[test]
fn keep_alives_go_while_the_application_takes_no_events() {
    let config = three().keep_alive_interval(seconds(10)).max_server_requests(2);
    let (mut world, conn) = World::connected(config);
    world.peer(conn).answers_keep_alives = true;
    for id in 1..=5 {
        world.server_request(conn, id, "not taken");
    }
    for round in 1..=3 {
        let before = world.peer(conn).keep_alives;
        world.advance(seconds(10));
        assert_eq!(world.peer(conn).keep_alives - before, 1, "{round}");
    }
    assert_eq!(world.state(), StateName::Connected);
}

#[test]
fn after_a_jump_nothing_is_resent_before_everything_is_read_and_the_timers_start_again() {
    let (mut world, conn) = World::connected(three());
    world.answers_keep_alives = true;
    for _ in 0..2 {
        world.submit(RequestKind::Command, "x", Timeout::Never);
    }
    world.answer(conn, 1, "");
    world.reset(conn);
    let conn = world.resumed();
    assert!(command_ids(&world.all_received(conn)).is_empty(), "its answer comes by itself");
    world.sleep(seconds(60));
    // A driver that reads in parts writes between them.
    world.arrive(conn, b"\x04\x05\x04PONG");
    assert!(command_ids(&world.all_received(conn)).is_empty(), "it may be in the next part");
    world.wake();
    assert_eq!(world.peer(conn).keep_alives, 1, "probed at once");
    world.advance(millis(49));
    assert!(command_ids(&world.all_received(conn)).is_empty());
    world.advance(millis(1));
    assert_eq!(command_ids(&world.all_received(conn)), [2]);
}

#[test]
fn after_a_jump_the_connection_is_probed_although_the_due_request_is_answered() {
    let config = single().heartbeat_interval(seconds(600)).heartbeat_timeout(seconds(600));
    let (mut world, conn) = World::connected(config);
    let key = world.submit(RequestKind::Command, "x", Timeout::Never);
    world.all_received(conn);
    let bytes = answered_meanwhile(&mut world, conn, &[response(1)]);
    // Its resend was due after three seconds, and nothing else until the next KeepAlive.
    world.sleep(seconds(5));
    world.arrive(conn, &bytes);
    assert!(world.machine.poll_timeout().is_some_and(|at| at <= world.now));
    world.wake();
    assert_eq!(world.result(key), Some(Ok("r".into())));
    assert_eq!(keep_alives(&world.all_received(conn)), 1);
}
