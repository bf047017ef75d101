//! Choosing a member: which one is asked next, and when.

use std::time::Duration;

use crate::common::{rounds::*, *};
use zraft_core::{ConfigBuilder, ConnId, ConnectionCause, Event, OpenFailure, StateName};
use zraft_protocol::{ServerMessage, SessionCloseReason};

fn five() -> ConfigBuilder {
    three().member("node-4", "tcp://127.0.0.1:7004").member("node-5", "tcp://127.0.0.1:7005")
}

fn connecting(config: ConfigBuilder) -> World {
    let mut world = World::new(config);
    world.connect();
    world
}

#[test]
fn a_round_asks_each_member_once_in_configuration_order_without_pause() {
    let mut world = connecting(five());
    let asked: Vec<String> = (0..5).map(|_| refuse(&mut world)).collect();
    assert_eq!(asked, ["node-1", "node-2", "node-3", "node-4", "node-5"]);
    assert_eq!(world.asks(), None, "then there is a pause");
}

#[test]
fn a_usable_hint_is_followed_at_once() {
    let mut world = connecting(five());
    redirect(&mut world, Some("node-4"));
    assert_eq!(world.asks().as_deref(), Some("node-4"));
}

#[test]
fn a_hint_at_an_unknown_member_or_at_the_giver_is_not_followed() {
    for hint in ["node-9", "node-1", ""] {
        let mut world = connecting(three());
        redirect(&mut world, Some(hint));
        assert_eq!(world.asks().as_deref(), Some("node-2"), "{hint}");
    }
}

#[test]
fn a_hint_at_one_that_did_not_answer_in_this_round_is_not_followed() {
    let mut world = connecting(three());
    refuse(&mut world);
    redirect(&mut world, Some("node-1"));
    assert_eq!(world.asks().as_deref(), Some("node-3"));
    redirect(&mut world, Some("node-1"));
    assert_eq!(world.asks(), None);
    // In the next round it may be followed.
    world.next_asked(seconds(1));
    while world.asks().as_deref() == Some("node-1") {
        redirect(&mut world, None);
    }
    redirect(&mut world, Some("node-1"));
    assert_eq!(world.asks().as_deref(), Some("node-1"));
}

#[test]
fn hints_are_followed_three_in_a_row_at_most() {
    let mut world = connecting(five());
    redirect(&mut world, Some("node-2"));
    redirect(&mut world, Some("node-1"));
    redirect(&mut world, Some("node-2"));
    assert_eq!(world.asks().as_deref(), Some("node-2"));
    redirect(&mut world, Some("node-1"));
    assert_eq!(world.asks().as_deref(), Some("node-3"), "the next not yet asked");
    redirect(&mut world, Some("node-5"));
    assert_eq!(world.asks().as_deref(), Some("node-5"), "the next round follows hints again");
}

#[test]
fn after_a_round_in_which_none_answered_the_pause_doubles_from_100_ms_to_5_s() {
    let mut world = connecting(three());
    let mut expected = millis(100);
    for round in 0..10 {
        for _ in 0..3 {
            refuse(&mut world);
        }
        let (_, pause) = world.next_asked(seconds(10));
        assert!(is_jittered(pause, expected), "round {round}: {pause:?} of {expected:?}");
        expected = (expected * 2).min(seconds(5));
    }
}

#[test]
fn after_a_round_with_answers_the_pause_grows_from_50_to_250_ms_for_10_s_then_to_5_s() {
    let mut world = connecting(three());
    let start = world.now;
    let mut expected = millis(50);
    let mut longest = Duration::ZERO;
    let mut rounds = 0;
    while world.now - start < seconds(120) {
        for _ in 0..3 {
            redirect(&mut world, None);
        }
        let fast = world.now - start < seconds(10);
        let (_, pause) = world.next_asked(seconds(10));
        let limit = if fast { millis(250) } else { seconds(5) };
        if fast {
            expected = expected.min(limit);
            assert!(is_jittered(pause, expected), "{pause:?} of {expected:?}");
            expected = (expected * 8 / 5).min(limit);
            rounds += 1;
        }
        assert!(pause <= limit);
        longest = longest.max(pause);
    }
    assert!(rounds > 40, "members are asked often during an election: {rounds}");
    assert!(longest > millis(2_500), "{longest:?}");
}

#[test]
fn a_round_without_answers_does_not_restart_the_ten_seconds_of_an_election() {
    let mut world = connecting(three());
    let start = world.now;
    let election = |world: &mut World| {
        for _ in 0..3 {
            redirect(world, None);
        }
        world.next_asked(seconds(10)).1
    };
    while world.now - start < seconds(9) {
        assert!(election(&mut world) <= millis(250));
    }
    for _ in 0..3 {
        refuse(&mut world);
    }
    world.next_asked(seconds(10));
    let mut longest = Duration::ZERO;
    while world.now - start < seconds(18) {
        longest = longest.max(election(&mut world));
    }
    assert!(longest > millis(500), "asked as often as in the first ten seconds: {longest:?}");
}

