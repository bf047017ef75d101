//! Expiry of the session: every request fails, or continues in a new session.

use std::time::Duration;

use crate::common::{rounds::*, *};
use zraft_core::{
    ConfigBuilder, DisconnectReason, Event, Failure, Instant, OnSessionExpired, RequestKind,
    StateName, Timeout,
};
use zraft_protocol::{ClientMessage, RejectionReason, SessionCloseReason};

fn renewing() -> ConfigBuilder {
    three().on_session_expired(OnSessionExpired::NewSession).max_in_flight(2)
}

fn expired(sent: bool) -> Failure {
    Failure::SessionExpired { session_id: Some(session()), sent }
}

#[test]
fn by_default_everything_settles_and_the_client_is_disconnected() {
    let (mut world, conn) = World::connected(three().max_in_flight(2));
    let keys: Vec<_> = (0..4).map(|_| world.command("c")).collect();
    let query = world.query("q");
    let detached = keys[0];
    world.machine.cancel(world.now, detached);
    world.closed(conn, SessionCloseReason::SessionExpired, None);
    assert_eq!(world.state(), StateName::Disconnected);
    assert_eq!(world.disconnect_reason(), Some(DisconnectReason::SessionExpired));
    let event = Event::SessionExpired { session_id: session() };
    assert_eq!(world.count_events(|other| *other == event), 1);
    assert_eq!(world.resolution(detached), Some(Err(expired(true))));
    assert_eq!(world.result(keys[1]), Some(Err(expired(true))));
    assert_eq!(world.result(keys[2]), Some(Err(expired(false))));
    assert_eq!(world.result(keys[3]), Some(Err(expired(false))));
    assert_eq!(world.result(query), Some(Err(expired(false))));
    assert_eq!(world.asks(), None);
    assert_eq!(world.machine.session_id(), None);
    let stats = world.machine.stats();
    assert_eq!((stats.in_flight, stats.queued, stats.detached, stats.queued_bytes), (0, 0, 0, 0));
}

#[test]
fn under_new_session_sent_commands_are_unknown_and_the_rest_goes_in_the_new_session() {
    let (mut world, conn) = World::connected(renewing());
    // The connection had an answer, so no pause follows its end.
    world.answer_keep_alive(conn);
    let commands: Vec<_> = (0..4).map(|n| world.command(&format!("c{n}"))).collect();
    let queries: Vec<_> = (0..3).map(|n| world.query(&format!("q{n}"))).collect();
    world.closed(conn, SessionCloseReason::SessionExpired, None);
    assert_eq!(world.state(), StateName::ConnectingNewSession);
    assert_eq!(world.disconnect_reason(), Some(DisconnectReason::SessionExpired));
    let event = Event::SessionExpired { session_id: session() };
    assert_eq!(world.count_events(|other| *other == event), 1);
    for key in &commands[..2] {
        assert_eq!(world.result(*key), Some(Err(expired(true))));
    }
    for key in commands[2..].iter().chain(&queries) {
        assert_eq!(world.result(*key), None);
    }
    let conn = world.accept("node-1");
    assert!(matches!(world.peer(conn).inbox.front(), Some(ClientMessage::CreateSession { .. })));
    world.create(conn);
    let messages = world.all_received(conn);
    let mut texts = payloads(&messages);
    texts.sort();
    assert_eq!(texts, ["c2", "c3", "q0", "q1"]);
    assert_eq!(command_ids(&messages), [1, 2]);
    assert_eq!(lowest_ids(&messages), [1, 1]);
    let renewed = |event: &Event| matches!(event, Event::Connected { resumed: false, .. });
    assert_eq!(world.count_events(renewed), 1, "watches must be renewed");
    world.answer(conn, 1, "r");
    assert_eq!(world.result(commands[2]), Some(Ok("r".into())));
}

#[test]
fn a_command_sent_in_one_session_is_never_sent_in_another() {
    let (mut world, conn) = World::connected(renewing());
    // The connection had an answer, so no pause follows its end.
    world.answer_keep_alive(conn);
    for n in 0..2 {
        world.submit(RequestKind::Command, &format!("old{n}"), Timeout::Never);
    }
    world.advance(seconds(4));
    world.closed(conn, SessionCloseReason::SessionExpired, None);
    world.command("new");
    let conn = world.accept("node-1");
    world.create(conn);
    let mut texts = payloads(&world.all_received(conn));
    world.answer(conn, 1, "");
    world.advance(seconds(60));
    texts.extend(payloads(&world.all_received(conn)));
    assert_eq!(texts, ["new"]);
}

#[test]
fn queries_keep_their_deadlines_over_sessions() {
    let (mut world, conn) = World::connected(renewing());
    let key = world.submit(RequestKind::Query, "q", Timeout::After(seconds(2)));
    world.closed(conn, SessionCloseReason::SessionExpired, None);
    world.advance(millis(1_999));
    assert_eq!(world.result(key), None);
    world.advance(millis(1));
    assert!(matches!(world.result(key), Some(Err(Failure::Timeout { sent: false, .. }))));
}

#[test]
fn a_query_can_be_answered_in_the_new_session() {
    let (mut world, conn) = World::connected(renewing());
    // The connection had an answer, so no pause follows its end.
    world.answer_keep_alive(conn);
    let key = world.query("q");
    world.all_received(conn);
    world.closed(conn, SessionCloseReason::SessionExpired, None);
    let conn = world.accept("node-1");
    world.create(conn);
    let id = correlation_ids(&world.all_received(conn)).pop().unwrap();
    world.answer_query(conn, &id, "r");
    assert_eq!(world.result(key), Some(Ok("r".into())));
}

