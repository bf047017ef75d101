//! A new list of members while the client runs.

use crate::common::{rounds::*, *};
use zraft_core::{ConnectionCause, DisconnectReason, Event, Failure, MemberList, StateName};
use zraft_protocol::{ClientMessage, RejectionReason, SessionCloseReason};

fn failed_attempts(world: &World) -> usize {
    world.count_events(|event| matches!(event, Event::ConnectionFailure { .. }))
}

/// Returns a world in which the first round of three members has failed, and a pause has begun.
fn pausing() -> World {
    let mut world = World::new(three());
    world.connect();
    for _ in 0..3 {
        refuse(&mut world);
    }
    assert_eq!(world.asks(), None, "the pause has begun");
    world
}

#[test]
fn a_member_that_is_added_ends_the_pause_and_begins_a_round() {
    let mut world = pausing();
    world.update(&["node-1", "node-2", "node-4", "node-3"]);
    let asked: Vec<String> = (0..4).map(|_| refuse(&mut world)).collect();
    assert_eq!(asked, ["node-4", "node-3", "node-1", "node-2"]);
    assert_eq!(world.asks(), None);
}

#[test]
fn a_list_that_adds_no_member_ends_no_pause() {
    for list in [&["node-3", "node-1", "node-2"][..], &["node-1", "node-2"], &["node-2"]] {
        let mut world = pausing();
        world.update(list);
        assert_eq!(world.asks(), None, "{list:?}");
        world.advance(millis(49));
        assert_eq!(world.asks(), None, "{list:?}");
        world.next_asked(millis(51));
    }
}

#[test]
fn members_are_asked_in_the_order_of_the_new_list() {
    let mut world = pausing();
    world.update(&["node-3", "node-2", "node-1"]);
    // The round begins after the member that was asked last.
    world.next_asked(seconds(1));
    let asked: Vec<String> = (0..3).map(|_| refuse(&mut world)).collect();
    assert_eq!(asked, ["node-2", "node-1", "node-3"]);
}

#[test]
fn an_attempt_at_a_removed_member_ends_without_a_failure_and_the_search_goes_on_at_once() {
    let mut world = World::new(three());
    world.connect();
    let conn = world.accept("node-1");
    world.update(&["node-2", "node-3"]);
    assert!(world.peer(conn).closed);
    assert_eq!(world.asks().as_deref(), Some("node-2"));
    assert_eq!(failed_attempts(&world), 0);
}

#[test]
fn an_attempt_at_a_member_that_stays_goes_on() {
    let mut world = World::new(three());
    world.connect();
    let conn = world.accept("node-1");
    world.update(&["node-4", "node-1"]);
    assert_eq!(world.open_connections(), ["node-1", "node-4"]);
    world.create(conn);
    assert_eq!(world.state(), StateName::Connected);
    assert_eq!(world.open_connections(), ["node-1"]);
}

#[test]
fn a_member_with_another_endpoint_is_another_member() {
    let mut world = World::new(three());
    world.connect();
    let conn = world.accept("node-1");
    let list = MemberList::new([("node-1", "tcp://127.0.0.1:8001")]).unwrap();
    world.machine.update_members(world.now, list);
    world.pump();
    assert!(world.peer(conn).closed);
    assert_eq!(world.open_connections(), ["node-1"]);
    let address = world.events.iter().rev().find_map(|event| match event {
        Event::ConnectionAttempt { address, .. } => Some(address.as_str()),
        _ => None,
    });
    assert_eq!(address, Some("tcp://127.0.0.1:8001"));
}

#[test]
fn when_every_attempt_was_at_a_removed_member_and_all_others_failed_a_pause_begins() {
    let mut world = World::new(three());
    world.connect();
    refuse(&mut world);
    refuse(&mut world);
    assert_eq!(world.asks().as_deref(), Some("node-3"));
    world.update(&["node-1", "node-2"]);
    assert_eq!(world.asks(), None);
    let (member, pause) = world.next_asked(seconds(1));
    assert_eq!(member, "node-1");
    assert!(is_jittered(pause, millis(100)), "{pause:?}");
}

#[test]
fn a_create_session_at_a_removed_member_may_leave_an_orphan() {
    let mut world = World::new(three());
    world.connect();
    let conn = world.accept("node-1");
    world.create_nonce(conn);
    world.update(&["node-2"]);
    assert_eq!(world.machine.stats().orphans, 1);
}

#[test]
fn no_more_than_five_attempts_run_and_the_end_of_one_asks_the_added_member() {
    let config = three().members([("node-4", "tcp://h:4"), ("node-5", "tcp://h:5")]);
    let mut world = World::new(config);
    world.connect();
    world.advance(millis(1_200));
    assert_eq!(world.open_connections().len(), 5);
    let list = (1..=6).map(|n| match n {
        1..=3 => (format!("node-{n}"), format!("tcp://127.0.0.1:700{n}")),
        _ => (format!("node-{n}"), format!("tcp://h:{n}")),
    });
    world.machine.update_members(world.now, MemberList::new(list).unwrap());
    assert_eq!(world.open_connections().len(), 5);
    world.refuse("node-2");
    assert_eq!(world.open_connections(), ["node-1", "node-3", "node-4", "node-5", "node-6"]);
}

