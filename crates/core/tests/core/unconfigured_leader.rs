//! A leader that is not among the configured members: the error of connect() names it.

use crate::common::rounds::{redirect, refuse};
use crate::common::*;
use zraft_core::{ConnectKey, ConnectionCause, Event, Failure};
use zraft_protocol::{MemberId, SessionCloseReason};

/// Returns a client that has asked the first of three members, and a connect() call that waits for a second.
fn connecting() -> (World, ConnectKey) {
    let mut world = World::new(three());
    let key = world.machine.connect(world.now, Some(seconds(1)));
    world.pump();
    (world, key)
}

fn not_configured(leader: &str) -> ConnectionCause {
    ConnectionCause::LeaderNotConfigured { leader_id: MemberId::new(leader).unwrap() }
}

/// Returns why connect() failed, and at which endpoint.
#[track_caller]
fn connect_error(world: &mut World, key: ConnectKey) -> (Option<String>, ConnectionCause) {
    world.advance(seconds(1));
    match world.connect_result(key) {
        Some(Err(Failure::Connection { endpoint, cause })) => (endpoint, cause),
        other => panic!("{other:?}"),
    }
}

fn endpoint_of(member: usize) -> Option<String> {
    Some(three().build().unwrap().members()[member].endpoint.to_string())
}

/// Waits until the next round begins. The present one must have ended.
fn next_round(world: &mut World) {
    assert_eq!(world.asks(), None, "the round goes on");
    world.advance_until(seconds(1), |world| world.opening().is_some());
}

#[test]
fn a_failed_connect_names_the_leader_that_is_not_configured() {
    let (mut world, key) = connecting();
    for _ in 0..3 {
        redirect(&mut world, Some("node-4"));
    }
    let (endpoint, cause) = connect_error(&mut world, key);
    assert_eq!((endpoint, cause.clone()), (endpoint_of(2), not_configured("node-4")));
    assert_eq!(
        cause.to_string(),
        "the leader is node-4, which is not configured: add it and its client endpoint to the members"
    );
}

#[test]
fn the_event_of_an_attempt_names_the_unconfigured_leader() {
    let (mut world, _) = connecting();
    redirect(&mut world, Some("node-4"));
    let cause = not_configured("node-4");
    let is_told =
        |event: &Event| matches!(event, Event::ConnectionFailure { error, .. } if *error == cause);
    assert_eq!(world.count_events(is_told), 1);
}

#[test]
fn members_that_fail_in_another_way_do_not_hide_the_leader_that_one_of_them_named() {
    let (mut world, key) = connecting();
    refuse(&mut world);
    redirect(&mut world, Some("node-4"));
    refuse(&mut world);
    assert_eq!(connect_error(&mut world, key), (endpoint_of(1), not_configured("node-4")));
    // A member that knows no leader does not disprove one that names a leader.
    let (mut world, key) = connecting();
    redirect(&mut world, Some("node-4"));
    redirect(&mut world, None);
    redirect(&mut world, None);
    assert_eq!(connect_error(&mut world, key), (endpoint_of(0), not_configured("node-4")));
}

#[test]
fn the_leader_of_the_round_before_counts_while_the_next_round_is_under_way() {
    let (mut world, key) = connecting();
    redirect(&mut world, Some("node-4"));
    refuse(&mut world);
    refuse(&mut world);
    next_round(&mut world);
    refuse(&mut world);
    assert_eq!(connect_error(&mut world, key).1, not_configured("node-4"));
}

#[test]
fn a_leader_that_no_member_named_for_a_whole_round_is_forgotten() {
    let (mut world, key) = connecting();
    redirect(&mut world, Some("node-4"));
    refuse(&mut world);
    refuse(&mut world);
    next_round(&mut world);
    for _ in 0..3 {
        redirect(&mut world, None);
    }
    next_round(&mut world);
    redirect(&mut world, None);
    assert_eq!(connect_error(&mut world, key).1, ConnectionCause::NoLeader);
}

#[test]
fn a_configured_leader_that_is_named_later_takes_the_unconfigured_ones_place() {
    let (mut world, key) = connecting();
    redirect(&mut world, Some("node-4"));
    redirect(&mut world, Some("node-3"));
    refuse(&mut world);
    assert_eq!(connect_error(&mut world, key), (endpoint_of(2), ConnectionCause::Refused));
}

#[test]
fn a_new_connect_and_a_session_forget_the_leader_that_was_named_before() {
    let (mut world, key) = connecting();
    redirect(&mut world, Some("node-4"));
    connect_error(&mut world, key);
    let again = world.machine.connect(world.now, Some(seconds(1)));
    world.pump();
    refuse(&mut world);
    assert_eq!(connect_error(&mut world, again).1, ConnectionCause::Refused);

    let (mut world, _) = connecting();
    redirect(&mut world, Some("node-4"));
    let conn = world.accept("node-2");
    world.create(conn);
    world.answer_keep_alive(conn);
    world.hang_up(conn);
    let key = world.machine.connect(world.now, Some(seconds(1)));
    world.pump();
    refuse(&mut world);
    assert_eq!(connect_error(&mut world, key).1, ConnectionCause::Refused);
}

#[test]
fn a_session_that_is_closed_in_favour_of_an_unconfigured_leader_names_it() {
    let (mut world, conn) = World::connected(three());
    world.answer_keep_alive(conn);
    world.closed(conn, SessionCloseReason::NotLeaderAnymore, Some("node-4"));
    let key = world.machine.connect(world.now, Some(seconds(1)));
    world.pump();
    refuse(&mut world);
    refuse(&mut world);
    assert_eq!(connect_error(&mut world, key), (endpoint_of(0), not_configured("node-4")));
}

#[test]
fn a_hint_without_a_name_names_no_leader() {
    let (mut world, key) = connecting();
    for _ in 0..3 {
        redirect(&mut world, Some(""));
    }
    assert_eq!(connect_error(&mut world, key).1, ConnectionCause::NoLeader);
}

#[test]
fn the_name_of_a_leader_fits_in_one_line() {
    let text = not_configured("node\n\u{1b}[31m").to_string();
    assert!(!text.contains(char::is_control), "{text}");
    let text = not_configured(&"ä".repeat(32_000)).to_string();
    assert!(text.len() < 500, "{}", text.len());
}