#[test]
fn a_round_with_answers_and_refusals_is_an_election() {
    let mut world = connecting(three());
    refuse(&mut world);
    redirect(&mut world, None);
    refuse(&mut world);
    let (_, pause) = world.next_asked(seconds(1));
    assert!(is_jittered(pause, millis(50)), "{pause:?}");
}

#[test]
fn half_of_each_pause_is_random() {
    let pause = |seed| {
        let mut world = World::seeded(three(), seed);
        world.connect();
        for _ in 0..3 {
            refuse(&mut world);
        }
        world.next_asked(seconds(1)).1
    };
    let pauses: std::collections::BTreeSet<Duration> = (0..50).map(pause).collect();
    assert!(pauses.len() > 40);
    let (first, last) = (pauses.first().unwrap(), pauses.last().unwrap());
    assert!(*first >= millis(50) && *last <= millis(100));
    assert!(*last - *first > millis(25), "{first:?} to {last:?}");
}

#[test]
fn after_eof_reset_or_session_error_the_same_member_is_first_of_a_new_round() {
    for way in 0..3 {
        let mut world = World::continuing(three());
        let conn = world.accept("node-2");
        world.resume(conn);
        world.answer_keep_alive(conn);
        match way {
            0 => world.hang_up(conn),
            1 => world.reset(conn),
            _ => world.closed(conn, SessionCloseReason::SessionError, Some("node-3")),
        }
        let asked: Vec<String> = (0..3).map(|_| refuse(&mut world)).collect();
        assert_eq!(asked, ["node-2", "node-3", "node-1"]);
        assert_eq!(world.asks(), None);
    }
}

#[test]
fn after_every_other_end_the_next_unasked_member_is_asked() {
    for way in 0..4 {
        let mut world = World::continuing(three());
        let conn = world.accept("node-2");
        world.resume(conn);
        world.answer_keep_alive(conn);
        match way {
            0 => world.closed(conn, SessionCloseReason::NotLeaderAnymore, None),
            1 => world.closed(conn, SessionCloseReason::Shutdown, Some("node-2")),
            2 => world.raw(conn, &[0xff; 64]),
            _ => {
                world.peer(conn).frozen = true;
                world.advance_until(seconds(20), |world| world.opening().is_some());
            }
        }
        let asked: Vec<String> = (0..2).map(|_| refuse(&mut world)).collect();
        assert_eq!(asked, ["node-3", "node-1"]);
        assert_eq!(world.asks(), None);
    }
}

#[test]
fn the_hint_of_a_leader_that_steps_down_is_followed() {
    let (mut world, conn) = World::connected(three());
    world.answer_keep_alive(conn);
    world.closed(conn, SessionCloseReason::NotLeaderAnymore, Some("node-3"));
    assert_eq!(world.asks().as_deref(), Some("node-3"));
}

#[test]
fn a_lone_member_is_asked_again_after_a_pause() {
    let (mut world, conn) = World::connected(single());
    world.answer_keep_alive(conn);
    world.closed(conn, SessionCloseReason::NotLeaderAnymore, None);
    assert_eq!(world.asks(), None);
    let (member, pause) = world.next_asked(seconds(1));
    assert_eq!(member, "node-1");
    assert!(is_jittered(pause, millis(50)), "{pause:?}");
}

#[test]
fn a_connection_that_ends_within_5_s_without_an_answer_counts_as_a_failed_round() {
    let (mut world, mut conn) = World::connected(three());
    let mut expected = millis(100);
    for _ in 0..6 {
        world.hang_up(conn);
        assert_eq!(world.asks(), None, "not at once");
        let (member, pause) = world.next_asked(seconds(5));
        assert!(is_jittered(pause, expected), "{pause:?} of {expected:?}");
        expected *= 2;
        conn = world.accept(&member);
        world.resume(conn);
    }
}

