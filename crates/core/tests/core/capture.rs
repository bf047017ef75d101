//! A member that continues the session and then drops the connection cannot capture the client: other members are asked too.
//! Only answers to the client's own messages count.

use std::{collections::BTreeMap, time::Duration};

use crate::common::{rounds::redirect, *};
use zraft_core::{ConfigBuilder, ConnId, Event, RequestKey, RequestKind, StateName, Timeout};
use zraft_protocol::{ServerMessage, SessionCloseReason, Timestamp};

fn command(world: &mut World) -> RequestKey {
    world.submit(RequestKind::Command, "innocent", Timeout::Never)
}

fn quarantined(world: &World) -> usize {
    world.count_events(|event| matches!(event, Event::RequestQuarantined { .. }))
}

/// The member sends a KeepAliveResponse without a KeepAlive.
fn unsolicited(world: &mut World, conn: ConnId) {
    let timestamp = Timestamp::from_millis(world.wall);
    world.say(conn, ServerMessage::KeepAliveResponse { timestamp });
}

/// Continues the session at this member, which must be the one being asked.
fn resumed_at(world: &mut World, member: &str) -> ConnId {
    let (asked, _) = world.next_asked(seconds(60));
    assert_eq!(asked, member);
    let conn = world.accept(member);
    world.resume(conn);
    conn
}

#[test]
fn after_three_losses_in_a_row_without_an_answer_the_next_member_is_asked() {
    for end in 0..3 {
        for stands in [0, 6] {
            let (mut world, mut conn) = World::connected(three());
            command(&mut world);
            for loss in 1..=3 {
                world.advance(seconds(stands));
                match end {
                    0 => world.hang_up(conn),
                    1 => world.reset(conn),
                    _ => world.closed(conn, SessionCloseReason::SessionError, None),
                }
                if loss < 3 {
                    conn = resumed_at(&mut world, "node-1");
                }
            }
            resumed_at(&mut world, "node-2");
            assert_eq!(quarantined(&world), 0);
        }
    }
}

#[test]
fn a_hint_to_a_member_with_three_losses_is_not_followed_before_every_other_was_asked() {
    let (mut world, mut conn) = World::connected(three());
    let keys: Vec<_> = (0..5).map(|_| command(&mut world)).collect();
    for loss in 1..=3 {
        world.hang_up(conn);
        if loss < 3 {
            conn = resumed_at(&mut world, "node-1");
        }
    }
    assert_eq!(world.next_asked(seconds(60)).0, "node-2");
    redirect(&mut world, Some("node-1"));
    let conn = resumed_at(&mut world, "node-3");
    for _ in 0..5 {
        for id in command_ids(&world.all_received(conn)) {
            world.answer(conn, id, "r");
        }
    }
    for key in keys {
        assert_eq!(world.result(key), Some(Ok("r".into())));
    }
    assert_eq!(quarantined(&world), 0);
}

#[test]
fn an_answered_keep_alive_does_not_reset_the_count_of_losses_while_requests_are_unanswered() {
    let (mut world, mut conn) = World::connected(three());
    command(&mut world);
    for loss in 1..=3 {
        world.answer_keep_alive(conn);
        world.hang_up(conn);
        if loss < 3 {
            conn = resumed_at(&mut world, "node-1");
        }
    }
    resumed_at(&mut world, "node-2");
}

#[test]
fn an_answer_to_a_request_resets_the_count_of_losses() {
    let (mut world, mut conn) = World::connected(three());
    for id in 1..=10 {
        for _ in 0..2 {
            world.hang_up(conn);
            conn = resumed_at(&mut world, "node-1");
        }
        command(&mut world);
        world.answer(conn, id, "r");
    }
}

#[test]
fn an_idle_connection_that_lasts_and_answers_a_keep_alive_resets_the_count_of_losses() {
    let (mut world, mut conn) = World::connected(three());
    for _ in 0..10 {
        world.advance(seconds(6));
        world.answer_keep_alive(conn);
        world.hang_up(conn);
        conn = resumed_at(&mut world, "node-1");
    }
}

