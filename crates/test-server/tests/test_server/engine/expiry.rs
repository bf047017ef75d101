//! The expiry of sessions.

use zraft_protocol::{RejectionReason, ServerMessage, SessionCloseReason};

use crate::engine::rig::{Rig, config, kept_alive, ms, payload, secs};

fn expired() -> ServerMessage {
    ServerMessage::SessionClosed { reason: SessionCloseReason::SessionExpired, leader_id: None }
}

#[test]
fn a_session_expires_90_to_91_seconds_after_it_was_created() {
    let mut rig = Rig::new(1);
    let (peer, session) = rig.session();
    rig.after(ms(89_998));
    assert_eq!(rig.received(peer), []);
    rig.after(ms(1_003));
    assert_eq!(rig.received(peer), [expired()]);
    assert!(!rig.alive(&session));
    assert_eq!(rig.engine.stats().sessions_expired, 1);
}

#[test]
fn expiry_is_announced_before_it_is_committed() {
    let mut rig = Rig::new(1);
    let (peer, session) = rig.session();
    rig.engine.set_commit_delay(secs(1));
    rig.after(secs(91));
    assert_eq!(rig.received(peer), [expired()]);
    assert!(rig.alive(&session));
    let other = rig.connect(1);
    let nonce = rig.resume(other, &session);
    let reason = RejectionReason::SessionExpired;
    assert_eq!(
        rig.received(other),
        [ServerMessage::SessionRejected { reason, nonce, leader_id: None }]
    );
    rig.after(secs(1));
    assert!(!rig.alive(&session));
}

#[test]
fn connection_of_an_expired_session_is_dropped_and_not_closed() {
    let mut rig = Rig::new(1);
    let (peer, _) = rig.session();
    rig.after(secs(92));
    rig.received(peer);
    assert!(rig.engine.reads(peer));
    rig.keep_alive(peer, 1);
    assert_eq!(rig.received(peer), []);
    assert!(!rig.engine.reads(peer));
    assert!(rig.closed.is_empty());
}

#[test]
fn keep_alive_extends_a_session_and_is_answered_at_once() {
    let mut rig = Rig::new(1);
    let (peer, session) = rig.session();
    for round in 1..=5 {
        rig.after(secs(60));
        rig.keep_alive(peer, round);
        assert_eq!(rig.received(peer), [kept_alive(round)]);
    }
    assert!(rig.alive(&session));
}

#[test]
fn continue_session_extends_a_session() {
    let mut rig = Rig::new(1);
    let (_, session) = rig.session();
    rig.after(secs(60));
    rig.resumed(&session);
    rig.after(secs(60));
    assert!(rig.alive(&session));
}

#[test]
fn commands_queries_and_acknowledgements_do_not_extend_a_session() {
    let mut rig = Rig::new(1);
    let (peer, session) = rig.session();
    rig.engine.push_server_request(rig.now, &session, &payload(b"push")).expect("alive");
    for number in 1..=9 {
        rig.after(secs(10));
        rig.command(peer, number, number);
        rig.query(peer, "q", payload(b"?"));
        rig.acknowledge(peer, 1);
    }
    rig.after(secs(1));
    assert!(!rig.alive(&session));
}

#[test]
fn new_leader_restarts_the_timeout_of_every_session() {
    let mut rig = Rig::new(3);
    let (_, session) = rig.session();
    rig.after(secs(80));
    rig.engine.step_down_for(rig.now, None).expect("a leader");
    rig.after(ms(100));
    rig.after(ms(89_900));
    assert!(rig.alive(&session));
    rig.after(ms(1_200));
    assert!(!rig.alive(&session));
}

#[test]
fn announced_expiry_that_was_not_committed_is_lost_with_the_leader() {
    let mut rig = Rig::new(3);
    let (peer, session) = rig.session();
    rig.engine.set_commit_delay(secs(1));
    rig.after(secs(91));
    assert_eq!(rig.received(peer), [expired()]);
    let leader = rig.member(1);
    rig.engine.kill(rig.now, leader, Default::default()).expect("it runs");
    rig.after(secs(10));
    assert!(rig.alive(&session));
    rig.resumed(&session);
}

#[test]
fn session_timeout_can_be_changed() {
    let mut config = config(1);
    config.session_timeout = ms(300);
    config.expiry_tick = ms(10);
    let mut rig = Rig::with(config, zraft_test_server::AppendLog::new());
    let (_, session) = rig.session();
    rig.after(ms(295));
    assert!(rig.alive(&session));
    rig.after(ms(20));
    assert!(!rig.alive(&session));
}

#[test]
fn session_can_be_expired_by_a_switch() {
    let mut rig = Rig::new(1);
    let (peer, session) = rig.session();
    rig.engine.expire_session(rig.now, &session).expect("alive");
    rig.commit();
    assert_eq!(rig.received(peer), [expired()]);
    assert!(!rig.alive(&session));
    assert!(rig.engine.expire_session(rig.now, &session).is_err());
}

#[test]
fn command_after_the_end_of_its_session_is_not_executed() {
    let mut rig = Rig::new(1);
    let (peer, session) = rig.session();
    rig.engine.set_commit_delay(secs(1));
    rig.engine.expire_session(rig.now, &session).expect("alive");
    rig.command(peer, 1, 1);
    rig.after(secs(1));
    assert_eq!(rig.executed(), [0; 0]);
}
