use std::time::Duration;

use zraft_protocol::{RejectionReason, ServerMessage, SessionCloseReason};

use super::world::{MS, World, closed, id, rejected};
use crate::{PeerMessage, Role, VoteKind};

fn hand_over(world: &mut World, leader: u64, to: Option<u64>) {
    let now = world.clock();
    world.replica(leader).hand_over(now, to.map(id));
    world.collect(leader);
}

#[test]
fn a_hand_over_is_told_to_sessions_which_go_on_at_the_successor() {
    let mut world = World::new(3);
    let leader = world.settle();
    let (connection, session) = world.session(leader);
    world.command(connection, 1, "a");
    assert_eq!(world.answer(connection, 1), "1");
    let next = world.others(leader)[0];
    hand_over(&mut world, leader, Some(next));
    world.run(100 * MS);
    let told = closed(SessionCloseReason::NotLeaderAnymore, Some(next));
    assert_eq!(world.received(connection), [told]);
    assert_eq!(world.serving(), Some(next));
    let again = world.continued(next, &session);
    world.command(again, 1, "a");
    assert_eq!(world.answer(again, 1), "1");
    assert_eq!(world.lines(next), ["a"]);
}

#[test]
fn commands_during_a_failed_hand_over_are_held_and_then_run() {
    let mut world = World::new(2);
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    world.run(100 * MS);
    // The request to take over is lost, and there is no third member to ask.
    let next = world.others(leader)[0];
    world.cut.insert((leader, next));
    hand_over(&mut world, leader, Some(next));
    world.run(5 * MS);
    world.heal();
    let before = world.replica(leader).last_index();
    world.command(connection, 1, "a");
    world.run(200 * MS);
    assert_eq!(world.replica(leader).last_index(), before, "nothing is proposed meanwhile");
    assert_eq!(world.answer(connection, 1), "1");
    assert_eq!(world.role(leader), Role::Leader);
}

#[test]
fn a_hand_over_tries_a_second_member() {
    let mut world = World::new(3);
    let leader = world.settle();
    world.run(100 * MS);
    let [first, second] = world.others(leader)[..] else { panic!("three members") };
    world.isolate(first);
    hand_over(&mut world, leader, Some(first));
    world.run(1000 * MS);
    assert_eq!(world.serving(), Some(second));
    assert_eq!(world.role(leader), Role::Follower);
}

#[test]
fn a_leader_that_is_cut_off_is_silent_in_time_although_it_hands_over() {
    // How long before the cut the engine last looked for a majority decides when it looks again.
    for phase in 0..30 {
        let mut world = World::new(3);
        let leader = world.settle();
        let (connection, _) = world.session(leader);
        world.run(300 * MS + phase * 10 * MS);
        world.isolate(leader);
        world.run(150 * MS);
        let next = world.others(leader)[0];
        hand_over(&mut world, leader, Some(next));
        // Two election timeouts and a tick in all, and 1 ms for what was on its way at the cut.
        world.run(460 * MS + MS);
        assert_ne!(world.role(leader), Role::Leader, "phase {phase}");
        let received = world.received(connection);
        let told = matches!(
            received[..],
            [ServerMessage::SessionClosed { reason: SessionCloseReason::NotLeaderAnymore, .. }]
        );
        assert!(told, "{received:?}");
    }
}

#[test]
fn a_leader_that_hears_only_candidates_is_silent_in_time() {
    for phase in 0..30 {
        let mut world = World::new(3);
        let leader = world.settle();
        let (connection, _) = world.session(leader);
        world.run(300 * MS + phase * 10 * MS);
        world.isolate(leader);
        world.run(150 * MS);
        let next = world.others(leader)[0];
        hand_over(&mut world, leader, Some(next));
        // Such as a process on a copy of the member's directory, which no one answers.
        let term = world.replica(leader).term() + 1;
        let (last, commit) = Default::default();
        let ask = PeerMessage::VoteRequest { term, kind: VoteKind::PreVote, last, commit };
        for _ in 0..46 {
            let now = world.clock();
            world.replica(leader).peer_message(now, id(next), &ask);
            world.collect(leader);
            world.run(10 * MS);
        }
        world.run(MS);
        assert_ne!(world.role(leader), Role::Leader, "phase {phase}");
        assert!(world.is_closed(connection), "phase {phase}");
    }
}

#[test]
fn a_shut_down_hands_over_and_tells_everyone_where_to_go() {
    let mut world = World::new(3);
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    let now = world.clock();
    world.replica(leader).shut_down(now);
    world.collect(leader);
    assert!(!world.replica(leader).is_shut_down());
    world.run(100 * MS);
    assert!(world.replica(leader).is_shut_down());
    let next = world.serving().expect("a successor");
    let told = closed(SessionCloseReason::NotLeaderAnymore, Some(next));
    assert_eq!(world.received(connection), [told]);
    let late = world.connect(leader);
    world.create(late);
    assert_eq!(world.received(late), [rejected(RejectionReason::NotLeader, Some(next))]);
}

#[test]
fn the_only_voter_shuts_down_without_a_successor() {
    let mut world = World::new(1);
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    let now = world.clock();
    world.replica(leader).shut_down(now);
    world.collect(leader);
    assert!(world.replica(leader).is_shut_down());
    assert!(world.is_closed(connection));
    world.run(Duration::from_secs(2));
    assert_eq!(world.role(leader), Role::Follower, "it stands in no election any more");
}

#[test]
fn a_leader_whose_disk_stalls_hands_over_after_a_second() {
    let mut world = World::new(3);
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    world.run(100 * MS);
    world.member(leader).writes = false;
    world.command(connection, 1, "a");
    world.run(900 * MS);
    assert_eq!(world.role(leader), Role::Leader);
    world.run(300 * MS);
    assert_ne!(world.role(leader), Role::Leader);
    assert!(world.serving().is_some_and(|next| next != leader));
    // The command had reached the others.
    let next = world.serving().expect("a successor");
    assert_eq!(world.lines(next), ["a"]);
}
