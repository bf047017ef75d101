//! ConnectingNewSession: connect() was called, and no member has created a session yet.

use zraft_core::{ConnId, ConnectionCause, Event, Failure, RequestKind, StateName};
use zraft_protocol::{
    ClientMessage, CorrelationId, Nonce, RejectionReason, RequestErrorReason, ServerMessage,
    SessionCloseReason, Timestamp,
};

use crate::common::*;

/// CreateSession went to node-1.
fn asked() -> (World, ConnId, Nonce) {
    let mut world = World::new(three());
    world.connect();
    let conn = world.accept("node-1");
    let nonce = world.create_nonce(conn);
    world.events.clear();
    (world, conn, nonce)
}

fn ignores(message: impl Fn(Nonce) -> ServerMessage) {
    let (mut world, conn, nonce) = asked();
    world.command("queued");
    world.say_in_vain(conn, message(nonce));
    assert_eq!(world.state(), StateName::ConnectingNewSession);
    // The attempt continues.
    world.say(conn, ServerMessage::SessionCreated { session_id: session(), nonce });
    assert_eq!(world.state(), StateName::Connected);
}

/// Checks that the client left the connection and asks node-2 for a new session, on a new connection with a new nonce.
fn moved_on(mut world: World, conn: ConnId, nonce: Nonce, to: &str) {
    assert_eq!(world.state(), StateName::ConnectingNewSession);
    assert!(world.peer(conn).closed);
    let next = world.accept(to);
    assert_ne!(next, conn);
    assert_ne!(world.create_nonce(next), nonce);
    assert!(world.completions.is_empty(), "nothing is settled by that");
}

#[test]
fn connecting_new_connect_joins_the_attempt_under_way() {
    let mut world = World::new(three());
    let first = world.connect();
    let conn = world.accept("node-1");
    let second = world.connect();
    assert_eq!(world.peers.len(), 1, "no further connection");
    assert_eq!((world.connect_result(first), world.connect_result(second)), (None, None));
    world.create(conn);
    assert_eq!(world.connect_result(first), Some(Ok(())));
    assert_eq!(world.connect_result(second), Some(Ok(())));
}

#[test]
fn connecting_new_submit_command_is_queued() {
    let (mut world, conn, nonce) = asked();
    let key = world.command("a");
    assert_eq!(world.result(key), None);
    assert_eq!(world.machine.stats().queued, 1);
    assert!(world.all_received(conn).is_empty(), "nothing before the session's answer");
    world.say(conn, ServerMessage::SessionCreated { session_id: session(), nonce });
    assert_eq!(command_ids(&world.all_received(conn)), [1]);
}

#[test]
fn connecting_new_submit_query_is_queued() {
    let (mut world, conn, nonce) = asked();
    let key = world.query("a");
    assert_eq!(world.result(key), None);
    assert_eq!(world.machine.stats().queued, 1);
    assert!(world.all_received(conn).is_empty(), "nothing before the session's answer");
    world.say(conn, ServerMessage::SessionCreated { session_id: session(), nonce });
    assert_eq!(correlation_ids(&world.all_received(conn)).len(), 1);
}

#[test]
fn connecting_new_session_created_connects_and_sends_the_queue_in_order() {
    let mut world = World::new(three());
    let connect = world.connect();
    for (index, text) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        if index % 2 == 0 {
            world.command(text)
        } else {
            world.query(text)
        };
    }
    let conn = world.accept("node-1");
    world.create(conn);
    assert_eq!(world.state(), StateName::Connected);
    assert_eq!(world.connect_result(connect), Some(Ok(())));
    assert_eq!(world.machine.session_id(), Some(&session()));
    let messages = world.all_received(conn);
    assert_eq!(payloads(&messages), ["a", "b", "c", "d", "e"]);
    assert_eq!(command_ids(&messages), [1, 2, 3]);
    let connected = |event: &Event| matches!(event, Event::Connected { resumed: false, .. });
    assert_eq!(world.count_events(connected), 1);
}

#[test]
fn connecting_new_session_continued_is_ignored() {
    ignores(|nonce| ServerMessage::SessionContinued { nonce });
}

#[test]
fn connecting_new_rejected_not_leader_takes_the_next_connection() {
    let (mut world, conn, nonce) = asked();
    world.reject(conn, nonce, RejectionReason::NotLeader, None);
    moved_on(world, conn, nonce, "node-2");
    let (mut world, conn, nonce) = asked();
    world.reject(conn, nonce, RejectionReason::NotLeader, Some("node-3"));
    moved_on(world, conn, nonce, "node-3");
}

