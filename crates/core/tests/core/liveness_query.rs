//! The liveness query: a session that only listens leaves a leader that was cut off from its cluster.

use std::time::Duration;

use crate::common::*;
use zraft_core::{
    Config, ConfigBuilder, ConnId, DisconnectReason, Event, LivenessQuery, StateName, Timeout,
    ValidationError,
};
use zraft_protocol::{ClientMessage, SessionCloseReason};

/// Returns a connected world of three members that answer KeepAlives, and whose client asks "alive?" after 10 s.
fn listening() -> (World, ConnId) {
    listening_with(three().liveness_query(LivenessQuery::new("alive?")))
}

fn listening_with(config: ConfigBuilder) -> (World, ConnId) {
    let (mut world, conn) = World::connected(config);
    world.answers_keep_alives = true;
    world.peer(conn).answers_keep_alives = true;
    (world, conn)
}

/// Returns how long it takes until the member of this connection is asked something, and answers it.
fn asked(world: &mut World, conn: ConnId) -> Duration {
    let took = world.advance_until(seconds(120), |world| {
        world.peers.iter().any(|peer| peer.conn == conn && !peer.inbox.is_empty())
    });
    let messages = world.all_received(conn);
    assert_eq!(payloads(&messages), ["alive?"]);
    assert!(matches!(messages[..], [ClientMessage::Query { .. }]));
    world.answer_query(conn, &correlation_ids(&messages)[0], "yes");
    took
}

#[test]
fn an_idle_session_asks_again_an_interval_after_each_answer() {
    let (mut world, conn) = listening();
    for _ in 0..3 {
        assert_eq!(asked(&mut world, conn), seconds(10));
    }
    world.advance(millis(9_999));
    assert!(world.all_received(conn).is_empty());
}

#[test]
fn an_idle_session_leaves_a_leader_that_was_cut_off_and_stays_at_the_one_that_answers() {
    let (mut world, conn) = listening();
    let took = world.advance_until(seconds(60), |world| world.state() != StateName::Connected);
    assert_eq!(took, seconds(16), "the interval, and the wait for a silent member");
    assert_eq!(world.disconnect_reason(), Some(DisconnectReason::Silent));
    assert!(world.peer(conn).closed);
    let next = world.resumed();
    assert_eq!(payloads(&world.all_received(next)), ["alive?"], "the same query goes on");
}

#[test]
fn without_a_liveness_query_an_idle_session_stays_at_a_leader_that_was_cut_off() {
    let (mut world, conn) = listening_with(three());
    world.advance(seconds(3_600));
    assert_eq!(world.state(), StateName::Connected);
    assert!(world.all_received(conn).is_empty());
}

#[test]
fn an_answer_to_a_request_of_the_application_puts_the_query_off() {
    let (mut world, conn) = listening();
    for _ in 0..5 {
        world.advance(seconds(8));
        let id = world.command("x");
        let messages = world.all_received(conn);
        assert_eq!(payloads(&messages), ["x"]);
        world.answer(conn, command_ids(&messages)[0], "done");
        assert!(world.result(id).is_some());
    }
    assert_eq!(asked(&mut world, conn), seconds(10));
}

#[test]
fn no_query_goes_while_a_request_of_the_application_is_pending() {
    let (mut world, conn) = listening_with(single().liveness_query(LivenessQuery::new("alive?")));
    world.submit(zraft_core::RequestKind::Query, "slow", Timeout::Never);
    world.advance(seconds(60));
    let texts = payloads(&world.all_received(conn));
    assert!(!texts.is_empty() && texts.iter().all(|text| text == "slow"), "{texts:?}");
}

#[test]
fn the_application_hears_nothing_of_the_query() {
    let (mut world, conn) = listening();
    for _ in 0..3 {
        asked(&mut world, conn);
    }
    assert_eq!(world.completions, []);
    assert_eq!(world.events, []);
    let stats = world.machine.stats();
    assert_eq!((stats.sent, stats.answered, stats.in_flight), (3, 3, 0));
}

#[test]
fn a_disconnect_does_not_wait_for_the_query() {
    let (mut world, conn) = listening();
    world.advance(seconds(11));
    assert_eq!(payloads(&world.all_received(conn)), ["alive?"]);
    world.machine.disconnect(world.now, seconds(5));
    world.pump();
    assert!(matches!(world.received(conn), Some(ClientMessage::CloseSession { .. })));
    world.hang_up(conn);
    assert!(world.is_disconnected());
    let stats = world.machine.stats();
    assert_eq!((stats.not_executed, stats.unknown), (0, 0));
    assert_eq!(world.completions.len(), 1);
}

