use bytes::BytesMut;
use zraft_protocol::{ClientMessage, RequestErrorReason, ServerMessage, SessionCloseReason};
use zraft_session::Settings;

use super::world::{MS, World, ack, answered, closed, command, keep_alive, query, request};
use crate::{ConnectionId, EntryBytes, Output, PeerMessage};

#[test]
fn a_command_costs_one_entry_and_its_copies_none() {
    let mut world = World::new(3);
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    world.run(100 * MS);
    let before = world.replica(leader).last_index();
    // Before it commits, the copies attach to it.
    for _ in 0..5 {
        world.command(connection, 1, "a");
    }
    assert_eq!(world.answer(connection, 1), "1");
    assert_eq!(world.received(connection), []);
    // After it, they are answered from the cache.
    for _ in 0..5 {
        world.command(connection, 1, "a");
        assert_eq!(world.answer(connection, 1), "1");
    }
    assert_eq!(world.replica(leader).last_index(), before + 1);
}

#[test]
fn commands_that_come_together_run_in_order_and_share_a_write() {
    let mut world = World::new(3);
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    for number in 1..=50 {
        world.send(connection, command(number, 1, &format!("{number}")));
    }
    let last = world.answer(connection, 50);
    assert_eq!(last, "50");
    let expected: Vec<String> = (1..=50).map(|number| format!("{number}")).collect();
    assert_eq!(world.lines(leader), expected);
}

#[test]
fn a_long_payload_reaches_the_write_where_it_was_received() {
    let mut world = World::new(3);
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    let text = "x".repeat(EntryBytes::SHARE_FROM);
    let mut received = BytesMut::new();
    command(1, 1, &text).encode(&mut received);
    let received = received.freeze();
    let message = ClientMessage::decode(&received).expect("it was encoded");
    world.send(connection, message);
    world.until("it is written", |world| {
        let write = world.member(leader).write.as_ref();
        let entries = write.map_or(&[][..], |(_, write)| &write.entries[..]);
        let long = entries.iter().find(|entry| entry.data.len() > text.len());
        long.is_some_and(|entry| {
            let [head, payload] = entry.data.pieces();
            assert_eq!((payload.len(), head.is_empty()), (text.len(), false));
            assert!(received.as_ptr_range().contains(&payload.as_ptr()), "it is a copy");
            true
        })
    });
    assert_eq!(world.answer(connection, 1), "1");
    for number in 1..=3 {
        world.until("it is applied", |world| world.lines(number).len() == 1);
        assert_eq!(world.lines(number), [text.as_str()]);
    }
    let [own, other] = [leader, world.others(leader)[0]].map(|number| {
        world
            .member(number)
            .disk
            .read(1, 100)
            .into_iter()
            .find(|entry| entry.data.len() > text.len())
    });
    assert_eq!(own, other, "the same entry in two pieces and in one");
}

#[test]
fn a_command_that_was_in_flight_when_the_leader_died_runs_once() {
    let mut world = World::new(3);
    let leader = world.settle();
    let (connection, session) = world.session(leader);
    world.command(connection, 1, "a");
    // Long enough for the followers to have it, not for the answer.
    world.run(2 * MS);
    assert_eq!(world.received(connection), []);
    world.member(leader).runs = false;
    world.until("a new leader", |world| world.serving().is_some());
    let next = world.serving().expect("it serves");
    let again = world.continued(next, &session);
    world.command(again, 1, "a");
    assert_eq!(world.answer(again, 1), "1");
    assert_eq!(world.lines(next), ["a"]);
}

#[test]
fn an_answer_goes_to_the_connection_that_the_session_has_now() {
    let mut world = World::new(3);
    let leader = world.settle();
    let (old, session) = world.session(leader);
    world.command(old, 1, "a");
    let new = world.continued(leader, &session);
    assert!(world.is_closed(old), "its client does not read it any more");
    assert_eq!(world.answer(new, 1), "1");
}

#[test]
fn a_command_below_the_lowest_pending_id_is_refused() {
    let mut world = World::new(1);
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    world.send(connection, command(5, 5, "a"));
    world.answer(connection, 5);
    world.send(connection, command(3, 3, "b"));
    let reason = RequestErrorReason::ResponseEvicted;
    let refused = ServerMessage::RequestError { request_id: request(3), reason };
    assert_eq!(world.received(connection), [refused]);
}

#[test]
fn a_full_cache_makes_commands_wait_and_stops_nothing_else() {
    let settings = Settings { cached_answers: 2, ..Settings::default() };
    let mut world = World::with_settings(1, settings);
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    // The client never says that it has the answers.
    for number in 1..=6 {
        world.send(connection, command(number, 1, &format!("{number}")));
        world.run(10 * MS);
    }
    let answers: Vec<_> = world.received(connection).iter().filter_map(answered).collect();
    assert!(!answers.contains(&6), "there is no room for {answers:?}");
    world.send(connection, keep_alive());
    assert_eq!(world.received(connection).len(), 1);
    // Its next frame says so, and everything that waited runs.
    world.send(connection, command(6, 6, "6"));
    world.run(10 * MS);
    let answers: Vec<_> = world.received(connection).iter().filter_map(answered).collect();
    assert!(answers.contains(&6));
}

