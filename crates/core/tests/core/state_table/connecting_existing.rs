//! ConnectingExistingSession: there is a session, and it is not bound to a connection.

use zraft_core::{Completion, ConnId, Event, Failure, RequestKind, RequestRef, StateName, Timeout};
use zraft_protocol::{
    ClientMessage, CorrelationId, Nonce, RejectionReason, RequestErrorReason, ServerMessage,
    SessionCloseReason, Timestamp,
};

use crate::common::*;

/// ContinueSession went to node-2; node-1 led before.
fn asked() -> (World, ConnId, Nonce) {
    let mut world = World::continuing(three());
    let conn = world.accept("node-2");
    let nonce = world.continue_nonce(conn);
    world.events.clear();
    (world, conn, nonce)
}

fn ignores(message: impl Fn(Nonce) -> ServerMessage) {
    let (mut world, conn, nonce) = asked();
    world.command("queued");
    world.say_in_vain(conn, message(nonce));
    assert_eq!(world.state(), StateName::ConnectingExistingSession);
    // The attempt continues.
    world.say(conn, ServerMessage::SessionContinued { nonce });
    assert_eq!(world.state(), StateName::Connected);
}

/// Checks that the client left the connection and asks this member for the same session, on a new connection with a new
/// nonce.
fn moved_on(mut world: World, conn: ConnId, nonce: Nonce, to: &str) {
    assert_eq!(world.state(), StateName::ConnectingExistingSession);
    assert!(world.peer(conn).closed);
    let next = world.accept(to);
    assert_ne!(next, conn);
    assert_ne!(world.continue_nonce(next), nonce);
    assert_eq!(world.machine.session_id(), Some(&session()));
    assert!(world.completions.is_empty(), "nothing is settled by that");
}

#[test]
fn connecting_existing_connect_joins_the_attempt_under_way() {
    let (mut world, conn, nonce) = asked();
    let key = world.connect();
    assert_eq!(world.connect_result(key), None);
    let connections = world.peers.len();
    world.say(conn, ServerMessage::SessionContinued { nonce });
    assert_eq!(world.connect_result(key), Some(Ok(())));
    assert_eq!(world.peers.len(), connections);
}

#[test]
fn connecting_existing_submit_command_is_queued() {
    let (mut world, conn, nonce) = asked();
    let key = world.command("a");
    assert_eq!(world.result(key), None);
    assert_eq!(world.machine.stats().queued, 1);
    assert!(world.all_received(conn).is_empty(), "nothing before the session's answer");
    world.say(conn, ServerMessage::SessionContinued { nonce });
    assert_eq!(command_ids(&world.all_received(conn)), [1]);
}

#[test]
fn connecting_existing_submit_query_is_queued() {
    let (mut world, conn, nonce) = asked();
    let key = world.query("a");
    assert_eq!(world.result(key), None);
    assert_eq!(world.machine.stats().queued, 1);
    assert!(world.all_received(conn).is_empty(), "nothing before the session's answer");
    world.say(conn, ServerMessage::SessionContinued { nonce });
    assert_eq!(correlation_ids(&world.all_received(conn)).len(), 1);
}

#[test]
fn connecting_existing_session_created_is_ignored() {
    ignores(|nonce| ServerMessage::SessionCreated { session_id: session(), nonce });
}

#[test]
fn connecting_existing_session_continued_connects_resends_pending_then_sends_the_queue() {
    let mut world = World::stepped_down(three(), |world, _| {
        world.command("a");
        world.query("q");
        world.command("b");
    });
    world.command("c");
    let conn = world.accept("node-2");
    world.resume(conn);
    assert_eq!(world.state(), StateName::Connected);
    let messages = world.all_received(conn);
    assert_eq!(payloads(&messages), ["a", "b", "q", "c"]);
    assert_eq!(command_ids(&messages), [1, 2, 3]);
    let connected = |event: &Event| matches!(event, Event::Connected { resumed: true, .. });
    assert_eq!(world.count_events(connected), 1);
}

