use std::{collections::BTreeSet, time::Duration};

use zraft_protocol::{
    Capabilities, ClientMessage, RejectionReason, ServerMessage, SessionCloseReason,
};
use zraft_session::Settings;

use super::world::{
    MS, World, close_session, closed, continue_session, keep_alive, nonce, rejected,
};

const SECOND: Duration = Duration::from_secs(1);

fn short() -> Settings {
    Settings { session_timeout_millis: 5_000, ..Settings::default() }
}

fn expired() -> ServerMessage {
    closed(SessionCloseReason::SessionExpired, None)
}

#[test]
fn a_session_expires_after_its_timeout_and_is_told_once_that_has_committed() {
    let mut world = World::with_settings(3, short());
    let leader = world.settle();
    let (connection, session) = world.session(leader);
    world.run(4_900 * MS);
    assert_eq!(world.received(connection), []);
    // The end cannot commit while the others are away.
    world.isolate(leader);
    world.run(200 * MS);
    assert_eq!(world.received(connection), []);
    world.heal();
    world.run(200 * MS);
    assert_eq!(world.received(connection), [expired()]);
    assert!(world.is_closed(connection));
    assert!(world.replica(leader).view().sessions.get(&session).is_none());
}

#[test]
fn any_message_of_a_bound_connection_extends_its_session() {
    let mut world = World::with_settings(3, short());
    let leader = world.settle();
    let (connection, session) = world.session(leader);
    for number in 1..=4 {
        world.run(4 * SECOND);
        match number % 2 {
            0 => world.send(connection, keep_alive()),
            _ => world.command(connection, number, "a"),
        }
    }
    assert!(world.replica(leader).view().sessions.get(&session).is_some());
    world.run(5_500 * MS);
    assert!(world.replica(leader).view().sessions.get(&session).is_none());
}

#[test]
fn a_new_leader_grants_every_session_a_full_timeout() {
    let mut world = World::with_settings(3, short());
    let leader = world.settle();
    let (_, session) = world.session(leader);
    world.run(4 * SECOND);
    world.member(leader).runs = false;
    world.until("a new leader", |world| world.serving().is_some_and(|next| next != leader));
    let next = world.serving().expect("it serves");
    world.run(4_900 * MS);
    assert!(world.replica(next).view().sessions.get(&session).is_some());
    world.run(SECOND);
    assert!(world.replica(next).view().sessions.get(&session).is_none());
}

#[test]
fn time_in_which_the_leader_did_not_read_expires_no_session() {
    let mut world = World::with_settings(1, short());
    let leader = world.settle();
    let (connection, session) = world.session(leader);
    world.member(leader).runs = false;
    world.run(6 * SECOND);
    world.member(leader).runs = true;
    // Its KeepAlive waited in the socket, and is read after the timers.
    world.run(20 * MS);
    world.send(connection, keep_alive());
    world.run(SECOND);
    assert!(world.replica(leader).view().sessions.get(&session).is_some());
}

#[test]
fn a_closed_session_ends_and_its_socket_closes_when_that_commits() {
    let mut world = World::new(3);
    let leader = world.settle();
    let (connection, session) = world.session(leader);
    world.command(connection, 1, "a");
    world.send(connection, close_session());
    assert!(!world.is_closed(connection));
    world.run(20 * MS);
    assert!(world.is_closed(connection));
    assert_eq!(world.lines(leader), ["a"], "what came before it runs");
    let again = world.connect(leader);
    world.send(again, continue_session(&session));
    world.run(20 * MS);
    assert_eq!(world.received(again), [rejected(RejectionReason::SessionExpired, None)]);
}

#[test]
fn a_closed_sessions_socket_closes_within_a_second() {
    let mut world = World::new(1);
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    world.member(leader).applies = false;
    world.send(connection, close_session());
    world.run(900 * MS);
    assert!(!world.is_closed(connection));
    world.run(150 * MS);
    assert!(world.is_closed(connection));
}

#[test]
fn only_the_bound_connection_closes_a_session() {
    let mut world = World::new(1);
    let leader = world.settle();
    let (old, session) = world.session(leader);
    let new = world.continued(leader, &session);
    world.send(old, close_session());
    let stranger = world.connect(leader);
    world.send(stranger, close_session());
    world.run(20 * MS);
    assert!(world.replica(leader).view().sessions.get(&session).is_some());
    assert!(!world.is_closed(new));
}

#[test]
fn a_message_for_an_ending_session_waits_for_its_end() {
    let mut world = World::new(3);
    let leader = world.settle();
    let (connection, session) = world.session(leader);
    world.run(100 * MS);
    let before = world.replica(leader).last_index();
    world.send(connection, close_session());
    world.command(connection, 1, "a");
    world.send(connection, keep_alive());
    let again = world.connect(leader);
    world.send(again, continue_session(&session));
    assert_eq!(world.received(again), []);
    world.run(20 * MS);
    assert_eq!(world.received(connection), []);
    assert_eq!(world.received(again), [rejected(RejectionReason::SessionExpired, None)]);
    assert_eq!(world.replica(leader).last_index(), before + 1, "the end alone was appended");
}

