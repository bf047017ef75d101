use zraft_protocol::{RejectionReason, ServerMessage, SessionId};
use zraft_session::Settings;

use super::world::{MS, World, close_session, command, continue_session, query, rejected};
use crate::{Role, Space};

fn results(messages: Vec<ServerMessage>) -> Vec<String> {
    let results = messages.into_iter().filter_map(|message| match message {
        ServerMessage::QueryResponse { result, .. } => {
            Some(String::from_utf8_lossy(&result).into_owned())
        }
        _ => None,
    });
    results.collect()
}

fn is_result(message: &ServerMessage) -> bool {
    matches!(message, ServerMessage::QueryResponse { .. })
}

#[test]
fn a_query_sees_the_commands_that_came_before_it() {
    let mut world = World::new(3);
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    world.command(connection, 1, "a");
    world.send(connection, query(1));
    world.command(connection, 2, "b");
    let all = world.wait(connection, is_result);
    let seen = results(all);
    assert!(seen[0].starts_with('a'), "{seen:?}");
}

#[test]
fn a_query_sees_a_command_that_waits_for_room() {
    let settings = Settings { cached_answers: 2, ..Settings::default() };
    let mut world = World::with_settings(1, settings);
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    for number in 1..=6 {
        world.send(connection, command(number, 1, &format!("{number}")));
        world.run(10 * MS);
    }
    world.received(connection);
    world.send(connection, query(1));
    world.run(100 * MS);
    assert!(results(world.received(connection)).is_empty(), "command 6 has not run");
    world.send(connection, command(7, 6, "7"));
    let seen = results(world.wait(connection, is_result));
    assert!(seen[0].contains('6'), "{seen:?}");
}

#[test]
fn a_query_sees_a_command_that_gets_room_while_the_round_is_under_way() {
    let settings = Settings { cached_answers: 2, ..Settings::default() };
    let mut world = World::with_settings(3, settings);
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    let (other, _) = world.session(leader);
    for number in 1..=6 {
        world.send(connection, command(number, 1, &format!("{number}")));
        world.run(10 * MS);
    }
    world.received(connection);
    // The other query's round is under way, so this one's begins 2 ms later, and command 6 is proposed before it ends.
    world.send(other, query(2));
    world.send(connection, query(1));
    world.send(connection, command(7, 6, "7"));
    let seen = results(world.wait(connection, is_result));
    assert!(seen[0].contains('6'), "{seen:?}");
}

#[test]
fn a_query_is_not_answered_without_a_command_that_the_end_of_its_session_drops() {
    let settings = Settings { cached_answers: 2, ..Settings::default() };
    let mut world = World::with_settings(3, settings);
    let leader = world.settle();
    let (connection, session) = world.session(leader);
    for number in 1..=6 {
        world.send(connection, command(number, 1, &format!("{number}")));
        world.run(10 * MS);
    }
    world.send(connection, query(1));
    world.run(100 * MS);
    world.send(connection, close_session());
    world.run(100 * MS);
    assert!(!world.replica(leader).view().sessions.contains(&session));
    let seen = results(world.received(connection));
    assert!(seen.is_empty(), "command 6 never ran: {seen:?}");
}

#[test]
fn a_query_sees_a_command_that_got_room_before_a_full_disk_held_it_back() {
    let settings = Settings { cached_answers: 2, ..Settings::default() };
    let mut world = World::with_settings(1, settings);
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    for number in 1..=6 {
        world.send(connection, command(number, 1, &format!("{number}")));
        world.run(10 * MS);
    }
    world.send(connection, query(1));
    world.run(100 * MS);
    world.received(connection);
    // Command 6 gets room, and the disk is found full before the command is proposed.
    let clock = world.clock();
    world.replica(leader).client_message(clock, connection, command(7, 6, "7"));
    world.replica(leader).disk_space(clock, Space::Low);
    world.collect(leader);
    world.run(100 * MS);
    assert!(results(world.received(connection)).is_empty(), "command 6 has not run");
    let clock = world.clock();
    world.replica(leader).disk_space(clock, Space::Ample);
    world.collect(leader);
    let seen = results(world.wait(connection, is_result));
    assert!(seen[0].contains('6'), "{seen:?}");
}

#[test]
fn a_query_sees_commands_that_came_with_it() {
    let mut world = World::new(1);
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    world.run(100 * MS);
    let clock = world.clock();
    for message in [command(1, 1, "a"), query(1), command(2, 1, "b")] {
        world.replica(leader).client_message(clock, connection, message);
    }
    world.collect(leader);
    let seen = results(world.wait(connection, is_result));
    assert!(seen[0].starts_with('a'), "{seen:?}");
}

#[test]
fn a_query_does_not_wait_for_commands_that_come_after_it() {
    let mut world = World::new(3);
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    let mut answered = false;
    for number in 1..=100 {
        // There is always a later command on its way.
        world.command(connection, number, "a");
        if number == 50 {
            world.send(connection, query(1));
        }
        world.run(MS);
        answered |= world.received(connection).iter().any(is_result);
    }
    assert!(answered);
}

