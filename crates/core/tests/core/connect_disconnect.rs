//! connect() and disconnect(): which calls wait for what, and how a session is closed.

use crate::common::*;
use zraft_core::{
    Completion, ConnectionCause, DisconnectReason, Event, Failure, OnSessionExpired, RequestKind,
    StateName, Timeout,
};
use zraft_protocol::{ClientMessage, CloseReason, SessionCloseReason};

fn endpoint() -> Option<String> {
    Some("tcp://127.0.0.1:7001".to_owned())
}

// ---- connect()

#[test]
fn connect_changes_the_state_before_it_returns_so_that_submits_queue() {
    let mut world = World::new(three());
    world.machine.connect(world.now, None);
    assert_eq!(world.state(), StateName::ConnectingNewSession);
    let key = world
        .machine
        .submit(world.now, RequestKind::Command, "x".into(), Timeout::Default)
        .unwrap();
    let conn = world.accept("node-1");
    world.create(conn);
    world.answer(conn, 1, "r");
    assert_eq!(world.result(key), Some(Ok("r".into())));
}

#[test]
fn each_connect_call_has_its_own_timeout() {
    let mut world = World::new(three());
    let short = world.machine.connect(world.now, Some(seconds(1)));
    let long = world.machine.connect(world.now, Some(seconds(20)));
    let conn = world.accept("node-1");
    let nonce = world.create_nonce(conn);
    world.advance(seconds(1));
    assert!(matches!(world.connect_result(short), Some(Err(Failure::Connection { .. }))));
    assert_eq!(world.connect_result(long), None);
    assert_eq!(world.state(), StateName::ConnectingNewSession);
    world.say(conn, zraft_protocol::ServerMessage::SessionCreated { session_id: session(), nonce });
    assert_eq!(world.connect_result(long), Some(Ok(())));
}

#[test]
fn the_attempt_ends_when_no_caller_waits_and_queued_requests_are_not_executed() {
    let mut world = World::new(three());
    let first = world.machine.connect(world.now, Some(seconds(1)));
    let second = world.machine.connect(world.now, Some(seconds(2)));
    let conn = world.accept("node-1");
    let key = world.command("x");
    world.advance(seconds(2));
    assert_eq!(world.state(), StateName::Disconnected);
    assert!(world.peer(conn).closed);
    for key in [first, second] {
        assert!(matches!(world.connect_result(key), Some(Err(Failure::Connection { .. }))));
    }
    let failure = world.result(key).unwrap().unwrap_err();
    assert!(matches!(failure, Failure::Connection { .. }) && !failure.maybe_executed());
    assert_eq!(world.asks(), None);
}

#[test]
fn a_cancelled_call_gets_no_completion_and_the_last_one_ends_the_attempt() {
    let mut world = World::new(three());
    let first = world.connect();
    let second = world.connect();
    world.machine.cancel_connect(world.now, first);
    world.pump();
    assert_eq!(world.state(), StateName::ConnectingNewSession);
    world.machine.cancel_connect(world.now, second);
    world.machine.cancel_connect(world.now, second);
    world.pump();
    assert_eq!(world.state(), StateName::Disconnected);
    assert!(world.completions.is_empty());
}