#[test]
fn a_session_stays_connected_to_a_removed_member_and_is_continued_at_a_listed_one() {
    let (mut world, conn) = World::connected(three());
    world.answer_keep_alive(conn);
    world.update(&["node-4", "node-5"]);
    assert_eq!(world.machine.member_id().unwrap().as_str(), "node-1");
    let key = world.command("a");
    assert_eq!(command_ids(&world.all_received(conn)), [1]);
    world.answer(conn, 1, "done");
    assert_eq!(world.result(key), Some(Ok("done".into())));
    // A broken stream leads back to the same member only while that one is listed.
    world.hang_up(conn);
    assert_eq!(world.disconnect_reason(), Some(DisconnectReason::ConnectionLost));
    assert_eq!(world.asks().as_deref(), Some("node-4"));
    let conn = world.resumed();
    assert_eq!(world.peer(conn).member, "node-4");
}

#[test]
fn the_member_of_the_session_is_the_same_one_when_it_is_listed_again() {
    let (mut world, conn) = World::connected(three());
    world.answer_keep_alive(conn);
    world.update(&["node-2"]);
    world.update(&["node-2", "node-1"]);
    world.command("a");
    world.peer(conn).frozen = true;
    world.advance(seconds(1));
    redirect(&mut world, None);
    world.advance(seconds(1));
    let asked = world.peers.iter().filter(|peer| peer.member == "node-1").count();
    assert_eq!(asked, 1, "it has a connection");
}

#[test]
fn a_hint_at_a_removed_member_is_not_followed_and_one_at_an_added_member_is() {
    let mut world = World::continuing(three());
    world.update(&["node-4", "node-5", "node-2"]);
    assert_eq!(world.open_connections(), ["node-2", "node-4"]);
    let conn = world.accept("node-2");
    let nonce = world.continue_nonce(conn);
    world.reject(conn, nonce, RejectionReason::NotLeader, Some("node-1"));
    world.refuse("node-4");
    assert_eq!(world.asks().as_deref(), Some("node-5"));

    let mut world = World::continuing(three());
    world.update(&["node-2", "node-3", "node-4"]);
    world.refuse("node-4");
    let conn = world.accept("node-2");
    let nonce = world.continue_nonce(conn);
    world.reject(conn, nonce, RejectionReason::NotLeader, Some("node-3"));
    assert_eq!(world.asks().as_deref(), Some("node-3"));
}

#[test]
fn the_last_hint_of_a_removed_member_is_followed_if_it_names_a_listed_one() {
    let (mut world, conn) = World::connected(three());
    world.answer_keep_alive(conn);
    world.update(&["node-2", "node-3"]);
    world.closed(conn, SessionCloseReason::NotLeaderAnymore, Some("node-3"));
    assert_eq!(world.asks().as_deref(), Some("node-3"));
}

#[test]
fn a_member_in_both_lists_stays_deaf() {
    let mut world = World::continuing(three().connection_timeout(seconds(1)));
    let conn = world.accept("node-2");
    world.resume(conn);
    world.machine.ping(world.now);
    world.advance_until(seconds(10), |world| world.opening().is_some());
    world.update(&["node-1", "node-2", "node-3"]);
    redirect(&mut world, Some("node-2"));
    assert_eq!(world.asks().as_deref(), Some("node-1"), "node-2 left a KeepAlive unanswered");
}

#[test]
fn a_frozen_lone_member_is_left_for_one_that_is_added() {
    let (mut world, conn) = World::connected(single());
    world.answer_keep_alive(conn);
    world.command("a");
    world.peer(conn).frozen = true;
    world.advance(seconds(3));
    assert_eq!(world.open_connections(), ["node-1"], "there is no other");
    world.update(&["node-1", "node-2"]);
    world.advance(seconds(1));
    assert_eq!(world.open_connections(), ["node-1", "node-2"]);
}

#[test]
fn a_frozen_member_is_kept_once_it_is_the_only_one() {
    let (mut world, conn) = World::connected(three());
    world.answer_keep_alive(conn);
    world.command("a");
    world.peer(conn).frozen = true;
    world.update(&["node-1"]);
    world.advance(seconds(3));
    assert_eq!(world.open_connections(), ["node-1"]);
}

#[test]
fn a_search_beside_a_frozen_member_ends_with_the_last_other_member() {
    let (mut world, conn) = World::connected(three());
    world.answer_keep_alive(conn);
    world.command("a");
    world.peer(conn).frozen = true;
    world.advance(seconds(1));
    assert_eq!(world.open_connections(), ["node-1", "node-2"]);
    world.update(&["node-1"]);
    assert_eq!(world.open_connections(), ["node-1"]);
    assert_eq!(world.state(), StateName::Connected);
    world.advance(seconds(1));
    world.update(&["node-3", "node-1"]);
    world.advance(seconds(1));
    assert_eq!(world.open_connections(), ["node-1", "node-3"]);
}

