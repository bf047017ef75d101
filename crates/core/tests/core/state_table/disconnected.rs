//! Disconnected: there is no session, and only connect() opens one.

use zraft_core::{Failure, RequestKind, StateName, Timeout};
use zraft_protocol::{
    ClientMessage, CorrelationId, Nonce, RejectionReason, RequestErrorReason, ServerMessage,
    SessionCloseReason, Timestamp,
};

use crate::common::*;

/// Returns a client whose session expired, and its former connection.
fn expired() -> (World, zraft_core::ConnId) {
    let (mut world, conn) = World::connected(three());
    world.closed(conn, SessionCloseReason::SessionExpired, None);
    assert_eq!(world.state(), StateName::Disconnected);
    (world, conn)
}

fn nonce() -> Nonce {
    Nonce::new(7).unwrap()
}

fn ignores(message: ServerMessage) {
    let (mut world, conn) = expired();
    world.say_too_late(conn, message);
    assert_eq!(world.state(), StateName::Disconnected);
}

fn fails(kind: RequestKind) {
    let mut world = World::new(three());
    let submit = |world: &mut World| {
        world.machine.submit(world.now, kind, "x".into(), Timeout::Default).unwrap_err()
    };
    let failure = submit(&mut world);
    assert_eq!(failure, Failure::NotConnected);
    assert!(!failure.maybe_executed());

    let (mut world, _) = expired();
    let failure = submit(&mut world);
    assert_eq!(failure, Failure::SessionExpired { session_id: Some(session()), sent: false });
    assert!(!failure.maybe_executed());
    // Once it asks for a new session, the old expiry does not matter.
    world.connect();
    assert!(world.machine.submit(world.now, kind, "x".into(), Timeout::Default).is_ok());
    world.machine.disconnect(world.now, seconds(5));
    world.pump();
    assert_eq!(submit(&mut world), Failure::NotConnected);
}

#[test]
fn disconnected_connect_opens_the_first_member_and_sends_create_session() {
    let mut world = World::new(three());
    assert_eq!(world.asks(), None);
    world.machine.connect(world.now, None);
    assert_eq!(world.state(), StateName::ConnectingNewSession, "before anything else happens");
    let conn = world.accept("node-1");
    let messages = world.all_received(conn);
    assert_eq!(messages.len(), 1);
    match &messages[0] {
        ClientMessage::CreateSession { capabilities, .. } => {
            assert_eq!(capabilities.get("protocol"), Some("test"));
        }
        other => panic!("{other:?}"),
    }
    // Also after a session at another member.
    let mut world = World::continuing(three());
    let conn = world.accept("node-2");
    world.resume(conn);
    world.closed(conn, SessionCloseReason::SessionExpired, None);
    assert_eq!(world.state(), StateName::Disconnected);
    world.connect();
    assert_eq!(world.asks().as_deref(), Some("node-1"));
}

#[test]
fn disconnected_submit_command_fails_not_executed() {
    fails(RequestKind::Command);
}

#[test]
fn disconnected_submit_query_fails_not_executed() {
    fails(RequestKind::Query);
}

#[test]
fn disconnected_session_created_is_ignored() {
    ignores(ServerMessage::SessionCreated { session_id: session(), nonce: nonce() });
    // Also the answer to a CreateSession whose attempt was abandoned.
    let mut world = World::new(three());
    let key = world.connect();
    let conn = world.accept("node-1");
    let nonce = world.create_nonce(conn);
    world.machine.cancel_connect(world.now, key);
    world.pump();
    assert_eq!(world.state(), StateName::Disconnected);
    world.say_too_late(conn, ServerMessage::SessionCreated { session_id: session(), nonce });
    assert_eq!(world.state(), StateName::Disconnected);
}

#[test]
fn disconnected_session_continued_is_ignored() {
    ignores(ServerMessage::SessionContinued { nonce: nonce() });
}

#[test]
fn disconnected_rejected_not_leader_is_ignored() {
    ignores(ServerMessage::SessionRejected {
        reason: RejectionReason::NotLeader,
        nonce: nonce(),
        leader_id: Some(member("node-2")),
    });
}

