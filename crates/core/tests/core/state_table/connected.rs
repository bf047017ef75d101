//! Connected: the session has its connection.

use zraft_core::{
    Completion, ConnId, DisconnectReason, Event, Failure, RequestKind, RequestRef, StateName,
    Timeout,
};
use zraft_protocol::{
    ClientMessage, CorrelationId, Nonce, RejectionReason, ServerMessage, SessionCloseReason,
};

use crate::common::*;

/// Connected to node-1, which has answered once.
fn heard() -> (World, ConnId) {
    let (mut world, conn) = World::connected(three());
    world.answer_keep_alive(conn);
    world.completions.clear();
    (world, conn)
}

fn ignores(message: ServerMessage) {
    let (mut world, conn) = heard();
    let key = world.command("a");
    world.say_in_vain(conn, message);
    assert_eq!(world.state(), StateName::Connected);
    assert_eq!(world.result(key), None);
}

/// Checks that the client left the session's connection and asks this member to continue the session.
fn moved_on(mut world: World, conn: ConnId, reason: DisconnectReason, to: &str) {
    assert_eq!(world.state(), StateName::ConnectingExistingSession);
    assert!(world.peer(conn).closed);
    assert_eq!(world.disconnect_reason(), Some(reason));
    let next = world.accept(to);
    world.resume(next);
    assert_eq!(world.state(), StateName::Connected);
}

#[test]
fn connected_connect_resolves() {
    let (mut world, _) = World::connected(three());
    let key = world.connect();
    assert_eq!(world.connect_result(key), Some(Ok(())));
    assert_eq!(world.peers.len(), 1);
}

#[test]
fn connected_submit_command_is_sent_or_queued_past_the_window() {
    let (mut world, conn) = World::connected(three().max_in_flight(2));
    for text in ["a", "b", "c"] {
        world.command(text);
    }
    assert_eq!(command_ids(&world.all_received(conn)), [1, 2]);
    assert_eq!(world.machine.stats().queued, 1);
    world.answer(conn, 1, "");
    assert_eq!(command_ids(&world.all_received(conn)), [3]);
}

#[test]
fn connected_submit_query_is_sent_or_queued_past_the_window() {
    let (mut world, conn) = World::connected(three().max_in_flight(2));
    for text in ["a", "b", "c"] {
        world.query(text);
    }
    let messages = world.all_received(conn);
    assert_eq!(payloads(&messages), ["a", "b"]);
    assert_eq!(world.machine.stats().queued, 1);
    world.answer_query(conn, &correlation_ids(&messages)[1], "");
    assert_eq!(payloads(&world.all_received(conn)), ["c"]);
}

#[test]
fn connected_session_created_is_ignored() {
    let mut world = World::new(three());
    world.connect();
    let conn = world.accept("node-1");
    let nonce = world.create_nonce(conn);
    let created = ServerMessage::SessionCreated { session_id: session(), nonce };
    world.say(conn, created.clone());
    world.say_in_vain(conn, created);
    let session_id = zraft_protocol::SessionId::new("another").unwrap();
    world.say_in_vain(conn, ServerMessage::SessionCreated { session_id, nonce });
}

#[test]
fn connected_session_continued_is_ignored() {
    let mut world = World::continuing(three());
    let conn = world.accept("node-2");
    let nonce = world.continue_nonce(conn);
    world.say(conn, ServerMessage::SessionContinued { nonce });
    world.say_in_vain(conn, ServerMessage::SessionContinued { nonce });
    assert_eq!(world.state(), StateName::Connected);
}

/// Returns the nonce of the connection on which the session was created.
fn used_nonce() -> (World, ConnId, Nonce) {
    let mut world = World::new(three());
    world.connect();
    let conn = world.accept("node-1");
    let nonce = world.create_nonce(conn);
    world.say(conn, ServerMessage::SessionCreated { session_id: session(), nonce });
    (world, conn, nonce)
}

fn ignores_rejection(reason: RejectionReason) {
    let (mut world, conn, nonce) = used_nonce();
    let leader_id = Some(member("node-2"));
    world.say_in_vain(conn, ServerMessage::SessionRejected { reason, nonce, leader_id });
    assert_eq!(world.state(), StateName::Connected);
}