#[test]
fn a_detached_command_is_resolved_as_unknown_when_a_new_session_begins() {
    let (mut world, conn) = World::connected(renewing());
    let key = world.command("c");
    world.machine.cancel(world.now, key);
    world.closed(conn, SessionCloseReason::SessionExpired, None);
    assert_eq!(world.resolution(key), Some(Err(expired(true))));
}

#[test]
fn an_expiry_while_connecting_begins_a_new_session_too() {
    let mut key = None;
    let mut world = World::stepped_down(renewing(), |world, _| key = Some(world.command("sent")));
    world.command("unsent");
    let conn = world.accept("node-2");
    world.continue_nonce(conn);
    world.closed(conn, SessionCloseReason::SessionExpired, None);
    assert_eq!(world.result(key.unwrap()), Some(Err(expired(true))));
    assert_eq!(world.state(), StateName::ConnectingNewSession);
    let conn = world.accept("node-2");
    world.create(conn);
    assert_eq!(payloads(&world.all_received(conn)), ["unsent"]);
}

#[test]
fn a_waiting_connect_resolves_with_the_new_session() {
    let mut world = World::continuing(renewing());
    let key = world.connect();
    let conn = world.accept("node-2");
    world.closed(conn, SessionCloseReason::SessionExpired, None);
    assert_eq!(world.connect_result(key), None);
    let conn = world.accept("node-2");
    world.create(conn);
    assert_eq!(world.connect_result(key), Some(Ok(())));
    let mut world = World::continuing(three());
    let key = world.connect();
    let conn = world.accept("node-2");
    world.closed(conn, SessionCloseReason::SessionExpired, None);
    assert_eq!(world.connect_result(key), Some(Err(expired(false))));
}

#[test]
fn sessions_that_expire_at_once_are_followed_by_a_backoff() {
    let (mut world, mut conn) = World::connected(renewing());
    for pause in [100, 200, 400] {
        world.closed(conn, SessionCloseReason::SessionExpired, None);
        assert_eq!(world.state(), StateName::ConnectingNewSession);
        assert_eq!(world.asks(), None, "an unheard connection is a round that failed");
        let (member, took) = world.next_asked(seconds(10));
        assert_eq!(member, "node-1");
        assert!(took >= millis(pause / 2) && took <= millis(pause), "{took:?} of {pause} ms");
        conn = world.accept("node-1");
        world.create(conn);
    }
    // A session with an answer is followed by the next at once.
    world.answer_keep_alive(conn);
    world.closed(conn, SessionCloseReason::SessionExpired, None);
    assert_eq!(world.asks().as_deref(), Some("node-1"));
}

/// Lets every member deny the session until this long has passed since `start`.
fn denied_until(world: &mut World, start: Instant, time: Duration) {
    while world.now - start < time {
        assert_eq!(world.state(), StateName::ConnectingExistingSession);
        if world.asks().is_some() {
            reject_next(world, RejectionReason::SessionExpired, None);
        } else {
            let pause = world.machine.poll_timeout().unwrap() - world.now;
            world.advance(pause.min(start + time - world.now));
        }
    }
}

#[test]
fn the_configured_session_timeout_counts_from_the_last_session_continued() {
    let config = three().session_timeout(seconds(40)).keep_alive_interval(seconds(10));
    let (mut world, conn) = World::connected(config);
    world.advance(seconds(9));
    world.hang_up(conn);
    let conn = world.resumed();
    let start = world.now;
    world.advance(seconds(9));
    world.closed(conn, SessionCloseReason::NotLeaderAnymore, None);
    denied_until(&mut world, start, millis(39_999));
    assert_eq!(world.state(), StateName::ConnectingExistingSession);
    world.advance(millis(1));
    assert_eq!(world.state(), StateName::Disconnected);
    assert_eq!(world.count_events(|e| matches!(e, Event::SessionExpired { .. })), 1);
}

#[test]
fn a_doubtful_session_past_its_timeout_is_replaced_under_new_session() {
    // The time ends in the pause between two rounds, or while a member is being asked.
    for asking in [false, true] {
        let mut sent = None;
        let mut world = World::stepped_down(renewing(), |world, _| {
            sent = Some(world.submit(RequestKind::Command, "sent", Timeout::Never));
        });
        let unsent = world.submit(RequestKind::Command, "unsent", Timeout::Never);
        let query = world.submit(RequestKind::Query, "query", Timeout::Never);
        let start = world.now;
        if asking {
            denied_until(&mut world, start, seconds(84));
            let member = world.next_asked(seconds(5)).0;
            world.accept(&member);
        } else {
            denied_until(&mut world, start, millis(89_999));
            assert_eq!(world.asks(), None);
        }
        assert_eq!(world.state(), StateName::ConnectingExistingSession);
        world.advance(start + seconds(90) - world.now);
        assert_eq!(world.state(), StateName::ConnectingNewSession, "{asking}");
        assert_eq!(world.count_events(|e| matches!(e, Event::SessionExpired { .. })), 1);
        assert_eq!(world.result(sent.unwrap()), Some(Err(expired(true))));
        let (member, _) = world.next_asked(seconds(5));
        let conn = world.accept(&member);
        world.create(conn);
        let mut texts = payloads(&world.all_received(conn));
        texts.sort();
        assert_eq!(texts, ["query", "unsent"], "{asking}");
        assert_eq!((world.result(unsent), world.result(query)), (None, None));
    }
}
