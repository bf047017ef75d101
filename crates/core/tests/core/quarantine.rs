//! Quarantine: a request that takes down, or makes deaf, each member that receives it must not take down all of them.

use crate::common::*;
use zraft_core::{
    Completion, ConfigBuilder, ConnId, Event, Failure, RequestKey, RequestKind, RequestRef, Timeout,
};
use zraft_protocol::{RejectionReason, SessionCloseReason};

fn command(world: &mut World, text: &str) -> RequestKey {
    world.submit(RequestKind::Command, text, Timeout::Never)
}

fn query(world: &mut World, text: &str) -> RequestKey {
    world.submit(RequestKind::Query, text, Timeout::Never)
}

/// Returns a connected world with one answer so far, whose members answer KeepAlives.
fn heard(config: ConfigBuilder) -> (World, ConnId) {
    let (mut world, conn) = World::connected(config);
    world.answers_keep_alives = true;
    world.answer_keep_alive(conn);
    world.completions.clear();
    (world, conn)
}

/// The member answers a KeepAlive on the connection, and resets it without an answer to a request.
fn barren(world: &mut World, conn: ConnId) -> ConnId {
    // Long enough for every pending request to be due.
    world.advance(millis(60));
    world.reset(conn);
    world.resumed()
}

/// Returns the requests on the wire of this connection.
fn on_the_wire(world: &mut World, conn: ConnId) -> Vec<String> {
    payloads(&world.all_received(conn))
}

/// Loses three barren connections with these requests pending.
fn suspected(commands: usize, queries: usize) -> (World, ConnId, Vec<RequestKey>) {
    let (mut world, mut conn) = heard(three());
    let mut keys = Vec::new();
    for n in 0..queries {
        keys.push(query(&mut world, &format!("q{n}")));
    }
    for n in 0..commands {
        keys.push(command(&mut world, &format!("c{n}")));
    }
    keys.rotate_left(queries);
    for _ in 0..3 {
        conn = barren(&mut world, conn);
    }
    (world, conn, keys)
}

#[test]
fn after_three_barren_connections_requests_go_one_at_a_time_commands_in_id_order_then_queries() {
    let (mut world, conn, keys) = suspected(3, 2);
    let late = command(&mut world, "new");
    let mut order = Vec::new();
    for _ in 0..5 {
        let messages = world.all_received(conn);
        let texts = payloads(&messages);
        assert_eq!(texts.len(), 1, "{texts:?}");
        order.extend(texts);
        world.advance(millis(500));
        assert!(world.all_received(conn).is_empty(), "nothing beside it");
        match command_ids(&messages).pop() {
            Some(id) => world.answer(conn, id, ""),
            None => world.answer_query(conn, &correlation_ids(&messages)[0], ""),
        }
    }
    assert_eq!(order, ["c0", "c1", "c2", "q0", "q1"]);
    assert!(keys.iter().all(|key| world.result(*key) == Some(Ok("".into()))));
    assert_eq!(
        on_the_wire(&mut world, conn),
        ["new"],
        "new requests wait until all suspects settle"
    );
    assert_eq!(world.result(late), None);
    // From then on requests go together again.
    for n in 0..3 {
        command(&mut world, &format!("{n}"));
    }
    assert_eq!(on_the_wire(&mut world, conn).len(), 3);
}

#[test]
fn two_barren_connections_do_not_start_a_quarantine() {
    let (mut world, mut conn) = heard(three());
    for n in 0..3 {
        command(&mut world, &format!("c{n}"));
    }
    for _ in 0..2 {
        conn = barren(&mut world, conn);
    }
    assert_eq!(on_the_wire(&mut world, conn), ["c0"], "slow start");
    world.answer(conn, 1, "");
    world.advance(millis(1));
    assert_eq!(on_the_wire(&mut world, conn), ["c1", "c2"]);
}

#[test]
fn an_answer_resets_the_count_of_barren_connections() {
    let (mut world, mut conn) = heard(three());
    for n in 0..4 {
        command(&mut world, &format!("c{n}"));
    }
    for _ in 0..2 {
        conn = barren(&mut world, conn);
    }
    world.answer(conn, 1, "");
    conn = barren(&mut world, conn);
    conn = barren(&mut world, conn);
    world.all_received(conn);
    world.answer(conn, 2, "");
    world.advance(millis(100));
    assert_eq!(on_the_wire(&mut world, conn), ["c2", "c3"]);
}