#[test]
fn connected_rejected_not_leader_is_ignored() {
    ignores_rejection(RejectionReason::NotLeader);
}

#[test]
fn connected_rejected_session_expired_is_ignored() {
    ignores_rejection(RejectionReason::SessionExpired);
}

#[test]
fn connected_rejected_permanently_is_ignored() {
    ignores_rejection(RejectionReason::InvalidCapabilities);
    ignores_rejection(RejectionReason::Other);
}

#[test]
fn connected_other_nonce_is_ignored() {
    let nonce = Nonce::new(i64::MIN).unwrap();
    ignores(ServerMessage::SessionCreated { session_id: session(), nonce });
    ignores(ServerMessage::SessionContinued { nonce });
    let reason = RejectionReason::Other;
    ignores(ServerMessage::SessionRejected { reason, nonce, leader_id: None });
}

#[test]
fn connected_superseded_connection_is_ignored() {
    let (mut world, first) = heard();
    let key = world.command("a");
    world.closed(first, SessionCloseReason::NotLeaderAnymore, None);
    let second = world.accept("node-2");
    world.resume(second);
    let result = payload("late");
    world.say_too_late(first, ServerMessage::ClientResponse { request_id: request(1), result });
    let reason = SessionCloseReason::SessionExpired;
    world.say_too_late(first, ServerMessage::SessionClosed { reason, leader_id: None });
    assert_eq!(world.result(key), None);
    assert_eq!(world.state(), StateName::Connected);
}

#[test]
fn connected_client_response_settles_that_command_and_an_unknown_id_is_counted() {
    let (mut world, conn) = World::connected(three());
    let keys = [world.command("a"), world.command("b")];
    world.answer(conn, 2, "two");
    assert_eq!(world.result(keys[0]), None);
    assert_eq!(world.result(keys[1]), Some(Ok("two".into())));
    assert_eq!(world.machine.stats().unmatched, 0);
    world.completions.clear();
    for id in [0, 2, 3, 1 << 62] {
        world.answer(conn, id, "unknown");
    }
    assert!(world.completions.is_empty());
    assert_eq!(world.machine.stats().unmatched, 4);
}

#[test]
fn connected_query_response_settles_that_query_and_an_unknown_id_is_counted() {
    let (mut world, conn) = World::connected(three());
    let keys = [world.query("a"), world.query("b")];
    let ids = correlation_ids(&world.all_received(conn));
    world.answer_query(conn, &ids[1], "two");
    assert_eq!(world.result(keys[0]), None);
    assert_eq!(world.result(keys[1]), Some(Ok("two".into())));
    world.completions.clear();
    world.answer_query(conn, &ids[1], "again");
    world.answer_query(conn, &CorrelationId::new("unmatched").unwrap(), "unknown");
    assert!(world.completions.is_empty());
    assert_eq!(world.machine.stats().unmatched, 2);
}

#[test]
fn connected_response_evicted_fails_that_command_as_unknown_and_an_unknown_id_is_counted() {
    let (mut world, conn) = World::connected(three());
    let keys = [world.command("a"), world.command("b")];
    world.evicted(conn, 1);
    let failure = Failure::ResponseEvicted { request_id: request(1) };
    assert!(failure.maybe_executed());
    assert_eq!(world.result(keys[0]), Some(Err(failure)));
    assert_eq!(world.result(keys[1]), None);
    world.evicted(conn, 1);
    world.evicted(conn, 9);
    assert_eq!(world.machine.stats().unmatched, 2);
    assert_eq!(world.state(), StateName::Connected);
}

#[test]
fn connected_server_request_is_delivered_and_acknowledged() {
    let (mut world, conn) = World::connected(three());
    world.server_request(conn, 1, "note");
    assert_eq!(world.deliver(), [1]);
    world.advance(millis(50));
    assert_eq!(acks(&world.all_received(conn)), [1]);
}

#[test]
fn connected_keep_alive_response_ends_the_wait() {
    let (mut world, conn) = World::connected(three());
    let ping = world.machine.ping(world.now);
    let timestamp = match world.received(conn) {
        Some(ClientMessage::KeepAlive { timestamp }) => timestamp,
        other => panic!("{other:?}"),
    };
    world.advance(millis(20));
    world.say(conn, ServerMessage::KeepAliveResponse { timestamp });
    let result = Ok(millis(20));
    assert!(world.completions.contains(&Completion::Ping { key: ping, result }));
    world.advance(seconds(20));
    assert_eq!(world.state(), StateName::Connected, "no wait is left");
}

