//! What the client does when a member denies its session, which can be false.

use std::time::Duration;

use crate::common::*;
use zraft_core::{Event, Failure, RequestKind, StateName, Timeout};
use zraft_protocol::{RejectionReason, SessionCloseReason};

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