#[test]
fn connecting_new_rejected_session_expired_takes_the_next_connection() {
    let (mut world, conn, nonce) = asked();
    world.reject(conn, nonce, RejectionReason::SessionExpired, None);
    moved_on(world, conn, nonce, "node-2");
}

#[test]
fn connecting_new_rejected_permanently_settles_everything_and_disconnects() {
    for reason in [RejectionReason::InvalidCapabilities, RejectionReason::Other] {
        let mut world = World::new(three());
        let connect = world.connect();
        let conn = world.accept("node-1");
        let nonce = world.create_nonce(conn);
        let requests = [world.command("a"), world.query("b")];
        world.reject(conn, nonce, reason, None);
        assert_eq!(world.state(), StateName::Disconnected);
        let failure = Failure::SessionRejected { reason, sent: false };
        assert_eq!(world.connect_result(connect), Some(Err(failure.clone())));
        for key in requests {
            assert_eq!(world.result(key), Some(Err(failure.clone())));
        }
        assert!(world.peer(conn).closed);
        assert_eq!(world.asks(), None);
    }
}

#[test]
fn connecting_new_other_nonce_is_ignored() {
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
            leader_id: Some(member("node-2")),
        });
    }
}

#[test]
fn connecting_new_superseded_connection_is_ignored() {
    let (mut world, first, nonce) = asked();
    world.reject(first, nonce, RejectionReason::NotLeader, None);
    let second = world.accept("node-2");
    let second_nonce = world.create_nonce(second);
    for nonce in [nonce, second_nonce] {
        world.say_too_late(first, ServerMessage::SessionCreated { session_id: session(), nonce });
    }
    assert_eq!(world.state(), StateName::ConnectingNewSession);
    assert!(!world.peer(second).closed);
}

#[test]
fn connecting_new_client_response_is_ignored() {
    ignores(|_| ServerMessage::ClientResponse { request_id: request(1), result: payload("r") });
}

#[test]
fn connecting_new_query_response_is_ignored() {
    ignores(|_| ServerMessage::QueryResponse {
        correlation_id: CorrelationId::new("c").unwrap(),
        result: payload("r"),
    });
}

#[test]
fn connecting_new_response_evicted_is_ignored() {
    let reason = RequestErrorReason::ResponseEvicted;
    ignores(|_| ServerMessage::RequestError { request_id: request(1), reason });
}

#[test]
fn connecting_new_server_request_is_ignored() {
    ignores(|_| ServerMessage::ServerRequest {
        request_id: request(1),
        payload: payload("r"),
        created_at: Timestamp::from_millis(1),
    });
}

#[test]
fn connecting_new_keep_alive_response_is_ignored() {
    ignores(|_| ServerMessage::KeepAliveResponse { timestamp: Timestamp::from_millis(1) });
}

#[test]
fn connecting_new_session_closed_takes_the_next_connection() {
    for reason in [
        SessionCloseReason::Shutdown,
        SessionCloseReason::NotLeaderAnymore,
        SessionCloseReason::SessionError,
        SessionCloseReason::ConnectionClosed,
    ] {
        let (mut world, conn, nonce) = asked();
        world.closed(conn, reason, None);
        moved_on(world, conn, nonce, "node-2");
    }
}

#[test]
fn connecting_new_session_closed_expired_takes_the_next_connection() {
    let (mut world, conn, nonce) = asked();
    world.closed(conn, SessionCloseReason::SessionExpired, None);
    assert_eq!(world.count_events(|event| matches!(event, Event::SessionExpired { .. })), 0);
    moved_on(world, conn, nonce, "node-2");
}

#[test]
fn connecting_new_undecodable_is_skipped_counted_and_reported() {
    let (mut world, conn, nonce) = asked();
    for frame in [&b""[..], b"zraft", b"zraft\x02\x01", b"zraft\x01\x63", b"zraft\x01\x06\0\0"] {
        world.events.clear();
        world.say_bytes(conn, frame);
        assert_eq!(world.count_events(|event| matches!(event, Event::ProtocolError { .. })), 1);
        assert_eq!(world.events.len(), 1);
    }
    assert_eq!(world.machine.stats().protocol_errors, 5);
    assert!(!world.peer(conn).closed);
    world.say(conn, ServerMessage::SessionCreated { session_id: session(), nonce });
    assert_eq!(world.state(), StateName::Connected);
}