#[test]
fn connected_session_closed_continues_the_session_on_a_new_connection() {
    for (reason, told, to) in [
        (SessionCloseReason::Shutdown, DisconnectReason::ServerShutdown, "node-2"),
        (SessionCloseReason::NotLeaderAnymore, DisconnectReason::NotLeader, "node-2"),
        (SessionCloseReason::SessionError, DisconnectReason::SessionError, "node-1"),
        (SessionCloseReason::ConnectionClosed, DisconnectReason::ConnectionLost, "node-2"),
    ] {
        let (mut world, conn) = heard();
        let key = world.command("a");
        world.closed(conn, reason, None);
        assert_eq!(world.result(key), None, "it may still be answered");
        moved_on(world, conn, told, to);
    }
}

#[test]
fn connected_session_closed_expired_is_believed() {
    let (mut world, conn) = World::connected(three().max_in_flight(1));
    let keys = [world.command("sent"), world.command("queued"), world.query("asked")];
    world.closed(conn, SessionCloseReason::SessionExpired, None);
    assert_eq!(world.count_events(|event| matches!(event, Event::SessionExpired { .. })), 1);
    assert_eq!(world.disconnect_reason(), Some(DisconnectReason::SessionExpired));
    assert_eq!(world.state(), StateName::Disconnected);
    assert!(world.peer(conn).closed);
    for (key, sent) in keys.into_iter().zip([true, false, false]) {
        let failure = Failure::SessionExpired { session_id: Some(session()), sent };
        assert_eq!(world.result(key), Some(Err(failure)));
    }
}

#[test]
fn connected_undecodable_is_skipped_counted_and_reported() {
    let (mut world, conn) = World::connected(three());
    let key = world.command("a");
    for frame in [&b""[..], b"zraft", b"zraft\x02\x01", b"zraft\x01\x63", b"zraft\x01\x05\0\0"] {
        world.events.clear();
        world.say_bytes(conn, frame);
        assert_eq!(world.count_events(|event| matches!(event, Event::ProtocolError { .. })), 1);
    }
    assert_eq!(world.machine.stats().protocol_errors, 5);
    assert_eq!(world.state(), StateName::Connected);
    assert!(!world.peer(conn).closed);
    world.answer(conn, 1, "fine");
    assert_eq!(world.result(key), Some(Ok("fine".into())));
}

#[test]
fn connected_connection_lost_continues_the_session() {
    let (mut world, conn) = heard();
    world.hang_up(conn);
    moved_on(world, conn, DisconnectReason::ConnectionLost, "node-1");
    let (mut world, conn) = heard();
    world.reset(conn);
    moved_on(world, conn, DisconnectReason::ConnectionLost, "node-1");
    // The member violates ZMTP.
    let (mut world, conn) = heard();
    world.raw(conn, &[0xff; 64]);
    moved_on(world, conn, DisconnectReason::ConnectionLost, "node-2");
    // No byte arrives for the heartbeat timeout.
    let (mut world, conn) = heard();
    world.peer(conn).frozen = true;
    world.advance(seconds(12));
    moved_on(world, conn, DisconnectReason::HeartbeatTimeout, "node-2");
}

#[test]
fn connected_attempt_timeout_ends_an_attempt_beside_the_connection() {
    let (mut world, conn) = heard();
    world.command("a");
    world.pump();
    world.peer(conn).frozen = true;
    world.advance(seconds(1));
    let beside = world.accept("node-2");
    world.advance(seconds(5));
    assert!(world.peer(beside).closed);
    assert_eq!(world.state(), StateName::Connected);
    assert!(!world.peer(conn).closed);
}

#[test]
fn connected_frozen_asks_another_member_beside_the_connection() {
    let (mut world, conn) = heard();
    world.command("a");
    world.pump();
    world.peer(conn).frozen = true;
    world.advance(seconds(1));
    assert_eq!(world.asks().as_deref(), Some("node-2"));
    assert_eq!(world.state(), StateName::Connected);
    assert!(!world.peer(conn).closed);
    let next = world.accept("node-2");
    world.resume(next);
    assert_eq!(world.state(), StateName::Connected);
    assert!(world.peer(conn).closed);
    assert_eq!(world.disconnect_reason(), Some(DisconnectReason::HeartbeatTimeout));
    assert_eq!(payloads(&world.all_received(next)), ["a"]);
}