#[test]
fn disconnected_rejected_session_expired_is_ignored() {
    ignores(ServerMessage::SessionRejected {
        reason: RejectionReason::SessionExpired,
        nonce: nonce(),
        leader_id: None,
    });
}

#[test]
fn disconnected_rejected_permanently_is_ignored() {
    for reason in [RejectionReason::InvalidCapabilities, RejectionReason::Other] {
        ignores(ServerMessage::SessionRejected { reason, nonce: nonce(), leader_id: None });
    }
}

#[test]
fn disconnected_other_nonce_is_ignored() {
    let nonce = Nonce::new(-1).unwrap();
    ignores(ServerMessage::SessionCreated { session_id: session(), nonce });
    ignores(ServerMessage::SessionContinued { nonce });
}

#[test]
fn disconnected_superseded_connection_is_ignored() {
    let mut world = World::new(three());
    let key = world.connect();
    let first = world.accept("node-1");
    let nonce = world.create_nonce(first);
    world.reject(first, nonce, RejectionReason::NotLeader, None);
    let second = world.accept("node-2");
    world.machine.cancel_connect(world.now, key);
    world.pump();
    assert!(world.peer(first).closed && world.peer(second).closed);
    for conn in [first, second] {
        world.say_too_late(conn, ServerMessage::SessionCreated { session_id: session(), nonce });
    }
    assert_eq!(world.state(), StateName::Disconnected);
}

#[test]
fn disconnected_client_response_is_ignored() {
    ignores(ServerMessage::ClientResponse { request_id: request(1), result: payload("r") });
}

#[test]
fn disconnected_query_response_is_ignored() {
    let correlation_id = CorrelationId::new("c").unwrap();
    ignores(ServerMessage::QueryResponse { correlation_id, result: payload("r") });
}

#[test]
fn disconnected_response_evicted_is_ignored() {
    let reason = RequestErrorReason::ResponseEvicted;
    ignores(ServerMessage::RequestError { request_id: request(1), reason });
}

#[test]
fn disconnected_server_request_is_ignored() {
    ignores(ServerMessage::ServerRequest {
        request_id: request(1),
        payload: payload("r"),
        created_at: Timestamp::from_millis(1),
    });
}

#[test]
fn disconnected_keep_alive_response_is_ignored() {
    ignores(ServerMessage::KeepAliveResponse { timestamp: Timestamp::from_millis(1) });
}

#[test]
fn disconnected_session_closed_is_ignored() {
    for reason in [
        SessionCloseReason::Shutdown,
        SessionCloseReason::NotLeaderAnymore,
        SessionCloseReason::SessionError,
        SessionCloseReason::ConnectionClosed,
    ] {
        ignores(ServerMessage::SessionClosed { reason, leader_id: Some(member("node-2")) });
    }
}

#[test]
fn disconnected_session_closed_expired_is_ignored() {
    let reason = SessionCloseReason::SessionExpired;
    ignores(ServerMessage::SessionClosed { reason, leader_id: None });
}

#[test]
fn disconnected_undecodable_cannot_arrive() {
    let (mut world, conn) = expired();
    let before = world.outside();
    assert!(world.machine.recv_buffer(conn).is_none());
    world.raw(conn, b"\x00\x03abc");
    assert_eq!(before, world.outside());
}

#[test]
fn disconnected_disconnect_resolves() {
    let mut world = World::new(three());
    world.machine.disconnect(world.now, seconds(5));
    world.pump();
    assert!(world.is_disconnected());
    let (mut world, _) = expired();
    world.machine.disconnect(world.now, seconds(5));
    world.pump();
    assert!(world.is_disconnected());
    assert_eq!(world.state(), StateName::Disconnected);
    assert_eq!(world.asks(), None);
}

#[test]
fn disconnected_update_members_counts_for_the_next_connect() {
    let mut world = World::new(three());
    world.update(&["node-5", "node-2"]);
    assert!(world.peers.is_empty());
    world.connect();
    assert_eq!(world.open_connections(), ["node-5"]);
}
