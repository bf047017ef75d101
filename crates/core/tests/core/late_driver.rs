//! A driver that always wakes more than a second late, as when the application blocks its thread: every wait still ends
//! within a stated bound.

use std::time::Duration;

use crate::common::*;
use zraft_core::{ConnId, DisconnectReason, Event, Failure, RequestKind, StateName, Timeout};
use zraft_protocol::{ClientMessage, ServerMessage};

/// How late each wake comes.
const LATE: Duration = Duration::from_millis(1_500);
/// How long deadlines wait for answers after a jump of the clock.
const GRACE: Duration = Duration::from_secs(1);
/// How late a deadline may fire: it passes in a late wake, is put off once, and fires in the next late wake.
const DEADLINE_LATE: Duration = Duration::from_secs(4);

/// The driver sleeps until the machine's next timeout and wakes `late` after it. Members act on time.
fn late_turn(world: &mut World, late: Duration) {
    world.pump();
    let due = world.machine.poll_timeout().expect("the machine waits for something");
    world.sleep((due - world.now) + late);
    for peer in &mut world.peers {
        if peer.open && !peer.closed && !peer.frozen {
            peer.zmtp.handle_timeout(world.now);
        }
    }
    world.wake();
}

/// Runs late turns until this holds. Returns how long that took.
fn late_until(world: &mut World, limit: Duration, holds: impl Fn(&World) -> bool) -> Duration {
    let start = world.now;
    while !holds(world) {
        late_turn(world, LATE);
        assert!(world.now - start <= limit, "it did not happen within {limit:?}");
    }
    world.now - start
}

fn freeze(world: &mut World, conn: ConnId) {
    world.peer(conn).frozen = true;
}

#[test]
fn request_deadlines_fire_at_a_frozen_cluster_although_every_wake_is_late() {
    let (mut world, conn) = World::connected(three());
    freeze(&mut world, conn);
    let sent = world.submit(RequestKind::Command, "x", Timeout::After(seconds(15)));
    late_until(&mut world, seconds(15) + DEADLINE_LATE, |world| world.result(sent).is_some());
    // The next requests have no connection at all.
    for _ in 0..3 {
        let key = world.submit(RequestKind::Command, "y", Timeout::After(seconds(15)));
        late_until(&mut world, seconds(15) + DEADLINE_LATE, |world| world.result(key).is_some());
        assert_eq!(world.result(key), Some(Err(Failure::Timeout { id: None, sent: false })));
    }
}

#[test]
fn request_deadlines_fire_at_a_deaf_member_although_every_wake_is_late() {
    let (mut world, _) = World::connected(single());
    for _ in 0..5 {
        let key = world.submit(RequestKind::Query, "x", Timeout::After(seconds(15)));
        late_until(&mut world, seconds(15) + DEADLINE_LATE, |world| world.result(key).is_some());
    }
}

#[test]
fn disconnect_ends_although_every_wake_is_late() {
    for frozen in [true, false] {
        let (mut world, conn) = World::connected(three());
        world.peer(conn).frozen = frozen;
        world.submit(RequestKind::Command, "never answered", Timeout::Never);
        late_turn(&mut world, LATE);
        world.machine.disconnect(world.now, seconds(5));
        // The timeout of disconnect(), then a second to close; each may be late.
        let limit = seconds(5) + DEADLINE_LATE + seconds(1) + DEADLINE_LATE;
        late_until(&mut world, limit, World::is_disconnected);
    }
}

#[test]
fn connect_times_out_although_every_wake_is_late() {
    let mut world = World::new(three());
    let key = world.machine.connect(world.now, Some(seconds(12)));
    // No address answers.
    late_until(&mut world, seconds(12) + DEADLINE_LATE, |world| {
        world.connect_result(key).is_some()
    });
    assert_eq!(world.state(), StateName::Disconnected);
}