#[test]
fn a_frame_that_shows_that_an_answer_has_arrived_lets_a_waiting_command_run() {
    let settings = Settings { cached_answers: 1, ..Settings::default() };
    let mut world = World::with_settings(1, settings);
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    for number in 1..=4 {
        world.send(connection, command(number, 1, &format!("{number}")));
        world.run(10 * MS);
    }
    let answers: Vec<_> = world.received(connection).iter().filter_map(answered).collect();
    assert_eq!(answers, [1, 2], "3 and 4 wait");
    // There is no room for 5, but there is for 3, which is the lowest that has not run.
    world.send(connection, command(5, 2, "5"));
    world.run(10 * MS);
    let answers: Vec<_> = world.received(connection).iter().filter_map(answered).collect();
    assert_eq!(answers, [3]);
}

/// A session with room for two answers: 1 to 4 have run, and 5 to 7 wait.
fn with_waiting_commands() -> (World, ConnectionId) {
    let settings = Settings { cached_answers: 2, ..Settings::default() };
    let mut world = World::with_settings(1, settings);
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    for number in 1..=7 {
        world.send(connection, command(number, 1, &format!("{number}")));
        world.run(10 * MS);
    }
    let answers: Vec<_> = world.received(connection).iter().filter_map(answered).collect();
    assert_eq!(answers, [1, 2, 3, 4], "the others wait");
    (world, connection)
}

#[test]
fn a_copy_of_a_waiting_command_lets_no_later_one_go_before_it() {
    let (mut world, connection) = with_waiting_commands();
    world.send(connection, command(5, 5, "5"));
    world.run(10 * MS);
    let answers: Vec<_> = world.received(connection).iter().filter_map(answered).collect();
    assert_eq!(answers, [5, 6, 7]);
}

#[test]
fn a_copy_of_a_command_in_the_log_lets_waiting_ones_go_before_later_ones() {
    let (mut world, connection) = with_waiting_commands();
    let leader = world.serving().expect("it serves");
    world.member(leader).writes = false;
    world.send(connection, command(5, 4, "5"));
    // This copy shows that there is room for 6.
    world.send(connection, command(5, 5, "5"));
    world.send(connection, command(8, 5, "8"));
    world.member(leader).writes = true;
    world.run(20 * MS);
    let answers: Vec<_> = world.received(connection).iter().filter_map(answered).collect();
    assert_eq!(answers, [5, 6, 7, 8]);
}

#[test]
fn a_session_whose_cache_stays_at_twice_its_limit_ends_though_several_commands_wait() {
    let settings =
        Settings { cached_answers: 2, session_timeout_millis: 4000, ..Settings::default() };
    let mut world = World::with_settings(1, settings);
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    for _ in 0..12 {
        // The client has no window, resends everything and never says that it has the answers.
        for number in 1..=8 {
            world.send(connection, command(number, 1, &format!("{number}")));
        }
        world.send(connection, keep_alive());
        world.run(1000 * MS);
    }
    let told = closed(SessionCloseReason::SessionExpired, None);
    assert!(world.received(connection).contains(&told));
}

#[test]
fn a_connection_on_which_too_much_waits_is_told_and_closed() {
    let settings = Settings { cached_answers: 1, ..Settings::default() };
    let mut world = World::with_settings(1, settings);
    world.limits.waiting_bytes = 2 * 256 + 100;
    world.restart(1);
    let leader = world.settle();
    let (connection, session) = world.session(leader);
    for number in 1..=10 {
        world.send(connection, command(number, 1, &"x".repeat(40)));
        world.run(10 * MS);
    }
    let told = closed(SessionCloseReason::NotLeaderAnymore, Some(1));
    assert_eq!(world.received(connection).last(), Some(&told));
    assert!(world.is_closed(connection));
    world.continued(leader, &session);
}

#[test]
fn empty_requests_that_wait_count_against_the_limit_of_their_connection() {
    let settings = Settings { cached_answers: 1, ..Settings::default() };
    let mut world = World::with_settings(3, settings);
    world.limits.waiting_bytes = 10 * 256;
    (1..=3).for_each(|number| world.restart(number));
    let leader = world.settle();
    let (full, _) = world.session(leader);
    for number in 1..=20 {
        world.send(full, command(number, 1, ""));
    }
    assert!(world.is_closed(full), "commands wait for room in the cache");
    let (asking, _) = world.session(leader);
    world.isolate(leader);
    for number in 0..20 {
        world.send(asking, query(number));
    }
    assert!(world.is_closed(asking), "queries wait for a round");
}

#[test]
fn a_slow_state_machine_makes_the_leader_stop_proposing() {
    let mut world = World::new(1);
    world.limits.unapplied_bytes = 1000;
    world.restart(1);
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    world.member(leader).applies = false;
    for number in 1..=100 {
        world.send(connection, command(number, 1, &"x".repeat(100)));
        world.run(5 * MS);
    }
    let last = world.replica(leader).last_index();
    assert!(last < 30, "{last} entries");
    world.member(leader).applies = true;
    world.collect(leader);
    assert_eq!(world.answer(connection, 100), "100");
}

