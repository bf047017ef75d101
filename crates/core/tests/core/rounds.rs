//! Rounds: which hints are followed within a round, and what makes the next round wait.

use std::collections::BTreeMap;

use crate::common::{rounds::*, *};
use zraft_core::{ConfigBuilder, ConnId, DisconnectReason};
use zraft_protocol::{RejectionReason, SessionCloseReason};

fn five() -> ConfigBuilder {
    three().member("node-4", "tcp://127.0.0.1:7004").member("node-5", "tcp://127.0.0.1:7005")
}

fn connecting(config: ConfigBuilder) -> World {
    let mut world = World::new(config);
    world.connect();
    world
}

#[test]
fn hints_that_led_to_a_session_do_not_count_when_the_session_moves() {
    let mut world = connecting(five());
    for hint in ["node-2", "node-3", "node-4"] {
        redirect(&mut world, Some(hint));
    }
    let conn = world.accept("node-4");
    world.create(conn);
    world.answer_keep_alive(conn);
    world.closed(conn, SessionCloseReason::NotLeaderAnymore, Some("node-2"));
    assert_eq!(world.asks().as_deref(), Some("node-2"));
}

#[test]
fn the_hint_of_a_session_closed_during_an_attempt_is_followed() {
    let mut new = connecting(three());
    let conn = new.accept("node-1");
    new.closed(conn, SessionCloseReason::NotLeaderAnymore, Some("node-3"));
    assert_eq!(new.asks().as_deref(), Some("node-3"));
    let mut existing = World::continuing(three());
    let conn = existing.accept("node-2");
    existing.closed(conn, SessionCloseReason::NotLeaderAnymore, Some("node-1"));
    assert_eq!(existing.asks().as_deref(), Some("node-1"));
}

#[test]
fn a_member_left_for_a_heartbeat_timeout_counts_as_not_answering_in_this_round() {
    let config = three().heartbeat_interval(millis(500)).heartbeat_timeout(seconds(2));
    let (mut world, conn) = World::connected(config);
    world.answer_keep_alive(conn);
    world.peer(conn).frozen = true;
    world.advance_until(seconds(5), |world| world.opening().is_some());
    assert_eq!(world.disconnect_reason(), Some(DisconnectReason::HeartbeatTimeout));
    redirect(&mut world, Some("node-1"));
    assert_eq!(world.asks().as_deref(), Some("node-3"));
}

#[test]
fn hints_in_a_circle_end_the_round_and_count_as_an_election() {
    for stride in 1..5 {
        let mut world = connecting(five());
        let mut asked: BTreeMap<String, u32> = BTreeMap::new();
        while let Some(member) = world.asks() {
            let number: u32 = member["node-".len()..].parse().unwrap();
            *asked.entry(member).or_default() += 1;
            let count: u32 = asked.values().sum();
            assert!(count <= 20, "each can be asked once, and three hints be followed: {asked:?}");
            redirect(&mut world, Some(&format!("node-{}", (number + stride - 1) % 5 + 1)));
        }
        assert_eq!(asked.len(), 5, "{asked:?}");
        let (_, pause) = world.next_asked(seconds(1));
        assert!(is_jittered(pause, millis(50)), "{pause:?}");
    }
}

#[test]
fn the_pauses_after_rounds_that_deny_the_session_grow_like_an_election_but_up_to_5_s() {
    let mut world = World::continuing(three());
    // node-1 is the first of this round: it announced its step-down.
    for _ in 0..2 {
        reject_next(&mut world, RejectionReason::SessionExpired, None);
    }
    for expected in [50, 80, 128, 204, 327, 524, 838, 1342, 2147, 3435, 5000, 5000] {
        assert_eq!(world.asks(), None, "there is a pause first");
        let (_, pause) = world.next_asked(seconds(6));
        // Fractions of a millisecond are rounded up.
        assert!(is_jittered(pause, millis(expected + 1)), "{pause:?} of {expected} ms");
        for _ in 0..3 {
            reject_next(&mut world, RejectionReason::SessionExpired, None);
        }
    }
}

/// Four connections in a row end as soon as they are open; the fifth stays.
fn short_lived() -> (World, ConnId) {
    let (mut world, mut conn) = World::connected(three());
    for _ in 0..4 {
        world.hang_up(conn);
        conn = world.resumed();
    }
    (world, conn)
}

#[test]
fn an_answer_of_any_kind_to_a_request_resets_the_backoff() {
    for way in 0..2 {
        let (mut world, conn) = short_lived();
        if way == 0 {
            world.query("q");
            let id = correlation_ids(&world.all_received(conn)).pop().unwrap();
            world.answer_query(conn, &id, "");
        } else {
            world.command("c");
            world.evicted(conn, 1);
        }
        world.hang_up(conn);
        for _ in 0..3 {
            refuse(&mut world);
        }
        let (_, pause) = world.next_asked(seconds(5));
        assert!(is_jittered(pause, millis(100)), "{way}: {pause:?}");
    }
}

#[test]
fn messages_that_are_not_answers_and_connections_below_5_s_do_not_reset_the_backoff() {
    for way in 0..3 {
        let (mut world, conn) = short_lived();
        match way {
            0 => {
                world.server_request(conn, 1, "x");
                assert_eq!(world.deliver(), [1]);
            }
            1 => world.answer(conn, 7, "unmatched"),
            _ => world.advance(millis(4_999)),
        }
        world.hang_up(conn);
        assert_eq!(world.asks(), None, "{way}: a round that failed");
        let (_, pause) = world.next_asked(seconds(5));
        assert!(is_jittered(pause, millis(1_600)), "{way}: {pause:?}");
    }
}

#[test]
fn every_way_in_which_a_connection_ends_too_soon_counts_as_a_failed_round() {
    for way in 0..4 {
        let (mut world, conn) = World::connected(three());
        match way {
            0 => world.reset(conn),
            1 => world.closed(conn, SessionCloseReason::SessionError, None),
            2 => world.closed(conn, SessionCloseReason::Shutdown, None),
            _ => world.raw(conn, &[0xff; 64]),
        }
        assert_eq!(world.asks(), None, "{way}");
        let (member, pause) = world.next_asked(seconds(1));
        assert!(is_jittered(pause, millis(100)), "{way}: {pause:?}");
        assert_eq!(member, if way < 2 { "node-1" } else { "node-2" }, "{way}");
    }
}

/// The member being asked is reached and does not answer, in one of these ways.
fn no_answer(world: &mut World, way: u32) {
    let member = world.asks().expect("no member is being asked");
    let conn = world.accept(&member);
    match way {
        0 => world.hang_up(conn),
        _ => world.raw(conn, &[0xff; 64]),
    }
}

#[test]
fn a_member_without_an_answer_is_not_followed_by_hint_and_does_not_make_an_election() {
    for way in 0..2 {
        let mut world = connecting(three());
        no_answer(&mut world, way);
        redirect(&mut world, Some("node-1"));
        assert_eq!(world.asks().as_deref(), Some("node-3"), "{way}");
        let mut world = connecting(three());
        for _ in 0..3 {
            no_answer(&mut world, way);
        }
        let (_, pause) = world.next_asked(seconds(1));
        assert!(pause > millis(50), "{way}: {pause:?}");
        assert!(is_jittered(pause, millis(100)), "{way}: {pause:?}");
    }
}