#[test]
fn a_query_does_not_wait_for_commands_that_come_during_its_round() {
    let mut world = World::new(3);
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    world.run(100 * MS);
    let before = world.replica(leader).last_index();
    // The next query waits for a second round.
    world.send(connection, query(1));
    // Both are read before the first one is put into the log.
    let clock = world.clock();
    world.replica(leader).client_message(clock, connection, command(1, 1, "a"));
    world.replica(leader).client_message(clock, connection, query(2));
    world.collect(leader);
    let others = world.others(leader);
    world.until("the others have written the command", |world| {
        others.iter().all(|other| {
            let boot = world.member(*other).disk.boot();
            boot.entries.last().is_some_and(|last| last.index > before)
        })
    });
    for other in others {
        world.member(other).writes = false;
    }
    // These cannot be committed.
    for number in 2..=10 {
        world.command(connection, number, "b");
    }
    let mut answered = 0;
    world.until("both queries are answered", |world| {
        answered += world.received(connection).iter().filter(|each| is_result(each)).count();
        answered == 2
    });
    assert_eq!(world.lines(leader), ["a"]);
}

#[test]
fn a_query_waits_for_a_round_of_heartbeats() {
    let mut world = World::new(3);
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    world.run(100 * MS);
    world.isolate(leader);
    world.send(connection, query(1));
    world.run(100 * MS);
    assert_eq!(world.received(connection), []);
    world.heal();
    world.wait(connection, is_result);
}

#[test]
fn a_deposed_leader_answers_no_query() {
    let mut world = World::new(3);
    let leader = world.settle();
    let (connection, session) = world.session(leader);
    world.isolate(leader);
    world.send(connection, query(1));
    world.until("it steps down", |world| world.role(leader) != Role::Leader);
    world.heal();
    world.run(1000 * MS);
    assert!(results(world.received(connection)).is_empty());
    let leader = world.settle();
    let again = world.continued(leader, &session);
    world.send(again, query(1));
    world.wait(again, is_result);
}

#[test]
fn a_late_answer_of_the_state_machine_is_not_sent_by_a_deposed_leader() {
    let mut world = World::new(3);
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    world.run(100 * MS);
    world.member(leader).applies = false;
    world.send(connection, query(1));
    world.run(20 * MS);
    world.isolate(leader);
    world.until("it steps down", |world| world.role(leader) != Role::Leader);
    world.received(connection);
    world.member(leader).applies = true;
    world.collect(leader);
    assert_eq!(world.received(connection), []);
}

#[test]
fn many_queries_share_a_round() {
    let mut world = World::new(3);
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    world.run(100 * MS);
    let before = world.replica(leader).last_index();
    for number in 1..=200 {
        world.send(connection, query(number));
    }
    world.run(10 * MS);
    assert_eq!(results(world.received(connection)).len(), 200);
    assert_eq!(world.replica(leader).last_index(), before, "no entries");
}

#[test]
fn an_unknown_session_is_rejected_as_expired_only_after_a_round() {
    let mut world = World::new(3);
    let leader = world.settle();
    let unknown = SessionId::new("11111111-2222-4333-8444-555555555555").expect("short");
    world.isolate(leader);
    let connection = world.connect(leader);
    world.send(connection, continue_session(&unknown));
    world.run(200 * MS);
    assert_eq!(world.received(connection), [], "another member may lead and know it");
    world.until("it steps down", |world| world.role(leader) != Role::Leader);
    assert_eq!(world.received(connection), [rejected(RejectionReason::NotLeader, None)]);
    world.heal();
    let leader = world.settle();
    let connection = world.connect(leader);
    world.send(connection, continue_session(&unknown));
    world.run(20 * MS);
    assert_eq!(world.received(connection), [rejected(RejectionReason::SessionExpired, None)]);
}

#[test]
fn more_unknown_sessions_than_may_wait_for_a_round_are_rejected_at_once() {
    let mut world = World::new(3);
    world.limits.held = 2;
    for number in 1..=3 {
        world.restart(number);
    }
    let leader = world.settle();
    world.isolate(leader);
    let unknown = SessionId::new("11111111-2222-4333-8444-555555555555").expect("short");
    // The first waits for the round that it begins, the second for the next round.
    let asked = [(); 3].map(|()| {
        let connection = world.connect(leader);
        world.send(connection, continue_session(&unknown));
        world.received(connection)
    });
    assert_eq!(asked[..2], [[], []]);
    assert_eq!(asked[2].len(), 1);
    assert!(matches!(
        asked[2][0],
        ServerMessage::SessionRejected { reason: RejectionReason::NotLeader, .. }
    ));
}

#[test]
fn the_end_of_a_connection_drops_no_query_of_another_one() {
    let settings = Settings { cached_answers: 2, ..Settings::default() };
    let mut world = World::with_settings(3, settings);
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    let [first, second, third] = [(); 3].map(|()| world.session(leader).0);
    let mut answers = 0;
    let mut until_answered = |world: &mut World, expected| {
        world.until("the queries are answered", |world| {
            answers += results(world.received(connection)).len();
            answers == expected
        });
    };
    // One query waits for the round under way, and one for the next round.
    world.isolate(leader);
    world.send(connection, query(1));
    world.send(connection, query(2));
    world.disconnect(first);
    world.heal();
    until_answered(&mut world, 2);
    // The round is done, and the query waits for command 6, which waits for room.
    for number in 1..=6 {
        world.send(connection, command(number, 1, &format!("{number}")));
        world.run(10 * MS);
    }
    world.send(connection, query(3));
    world.run(100 * MS);
    world.disconnect(second);
    world.send(connection, command(7, 6, "7"));
    until_answered(&mut world, 3);
    // The state machine has the query.
    world.member(leader).applies = false;
    world.send(connection, query(4));
    world.run(20 * MS);
    world.disconnect(third);
    world.member(leader).applies = true;
    world.collect(leader);
    until_answered(&mut world, 4);
}
