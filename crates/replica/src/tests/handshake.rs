use std::time::Duration;

use super::world::{MS, World, id};
use crate::{
    Accepting, ClusterId, ConnectionKind, HandshakeError, Incarnation, Introduction, Position,
    Refusal, Remembered, StopReason,
};

fn introduction(life: u64) -> Introduction {
    Introduction {
        cluster: ClusterId::new([1; 16]),
        incarnation: Incarnation::new([life as u8; 16]),
        address: format!("host-{life}:7000"),
    }
}

/// Runs a handshake between two members.
pub(super) fn meet(world: &mut World, dialer: u64, acceptor: u64) -> Result<(), HandshakeError> {
    let now = world.clock();
    let (from, to) = (introduction(dialer), introduction(acceptor));
    let (dialing, hello) = world.replica(dialer).dial(&from, id(acceptor), ConnectionKind::Urgent);
    let accepted = world.replica(acceptor).accept(now, &to, &hello);
    let (accepting, welcome): (Accepting, _) = match accepted {
        Ok(accepted) => accepted,
        Err(error) => {
            if let Some(reply) = error.reply() {
                return world.replica(dialer).confirm(now, &from, &dialing, &reply).map(drop);
            }
            return Err(error);
        }
    };
    let (_, confirm) = world.replica(dialer).confirm(now, &from, &dialing, &welcome)?;
    world.replica(acceptor).complete(now, accepting, &confirm).map(drop)
}

/// Lets every member meet every other one.
pub(super) fn all_meet(world: &mut World) {
    for (dialer, acceptor) in [(1, 2), (1, 3), (2, 3)] {
        assert_eq!(meet(world, dialer, acceptor), Ok(()));
    }
}

fn stopped(world: &mut World, number: u64) -> Option<StopReason> {
    world.collect(number);
    world.member(number).stopped.clone()
}

#[test]
fn members_that_restart_from_their_own_disks_meet_again() {
    let mut world = World::new(3);
    all_meet(&mut world);
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    for number in 1..=20 {
        world.command(connection, number, "a");
    }
    world.answer(connection, 20);
    for number in world.others(leader) {
        world.restart(number);
        assert_eq!(meet(&mut world, leader, number), Ok(()));
        assert_eq!(meet(&mut world, number, leader), Ok(()));
    }
}

#[test]
fn a_member_whose_disk_was_rolled_back_ends_at_its_first_handshake() {
    for dials in [false, true] {
        let mut world = World::new(3);
        all_meet(&mut world);
        let leader = world.settle();
        let follower = world.others(leader)[0];
        let old = world.member(follower).disk.clone();
        let (connection, _) = world.session(leader);
        world.command(connection, 1, "a");
        world.answer(connection, 1);
        world.run(200 * MS);
        let last = world.replica(leader).last_index();
        world.member(follower).disk = old;
        world.restart(follower);
        let (dialer, acceptor) = if dials { (follower, leader) } else { (leader, follower) };
        let refused = meet(&mut world, dialer, acceptor).expect_err("it lacks what it promised");
        let term = world.replica(leader).term();
        let remembered = Remembered { term, matched: last, committed: last };
        let HandshakeError::Refused(refusal) = refused else { panic!("{refused:?}") };
        let Refusal::RolledBack { remembered: known, durable } = refusal else {
            panic!("{refusal:?}")
        };
        assert_eq!(known, remembered);
        assert!(durable.index < last);
        assert_eq!(
            stopped(&mut world, follower),
            Some(StopReason::RolledBack { remembered, durable })
        );
        assert_eq!(stopped(&mut world, leader), None);
    }
}

#[test]
fn a_forgotten_vote_is_a_rolled_back_directory() {
    let mut world = World::new(3);
    all_meet(&mut world);
    let old = world.member(2).disk.clone();
    let leader = world.settle();
    // It has voted, either for itself or for the leader.
    let witness = if leader == 2 { 1 } else { leader };
    world.member(2).disk = old;
    world.restart(2);
    assert!(meet(&mut world, witness, 2).is_err());
    assert!(matches!(stopped(&mut world, 2), Some(StopReason::RolledBack { .. })));
}

