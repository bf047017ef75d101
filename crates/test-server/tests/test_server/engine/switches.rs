//! The switches for faults.

use zraft_protocol::{
    ClientMessageKind, RejectionReason, ServerMessage, ServerMessageKind, SessionCloseReason,
};
use zraft_test_server::{CloseHow, KillLoss, Listening, MessageClass, SwitchError};

use crate::engine::rig::{Rig, answer, kept_alive, ms, payload, position, query_answer, secs};

fn not_leader_anymore() -> ServerMessage {
    ServerMessage::SessionClosed { reason: SessionCloseReason::NotLeaderAnymore, leader_id: None }
}

#[test]
fn stale_leader_answers_keep_alive_and_continue_session_and_commits_nothing() {
    let mut rig = Rig::new(3);
    let (peer, session) = rig.session();
    let one = rig.member(1);
    rig.engine.set_stale_leader(rig.now, one, true).expect("it runs");
    rig.after(secs(1));
    assert_eq!(rig.leader(), Some(2), "the others have another leader");
    rig.keep_alive(peer, 1);
    assert_eq!(rig.received(peer), [kept_alive(1)]);
    let again = rig.connect(1);
    let nonce = rig.resume(again, &session);
    assert_eq!(rig.received(again), [ServerMessage::SessionContinued { nonce }]);
    rig.command(again, 1, 1);
    rig.query(again, "q", payload(b""));
    let newcomer = rig.connect(1);
    rig.create(newcomer);
    rig.after(secs(30));
    assert_eq!(rig.received(again), []);
    assert_eq!(rig.received(newcomer), []);
    assert_eq!(rig.executed(), [0; 0]);
}

#[test]
fn stale_leader_rejects_sessions_created_after_it_was_cut_off() {
    let mut rig = Rig::new(3);
    let one = rig.member(1);
    rig.engine.set_stale_leader(rig.now, one, true).expect("it runs");
    rig.after(secs(1));
    let (_, session) = rig.session();
    let peer = rig.connect(1);
    let nonce = rig.resume(peer, &session);
    let reason = RejectionReason::SessionExpired;
    assert_eq!(
        rig.received(peer),
        [ServerMessage::SessionRejected { reason, nonce, leader_id: None }]
    );
}

#[test]
fn replaced_stale_leader_steps_down_when_it_is_connected_again() {
    let mut rig = Rig::new(3);
    let (peer, _) = rig.session();
    let one = rig.member(1);
    rig.engine.set_stale_leader(rig.now, one, true).expect("it runs");
    rig.after(secs(1));
    rig.command(peer, 1, 1);
    rig.engine.set_stale_leader(rig.now, one, false).expect("it runs");
    rig.after(secs(1));
    assert_eq!(rig.received(peer), [not_leader_anymore()]);
    assert_eq!(rig.executed(), [0; 0]);
}

#[test]
fn single_stale_leader_commits_when_it_is_connected_again() {
    let mut rig = Rig::new(1);
    let (peer, _) = rig.session();
    let one = rig.member(1);
    rig.engine.set_stale_leader(rig.now, one, true).expect("it runs");
    rig.command(peer, 1, 1);
    rig.after(secs(5));
    assert_eq!(rig.received(peer), []);
    rig.engine.set_stale_leader(rig.now, one, false).expect("it runs");
    assert_eq!(rig.received(peer), [answer(1, position(0))]);
}

#[test]
fn frozen_member_reads_nothing_and_keeps_its_connections() {
    let mut rig = Rig::new(3);
    let (peer, _) = rig.session();
    let one = rig.member(1);
    rig.engine.set_frozen(rig.now, one, true).expect("it runs");
    rig.after(ms(50));
    assert!(!rig.is_read(peer) && !rig.engine.reads(peer));
    assert_eq!(rig.listening[&1], Listening::Held);
    rig.after(secs(5));
    assert_eq!(rig.leader(), Some(2));
    assert!(rig.closed.is_empty());
    assert_eq!(rig.received(peer), []);
    rig.engine.set_frozen(rig.now, one, false).expect("it runs");
    assert_eq!(rig.received(peer), [not_leader_anymore()]);
    assert!(rig.is_read(peer) && rig.engine.reads(peer));
    assert_eq!(rig.listening[&1], Listening::Open);
}

