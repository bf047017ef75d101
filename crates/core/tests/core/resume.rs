//! Pending requests when the session is continued on a new connection.

use std::time::Duration;

use crate::common::*;
use bytes::Buf;
use zraft_core::{ConnId, DisconnectReason, RequestKind, StateName, Timeout};
use zraft_protocol::SessionCloseReason;

fn command(world: &mut World, text: &str) {
    world.submit(RequestKind::Command, text, Timeout::Never);
}

/// Connected to node-1 with 5 commands and 2 queries on the wire, and one answered before.
fn pending() -> (World, ConnId) {
    let (mut world, conn) = World::connected(three());
    world.answers_keep_alives = true;
    command(&mut world, "answered");
    world.advance(millis(20));
    world.answer(conn, 1, "");
    for n in 2..=4 {
        command(&mut world, &format!("c{n}"));
    }
    world.submit(RequestKind::Query, "q1", Timeout::Never);
    for n in 5..=6 {
        command(&mut world, &format!("c{n}"));
    }
    world.submit(RequestKind::Query, "q2", Timeout::Never);
    world.all_received(conn);
    (world, conn)
}

fn everything() -> Vec<String> {
    ["c2", "c3", "c4", "c5", "c6", "q1", "q2", "new"].map(str::to_owned).to_vec()
}

#[test]
fn at_another_member_the_backlog_goes_at_once_in_id_order_then_the_queue() {
    let (mut world, conn) = pending();
    world.reset(conn);
    command(&mut world, "new");
    world.refuse("node-1");
    let conn = world.accept("node-2");
    world.resume(conn);
    assert_eq!(payloads(&world.all_received(conn)), everything());
}

#[test]
fn at_the_same_member_after_session_closed_the_backlog_goes_at_once() {
    for reason in [SessionCloseReason::SessionError, SessionCloseReason::NotLeaderAnymore] {
        let (mut world, conn) = pending();
        world.closed(conn, reason, None);
        command(&mut world, "new");
        if reason == SessionCloseReason::NotLeaderAnymore {
            world.refuse("node-2");
            world.refuse("node-3");
            world.advance_until(seconds(5), |world| world.opening().is_some());
            while world.asks().as_deref() != Some("node-1") {
                let member = world.asks().unwrap();
                world.refuse(&member);
            }
        }
        let conn = world.accept("node-1");
        world.resume(conn);
        assert_eq!(payloads(&world.all_received(conn)), everything());
    }
}

#[test]
fn at_the_same_member_after_a_loss_new_requests_go_at_once_and_the_backlog_waits() {
    let (mut world, conn) = pending();
    world.reset(conn);
    command(&mut world, "new");
    let conn = world.accept("node-1");
    world.resume(conn);
    assert_eq!(payloads(&world.all_received(conn)), ["new"]);
    // The answers come without a resend.
    for id in 2..=4 {
        world.answer(conn, id, "");
    }
    world.advance(millis(49));
    assert!(world.all_received(conn).is_empty());
    // Requests unanswered after 50 ms, which is more than a smoothed answer time here, are due, in slow start, in id order.
    world.advance(millis(1));
    assert_eq!(payloads(&world.all_received(conn)), ["c5"]);
    world.advance(millis(10));
    world.answer(conn, 5, "");
    world.advance(millis(12));
    assert_eq!(payloads(&world.all_received(conn)), ["c6", "q1"]);
}

/// Loses the connection to node-1 after answers that took this long, with one more command pending, and resumes there.
/// Returns how long the client waits for the answer before it resends.
fn waited_for_at_the_same_member(answers: &[u64]) -> Duration {
    let (mut world, conn) = World::connected(three().resend_interval(seconds(1)));
    world.answers_keep_alives = true;
    world.peer(conn).answers_keep_alives = true;
    for (&took, id) in answers.iter().zip(1..) {
        command(&mut world, "sample");
        world.advance(millis(took));
        world.answer(conn, id, "");
    }
    assert_eq!(world.machine.stats().resent, 0);
    command(&mut world, "pending");
    world.all_received(conn);
    world.reset(conn);
    let conn = world.accept("node-1");
    world.resume(conn);
    let waited = world.advance_until(seconds(10), |world| world.machine.stats().resent == 1);
    assert_eq!(payloads(&world.all_received(conn)), ["pending"]);
    waited
}

