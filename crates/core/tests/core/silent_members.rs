//! Members that answer KeepAlives and no request.

use crate::common::*;
use crate::liveness::{command, moved};
use zraft_core::{ConfigBuilder, ConnId, DisconnectReason, RequestKind, StateName, Timeout};
use zraft_protocol::SessionCloseReason;

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