#[test]
fn the_first_answer_a_keep_alive_response_or_five_seconds_of_connection_reset_the_backoff() {
    for way in 0..5 {
        let (mut world, mut conn) = World::connected(three());
        for _ in 0..4 {
            world.hang_up(conn);
            conn = world.resumed();
        }
        match way {
            0 => {
                world.command("x");
                world.answer(conn, 1, "");
            }
            1 => world.answer_keep_alive(conn),
            2 => world.advance(seconds(5)),
            _ => {
                // Less than that does not reset it.
                world.advance(if way == 3 { Duration::ZERO } else { millis(4_999) });
                world.hang_up(conn);
                let (_, pause) = world.next_asked(seconds(5));
                assert!(pause >= millis(800), "{pause:?}");
                continue;
            }
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
fn an_unusable_hint_of_a_short_lived_connection_is_not_followed() {
    let (mut world, conn) = World::connected(three());
    world.closed(conn, SessionCloseReason::NotLeaderAnymore, Some("node-1"));
    assert_eq!(world.asks(), None);
    let (member, _) = world.next_asked(seconds(1));
    assert_eq!(member, "node-2");
    let (mut world, conn) = World::connected(three());
    world.closed(conn, SessionCloseReason::NotLeaderAnymore, Some("node-3"));
    let (member, _) = world.next_asked(seconds(1));
    assert_eq!(member, "node-3");
}

#[test]
fn the_wait_for_session_created_is_four_times_as_long_after_each_timeout_up_to_30_s() {
    let mut world = connecting(single());
    for expected in [5, 20, 30, 30] {
        let (member, _) = world.next_asked(seconds(10));
        let conn = world.accept(&member);
        world.create_nonce(conn);
        let took = world.advance_until(seconds(40), |world| {
            world.peers.iter().any(|peer| peer.conn == conn && peer.closed)
        });
        assert_eq!(took, seconds(expected));
    }
    // A session makes the wait short again.
    let (member, _) = world.next_asked(seconds(10));
    let conn = world.accept(&member);
    world.create(conn);
    world.closed(conn, SessionCloseReason::SessionExpired, None);
    assert_eq!(world.state(), StateName::Disconnected);
    world.connect();
    let conn = world.accept("node-1");
    world.advance(seconds(5));
    assert!(world.peer(conn).closed);
}

#[test]
fn only_create_session_is_waited_for_longer() {
    let mut world = connecting(single());
    let conn = world.accept("node-1");
    world.advance(seconds(5));
    assert!(world.peer(conn).closed);
    // This connection does not open.
    world.next_asked(seconds(1));
    let (conn, _) = world.opening().unwrap();
    world.advance(millis(4_999));
    assert!(!world.peer(conn).closed);
    world.advance(millis(1));
    assert!(world.peer(conn).closed);
}

/// Returns a world in which node-1 became deaf with the session, and node-2 is being asked.
fn deaf() -> World {
    let (mut world, conn) = World::connected(three());
    world.answer_keep_alive(conn);
    world.machine.ping(world.now);
    world.advance(seconds(5));
    assert!(world.peer(conn).closed);
    world
}

#[test]
fn a_deaf_member_is_not_gone_back_to_on_a_hint_for_30_s_unless_every_other_was_asked() {
    let mut world = deaf();
    // Later rounds follow the first, in which it did not answer.
    redirect(&mut world, Some("node-1"));
    assert_eq!(world.asks().as_deref(), Some("node-3"));
    redirect(&mut world, Some("node-1"));
    assert_eq!(world.asks(), None, "it failed in this round");
    world.next_asked(seconds(1));
    let mut followed = None;
    for _ in 0..3 {
        let asked = world.asks().unwrap();
        redirect(&mut world, if asked == "node-1" { None } else { Some("node-1") });
        let next = world.asks();
        if asked != "node-1" && next.as_deref() == Some("node-1") {
            followed = Some(asked);
            break;
        }
    }
    assert_eq!(followed.as_deref(), Some("node-3"), "after node-2 and node-3 were asked");
}

#[test]
fn after_30_s_a_deaf_member_is_gone_back_to_on_a_hint() {
    let mut world = deaf();
    let until = world.now + seconds(31);
    while world.now < until {
        for _ in 0..3 {
            if world.asks().is_some() {
                redirect(&mut world, None);
            }
        }
        world.next_asked(seconds(5));
    }
    while world.asks().as_deref() != Some("node-2") {
        redirect(&mut world, None);
        world.next_asked(seconds(5));
    }
    redirect(&mut world, Some("node-1"));
    assert_eq!(world.asks().as_deref(), Some("node-1"));
}

#[test]
fn a_member_deaf_on_a_connection_without_answers_is_remembered_as_deaf_too() {
    let config = three().connection_timeout(seconds(1));
    let (mut world, conn) = World::connected(config);
    world.machine.ping(world.now);
    world.advance(seconds(1));
    assert!(world.peer(conn).closed);
    let (member, _) = world.next_asked(seconds(1));
    assert_eq!(member, "node-2");
    redirect(&mut world, Some("node-1"));
    assert_eq!(world.asks().as_deref(), Some("node-3"));
}

#[test]
fn the_client_waits_until_an_election_ends() {
    let mut world = World::continuing(three());
    let key = world.command("a");
    let start = world.now;
    while world.now - start < seconds(8) {
        redirect(&mut world, None);
        if world.asks().is_none() {
            world.next_asked(seconds(5));
        }
    }
    assert_eq!(world.state(), StateName::ConnectingExistingSession);
    let conn = world.resumed();
    world.advance(millis(100));
    world.answer(conn, 1, "r");
    assert_eq!(world.result(key), Some(Ok("r".into())));
}

#[test]
fn each_attempt_has_its_own_connection_nonce_and_reason_of_failure() {
    let mut world = connecting(five());
    world.refuse("node-1");
    let (conn, _) = world.opening().unwrap();
    world.machine.handle_open_failed(world.now, conn, OpenFailure::UnknownHost);
    world.peer(conn).closed = true;
    world.pump();
    let (conn, _) = world.opening().unwrap();
    let why = OpenFailure::Other("no route".to_owned());
    world.machine.handle_open_failed(world.now, conn, why);
    world.peer(conn).closed = true;
    let conn = world.accept("node-4");
    world.hang_up(conn);
    redirect(&mut world, None);
    let causes: Vec<ConnectionCause> = world
        .events
        .iter()
        .filter_map(|event| match event {
            Event::ConnectionFailure { error, .. } => Some(error.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(
        causes,
        [
            ConnectionCause::Refused,
            ConnectionCause::UnknownHost,
            ConnectionCause::Unreachable("no route".to_owned()),
            ConnectionCause::ClosedBeforeFirstMessage,
            ConnectionCause::NoLeader,
        ]
    );
    let mut conns: Vec<ConnId> = world.peers.iter().map(|peer| peer.conn).collect();
    conns.dedup();
    assert_eq!(conns.len(), 5);
}

#[test]
fn refusal_after_the_connection_was_opened_is_the_reason_of_the_failure() {
    let refusal = || OpenFailure::Tls("a client certificate is missing".to_owned());
    let failures = |world: &World| {
        let failures = world.events.iter().filter_map(|event| match event {
            Event::ConnectionFailure { error, .. } => Some(error.clone()),
            _ => None,
        });
        failures.collect::<Vec<_>>()
    };
    let mut world = connecting(three());
    let conn = world.accept("node-1");
    world.machine.handle_refused(world.now, conn, refusal());
    world.peer(conn).closed = true;
    world.pump();
    let why = ConnectionCause::Tls("a client certificate is missing".to_owned());
    assert_eq!(failures(&world), [why]);
    // The next member is asked. One that has ended already is not judged again.
    world.accept("node-2");
    world.machine.handle_refused(world.now, conn, refusal());
    assert_eq!(failures(&world).len(), 1);
}

#[test]
fn reconnecting_events_count_the_attempts_since_the_loss() {
    let mut world = World::continuing(three());
    world.events.clear();
    refuse(&mut world);
    refuse(&mut world);
    world.next_asked(seconds(1));
    let numbers: Vec<u32> = world
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Reconnecting { attempt, .. } => Some(*attempt),
            _ => None,
        })
        .collect();
    assert_eq!(numbers, [2, 3], "1 was before");
    let conn = world.resumed();
    world.answer_keep_alive(conn);
    world.hang_up(conn);
    let last = world.events.iter().rev().find_map(|event| match event {
        Event::Reconnecting { attempt, .. } => Some(*attempt),
        _ => None,
    });
    assert_eq!(last, Some(1));
}

#[test]
fn a_message_of_the_session_before_the_handshake_message_changes_nothing() {
    // The member sends a message before the session message.
    let mut world = connecting(three());
    let conn = world.accept("node-1");
    let nonce = world.create_nonce(conn);
    world.say(conn, ServerMessage::SessionContinued { nonce });
    assert_eq!(world.state(), StateName::ConnectingNewSession);
}

#[test]
fn a_pause_is_not_cut_short_by_being_woken_early() {
    let mut world = World::new(single());
    world.connect();
    world.refuse("node-1");
    let until = world.machine.poll_timeout().unwrap();
    world.now = until - millis(1);
    world.machine.handle_timeout(world.now);
    assert_eq!(world.asks(), None);
    world.now = until;
    world.machine.handle_timeout(world.now);
    assert_eq!(world.asks().as_deref(), Some("node-1"));
}

#[test]
fn nothing_is_written_to_a_connection_before_it_is_open_or_after_another_took_its_place() {
    let mut world = World::new(three());
    world.connect();
    let (first, _) = world.opening().unwrap();
    let wall = zraft_protocol::Timestamp::from_millis(0);
    assert!(world.machine.transmit(world.now, wall, first).is_none());
    world.refuse("node-1");
    let second = world.accept("node-2");
    assert!(world.machine.transmit(world.now, wall, first).is_none());
    assert!(world.machine.transmit(world.now, wall, second).is_some());
}