#[test]
fn refusals_redirects_step_downs_and_silence_do_not_count_as_barren() {
    let (mut world, mut conn) = heard(three());
    for n in 0..3 {
        command(&mut world, &format!("c{n}"));
    }
    for round in 0..8 {
        match round % 4 {
            0 => {
                world.closed(conn, SessionCloseReason::NotLeaderAnymore, None);
                let (member, _) = world.next_asked(seconds(10));
                world.refuse(&member);
            }
            1 => {
                world.closed(conn, SessionCloseReason::Shutdown, None);
                let (member, _) = world.next_asked(seconds(10));
                let other = world.accept(&member);
                let nonce = world.continue_nonce(other);
                world.reject(other, nonce, RejectionReason::NotLeader, None);
            }
            2 => world.closed(conn, SessionCloseReason::SessionError, None),
            _ => {
                world.events.clear();
                world.advance_until(seconds(100), |world| {
                    world.state() != zraft_core::StateName::Connected
                });
                assert_eq!(world.disconnect_reason(), Some(zraft_core::DisconnectReason::Silent));
            }
        }
        conn = world.resumed();
        world.pump();
    }
    // Slow start begins with one request; all others go after its answer.
    world.answer(conn, 1, "");
    world.advance(millis(1_000));
    let ids = command_ids(&world.all_received(conn));
    assert!(ids.contains(&2) && ids.contains(&3), "{ids:?}");
}

#[test]
fn a_heartbeat_timeout_counts_as_barren() {
    let config = three().heartbeat_interval(millis(500)).heartbeat_timeout(seconds(2));
    let (mut world, mut conn) = heard(config);
    for n in 0..3 {
        command(&mut world, &format!("c{n}"));
    }
    for _ in 0..3 {
        world.pump();
        // Nothing more is read or written, and no KeepAlive is on its way.
        world.peer(conn).frozen = true;
        world.events.clear();
        world.advance_until(seconds(20), |world| world.state() != zraft_core::StateName::Connected);
        assert_eq!(world.disconnect_reason(), Some(zraft_core::DisconnectReason::HeartbeatTimeout));
        conn = world.resumed();
    }
    assert_eq!(on_the_wire(&mut world, conn), ["c0"]);
    world.answer(conn, 1, "");
    world.advance(millis(100));
    assert_eq!(on_the_wire(&mut world, conn), ["c1"], "one at a time");
}

/// The member stops answering KeepAlives.
fn deafen(world: &mut World, conn: ConnId) {
    world.pump();
    world.peer(conn).answers_keep_alives = false;
    world.machine.ping(world.now);
    world.events.clear();
    world.advance(seconds(5));
    assert_eq!(world.disconnect_reason(), Some(zraft_core::DisconnectReason::KeepAliveTimeout));
}

#[test]
fn a_member_deaf_with_requests_in_flight_counts_as_three_even_after_an_answer() {
    let (mut world, conn) = heard(three());
    for n in 0..4 {
        command(&mut world, &format!("c{n}"));
    }
    world.answer(conn, 1, "");
    deafen(&mut world, conn);
    let conn = world.resumed();
    assert_eq!(on_the_wire(&mut world, conn), ["c1"]);
    world.answer(conn, 2, "");
    world.advance(millis(100));
    assert_eq!(on_the_wire(&mut world, conn), ["c2"], "one at a time");
}

#[test]
fn a_member_deaf_with_nothing_in_flight_does_not_count() {
    let (mut world, conn) = heard(three());
    command(&mut world, "c0");
    world.answer(conn, 1, "");
    deafen(&mut world, conn);
    for n in 1..4 {
        command(&mut world, &format!("c{n}"));
    }
    let conn = world.resumed();
    assert_eq!(on_the_wire(&mut world, conn), ["c1", "c2", "c3"]);
}

/// The member receives a KeepAlive and then stops, as if frozen or behind a blackhole: not even PONGs come.
fn stands_still(world: &mut World, conn: ConnId) -> ConnId {
    world.peer(conn).answers_keep_alives = false;
    world.machine.ping(world.now);
    world.pump();
    world.peer(conn).frozen = true;
    world.events.clear();
    world.advance(seconds(5));
    assert_eq!(world.disconnect_reason(), Some(zraft_core::DisconnectReason::KeepAliveTimeout));
    world.resumed()
}

