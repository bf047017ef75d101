use std::time::Duration;

use zraft_protocol::{RejectionReason, ServerMessage, SessionCloseReason};
use zraft_session::Settings;

use super::world::{
    MS, World, ack, answered, close_session, closed, command, keep_alive, query, rejected, request,
};
use crate::{Role, Space};

const SECOND: Duration = Duration::from_secs(1);

fn set(world: &mut World, number: u64, space: Space) {
    let now = world.clock();
    world.replica(number).disk_space(now, space);
    world.collect(number);
}

fn set_all(world: &mut World, space: Space) {
    for number in 1..=3 {
        set(world, number, space);
    }
    world.run(10 * MS);
}

/// Members whose leader has a session. All disks are low.
fn low() -> (World, u64, zraft_session::SessionId, crate::ConnectionId) {
    let mut world = World::new(3);
    let leader = world.settle();
    let (connection, session) = world.session(leader);
    world.command(connection, 1, "before");
    assert_eq!(world.answer(connection, 1), "1");
    world.run(100 * MS);
    // The leader last: it finds no member with space.
    for number in world.others(leader) {
        set(&mut world, number, Space::Low);
    }
    world.run(10 * MS);
    set(&mut world, leader, Space::Low);
    world.run(100 * MS);
    assert_eq!(world.serving(), Some(leader));
    (world, leader, session, connection)
}

#[test]
fn a_leader_whose_disk_is_low_hands_over_to_a_member_that_has_space() {
    let mut world = World::new(3);
    let leader = world.settle();
    let (connection, session) = world.session(leader);
    world.command(connection, 1, "a");
    assert_eq!(world.answer(connection, 1), "1");
    set(&mut world, leader, Space::Low);
    world.run(100 * MS);
    let next = world.serving().expect("another member leads");
    assert_ne!(next, leader);
    let told = closed(SessionCloseReason::NotLeaderAnymore, Some(next));
    assert_eq!(world.received(connection), [told]);
    let again = world.continued(next, &session);
    world.command(again, 2, "b");
    assert_ne!(world.answer(again, 2), "error");
}

#[test]
fn commands_wait_while_all_disks_are_low_and_run_once_when_there_is_space() {
    let (mut world, leader, session, connection) = low();
    let before = world.replica(leader).last_index();
    for number in 2..=5 {
        world.send(connection, command(number, 1, &format!("{number}")));
    }
    // Longer than a session timeout, in which the client is heard.
    for _ in 0..10 {
        world.send(connection, keep_alive());
        world.send(connection, command(2, 1, "2"));
        world.run(10 * SECOND);
    }
    assert_eq!(world.replica(leader).last_index(), before, "nothing is put into the log");
    assert!(world.replica(leader).is_out_of_space());
    assert_eq!(world.role(leader), Role::Leader);
    let alive = world.received(connection);
    assert_eq!(alive.len(), 10, "{alive:?}");
    assert!(alive.iter().all(|one| matches!(one, ServerMessage::KeepAliveResponse { .. })));

    // What needs no entry goes on.
    world.command(connection, 1, "before");
    assert_eq!(world.answer(connection, 1), "1", "from the cache");
    let connection = world.continued(leader, &session);
    world.send(connection, query(1));
    world.wait(connection, |message| matches!(message, ServerMessage::QueryResponse { .. }));

    for number in 2..=5 {
        world.send(connection, command(number, 1, &format!("{number}")));
    }
    world.run(SECOND);
    set_all(&mut world, Space::Ample);
    world.answer(connection, 5);
    assert_eq!(world.lines(leader), ["before", "2", "3", "4", "5"]);
    assert!(!world.replica(leader).is_out_of_space());
}

#[test]
fn a_leader_does_not_hand_over_when_no_member_could_take_commands() {
    let mut world = World::new(3);
    let leader = world.settle();
    let low = world.others(leader)[0];
    set(&mut world, low, Space::Low);
    world.run(10 * MS);
    set(&mut world, leader, Space::Low);
    world.run(SECOND);
    assert_eq!(world.serving(), Some(leader), "one of three disks is not enough for any leader");
    set(&mut world, low, Space::Ample);
    world.run(20 * SECOND);
    let now = world.clock();
    world.replica(leader).disk_space(now, Space::Low);
    world.collect(leader);
    world.run(200 * MS);
    assert_ne!(world.serving(), Some(leader));
}

#[test]
fn new_sessions_are_rejected_while_all_disks_are_low() {
    let (mut world, leader, ..) = low();
    let connection = world.connect(leader);
    world.create(connection);
    assert_eq!(world.received(connection), [rejected(RejectionReason::NotLeader, Some(leader))]);
    set_all(&mut world, Space::Ample);
    world.session(leader);
}