#[test]
fn a_lone_member_is_asked_again_each_time() {
    let (mut world, mut conn) = World::connected(single());
    for _ in 0..10 {
        world.hang_up(conn);
        conn = resumed_at(&mut world, "node-1");
    }
}

/// For half an hour the first member continues the session, holds the connection for a while and drops it; the others name
/// it as the leader. Returns how often each member was asked.
fn captured(world: &mut World, mut conn: ConnId, holds: Duration) -> BTreeMap<String, u32> {
    let mut asked: BTreeMap<String, u32> = BTreeMap::new();
    let end = world.now + seconds(1800);
    while world.now < end {
        world.advance(holds);
        if world.state() == StateName::Connected {
            world.hang_up(conn);
        }
        loop {
            let (member, _) = world.next_asked(seconds(60));
            *asked.entry(member.clone()).or_default() += 1;
            if member == "node-1" {
                conn = world.accept("node-1");
                world.resume(conn);
                break;
            }
            redirect(world, Some("node-1"));
        }
    }
    asked
}

#[test]
fn a_member_that_drops_every_connection_is_asked_no_more_often_than_the_others() {
    for holds in [Duration::ZERO, seconds(2), seconds(5)] {
        let (mut world, conn) = World::connected(three());
        command(&mut world);
        let asked = captured(&mut world, conn, holds);
        let captor = asked["node-1"];
        for other in ["node-2", "node-3"] {
            let count = asked.get(other).copied().unwrap_or_default();
            assert!(count + 3 >= captor, "{holds:?}: {asked:?}");
        }
    }
}

/// Counts the connections that a member drops right after it continued the session and sent an unsolicited message.
fn connections(config: ConfigBuilder, time: Duration) -> usize {
    let (mut world, mut conn) = World::connected(config);
    let end = world.now + time;
    loop {
        unsolicited(&mut world, conn);
        world.hang_up(conn);
        while world.asks().is_none() {
            let step = world.machine.poll_timeout().unwrap() - world.now;
            if world.now + step > end {
                return world.peers.len();
            }
            world.advance(step.max(Duration::from_nanos(1)));
        }
        assert!(world.peers.len() < 100, "without a pause");
        conn = world.resumed();
    }
}

#[test]
fn an_unsolicited_keep_alive_response_does_not_reset_the_backoff() {
    // The pause is 100 ms, doubles each time and is half random: at most seven pauses in 5 s.
    for config in [three(), single()] {
        let connections = connections(config, seconds(5));
        assert!((4..=8).contains(&connections), "{connections}");
    }
}

#[test]
fn an_unsolicited_keep_alive_response_does_not_prove_the_session() {
    let (mut world, conn) = World::connected(single());
    world.advance(seconds(20));
    unsolicited(&mut world, conn);
    world.hang_up(conn);
    let denied = world.now + seconds(70);
    // Ports refuse until the session timeout has passed: then one denial is believed.
    while world.now < denied {
        world.next_asked(seconds(10));
        world.refuse("node-1");
    }
    world.next_asked(seconds(10));
    rounds::reject_next(&mut world, zraft_protocol::RejectionReason::SessionExpired, None);
    assert_eq!(world.state(), StateName::Disconnected);
}

#[test]
fn an_answer_to_a_keep_alive_of_an_earlier_connection_is_ignored() {
    let (mut world, conn) = World::connected(three());
    world.machine.ping(world.now);
    let timestamp = match world.received(conn) {
        Some(zraft_protocol::ClientMessage::KeepAlive { timestamp }) => timestamp,
        other => panic!("{other:?}"),
    };
    world.hang_up(conn);
    let conn = resumed_at(&mut world, "node-1");
    world.say(conn, ServerMessage::KeepAliveResponse { timestamp });
    world.hang_up(conn);
    assert_eq!(world.asks(), None, "a round that failed");
}
