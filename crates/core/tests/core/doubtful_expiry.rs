//! What the client does when a member denies its session, which can be false.

use std::time::Duration;

use crate::common::rounds::redirect;
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
    assert!(world.now - first < seconds(8));
    assert_eq!(world.state(), StateName::Disconnected);
}

#[test]
fn session_closed_with_session_expired_is_believed_at_once() {
    let (mut world, conn) = World::connected(three());
    world.closed(conn, SessionCloseReason::SessionExpired, None);
    assert!(expired(&world));
    assert_eq!(world.state(), StateName::Disconnected);
}

/// A cluster of three in which `denier` leads and denies the session. The others name `named` as the leader, until the session
/// expires. Returns how long that took, and how often the denier was asked.
fn leader_denies(denier: &str, named: impl Fn(&str) -> Option<&'static str>) -> (Duration, u32) {
    let mut world = World::continuing(three());
    let (start, mut denials) = (world.now, 0);
    while !expired(&world) {
        let Some(member) = world.asks() else {
            let step = world.machine.poll_timeout().unwrap() - world.now;
            world.advance(step);
            continue;
        };
        if member == denier {
            deny(&mut world);
            denials += 1;
        } else {
            redirect(&mut world, named(&member));
        }
        assert!(world.now - start < seconds(200));
    }
    (world.now - start, denials)
}

#[test]
fn a_leader_that_the_others_name_is_believed_when_it_has_denied_the_session_for_10_s() {
    for denier in ["node-1", "node-2", "node-3"] {
        let leader = denier.to_owned();
        let names = |_: &str| match leader.as_str() {
            "node-1" => Some("node-1"),
            "node-2" => Some("node-2"),
            _ => Some("node-3"),
        };
        let (took, denials) = leader_denies(denier, names);
        assert!((seconds(10)..seconds(15)).contains(&took), "{took:?}");
        assert!((3..=20).contains(&denials), "asked {denials} times");
    }
}

#[test]
fn a_member_that_no_other_names_or_one_of_them_does_not_is_not_believed_before_the_session_timeout()
{
    let (took, _) = leader_denies("node-1", |_| None);
    assert_eq!(took, seconds(90));
    // The other two disagree: one of them knows a newer leader.
    let names = |member: &str| Some(if member == "node-2" { "node-1" } else { "node-2" });
    assert_eq!(leader_denies("node-1", names).0, seconds(90));
}

#[test]
fn a_denying_member_is_asked_ever_less_often() {
    let (took, denials) = leader_denies("node-1", |_| None);
    assert_eq!(took, seconds(90));
    assert!(denials <= 40, "asked {denials} times in 90 s");
}

#[test]
fn a_doubt_is_reported_once_until_the_session_is_continued() {
    let doubts =
        |world: &World| world.count_events(|event| matches!(event, Event::SessionDoubted { .. }));
    let mut world = World::continuing(three());
    for _ in 0..5 {
        deny(&mut world);
    }
    assert_eq!(doubts(&world), 1);
    let conn = world.resumed();
    world.answer_keep_alive(conn);
    world.closed(conn, SessionCloseReason::NotLeaderAnymore, None);
    deny(&mut world);
    assert_eq!(doubts(&world), 2);
}

#[test]
fn a_session_that_another_leader_knows_survives_a_leader_with_an_old_session_map() {
    // node-1 resumed and denies; node-2 leads by now, and node-3 names it.
    let mut world = World::continuing(three());
    let start = world.now;
    let mut asked = Vec::new();
    while world.state() != StateName::Connected {
        let (member, _) = world.next_asked(seconds(10));
        match member.as_str() {
            "node-1" => deny(&mut world),
            "node-2" if world.now - start > seconds(20) => {
                let conn = world.accept("node-2");
                world.resume(conn);
            }
            "node-2" => drop(redirect(&mut world, None)),
            _ => drop(redirect(&mut world, Some("node-2"))),
        }
        asked.push(member);
    }
    assert!(!expired(&world));
    assert!(world.now - start < seconds(26), "{asked:?}");
}
