//! The window: how many requests are on the wire at once, and in which order they go.

use crate::common::*;
use zraft_core::{RequestKind, Timeout};

#[test]
fn at_most_max_in_flight_commands_are_on_the_wire() {
    let (mut world, conn) = World::connected(single().max_in_flight(3));
    for n in 0..10 {
        world.command(&format!("{n}"));
    }
    assert_eq!(command_ids(&world.all_received(conn)), [1, 2, 3]);
    // Each answer makes room for one request.
    world.answer(conn, 3, "");
    assert_eq!(command_ids(&world.all_received(conn)), [4]);
    world.answer(conn, 3, "again");
    assert_eq!(command_ids(&world.all_received(conn)), []);
    world.answer(conn, 1, "");
    world.evicted(conn, 2);
    assert_eq!(command_ids(&world.all_received(conn)), [5, 6]);
    assert_eq!(world.machine.stats().in_flight, 3);
}

#[test]
fn queries_have_their_own_window_and_never_wait_for_that_of_commands() {
    let (mut world, conn) = World::connected(single().max_in_flight(2));
    for n in 0..5 {
        world.command(&format!("c{n}"));
    }
    for n in 0..5 {
        world.query(&format!("q{n}"));
    }
    assert_eq!(payloads(&world.all_received(conn)), ["c0", "c1", "q0", "q1"]);
    world.answer(conn, 1, "");
    assert_eq!(payloads(&world.all_received(conn)), ["c2"]);
}

#[test]
fn no_id_is_sent_more_than_eight_windows_above_the_lowest_pending() {
    let (mut world, conn) = World::connected(single().max_in_flight(4));
    for n in 0..60 {
        world.submit(RequestKind::Command, &format!("{n}"), Timeout::Never);
    }
    let mut highest = 0;
    loop {
        let ids = command_ids(&world.all_received(conn));
        if ids.is_empty() {
            break;
        }
        for id in ids {
            highest = highest.max(id);
            // The first is never answered.
            if id > 1 {
                world.answer(conn, id, "");
            }
        }
    }
    assert_eq!(highest, 1 + 8 * 4);
    assert_eq!(world.machine.stats().in_flight, 1);
    world.answer(conn, 1, "");
    assert_eq!(command_ids(&world.all_received(conn)), [34, 35, 36, 37]);
}

#[test]
fn queued_requests_go_in_the_order_of_submission() {
    let (mut world, conn) = World::connected(single().max_in_flight(4));
    let mut expected = Vec::new();
    for n in 0..40 {
        let text = format!("{n}");
        if n % 3 == 0 {
            world.query(&text)
        } else {
            world.command(&text)
        };
        expected.push(text);
    }
    let mut seen = Vec::new();
    let mut next = 1;
    for _ in 0..100 {
        let messages = world.all_received(conn);
        seen.extend(payloads(&messages));
        for id in correlation_ids(&messages) {
            world.answer_query(conn, &id, "");
        }
        for _ in command_ids(&messages) {
            world.answer(conn, next, "");
            next += 1;
        }
    }
    let of = |texts: &[String], query: bool| -> Vec<u32> {
        let numbers = texts.iter().map(|text| text.parse::<u32>().unwrap());
        numbers.filter(|number| (number % 3 == 0) == query).collect()
    };
    assert_eq!(of(&seen, false), of(&expected, false), "commands");
    assert_eq!(of(&seen, true), of(&expected, true), "queries");
    assert_eq!(seen.len(), 40);
}

#[test]
fn while_both_windows_are_open_commands_and_queries_go_in_the_order_of_submission() {
    let (mut world, conn) = World::connected(single());
    for n in 0..9 {
        if n % 2 == 0 {
            world.query(&format!("{n}"))
        } else {
            world.command(&format!("{n}"))
        };
    }
    let expected: Vec<String> = (0..9).map(|n| n.to_string()).collect();
    assert_eq!(payloads(&world.all_received(conn)), expected);
}

#[test]
fn a_window_of_one_sends_each_command_after_the_answer_to_the_one_before() {
    let (mut world, conn) = World::connected(single().max_in_flight(1));
    for n in 0..5 {
        world.command(&format!("{n}"));
    }
    for id in 1..=5 {
        assert_eq!(command_ids(&world.all_received(conn)), [id]);
        world.answer(conn, id, "");
    }
}

#[test]
fn a_detached_command_keeps_its_place_in_the_window() {
    let (mut world, conn) = World::connected(single().max_in_flight(2));
    let keys: Vec<_> = (0..4).map(|n| world.command(&format!("{n}"))).collect();
    world.machine.cancel(world.now, keys[0]);
    world.machine.cancel(world.now, keys[1]);
    assert_eq!(command_ids(&world.all_received(conn)), [1, 2]);
    world.answer(conn, 2, "");
    assert_eq!(command_ids(&world.all_received(conn)), [3]);
}

