//! The rules of the session hold while disconnect() waits for answers.

use crate::common::*;
use zraft_core::{
    ConnId, DisconnectReason, Event, Failure, OnSessionExpired, RequestKey, RequestKind, StateName,
    Timeout,
};
use zraft_protocol::{ClientMessage, RejectionReason, SessionCloseReason};

fn command(world: &mut World, text: &str) -> RequestKey {
    world.submit(RequestKind::Command, text, Timeout::Never)
}

/// Returns a world that drains one sent and one unsent command, while node-2 is asked to continue the session.
fn draining(config: zraft_core::ConfigBuilder) -> (World, RequestKey, RequestKey) {
    let mut sent = None;
    let mut world = World::stepped_down(config, |world, _| sent = Some(command(world, "sent")));
    let unsent = command(&mut world, "unsent");
    world.machine.disconnect(world.now, seconds(300));
    (world, sent.unwrap(), unsent)
}

#[test]
fn a_permanent_rejection_during_a_drain_settles_everything_and_ends_it() {
    for reason in [RejectionReason::InvalidCapabilities, RejectionReason::Other] {
        let (mut world, sent, unsent) = draining(three());
        let conn = world.accept("node-2");
        let nonce = world.continue_nonce(conn);
        world.reject(conn, nonce, reason, None);
        let rejected = |sent| Some(Err(Failure::SessionRejected { reason, sent }));
        assert_eq!(world.result(sent), rejected(true));
        assert_eq!(world.result(unsent), rejected(false));
        assert!(world.is_disconnected());
        assert_eq!(world.state(), StateName::Disconnected);
        assert_eq!(world.disconnect_reason(), Some(DisconnectReason::Rejected));
        assert!(world.peer(conn).closed);
        world.advance(seconds(300));
        assert_eq!(world.asks(), None, "no member is asked any more");
    }
}

#[test]
fn a_connect_that_waits_for_a_drain_is_not_rejected_with_the_session_before_it() {
    let (mut world, ..) = draining(three());
    let key = world.connect();
    let conn = world.accept("node-2");
    let nonce = world.continue_nonce(conn);
    world.reject(conn, nonce, RejectionReason::Other, None);
    assert!(world.is_disconnected());
    assert_eq!(world.connect_result(key), None, "it waits for its own session");
    let conn = world.accept("node-1");
    world.create(conn);
    assert_eq!(world.connect_result(key), Some(Ok(())));
}

#[test]
fn a_doubtful_session_that_expires_during_a_drain_ends_it() {
    // No other session follows, even with NewSession.
    for config in [three(), three().on_session_expired(OnSessionExpired::NewSession)] {
        let (mut world, sent, unsent) = draining(config);
        let start = world.now;
        while !world.is_disconnected() {
            match world.asks() {
                Some(member) => {
                    let conn = world.accept(&member);
                    let nonce = world.continue_nonce(conn);
                    world.reject(conn, nonce, RejectionReason::SessionExpired, None);
                }
                None => {
                    let step = world.machine.poll_timeout().unwrap() - world.now;
                    world.advance(step);
                }
            }
            assert!(
                world.now - start <= seconds(90),
                "the drain lasts longer than the session timeout"
            );
        }
        assert_eq!(world.now - start, seconds(90), "the client asks for the session until then");
        let expired =
            |sent| Some(Err(Failure::SessionExpired { session_id: Some(session()), sent }));
        assert_eq!(world.result(sent), expired(true));
        assert_eq!(world.result(unsent), expired(false));
        assert_eq!(world.count_events(|e| matches!(e, Event::SessionExpired { .. })), 1);
        assert_eq!(world.state(), StateName::Disconnected);
        assert_eq!(world.disconnect_reason(), Some(DisconnectReason::SessionExpired));
        assert_eq!(world.asks(), None);
    }
}

/// Three members in a row end with these commands on the wire, so the commands go one at a time from then on.
fn suspected(commands: u64) -> (World, ConnId, Vec<RequestKey>) {
    let (mut world, mut conn) = World::connected(three());
    world.answers_keep_alives = true;
    world.answer_keep_alive(conn);
    let keys = (1..=commands).map(|n| command(&mut world, &format!("c{n}"))).collect();
    for _ in 0..3 {
        world.advance(millis(60));
        world.reset(conn);
        conn = world.resumed();
    }
    (world, conn, keys)
}

#[test]
fn a_drain_sends_suspects_one_at_a_time() {
    let (mut world, conn, mut keys) = suspected(3);
    keys.push(command(&mut world, "c4"));
    world.machine.disconnect(world.now, seconds(30));
    for (id, key) in (1..).zip(&keys) {
        let messages = world.all_received(conn);
        assert_eq!(command_ids(&messages), [id], "one at a time");
        world.advance(millis(500));
        assert!(world.all_received(conn).is_empty(), "not even CloseSession");
        world.answer(conn, id, "r");
        assert_eq!(world.result(*key), Some(Ok("r".into())));
    }
    assert!(matches!(world.all_received(conn)[..], [ClientMessage::CloseSession { .. }]));
}

