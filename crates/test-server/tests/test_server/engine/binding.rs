//! Sessions and the connections that they are bound to.

use zraft_protocol::{
    ClientMessage, RejectionReason, ServerMessage, SessionCloseReason, SessionId,
};

use crate::engine::rig::{Rig, answer, id, kept_alive, ms, payload, position, query_answer, secs};

fn session_error() -> ServerMessage {
    ServerMessage::SessionClosed { reason: SessionCloseReason::SessionError, leader_id: None }
}

#[test]
fn session_is_created_when_its_entry_is_committed() {
    let mut rig = Rig::new(1);
    let peer = rig.connect(1);
    let nonce = rig.create(peer);
    assert_eq!(rig.received(peer), []);
    rig.commit();
    assert!(matches!(
        &rig.received(peer)[..],
        [ServerMessage::SessionCreated { session_id, nonce: echoed }]
            if *echoed == nonce && session_id.as_str().len() == 36
    ));
}

#[test]
fn create_session_waits_behind_the_commands_of_others() {
    let mut config = crate::engine::rig::config(1);
    config.commits_per_second = Some(10);
    let mut rig = Rig::with(config, zraft_test_server::AppendLog::new());
    let (busy, _) = rig.session();
    rig.after(secs(1));
    for number in 1..=20 {
        rig.command(busy, number, number);
    }
    let peer = rig.connect(1);
    rig.create(peer);
    rig.after(ms(1900));
    assert_eq!(rig.received(peer), []);
    rig.after(ms(200));
    assert_eq!(rig.received(peer).len(), 1);
}

#[test]
fn each_create_session_creates_a_session_and_the_last_one_binds() {
    let mut rig = Rig::new(1);
    let peer = rig.connect(1);
    rig.create(peer);
    rig.create(peer);
    rig.commit();
    let received = rig.received(peer);
    assert_eq!(received.len(), 2, "both are answered");
    let sessions: Vec<_> = rig.engine.sessions().collect();
    assert_eq!(sessions.iter().map(|session| session.bound).collect::<Vec<_>>(), [false, true]);
    rig.command(peer, 1, 1);
    rig.commit();
    let ServerMessage::SessionCreated { session_id, .. } = &received[1] else {
        panic!("{received:?}")
    };
    let execution = rig.engine.journal().iter().next().expect("one").clone();
    assert_eq!(execution.session, *session_id);
}

#[test]
fn session_of_a_peer_that_disconnected_before_the_commit_is_an_orphan_until_it_expires() {
    let mut rig = Rig::new(1);
    let peer = rig.connect(1);
    rig.create(peer);
    rig.engine.disconnected(rig.now, peer);
    rig.commit();
    assert_eq!(rig.engine.sessions().count(), 1);
    rig.after(secs(92));
    assert_eq!(rig.engine.sessions().count(), 0);
}

#[test]
fn leader_answers_an_unbound_peer_with_session_error_and_drops_it() {
    let created_at = zraft_protocol::Timestamp::from_millis(0);
    let correlation_id = zraft_protocol::CorrelationId::new("q").expect("short");
    for message in [
        ClientMessage::KeepAlive { timestamp: created_at },
        ClientMessage::Query { correlation_id, payload: payload(b"?"), created_at },
        ClientMessage::ServerRequestAck { request_id: id(1) },
        ClientMessage::ClientRequest {
            request_id: id(1),
            lowest_pending_request_id: id(1),
            payload: payload(b"!"),
            created_at,
        },
    ] {
        let mut rig = Rig::new(1);
        let peer = rig.connect(1);
        rig.send(peer, message);
        assert_eq!(rig.received(peer), [session_error()]);
        // A dropped connection stays open. It is not answered, and after the next message not read.
        assert!(rig.is_read(peer) && rig.engine.reads(peer));
        rig.create(peer);
        rig.commit();
        assert_eq!(rig.received(peer), []);
        assert!(!rig.is_read(peer) && !rig.engine.reads(peer));
        assert!(rig.closed.is_empty(), "dropped never means closed");
        assert_eq!(rig.engine.sessions().count(), 0);
        assert_eq!(rig.executed(), [0; 0]);
    }
}

