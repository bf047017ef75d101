//! Resending on one connection: when a request is due, and how fast due requests go.

use std::time::Duration;

use crate::common::*;
use zraft_core::{ConnId, RequestKind, Timeout};
use zraft_protocol::{ClientMessage, CorrelationId, SessionCloseReason};

/// The jitter lengthens a resend timeout by at most an eighth.
fn jittered(timeout: Duration) -> Duration {
    timeout + timeout / 8
}

/// Returns a world of one member that answers KeepAlives.
fn connected() -> (World, ConnId) {
    let (mut world, conn) = World::connected(single());
    world.peer(conn).answers_keep_alives = true;
    (world, conn)
}

fn command(world: &mut World) {
    world.submit(RequestKind::Command, "x", Timeout::Never);
}

/// Answers requests until the smoothed answer time is this long.
fn smooth(world: &mut World, conn: ConnId, time: Duration, first: u64) {
    command(world);
    world.advance(time);
    world.answer(conn, first, "");
    world.all_received(conn);
    assert_eq!(world.machine.stats().smoothed_answer, Some(time));
}

/// Returns how long it takes until commands arrive, and which.
fn wait_commands(world: &mut World, conn: ConnId, limit: Duration) -> (Duration, Vec<u64>) {
    let took = world.advance_until(limit, |world| {
        let peer = world.peers.iter().find(|peer| peer.conn == conn).unwrap();
        !peer.inbox.is_empty()
    });
    (took, command_ids(&world.all_received(conn)))
}

#[test]
fn a_request_is_due_after_the_resend_interval_without_samples() {
    let (mut world, conn) = connected();
    command(&mut world);
    assert_eq!(command_ids(&world.all_received(conn)), [1]);
    let (took, ids) = wait_commands(&mut world, conn, seconds(10));
    assert_eq!(ids, [1]);
    assert!(took >= seconds(3) && took <= jittered(seconds(3)), "{took:?}");
}

#[test]
fn a_request_is_due_after_four_smoothed_answer_times_when_that_is_longer() {
    let (mut world, conn) = connected();
    smooth(&mut world, conn, seconds(2), 1);
    command(&mut world);
    world.all_received(conn);
    let (took, ids) = wait_commands(&mut world, conn, seconds(20));
    assert_eq!(ids, [2]);
    assert!(took >= seconds(8) && took <= jittered(seconds(8)), "{took:?}");
}

#[test]
fn the_resend_timeout_counts_from_the_last_byte_of_the_frame() {
    let (mut world, conn) = connected();
    world.peer(conn).frozen = true;
    command(&mut world);
    let wall = zraft_protocol::Timestamp::from_millis(0);
    assert!(world.machine.transmit(world.now, wall, conn).is_some(), "encoded, not written");
    world.advance(seconds(4));
    world.peer(conn).frozen = false;
    world.pump();
    assert_eq!(command_ids(&world.all_received(conn)), [1], "once");
    let (took, ids) = wait_commands(&mut world, conn, seconds(10));
    assert_eq!(ids, [1]);
    assert!(took >= seconds(3), "{took:?}");
}

#[test]
fn queries_are_resent_too() {
    let (mut world, conn) = connected();
    world.submit(RequestKind::Query, "q", Timeout::Never);
    let first = world.all_received(conn);
    world.advance(seconds(4));
    let again = world.all_received(conn);
    assert_eq!(correlation_ids(&first), correlation_ids(&again));
    assert_eq!(payloads(&again), ["q"]);
}

#[test]
fn a_command_is_due_at_once_when_32_sent_after_it_were_answered() {
    let (mut world, conn) = connected();
    for _ in 0..40 {
        command(&mut world);
    }
    world.all_received(conn);
    for id in 2..=32 {
        world.answer(conn, id, "");
    }
    assert!(world.all_received(conn).is_empty());
    world.answer(conn, 33, "");
    let messages = world.all_received(conn);
    assert_eq!(command_ids(&messages), [1]);
    assert_eq!(world.machine.stats().resent, 1);
}