#[test]
fn connected_keep_alive_tick_sends_a_keep_alive() {
    let (mut world, conn) = World::connected(three().keep_alive_interval(seconds(30)));
    world.advance(millis(29_999));
    assert_eq!(keep_alives(&world.all_received(conn)), 0);
    world.advance(millis(1));
    match world.received(conn) {
        Some(ClientMessage::KeepAlive { timestamp }) => {
            assert_eq!(timestamp.as_millis(), world.wall);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn connected_keep_alive_unanswered_moves_to_the_next_member() {
    let (mut world, conn) = heard();
    world.machine.ping(world.now);
    world.advance(millis(4_999));
    assert_eq!(world.state(), StateName::Connected);
    world.advance(millis(1));
    moved_on(world, conn, DisconnectReason::KeepAliveTimeout, "node-2");
}

#[test]
fn connected_resend_due_resends() {
    let (mut world, conn) = World::connected(single());
    world.peer(conn).answers_keep_alives = true;
    world.command("a");
    assert_eq!(command_ids(&world.all_received(conn)), [1]);
    world.advance(millis(2_999));
    assert!(world.all_received(conn).is_empty());
    // Three seconds, and a jitter of at most an eighth.
    world.advance(millis(376));
    let messages = world.all_received(conn);
    assert_eq!(command_ids(&messages), [1]);
    assert_eq!(payloads(&messages), ["a"]);
}

#[test]
fn connected_request_deadline_settles_each_with_its_outcome() {
    let (mut world, conn) = World::connected(three().max_in_flight(1));
    world.peer(conn).answers_keep_alives = true;
    let after = Timeout::After(seconds(2));
    let sent = world.submit(RequestKind::Command, "sent", after);
    let queued = world.submit(RequestKind::Command, "queued", after);
    let asked = world.submit(RequestKind::Query, "asked", after);
    world.advance(millis(1_999));
    assert!(world.completions.is_empty());
    world.advance(millis(1));
    let id = Some(RequestRef::Command(request(1)));
    assert_eq!(world.result(sent), Some(Err(Failure::Timeout { id, sent: true })));
    assert_eq!(world.result(queued), Some(Err(Failure::Timeout { id: None, sent: false })));
    match world.result(asked) {
        Some(Err(Failure::Timeout { id: Some(RequestRef::Query(_)), sent: false })) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(world.machine.stats().detached, 1);
    assert_eq!(world.state(), StateName::Connected);
}

#[test]
fn connected_disconnect_drains_and_closes_the_session() {
    let (mut world, conn) = World::connected(three().max_in_flight(1));
    let keys = [world.command("a"), world.command("b")];
    world.machine.disconnect(world.now, seconds(5));
    world.pump();
    assert_eq!(command_ids(&world.all_received(conn)), [1]);
    world.answer(conn, 1, "one");
    assert_eq!(command_ids(&world.all_received(conn)), [2], "the queue is sent");
    world.answer(conn, 2, "two");
    assert_eq!(world.result(keys[0]), Some(Ok("one".into())));
    assert_eq!(world.result(keys[1]), Some(Ok("two".into())));
    let messages = world.all_received(conn);
    assert!(matches!(messages[..], [ClientMessage::CloseSession { .. }]), "{messages:?}");
    assert!(world.peer(conn).shut && !world.peer(conn).closed);
    world.hang_up(conn);
    assert!(world.is_disconnected());
    assert_eq!(world.state(), StateName::Disconnected);
    assert_eq!(world.disconnect_reason(), Some(DisconnectReason::Closed));
}

#[test]
fn connected_update_members_keeps_the_connection() {
    let (mut world, conn) = heard();
    world.update(&["node-2", "node-4"]);
    assert_eq!(world.open_connections(), ["node-1"]);
    assert_eq!(world.machine.member_id().unwrap().as_str(), "node-1");
    world.closed(conn, SessionCloseReason::Shutdown, None);
    moved_on(world, conn, DisconnectReason::ServerShutdown, "node-2");
}
