//! Members that keep a connection open with a byte now and then, and do not read or never finish a message: the client
//! leaves each within a stated bound.

use std::time::Duration;

use crate::common::*;
use bytes::Buf;
use zraft_core::{ConfigBuilder, ConnId, DisconnectReason, Event, RequestKind, StateName, Timeout};
use zraft_protocol::{ServerMessage, Timestamp};

/// The default heartbeat timeout, which is longer than the default connection timeout: a KeepAlive may be unwritten for
/// this long while the socket takes next to nothing.
const STALLED: Duration = Duration::from_secs(10);
/// The longest time for which anything may hold up a KeepAlive: see `MAX_HELD_UP`.
const MAX_HELD_UP: Duration = Duration::from_secs(15 * 60);

fn left(world: &World) -> bool {
    world.state() != StateName::Connected
}

/// Lets bytes of the member arrive every `every` until this holds; the driver runs on time. Returns how long that took.
fn trickle(
    world: &mut World,
    conn: ConnId,
    every: Duration,
    limit: Duration,
    mut bytes: impl FnMut(&mut World) -> Vec<u8>,
) -> Duration {
    let start = world.now;
    while !left(world) {
        world.advance(every);
        if !left(world) {
            let bytes = bytes(world);
            world.arrive(conn, &bytes);
            let _ = world.machine.transmit(world.now, Timestamp::from_millis(0), conn);
        }
        assert!(world.now - start <= limit, "it still holds the client after {limit:?}");
    }
    world.now - start
}

/// A PONG, which satisfies the heartbeat.
fn life(_: &mut World) -> Vec<u8> {
    b"\x04\x05\x04PONG".to_vec()
}

/// Returns a session at a member whose socket takes nothing more.
fn unread(config: ConfigBuilder) -> (World, ConnId) {
    let (mut world, conn) = World::connected(config);
    world.answer_keep_alive(conn);
    world.peer(conn).frozen = true;
    (world, conn)
}

#[test]
fn a_member_that_reads_nothing_but_sends_bytes_is_left_when_a_keep_alive_stays_unwritten() {
    let (mut world, conn) = unread(three());
    world.machine.ping(world.now);
    let took = trickle(&mut world, conn, seconds(1), STALLED, life);
    assert_eq!(took, STALLED);
    assert_eq!(world.disconnect_reason(), Some(DisconnectReason::KeepAliveTimeout));
    assert_eq!(world.asks().as_deref(), Some("node-2"));
}

#[test]
fn a_member_that_reads_nothing_is_left_without_pings_too() {
    let (mut world, conn) = unread(three());
    world.submit(RequestKind::Command, "x", Timeout::Never);
    // The next KeepAlive is due within 30 s.
    let took = trickle(&mut world, conn, seconds(1), seconds(30) + STALLED, life);
    assert!(took >= STALLED);
}

#[test]
fn a_member_that_reads_a_byte_now_and_then_is_left_too() {
    let (mut world, conn) = unread(three());
    for _ in 0..4 {
        world.submit(RequestKind::Command, &"x".repeat(50_000), Timeout::Never);
    }
    let _ = world.machine.transmit(world.now, Timestamp::from_millis(0), conn);
    world.machine.ping(world.now);
    let took = trickle(&mut world, conn, millis(500), 2 * STALLED, |world| {
        let tx = world.machine.transmit(world.now, Timestamp::from_millis(0), conn).unwrap();
        tx.advance(1);
        world.machine.handle_written(world.now, conn);
        life(world)
    });
    assert!(took >= STALLED);
    assert_eq!(world.disconnect_reason(), Some(DisconnectReason::KeepAliveTimeout));
}

#[test]
fn a_slow_link_that_keeps_taking_bytes_is_kept() {
    let (mut world, conn) = unread(three());
    for _ in 0..4 {
        world.submit(RequestKind::Command, &"x".repeat(50_000), Timeout::Never);
    }
    let _ = world.machine.transmit(world.now, Timestamp::from_millis(0), conn);
    world.machine.ping(world.now);
    // At 500 bytes a second the KeepAlive waits for minutes behind the frames ahead of it.
    for _ in 0..300 {
        world.advance(seconds(1));
        world.arrive(conn, b"\x04\x05\x04PONG");
        let tx = world.machine.transmit(world.now, Timestamp::from_millis(0), conn).unwrap();
        tx.advance(tx.remaining().min(500));
        world.machine.handle_written(world.now, conn);
        assert!(!left(&world));
    }
}