#[test]
fn only_answers_to_commands_sent_later_overtake_a_command() {
    let (mut world, conn) = connected();
    for _ in 0..80 {
        command(&mut world);
    }
    world.all_received(conn);
    for id in (1..=40).chain(42..=72) {
        world.answer(conn, id, "");
    }
    assert!(world.all_received(conn).is_empty(), "31 sent after command 41 were answered");
    world.answer(conn, 73, "");
    assert_eq!(command_ids(&world.all_received(conn)), [41]);
}

#[test]
fn one_due_request_goes_then_two_more_for_each_answer_after_as_long_a_wait() {
    let (mut world, conn) = connected();
    for _ in 0..12 {
        command(&mut world);
    }
    world.all_received(conn);
    let (_, ids) = wait_commands(&mut world, conn, seconds(4));
    assert_eq!(ids, [1]);
    world.advance(millis(100));
    assert!(world.all_received(conn).is_empty(), "one");
    world.answer(conn, 1, "");
    assert!(world.all_received(conn).is_empty(), "not at once");
    world.advance(millis(99));
    assert!(world.all_received(conn).is_empty(), "the release waits as long again");
    world.advance(millis(20));
    assert_eq!(command_ids(&world.all_received(conn)), [2, 3], "two more");
    world.advance(millis(50));
    world.answer(conn, 2, "");
    world.answer(conn, 3, "");
    world.advance(millis(49));
    assert!(world.all_received(conn).is_empty());
    world.advance(millis(60));
    assert_eq!(command_ids(&world.all_received(conn)), [4, 5, 6, 7], "two for each");
}

#[test]
fn answers_to_resent_requests_are_not_samples() {
    let (mut world, conn) = connected();
    command(&mut world);
    world.advance(seconds(4));
    assert_eq!(command_ids(&world.all_received(conn)), [1, 1]);
    world.answer(conn, 1, "");
    assert_eq!(world.machine.stats().smoothed_answer, None);
}

#[test]
fn late_answers_to_requests_never_resent_lengthen_the_timeout_and_release_nothing() {
    let (mut world, conn) = connected();
    for _ in 0..20 {
        command(&mut world);
    }
    world.all_received(conn);
    let (_, ids) = wait_commands(&mut world, conn, seconds(4));
    assert_eq!(ids, [1]);
    // The server handles each in 100 ms, and answers command 1 last.
    for id in 2..=20 {
        world.advance(millis(100));
        world.answer(conn, id, "");
        assert!(world.all_received(conn).is_empty(), "the answer to {id} releases nothing");
    }
    assert!(world.machine.stats().smoothed_answer.unwrap() > seconds(3), "they are samples");
    assert_eq!(world.machine.stats().resent, 1);
}

#[test]
fn a_slow_server_gets_few_copies() {
    let (mut world, conn) = World::connected(single().max_in_flight(1_000));
    world.peer(conn).answers_keep_alives = true;
    for _ in 0..1_000 {
        command(&mut world);
    }
    // The server handles a hundred a second, in order; a copy costs as much as a new command.
    let mut queue: Vec<u64> = Vec::new();
    let mut copies = 0;
    let mut done = 0;
    while world.machine.stats().answered < 1_000 {
        let ids = command_ids(&world.all_received(conn));
        copies += ids.len();
        queue.extend(ids);
        if done < queue.len() {
            world.answer(conn, queue[done], "");
            done += 1;
        }
        world.advance(millis(10));
    }
    assert!(copies <= 1_030, "{copies} copies of 1000 commands");
}

#[test]
fn each_timeout_without_an_answer_to_a_copy_doubles_the_resend_timeout_up_to_60_s() {
    let (mut world, conn) = connected();
    command(&mut world);
    world.all_received(conn);
    let mut expected = seconds(3);
    for _ in 0..8 {
        let (took, ids) = wait_commands(&mut world, conn, seconds(70));
        assert_eq!(ids, [1]);
        assert!(
            took >= expected && took <= jittered(expected) + millis(1),
            "{took:?} {expected:?}"
        );
        expected = (expected * 2).min(seconds(60));
    }
}