#[test]
fn a_request_quarantined_during_a_drain_no_longer_holds_it_up() {
    let (mut world, mut conn, keys) = suspected(2);
    world.machine.disconnect(world.now, seconds(60));
    for _ in 0..2 {
        assert_eq!(command_ids(&world.all_received(conn)), [1]);
        world.reset(conn);
        conn = world.resumed();
    }
    assert_eq!(world.result(keys[0]), Some(Err(Failure::Quarantined { sent: true })));
    assert_eq!(command_ids(&world.all_received(conn)), [2]);
    world.answer(conn, 2, "r");
    assert!(matches!(world.all_received(conn)[..], [ClientMessage::CloseSession { .. }]));
}

#[test]
fn requests_submitted_during_a_drain_are_refused_and_queued_once_it_is_over() {
    let (mut world, conn) = World::connected(three());
    world.command("a");
    world.machine.disconnect(world.now, seconds(5));
    let key = world.connect();
    let refused =
        world.machine.submit(world.now, RequestKind::Command, "x".into(), Timeout::Default);
    assert_eq!(refused, Err(Failure::Closed { sent: false }));
    world.answer(conn, 1, "");
    world.hang_up(conn);
    assert!(world.is_disconnected());
    // The time counts from the completion of disconnect().
    let queued = world.command("b");
    let conn = world.accept("node-1");
    world.create(conn);
    assert_eq!(world.connect_result(key), Some(Ok(())));
    assert_eq!(payloads(&world.all_received(conn)), ["b"]);
    world.answer(conn, 1, "r");
    assert_eq!(world.result(queued), Some(Ok("r".into())));
}

#[test]
fn a_drain_without_a_connection_and_without_requests_reconnects_to_close_the_session() {
    let mut world = World::continuing(three());
    world.machine.disconnect(world.now, seconds(5));
    world.refuse("node-2");
    assert!(!world.is_disconnected());
    let conn = world.accept("node-3");
    world.resume(conn);
    assert!(matches!(world.all_received(conn)[..], [ClientMessage::CloseSession { .. }]));
    assert!(world.peer(conn).shut);
    world.hang_up(conn);
    assert!(world.is_disconnected());
}

#[test]
fn a_drain_does_not_wait_for_requests_past_their_deadline() {
    let (mut world, conn) = World::connected(three().max_in_flight(1));
    world.peer(conn).answers_keep_alives = true;
    let after = Timeout::After(seconds(1));
    let keys = [
        world.submit(RequestKind::Command, "sent", after),
        world.submit(RequestKind::Command, "past the window", after),
        world.submit(RequestKind::Query, "asked", after),
    ];
    world.all_received(conn);
    world.machine.disconnect(world.now, seconds(60));
    world.advance(seconds(1));
    for (key, sent) in keys.into_iter().zip([true, false, false]) {
        match world.result(key) {
            Some(Err(Failure::Timeout { sent: told, .. })) => assert_eq!(told, sent),
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(world.all_received(conn)[..], [ClientMessage::CloseSession { .. }]));
    // The sent command was detached, and its outcome stays unknown.
    assert_eq!(world.resolution(keys[0]), Some(Err(Failure::Closed { sent: true })));
}

#[test]
fn a_connect_that_waits_for_a_drain_without_a_connection_starts_when_the_drain_times_out() {
    let (mut world, sent, unsent) = draining(three());
    world.machine.disconnect(world.now, seconds(2));
    let key = world.connect();
    world.advance(seconds(2));
    assert!(world.is_disconnected());
    assert_eq!(world.result(sent), Some(Err(Failure::Closed { sent: true })));
    assert_eq!(world.result(unsent), Some(Err(Failure::Closed { sent: false })));
    let conn = world.accept("node-1");
    world.create(conn);
    assert_eq!(world.connect_result(key), Some(Ok(())));
    assert!(world.all_received(conn).is_empty(), "nothing of the session before");
}

#[test]
fn disconnect_ends_an_attempt_begun_by_an_expiry_at_once_and_the_next_connect_has_a_timeout() {
    let config = three().on_session_expired(OnSessionExpired::NewSession);
    let (mut world, conn) = World::connected(config);
    world.answer_keep_alive(conn);
    let query = world.query("asked");
    world.closed(conn, SessionCloseReason::SessionExpired, None);
    let command = world.command("unsent");
    world.machine.disconnect(world.now, seconds(5));
    assert!(world.asks().is_none());
    assert!(world.is_disconnected());
    for key in [query, command] {
        assert_eq!(world.result(key), Some(Err(Failure::Closed { sent: false })));
    }
    let key = world.machine.connect(world.now, Some(seconds(1)));
    world.advance(seconds(1));
    assert!(matches!(world.connect_result(key), Some(Err(Failure::Connection { .. }))));
    assert_eq!(world.state(), StateName::Disconnected, "no caller waits");
}

#[test]
fn the_timeout_of_a_drain_includes_its_reconnects() {
    let (mut world, mut conn) = World::connected(three());
    world.answers_keep_alives = true;
    world.peer(conn).answers_keep_alives = true;
    let key = command(&mut world, "never answered");
    let start = world.now;
    world.machine.disconnect(world.now, seconds(10));
    for _ in 0..3 {
        world.advance(seconds(3));
        world.reset(conn);
        conn = world.resumed();
    }
    let took = world.advance_until(seconds(10), |world| world.result(key).is_some());
    assert!(took <= seconds(1), "{took:?}");
    assert_eq!(world.now - start, seconds(10));
    assert_eq!(world.result(key), Some(Err(Failure::Closed { sent: true })));
    assert!(matches!(world.all_received(conn).last(), Some(ClientMessage::CloseSession { .. })));
}