#[test]
fn pauses_start_short_again_after_a_search_beside_a_member_ended_with_the_last_other_one() {
    let (mut world, conn) = World::connected(three());
    world.answer_keep_alive(conn);
    world.command("a");
    world.pump();
    world.peer(conn).frozen = true;
    world.advance(seconds(1));
    for _ in 0..10 {
        world.next_asked(seconds(1));
        redirect(&mut world, Some("node-1"));
    }
    world.next_asked(seconds(1));
    world.update(&["node-1"]);
    world.peer(conn).frozen = false;
    world.answer(conn, 1, "done");
    world.update(&["node-1", "node-2", "node-3"]);
    world.hang_up(conn);
    for _ in 0..3 {
        redirect(&mut world, None);
    }
    let (_, pause) = world.next_asked(seconds(1));
    assert!(is_jittered(pause, millis(50)), "{pause:?}");
}

#[test]
fn what_a_removed_member_said_of_the_session_no_longer_counts() {
    let mut world = World::continuing(three());
    // node-2 names node-3 as the leader, and node-1 denies the session again and again.
    world.update(&["node-1", "node-2", "node-3"]);
    let denies = |world: &mut World| {
        let (member, _) = world.next_asked(seconds(10));
        let conn = world.accept(&member);
        let Some(ClientMessage::ContinueSession { nonce, .. }) = world.received(conn) else {
            panic!("no ContinueSession")
        };
        let (reason, leader) = match member.as_str() {
            "node-1" => (RejectionReason::SessionExpired, None),
            "node-2" => (RejectionReason::NotLeader, Some("node-3")),
            _ => (RejectionReason::NotLeader, Some("node-1")),
        };
        world.reject(conn, nonce, reason, leader);
    };
    let expired = |world: &World| {
        world.count_events(|event| matches!(event, Event::SessionExpired { .. })) > 0
    };
    let start = world.now;
    while world.now - start < seconds(40) {
        denies(&mut world);
    }
    assert!(!expired(&world), "the others do not agree");
    world.update(&["node-1", "node-3"]);
    while !expired(&world) {
        denies(&mut world);
    }
    assert!(world.now - start < seconds(60), "long before the session timeout");
}

#[test]
fn a_lone_member_is_believed_five_seconds_after_its_own_first_denial() {
    let mut world = World::continuing(three());
    let deny = |world: &mut World| {
        let (member, _) = world.next_asked(seconds(10));
        let conn = world.accept(&member);
        let nonce = world.continue_nonce(conn);
        world.reject(conn, nonce, RejectionReason::SessionExpired, None);
    };
    let start = world.now;
    while world.now - start < seconds(7) {
        deny(&mut world);
    }
    world.update(&["node-4"]);
    deny(&mut world);
    assert_eq!(world.state(), StateName::ConnectingExistingSession, "another member said it");
    let first = world.now;
    while world.state() == StateName::ConnectingExistingSession {
        deny(&mut world);
    }
    assert!((seconds(5)..seconds(12)).contains(&(world.now - first)), "{:?}", world.now - first);
}

#[test]
fn connect_does_not_blame_a_leader_that_is_configured_by_now() {
    let mut world = World::new(three());
    let key = world.machine.connect(world.now, Some(seconds(1)));
    redirect(&mut world, Some("node-4"));
    world.update(&["node-1", "node-2", "node-3", "node-4"]);
    world.advance(seconds(2));
    match world.connect_result(key) {
        Some(Err(Failure::Connection { cause, .. })) => {
            assert_eq!(cause, ConnectionCause::TimedOut);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_configuration_shows_the_present_members() {
    let mut world = World::new(three());
    world.update(&["node-7"]);
    let ids: Vec<&str> =
        world.machine.config().members().iter().map(|member| member.id.as_str()).collect();
    assert_eq!(ids, ["node-7"]);
}

#[test]
fn a_list_is_checked_like_the_members_of_a_configuration() {
    let none: [(&str, &str); 0] = [];
    let error =
        |list: &[(&str, &str)]| MemberList::new(list.iter().copied()).unwrap_err().to_string();
    assert_eq!(error(&none), "members: give at least one member of the cluster");
    assert!(error(&[("a", "tcp://h:1"), ("a", "tcp://h:2")]).contains("given twice"));
    assert!(error(&[("", "tcp://h:1")]).contains("member number 1"));
    assert!(error(&[("a", "h:1")]).contains("the endpoint of \"a\""));
    let many = |count: usize| (0..count).map(|n| (format!("m{n}"), "tcp://h:1"));
    assert!(MemberList::new(many(1024)).is_ok());
    assert!(MemberList::new(many(1025)).unwrap_err().to_string().contains("at most 1024"));
}

#[test]
fn a_thousand_lists_leave_no_trace_of_their_members() {
    let mut world = World::new(three());
    world.connect();
    for round in 0..1000 {
        let (a, b) = (format!("a{round}"), format!("b{round}"));
        world.update(&[&a, &b]);
        assert!(world.open_connections().len() <= 2);
    }
    world.update(&["node-2"]);
    let conn = world.accept("node-2");
    world.create(conn);
    assert_eq!(world.state(), StateName::Connected);
}
