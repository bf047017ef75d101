//! Request timeouts, cancellation, and detached commands.

use crate::common::*;
use zraft_core::{Completion, Event, Failure, RequestKey, RequestKind, RequestRef, Timeout};
use zraft_protocol::SessionCloseReason;

fn reference(id: u64) -> Option<RequestRef> {
    Some(RequestRef::Command(request(id)))
}

fn is_detached(world: &World, wanted: RequestKey) -> bool {
    world.completions.iter().any(|completion| {
        matches!(completion, Completion::Request { key, detached: true, .. } if *key == wanted)
    })
}

/// Returns a world whose member answers only KeepAlives.
fn connected() -> (World, zraft_core::ConnId) {
    let (mut world, conn) = World::connected(single());
    world.peer(conn).answers_keep_alives = true;
    (world, conn)
}

#[test]
fn the_default_deadline_is_the_configured_request_timeout() {
    let (mut world, _) = World::connected(single().request_timeout(seconds(3)));
    let key = world.command("a");
    world.advance(millis(2_999));
    assert_eq!(world.result(key), None);
    world.advance(millis(1));
    assert_eq!(world.result(key), Some(Err(Failure::Timeout { id: reference(1), sent: true })));
}

#[test]
fn a_request_without_deadline_waits_as_long_as_it_takes() {
    let (mut world, conn) = connected();
    let key = world.submit(RequestKind::Command, "a", Timeout::Never);
    world.advance(seconds(3_600));
    assert_eq!(world.result(key), None);
    world.answer(conn, 1, "at last");
    assert_eq!(world.result(key), Some(Ok("at last".into())));
    let (mut world, _) = World::connected(single().request_timeout(None));
    world.peers[0].answers_keep_alives = true;
    let key = world.command("a");
    world.advance(seconds(3_600));
    assert_eq!(world.result(key), None);
}

#[test]
fn the_time_runs_from_submission_not_from_sending() {
    let (mut world, conn) = World::connected(single().max_in_flight(1));
    world.peer(conn).answers_keep_alives = true;
    world.submit(RequestKind::Command, "a", Timeout::Never);
    let second = world.submit(RequestKind::Command, "b", Timeout::After(seconds(2)));
    world.advance(millis(1_500));
    world.answer(conn, 1, "");
    world.advance(millis(499));
    assert_eq!(world.result(second), None);
    world.advance(millis(1));
    assert_eq!(world.result(second), Some(Err(Failure::Timeout { id: reference(2), sent: true })));
}

#[test]
fn an_unsent_request_past_its_deadline_is_not_executed_and_never_sent() {
    let (mut world, conn) = World::connected(single().max_in_flight(1));
    world.peer(conn).answers_keep_alives = true;
    world.submit(RequestKind::Command, "a", Timeout::Never);
    let queued = world.submit(RequestKind::Command, "b", Timeout::After(seconds(1)));
    world.advance(seconds(1));
    let failure = Failure::Timeout { id: None, sent: false };
    assert!(!failure.maybe_executed());
    assert_eq!(world.result(queued), Some(Err(failure)));
    assert!(!is_detached(&world, queued));
    world.answer(conn, 1, "");
    assert_eq!(payloads(&world.all_received(conn)), ["a"]);
    assert_eq!(world.machine.stats().not_executed, 1);
}

#[test]
fn a_query_past_its_deadline_fails_and_is_forgotten() {
    let (mut world, conn) = connected();
    let key = world.submit(RequestKind::Query, "a", Timeout::After(seconds(1)));
    let id = correlation_ids(&world.all_received(conn)).pop().unwrap();
    world.advance(seconds(1));
    let failure = Failure::Timeout { id: Some(RequestRef::Query(id.clone())), sent: false };
    assert_eq!(world.result(key), Some(Err(failure)));
    assert!(!is_detached(&world, key));
    world.answer_query(conn, &id, "late");
    assert_eq!(world.machine.stats().unmatched, 1);
    assert_eq!(world.resolution(key), None);
    world.advance(seconds(60));
    assert!(correlation_ids(&world.all_received(conn)).is_empty(), "it is not sent again");
}

#[test]
fn a_sent_command_past_its_deadline_is_detached_tracked_and_resent() {
    let (mut world, conn) = connected();
    let key = world.submit(RequestKind::Command, "a", Timeout::After(seconds(1)));
    world.all_received(conn);
    world.advance(seconds(1));
    let failure = Failure::Timeout { id: reference(1), sent: true };
    assert!(failure.maybe_executed());
    assert_eq!(world.result(key), Some(Err(failure)));
    assert!(is_detached(&world, key));
    assert_eq!(world.machine.stats().detached, 1);
    assert_eq!(world.machine.stats().in_flight, 0);
    world.advance(seconds(4));
    assert_eq!(command_ids(&world.all_received(conn)), [1]);
}

#[test]
fn a_late_answer_is_the_resolution_of_a_detached_command() {
    let (mut world, conn) = connected();
    let key = world.submit(RequestKind::Command, "a", Timeout::After(seconds(1)));
    world.advance(seconds(5));
    assert_eq!(world.resolution(key), None);
    world.answer(conn, 1, "late");
    assert_eq!(world.resolution(key), Some(Ok("late".into())));
    assert_eq!(world.machine.stats().detached, 0);
}