#[test]
fn commands_wait_while_the_disks_of_a_majority_are_low() {
    let mut world = World::new(3);
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    let [first, second] = world.others(leader)[..] else { panic!("three members") };
    set(&mut world, first, Space::Low);
    world.run(10 * MS);
    world.command(connection, 1, "one");
    assert_eq!(world.answer(connection, 1), "1", "two of three have space");
    set(&mut world, second, Space::Low);
    world.run(10 * MS);
    world.command(connection, 2, "two");
    world.run(SECOND);
    assert_eq!(world.received(connection), []);
    let low = world.replica(leader).peers().iter().filter(|peer| peer.space == Space::Low).count();
    assert_eq!(low, 2);
    set(&mut world, first, Space::Ample);
    assert_eq!(world.answer(connection, 2), "2");
}

#[test]
fn commands_that_were_held_back_when_the_disk_became_low_wait_too() {
    let mut world = World::new(3);
    world.limits.unapplied_bytes = 1;
    for number in 1..=3 {
        world.restart(number);
    }
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    world.run(100 * MS);
    // The state machine stands still, so the second command stays in the queue.
    world.member(leader).applies = false;
    world.command(connection, 1, "one");
    world.run(10 * MS);
    world.command(connection, 2, "two");
    world.run(10 * MS);
    let before = world.replica(leader).last_index();
    for number in world.others(leader) {
        set(&mut world, number, Space::Low);
    }
    world.run(10 * MS);
    set(&mut world, leader, Space::Low);
    world.member(leader).applies = true;
    world.collect(leader);
    assert_eq!(world.answer(connection, 1), "1");
    world.run(SECOND);
    assert_eq!(world.replica(leader).last_index(), before);
    set_all(&mut world, Space::Ample);
    assert_eq!(world.answer(connection, 2), "2");
    assert_eq!(world.lines(leader), ["one", "two"]);
}

#[test]
fn a_low_disk_makes_the_log_shorter_at_once() {
    let mut world = World::new(3);
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    for number in 1..=20 {
        world.send(connection, command(number, number, "line"));
    }
    world.answer(connection, 20);
    world.run(100 * MS);
    for number in 1..=3 {
        assert_eq!(world.member(number).disk.boot().first_index, 2);
    }
    for number in world.others(leader) {
        set(&mut world, number, Space::Low);
    }
    world.run(10 * MS);
    set(&mut world, leader, Space::Low);
    world.run(100 * MS);
    for number in 1..=3 {
        let boot = world.member(number).disk.boot();
        assert_eq!(boot.first_index, boot.snapshot.index + 1, "member {number}");
        assert!(boot.snapshot.index > 20);
    }
    // They start from it.
    for number in 1..=3 {
        world.restart(number);
    }
    let leader = world.settle();
    assert_eq!(world.lines(leader).len(), 20);
}

#[test]
fn a_leader_with_a_low_disk_keeps_the_log_that_a_slow_member_lacks() {
    let mut world = World::new(3);
    let leader = world.settle();
    let slow = world.others(leader)[0];
    let (connection, _) = world.session(leader);
    world.run(100 * MS);
    for number in world.others(leader) {
        set(&mut world, number, Space::Low);
    }
    world.run(100 * MS);
    set_all(&mut world, Space::Ample);
    // It answers, but its disk has stopped.
    world.member(slow).writes = false;
    for number in 1..=20 {
        world.send(connection, command(number, number, "line"));
    }
    world.answer(connection, 20);
    for number in world.others(leader) {
        set(&mut world, number, Space::Low);
    }
    world.run(10 * MS);
    set(&mut world, leader, Space::Low);
    world.run(100 * MS);
    let boot = world.member(leader).disk.boot();
    assert!(boot.snapshot.index > boot.first_index + 15, "{boot:?}");
    world.member(slow).writes = true;
    world.until("it has caught up", |world| world.lines(slow).len() == 20);
    assert!(world.chunks.is_empty(), "it needed no snapshot");
}

#[test]
fn a_hand_over_avoids_members_whose_disk_is_low() {
    for low in [0, 1] {
        let mut world = World::new(3);
        let leader = world.settle();
        world.run(100 * MS);
        let others = world.others(leader);
        set(&mut world, others[low], Space::Low);
        world.run(10 * MS);
        let now = world.clock();
        world.replica(leader).hand_over(now, None);
        world.collect(leader);
        world.run(100 * MS);
        assert_eq!(world.serving(), Some(others[1 - low]));
    }
}

#[test]
fn a_leader_that_is_elected_with_a_low_disk_passes_leadership_on() {
    let mut world = World::new(3);
    let old = world.settle();
    let (_, session) = world.session(old);
    let low = world.others(old)[0];
    set(&mut world, low, Space::Low);
    world.run(10 * MS);
    let now = world.clock();
    world.replica(old).hand_over(now, Some(super::world::id(low)));
    world.collect(old);
    world.run(10 * MS);
    world.until("it leads", |world| world.role(low) == Role::Leader);
    world.run(200 * MS);
    let leader = world.serving().expect("it serves");
    assert_ne!(leader, low);
    world.continued(leader, &session);
}

