//! Whether the member still serves: KeepAlives and deaf members, silent members, and doubtful expiry.

use std::time::Duration;

use crate::common::*;
use zraft_core::{
    ConfigBuilder, ConnId, DisconnectReason, Event, Failure, RequestKind, StateName, Timeout,
};
use zraft_protocol::{
    ClientMessage, RejectionReason, ServerMessage, SessionCloseReason, Timestamp,
};

fn heard(config: ConfigBuilder) -> (World, ConnId) {
    let (mut world, conn) = World::connected(config);
    world.answer_keep_alive(conn);
    world.completions.clear();
    (world, conn)
}

fn command(world: &mut World) {
    world.submit(RequestKind::Command, "x", Timeout::Never);
}

fn moved(world: &World) -> bool {
    world.state() != StateName::Connected
}

fn keep_alive(world: &mut World, conn: ConnId) -> Timestamp {
    match world.received(conn) {
        Some(ClientMessage::KeepAlive { timestamp }) => timestamp,
        other => panic!("{other:?}"),
    }
}

// ---- deaf members

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

// ---- silent members

/// Returns a world whose members answer KeepAlives and nothing else.
fn silent(config: ConfigBuilder) -> (World, ConnId) {
    let (mut world, conn) = World::connected(config);
    world.answers_keep_alives = true;
    world.peer(conn).answers_keep_alives = true;
    (world, conn)
}

#[test]
fn a_member_that_answers_keep_alives_but_no_request_is_left_after_two_resend_intervals() {
    let (mut world, _) = silent(three());
    command(&mut world);
    let took = world.advance_until(seconds(30), moved);
    assert_eq!(took, seconds(6));
    assert_eq!(world.disconnect_reason(), Some(DisconnectReason::Silent));
    assert_eq!(world.asks().as_deref(), Some("node-2"));
}

#[test]
fn silence_is_waited_out_for_four_smoothed_answer_times_when_that_is_longer() {
    let (mut world, conn) = silent(three());
    command(&mut world);
    world.advance(millis(2_500));
    world.answer(conn, 1, "");
    command(&mut world);
    let took = world.advance_until(seconds(30), moved);
    assert_eq!(took, seconds(10));
}

#[test]
fn an_answer_restarts_the_wait_for_silence_and_an_empty_window_ends_it() {
    let (mut world, conn) = silent(three());
    for _ in 0..2 {
        command(&mut world);
    }
    world.advance(seconds(5));
    world.answer(conn, 1, "");
    world.advance(seconds(5));
    assert!(!moved(&world));
    world.answer(conn, 2, "");
    world.advance(seconds(300));
    assert!(!moved(&world), "an idle connection is not silent");
}

#[test]
fn the_wait_for_silence_doubles_with_each_fruitless_move_to_60_s() {
    let (mut world, _) = silent(three());
    command(&mut world);
    let mut waits = Vec::new();
    for _ in 0..6 {
        let took = world.advance_until(seconds(90), moved);
        waits.push(took);
        world.events.clear();
        let conn = world.resumed();
        let sent = !world.all_received(conn).is_empty();
        assert!(sent, "it goes at once");
    }
    assert_eq!(waits, [6, 12, 24, 48, 60, 60].map(seconds));
}

#[test]
fn an_answer_resets_the_wait_for_silence() {
    let (mut world, _) = silent(three());
    command(&mut world);
    for _ in 0..2 {
        world.advance_until(seconds(90), moved);
        world.resumed();
    }
    let conn = world.peers.last().unwrap().conn;
    world.answer(conn, 1, "");
    command(&mut world);
    let took = world.advance_until(seconds(90), moved);
    assert_eq!(took, seconds(6));
}

#[test]
fn a_lone_member_is_not_left_for_its_silence() {
    let (mut world, _) = silent(single());
    command(&mut world);
    world.advance(seconds(600));
    assert!(!moved(&world));
    assert!(world.machine.stats().resent > 5);
}

#[test]
fn while_a_keep_alive_is_unanswered_a_member_does_not_count_as_silent() {
    let (mut world, conn) = silent(three());
    command(&mut world);
    world.advance(millis(100));
    // The first KeepAlive is still answered, the probe is not.
    world.machine.ping(world.now);
    world.pump();
    world.peer(conn).answers_keep_alives = false;
    let took = world.advance_until(seconds(30), moved);
    assert_eq!(world.disconnect_reason(), Some(DisconnectReason::KeepAliveTimeout));
    assert_eq!(took, seconds(8));
}

#[test]
fn a_keep_alive_response_never_ends_the_wait_for_silence() {
    let (mut world, _) = silent(three());
    command(&mut world);
    for _ in 0..5 {
        world.machine.ping(world.now);
        world.advance(seconds(1));
    }
    assert!(!moved(&world));
    world.advance(seconds(1));
    assert!(moved(&world));
}

// ---- doubtful expiry

/// The member being asked denies the session.
fn deny(world: &mut World) {
    let (member, _) = world.next_asked(seconds(10));
    let conn = world.accept(&member);
    let nonce = world.continue_nonce(conn);
    world.reject(conn, nonce, RejectionReason::SessionExpired, None);
}

fn expired(world: &World) -> bool {
    world.count_events(|event| matches!(event, Event::SessionExpired { .. })) > 0
}