#[test]
fn frozen_leader_that_was_not_replaced_continues() {
    let mut rig = Rig::new(3);
    let (peer, _) = rig.session();
    let one = rig.member(1);
    rig.command(peer, 1, 1);
    rig.engine.set_frozen(rig.now, one, true).expect("it runs");
    rig.after(ms(99));
    assert_eq!(rig.received(peer), []);
    rig.engine.set_frozen(rig.now, one, false).expect("it runs");
    rig.after(secs(1));
    assert_eq!(rig.leader(), Some(1));
    assert_eq!(rig.received(peer), [answer(1, position(0))]);
}

#[test]
fn deaf_member_accepts_connections_and_answers_no_message() {
    let mut rig = Rig::new(1);
    let (peer, session) = rig.session();
    let one = rig.member(1);
    rig.engine.set_deaf(rig.now, one, true).expect("it runs");
    let other = rig.connect(1);
    rig.resume(other, &session);
    rig.create(other);
    rig.keep_alive(peer, 1);
    rig.command(peer, 1, 1);
    rig.after(secs(200));
    assert_eq!(rig.received(peer), []);
    assert_eq!(rig.received(other), []);
    assert!(rig.engine.reads(peer) && rig.engine.reads(other), "PING is still answered");
    assert_eq!(rig.executed(), [0; 0]);
    assert_eq!(rig.leader(), Some(1), "its other half leads on");
    rig.engine.set_deaf(rig.now, one, false).expect("it runs");
    rig.keep_alive(peer, 2);
    assert_eq!(rig.received(peer), [kept_alive(2)]);
}

#[test]
fn restarted_member_is_no_longer_deaf() {
    let mut rig = Rig::new(1);
    let (_, session) = rig.session();
    let one = rig.member(1);
    rig.engine.set_deaf(rig.now, one, true).expect("it runs");
    rig.engine.kill(rig.now, one, KillLoss::Uncommitted).expect("it runs");
    rig.engine.restart(rig.now, one).expect("it does not run");
    rig.after(ms(100));
    rig.resumed(&session);
}

#[test]
fn stale_session_map_rejects_existing_sessions_as_expired_and_ignores_the_rest() {
    let mut rig = Rig::new(1);
    let (bound, living) = rig.session();
    let (_, known) = rig.session();
    let one = rig.member(1);
    let map = [known.clone()];
    rig.engine.set_stale_session_map(rig.now, one, Some(&map)).expect("it runs");
    let peer = rig.connect(1);
    let nonce = rig.resume(peer, &living);
    let reason = RejectionReason::SessionExpired;
    assert_eq!(
        rig.received(peer),
        [ServerMessage::SessionRejected { reason, nonce, leader_id: None }]
    );
    let peer = rig.connect(1);
    let nonce = rig.resume(peer, &known);
    rig.keep_alive(peer, 1);
    assert_eq!(rig.received(peer), [ServerMessage::SessionContinued { nonce }, kept_alive(1)]);
    rig.command(peer, 1, 1);
    rig.query(peer, "q", payload(b""));
    rig.create(peer);
    rig.acknowledge(peer, 1);
    rig.keep_alive(bound, 2);
    rig.after(secs(100));
    assert_eq!(rig.received(peer), []);
    assert_eq!(rig.received(bound), []);
    assert_eq!(rig.executed(), [0; 0]);
    assert!(rig.alive(&living), "it was not true");
    rig.engine.set_stale_session_map(rig.now, one, None).expect("it runs");
    rig.resumed(&living);
}

#[test]
fn cluster_that_forgets_its_sessions_tells_no_client_and_denies_them() {
    let mut rig = Rig::new(3);
    let (peer, session) = rig.session();
    rig.command(peer, 1, 1);
    rig.engine.forget_sessions(rig.now);
    rig.after(ms(100));
    assert_eq!(rig.received(peer), [], "no word");
    assert_eq!(rig.executed(), [0; 0], "the session's command waited in the log");
    assert!(!rig.alive(&session));
    rig.keep_alive(peer, 1);
    let reason = SessionCloseReason::SessionError;
    assert_eq!(rig.received(peer), [ServerMessage::SessionClosed { reason, leader_id: None }]);
    let again = rig.connect(1);
    let nonce = rig.resume(again, &session);
    let reason = RejectionReason::SessionExpired;
    let denied = ServerMessage::SessionRejected { reason, nonce, leader_id: None };
    assert_eq!(rig.received(again), [denied]);
    let (peer, _) = rig.session();
    rig.command(peer, 1, 1);
    rig.after(ms(100));
    assert_eq!(rig.executed().len(), 1, "a new session works");
}