#[test]
fn connecting_existing_rejected_not_leader_takes_the_next_connection() {
    let (mut world, conn, nonce) = asked();
    world.reject(conn, nonce, RejectionReason::NotLeader, None);
    moved_on(world, conn, nonce, "node-3");
    let (mut world, conn, nonce) = asked();
    world.reject(conn, nonce, RejectionReason::NotLeader, Some("node-1"));
    moved_on(world, conn, nonce, "node-1");
}

#[test]
fn connecting_existing_rejected_session_expired_is_doubted() {
    let (mut world, conn, nonce) = asked();
    world.reject(conn, nonce, RejectionReason::SessionExpired, None);
    assert_eq!(world.count_events(|event| matches!(event, Event::SessionExpired { .. })), 0);
    moved_on(world, conn, nonce, "node-3");
}

#[test]
fn connecting_existing_rejected_permanently_settles_everything_and_disconnects() {
    for reason in [RejectionReason::InvalidCapabilities, RejectionReason::Other] {
        let mut keys = Vec::new();
        let mut world = World::stepped_down(three(), |world, _| {
            keys.extend([world.command("sent"), world.query("asked")]);
        });
        keys.push(world.command("queued"));
        let connect = world.connect();
        let conn = world.accept("node-2");
        let nonce = world.continue_nonce(conn);
        world.reject(conn, nonce, reason, None);
        assert_eq!(world.state(), StateName::Disconnected);
        assert_eq!(
            world.connect_result(connect),
            Some(Err(Failure::SessionRejected { reason, sent: false }))
        );
        for (key, sent) in keys.into_iter().zip([true, false, false]) {
            assert_eq!(world.result(key), Some(Err(Failure::SessionRejected { reason, sent })));
        }
    }
}

#[test]
fn connecting_existing_other_nonce_is_ignored() {
    let other = |nonce: Nonce| Nonce::new(nonce.get() ^ 1 << 40).unwrap();
    ignores(|nonce| ServerMessage::SessionCreated { session_id: session(), nonce: other(nonce) });
    ignores(|nonce| ServerMessage::SessionContinued { nonce: other(nonce) });
    for reason in [
        RejectionReason::NotLeader,
        RejectionReason::SessionExpired,
        RejectionReason::InvalidCapabilities,
        RejectionReason::Other,
    ] {
        ignores(|nonce| ServerMessage::SessionRejected {
            reason,
            nonce: other(nonce),
            leader_id: Some(member("node-1")),
        });
    }
}

#[test]
fn connecting_existing_superseded_connection_is_ignored() {
    let (mut world, second, nonce) = asked();
    world.reject(second, nonce, RejectionReason::NotLeader, None);
    let third = world.accept("node-3");
    let third_nonce = world.continue_nonce(third);
    for nonce in [nonce, third_nonce] {
        world.say_too_late(second, ServerMessage::SessionContinued { nonce });
    }
    let reason = SessionCloseReason::SessionExpired;
    let first = world.peers[0].conn;
    for conn in [first, second] {
        world.say_too_late(conn, ServerMessage::SessionClosed { reason, leader_id: None });
    }
    assert_eq!(world.state(), StateName::ConnectingExistingSession);
    assert!(!world.peer(third).closed);
}

#[test]
fn connecting_existing_client_response_is_ignored() {
    let mut key = None;
    let mut world = World::stepped_down(three(), |world, _| key = Some(world.command("a")));
    let conn = world.accept("node-2");
    world.continue_nonce(conn);
    let result = payload("r");
    world.say_in_vain(conn, ServerMessage::ClientResponse { request_id: request(1), result });
    assert_eq!(world.result(key.unwrap()), None);
    ignores(|_| ServerMessage::ClientResponse { request_id: request(1), result: payload("r") });
}