#[test]
fn a_session_whose_creator_has_gone_is_ended_at_once() {
    let mut world = World::new(3);
    let leader = world.settle();
    let connection = world.connect(leader);
    world.create(connection);
    world.disconnect(connection);
    world.run(50 * MS);
    let view = world.replica(leader).view().clone();
    assert!(view.sessions.is_empty());
    assert!(view.applied >= 4, "it was created and ended");
}

#[test]
fn a_peer_that_reconnects_without_a_word_is_told_to_continue_here() {
    let mut world = World::new(3);
    let leader = world.settle();
    let (old, session) = world.session(leader);
    world.disconnect(old);
    let silent = world.connect(leader);
    world.command(silent, 1, "a");
    let told = closed(SessionCloseReason::NotLeaderAnymore, Some(leader));
    assert_eq!(world.received(silent), [told]);
    assert!(world.is_closed(silent));
    world.continued(leader, &session);
    assert!(world.lines(leader).is_empty());
}

#[test]
fn the_end_of_a_session_does_not_reach_a_connection_that_has_another_one() {
    let mut world = World::with_settings(1, short());
    let leader = world.settle();
    let (connection, first) = world.session(leader);
    world.create(connection);
    world.run(4 * SECOND);
    world.send(connection, keep_alive());
    world.received(connection);
    world.run(2 * SECOND);
    assert!(world.replica(leader).view().sessions.get(&first).is_none());
    assert_eq!(world.received(connection), []);
    assert!(!world.is_closed(connection));
}

#[test]
fn a_session_that_never_makes_room_for_answers_ends_after_its_timeout() {
    let settings = Settings { cached_answers: 2, ..short() };
    let mut world = World::with_settings(1, settings);
    let leader = world.settle();
    let (connection, session) = world.session(leader);
    world.run(2 * SECOND);
    // The client never says that an answer has arrived, so its cache is at twice its limit.
    for number in 1..=8 {
        world.command(connection, number, "a");
        world.run(10 * MS);
    }
    let stay = |world: &mut World, seconds| {
        for _ in 0..seconds {
            world.send(connection, keep_alive());
            world.run(SECOND);
        }
        world.replica(leader).view().sessions.get(&session).is_some()
    };
    assert!(stay(&mut world, 4), "it may still raise its lowest pending id");
    assert!(!stay(&mut world, 8));
    assert!(world.received(connection).contains(&expired()));
}

#[test]
fn the_id_of_a_session_is_a_random_uuid() {
    let mut world = World::new(1);
    let leader = world.settle();
    let ids: BTreeSet<_> = (0..16).map(|_| world.session(leader).1.as_str().to_owned()).collect();
    assert_eq!(ids.len(), 16);
    for id in &ids {
        let parts: Vec<_> = id.split('-').collect();
        assert!(parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12]), "{id}");
        let is_digit = |digit| matches!(digit, '0'..='9' | 'a'..='f');
        assert!(parts.concat().chars().all(is_digit), "{id}");
        assert!(parts[2].starts_with('4'), "{id} is not of version 4");
        assert!(parts[3].starts_with(['8', '9', 'a', 'b']), "{id} is not of the common variant");
    }
}

#[test]
fn refused_sessions_are_told_why() {
    let settings = Settings { sessions: 1, ..Settings::default() };
    let mut world = World::with_settings(1, settings);
    let leader = world.settle();
    let connection = world.connect(leader);
    let capabilities = Capabilities::new([("refuse".to_owned(), String::new())]).expect("valid");
    world.send(connection, ClientMessage::CreateSession { capabilities, nonce: nonce() });
    world.run(20 * MS);
    let refused = rejected(RejectionReason::InvalidCapabilities, None);
    assert_eq!(world.received(connection), [refused]);
    world.session(leader);
    let second = world.connect(leader);
    world.create(second);
    world.run(20 * MS);
    assert_eq!(world.received(second), [rejected(RejectionReason::Other, None)]);
}

#[test]
fn two_sessions_of_one_connection_are_created_and_the_last_is_bound() {
    let mut world = World::new(1);
    let leader = world.settle();
    let connection = world.connect(leader);
    world.create(connection);
    world.create(connection);
    world.run(20 * MS);
    let created = world.received(connection);
    assert_eq!(created.len(), 2);
    assert_ne!(created[0], created[1]);
    world.command(connection, 1, "a");
    assert_eq!(world.answer(connection, 1), "1");
    let view = world.replica(leader).view().clone();
    let ServerMessage::SessionCreated { session_id, .. } = &created[1] else { panic!() };
    let last = view.sessions.get(session_id).expect("it exists");
    assert_eq!(last.cached_answers(), 1);
}