#[test]
fn an_eviction_is_the_resolution_of_a_detached_command_too() {
    let (mut world, conn) = connected();
    let key = world.submit(RequestKind::Command, "a", Timeout::After(seconds(1)));
    world.advance(seconds(1));
    world.evicted(conn, 1);
    let failure = Failure::ResponseEvicted { request_id: request(1) };
    assert_eq!(world.resolution(key), Some(Err(failure)));
}

#[test]
fn after_the_detached_timeout_a_command_is_abandoned() {
    let (mut world, conn) = connected();
    let key = world.submit(RequestKind::Command, "a", Timeout::After(seconds(1)));
    world.advance(seconds(1));
    world.advance(millis(89_999));
    assert_eq!(world.resolution(key), None);
    world.advance(millis(1));
    let failure = Failure::Timeout { id: reference(1), sent: true };
    assert_eq!(world.resolution(key), Some(Err(failure)));
    // It is not resent, its answer does not matter, and L may pass it.
    world.all_received(conn);
    world.command("b");
    assert_eq!(lowest_ids(&world.all_received(conn)), [2]);
    world.answer(conn, 2, "");
    world.advance(seconds(200));
    assert!(command_ids(&world.all_received(conn)).is_empty());
    world.answer(conn, 1, "far too late");
    assert_eq!(world.machine.stats().unmatched, 1);
}

#[test]
fn a_detached_command_survives_a_resume() {
    let mut key = None;
    let mut world = World::stepped_down(three(), |world, _| {
        let command = world.command("a");
        world.machine.cancel(world.now, command);
        key = Some(command);
    });
    let conn = world.accept("node-2");
    world.resume(conn);
    assert_eq!(command_ids(&world.all_received(conn)), [1]);
    world.answer(conn, 1, "late");
    assert_eq!(world.resolution(key.unwrap()), Some(Ok("late".into())));
}

#[test]
fn cancelling_has_the_effect_of_a_deadline_that_passes_now() {
    let (mut world, conn) = World::connected(single().max_in_flight(1));
    let sent = world.command("a");
    let queued = world.command("b");
    let asked = world.query("c");
    let id = correlation_ids(&world.all_received(conn)).pop().unwrap();
    for key in [sent, queued, asked] {
        world.machine.cancel(world.now, key);
    }
    world.pump();
    let failure = Failure::Cancelled { id: reference(1), sent: true };
    assert!(failure.maybe_executed());
    assert_eq!(world.result(sent), Some(Err(failure)));
    assert!(is_detached(&world, sent));
    assert_eq!(world.result(queued), Some(Err(Failure::Cancelled { id: None, sent: false })));
    let id = Some(RequestRef::Query(id));
    assert_eq!(world.result(asked), Some(Err(Failure::Cancelled { id, sent: false })));
    world.answer(conn, 1, "late");
    assert_eq!(world.resolution(sent), Some(Ok("late".into())));
}

#[test]
fn cancelling_a_settled_or_detached_request_does_nothing() {
    let (mut world, conn) = World::connected(single());
    let first = world.command("a");
    world.answer(conn, 1, "");
    let second = world.command("b");
    assert_eq!(first.slot, second.slot, "slots are used again");
    assert_ne!(first.generation, second.generation);
    world.completions.clear();
    world.machine.cancel(world.now, first);
    world.pump();
    assert!(world.completions.is_empty());
    world.machine.cancel(world.now, second);
    world.machine.cancel(world.now, second);
    world.pump();
    assert_eq!(world.completions.len(), 1);
}

#[test]
fn a_passed_deadline_emits_an_event() {
    let (mut world, conn) = World::connected(single().max_in_flight(1));
    let after = Timeout::After(seconds(1));
    world.submit(RequestKind::Command, "a", after);
    world.submit(RequestKind::Command, "b", after);
    world.submit(RequestKind::Query, "c", after);
    let id = correlation_ids(&world.all_received(conn)).pop();
    world.advance(seconds(1));
    let timeouts: Vec<&Event> = world
        .events
        .iter()
        .filter(|e| matches!(e, Event::RequestTimeout { .. } | Event::QueryTimeout { .. }))
        .collect();
    assert_eq!(timeouts.len(), 3);
    assert!(timeouts.contains(&&Event::RequestTimeout { request_id: Some(request(1)) }));
    assert!(timeouts.contains(&&Event::RequestTimeout { request_id: None }));
    assert!(timeouts.contains(&&Event::QueryTimeout { correlation_id: id }));
}

#[test]
fn a_request_settles_once_even_when_answer_and_deadline_meet() {
    let (mut world, conn) = connected();
    let key = world.submit(RequestKind::Command, "a", Timeout::After(seconds(1)));
    world.now = world.now + seconds(1);
    // The driver reads everything available before deadlines fire.
    world.answer(conn, 1, "in time");
    world.wake();
    assert_eq!(world.result(key), Some(Ok("in time".into())));
    world.advance(seconds(100));
    let settled = world
        .completions
        .iter()
        .filter(|completion| matches!(completion, Completion::Request { key: k, .. } if *k == key));
    assert_eq!(settled.count(), 1);
    assert_eq!(world.resolution(key), None);
}

#[test]
fn detached_commands_settle_when_the_session_expires() {
    let (mut world, conn) = World::connected(single());
    let key = world.command("a");
    world.machine.cancel(world.now, key);
    world.closed(conn, SessionCloseReason::SessionExpired, None);
    let failure = Failure::SessionExpired { session_id: Some(session()), sent: true };
    assert_eq!(world.resolution(key), Some(Err(failure)));
}