#[test]
fn connecting_existing_query_response_is_ignored() {
    let mut id = None;
    let mut world = World::stepped_down(three(), |world, conn| {
        world.query("a");
        id = correlation_ids(&world.all_received(conn)).pop();
    });
    let conn = world.accept("node-2");
    world.continue_nonce(conn);
    let (correlation_id, result) = (id.unwrap(), payload("r"));
    world.say_in_vain(conn, ServerMessage::QueryResponse { correlation_id, result });
    ignores(|_| ServerMessage::QueryResponse {
        correlation_id: CorrelationId::new("c").unwrap(),
        result: payload("r"),
    });
}

#[test]
fn connecting_existing_response_evicted_is_ignored() {
    let mut key = None;
    let mut world = World::stepped_down(three(), |world, _| key = Some(world.command("a")));
    let conn = world.accept("node-2");
    world.continue_nonce(conn);
    let reason = RequestErrorReason::ResponseEvicted;
    world.say_in_vain(conn, ServerMessage::RequestError { request_id: request(1), reason });
    assert_eq!(world.result(key.unwrap()), None);
}

#[test]
fn connecting_existing_server_request_is_ignored() {
    ignores(|_| ServerMessage::ServerRequest {
        request_id: request(1),
        payload: payload("r"),
        created_at: Timestamp::from_millis(1),
    });
}

#[test]
fn connecting_existing_keep_alive_response_is_ignored() {
    ignores(|_| ServerMessage::KeepAliveResponse { timestamp: Timestamp::from_millis(1) });
}

#[test]
fn connecting_existing_session_closed_takes_the_next_connection() {
    for reason in [
        SessionCloseReason::Shutdown,
        SessionCloseReason::NotLeaderAnymore,
        SessionCloseReason::SessionError,
        SessionCloseReason::ConnectionClosed,
    ] {
        let (mut world, conn, nonce) = asked();
        world.closed(conn, reason, None);
        moved_on(world, conn, nonce, "node-3");
    }
}

#[test]
fn connecting_existing_session_closed_expired_is_believed() {
    let mut keys = Vec::new();
    let mut world = World::stepped_down(three(), |world, _| {
        keys.extend([world.command("sent"), world.query("asked")]);
    });
    keys.push(world.command("queued"));
    let conn = world.accept("node-2");
    world.closed(conn, SessionCloseReason::SessionExpired, None);
    assert_eq!(world.count_events(|event| matches!(event, Event::SessionExpired { .. })), 1);
    assert_eq!(world.state(), StateName::Disconnected);
    for (key, sent) in keys.into_iter().zip([true, false, false]) {
        let failure = Failure::SessionExpired { session_id: Some(session()), sent };
        assert_eq!(world.result(key), Some(Err(failure)));
    }
}

#[test]
fn connecting_existing_undecodable_is_skipped_counted_and_reported() {
    let (mut world, conn, nonce) = asked();
    for frame in [&b""[..], b"zraft", b"zraft\x02\x01", b"zraft\x01\x63", b"zraft\x01\x06\0\0"] {
        world.events.clear();
        world.say_bytes(conn, frame);
        assert_eq!(world.count_events(|event| matches!(event, Event::ProtocolError { .. })), 1);
        assert_eq!(world.events.len(), 1);
    }
    assert_eq!(world.machine.stats().protocol_errors, 5);
    assert!(!world.peer(conn).closed);
    world.say(conn, ServerMessage::SessionContinued { nonce });
    assert_eq!(world.state(), StateName::Connected);
}

#[test]
fn connecting_existing_connection_lost_takes_the_next_connection() {
    let mut world = World::continuing(three());
    world.refuse("node-2");
    assert_eq!(world.asks().as_deref(), Some("node-3"));
    assert_eq!(world.state(), StateName::ConnectingExistingSession);
    let (mut world, conn, nonce) = asked();
    world.hang_up(conn);
    moved_on(world, conn, nonce, "node-3");
    let (mut world, conn, nonce) = asked();
    world.raw(conn, &[0xff; 64]);
    moved_on(world, conn, nonce, "node-3");
}