#[test]
fn the_wait_at_the_same_member_is_one_smoothed_answer_time() {
    assert_eq!(waited_for_at_the_same_member(&[400, 400]), millis(400));
}

#[test]
fn the_wait_at_the_same_member_is_at_least_50_ms() {
    assert_eq!(waited_for_at_the_same_member(&[10, 10]), millis(50));
}

#[test]
fn the_wait_at_the_same_member_is_at_most_the_resend_interval_however_slow_the_server() {
    assert_eq!(waited_for_at_the_same_member(&[900, 3_000, 3_000, 3_000, 3_000]), seconds(1));
}

#[test]
fn an_answer_without_a_resend_at_the_same_member_settles_and_is_not_a_sample() {
    let (mut world, conn) = pending();
    let before = world.machine.stats().smoothed_answer;
    world.reset(conn);
    world.advance(millis(500));
    let conn = world.accept("node-1");
    world.resume(conn);
    for id in 2..=6 {
        world.answer(conn, id, "");
    }
    assert_eq!(world.machine.stats().answered, 6);
    assert_eq!(world.machine.stats().resent, 0);
    assert_eq!(world.machine.stats().smoothed_answer, before);
}

#[test]
fn after_a_move_for_silence_the_backlog_goes_in_slow_start() {
    let (mut world, conn) = pending();
    world.peer(conn).answers_keep_alives = true;
    world.advance_until(seconds(20), |world| world.opening().is_some());
    assert_eq!(world.disconnect_reason(), Some(zraft_core::DisconnectReason::Silent));
    command(&mut world, "new");
    let conn = world.accept("node-2");
    world.resume(conn);
    assert_eq!(payloads(&world.all_received(conn)), ["c2"]);
    world.advance(millis(10));
    world.answer(conn, 2, "");
    world.advance(millis(12));
    assert_eq!(payloads(&world.all_received(conn)), ["c3", "c4"], "new work after it");
}

#[test]
fn after_a_barren_connection_the_backlog_goes_in_slow_start() {
    let (mut world, conn) = World::connected(three());
    world.answer_keep_alive(conn);
    for n in 1..=5 {
        command(&mut world, &format!("c{n}"));
    }
    world.reset(conn);
    world.refuse("node-1");
    let conn = world.accept("node-2");
    world.resume(conn);
    assert_eq!(payloads(&world.all_received(conn)), ["c1"]);
}

#[test]
fn a_barren_connection_is_remembered_past_one_that_carried_nothing() {
    let (mut world, conn) = World::connected(three());
    world.answer_keep_alive(conn);
    for n in 1..=5 {
        command(&mut world, &format!("c{n}"));
    }
    world.reset(conn);
    // This connection is reset before anything is sent on it.
    let conn = world.accept("node-1");
    let nonce = world.continue_nonce(conn);
    world.last_words(conn, zraft_protocol::ServerMessage::SessionContinued { nonce });
    let (member, _) = world.next_asked(seconds(5));
    world.refuse(&member);
    let conn = world.resumed();
    assert_eq!(payloads(&world.all_received(conn)).len(), 1, "slow start, not all at once");
}

#[test]
fn new_requests_wait_behind_a_backlog_in_slow_start() {
    let (mut world, conn) = World::connected(three());
    world.answer_keep_alive(conn);
    for n in 1..=2 {
        command(&mut world, &format!("c{n}"));
    }
    world.reset(conn);
    world.refuse("node-1");
    command(&mut world, "new");
    let conn = world.accept("node-2");
    world.resume(conn);
    assert_eq!(payloads(&world.all_received(conn)), ["c1"]);
    world.answer(conn, 1, "");
    world.advance(millis(1));
    assert_eq!(payloads(&world.all_received(conn)), ["c2", "new"]);
}

#[test]
fn nothing_is_written_on_a_connection_before_the_answer_to_its_session_message() {
    let (mut world, conn) = pending();
    world.closed(conn, SessionCloseReason::NotLeaderAnymore, None);
    let conn = world.accept("node-2");
    let nonce = world.continue_nonce(conn);
    command(&mut world, "new");
    world.machine.ping(world.now);
    world.advance(millis(4_000));
    assert!(world.all_received(conn).is_empty());
    world.say(conn, zraft_protocol::ServerMessage::SessionContinued { nonce });
    assert_eq!(payloads(&world.all_received(conn)), everything());
}

