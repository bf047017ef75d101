//! Command ids, and L, the lowest pending id, which every command carries.

use std::collections::BTreeMap;

use crate::common::*;
use bytes::Bytes;
use zraft_core::{OnSessionExpired, RequestKind, Timeout};
use zraft_protocol::{ClientMessage, SessionCloseReason};

#[test]
fn a_command_gets_its_id_when_it_is_first_handed_to_the_transport() {
    let mut world = World::new(single().max_in_flight(2));
    world.connect();
    let gone = world.command("cancelled before it was sent");
    let keys: Vec<_> = ["a", "b", "c"].iter().map(|text| world.command(text)).collect();
    world.machine.cancel(world.now, gone);
    let conn = world.accept("node-1");
    world.create(conn);
    let messages = world.all_received(conn);
    assert_eq!((command_ids(&messages), payloads(&messages)), (vec![1, 2], strings(&["a", "b"])));
    // A queued command has no id yet, so one that leaves the queue leaves no gap.
    world.machine.cancel(world.now, keys[2]);
    world.command("d");
    world.answer(conn, 1, "");
    let messages = world.all_received(conn);
    assert_eq!((command_ids(&messages), payloads(&messages)), (vec![3], strings(&["d"])));
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn queries_take_no_ids_from_commands() {
    let (mut world, conn) = World::connected(single());
    for n in 0..6 {
        if n % 2 == 0 {
            world.query("q")
        } else {
            world.command("c")
        };
    }
    assert_eq!(command_ids(&world.all_received(conn)), [1, 2, 3]);
}

#[test]
fn ids_continue_across_connections_and_are_never_reused_in_a_session() {
    let (mut world, conn) = World::connected(three());
    for text in ["a", "b"] {
        world.command(text);
    }
    world.answer(conn, 1, "");
    world.answer(conn, 2, "");
    world.closed(conn, SessionCloseReason::NotLeaderAnymore, None);
    let conn = world.accept("node-2");
    world.resume(conn);
    world.command("c");
    let messages = world.all_received(conn);
    assert_eq!((command_ids(&messages), lowest_ids(&messages)), (vec![3], vec![3]));
}

#[test]
fn ids_begin_again_at_one_in_a_new_session() {
    let config = single().on_session_expired(OnSessionExpired::NewSession);
    let (mut world, conn) = World::connected(config);
    world.command("a");
    world.answer(conn, 1, "");
    world.command("b");
    world.closed(conn, SessionCloseReason::SessionExpired, None);
    world.command("c");
    let conn = world.accept("node-1");
    world.create(conn);
    let messages = world.all_received(conn);
    assert_eq!((command_ids(&messages), lowest_ids(&messages)), (vec![1], vec![1]));
    assert_eq!(payloads(&messages), ["c"]);
}

#[test]
fn the_lowest_is_the_smallest_id_neither_answered_nor_abandoned() {
    let (mut world, conn) = World::connected(single());
    for _ in 0..4 {
        world.command("x");
    }
    assert_eq!(lowest_ids(&world.all_received(conn)), [1, 1, 1, 1]);
    let lowest = |world: &mut World| {
        world.command("next");
        lowest_ids(&world.all_received(conn)).pop().unwrap()
    };
    world.answer(conn, 2, "");
    assert_eq!(lowest(&mut world), 1);
    world.answer(conn, 1, "");
    assert_eq!(lowest(&mut world), 3);
    world.answer(conn, 4, "");
    assert_eq!(lowest(&mut world), 3);
    world.answer(conn, 3, "");
    assert_eq!(lowest(&mut world), 5);
}

#[test]
fn with_nothing_pending_the_lowest_is_the_commands_own_id() {
    let (mut world, conn) = World::connected(single());
    for id in 1..=5 {
        world.command("x");
        let messages = world.all_received(conn);
        assert_eq!((command_ids(&messages), lowest_ids(&messages)), (vec![id], vec![id]));
        world.answer(conn, id, "");
    }
}

#[test]
fn the_lowest_does_not_pass_a_detached_command() {
    let (mut world, conn) = World::connected(single());
    let first = world.command("a");
    world.machine.cancel(world.now, first);
    world.command("b");
    world.answer(conn, 2, "");
    world.command("c");
    assert_eq!(lowest_ids(&world.all_received(conn)), [1, 1, 1]);
    world.answer(conn, 1, "late");
    world.command("d");
    assert_eq!(lowest_ids(&world.all_received(conn)), [3]);
}

#[test]
fn the_lowest_may_pass_a_command_that_was_evicted_or_abandoned() {
    let (mut world, conn) = World::connected(single().detached_timeout(seconds(20)));
    world.peer(conn).answers_keep_alives = true;
    world.command("a");
    world.evicted(conn, 1);
    let second = world.command("b");
    assert_eq!(lowest_ids(&world.all_received(conn)), [1, 2]);
    world.machine.cancel(world.now, second);
    world.advance(millis(20_001));
    assert!(world.resolution(second).is_some_and(|result| result.is_err()));
    world.all_received(conn);
    world.command("c");
    assert_eq!(lowest_ids(&world.all_received(conn)), [3]);
}

#[test]
fn a_resend_has_the_same_id_and_payload_and_a_lowest_as_of_now() {
    let (mut world, conn) = World::connected(single());
    world.peer(conn).answers_keep_alives = true;
    for text in ["a", "b"] {
        world.submit(RequestKind::Command, text, Timeout::Never);
    }
    world.all_received(conn);
    world.answer(conn, 1, "");
    world.advance(seconds(4));
    let messages = world.all_received(conn);
    assert_eq!(command_ids(&messages), [2]);
    assert_eq!(payloads(&messages), ["b"]);
    assert_eq!(lowest_ids(&messages), [2]);
}

#[test]
fn the_lowest_never_decreases_and_is_never_above_the_frames_id() {
    let (mut world, mut conn) = World::connected(three().max_in_flight(16));
    world.answers_keep_alives = true;
    let mut rng: u64 = 9;
    let mut payload_of = BTreeMap::new();
    let mut highest_lowest = 0;
    let mut known = Vec::new();
    for step in 0..3_000_u64 {
        rng = rng.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        match (rng >> 40) % 16 {
            0..=5 => {
                let text = format!("{step}");
                let _ = world.machine.submit(
                    world.now,
                    RequestKind::Command,
                    Bytes::from(text),
                    Timeout::Default,
                );
            }
            6..=12 if !known.is_empty() => {
                let id = known.remove((rng >> 20) as usize % known.len());
                world.answer(conn, id, "");
            }
            13 => world.advance(millis(700)),
            14 if step % 50 == 0 => {
                world.hang_up(conn);
                conn = world.resumed();
            }
            _ => {}
        }
        for message in world.all_received(conn) {
            if let ClientMessage::ClientRequest {
                request_id,
                lowest_pending_request_id,
                payload,
                ..
            } = message
            {
                let (id, lowest) = (request_id.get(), lowest_pending_request_id.get());
                assert!(lowest <= id && lowest >= highest_lowest);
                highest_lowest = lowest;
                known.push(id);
                let first = payload_of.entry(id).or_insert_with(|| payload.clone());
                assert_eq!(*first, payload, "an id keeps its payload");
            }
        }
    }
    let ids: Vec<u64> = payload_of.into_keys().collect();
    let all: Vec<u64> = (1..=ids.len() as u64).collect();
    assert_eq!(ids, all, "1, 2, 3… without a gap");
    assert!(ids.len() > 300);
}

#[test]
fn a_second_answer_to_a_query_is_not_taken_for_the_answer_of_a_command_in_its_place() {
    let (mut world, conn) = World::connected(single());
    let query = world.query("q");
    let id = correlation_ids(&world.all_received(conn)).pop().unwrap();
    world.answer_query(conn, &id, "ok");
    // The first command's id equals the first query's number, and the query's slot is free again.
    let command = world.command("c");
    assert_eq!(command.slot, query.slot);
    world.answer_query(conn, &id, "again");
    assert_eq!(world.result(command), None);
    assert_eq!(world.machine.stats().unmatched, 1);
    world.answer(conn, 1, "its own");
    assert_eq!(world.result(command), Some(Ok("its own".into())));
}
