use std::time::Duration;

use zraft_protocol::{RejectionReason, SessionCloseReason};

use super::world::{MS, World, close_session, closed, continue_session, id, keep_alive, rejected};
use crate::{PeerMessage, Role};

#[test]
fn a_follower_rejects_sessions_with_a_hint_and_closes() {
    let mut world = World::new(3);
    let leader = world.settle();
    let follower = world.others(leader)[0];
    let connection = world.connect(follower);
    world.create(connection);
    let expected = rejected(RejectionReason::NotLeader, Some(leader));
    assert_eq!(world.received(connection), [expected]);
    assert!(world.is_closed(connection));
}

#[test]
fn a_follower_turns_other_messages_away_with_a_hint() {
    let mut world = World::new(3);
    let leader = world.settle();
    let follower = world.others(leader)[0];
    let connection = world.connect(follower);
    world.send(connection, keep_alive());
    let expected = closed(SessionCloseReason::NotLeaderAnymore, Some(leader));
    assert_eq!(world.received(connection), [expected]);
    assert!(world.is_closed(connection));
}

#[test]
fn a_session_message_is_held_during_an_election_and_served_after_it() {
    let mut world = World::new(1);
    let connection = world.connect(1);
    world.create(connection);
    assert_eq!(world.received(connection), []);
    world.settle();
    world.run(10 * MS);
    assert_eq!(world.received(connection).len(), 1);
    assert!(!world.is_closed(connection));
}

#[test]
fn a_held_session_message_is_rejected_once_another_member_leads() {
    let mut world = World::new(3);
    let connections: Vec<_> = (1..=3).map(|number| world.connect(number)).collect();
    for connection in &connections {
        world.create(*connection);
    }
    let leader = world.settle();
    world.run(100 * MS);
    for (number, connection) in (1..=3).zip(connections) {
        let received = world.received(connection);
        if number == leader {
            assert!(!world.is_closed(connection));
        } else {
            assert_eq!(received, [rejected(RejectionReason::NotLeader, Some(leader))]);
        }
    }
}

#[test]
fn a_held_session_message_is_rejected_after_two_election_timeouts() {
    let mut world = World::new(3);
    world.isolate(1);
    let connection = world.connect(1);
    world.create(connection);
    world.run(999 * MS);
    assert_eq!(world.received(connection), []);
    world.run(2 * MS);
    assert_eq!(world.received(connection), [rejected(RejectionReason::NotLeader, None)]);
}

#[test]
fn a_follower_that_has_not_heard_its_leader_for_three_heartbeats_holds() {
    let mut world = World::new(3);
    let leader = world.settle();
    let follower = world.others(leader)[0];
    world.isolate(follower);
    world.run(200 * MS);
    assert_eq!(world.replica(follower).leader(), Some(id(leader)), "no election yet");
    let connection = world.connect(follower);
    world.create(connection);
    assert_eq!(world.received(connection), [], "a hint to a lost leader helps no client");
}

#[test]
fn more_session_messages_than_may_be_held_are_rejected_at_once() {
    let mut world = World::new(1);
    world.limits.held = 2;
    world.restart(1);
    let connections: Vec<_> = (0..3).map(|_| world.connect(1)).collect();
    for connection in &connections {
        world.create(*connection);
    }
    assert!(!world.is_closed(connections[1]));
    assert!(world.is_closed(connections[2]));
}

#[test]
fn a_leader_serves_only_once_its_own_first_entry_is_applied() {
    let mut world = World::new(3);
    for member in world.members.values_mut() {
        member.applies = false;
    }
    world.until("a leader", |world| (1..=3).any(|number| world.role(number) == Role::Leader));
    world.run(200 * MS);
    assert_eq!(world.serving(), None);
    let leader = (1..=3).find(|number| world.role(*number) == Role::Leader).expect("a leader");
    let (held, unbound) = (world.connect(leader), world.connect(leader));
    world.create(held);
    assert_eq!(world.received(held), []);
    world.send(unbound, keep_alive());
    let expected = closed(SessionCloseReason::NotLeaderAnymore, Some(leader));
    assert_eq!(world.received(unbound), [expected]);
    world.member(leader).applies = true;
    world.collect(leader);
    world.run(10 * MS);
    assert_eq!(world.received(held).len(), 1);
}