#[test]
fn a_follower_whose_state_machine_is_slow_takes_no_more_entries_and_catches_up_later() {
    let mut world = World::new(3);
    let leader = world.settle();
    world.limits.unapplied_bytes = 2_000;
    let slow = world.others(leader)[0];
    world.restart(slow);
    world.run(100 * MS);
    let (connection, _) = world.session(leader);
    world.member(slow).applies = false;
    for number in 1..=100 {
        world.send(connection, command(number, number, &"x".repeat(100)));
        world.answer(connection, number);
    }
    let behind = world.replica(leader).last_index() - world.replica(slow).last_index();
    assert!(behind > 50, "{behind} entries");
    world.member(slow).applies = true;
    world.collect(slow);
    world.run(1_000 * MS);
    let lines = world.lines(leader);
    assert_eq!(world.lines(slow), lines);
}

#[test]
fn acknowledgements_cost_at_most_twenty_entries_a_second() {
    let mut world = World::new(3);
    let leader = world.settle();
    let clients: Vec<_> = (0..10).map(|_| world.session(leader).0).collect();
    for connection in &clients {
        world.command(*connection, 1, "push 100");
        world.answer(*connection, 1);
    }
    let before = world.replica(leader).last_index();
    // From 0 to 980 ms.
    for number in 1..=99 {
        for connection in &clients {
            world.send(*connection, ack(number));
        }
        world.run(10 * MS);
    }
    let entries = world.replica(leader).last_index() - before;
    assert!((15..=20).contains(&entries), "{entries} entries");
    world.run(100 * MS);
    let view = world.replica(leader).view().clone();
    assert_eq!(view.sessions.totals().server_requests, 10);
}

#[test]
fn acknowledgements_of_ten_thousand_sessions_cost_at_most_twenty_entries_a_second() {
    let mut world = World::new(3);
    let leader = world.settle();
    let clients: Vec<_> = (0..10_000).map(|_| world.connect(leader)).collect();
    for connection in &clients {
        world.create(*connection);
    }
    world.run(100 * MS);
    for connection in &clients {
        world.command(*connection, 1, "push 20");
    }
    world.run(100 * MS);
    let before = world.replica(leader).last_index();
    // Every session acknowledges at each of these moments, from 0 to 950 ms.
    for number in 1..=20 {
        for connection in &clients {
            world.send(*connection, ack(number));
        }
        world.run(50 * MS);
    }
    let entries = world.replica(leader).last_index() - before;
    assert!((15..=20).contains(&entries), "{entries} entries");
    world.run(100 * MS);
    let view = world.replica(leader).view().clone();
    assert_eq!((view.sessions.len(), view.sessions.totals().server_requests), (10_000, 0));
}

#[test]
fn commands_that_come_together_share_one_append_to_each_follower() {
    let mut world = World::new(3);
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    world.run(100 * MS);
    let clock = world.clock();
    let replica = world.replica(leader);
    for number in 1..=50 {
        replica.client_message(clock, connection, command(number, 1, "x"));
    }
    let mut appends = Vec::new();
    while let Some(output) = replica.poll_output() {
        if let Output::Send { message: PeerMessage::Append { entries, .. }, .. } = output {
            appends.push(entries.len());
        }
    }
    assert_eq!(appends, [50, 50]);
}

#[test]
fn commands_that_come_before_a_hand_over_are_in_the_log_before_it() {
    let mut world = World::new(3);
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    world.run(100 * MS);
    let clock = world.clock();
    let before = world.replica(leader).last_index();
    let replica = world.replica(leader);
    replica.client_message(clock, connection, command(1, 1, "x"));
    replica.hand_over(clock, None);
    assert_eq!(replica.last_index(), before + 1);
}

#[test]
fn a_connection_may_send_more_than_its_limit_if_nothing_of_it_waits() {
    let mut world = World::new(1);
    world.limits.waiting_bytes = 2 * 256 + 100;
    world.restart(1);
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    let clock = world.clock();
    for number in 1..=10 {
        let text = "x".repeat(40);
        world.replica(leader).client_message(clock, connection, command(number, 1, &text));
    }
    world.collect(leader);
    assert_eq!(world.answer(connection, 10), "10");
}

#[test]
fn a_tick_entry_comes_at_most_once_a_second_and_only_if_wanted() {
    let mut world = World::new(3);
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    world.run(std::time::Duration::from_secs(5));
    let idle = world.replica(leader).last_index();
    world.run(std::time::Duration::from_secs(5));
    assert_eq!(world.replica(leader).last_index(), idle);
    world.command(connection, 1, "every 100");
    world.answer(connection, 1);
    let before = world.replica(leader).last_index();
    world.run(std::time::Duration::from_millis(10_050));
    let entries = world.replica(leader).last_index() - before;
    assert!((9..=11).contains(&entries), "{entries} entries");
    assert_eq!(world.member(leader).machine.state().application().ticks, entries);
}
