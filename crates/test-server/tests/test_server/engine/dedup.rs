//! Deduplication: a command is executed once per session and request id.

use zraft_protocol::{RequestErrorReason, ServerMessage};

use crate::engine::rig::{Rig, answer, id, payload, position};

fn evicted(number: u64) -> ServerMessage {
    ServerMessage::RequestError {
        request_id: id(number),
        reason: RequestErrorReason::ResponseEvicted,
    }
}

#[test]
fn copy_is_answered_from_the_cache_and_not_executed() {
    let mut rig = Rig::new(1);
    let (peer, _) = rig.session();
    rig.command(peer, 1, 1);
    rig.command(peer, 1, 1);
    rig.commit();
    rig.command(peer, 1, 1);
    rig.commit();
    assert_eq!(
        rig.received(peer),
        [answer(1, position(0)), answer(1, position(0)), answer(1, position(0))]
    );
    assert_eq!(rig.executed(), [1]);
    assert_eq!(rig.engine.stats().answered_from_cache, 2);
}

#[test]
fn each_copy_takes_an_entry_of_the_log() {
    let mut rig = Rig::new(1);
    let (peer, _) = rig.session();
    let before = rig.engine.stats().log_entries;
    for _ in 0..5 {
        rig.command(peer, 1, 1);
    }
    rig.commit();
    assert_eq!(rig.engine.stats().log_entries - before, 5);
}

#[test]
fn another_payload_under_an_answered_id_gets_the_old_answer() {
    let mut rig = Rig::new(1);
    let (peer, _) = rig.session();
    rig.command_of(peer, 1, 1, payload(b"one"));
    rig.command_of(peer, 1, 1, payload(b"another"));
    rig.commit();
    assert_eq!(rig.received(peer), [answer(1, position(0)), answer(1, position(0))]);
    let executed: Vec<_> = rig.engine.journal().iter().map(|e| e.payload.clone()).collect();
    assert_eq!(executed, [payload(b"one")]);
}

#[test]
fn executed_command_below_l_is_evicted_and_the_highest_is_still_cached() {
    let mut rig = Rig::new(1);
    let (peer, session) = rig.session();
    rig.command(peer, 1, 1);
    rig.command(peer, 5, 5);
    rig.commit();
    rig.received(peer);
    assert_eq!(rig.engine.session(&session).expect("alive").cached_answers, 1);
    rig.command(peer, 1, 5);
    rig.command(peer, 5, 5);
    rig.commit();
    assert_eq!(rig.received(peer), [evicted(1), answer(5, position(1))]);
    assert_eq!(rig.executed(), [1, 5]);
}

#[test]
fn command_below_l_is_never_executed() {
    let mut rig = Rig::new(1);
    let (peer, _) = rig.session();
    rig.command(peer, 6, 6);
    rig.command(peer, 5, 5);
    rig.commit();
    assert_eq!(rig.received(peer), [answer(6, position(0)), evicted(5)]);
    assert_eq!(rig.executed(), [6]);
}

#[test]
fn server_does_not_reorder_commands() {
    let mut rig = Rig::new(1);
    let (peer, _) = rig.session();
    rig.command(peer, 6, 5);
    rig.command(peer, 5, 5);
    rig.commit();
    assert_eq!(rig.received(peer), [answer(6, position(0)), answer(5, position(1))]);
    assert_eq!(rig.executed(), [6, 5]);
}

#[test]
fn copy_answered_from_the_cache_does_not_raise_l() {
    let mut rig = Rig::new(1);
    let (peer, session) = rig.session();
    rig.command(peer, 1, 1);
    rig.command(peer, 2, 1);
    rig.commit();
    rig.command(peer, 2, 2);
    rig.commit();
    assert_eq!(rig.engine.session(&session).expect("alive").lowest_pending, id(1));
    rig.received(peer);
    rig.command(peer, 1, 2);
    rig.commit();
    assert_eq!(rig.received(peer), [answer(1, position(0))]);
}

#[test]
fn l_starts_at_zero_so_that_a_client_may_number_from_zero() {
    let mut rig = Rig::new(1);
    let (peer, session) = rig.session();
    assert_eq!(rig.engine.session(&session).expect("alive").lowest_pending, id(0));
    rig.command(peer, 0, 0);
    rig.commit();
    assert_eq!(rig.received(peer), [answer(0, position(0))]);
}

#[test]
fn request_ids_of_two_sessions_are_independent() {
    let mut rig = Rig::new(1);
    let (one, _) = rig.session();
    let (two, _) = rig.session();
    rig.command(one, 1, 1);
    rig.command(two, 1, 1);
    rig.commit();
    assert_eq!(rig.received(one), [answer(1, position(0))]);
    assert_eq!(rig.received(two), [answer(1, position(1))]);
}

#[test]
fn cached_answers_survive_a_change_of_the_leader() {
    let mut rig = Rig::new(3);
    let (peer, session) = rig.session();
    rig.command(peer, 1, 1);
    rig.commit();
    rig.engine.step_down_for(rig.now, None).expect("a leader");
    rig.after(crate::engine::rig::ms(100));
    let peer = rig.resumed(&session);
    rig.command(peer, 1, 1);
    rig.commit();
    assert_eq!(rig.received(peer), [answer(1, position(0))]);
    assert_eq!(rig.executed(), [1]);
}

#[test]
fn with_deduplication_off_every_copy_is_executed() {
    let mut rig = Rig::new(1);
    let (peer, _) = rig.session();
    rig.engine.set_deduplication(false);
    rig.command(peer, 1, 1);
    rig.command(peer, 1, 1);
    rig.commit();
    assert_eq!(rig.received(peer), [answer(1, position(0)), answer(1, position(1))]);
    assert_eq!(rig.executed(), [1, 1]);
    rig.engine.set_deduplication(true);
    rig.command(peer, 1, 1);
    rig.commit();
    assert_eq!(rig.executed(), [1, 1]);
}