#[test]
fn member_with_a_stale_map_need_not_be_the_leader() {
    let mut rig = Rig::new(3);
    let (_, session) = rig.session();
    let two = rig.member(2);
    rig.engine.set_stale_session_map(rig.now, two, Some(&[])).expect("it runs");
    let peer = rig.connect(2);
    rig.resume(peer, &session);
    let received = rig.received(peer);
    assert!(matches!(
        received[..],
        [ServerMessage::SessionRejected { reason: RejectionReason::SessionExpired, .. }]
    ));
    assert_eq!(rig.leader(), Some(1));
}

#[test]
fn all_connections_can_be_cut() {
    let mut rig = Rig::new(3);
    let (peer, session) = rig.session();
    let other = rig.connect(2);
    rig.command(peer, 1, 1);
    rig.engine.cut_connections(rig.now, None).expect("all");
    rig.commit();
    assert_eq!(rig.closed.len(), 2);
    assert_eq!((rig.closed[&peer], rig.closed[&other]), (CloseHow::Reset, CloseHow::Reset));
    assert_eq!(rig.executed(), [1], "what was received runs");
    rig.resumed(&session);
}

#[test]
fn connections_of_one_member_can_be_cut() {
    let mut rig = Rig::new(3);
    let (peer, _) = rig.session();
    let other = rig.connect(2);
    let two = rig.member(2);
    rig.engine.cut_connections(rig.now, Some(two)).expect("known");
    rig.received(peer);
    assert!(rig.closed.contains_key(&other) && !rig.closed.contains_key(&peer));
}

#[test]
fn messages_of_a_class_can_be_dropped() {
    let mut rig = Rig::new(1);
    let (peer, _) = rig.session();
    rig.engine.drop_messages(MessageClass::FromClient(ClientMessageKind::ClientRequest), Some(2));
    for number in 1..=3 {
        rig.command(peer, number, 1);
    }
    rig.commit();
    assert_eq!(rig.executed(), [3]);
    rig.engine.drop_messages(MessageClass::ToClient(ServerMessageKind::KeepAliveResponse), None);
    rig.received(peer);
    rig.keep_alive(peer, 1);
    assert_eq!(rig.received(peer), []);
    rig.engine.deliver_all();
    rig.keep_alive(peer, 2);
    assert_eq!(rig.received(peer), [kept_alive(2)]);
    assert_eq!(rig.engine.stats().dropped_by_switch, 3);
}

#[test]
fn answers_alone_can_be_dropped() {
    let mut rig = Rig::new(1);
    let (peer, _) = rig.session();
    rig.engine.drop_messages(MessageClass::Answers, None);
    rig.command(peer, 1, 1);
    rig.query(peer, "q", payload(b""));
    rig.keep_alive(peer, 1);
    rig.commit();
    assert_eq!(rig.received(peer), [kept_alive(1)]);
    assert_eq!(rig.executed(), [1]);
    rig.engine.deliver_all();
    rig.command(peer, 1, 1);
    rig.query(peer, "q", payload(b""));
    rig.commit();
    assert_eq!(rig.received(peer), [answer(1, position(0)), query_answer("q", position(1))]);
}

#[test]
fn switch_of_a_member_that_does_not_run_is_refused() {
    let mut rig = Rig::new(3);
    let three = rig.member(3);
    rig.engine.kill(rig.now, three, KillLoss::Uncommitted).expect("it runs");
    let refused = Err(SwitchError::NotRunning("node-3".to_owned()));
    assert_eq!(rig.engine.set_frozen(rig.now, three, true), refused);
    assert_eq!(rig.engine.set_deaf(rig.now, three, true), refused);
    assert_eq!(rig.engine.set_stale_leader(rig.now, three, true), refused);
    assert_eq!(rig.engine.stop(rig.now, three), refused);
}