#[test]
fn frozen_members_are_not_deaf_and_cost_no_request() {
    let (mut world, mut conn) = heard(three());
    let keys: Vec<_> = (0..6).map(|n| command(&mut world, &format!("c{n}"))).collect();
    for id in 1..=3 {
        // Each member answers one request, and then nothing more.
        world.pump();
        world.answer(conn, id, "");
        conn = stands_still(&mut world, conn);
        assert!(quarantined(&world).is_empty(), "{id}");
    }
    let expected = ["c3", "c4", "c5"];
    assert_eq!(on_the_wire(&mut world, conn), expected, "nothing is suspected: all at once");
    for id in 4..=6 {
        world.answer(conn, id, "");
    }
    assert!(keys.iter().all(|key| world.result(*key) == Some(Ok("".into()))));
}

/// Loses a connection whose KeepAlive is unanswered and whose last PONG came `before` the loss. Returns the requests on the
/// wire of the next connection at first, and after one answer.
fn deaf_and_heard_last(before: std::time::Duration) -> (Vec<String>, Vec<String>) {
    let (mut world, conn) = heard(three().heartbeat_interval(seconds(1)));
    for n in 0..4 {
        command(&mut world, &format!("c{n}"));
    }
    world.answer(conn, 1, "");
    world.peer(conn).answers_keep_alives = false;
    world.machine.ping(world.now);
    world.pump();
    world.peer(conn).frozen = true;
    world.events.clear();
    world.advance(seconds(5) - before);
    world.raw(conn, b"\x04\x05\x04PONG");
    world.advance(before);
    assert_eq!(world.disconnect_reason(), Some(zraft_core::DisconnectReason::KeepAliveTimeout));
    let conn = world.resumed();
    let first = on_the_wire(&mut world, conn);
    world.answer(conn, 2, "");
    world.advance(millis(100));
    (first, on_the_wire(&mut world, conn))
}

#[test]
fn a_member_heard_within_two_heartbeats_before_the_loss_is_deaf_and_one_heard_earlier_is_frozen() {
    let (first, then) = deaf_and_heard_last(seconds(2));
    assert_eq!((first, then), (vec!["c1".into()], vec!["c2".into()]), "one at a time");
    let (first, then) = deaf_and_heard_last(seconds(2) + millis(1));
    assert_eq!(first, ["c1", "c2", "c3"]);
    assert!(then.is_empty(), "{then:?}");
}

fn quarantined(world: &World) -> Vec<RequestRef> {
    let ids = world.events.iter().filter_map(|event| match event {
        Event::RequestQuarantined { id } => Some(id.clone()),
        _ => None,
    });
    ids.collect()
}

#[test]
fn a_suspect_alone_on_two_further_barren_connections_is_quarantined() {
    let (mut world, mut conn, keys) = suspected(3, 0);
    for round in 0..2 {
        assert!(quarantined(&world).is_empty(), "{round}");
        assert_eq!(on_the_wire(&mut world, conn), ["c0"]);
        conn = barren(&mut world, conn);
    }
    assert_eq!(quarantined(&world), [RequestRef::Command(request(1))]);
    let failure = Failure::Quarantined { sent: true };
    assert!(failure.maybe_executed());
    assert_eq!(world.result(keys[0]), Some(Err(failure)));
    // It is abandoned: L passes it, and the others continue one at a time.
    let messages = world.all_received(conn);
    assert_eq!((command_ids(&messages), lowest_ids(&messages)), (vec![2], vec![2]));
    world.answer(conn, 2, "");
    world.advance(millis(10));
    assert_eq!(on_the_wire(&mut world, conn), ["c2"]);
    world.answer(conn, 3, "");
    assert_eq!(world.result(keys[1]), Some(Ok("".into())));
    assert_eq!(world.result(keys[2]), Some(Ok("".into())));
    // Its late answer does not count either.
    world.answer(conn, 1, "");
    assert_eq!(world.machine.stats().unmatched, 1);
}

#[test]
fn a_suspect_alone_at_one_further_deaf_member_is_quarantined() {
    let (mut world, conn, keys) = suspected(2, 0);
    assert_eq!(on_the_wire(&mut world, conn), ["c0"]);
    deafen(&mut world, conn);
    assert_eq!(quarantined(&world), [RequestRef::Command(request(1))]);
    assert_eq!(world.result(keys[0]), Some(Err(Failure::Quarantined { sent: true })));
    let conn = world.resumed();
    assert_eq!(on_the_wire(&mut world, conn), ["c1"]);
}