#[test]
fn a_witness_that_has_just_restarted_remembers_the_term_of_those_it_met() {
    let mut world = World::new(3);
    all_meet(&mut world);
    let old = world.member(2).disk.clone();
    let leader = world.settle();
    world.run(200 * MS);
    let witness = if leader == 3 { 1 } else { 3 };
    world.restart(witness);
    assert_eq!(meet(&mut world, witness, 2), Ok(()));
    world.member(2).disk = old;
    world.restart(2);
    assert!(meet(&mut world, witness, 2).is_err(), "its vote is forgotten");
    assert!(matches!(stopped(&mut world, 2), Some(StopReason::RolledBack { .. })));
}

#[test]
fn a_removed_member_that_missed_its_removal_ends_once_a_majority_refuses_it() {
    let (mut world, leader, old) = removed();
    let other = world.others(leader).into_iter().find(|number| *number != old).expect("one");
    let refused = meet(&mut world, old, leader);
    assert_eq!(refused, Err(HandshakeError::Refused(Refusal::Removed)));
    assert_eq!(stopped(&mut world, old), None, "the leader may be the only one that knows");
    let refused = meet(&mut world, old, other);
    assert_eq!(refused, Err(HandshakeError::Refused(Refusal::Removed)));
    assert_eq!(stopped(&mut world, old), Some(StopReason::Removed));
}

#[test]
fn a_removed_member_ends_a_minute_after_the_first_refusal() {
    let (mut world, leader, old) = removed();
    meet(&mut world, old, leader).expect_err("it was removed");
    world.run(Duration::from_secs(59));
    meet(&mut world, old, leader).expect_err("it was removed");
    assert_eq!(stopped(&mut world, old), None);
    world.run(Duration::from_secs(1));
    meet(&mut world, old, leader).expect_err("it was removed");
    assert_eq!(stopped(&mut world, old), Some(StopReason::Removed));
}

#[test]
fn a_removal_during_a_handshake_refuses_the_member() {
    let mut world = World::new(3);
    all_meet(&mut world);
    let leader = world.settle();
    let old = world.others(leader)[0];
    world.run(500 * MS);
    let (ours, theirs) = (introduction(old), introduction(leader));
    let (dialing, hello) = world.replica(old).dial(&ours, id(leader), ConnectionKind::Urgent);
    let clock = world.clock();
    let (accepting, welcome) =
        world.replica(leader).accept(clock, &theirs, &hello).expect("it is a member");
    let (_, confirm) =
        world.replica(old).confirm(clock, &ours, &dialing, &welcome).expect("it is a member");
    world.isolate(old);
    remove(&mut world, leader, old);
    let clock = world.clock();
    let refused = world.replica(leader).complete(clock, accepting, &confirm);
    assert_eq!(refused.map(drop), Err(HandshakeError::Refuses(Refusal::Removed)));
}

/// Three members, of which the leader and another one have removed the third, which does not know.
fn removed() -> (World, u64, u64) {
    let mut world = World::new(3);
    all_meet(&mut world);
    let leader = world.settle();
    let old = world.others(leader)[0];
    world.run(500 * MS);
    world.isolate(old);
    remove(&mut world, leader, old);
    (world, leader, old)
}

fn remove(world: &mut World, leader: u64, old: u64) {
    let clock = world.clock();
    let removal = crate::MembershipChange::Remove(id(old));
    world.replica(leader).change_membership(clock, removal).expect("it is possible");
    world.collect(leader);
    world.until("the others know it", |world| {
        let others = world.others(old);
        others.into_iter().all(|number| !world.replica(number).configuration().contains(id(old)))
    });
}

#[test]
fn a_refusal_that_arrives_late_ends_the_member_as_well() {
    let mut world = World::new(1);
    let clock = world.clock();
    world.replica(1).refused(clock, id(2), &Refusal::UnknownMember);
    assert_eq!(stopped(&mut world, 1), None);
    let remembered = Remembered { term: 9, matched: 9, committed: 9 };
    let durable = Position { index: 1, term: 1 };
    world.replica(1).refused(clock, id(2), &Refusal::RolledBack { remembered, durable });
    assert_eq!(stopped(&mut world, 1), Some(StopReason::RolledBack { remembered, durable }));
}