#[test]
fn connecting_new_connection_lost_takes_the_next_connection() {
    // The connection is refused.
    let mut world = World::new(three());
    world.connect();
    world.refuse("node-1");
    assert_eq!(world.asks().as_deref(), Some("node-2"));
    assert_eq!(world.state(), StateName::ConnectingNewSession);
    // The connection is lost.
    let (mut world, conn, nonce) = asked();
    world.hang_up(conn);
    moved_on(world, conn, nonce, "node-2");
    let (mut world, conn, nonce) = asked();
    world.reset(conn);
    moved_on(world, conn, nonce, "node-2");
    // The ZMTP handshake fails.
    let mut world = World::new(three());
    world.connect();
    world.pump();
    let (conn, _) = world.opening().unwrap();
    world.machine.handle_opened(world.now, conn);
    world.raw(conn, b"HTTP/1.1 400 Bad Request\r\n\r\n");
    assert!(world.peer(conn).closed);
    assert_eq!(world.asks().as_deref(), Some("node-2"));
    let zmtp = |event: &Event| {
        matches!(event, Event::ConnectionFailure { error: ConnectionCause::Zmtp(_), .. })
    };
    assert_eq!(world.count_events(zmtp), 1);
}

#[test]
fn connecting_new_attempt_timeout_takes_the_next_connection() {
    // The connection never opens.
    let mut world = World::new(three());
    world.connect();
    let (conn, _) = world.opening().unwrap();
    world.advance(millis(4_999));
    assert!(!world.peer(conn).closed);
    world.advance(millis(1));
    assert!(world.peer(conn).closed);
    // The member never answers.
    let (mut world, conn, nonce) = asked();
    world.advance(millis(4_999));
    assert!(!world.peer(conn).closed);
    world.advance(millis(1));
    let never = |event: &Event| {
        matches!(event, Event::ConnectionFailure { error: ConnectionCause::NeverAnswered, .. })
    };
    assert_eq!(world.count_events(never), 1);
    moved_on(world, conn, nonce, "node-2");
}

#[test]
fn connecting_new_attempt_slow_asks_the_next_member_beside_it() {
    let (mut world, conn, nonce) = asked();
    world.advance(millis(299));
    assert_eq!(world.asks(), None);
    world.advance(millis(1));
    assert_eq!(world.asks().as_deref(), Some("node-2"));
    assert!(!world.peer(conn).closed);
    world.say(conn, ServerMessage::SessionCreated { session_id: session(), nonce });
    assert_eq!(world.state(), StateName::Connected);
    assert_eq!(world.open_connections(), ["node-1"], "the other attempt is over");
}

#[test]
fn connecting_new_request_deadline_settles_as_not_executed() {
    let (mut world, conn, _) = asked();
    for kind in [RequestKind::Command, RequestKind::Query] {
        world.submit(kind, "late", zraft_core::Timeout::After(millis(1_500)));
    }
    let kept = world.command("kept");
    world.advance(millis(1_499));
    assert!(world.completions.is_empty());
    world.advance(millis(1));
    assert_eq!(world.completions.len(), 2);
    for completion in &world.completions {
        match completion {
            zraft_core::Completion::Request { result: Err(failure), detached: false, .. } => {
                assert_eq!(*failure, Failure::Timeout { id: None, sent: false });
                assert!(!failure.maybe_executed());
            }
            other => panic!("{other:?}"),
        }
    }
    // No part of it is sent.
    world.hang_up(conn);
    let conn = world.accept("node-2");
    world.create(conn);
    assert_eq!(payloads(&world.all_received(conn)), ["kept"]);
    assert_eq!(world.result(kept), None);
}

#[test]
fn connecting_new_disconnect_ends_at_once_with_nothing_executed() {
    let mut world = World::new(three());
    let connect = world.connect();
    let conn = world.accept("node-1");
    let requests = [world.command("a"), world.query("b")];
    world.all_received(conn);
    world.machine.disconnect(world.now, seconds(5));
    world.pump();
    assert_eq!(world.state(), StateName::Disconnected);
    assert!(world.is_disconnected());
    assert!(world.peer(conn).closed);
    for key in requests {
        assert_eq!(world.result(key), Some(Err(Failure::Closed { sent: false })));
    }
    assert_eq!(world.connect_result(connect), Some(Err(Failure::Closed { sent: false })));
    assert!(
        !world.all_received(conn).iter().any(|m| matches!(m, ClientMessage::ClientRequest { .. }))
    );
}

#[test]
fn connecting_new_update_members_asks_an_added_member_at_once() {
    let mut world = World::new(three());
    world.connect();
    world.update(&["node-2", "node-4"]);
    assert_eq!(world.open_connections(), ["node-4"]);
    let conn = world.accept("node-4");
    world.create(conn);
    assert_eq!(world.state(), StateName::Connected);
}