#[test]
fn a_reconnect_keeps_the_doubling() {
    let (mut world, conn) = connected();
    world.answers_keep_alives = true;
    command(&mut world);
    world.all_received(conn);
    assert_eq!(wait_commands(&mut world, conn, seconds(4)).1, [1]);
    // No copy is answered in another 3 s: doubled once.
    world.advance(jittered(seconds(3)));
    world.reset(conn);
    let conn = world.resumed();
    assert_eq!(wait_commands(&mut world, conn, seconds(1)).1, [1], "after the resume");
    // Nor in 6 s on the new connection: doubled twice.
    let (took, ids) = wait_commands(&mut world, conn, seconds(60));
    assert_eq!(ids, [1]);
    assert!(took >= seconds(12) && took <= jittered(seconds(12)) + millis(1), "{took:?}");
}

#[test]
fn the_first_answer_ends_the_doubling() {
    let (mut world, conn) = connected();
    for _ in 0..2 {
        command(&mut world);
    }
    world.all_received(conn);
    for _ in 0..3 {
        wait_commands(&mut world, conn, seconds(60));
    }
    world.answer(conn, 1, "");
    world.advance(seconds(120));
    world.answer(conn, 2, "");
    world.all_received(conn);
    command(&mut world);
    world.all_received(conn);
    let (took, ids) = wait_commands(&mut world, conn, seconds(60));
    assert_eq!(ids, [3]);
    assert!(took <= jittered(seconds(3)), "{took:?}");
}

#[test]
fn each_timeout_without_an_answer_to_a_copy_halves_the_allowance() {
    let (mut world, conn) = connected();
    for _ in 0..40 {
        command(&mut world);
    }
    world.all_received(conn);
    wait_commands(&mut world, conn, seconds(4));
    // Up to four at a time.
    world.answer(conn, 1, "");
    world.advance(millis(1_000));
    assert_eq!(command_ids(&world.all_received(conn)), [2, 3]);
    world.answer(conn, 2, "");
    world.answer(conn, 3, "");
    world.advance(millis(2_000));
    let four = command_ids(&world.all_received(conn));
    assert_eq!(four, [4, 5, 6, 7]);
    // No more answers come: only the lowest goes, once per timeout, and the timeout doubles.
    let mut sent = Vec::new();
    world.advance(seconds(40));
    sent.extend(command_ids(&world.all_received(conn)));
    assert!(sent.iter().all(|id| *id == 4), "{sent:?}");
    assert!(!sent.is_empty() && sent.len() <= 4, "{sent:?}");
}

#[test]
fn the_lowest_pending_may_always_go_once_per_timeout() {
    let (mut world, conn) = connected();
    for _ in 0..3 {
        command(&mut world);
    }
    world.all_received(conn);
    let (_, ids) = wait_commands(&mut world, conn, seconds(4));
    assert_eq!(ids, [1]);
    let (took, ids) = wait_commands(&mut world, conn, seconds(10));
    assert_eq!(ids, [1], "the others are due and wait");
    assert!(took >= seconds(3), "{took:?}");
}

#[test]
fn an_answer_to_the_first_transmission_of_a_resent_request_continues_the_slow_start() {
    let (mut world, conn) = connected();
    for _ in 0..8 {
        command(&mut world);
    }
    world.all_received(conn);
    // The due command is encoded, but the socket does not take it; then the answer to its first transmission comes.
    world.peer(conn).frozen = true;
    world.advance(millis(3_400));
    let wall = zraft_protocol::Timestamp::from_millis(0);
    world.machine.transmit(world.now, wall, conn);
    assert_eq!(world.machine.stats().resent, 1);
    let mut frame = vec![0, 0];
    let answer = zraft_protocol::ServerMessage::ClientResponse {
        request_id: request(1),
        result: payload(""),
    };
    answer.encode(&mut frame);
    frame[1] = (frame.len() - 2) as u8;
    let buffer = world.machine.recv_buffer(conn).unwrap();
    buffer.extend_from_slice(&frame);
    world.machine.handle_received(world.now, conn);
    assert_eq!(world.machine.stats().answered, 1);
    world.peer(conn).frozen = false;
    world.pump();
    world.all_received(conn);
    // The slow start begins again: the others do not wait for their own timeouts.
    world.advance(millis(10));
    let resent = world.machine.stats().resent;
    assert!(resent >= 2, "{resent}");
}

