//! Limits on requests that wait, on payload bytes held, and on lengths.

use crate::common::*;
use bytes::Bytes;
use zraft_core::{Event, Failure, RequestKind, Timeout, ValidationError};

fn submit(world: &mut World, bytes: usize) -> Result<zraft_core::RequestKey, Failure> {
    let payload = Bytes::from(vec![1; bytes]);
    let key = world.machine.submit(world.now, RequestKind::Command, payload, Timeout::Never);
    world.pump();
    key
}

#[test]
fn beyond_max_queued_a_submit_is_overloaded_and_not_executed() {
    let (mut world, conn) = World::connected(single().max_in_flight(2).max_queued(3));
    for _ in 0..5 {
        submit(&mut world, 1).unwrap();
    }
    assert!(!world.machine.has_room(1));
    let failure = submit(&mut world, 1).unwrap_err();
    assert_eq!(failure, Failure::Overloaded);
    assert!(!failure.maybe_executed());
    assert_eq!(world.machine.stats().not_executed, 1);
    world.answer(conn, 1, "");
    assert!(world.machine.has_room(1));
    submit(&mut world, 1).unwrap();
}

#[test]
fn max_queued_counts_commands_and_queries_that_wait() {
    let (mut world, _) = World::connected(single().max_in_flight(1).max_queued(2));
    for kind in [RequestKind::Command, RequestKind::Query] {
        for _ in 0..2 {
            world.submit(kind, "x", Timeout::Never);
        }
    }
    assert_eq!(world.machine.stats().queued, 2);
    assert_eq!(submit(&mut world, 1), Err(Failure::Overloaded));
}

#[test]
fn max_queued_bytes_counts_queued_in_flight_and_detached_payloads() {
    let config = single().max_in_flight(2).max_queued_bytes(1_000).detached_timeout(seconds(30));
    let (mut world, conn) = World::connected(config);
    world.peer(conn).answers_keep_alives = true;
    let keys: Vec<_> = (0..3).map(|_| submit(&mut world, 300).unwrap()).collect();
    assert_eq!(world.machine.stats().queued_bytes, 900);
    assert!(world.machine.has_room(100) && !world.machine.has_room(101));
    assert_eq!(submit(&mut world, 101), Err(Failure::Overloaded));
    submit(&mut world, 100).unwrap();
    // The payload of a detached command is still held; that of a request that left the queue is not.
    world.machine.cancel(world.now, keys[0]);
    assert_eq!(submit(&mut world, 1), Err(Failure::Overloaded));
    world.machine.cancel(world.now, keys[2]);
    assert_eq!(world.machine.stats().queued_bytes, 700);
    world.answer(conn, 2, "");
    assert_eq!(world.machine.stats().queued_bytes, 400);
    world.advance(seconds(31));
    assert_eq!(world.machine.stats().queued_bytes, 100, "abandoned");
}

#[test]
fn an_empty_payload_is_refused() {
    let (mut world, _) = World::connected(single());
    let failure = submit(&mut world, 0).unwrap_err();
    assert_eq!(failure, Failure::Validation(ValidationError::EmptyPayload));
}

#[test]
fn a_payload_of_max_message_size_is_accepted_and_a_longer_one_refused() {
    let (mut world, conn) = World::connected(single().max_message_size(100));
    submit(&mut world, 100).unwrap();
    match submit(&mut world, 101).unwrap_err() {
        Failure::Validation(ValidationError::PayloadTooLarge {
            length: 101,
            setting: "max_message_size",
            limit: 100,
        }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(command_ids(&world.all_received(conn)), [1]);
}

#[test]
fn a_payload_larger_than_the_queue_is_refused() {
    let (mut world, _) = World::connected(single().max_queued_bytes(50));
    match submit(&mut world, 51).unwrap_err() {
        Failure::Validation(ValidationError::PayloadTooLarge {
            length: 51,
            setting: "max_queued_bytes",
            limit: 50,
        }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_oldest_untaken_events_are_dropped_and_counted() {
    let (mut world, conn) = World::connected(single());
    world.machine.observe_messages(true);
    for _ in 0..20_000 {
        let mut frame = vec![0, 15];
        frame.extend_from_slice(b"zraft\x01\x05");
        frame.extend_from_slice(&7_u64.to_be_bytes());
        world.arrive(conn, &frame);
    }
    let mut events = 0;
    let mut lost = 0;
    while let Some(event) = world.machine.poll_event() {
        match event {
            Event::Lagged(more) => lost += more,
            _ => events += 1,
        }
    }
    assert_eq!((events, lost), (16_384, 20_000 - 16_384));
}

#[test]
fn the_number_of_waiting_pings_is_limited() {
    let (mut world, conn) = World::connected(single());
    world.peer(conn).frozen = true;
    for _ in 0..1_024 {
        world.machine.ping(world.now);
    }
    world.pump();
    assert!(world.completions.is_empty());
    let refused = zraft_core::Completion::Ping {
        key: world.machine.ping(world.now),
        result: Err(Failure::Overloaded),
    };
    world.pump();
    assert!(world.completions.contains(&refused));
}

#[test]
fn messages_are_events_only_while_an_observer_listens() {
    let (mut world, conn) = World::connected(single());
    let message =
        |event: &Event| matches!(event, Event::MessageSent { .. } | Event::MessageReceived { .. });
    world.command("a");
    world.answer(conn, 1, "");
    assert_eq!(world.count_events(message), 0);
    world.machine.observe_messages(true);
    world.command("b");
    world.query("c");
    world.answer(conn, 2, "");
    assert_eq!(world.count_events(message), 3);
    world.machine.observe_messages(false);
    world.command("d");
    assert_eq!(world.count_events(message), 3);
}