#[test]
fn a_leader_that_has_applied_only_older_entries_does_not_serve() {
    let mut world = World::new(3);
    let leader = world.settle();
    let (connection, session) = world.session(leader);
    world.run(100 * MS);
    let next = world.others(leader)[0];
    world.member(next).applies = false;
    world.send(connection, close_session());
    world.run(100 * MS);
    let now = world.clock();
    world.replica(leader).hand_over(now, Some(id(next)));
    world.collect(leader);
    world.until("the next one leads", |world| world.role(next) == Role::Leader);
    world.run(100 * MS);
    // Its state machine is about to learn that the session has ended, and knows it still.
    assert!(world.replica(next).view().sessions.get(&session).is_some());
    world.member(next).applies = true;
    world.member(next).jobs_left = 1;
    world.collect(next);
    assert!(world.replica(next).view().sessions.get(&session).is_none());
    assert!(!world.replica(next).is_serving(), "its own first entry is not applied");
    world.member(next).jobs_left = usize::MAX;
    world.collect(next);
    assert!(world.replica(next).is_serving());
}

#[test]
fn the_first_leader_alone_proposes_the_settings() {
    let settings = zraft_session::Settings { cached_answers: 77, ..Default::default() };
    let mut world = World::with_settings(3, settings.clone());
    let leader = world.settle();
    world.run(100 * MS);
    for number in 1..=3 {
        assert_eq!(world.replica(number).view().settings.cached_answers, 77);
    }
    // A member with another configuration leads next, and changes nothing.
    world.settings = zraft_session::Settings::default().check().expect("valid");
    let other = world.others(leader)[0];
    world.restart(other);
    let clock = world.others(other);
    world.run(300 * MS);
    let now = crate::Now { monotonic: world.now, wall: zraft_session::Time::from_millis(5) };
    world.replica(leader).hand_over(now, Some(id(other)));
    world.collect(leader);
    world.until("the other one leads", |world| world.serving() == Some(other));
    world.run(100 * MS);
    for number in clock {
        assert_eq!(world.replica(number).view().settings.cached_answers, 77);
    }
    let genesis = world.replica(leader).view().genesis;
    assert_eq!(genesis, world.replica(other).term(), "every term begins with its seed");
}

#[test]
fn a_leader_that_is_cut_off_is_silent_after_two_election_timeouts_and_a_tick() {
    let mut world = World::new(3);
    let leader = world.settle();
    let (connection, session) = world.session(leader);
    world.isolate(leader);
    world.run(2 * 300 * MS + 10 * MS);
    world.received(connection);
    world.send(connection, keep_alive());
    let other = world.connect(leader);
    world.send(other, continue_session(&session));
    world.run(100 * MS);
    assert_eq!(world.received(connection), []);
    assert_eq!(world.received(other), []);
    assert_ne!(world.role(leader), Role::Leader);
}

#[test]
fn a_leader_that_stood_still_answers_nothing_before_a_round_of_heartbeats() {
    let mut world = World::new(3);
    let leader = world.settle();
    let (connection, session) = world.session(leader);
    // Between one and two election timeouts: the engine still takes itself for the leader.
    world.member(leader).runs = false;
    world.run(350 * MS);
    world.member(leader).runs = true;
    world.isolate(leader);
    world.send(connection, keep_alive());
    let other = world.connect(leader);
    world.send(other, continue_session(&session));
    world.run(20 * MS);
    assert_eq!(world.received(connection), []);
    assert_eq!(world.received(other), []);
}

#[test]
fn a_session_message_that_a_suspended_leader_put_off_is_held_no_longer_than_any_other() {
    let mut world = World::new(3);
    let leader = world.settle();
    world.member(leader).runs = false;
    world.run(350 * MS);
    world.member(leader).runs = true;
    world.isolate(leader);
    let (connection, sent) = (world.connect(leader), world.now);
    world.create(connection);
    world.until("it steps down", |world| world.role(leader) != Role::Leader);
    assert_eq!(world.received(connection), [], "it is held");
    world.until("an answer", |world| world.is_closed(connection));
    assert_eq!(world.received(connection), [rejected(RejectionReason::NotLeader, None)]);
    assert!(world.now - sent <= 1001 * MS, "it waited {:?}", world.now - sent);
}