#[test]
fn connecting_existing_attempt_timeout_takes_the_next_connection() {
    let mut world = World::continuing(three());
    let (conn, _) = world.opening().unwrap();
    world.advance(millis(4_999));
    assert!(!world.peer(conn).closed);
    world.advance(millis(1));
    assert!(world.peer(conn).closed);
    let (mut world, conn, nonce) = asked();
    world.advance(millis(4_999));
    assert!(!world.peer(conn).closed);
    world.advance(millis(1));
    moved_on(world, conn, nonce, "node-3");
}

#[test]
fn connecting_existing_attempt_slow_asks_the_next_member_beside_it() {
    let (mut world, conn, nonce) = asked();
    world.advance(millis(299));
    assert_eq!(world.asks(), None);
    world.advance(millis(1));
    assert_eq!(world.asks().as_deref(), Some("node-3"));
    assert!(!world.peer(conn).closed);
    world.say(conn, ServerMessage::SessionContinued { nonce });
    assert_eq!(world.state(), StateName::Connected);
    assert_eq!(world.open_connections(), ["node-2"], "the other attempt is over");
}

#[test]
fn connecting_existing_request_deadline_settles_each_with_its_outcome() {
    let mut keys = Vec::new();
    let after = Timeout::After(seconds(2));
    let mut world = World::stepped_down(three(), |world, _| {
        keys.push(world.submit(RequestKind::Command, "sent", after));
        keys.push(world.submit(RequestKind::Query, "asked", after));
    });
    keys.push(world.submit(RequestKind::Command, "queued", after));
    keys.push(world.submit(RequestKind::Query, "queued too", after));
    world.advance(seconds(2));
    assert_eq!(world.state(), StateName::ConnectingExistingSession);
    let id = RequestRef::Command(request(1));
    assert_eq!(
        world.result(keys[0]),
        Some(Err(Failure::Timeout { id: Some(id), sent: true })),
        "it may have run"
    );
    match world.result(keys[1]) {
        Some(Err(Failure::Timeout { id: Some(RequestRef::Query(_)), sent: false })) => {}
        other => panic!("{other:?}"),
    }
    for key in &keys[2..] {
        assert_eq!(world.result(*key), Some(Err(Failure::Timeout { id: None, sent: false })));
    }
    let detached = world
        .completions
        .iter()
        .filter(|completion| matches!(completion, Completion::Request { detached: true, .. }));
    assert_eq!(detached.count(), 1);
    // Only the sent command is resent.
    let conn = world.accept("node-2");
    world.resume(conn);
    assert_eq!(payloads(&world.all_received(conn)), ["sent"]);
}

#[test]
fn connecting_existing_disconnect_drains_through_the_reconnect() {
    let mut key = None;
    let mut world = World::stepped_down(three(), |world, _| key = Some(world.command("a")));
    let queued = world.command("b");
    world.machine.disconnect(world.now, seconds(5));
    world.pump();
    assert_eq!(world.state(), StateName::ConnectingExistingSession);
    assert!(!world.is_disconnected());
    let conn = world.accept("node-2");
    world.resume(conn);
    assert_eq!(command_ids(&world.all_received(conn)), [1, 2]);
    world.answer(conn, 1, "one");
    world.answer(conn, 2, "two");
    assert_eq!(world.result(key.unwrap()), Some(Ok("one".into())));
    assert_eq!(world.result(queued), Some(Ok("two".into())));
    let messages = world.all_received(conn);
    assert!(matches!(messages[..], [ClientMessage::CloseSession { .. }]), "{messages:?}");
    assert!(world.peer(conn).shut);
    world.hang_up(conn);
    assert!(world.is_disconnected());
    assert_eq!(world.state(), StateName::Disconnected);
}

#[test]
fn connecting_existing_update_members_asks_an_added_member_at_once() {
    let mut world = World::continuing(three());
    world.update(&["node-1", "node-4"]);
    assert_eq!(world.open_connections(), ["node-4"]);
    let conn = world.accept("node-4");
    world.resume(conn);
    assert_eq!(world.state(), StateName::Connected);
}