#[test]
fn a_request_only_encoded_for_the_old_connection_goes_on_the_new_one() {
    let (mut world, conn) = World::connected(three());
    world.answer_keep_alive(conn);
    world.peer(conn).frozen = true;
    command(&mut world, "a");
    let wall = zraft_protocol::Timestamp::from_millis(0);
    assert!(world.machine.transmit(world.now, wall, conn).is_some());
    world.reset(conn);
    let conn = world.accept("node-1");
    world.resume(conn);
    world.advance(millis(60));
    let messages = world.all_received(conn);
    assert_eq!(command_ids(&messages), [1]);
}

/// The socket takes this many bytes, and the member reads them.
fn trickle(world: &mut World, conn: ConnId, mut most: usize) {
    let wall = zraft_protocol::Timestamp::from_millis(world.wall);
    let tx = world.machine.transmit(world.now, wall, conn).unwrap();
    let mut bytes = Vec::new();
    while tx.has_remaining() && most > 0 {
        let length = tx.chunk().len().min(most);
        bytes.extend_from_slice(&tx.chunk()[..length]);
        tx.advance(length);
        most -= length;
    }
    world.machine.handle_written(world.now, conn);
    let now = world.now;
    let peer = world.peer(conn);
    peer.zmtp.handle_bytes(now, &bytes);
    while let Some(event) = peer.zmtp.poll_event(now) {
        if let zraft_zmtp::Event::Message(frame) = event {
            peer.inbox.push_back(zraft_protocol::ClientMessage::decode(&frame).unwrap());
        }
    }
}

#[test]
fn a_backlog_that_takes_longer_to_write_than_the_timeout_goes_once_and_then_in_slow_start() {
    const MANY: u64 = 11;
    let patient = three().heartbeat_timeout(seconds(60)).connection_timeout(seconds(60));
    let (mut world, conn) = World::connected(patient);
    command(&mut world, "answered");
    world.advance(millis(20));
    world.answer(conn, 1, "");
    world.completions.clear();
    for _ in 1..MANY {
        let payload = bytes::Bytes::from(vec![b'c'; 200 << 10]);
        let timeout = Timeout::Never;
        world.machine.submit(world.now, RequestKind::Command, payload, timeout).unwrap();
    }
    world.all_received(conn);
    world.reset(conn);
    world.refuse("node-1");
    let conn = world.accept("node-2");
    // From here on the socket takes 200 KiB a second: the backlog takes ten seconds.
    world.resume_slowly(conn);
    let mut ids: Vec<u64> = Vec::new();
    for second in 0..MANY + 1 {
        trickle(&mut world, conn, 205 << 10);
        // Requests that became due while the backlog was written do not mean that the clock jumped: deadlines fire as usual.
        world.submit(RequestKind::Query, "short", Timeout::After(millis(100)));
        world.advance(millis(110));
        assert_eq!(world.completions.drain(..).count(), 1, "in second {second}");
        world.advance(millis(900));
        let received: Vec<_> = world.peer(conn).inbox.drain(..).collect();
        ids.extend(received.iter().filter_map(|message| match message {
            zraft_protocol::ClientMessage::ClientRequest { request_id, .. } => {
                Some(request_id.get())
            }
            _ => None,
        }));
    }
    let first: Vec<u64> = ids.iter().copied().take(MANY as usize - 1).collect();
    assert_eq!(first, (2..=MANY).collect::<Vec<_>>(), "each once, in id order");
    assert!(ids.len() as u64 <= MANY, "then in slow start, which begins at one: {ids:?}");
}

#[test]
fn at_the_same_member_after_a_heartbeat_timeout_new_requests_go_at_once_too() {
    let config = single().heartbeat_interval(millis(500)).heartbeat_timeout(seconds(2));
    let (mut world, conn) = World::connected(config);
    for text in ["a", "b"] {
        command(&mut world, text);
    }
    world.pump();
    // One request is answered, so the connection is not barren.
    world.answer(conn, 1, "");
    world.peer(conn).frozen = true;
    world.advance_until(seconds(3), |world| world.state() != StateName::Connected);
    assert_eq!(world.disconnect_reason(), Some(DisconnectReason::HeartbeatTimeout));
    command(&mut world, "c");
    let conn = world.resumed();
    assert_eq!(payloads(&world.all_received(conn)), ["c"]);
    world.advance(millis(50));
    assert_eq!(payloads(&world.all_received(conn)), ["b"]);
}