#[test]
fn a_query_in_quarantine_fails_and_is_safe_to_repeat() {
    let (mut world, mut conn, keys) = suspected(0, 2);
    for _ in 0..2 {
        assert_eq!(on_the_wire(&mut world, conn), ["q0"]);
        conn = barren(&mut world, conn);
    }
    let failure = Failure::Quarantined { sent: false };
    assert!(!failure.maybe_executed());
    assert_eq!(world.result(keys[0]), Some(Err(failure)));
    assert!(matches!(quarantined(&world)[..], [RequestRef::Query(_)]));
    assert_eq!(on_the_wire(&mut world, conn), ["q1"]);
}

#[test]
fn a_detached_command_in_quarantine_is_resolved() {
    let (mut world, conn, keys) = suspected(2, 0);
    world.machine.cancel(world.now, keys[0]);
    assert_eq!(on_the_wire(&mut world, conn), ["c0"]);
    deafen(&mut world, conn);
    assert_eq!(world.resolution(keys[0]), Some(Err(Failure::Quarantined { sent: true })));
}

#[test]
fn a_harmless_request_ahead_of_the_poisonous_one_is_not_quarantined() {
    let (mut world, mut conn, keys) = suspected(3, 0);
    // c0 is harmless; c1 takes the member down.
    for _ in 0..2 {
        let messages = world.all_received(conn);
        for id in command_ids(&messages) {
            if id == 1 {
                world.answer(conn, 1, "");
            }
        }
        world.advance(millis(10));
        world.all_received(conn);
        conn = barren(&mut world, conn);
    }
    assert!(quarantined(&world).is_empty(), "the first of those losses had seen an answer");
    assert_eq!(world.result(keys[0]), Some(Ok("".into())));
    assert_eq!(on_the_wire(&mut world, conn), ["c1"]);
    barren(&mut world, conn);
    assert_eq!(quarantined(&world), [RequestRef::Command(request(2))]);
}

#[test]
fn one_poisonous_request_among_a_hundred_makes_two_members_deaf_and_all_others_are_answered() {
    // A member that receives command 60 answers nothing more, KeepAlives included.
    let (mut world, mut conn) = heard(three());
    let keys: Vec<_> = (1..=100).map(|n| command(&mut world, &format!("c{n}"))).collect();
    let mut losses = 0;
    let start = world.now;
    while world.machine.stats().in_flight > 0 {
        let mut deaf = false;
        for id in command_ids(&world.all_received(conn)) {
            deaf |= id == 60;
            if !deaf {
                world.answer(conn, id, "ok");
            }
        }
        if deaf {
            losses += 1;
            world.peer(conn).answers_keep_alives = false;
            world.advance_until(seconds(60), |world| {
                world.state() != zraft_core::StateName::Connected
            });
            conn = world.resumed();
        } else {
            world.advance(millis(5));
        }
        assert!(world.now - start < seconds(120));
    }
    for (index, key) in keys.iter().enumerate() {
        let expected =
            if index == 59 { Err(Failure::Quarantined { sent: true }) } else { Ok("ok".into()) };
        assert_eq!(world.result(*key), Some(expected), "c{}", index + 1);
    }
    assert_eq!(losses, 2, "the first loss, and the one where it was alone");
    let settled = world.completions.iter().filter(|c| matches!(c, Completion::Request { .. }));
    assert_eq!(settled.count(), 100);
}

#[test]
fn a_suspect_is_not_cleared_when_another_request_is_given_up() {
    let (mut world, mut conn, keys) = suspected(1, 1);
    assert_eq!(on_the_wire(&mut world, conn), ["c0"]);
    conn = barren(&mut world, conn);
    // A request that waits for its turn is given up meanwhile: that does not clear the one that was alone.
    world.machine.cancel(world.now, keys[1]);
    assert_eq!(on_the_wire(&mut world, conn), ["c0"]);
    barren(&mut world, conn);
    assert_eq!(quarantined(&world), [RequestRef::Command(request(1))]);
}

#[test]
fn losses_with_another_request_alone_do_not_count_against_a_suspect() {
    let (mut world, mut conn, keys) = suspected(2, 0);
    // The first was alone at one loss, and is answered on the next connection.
    assert_eq!(on_the_wire(&mut world, conn), ["c0"]);
    conn = barren(&mut world, conn);
    world.answer(conn, 1, "");
    assert_eq!(world.result(keys[0]), Some(Ok("".into())));
    world.advance(millis(10));
    assert_eq!(on_the_wire(&mut world, conn), ["c0", "c1"]);
    // That connection is not barren; two more are needed for the second.
    conn = barren(&mut world, conn);
    conn = barren(&mut world, conn);
    assert!(quarantined(&world).is_empty());
    barren(&mut world, conn);
    assert_eq!(quarantined(&world), [RequestRef::Command(request(2))]);
}