#[test]
fn a_resent_query_keeps_its_id_and_an_answered_one_is_not_resent() {
    let (mut world, conn) = connected();
    let key = world.submit(RequestKind::Query, "q", Timeout::Never);
    world.advance(seconds(8));
    let ids: Vec<CorrelationId> = world
        .all_received(conn)
        .into_iter()
        .filter_map(|message| match message {
            ClientMessage::Query { correlation_id, .. } => Some(correlation_id),
            _ => None,
        })
        .collect();
    assert!(ids.len() >= 2 && ids.iter().all(|id| *id == ids[0]));
    world.answer_query(conn, &ids[0], "r");
    assert_eq!(world.result(key), Some(Ok("r".into())));
    world.advance(seconds(60));
    assert!(correlation_ids(&world.all_received(conn)).is_empty());
}

#[test]
fn a_due_request_waits_again_once_the_server_is_known_to_be_slow() {
    let (mut world, conn) = connected();
    for _ in 0..20 {
        command(&mut world);
    }
    // All are due after three seconds; slow start lets one go.
    world.advance(seconds(8));
    // The answers come at last, in order. The second is resent, as the lowest may be; the third shows how slow the server is.
    for id in 1..=3 {
        world.answer(conn, id, "");
        world.advance(millis(500));
    }
    assert_eq!(world.machine.stats().smoothed_answer, Some(seconds(9)));
    world.all_received(conn);
    for id in 4..12 {
        world.advance(seconds(1));
        world.answer(conn, id, "");
    }
    assert_eq!(command_ids(&world.all_received(conn)), [], "copies would make it slower");
}

#[test]
fn answers_to_requests_resent_after_a_move_are_not_samples() {
    let (mut world, conn) = World::connected(three());
    command(&mut world);
    world.closed(conn, SessionCloseReason::NotLeaderAnymore, Some("node-2"));
    let conn = world.resumed();
    assert_eq!(command_ids(&world.all_received(conn)), [1], "at once");
    world.advance(millis(500));
    world.answer(conn, 1, "");
    assert_eq!(world.machine.stats().answered, 1);
    assert_eq!(world.machine.stats().smoothed_answer, None);
}

#[test]
fn an_answer_to_a_request_sent_only_on_an_earlier_connection_releases_nothing() {
    let (mut world, conn) = connected();
    for _ in 0..4 {
        command(&mut world);
    }
    world.all_received(conn);
    world.reset(conn);
    let conn = world.resumed();
    world.peer(conn).answers_keep_alives = true;
    let (_, ids) = wait_commands(&mut world, conn, seconds(10));
    assert_eq!(ids, [1], "the awaited requests go in slow start");
    world.answer(conn, 4, "");
    world.advance(millis(100));
    assert!(command_ids(&world.all_received(conn)).is_empty(), "the resend is not answered yet");
    world.answer(conn, 1, "");
    world.advance(millis(200));
    assert_eq!(command_ids(&world.all_received(conn)), [2, 3]);
}

#[test]
fn the_doubling_ends_with_the_session() {
    let config = single().on_session_expired(zraft_core::OnSessionExpired::NewSession);
    let (mut world, conn) = World::connected(config);
    world.answers_keep_alives = true;
    world.peer(conn).answers_keep_alives = true;
    world.submit(RequestKind::Query, "x", Timeout::Never);
    // No answer by 3 s, 6 s and 12 s.
    world.advance(seconds(30));
    world.closed(conn, SessionCloseReason::SessionExpired, None);
    let conn = {
        let (member, _) = world.next_asked(seconds(10));
        world.accept(&member)
    };
    world.create(conn);
    assert_eq!(correlation_ids(&world.all_received(conn)).len(), 1);
    world.advance(jittered(seconds(3)));
    assert_eq!(correlation_ids(&world.all_received(conn)).len(), 1, "after the plain timeout");
}