#[test]
fn a_failed_connect_reports_the_last_cause() {
    let mut world = World::new(single());
    let key = world.machine.connect(world.now, Some(millis(20)));
    world.pump();
    world.refuse("node-1");
    world.advance(millis(20));
    let failure = Failure::Connection { endpoint: endpoint(), cause: ConnectionCause::Refused };
    assert_eq!(world.connect_result(key), Some(Err(failure)));
    // No cause is known yet, so the time ran out.
    let mut world = World::new(single());
    let key = world.machine.connect(world.now, Some(millis(20)));
    world.accept("node-1");
    world.advance(millis(20));
    match world.connect_result(key) {
        Some(Err(Failure::Connection { cause: ConnectionCause::TimedOut, .. })) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_member_that_completes_the_handshake_and_never_answers_is_reported_as_such() {
    let mut world = World::new(single());
    let key = world.machine.connect(world.now, Some(seconds(6)));
    let conn = world.accept("node-1");
    world.create_nonce(conn);
    world.advance(seconds(6));
    let cause = ConnectionCause::NeverAnswered;
    let failure = Failure::Connection { endpoint: endpoint(), cause };
    assert_eq!(world.connect_result(key), Some(Err(failure)));
}

#[test]
fn a_timeout_of_connect_never_ends_a_resume() {
    let mut world = World::continuing(three());
    let key = world.machine.connect(world.now, Some(seconds(1)));
    let command = world.submit(RequestKind::Command, "x", Timeout::Never);
    while world.connect_result(key).is_none() {
        let member = world.next_asked(seconds(5)).0;
        world.refuse(&member);
        if world.asks().is_none() {
            let step = world.machine.poll_timeout().unwrap() - world.now;
            world.advance(step);
        }
    }
    assert!(matches!(world.connect_result(key), Some(Err(Failure::Connection { .. }))));
    assert_eq!(world.state(), StateName::ConnectingExistingSession);
    assert_eq!(world.result(command), None);
    let conn = world.resumed();
    assert_eq!(command_ids(&world.all_received(conn)), [1]);
}

#[test]
fn a_timeout_of_connect_never_ends_an_attempt_begun_by_an_expiry() {
    let config = single().on_session_expired(OnSessionExpired::NewSession);
    let (mut world, conn) = World::connected(config);
    world.closed(conn, SessionCloseReason::SessionExpired, None);
    let key = world.machine.connect(world.now, Some(seconds(1)));
    world.advance(seconds(1));
    assert!(world.connect_result(key).is_some());
    assert_eq!(world.state(), StateName::ConnectingNewSession);
    let key = world.connect();
    world.machine.cancel_connect(world.now, key);
    world.pump();
    assert_eq!(world.state(), StateName::ConnectingNewSession);
}

#[test]
fn after_a_failed_attempt_connect_starts_again() {
    let mut world = World::new(three());
    world.machine.connect(world.now, Some(seconds(1)));
    world.advance(seconds(1));
    assert_eq!(world.state(), StateName::Disconnected);
    let key = world.connect();
    let conn = world.accept("node-1");
    world.create(conn);
    assert_eq!(world.connect_result(key), Some(Ok(())));
}

// ---- disconnect()

#[test]
fn during_a_drain_new_work_is_refused_as_not_executed() {
    let (mut world, _) = World::connected(three());
    world.command("a");
    world.machine.disconnect(world.now, seconds(5));
    let failure = world
        .machine
        .submit(world.now, RequestKind::Query, "x".into(), Timeout::Default)
        .unwrap_err();
    assert_eq!(failure, Failure::Closed { sent: false });
}

#[test]
fn with_nothing_pending_close_session_goes_at_once_then_the_write_half_is_shut() {
    let (mut world, conn) = World::connected(three());
    world.machine.disconnect(world.now, seconds(5));
    match &world.all_received(conn)[..] {
        [ClientMessage::CloseSession { reason: CloseReason::ClientShutdown }] => {}
        other => panic!("{other:?}"),
    }
    assert!(world.peer(conn).shut && !world.peer(conn).closed);
    assert!(!world.is_disconnected(), "the server's end of the stream is awaited");
    world.hang_up(conn);
    assert!(world.is_disconnected());
    assert_eq!(world.disconnect_reason(), Some(DisconnectReason::Closed));
    assert_eq!(world.machine.session_id(), None);
}

#[test]
fn the_servers_end_of_the_stream_is_awaited_for_at_most_a_second() {
    let (mut world, conn) = World::connected(three());
    world.machine.disconnect(world.now, seconds(5));
    world.advance(millis(999));
    assert!(!world.is_disconnected());
    world.advance(millis(1));
    assert!(world.is_disconnected());
    assert!(world.peer(conn).closed);
    assert_eq!(world.state(), StateName::Disconnected);
}

#[test]
fn nothing_is_written_after_the_write_half_was_shut() {
    let (mut world, conn) = World::connected(three());
    world.machine.disconnect(world.now, seconds(5));
    world.pump();
    assert!(world.peer(conn).shut);
    let written = world.machine.stats().bytes_out;
    // A PING of the member would be answered, and the client's own would be due.
    world.raw(conn, b"\x04\x07\x04PING\x00\x64");
    world.advance(millis(999));
    let wall = zraft_protocol::Timestamp::from_millis(world.wall);
    assert!(world.machine.transmit(world.now, wall, conn).is_none());
    assert_eq!(world.machine.stats().bytes_out, written, "neither PING nor PONG");
    assert!(!world.is_disconnected(), "the server's end of the stream is awaited");
}

#[test]
fn the_write_half_is_shut_only_when_everything_is_written() {
    let (mut world, conn) = World::connected(three());
    world.peer(conn).frozen = true;
    world.machine.disconnect(world.now, seconds(5));
    let wall = zraft_protocol::Timestamp::from_millis(0);
    world.machine.transmit(world.now, wall, conn);
    world.machine.handle_written(world.now, conn);
    world.pump();
    assert!(!world.peer(conn).shut);
    world.peer(conn).frozen = false;
    world.pump();
    assert!(world.peer(conn).shut);
}

#[test]
fn disconnect_waits_for_answers_until_its_timeout_then_unsent_is_not_executed_and_sent_is_unknown()
{
    let (mut world, conn) = World::connected(single().max_in_flight(1));
    world.peer(conn).answers_keep_alives = true;
    let sent = world.command("sent");
    let unsent = world.command("unsent");
    let asked = world.query("asked");
    world.machine.disconnect(world.now, seconds(2));
    world.advance(millis(1_999));
    assert!(world.completions.is_empty());
    world.advance(millis(1));
    assert_eq!(world.result(sent), Some(Err(Failure::Closed { sent: true })));
    assert_eq!(world.result(unsent), Some(Err(Failure::Closed { sent: false })));
    assert_eq!(world.result(asked), Some(Err(Failure::Closed { sent: false })));
    // The session is closed properly nevertheless.
    assert!(matches!(world.all_received(conn).last(), Some(ClientMessage::CloseSession { .. })));
    world.hang_up(conn);
    assert!(world.is_disconnected());
}

#[test]
fn a_detached_command_is_not_waited_for_and_settles() {
    let (mut world, conn) = World::connected(single());
    let key = world.command("a");
    world.machine.cancel(world.now, key);
    world.machine.disconnect(world.now, seconds(5));
    assert_eq!(world.machine.waiting(), 0);
    assert!(matches!(world.all_received(conn).last(), Some(ClientMessage::CloseSession { .. })));
    assert_eq!(world.resolution(key), Some(Err(Failure::Closed { sent: true })));
}

#[test]
fn a_drain_goes_through_a_reconnect() {
    let (mut world, conn) = World::connected(three());
    world.answer_keep_alive(conn);
    let key = world.command("a");
    world.machine.disconnect(world.now, seconds(5));
    world.closed(conn, SessionCloseReason::NotLeaderAnymore, None);
    let conn = world.accept("node-2");
    world.resume(conn);
    assert_eq!(command_ids(&world.all_received(conn)), [1]);
    world.answer(conn, 1, "r");
    assert_eq!(world.result(key), Some(Ok("r".into())));
    assert!(world.peer(conn).shut);
}

#[test]
fn without_a_connection_in_time_the_session_is_left_to_expire() {
    let mut key = None;
    let mut world = World::stepped_down(three(), |world, _| key = Some(world.command("a")));
    let queued = world.query("b");
    world.machine.disconnect(world.now, seconds(2));
    world.advance(seconds(2));
    assert!(world.is_disconnected());
    assert_eq!(world.state(), StateName::Disconnected);
    assert_eq!(world.result(key.unwrap()), Some(Err(Failure::Closed { sent: true })));
    assert_eq!(world.result(queued), Some(Err(Failure::Closed { sent: false })));
    assert!(world.peers.iter().all(|peer| peer.closed));
    assert_eq!(world.asks(), None);
}

#[test]
fn an_expiry_ends_a_drain() {
    let config = three().on_session_expired(OnSessionExpired::NewSession);
    let (mut world, conn) = World::connected(config);
    let key = world.command("a");
    world.machine.disconnect(world.now, seconds(5));
    world.closed(conn, SessionCloseReason::SessionExpired, None);
    assert!(world.is_disconnected());
    assert_eq!(world.state(), StateName::Disconnected);
    let failure = Failure::SessionExpired { session_id: Some(session()), sent: true };
    assert_eq!(world.result(key), Some(Err(failure)));
}

#[test]
fn a_connection_lost_while_closing_ends_the_disconnect() {
    let (mut world, conn) = World::connected(three());
    world.machine.disconnect(world.now, seconds(5));
    world.pump();
    world.reset(conn);
    assert!(world.is_disconnected());
    assert_eq!(world.asks(), None, "the session is not continued");
    let (mut world, conn) = World::connected(three());
    world.machine.disconnect(world.now, seconds(5));
    world.pump();
    world.closed(conn, SessionCloseReason::NotLeaderAnymore, Some("node-2"));
    assert!(world.is_disconnected());
    assert_eq!(world.asks(), None);
}

#[test]
fn connect_during_a_drain_waits_and_then_starts_again() {
    let (mut world, conn) = World::connected(three());
    world.command("a");
    world.machine.disconnect(world.now, seconds(5));
    let key = world.connect();
    world.answer(conn, 1, "");
    assert_eq!(world.connect_result(key), None);
    world.hang_up(conn);
    assert!(world.is_disconnected());
    assert_eq!(world.state(), StateName::ConnectingNewSession);
    let conn = world.accept("node-1");
    world.create(conn);
    assert_eq!(world.connect_result(key), Some(Ok(())));
    // Ids begin again at 1.
    world.command("b");
    assert_eq!(command_ids(&world.all_received(conn)), [1]);
}

#[test]
fn connect_during_a_drain_has_a_timeout_too() {
    let (mut world, conn) = World::connected(three());
    world.peer(conn).answers_keep_alives = true;
    world.command("a");
    world.machine.disconnect(world.now, seconds(5));
    let key = world.machine.connect(world.now, Some(seconds(1)));
    world.advance(seconds(1));
    assert!(matches!(world.connect_result(key), Some(Err(Failure::Connection { .. }))));
    world.advance(seconds(10));
    assert!(world.is_disconnected());
    assert_eq!(world.state(), StateName::Disconnected, "no caller waits for another session");
}

#[test]
fn a_second_disconnect_can_only_shorten_the_wait_and_both_are_one() {
    let (mut world, conn) = World::connected(single());
    world.peer(conn).answers_keep_alives = true;
    world.command("a");
    world.machine.disconnect(world.now, seconds(5));
    world.machine.disconnect(world.now, seconds(60));
    world.machine.disconnect(world.now, seconds(1));
    world.advance(seconds(1));
    world.hang_up(conn);
    let done = world.completions.iter().filter(|c| **c == Completion::Disconnected);
    assert_eq!(done.count(), 1);
}

#[test]
fn a_connect_overtaken_by_disconnect_fails_as_closed() {
    let mut world = World::continuing(three());
    let key = world.connect();
    world.machine.disconnect(world.now, seconds(5));
    world.pump();
    assert_eq!(world.connect_result(key), Some(Err(Failure::Closed { sent: false })));
}

#[test]
fn state_changes_are_reported_in_order() {
    let mut world = World::new(three());
    world.connect();
    let conn = world.accept("node-1");
    world.create(conn);
    world.answer_keep_alive(conn);
    world.hang_up(conn);
    let conn = world.resumed();
    world.machine.disconnect(world.now, seconds(5));
    world.pump();
    world.hang_up(conn);
    let states: Vec<(StateName, StateName)> = world
        .events
        .iter()
        .filter_map(|event| match event {
            Event::StateChange { old_state, new_state } => Some((*old_state, *new_state)),
            _ => None,
        })
        .collect();
    use StateName::{Connected, ConnectingExistingSession, ConnectingNewSession, Disconnected};
    assert_eq!(
        states,
        [
            (Disconnected, ConnectingNewSession),
            (ConnectingNewSession, Connected),
            (Connected, ConnectingExistingSession),
            (ConnectingExistingSession, Connected),
            (Connected, Disconnected),
        ]
    );
}

#[test]
fn a_second_disconnect_overtakes_a_connect_that_waits_for_the_first() {
    let (mut world, conn) = World::connected(three());
    world.command("a");
    world.machine.disconnect(world.now, seconds(5));
    let key = world.connect();
    world.machine.disconnect(world.now, seconds(5));
    world.pump();
    assert_eq!(world.connect_result(key), Some(Err(Failure::Closed { sent: false })));
    world.answer(conn, 1, "");
    world.hang_up(conn);
    assert!(world.is_disconnected());
    assert_eq!(world.state(), StateName::Disconnected, "the last call said disconnect");
    assert_eq!(world.asks(), None);
}

#[test]
fn the_second_for_the_servers_end_begins_when_the_write_half_is_shut() {
    let (mut world, conn) = World::connected(three());
    // The socket takes nothing for a while, so CloseSession is not written yet.
    world.peer(conn).frozen = true;
    world.machine.disconnect(world.now, seconds(5));
    let wall = zraft_protocol::Timestamp::from_millis(world.wall);
    world.machine.transmit(world.now, wall, conn);
    world.advance(seconds(3));
    assert!(!world.is_disconnected(), "CloseSession was not written yet");
    world.peer(conn).frozen = false;
    assert!(matches!(world.all_received(conn).first(), Some(ClientMessage::CloseSession { .. })));
    assert!(world.peer(conn).shut);
    world.advance(millis(999));
    assert!(!world.is_disconnected());
    world.advance(millis(1));
    assert!(world.is_disconnected());
}

#[test]
fn a_socket_that_never_takes_close_session_holds_disconnect_up_until_its_timeout_only() {
    for (timeout, end) in [(seconds(5), seconds(5)), (millis(100), seconds(1))] {
        let (mut world, conn) = World::connected(three());
        world.peer(conn).frozen = true;
        world.machine.disconnect(world.now, timeout);
        let wall = zraft_protocol::Timestamp::from_millis(world.wall);
        world.machine.transmit(world.now, wall, conn);
        world.advance(end - millis(1));
        assert!(!world.is_disconnected(), "{timeout:?}");
        world.advance(millis(1));
        assert!(world.is_disconnected(), "{timeout:?}");
        assert!(world.peer(conn).closed && !world.peer(conn).shut);
    }
}