#[test]
fn a_forgotten_query_gives_its_place_in_the_window_to_the_next() {
    let (mut world, conn) = World::connected(single().max_in_flight(1));
    let first = world.query("a");
    world.query("b");
    assert_eq!(payloads(&world.all_received(conn)), ["a"]);
    world.machine.cancel(world.now, first);
    assert_eq!(payloads(&world.all_received(conn)), ["b"]);
}

#[test]
fn a_request_resent_after_a_resume_counts_once_in_the_window() {
    let mut world = World::stepped_down(three().max_in_flight(3), |world, _| {
        for n in 0..6 {
            world.command(&format!("{n}"));
        }
    });
    let conn = world.accept("node-2");
    world.resume(conn);
    assert_eq!(command_ids(&world.all_received(conn)), [1, 2, 3]);
    world.answer(conn, 1, "");
    assert_eq!(command_ids(&world.all_received(conn)), [4]);
}

#[test]
fn encoding_stays_at_most_256_kibibytes_or_one_frame_ahead_of_the_socket() {
    let (mut world, conn) = World::connected(single().max_in_flight(1024));
    world.peer(conn).frozen = true;
    let text = "x".repeat(1000);
    for _ in 0..1024 {
        world.command(&text);
    }
    let wall = zraft_protocol::Timestamp::from_millis(0);
    let ahead = bytes::Buf::remaining(world.machine.transmit(world.now, wall, conn).unwrap());
    // Each frame has 1,000 bytes of payload and up to 80 others, which gives these bounds.
    assert!(ahead > (256 << 10) - 1080 && ahead <= 256 << 10, "{ahead}");
    // Only the encoded commands have an id, and all frames have one length.
    let encoded = world.machine.stats().in_flight as usize;
    assert!(
        ahead % encoded == 0 && (1000..=1080).contains(&(ahead / encoded)),
        "{encoded} in {ahead}"
    );
    // A KeepAlive does not wait behind queued requests.
    world.machine.ping(world.now);
    let more = bytes::Buf::remaining(world.machine.transmit(world.now, wall, conn).unwrap());
    assert!(more > ahead && more < ahead + 64);
}

#[test]
fn a_frame_longer_than_256_kibibytes_is_encoded_alone() {
    let (mut world, conn) = World::connected(single());
    world.peer(conn).frozen = true;
    world.command("short");
    for _ in 0..2 {
        world.command(&"x".repeat(300 << 10));
    }
    let wall = zraft_protocol::Timestamp::from_millis(0);
    let mut written = Vec::new();
    while world.machine.stats().queued > 0 {
        let before = world.machine.stats().in_flight;
        let tx = world.machine.transmit(world.now, wall, conn).unwrap();
        written.push(bytes::Buf::remaining(tx));
        bytes::Buf::advance(tx, *written.last().unwrap());
        world.machine.handle_written(world.now, conn);
        assert_eq!(world.machine.stats().in_flight, before + 1);
    }
    assert!(written[0] < 64 && written[1..].iter().all(|bytes| *bytes < 301 << 10), "{written:?}");
    assert_eq!(written.len(), 3);
}

#[test]
fn a_due_request_that_does_not_fit_waits_for_the_socket_and_not_for_a_timer() {
    let (mut world, conn) = World::connected(single());
    world.peer(conn).answers_keep_alives = true;
    let text = "x".repeat(200 << 10);
    world.submit(RequestKind::Command, &text, Timeout::Never);
    // It was resent: it may be resent once more only as the lowest.
    world.advance(seconds(6));
    assert_eq!(command_ids(&world.all_received(conn)), [1, 1]);
    // The socket takes nothing more; a long frame is ahead of the next copy.
    world.peer(conn).frozen = true;
    world.submit(RequestKind::Command, &text, Timeout::Never);
    let wall = zraft_protocol::Timestamp::from_millis(0);
    world.machine.transmit(world.now, wall, conn).unwrap();
    // Fails if the machine asks to be woken in a busy loop.
    world.advance(seconds(6));
    let ahead = bytes::Buf::remaining(world.machine.transmit(world.now, wall, conn).unwrap());
    assert!(ahead < 256 << 10, "{ahead}");
    assert_eq!(world.machine.stats().resent, 1);
    world.peer(conn).frozen = false;
    assert_eq!(command_ids(&world.all_received(conn)), [2, 1]);
}