#[test]
fn a_leader_that_does_not_serve_yet_rejects_what_it_holds_when_it_shuts_down() {
    let mut world = World::new(3);
    for member in world.members.values_mut() {
        member.applies = false;
    }
    world.until("a leader", |world| (1..=3).any(|number| world.role(number) == Role::Leader));
    let leader = (1..=3).find(|number| world.role(*number) == Role::Leader).expect("a leader");
    let held = world.connect(leader);
    world.create(held);
    assert_eq!(world.received(held), []);
    let now = world.clock();
    world.replica(leader).shut_down(now);
    world.collect(leader);
    world.until("it may end", |world| world.replica(leader).is_shut_down());
    assert!(matches!(
        world.received(held)[..],
        [zraft_protocol::ServerMessage::SessionRejected { reason: RejectionReason::NotLeader, .. }]
    ));
}

#[test]
fn messages_that_a_suspended_leader_puts_off_count_against_the_limit_of_their_connection() {
    let mut world = World::new(3);
    world.limits.waiting_bytes = 10 * 256;
    (1..=3).for_each(|number| world.restart(number));
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    world.member(leader).runs = false;
    world.run(350 * MS);
    world.member(leader).runs = true;
    world.isolate(leader);
    for _ in 0..10 {
        world.send(connection, keep_alive());
    }
    assert!(!world.is_closed(connection));
    world.send(connection, keep_alive());
    assert!(world.is_closed(connection));
}

#[test]
fn a_leader_that_stood_still_and_still_leads_answers_after_a_round() {
    let mut world = World::new(1);
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    world.member(leader).runs = false;
    world.run(350 * MS);
    world.member(leader).runs = true;
    world.send(connection, keep_alive());
    world.run(20 * MS);
    assert_eq!(world.received(connection).len(), 1);
}

#[test]
fn a_step_down_is_told_to_sessions_and_to_waiting_handshakes() {
    let mut world = World::new(3);
    let leader = world.settle();
    let (connection, session) = world.session(leader);
    let (closing, ended) = world.session(leader);
    world.isolate(leader);
    // A CreateSession that cannot commit, and a ContinueSession that waits for the end of its session.
    let creating = world.connect(leader);
    world.create(creating);
    world.send(closing, close_session());
    let waiting = world.connect(leader);
    world.send(waiting, continue_session(&ended));
    world.until("it steps down", |world| world.role(leader) != Role::Leader);
    let told = closed(SessionCloseReason::NotLeaderAnymore, None);
    assert_eq!(world.received(connection), [told]);
    for handshake in [creating, waiting] {
        assert_eq!(world.received(handshake), [rejected(RejectionReason::NotLeader, None)]);
        assert!(world.is_closed(handshake));
    }
    // The session lives on at the next leader.
    world.until("a new leader", |world| world.serving().is_some());
    let next = world.serving().expect("it serves");
    let again = world.continued(next, &session);
    world.command(again, 1, "a");
    assert_eq!(world.answer(again, 1), "1");
}

#[test]
fn everything_survives_a_restart_of_all_members() {
    let mut world = World::new(3);
    let leader = world.settle();
    let (connection, session) = world.session(leader);
    world.command(connection, 1, "a");
    assert_eq!(world.answer(connection, 1), "1");
    for number in 1..=3 {
        world.restart(number);
    }
    let leader = world.settle();
    let again = world.continued(leader, &session);
    world.command(again, 1, "a");
    assert_eq!(world.answer(again, 1), "1");
    assert_eq!(world.lines(leader), ["a"]);
    world.run(Duration::from_secs(1));
    let hashes: Vec<_> = (1..=3).map(|number| world.replica(number).view().history).collect();
    assert!(hashes.iter().all(|hash| *hash == hashes[0]));
}