#[test]
fn an_attempt_is_extended_once_and_the_next_member_is_asked() {
    let mut world = World::new(three());
    world.machine.connect(world.now, None);
    world.pump();
    let asked = |world: &World, member: &str| world.peers.iter().any(|peer| peer.member == member);
    // 5 s, extended once by 5 s; each ends in a late wake.
    let limit = 2 * (seconds(5) + LATE);
    late_until(&mut world, limit, |world| asked(world, "node-2"));
    late_until(&mut world, limit, |world| asked(world, "node-3"));
}

#[test]
fn a_frozen_member_is_left_although_every_wake_is_late() {
    let (mut world, conn) = World::connected(three());
    freeze(&mut world, conn);
    // The heartbeat timeout of 10 s begins again once.
    let limit = seconds(1) + LATE + seconds(10) + LATE;
    late_until(&mut world, limit, |world| world.state() != StateName::Connected);
}

#[test]
fn a_deaf_member_is_left_although_every_wake_is_late() {
    let (mut world, _) = World::connected(three());
    world.machine.ping(world.now);
    // The wait of 5 s for the answer to the KeepAlive begins again once.
    let limit = seconds(1) + LATE + seconds(5) + LATE;
    late_until(&mut world, limit, |world| world.state() != StateName::Connected);
    assert_eq!(world.disconnect_reason(), Some(DisconnectReason::KeepAliveTimeout));
}

#[test]
fn a_silent_member_is_left_and_requests_are_resent_although_every_wake_is_late() {
    let (mut world, conn) = World::connected(three());
    world.peer(conn).answers_keep_alives = true;
    world.submit(RequestKind::Command, "x", Timeout::Never);
    let mut resent = false;
    let start = world.now;
    while world.state() == StateName::Connected {
        late_turn(&mut world, LATE);
        resent |= world.machine.stats().resent > 0;
        // An answered KeepAlive proves that the connection works, but only an answer to a request ends the silence.
        assert!(world.now - start < seconds(60), "the silence never ends");
    }
    assert!(resent);
    assert_eq!(world.disconnect_reason(), Some(DisconnectReason::Silent));
}

#[test]
fn a_second_jump_without_a_byte_in_between_extends_nothing() {
    let (mut world, conn) = World::connected(three());
    freeze(&mut world, conn);
    let first = world.submit(RequestKind::Command, "x", Timeout::After(seconds(2)));
    let second = world.submit(RequestKind::Command, "y", Timeout::After(seconds(30)));
    world.sleep(seconds(10));
    world.wake();
    assert_eq!(world.result(first), None, "the first jump puts it off");
    world.sleep(GRACE + seconds(2));
    world.wake();
    assert!(world.result(first).is_some());
    world.sleep(seconds(30));
    world.wake();
    assert!(world.result(second).is_some(), "no byte came since the first jump");
    assert_ne!(world.state(), StateName::Connected, "nor is the heartbeat extended");
}

#[test]
fn a_jump_extends_again_once_the_member_has_answered() {
    let (mut world, conn) = World::connected(three());
    let keep_alive = |world: &mut World| {
        let messages = world.all_received(conn);
        messages.into_iter().find_map(|message| match message {
            ClientMessage::KeepAlive { timestamp } => Some(timestamp),
            _ => None,
        })
    };
    for round in 0..5 {
        let key = world.submit(RequestKind::Query, "x", Timeout::After(seconds(20)));
        world.sleep(seconds(60));
        world.wake();
        assert_eq!(world.result(key), None, "round {round}: the probe comes first");
        let timestamp = keep_alive(&mut world).expect("a probe");
        world.say(conn, ServerMessage::KeepAliveResponse { timestamp });
        world.advance(millis(1));
        assert!(world.result(key).is_some(), "round {round}");
        assert_eq!(world.state(), StateName::Connected, "round {round}");
    }
    assert_eq!(world.count_events(|event| matches!(event, Event::Disconnected { .. })), 0);
}