fn deny_until_expired(world: &mut World) -> Duration {
    let start = world.now;
    while !expired(world) {
        if world.asks().is_some() {
            deny(world);
        } else {
            let step = world.machine.poll_timeout().unwrap() - world.now;
            world.advance(step);
        }
        assert!(world.now - start < seconds(200));
    }
    world.now - start
}

#[test]
fn after_a_denial_the_other_members_are_asked_for_the_session() {
    let mut world = World::continuing(three());
    for _ in 0..7 {
        deny(&mut world);
        assert_eq!(world.state(), StateName::ConnectingExistingSession);
    }
    let conn = world.resumed();
    world.command("x");
    assert_eq!(command_ids(&world.all_received(conn)), [1]);
    assert!(!expired(&world));
}

#[test]
fn a_denied_session_has_expired_when_the_session_timeout_has_passed_since_the_last_proof() {
    let mut world = World::continuing(three());
    let key = world.submit(RequestKind::Command, "x", Timeout::Never);
    let took = deny_until_expired(&mut world);
    assert_eq!(took, seconds(90));
    assert_eq!(world.state(), StateName::Disconnected);
    let failure = Failure::SessionExpired { session_id: Some(session()), sent: false };
    assert_eq!(world.result(key), Some(Err(failure)));
}

#[test]
fn a_keep_alive_response_is_a_proof_and_an_answer_to_a_command_is_none() {
    for (keep_alive, expected) in [(true, 70), (false, 50)] {
        let (mut world, conn) = World::connected(three());
        world.answers_keep_alives = false;
        world.advance(seconds(20));
        if keep_alive {
            world.answer_keep_alive(conn);
        }
        world.advance(seconds(10));
        world.command("x");
        world.answer(conn, 1, "");
        world.advance(seconds(10));
        world.closed(conn, SessionCloseReason::NotLeaderAnymore, None);
        let took = deny_until_expired(&mut world);
        assert_eq!(took, seconds(expected));
    }
}

#[test]
fn a_denial_is_believed_at_once_when_the_session_timeout_has_passed() {
    let mut world = World::continuing(three());
    let start = world.now;
    // No member answers for a minute and a half; the client concludes nothing from that.
    while world.now - start < seconds(91) {
        if let Some(member) = world.asks() {
            world.refuse(&member);
        } else {
            world.next_asked(seconds(10));
        }
    }
    assert_eq!(world.state(), StateName::ConnectingExistingSession);
    deny(&mut world);
    assert!(expired(&world));
    assert_eq!(world.state(), StateName::Disconnected);
}

#[test]
fn a_session_continued_after_a_denial_is_no_longer_doubtful() {
    let mut world = World::continuing(three());
    deny(&mut world);
    let conn = world.resumed();
    world.answer_keep_alive(conn);
    world.closed(conn, SessionCloseReason::NotLeaderAnymore, None);
    let start = world.now;
    while world.now - start < seconds(95) {
        if let Some(member) = world.asks() {
            world.refuse(&member);
        } else {
            world.next_asked(seconds(10));
        }
    }
    assert_eq!(world.state(), StateName::ConnectingExistingSession);
}

#[test]
fn a_lone_member_is_believed_when_it_says_so_again_at_least_5_s_later() {
    let mut world = World::continuing(single());
    let first = {
        deny(&mut world);
        world.now
    };
    while world.now - first < seconds(5) {
        assert!(!expired(&world));
        deny(&mut world);
    }
    assert!(expired(&world));
    assert!(world.now - first < seconds(6));
    assert_eq!(world.state(), StateName::Disconnected);
}

#[test]
fn session_closed_with_session_expired_is_believed_at_once() {
    let (mut world, conn) = World::connected(three());
    world.closed(conn, SessionCloseReason::SessionExpired, None);
    assert!(expired(&world));
    assert_eq!(world.state(), StateName::Disconnected);
}

#[test]
fn one_keep_alive_answered_after_the_requests_is_proof_enough_of_a_silent_member() {
    let (mut world, conn) = silent(three());
    command(&mut world);
    world.advance_until(seconds(30), moved);
    assert_eq!(world.peer(conn).keep_alives, 1);
}

#[test]
fn requests_without_a_waiting_caller_do_not_make_a_member_silent() {
    let (mut world, conn) = silent(three().keep_alive_interval(seconds(5)));
    world.submit(RequestKind::Query, "x", Timeout::After(seconds(1)));
    world.advance(seconds(60));
    assert_eq!(world.state(), StateName::Connected);
    assert!(!world.peer(conn).closed);
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

#[test]
fn a_wait_for_silence_above_60_s_does_not_double() {
    let (mut world, _) = silent(three().resend_interval(seconds(40)));
    command(&mut world);
    for _ in 0..3 {
        let took = world.advance_until(seconds(200), moved);
        assert_eq!(took, seconds(80));
        let conn = world.resumed();
        world.all_received(conn);
    }
}

#[test]
fn a_connection_lost_for_another_reason_does_not_lengthen_the_wait_for_silence() {
    let (mut world, mut conn) = silent(three());
    command(&mut world);
    for _ in 0..3 {
        world.advance(seconds(5));
        world.closed(conn, SessionCloseReason::NotLeaderAnymore, None);
        conn = world.resumed();
        assert!(!command_ids(&world.all_received(conn)).is_empty());
    }
    let took = world.advance_until(seconds(90), moved);
    assert_eq!(took, seconds(6));
}