#[test]
fn a_leader_that_is_cut_off_and_wakes_late_answers_nothing_at_that_moment() {
    let cut_off = || {
        let mut world = World::new(3);
        let leader = world.settle();
        let (connection, _) = world.session(leader);
        world.isolate(leader);
        (world, leader, connection)
    };
    // The moment at which it steps down if it wakes in time.
    let (mut twin, leader, _) = cut_off();
    twin.until("it steps down", |world| world.role(leader) != Role::Leader);
    let stepped_down = twin.now;

    let (mut world, _, connection) = cut_off();
    world.until("it is about to step down", |world| {
        world.now >= stepped_down.saturating_sub(Duration::from_millis(100))
    });
    world.received(connection);
    // Too short a sleep to make it ask for proof, and long enough to pass its end.
    world.now += Duration::from_millis(250);
    world.send(connection, keep_alive());
    let told = world.received(connection);
    assert_eq!(told, [closed(SessionCloseReason::NotLeaderAnymore, None)]);
    assert_eq!(world.role(leader), Role::Follower);
}

#[test]
fn a_new_cluster_follows_the_wall_clock_from_its_first_session_on() {
    let mut world = World::new(3);
    let leader = world.settle();
    world.session(leader);
    let behind = world.clock().wall.saturating_duration_since(world.replica(leader).view().time);
    assert!(behind < Duration::from_secs(1), "replicated time is {behind:?} behind");
    assert_eq!(world.replica(leader).held_back(), None);
}

#[test]
fn a_cluster_that_was_stopped_for_an_hour_follows_the_wall_clock_when_it_is_back() {
    let mut world = World::new(3);
    let leader = world.settle();
    world.session(leader);
    world.wall += Duration::from_secs(3600);
    for number in 1..=3 {
        world.restart(number);
    }
    let leader = world.settle();
    world.session(leader);
    let behind = world.clock().wall.saturating_duration_since(world.replica(leader).view().time);
    assert!(behind < Duration::from_secs(1), "replicated time is {behind:?} behind");
    assert_eq!(world.replica(leader).held_back(), None);
}

#[test]
fn a_new_leader_holds_a_leap_of_its_wall_clock_back() {
    let mut world = World::new(3);
    let leader = world.settle();
    world.session(leader);
    world.run(Duration::from_secs(1));
    world.isolate(leader);
    world.wall += Duration::from_secs(3600);
    world.until("another member leads", |world| {
        world.serving().is_some_and(|serving| serving != leader)
    });
    let leader = world.serving().expect("it serves");
    world.session(leader);
    assert!(world.replica(leader).held_back().is_some());
}

#[test]
fn a_message_whose_term_no_cluster_can_have_reached_is_ignored() {
    let mut world = World::new(3);
    let leader = world.settle();
    let follower = world.others(leader)[0];
    let term = world.replica(follower).term();
    let heartbeat = |term| PeerMessage::Heartbeat { term, commit: 0, round: None };
    let now = world.clock();
    world.replica(follower).peer_message(now, id(leader), &heartbeat(term + (1 << 32) + 1));
    assert_eq!(world.replica(follower).term(), term);
    world.replica(follower).peer_message(now, id(leader), &heartbeat(term + (1 << 32)));
    assert_eq!(world.replica(follower).term(), term + (1 << 32));
}

#[test]
fn a_leader_follows_a_leap_of_its_wall_clock_once_an_operator_accepts_it() {
    let mut world = World::new(3);
    let leader = world.settle();
    world.session(leader);
    world.wall += Duration::from_secs(3600);
    world.session(leader);
    assert!(world.replica(leader).held_back().is_some());
    world.replica(leader).accept_clock_jump();
    world.session(leader);
    assert_eq!(world.replica(leader).held_back(), None);
    let behind = world.clock().wall.saturating_duration_since(world.replica(leader).view().time);
    assert!(behind < Duration::from_secs(1), "replicated time is {behind:?} behind");
}

#[test]
fn a_leader_that_gets_messages_more_often_than_it_ticks_sends_heartbeats_all_the_same() {
    let mut world = World::new(3);
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    let term = world.replica(leader).term();
    // Ten of them come within a tick, for two election timeouts.
    for _ in 0..1_000 {
        world.send(connection, keep_alive());
        world.run(MS);
    }
    assert_eq!((world.role(leader), world.replica(leader).term()), (Role::Leader, term));
}
