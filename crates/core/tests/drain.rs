//! What may happen while disconnect() waits for answers: the rules of the session go on holding.

#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use zraft_core::{
    ConnId, DisconnectReason, Event, Failure, OnSessionExpired, RequestKey, RequestKind, StateName,
    Timeout,
};
use zraft_protocol::{ClientMessage, RejectionReason};

fn command(world: &mut World, text: &str) -> RequestKey {
    world.submit(RequestKind::Command, text, Timeout::Never)
}

/// A drain of a command that was sent and one that was not, with node-2 being asked to continue the session.
fn draining(config: zraft_core::ConfigBuilder) -> (World, RequestKey, RequestKey) {
    let mut sent = None;
    let mut world = World::stepped_down(config, |world, _| sent = Some(command(world, "sent")));
    let unsent = command(&mut world, "unsent");
    world.machine.disconnect(world.now, seconds(300));
    (world, sent.unwrap(), unsent)
}

#[test]
fn a_rejection_for_good_during_a_drain_settles_all_and_ends_it() {
    for reason in [RejectionReason::InvalidCapabilities, RejectionReason::Other] {
        let (mut world, sent, unsent) = draining(three());
        let conn = world.accept("node-2");
        let nonce = world.continue_nonce(conn);
        world.reject(conn, nonce, reason, None);
        let rejected = |sent| Some(Err(Failure::SessionRejected { reason, sent }));
        assert_eq!(world.result(sent), rejected(true));
        assert_eq!(world.result(unsent), rejected(false));
        assert!(world.is_disconnected());
        assert_eq!(world.state(), StateName::Disconnected);
        assert_eq!(world.disconnect_reason(), Some(DisconnectReason::Rejected));
        assert!(world.peer(conn).closed);
        world.advance(seconds(300));
        assert_eq!(world.asks(), None, "nobody is asked any more");
    }
}

#[test]
fn a_connect_that_waits_for_a_drain_is_not_rejected_with_the_session_before_it() {
    let (mut world, ..) = draining(three());
    let key = world.connect();
    let conn = world.accept("node-2");
    let nonce = world.continue_nonce(conn);
    world.reject(conn, nonce, RejectionReason::Other, None);
    assert!(world.is_disconnected());
    assert_eq!(world.connect_result(key), None, "it asks for a session of its own");
    let conn = world.accept("node-1");
    world.create(conn);
    assert_eq!(world.connect_result(key), Some(Ok(())));
}

#[test]
fn a_doubted_session_whose_time_ends_during_a_drain_has_expired_and_ends_it() {
    // Not even under newSession does another session follow.
    for config in [three(), three().on_session_expired(OnSessionExpired::NewSession)] {
        let (mut world, sent, unsent) = draining(config);
        let start = world.now;
        while !world.is_disconnected() {
            match world.asks() {
                Some(member) => {
                    let conn = world.accept(&member);
                    let nonce = world.continue_nonce(conn);
                    world.reject(conn, nonce, RejectionReason::SessionExpired, None);
                }
                None => {
                    let step = world.machine.poll_timeout().unwrap() - world.now;
                    world.advance(step);
                }
            }
            assert!(world.now - start <= seconds(90), "it goes on beyond the session's time");
        }
        assert_eq!(world.now - start, seconds(90), "until then it is asked for on");
        let expired =
            |sent| Some(Err(Failure::SessionExpired { session_id: Some(session()), sent }));
        assert_eq!(world.result(sent), expired(true));
        assert_eq!(world.result(unsent), expired(false));
        assert_eq!(world.count_events(|e| matches!(e, Event::SessionExpired { .. })), 1);
        assert_eq!(world.state(), StateName::Disconnected);
        assert_eq!(world.disconnect_reason(), Some(DisconnectReason::SessionExpired));
        assert_eq!(world.asks(), None);
    }
}

/// Three members in a row go down with these commands: they go one at a time from then on.
fn suspected(commands: u64) -> (World, ConnId, Vec<RequestKey>) {
    let (mut world, mut conn) = World::connected(three());
    world.answers_keep_alives = true;
    world.answer_keep_alive(conn);
    let keys = (1..=commands).map(|n| command(&mut world, &format!("c{n}"))).collect();
    for _ in 0..3 {
        world.advance(millis(60));
        world.reset(conn);
        conn = world.resumed();
    }
    (world, conn, keys)
}

#[test]
fn a_drain_goes_one_at_a_time_while_poison_is_suspected() {
    let (mut world, conn, mut keys) = suspected(3);
    keys.push(command(&mut world, "c4"));
    world.machine.disconnect(world.now, seconds(30));
    for (id, key) in (1..).zip(&keys) {
        let messages = world.all_received(conn);
        assert_eq!(command_ids(&messages), [id], "this one, and nothing beside it");
        world.advance(millis(500));
        assert!(world.all_received(conn).is_empty(), "not even CloseSession");
        world.answer(conn, id, "r");
        assert_eq!(world.result(*key), Some(Ok("r".into())));
    }
    assert!(matches!(world.all_received(conn)[..], [ClientMessage::CloseSession { .. }]));
}

#[test]
fn what_is_quarantined_during_a_drain_holds_it_up_no_longer() {
    let (mut world, mut conn, keys) = suspected(2);
    world.machine.disconnect(world.now, seconds(60));
    for _ in 0..2 {
        assert_eq!(command_ids(&world.all_received(conn)), [1]);
        world.reset(conn);
        conn = world.resumed();
    }
    assert_eq!(world.result(keys[0]), Some(Err(Failure::Quarantined { sent: true })));
    assert_eq!(command_ids(&world.all_received(conn)), [2]);
    world.answer(conn, 2, "r");
    assert!(matches!(world.all_received(conn)[..], [ClientMessage::CloseSession { .. }]));
}

#[test]
fn what_is_submitted_while_a_connect_waits_for_a_drain_is_refused_and_queued_once_that_is_over() {
    let (mut world, conn) = World::connected(three());
    world.command("a");
    world.machine.disconnect(world.now, seconds(5));
    let key = world.connect();
    let refused =
        world.machine.submit(world.now, RequestKind::Command, "x".into(), Timeout::Default);
    assert_eq!(refused, Err(Failure::Closed { sent: false }));
    world.answer(conn, 1, "");
    world.hang_up(conn);
    assert!(world.is_disconnected());
    // From the moment at which disconnect() is answered.
    let queued = world.command("b");
    let conn = world.accept("node-1");
    world.create(conn);
    assert_eq!(world.connect_result(key), Some(Ok(())));
    assert_eq!(payloads(&world.all_received(conn)), ["b"]);
    world.answer(conn, 1, "r");
    assert_eq!(world.result(queued), Some(Ok("r".into())));
}
