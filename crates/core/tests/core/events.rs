//! Events of an attempt at a member, of its end, and of a session that moves from one connection to the next.

use crate::common::*;
use zraft_core::{ConnEnd, ConnectionCause, DisconnectReason, Event, StateName};
use zraft_protocol::{RejectionReason, SessionCloseReason};

const FIRST: &str = "tcp://127.0.0.1:7001";
const SECOND: &str = "tcp://127.0.0.1:7002";

fn attempt(id: &str, address: &str) -> Event {
    Event::ConnectionAttempt { member_id: member(id), address: address.to_owned() }
}

fn success(id: &str) -> Event {
    Event::ConnectionSuccess { member_id: member(id) }
}

fn failure(id: &str, error: ConnectionCause) -> Event {
    Event::ConnectionFailure { member_id: member(id), error }
}

fn change(old_state: StateName, new_state: StateName) -> Event {
    Event::StateChange { old_state, new_state }
}

fn connected(id: &str, endpoint: &str, resumed: bool) -> Event {
    let (member_id, endpoint) = (member(id), endpoint.to_owned());
    Event::Connected { session_id: session(), member_id, endpoint, resumed }
}

fn reconnecting(attempt: u32, id: &str, endpoint: &str) -> Event {
    Event::Reconnecting { attempt, member_id: member(id), endpoint: endpoint.to_owned() }
}

#[test]
fn events_report_the_attempt_then_its_handshake_then_the_session() {
    let mut world = World::new(three());
    world.connect();
    let opening = [
        change(StateName::Disconnected, StateName::ConnectingNewSession),
        attempt("node-1", FIRST),
    ];
    assert_eq!(world.events, opening, "no member has been reached yet");
    let conn = world.accept("node-1");
    assert_eq!(world.events[2..], [success("node-1")]);
    world.create(conn);
    let open = [
        change(StateName::ConnectingNewSession, StateName::Connected),
        connected("node-1", FIRST, false),
    ];
    assert_eq!(world.events[3..], open);
}

#[test]
fn a_failed_attempt_is_reported_with_its_member_and_cause_before_the_next() {
    let mut world = World::new(three());
    world.connect();
    world.events.clear();
    world.refuse("node-1");
    let refused = failure("node-1", ConnectionCause::Refused);
    assert_eq!(world.events, [refused, attempt("node-2", SECOND)]);
    let conn = world.accept("node-2");
    world.events.clear();
    let nonce = world.create_nonce(conn);
    world.reject(conn, nonce, RejectionReason::NotLeader, Some("node-1"));
    assert_eq!(world.events[0], failure("node-2", ConnectionCause::NoLeader));
}

#[test]
fn events_of_a_moving_session_name_the_member_left_the_members_asked_and_the_new_one() {
    let (mut world, conn) = World::connected(three());
    world.answer_keep_alive(conn);
    world.events.clear();
    world.closed(conn, SessionCloseReason::NotLeaderAnymore, Some("node-2"));
    let left = Event::Disconnected {
        reason: DisconnectReason::NotLeader,
        member_id: Some(member("node-1")),
    };
    let on_the_way = [
        left,
        change(StateName::Connected, StateName::ConnectingExistingSession),
        reconnecting(1, "node-2", SECOND),
        attempt("node-2", SECOND),
    ];
    assert_eq!(world.events, on_the_way);
    world.events.clear();
    let conn = world.accept("node-2");
    world.resume(conn);
    let arrived = [
        success("node-2"),
        change(StateName::ConnectingExistingSession, StateName::Connected),
        connected("node-2", SECOND, true),
    ];
    assert_eq!(world.events, arrived);
}

#[test]
fn a_failed_resume_distinguishes_denial_session_closed_and_reset() {
    let cause = |break_off: fn(&mut World, zraft_core::ConnId)| {
        let mut world = World::continuing(three());
        let conn = world.accept("node-2");
        break_off(&mut world, conn);
        let told = world.events.iter().find_map(|event| match event {
            Event::ConnectionFailure { member_id, error } => {
                Some((member_id.clone(), error.clone()))
            }
            _ => None,
        });
        let (id, cause) = told.expect("the attempt ended");
        assert_eq!(id, member("node-2"));
        cause
    };
    let denied = cause(|world, conn| {
        let nonce = world.continue_nonce(conn);
        world.reject(conn, nonce, RejectionReason::SessionExpired, None);
    });
    assert_eq!(denied, ConnectionCause::SessionUnknown);
    let ended = cause(|world, conn| world.closed(conn, SessionCloseReason::Shutdown, None));
    assert_eq!(ended, ConnectionCause::SessionClosed);
    let silent = cause(World::hang_up);
    assert_eq!(silent, ConnectionCause::ClosedBeforeFirstMessage);
    let broken = cause(|world, conn| {
        // Any message that is not an answer.
        world.say_bytes(conn, b"zraft");
        world.machine.handle_ended(world.now, conn, ConnEnd::Reset);
        world.peer(conn).closed = true;
        world.pump();
    });
    assert_eq!(broken, ConnectionCause::Lost);
}