#[test]
fn the_query_goes_on_in_the_session_that_follows_an_expiry() {
    let config = three()
        .on_session_expired(zraft_core::OnSessionExpired::NewSession)
        .liveness_query(LivenessQuery::new("alive?"));
    let (mut world, conn) = listening_with(config);
    world.advance(seconds(11));
    world.closed(conn, SessionCloseReason::SessionExpired, None);
    let (member, _) = world.next_asked(seconds(10));
    let next = world.accept(&member);
    world.create(next);
    assert_eq!(payloads(&world.all_received(next)), ["alive?"]);
    assert_eq!(world.completions, []);
}

#[test]
fn an_expiry_that_ends_the_client_tells_nothing_of_the_query() {
    let (mut world, conn) = listening();
    world.advance(seconds(11));
    world.closed(conn, SessionCloseReason::SessionExpired, None);
    assert_eq!(world.state(), StateName::Disconnected);
    assert_eq!(world.completions, []);
    let stats = world.machine.stats();
    assert_eq!((stats.queued, stats.in_flight, stats.queued_bytes), (0, 0, 0));
}

#[test]
fn a_query_that_makes_members_deaf_is_given_up_and_not_sent_again_in_its_session() {
    let (mut world, mut conn) = listening();
    let quarantined = |event: &Event| matches!(event, Event::RequestQuarantined { .. });
    for _ in 0..10 {
        let asked = |world: &World| world.peers.last().is_some_and(|peer| !peer.inbox.is_empty());
        world.advance_until(seconds(60), asked);
        // The member takes the query, and answers nothing more.
        world.peer(conn).answers_keep_alives = false;
        world.advance_until(seconds(60), |world| world.state() != StateName::Connected);
        conn = world.resumed();
        if world.count_events(quarantined) > 0 {
            break;
        }
    }
    assert_eq!(world.count_events(quarantined), 1);
    world.all_received(conn);
    world.advance(seconds(120));
    assert!(world.all_received(conn).is_empty());
    assert_eq!(world.machine.stats().in_flight, 0);
    assert_eq!(world.completions, []);
}

#[test]
fn the_query_can_be_replaced_and_stopped_while_the_client_is_connected() {
    let (mut world, conn) = listening_with(three());
    world.advance(seconds(60));
    let query = LivenessQuery::new("alive?").every(seconds(2));
    world.machine.set_liveness_query(Some(query)).unwrap();
    assert!(asked(&mut world, conn) <= millis(1), "nothing showed for long that it leads");
    assert_eq!(asked(&mut world, conn), seconds(2));
    world.machine.set_liveness_query(None).unwrap();
    world.advance(seconds(60));
    assert!(world.all_received(conn).is_empty());
}

#[test]
fn the_interval_is_a_third_of_a_short_session_timeout() {
    let config = three()
        .session_timeout(seconds(12))
        .keep_alive_interval(seconds(4))
        .liveness_query(LivenessQuery::new("alive?"));
    let (mut world, conn) = listening_with(config);
    assert_eq!(asked(&mut world, conn), seconds(4));
}

#[test]
fn a_query_that_cannot_work_is_refused_with_what_is_accepted() {
    let build = |query| single().liveness_query(query).build().unwrap_err();
    let empty = build(LivenessQuery::new(""));
    assert_eq!(empty.to_string(), "liveness_query: its payload must have 1 to 16777216 bytes");
    for interval in [Duration::ZERO, millis(30_001)] {
        let refused = build(LivenessQuery::new("alive?").every(interval));
        assert_eq!(refused, ValidationError::LivenessQueryInterval { limit: seconds(30) });
        assert_eq!(refused.field(), "liveness_query");
    }
    let (mut world, conn) = listening();
    let refused = world.machine.set_liveness_query(Some(LivenessQuery::new("")));
    assert!(refused.is_err());
    assert_eq!(asked(&mut world, conn), seconds(10), "the query before it stays");
    let shown = format!("{:?}", Config::builder().liveness_query(LivenessQuery::new("secret")));
    assert!(!shown.contains("secret"));
}