#[test]
fn a_new_leader_hears_which_disks_are_low() {
    let (mut world, old, session, _) = low();
    let leader = world.others(old)[0];
    let now = world.clock();
    world.replica(old).hand_over(now, Some(super::world::id(leader)));
    world.collect(old);
    world.run(100 * MS);
    assert_eq!(world.serving(), Some(leader));
    set(&mut world, leader, Space::Ample);
    world.run(10 * MS);
    let connection = world.continued(leader, &session);
    world.command(connection, 2, "two");
    world.run(SECOND);
    assert_eq!(world.received(connection), [], "the other two have said that they are low");
    set(&mut world, old, Space::Ample);
    world.run(10 * MS);
    assert_eq!(world.answer(connection, 2), "2");
}

#[test]
fn a_leader_hears_that_a_restarted_member_has_space_again() {
    let mut world = World::new(3);
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    let others = world.others(leader);
    for number in &others {
        set(&mut world, *number, Space::Low);
    }
    world.run(10 * MS);
    world.command(connection, 1, "one");
    world.run(SECOND);
    assert_eq!(world.received(connection), [], "one disk of three has space");
    // It got space while it did not run.
    world.restart(others[0]);
    world.run(SECOND);
    assert_eq!(world.serving(), Some(leader));
    assert_eq!(world.answer(connection, 1), "1");
}

#[test]
fn a_full_cache_ends_no_session_while_the_disk_is_low() {
    let settings =
        Settings { cached_answers: 2, session_timeout_millis: 10_000, ..Settings::default() };
    let mut world = World::with_settings(3, settings);
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    for number in 1..=6 {
        world.send(connection, command(number, 1, &format!("{number}")));
    }
    world.run(100 * MS);
    for number in world.others(leader) {
        set(&mut world, number, Space::Low);
    }
    world.run(10 * MS);
    set(&mut world, leader, Space::Low);
    for _ in 0..10 {
        world.run(3 * SECOND);
        world.send(connection, keep_alive());
    }
    assert!(world.is_open(connection), "the session goes on");
    set_all(&mut world, Space::Ample);
    for number in 5..=6 {
        world.send(connection, command(number, 5, &format!("{number}")));
    }
    world.answer(connection, 6);
    assert_eq!(world.lines(leader).len(), 6);
}

#[test]
fn acknowledgements_and_ends_of_sessions_go_into_the_log_of_a_low_disk() {
    let mut world = World::new(3);
    let leader = world.settle();
    let (connection, session) = world.session(leader);
    world.command(connection, 1, "push 3");
    world.wait(connection, |message| answered(message) == Some(1));
    world.run(100 * MS);
    for number in world.others(leader) {
        set(&mut world, number, Space::Low);
    }
    world.run(10 * MS);
    set(&mut world, leader, Space::Low);
    world.send(connection, ack(3));
    world.run(200 * MS);
    let state = world.replica(leader).view().sessions.get(&session).expect("it lives").clone();
    assert_eq!(state.acknowledged(), request(3));
    world.send(connection, close_session());
    world.run(100 * MS);
    assert!(!world.replica(leader).view().sessions.contains(&session));
}

#[test]
fn a_command_that_a_low_disk_held_back_is_not_put_behind_the_end_of_its_session() {
    let mut world = World::new(1);
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    world.run(100 * MS);
    let before = world.replica(leader).last_index();
    let clock = world.clock();
    let replica = world.replica(leader);
    replica.client_message(clock, connection, command(1, 1, "1"));
    replica.client_message(clock, connection, close_session());
    replica.disk_space(clock, Space::Low);
    replica.disk_space(clock, Space::Ample);
    world.collect(leader);
    world.run(100 * MS);
    let entries = world.replica(leader).last_index() - before;
    assert_eq!(entries, 1, "the end of the session");
}

#[test]
fn a_command_that_a_low_disk_held_back_is_proposed_with_the_others_of_its_poll() {
    let mut world = World::new(1);
    world.limits.waiting_bytes = 2 * (2 * 256 + 50);
    world.restart(1);
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    world.run(100 * MS);
    let before = world.replica(leader).last_index();
    let clock = world.clock();
    let replica = world.replica(leader);
    // Half of what may wait is proposed at once. This is less, also after it was held back.
    replica.client_message(clock, connection, command(1, 1, &"1".repeat(40)));
    replica.disk_space(clock, Space::Low);
    replica.disk_space(clock, Space::Ample);
    assert_eq!(replica.last_index(), before);
    replica.client_message(clock, connection, command(2, 1, "2"));
    world.collect(leader);
    assert_eq!(world.replica(leader).last_index(), before + 2);
}