#[test]
fn while_suspects_go_one_at_a_time_the_waiting_ones_ask_for_no_wake() {
    let (mut world, conn, _) = suspected(0, 2);
    assert_eq!(on_the_wire(&mut world, conn), ["q0"]);
    // Fails if the machine asks to be woken in a busy loop.
    world.advance(seconds(5));
    assert_eq!(world.state(), zraft_core::StateName::Connected);
}

#[test]
fn a_suspect_keeps_its_place_when_its_caller_no_longer_waits() {
    let (mut world, mut conn, keys) = suspected(2, 0);
    assert_eq!(on_the_wire(&mut world, conn), ["c0"]);
    world.machine.cancel(world.now, keys[0]);
    // It is still a suspect, and still alone.
    world.advance(millis(500));
    assert!(on_the_wire(&mut world, conn).is_empty(), "nothing beside it");
    // It stays the suspect across connections.
    for _ in 0..2 {
        assert!(quarantined(&world).is_empty());
        conn = barren(&mut world, conn);
        let messages = world.all_received(conn);
        assert_eq!(payloads(&messages).len(), 1);
    }
    assert_eq!(quarantined(&world), [RequestRef::Command(request(1))]);
    assert_eq!(world.resolution(keys[0]), Some(Err(Failure::Quarantined { sent: true })));
    world.answer(conn, 2, "r");
    assert_eq!(world.result(keys[1]), Some(Ok("r".into())));
}

#[test]
fn an_answered_detached_suspect_lets_the_next_request_go() {
    let (mut world, conn, keys) = suspected(2, 0);
    assert_eq!(on_the_wire(&mut world, conn), ["c0"]);
    world.machine.cancel(world.now, keys[0]);
    world.advance(millis(500));
    assert!(on_the_wire(&mut world, conn).is_empty(), "nothing beside it");
    world.answer(conn, 1, "late");
    assert_eq!(world.resolution(keys[0]), Some(Ok("late".into())));
    assert_eq!(on_the_wire(&mut world, conn), ["c1"]);
}

#[test]
fn a_silent_member_does_not_count_against_the_suspect() {
    let (mut world, mut conn, keys) = suspected(2, 0);
    for _ in 0..3 {
        assert_eq!(on_the_wire(&mut world, conn)[0], "c0");
        world.events.clear();
        world
            .advance_until(seconds(100), |world| world.state() != zraft_core::StateName::Connected);
        assert_eq!(world.disconnect_reason(), Some(zraft_core::DisconnectReason::Silent));
        assert!(quarantined(&world).is_empty());
        conn = world.resumed();
    }
    assert_eq!(world.result(keys[0]), None);
}

#[test]
fn a_new_session_has_no_suspects() {
    let config = three().on_session_expired(zraft_core::OnSessionExpired::NewSession);
    let (mut world, mut conn) = heard(config);
    for n in 0..3 {
        query(&mut world, &format!("q{n}"));
    }
    for _ in 0..3 {
        conn = barren(&mut world, conn);
    }
    assert_eq!(on_the_wire(&mut world, conn), ["q0"], "one at a time");
    world.closed(conn, SessionCloseReason::SessionExpired, None);
    let (member, _) = world.next_asked(seconds(10));
    let conn = world.accept(&member);
    world.create(conn);
    let mut texts = on_the_wire(&mut world, conn);
    texts.sort();
    assert_eq!(texts, ["q0", "q1", "q2"]);
}

#[test]
fn eof_counts_like_a_reset_and_refusals_between_do_not_reset_the_count() {
    let (mut world, mut conn) = heard(three());
    for n in 0..3 {
        command(&mut world, &format!("c{n}"));
    }
    for _ in 0..3 {
        world.advance(millis(60));
        world.hang_up(conn);
        let (member, _) = world.next_asked(seconds(10));
        world.refuse(&member);
        conn = world.resumed();
    }
    assert_eq!(on_the_wire(&mut world, conn), ["c0"]);
    world.answer(conn, 1, "");
    world.advance(millis(100));
    assert_eq!(on_the_wire(&mut world, conn), ["c1"], "one at a time");
}
