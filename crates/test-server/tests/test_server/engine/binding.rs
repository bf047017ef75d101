//! A session belongs to a connection.

use zraft_protocol::{
    ClientMessage, RejectionReason, ServerMessage, SessionCloseReason, SessionId,
};

use crate::engine::rig::{Rig, answer, id, kept_alive, ms, payload, position, query_answer, secs};

fn session_error() -> ServerMessage {
    ServerMessage::SessionClosed { reason: SessionCloseReason::SessionError, leader_id: None }
}

#[test]
fn a_session_is_created_when_its_entry_is_committed_and_not_before() {
    let mut rig = Rig::new(1);
    let peer = rig.connect(1);
    let nonce = rig.create(peer);
    assert_eq!(rig.heard(peer), []);
    rig.commit();
    assert!(matches!(
        &rig.heard(peer)[..],
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
    assert_eq!(rig.heard(peer), []);
    rig.after(ms(200));
    assert_eq!(rig.heard(peer).len(), 1);
}

#[test]
fn every_create_session_makes_a_session_and_the_last_one_binds() {
    let mut rig = Rig::new(1);
    let peer = rig.connect(1);
    rig.create(peer);
    rig.create(peer);
    rig.commit();
    let heard = rig.heard(peer);
    assert_eq!(heard.len(), 2, "both are answered");
    let sessions: Vec<_> = rig.engine.sessions().collect();
    assert_eq!(sessions.iter().map(|session| session.bound).collect::<Vec<_>>(), [false, true]);
    rig.command(peer, 1, 1);
    rig.commit();
    let ServerMessage::SessionCreated { session_id, .. } = &heard[1] else { panic!("{heard:?}") };
    let execution = rig.engine.journal().iter().next().expect("one").clone();
    assert_eq!(execution.session, *session_id);
}

#[test]
fn a_session_whose_peer_has_gone_before_the_commit_is_an_orphan_until_it_expires() {
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
fn a_leader_answers_an_unbound_peer_with_session_error_and_drops_it() {
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
        rig.say(peer, message);
        assert_eq!(rig.heard(peer), [session_error()]);
        // Dropped: neither closed nor answered, nor even read from the next message on.
        assert!(rig.is_read(peer) && rig.engine.reads(peer));
        rig.create(peer);
        rig.commit();
        assert_eq!(rig.heard(peer), []);
        assert!(!rig.is_read(peer) && !rig.engine.reads(peer));
        assert!(rig.closed.is_empty(), "dropped never means closed");
        assert_eq!(rig.engine.sessions().count(), 0);
        assert_eq!(rig.executed(), []);
    }
}

#[test]
fn a_leader_ignores_close_session_and_connection_closed_from_an_unbound_peer() {
    let mut rig = Rig::new(1);
    let peer = rig.connect(1);
    rig.close_session(peer);
    rig.say(peer, ClientMessage::ConnectionClosed);
    assert_eq!(rig.heard(peer), []);
    rig.create(peer);
    rig.commit();
    assert_eq!(rig.heard(peer).len(), 1, "it was not dropped");
}

#[test]
fn continue_session_is_answered_at_once_and_first_whatever_waits_in_the_log() {
    let mut rig = Rig::new(1);
    let (old, session) = rig.session();
    for number in 1..=100 {
        rig.command(old, number, number);
    }
    let peer = rig.connect(1);
    let nonce = rig.resume(peer, &session);
    assert_eq!(rig.heard(peer), [ServerMessage::SessionContinued { nonce }]);
}

#[test]
fn an_unknown_session_is_rejected_as_expired() {
    let mut rig = Rig::new(1);
    let peer = rig.connect(1);
    let nonce = rig.resume(peer, &SessionId::new("nobody-knows-it").expect("short"));
    let reason = RejectionReason::SessionExpired;
    assert_eq!(
        rig.heard(peer),
        [ServerMessage::SessionRejected { reason, nonce, leader_id: None }]
    );
}

#[test]
fn answers_to_what_was_in_flight_come_on_the_new_connection() {
    let mut rig = Rig::new(1);
    let (old, session) = rig.session();
    rig.command(old, 1, 1);
    rig.query(old, "q", payload(b"?"));
    let new = rig.resumed(&session);
    rig.commit();
    assert_eq!(rig.heard(new), [answer(1, position(0)), query_answer("q", position(1))]);
    assert_eq!(rig.heard(old), []);
}

#[test]
fn an_answer_ready_while_nobody_was_bound_comes_from_the_cache_when_asked_again() {
    let mut rig = Rig::new(1);
    let (old, session) = rig.session();
    rig.command(old, 1, 1);
    rig.engine.disconnected(rig.now, old);
    rig.commit();
    assert_eq!(rig.engine.stats().answers_without_binding, 1);
    let new = rig.resumed(&session);
    rig.after(secs(5));
    assert_eq!(rig.heard(new), [], "nothing else is sent at a resume");
    rig.command(new, 1, 1);
    rig.commit();
    assert_eq!(rig.heard(new), [answer(1, position(0))]);
    assert_eq!(rig.executed(), [1]);
}

#[test]
fn the_older_connection_of_a_session_continued_elsewhere_is_dropped_untold() {
    let mut rig = Rig::new(1);
    let (old, session) = rig.session();
    let new = rig.resumed(&session);
    assert_eq!(rig.heard(old), []);
    assert!(rig.engine.reads(old));
    rig.keep_alive(old, 1);
    assert_eq!(rig.heard(old), []);
    assert!(!rig.engine.reads(old));
    rig.keep_alive(new, 2);
    assert_eq!(rig.heard(new), [kept_alive(2)]);
}

#[test]
fn connection_closed_unbinds_the_session_and_leaves_it_alive() {
    let mut rig = Rig::new(1);
    let (peer, session) = rig.session();
    rig.say(peer, ClientMessage::ConnectionClosed);
    assert!(rig.alive(&session));
    rig.keep_alive(peer, 1);
    assert_eq!(rig.heard(peer), [session_error()]);
}

#[test]
fn close_session_ends_it_unacknowledged_after_the_commands_before_it_have_run() {
    let mut rig = Rig::new(1);
    let (peer, session) = rig.session();
    rig.command(peer, 1, 1);
    rig.close_session(peer);
    rig.commit();
    assert_eq!(rig.heard(peer), [], "the answers are lost");
    assert_eq!(rig.executed(), [1]);
    assert!(!rig.alive(&session));
    assert_eq!(rig.engine.stats().sessions_closed, 1);
}
