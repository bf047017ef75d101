//! A member that answers not even PINGs while requests wait: another member is asked beside its connection.

use crate::common::rounds::redirect;
use crate::common::*;
use zraft_core::{ConnId, DisconnectReason, Event, StateName};
use zraft_protocol::{RejectionReason, SessionCloseReason};

/// Returns a world whose member froze at once after it got a command.
fn frozen() -> (World, ConnId) {
    let (mut world, conn) = World::connected(three());
    world.answer_keep_alive(conn);
    world.events.clear();
    world.command("a");
    world.pump();
    world.peer(conn).frozen = true;
    (world, conn)
}

#[test]
fn a_frozen_member_is_left_within_a_second_and_its_commands_are_resent_at_once() {
    let (mut world, conn) = frozen();
    world.advance(millis(999));
    assert_eq!(world.open_connections(), ["node-1"]);
    world.advance(millis(1));
    let next = world.accept("node-2");
    world.resume(next);
    assert!(world.peer(conn).closed);
    assert_eq!(payloads(&world.all_received(next)), ["a"]);
    assert_eq!(world.disconnect_reason(), Some(DisconnectReason::HeartbeatTimeout));
    assert_eq!(world.machine.stats().unknown, 0);
}

#[test]
fn the_connection_stays_until_another_member_continues_the_session() {
    let (mut world, conn) = frozen();
    world.advance(seconds(1));
    redirect(&mut world, Some("node-1"));
    redirect(&mut world, Some("node-1"));
    for _ in 0..5 {
        world.next_asked(seconds(1));
        redirect(&mut world, Some("node-1"));
    }
    assert!(!world.peer(conn).closed);
    assert_eq!(world.state(), StateName::Connected);
    let asked_again = world.peers.iter().filter(|peer| peer.member == "node-1").count();
    assert_eq!(asked_again, 1, "a second connection to it would tell nothing");
}

#[test]
fn a_member_that_runs_again_keeps_the_session_and_its_answers_count() {
    let (mut world, conn) = frozen();
    world.advance(seconds(1));
    assert_eq!(world.open_connections(), ["node-1", "node-2"]);
    world.peer(conn).frozen = false;
    world.answer(conn, 1, "done");
    assert_eq!(world.open_connections(), ["node-1"]);
    assert_eq!(world.state(), StateName::Connected);
    assert_eq!(world.machine.stats().answered, 1);
    assert_eq!(world.count_events(|event| matches!(event, Event::Disconnected { .. })), 0);
}

#[test]
fn members_that_are_idle_or_alone_are_not_left() {
    let (mut world, conn) = World::connected(three());
    world.answer_keep_alive(conn);
    world.peer(conn).frozen = true;
    world.advance(seconds(9));
    assert_eq!(world.open_connections(), ["node-1"], "nothing is awaited");
    let (mut world, conn) = World::connected(single());
    world.command("a");
    world.peer(conn).frozen = true;
    world.advance(seconds(4));
    assert_eq!(world.open_connections(), ["node-1"]);
}

#[test]
fn a_busy_member_that_answers_pings_is_not_left() {
    let (mut world, conn) = World::connected(three());
    world.peer(conn).answers_keep_alives = true;
    world.command("a");
    world.advance(seconds(5));
    assert_eq!(world.open_connections(), ["node-1"]);
}

#[test]
fn a_member_that_denies_the_session_does_not_end_it_while_the_connection_stands() {
    for reason in [
        RejectionReason::SessionExpired,
        RejectionReason::InvalidCapabilities,
        RejectionReason::Other,
    ] {
        let (mut world, conn) = frozen();
        world.advance(seconds(1));
        let next = world.accept("node-2");
        let nonce = world.continue_nonce(next);
        world.reject(next, nonce, reason, None);
        assert_eq!(world.state(), StateName::Connected, "{reason:?}");
        let next = world.accept("node-3");
        world.closed(next, SessionCloseReason::SessionExpired, None);
        assert_eq!(world.state(), StateName::Connected, "{reason:?}");
        assert!(!world.peer(conn).closed);
    }
}

#[test]
fn a_search_beside_the_connection_goes_on_when_the_connection_is_lost() {
    let (mut world, conn) = frozen();
    world.advance(seconds(1));
    let next = world.accept("node-2");
    world.hang_up(conn);
    assert_eq!(world.state(), StateName::ConnectingExistingSession);
    assert_eq!(world.open_connections(), ["node-2"]);
    world.resume(next);
    assert_eq!(world.state(), StateName::Connected);
    assert_eq!(payloads(&world.all_received(next)), ["a"]);
}

#[test]
fn closing_ends_the_search_beside_the_connection() {
    let (mut world, conn) = frozen();
    world.advance(seconds(1));
    world.machine.disconnect(world.now, millis(100));
    world.advance(millis(100));
    assert_eq!(world.open_connections(), ["node-1"]);
    world.advance(seconds(2));
    assert_eq!(world.state(), StateName::Disconnected);
    assert!(world.peer(conn).closed);
}

#[test]
fn a_member_that_lost_its_connection_is_asked_again_beside_one_that_is_down() {
    // node-1 freezes, is killed and runs again; the host of node-2 is down.
    let config = zraft_core::Config::builder()
        .member("node-1", "tcp://127.0.0.1:7001")
        .member("node-2", "tcp://127.0.0.1:7002")
        .capability("protocol", "test");
    let (mut world, conn) = World::connected(config);
    world.answer_keep_alive(conn);
    world.command("a");
    world.pump();
    world.peer(conn).frozen = true;
    world.advance(seconds(2));
    assert_eq!(world.open_connections(), ["node-1", "node-2"]);
    world.reset(conn);
    world.advance(millis(300));
    assert_eq!(world.open_connections(), ["node-2", "node-1"]);
    let next = world.accept("node-1");
    world.resume(next);
    assert_eq!(payloads(&world.all_received(next)), ["a"]);
}

#[test]
fn a_search_beside_the_connection_is_not_reported_as_reconnecting() {
    let (mut world, conn) = frozen();
    world.advance(seconds(1));
    assert_eq!(world.open_connections(), ["node-1", "node-2"]);
    world.peer(conn).frozen = false;
    world.answer(conn, 1, "done");
    let reconnecting = |event: &Event| matches!(event, Event::Reconnecting { .. });
    assert_eq!(world.count_events(reconnecting), 0);
}

#[test]
fn a_member_is_asked_for_a_sign_of_life_before_it_counts_as_frozen() {
    let (mut world, conn) = World::connected(three());
    world.answer_keep_alive(conn);
    world.peer(conn).answers_keep_alives = true;
    world.command("a");
    // The client's process does not run for a little more than a heartbeat interval.
    world.sleep(millis(1_100));
    world.wake();
    world.advance(seconds(2));
    assert_eq!(world.peers.len(), 1, "no other member was asked");
}

#[test]
fn a_member_that_answers_later_than_a_short_heartbeat_interval_is_not_left() {
    for interval in [1, 10, 100] {
        let (mut world, conn) = World::connected(three().heartbeat_interval(millis(interval)));
        world.answer_keep_alive(conn);
        world.command("a");
        world.pump();
        // A round trip to another continent.
        world.peer(conn).frozen = true;
        world.advance(millis(200));
        world.peer(conn).frozen = false;
        world.answer(conn, 1, "done");
        assert_eq!(world.peers.len(), 1, "no other member was asked");
    }
}