#[test]
fn leader_ignores_close_session_and_connection_closed_from_an_unbound_peer() {
    let mut rig = Rig::new(1);
    let peer = rig.connect(1);
    rig.close_session(peer);
    rig.send(peer, ClientMessage::ConnectionClosed);
    assert_eq!(rig.received(peer), []);
    rig.create(peer);
    rig.commit();
    assert_eq!(rig.received(peer).len(), 1, "it was not dropped");
}

#[test]
fn continue_session_is_answered_before_everything_in_the_log() {
    let mut rig = Rig::new(1);
    let (old, session) = rig.session();
    for number in 1..=100 {
        rig.command(old, number, number);
    }
    let peer = rig.connect(1);
    let nonce = rig.resume(peer, &session);
    assert_eq!(rig.received(peer), [ServerMessage::SessionContinued { nonce }]);
}

#[test]
fn unknown_session_is_rejected_as_expired() {
    let mut rig = Rig::new(1);
    let peer = rig.connect(1);
    let nonce = rig.resume(peer, &SessionId::new("unknown").expect("short"));
    let reason = RejectionReason::SessionExpired;
    assert_eq!(
        rig.received(peer),
        [ServerMessage::SessionRejected { reason, nonce, leader_id: None }]
    );
}

#[test]
fn answers_to_requests_in_flight_are_sent_on_the_new_connection() {
    let mut rig = Rig::new(1);
    let (old, session) = rig.session();
    rig.command(old, 1, 1);
    rig.query(old, "q", payload(b"?"));
    let new = rig.resumed(&session);
    rig.commit();
    assert_eq!(rig.received(new), [answer(1, position(0)), query_answer("q", position(1))]);
    assert_eq!(rig.received(old), []);
}

#[test]
fn answer_dropped_for_want_of_a_binding_is_sent_from_the_cache_on_a_resend() {
    let mut rig = Rig::new(1);
    let (old, session) = rig.session();
    rig.command(old, 1, 1);
    rig.engine.disconnected(rig.now, old);
    rig.commit();
    assert_eq!(rig.engine.stats().answers_without_binding, 1);
    let new = rig.resumed(&session);
    rig.after(secs(5));
    assert_eq!(rig.received(new), [], "nothing else is sent at a resume");
    rig.command(new, 1, 1);
    rig.commit();
    assert_eq!(rig.received(new), [answer(1, position(0))]);
    assert_eq!(rig.executed(), [1]);
}

#[test]
fn older_connection_of_a_continued_session_is_dropped_without_a_message() {
    let mut rig = Rig::new(1);
    let (old, session) = rig.session();
    let new = rig.resumed(&session);
    assert_eq!(rig.received(old), []);
    assert!(rig.engine.reads(old));
    rig.keep_alive(old, 1);
    assert_eq!(rig.received(old), []);
    assert!(!rig.engine.reads(old));
    rig.keep_alive(new, 2);
    assert_eq!(rig.received(new), [kept_alive(2)]);
}

#[test]
fn connection_closed_unbinds_the_session_and_keeps_it() {
    let mut rig = Rig::new(1);
    let (peer, session) = rig.session();
    rig.send(peer, ClientMessage::ConnectionClosed);
    assert!(rig.alive(&session));
    rig.keep_alive(peer, 1);
    assert_eq!(rig.received(peer), [session_error()]);
}

#[test]
fn close_session_ends_the_session_after_the_commands_before_it_without_an_answer() {
    let mut rig = Rig::new(1);
    let (peer, session) = rig.session();
    rig.command(peer, 1, 1);
    rig.close_session(peer);
    rig.commit();
    assert_eq!(rig.received(peer), [], "the answers are lost");
    assert_eq!(rig.executed(), [1]);
    assert!(!rig.alive(&session));
    assert_eq!(rig.engine.stats().sessions_closed, 1);
}