#[test]
fn an_answer_to_a_keep_alive_that_was_not_written_does_not_count() {
    let (mut world, conn) = unread(three());
    world.machine.ping(world.now);
    let took = trickle(&mut world, conn, seconds(1), STALLED, |world| {
        // The timestamps are the wall clock's: whoever knows the time can guess them.
        let mut bytes = Vec::new();
        for back in 0..20_000 {
            let timestamp = Timestamp::from_millis(world.wall - back);
            let mut frame = Vec::new();
            ServerMessage::KeepAliveResponse { timestamp }.encode(&mut frame);
            bytes.extend_from_slice(&[0, u8::try_from(frame.len()).unwrap()]);
            bytes.extend_from_slice(&frame);
        }
        bytes
    });
    assert_eq!(took, STALLED);
}

/// The head of a ZMTP frame of this length, with a client response in it.
fn long_frame(length: u64) -> Vec<u8> {
    let mut bytes = vec![2];
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(b"zraft\x01\x06");
    bytes.extend_from_slice(&1_u64.to_be_bytes());
    bytes
}

/// Without heartbeats of ours, whose PONGs would fall into the middle of frames that are made by hand here.
fn quiet() -> ConfigBuilder {
    three().heartbeat_interval(seconds(600)).heartbeat_timeout(seconds(600))
}

#[test]
fn one_frame_at_a_byte_per_4_s_delays_a_keep_alive_only_by_what_its_bytes_are_worth() {
    let (mut world, conn) = World::connected(quiet());
    world.answer_keep_alive(conn);
    world.machine.ping(world.now);
    world.pump();
    world.raw(conn, &long_frame(1 << 20));
    // 24 bytes at once, then single ones: at 100 bytes a second they are worth less than half a second.
    let took = trickle(&mut world, conn, seconds(4), seconds(8), |_| vec![0]);
    assert!(took >= seconds(5), "{took:?}");
    assert_eq!(world.disconnect_reason(), Some(DisconnectReason::KeepAliveTimeout));
}

#[test]
fn a_flowing_frame_delays_a_keep_alive_by_at_most_a_quarter_of_an_hour() {
    let (mut world, conn) = World::connected(quiet());
    world.answer_keep_alive(conn);
    world.machine.ping(world.now);
    world.pump();
    world.raw(conn, &long_frame(10 << 20));
    let limit = MAX_HELD_UP + seconds(6);
    let took = trickle(&mut world, conn, millis(500), limit, |_| vec![0; 512]);
    assert!(took >= MAX_HELD_UP, "{took:?}");
}

#[test]
fn small_messages_now_and_then_do_not_delay_a_keep_alive_longer() {
    let (mut world, conn) = World::connected(quiet());
    world.answer_keep_alive(conn);
    world.machine.ping(world.now);
    world.pump();
    let took = trickle(&mut world, conn, millis(900), seconds(10), |_| {
        let mut frame = Vec::new();
        let timestamp = Timestamp::from_millis(7);
        ServerMessage::KeepAliveResponse { timestamp }.encode(&mut frame);
        [&[0, u8::try_from(frame.len()).unwrap()], &frame[..]].concat()
    });
    assert!(took >= seconds(5));
}

#[test]
fn a_member_that_reads_nothing_makes_no_request_a_suspect() {
    let (mut world, mut conn) = unread(three());
    world.submit(RequestKind::Command, "innocent", Timeout::Never);
    for _ in 0..4 {
        let _ = world.machine.transmit(world.now, Timestamp::from_millis(0), conn);
        world.machine.ping(world.now);
        trickle(&mut world, conn, seconds(1), STALLED, life);
        let (member, _) = world.next_asked(seconds(10));
        conn = world.accept(&member);
        world.resume_slowly(conn);
    }
    answered_at_last(&mut world, conn);
}

#[test]
fn members_that_trickle_a_message_make_no_request_a_suspect() {
    let (mut world, mut conn) = World::connected(quiet());
    world.submit(RequestKind::Command, "innocent", Timeout::Never);
    for _ in 0..4 {
        world.machine.ping(world.now);
        world.pump();
        world.raw(conn, &long_frame(1 << 20));
        trickle(&mut world, conn, seconds(4), seconds(8), |_| vec![0]);
        conn = world.resumed();
    }
    answered_at_last(&mut world, conn);
}

/// Four such losses count as four barren ones: a deaf one would count as three, and a second would convict.
fn answered_at_last(world: &mut World, conn: ConnId) {
    let quarantined = |event: &Event| matches!(event, Event::RequestQuarantined { .. });
    assert_eq!(world.count_events(quarantined), 0);
    world.peer(conn).frozen = false;
    world.pump();
    assert_eq!(command_ids(&world.all_received(conn)).last(), Some(&1));
    world.answer(conn, 1, "r");
    assert_eq!(world.count_events(quarantined), 0);
}
