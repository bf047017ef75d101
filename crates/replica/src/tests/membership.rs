use std::time::Duration;

use super::world::{MS, World, id, info};
use crate::{
    ChangeError, ChangeStatus, ChangeTicket, Configuration, MemberInfo, MembershipChange, Role,
    Space,
};

const SECOND: Duration = Duration::from_secs(1);

fn change(
    world: &mut World,
    leader: u64,
    change: MembershipChange,
) -> Result<ChangeTicket, ChangeError> {
    let now = world.clock();
    let result = world.replica(leader).change_membership(now, change);
    world.collect(leader);
    result
}

fn add(number: u64) -> MembershipChange {
    MembershipChange::Add { id: id(number), info: info(number) }
}

fn replace(old: u64, number: u64) -> MembershipChange {
    MembershipChange::Replace { old: id(old), id: id(number), info: info(number) }
}

fn settled(world: &mut World) -> u64 {
    let leader = world.settle();
    world.run(200 * MS);
    leader
}

fn voters(configuration: &Configuration) -> Vec<u64> {
    configuration.voters.iter().map(|id| id.get()).collect()
}

fn until_voters(world: &mut World, expected: &[u64]) {
    world.until("the voters are as expected", |world| {
        expected.iter().all(|number| {
            let configuration = world.replica(*number).configuration();
            voters(configuration) == expected && !configuration.is_joint()
        })
    });
}

#[test]
fn a_new_member_catches_up_and_then_votes_by_itself() {
    let mut world = World::new(3);
    let leader = settled(&mut world);
    let (connection, _) = world.session(leader);
    world.command(connection, 1, "a");
    world.answer(connection, 1);
    world.join(4);
    let ticket = change(&mut world, leader, add(4)).expect("it is possible");
    assert_eq!(world.replica(leader).change_status(ticket), ChangeStatus::Pending);
    until_voters(&mut world, &[1, 2, 3, 4]);
    assert_eq!(world.replica(leader).change_status(ticket), ChangeStatus::Applied);
    world.run(100 * MS);
    assert_eq!(world.lines(4), ["a"]);
    let history = world.replica(leader).view().history;
    assert_eq!(world.replica(4).view().history, history);
}

#[test]
fn a_member_that_does_not_answer_is_not_promoted() {
    let mut world = World::new(3);
    let leader = settled(&mut world);
    change(&mut world, leader, add(4)).expect("it is possible");
    world.run(3_000 * MS);
    let configuration = world.replica(leader).configuration();
    assert!(configuration.learners.contains(&id(4)));
    assert_eq!(voters(configuration), [1, 2, 3]);
}

#[test]
fn a_replacement_is_one_joint_change_after_the_new_member_caught_up() {
    let mut world = World::new(3);
    let leader = settled(&mut world);
    let old = world.others(leader)[0];
    world.join(4);
    change(&mut world, leader, replace(old, 4)).expect("it is possible");
    let mut expected: Vec<u64> = [1, 2, 3, 4].into_iter().filter(|each| *each != old).collect();
    until_voters(&mut world, &expected);
    assert!(world.replica(leader).configuration().removed.contains(&id(old)));
    expected.retain(|number| *number != leader);
    let (connection, _) = world.session(leader);
    world.command(connection, 1, "a");
    assert_eq!(world.answer(connection, 1), "1");
}

#[test]
fn a_replacement_of_the_leader_hands_over_first() {
    let mut world = World::new(3);
    let leader = settled(&mut world);
    world.join(4);
    change(&mut world, leader, replace(leader, 4)).expect("it is possible");
    let expected: Vec<u64> = [1, 2, 3, 4].into_iter().filter(|each| *each != leader).collect();
    until_voters(&mut world, &expected);
    assert_ne!(world.role(leader), Role::Leader);
}

#[test]
fn the_only_voter_is_replaced_without_a_second_one_before() {
    let mut world = World::new(1);
    settled(&mut world);
    let (connection, _) = world.session(1);
    world.command(connection, 1, "a");
    world.answer(connection, 1);
    world.join(2);
    change(&mut world, 1, replace(1, 2)).expect("it is possible");
    world.until("the new member is the only voter", |world| {
        let configuration = world.replica(2).configuration();
        voters(configuration) == [2] && !configuration.is_joint()
    });
    world.until("it serves", |world| world.serving() == Some(2));
    assert_eq!(world.lines(2), ["a"]);
}

#[test]
fn a_leader_hands_over_before_it_is_removed() {
    let mut world = World::new(3);
    let leader = settled(&mut world);
    let remove = || MembershipChange::Remove(id(leader));
    assert_eq!(change(&mut world, leader, remove()), Err(ChangeError::HandingOver));
    world.run(300 * MS);
    let next = world.settle();
    assert_ne!(next, leader);
    world.run(200 * MS);
    change(&mut world, next, remove()).expect("it is possible");
    let expected = world.others(leader);
    until_voters(&mut world, &expected);
}

#[test]
fn one_change_at_a_time() {
    let mut world = World::new(3);
    let leader = settled(&mut world);
    change(&mut world, leader, add(4)).expect("it is possible");
    assert_eq!(change(&mut world, leader, add(5)), Err(ChangeError::Busy));
    world.run(100 * MS);
    change(&mut world, leader, add(5)).expect("the first one is done");
}

#[test]
fn a_change_without_a_majority_that_answers_is_refused() {
    let mut world = World::new(3);
    let leader = settled(&mut world);
    let [first, second] = world.others(leader)[..] else { panic!("three members") };
    world.member(first).runs = false;
    world.run(400 * MS);
    // Of the two that would be left, one answers.
    let remove = MembershipChange::Remove(id(second));
    assert_eq!(change(&mut world, leader, remove), Err(ChangeError::NoQuorum));
    change(&mut world, leader, MembershipChange::Remove(id(first))).expect("two of two answer");
}

#[test]
fn impossible_changes_are_refused() {
    let mut world = World::new(3);
    let leader = settled(&mut world);
    let follower = world.others(leader)[0];
    assert_eq!(change(&mut world, follower, add(4)), Err(ChangeError::NotLeader));
    assert_eq!(change(&mut world, leader, add(follower)), Err(ChangeError::Exists(id(follower))));
    let unknown = MembershipChange::Remove(id(9));
    assert_eq!(change(&mut world, leader, unknown), Err(ChangeError::Unknown(id(9))));
    let long = MemberInfo { address: "x".repeat(600), ..info(4) };
    let long = MembershipChange::Add { id: id(4), info: long };
    assert_eq!(change(&mut world, leader, long), Err(ChangeError::TooLong));
    let old = MembershipChange::Add { id: id(4), info: MemberInfo { feature_level: 0, ..info(4) } };
    assert_eq!(change(&mut world, leader, old), Err(ChangeError::FeatureLevel(1)));
    let mut alone = World::new(1);
    settled(&mut alone);
    let last = MembershipChange::Remove(id(1));
    assert_eq!(change(&mut alone, 1, last), Err(ChangeError::OnlyVoter(id(1))));
}

#[test]
fn a_removed_id_is_never_used_again() {
    let mut world = World::new(3);
    let leader = settled(&mut world);
    let old = world.others(leader)[0];
    change(&mut world, leader, MembershipChange::Remove(id(old))).expect("it is possible");
    let expected = world.others(old);
    until_voters(&mut world, &expected);
    assert_eq!(change(&mut world, leader, add(old)), Err(ChangeError::UsedBefore(id(old))));
}

#[test]
fn a_member_that_applies_its_own_removal_stands_in_no_election_and_does_not_end_yet() {
    let mut world = World::new(3);
    let leader = settled(&mut world);
    let old = world.others(leader)[0];
    world.join(4);
    change(&mut world, leader, replace(old, 4)).expect("it is possible");
    // A joint change reaches its outgoing voters before it is left, so this one learns of its end.
    world.until("it follows its removal", |world| {
        world.replica(old).configuration().removed.contains(&id(old))
    });
    let term = world.replica(old).term();
    world.isolate(old);
    world.run(Duration::from_secs(10));
    assert_eq!((world.role(old), world.replica(old).term()), (Role::Follower, term));
    assert_eq!(world.member(old).stopped, None, "no one has refused it");
}

#[test]
fn a_removed_member_restarts_although_the_level_has_risen_without_it() {
    let mut world = World::new(3);
    let leader = settled(&mut world);
    let old = world.others(leader)[0];
    world.feature_level = 2;
    for number in world.others(old) {
        world.restart(number);
    }
    let leader = settled(&mut world);
    world.run(20 * SECOND);
    world.join(4);
    assert_eq!(world.replica(leader).configuration().feature_level(), 1);
    change(&mut world, leader, replace(old, 4)).expect("it is possible");
    world.until("it follows its removal", |world| {
        world.replica(old).configuration().removed.contains(&id(old))
    });
    assert_eq!(world.replica(old).configuration().feature_level(), 2);
    // It takes a snapshot, which has the configuration.
    let now = world.clock();
    world.replica(old).disk_space(now, Space::Low);
    world.collect(old);
    world.run(SECOND);
    assert!(world.member(old).disk.boot().snapshot.configuration.removed.contains(&id(old)));
    world.feature_level = 1;
    world.restart(old);
    world.run(SECOND);
    assert_eq!(world.member(old).stopped, None, "its vote may be needed");
}

#[test]
fn the_member_that_is_left_of_two_leads_even_if_the_removed_one_knew_the_commit_first() {
    let mut world = World::new(2);
    let leader = settled(&mut world);
    let old = world.others(leader)[0];
    // The change cannot be committed yet: it is not on the leader's disk.
    world.member(leader).writes = false;
    change(&mut world, leader, MembershipChange::Remove(id(old))).expect("it is possible");
    let index = world.replica(leader).last_index();
    world.until("the other one has it", |world| world.replica(old).last_index() == index);
    let now = world.clock();
    world.replica(leader).hand_over(now, Some(id(old)));
    world.collect(leader);
    world.until("the removed member has asked for a vote", |world| {
        world.role(old) == Role::Candidate && world.role(leader) == Role::Follower
    });
    world.member(leader).writes = true;
    world.collect(leader);
    world.until("it leads, and the other one has its log", |world| {
        world.role(old) == Role::Leader && world.replica(leader).last_index() == index + 1
    });
    world.cut.insert((old, leader));
    world.until("it follows its own removal", |world| {
        world.replica(old).configuration().removed.contains(&id(old))
    });
    assert!(world.replica(leader).configuration().contains(id(old)), "the other one does not");
    world.heal();
    world.until("the member that is left serves", |world| world.serving() == Some(leader));
    assert_eq!(voters(world.replica(leader).configuration()), [leader]);
}

#[test]
fn a_change_of_a_lost_leadership_is_reported_as_lost() {
    let mut world = World::new(3);
    let leader = settled(&mut world);
    world.isolate(leader);
    let ticket = change(&mut world, leader, add(4)).expect("it is possible");
    world.run(1_500 * MS);
    assert_eq!(world.replica(leader).change_status(ticket), ChangeStatus::Pending);
    let next = world.serving().expect("another leader");
    let (connection, _) = world.session(next);
    for number in 1..=5 {
        world.command(connection, number, "a");
        world.answer(connection, number);
    }
    world.heal();
    world.run(1_000 * MS);
    assert_eq!(world.replica(leader).change_status(ticket), ChangeStatus::Lost);
    assert!(!world.replica(leader).configuration().contains(id(4)));
}

#[test]
fn a_change_that_was_cut_off_the_end_of_the_log_is_reported_as_lost() {
    let mut world = World::new(3);
    let leader = settled(&mut world);
    let (connection, _) = world.session(leader);
    world.isolate(leader);
    // They and the change cannot commit. The next leader appends less than that.
    for number in 1..=20 {
        world.command(connection, number, "a");
    }
    world.run(MS);
    let ticket = change(&mut world, leader, add(4)).expect("it is possible");
    world.until("another member leads", |world| {
        world.serving().is_some_and(|serving| serving != leader)
    });
    world.heal();
    world.run(500 * MS);
    assert!(world.replica(leader).last_index() < ticket.index, "no entry took its place");
    assert_eq!(world.replica(leader).change_status(ticket), ChangeStatus::Lost);
}

#[test]
fn the_feature_level_rises_when_the_last_member_knows_it() {
    let mut world = World::new(3);
    settled(&mut world);
    world.feature_level = 2;
    for number in 1..=3 {
        assert_eq!(world.replica(1).configuration().feature_level(), 1);
        world.restart(number);
        world.run(2_000 * MS);
    }
    for number in 1..=3 {
        assert_eq!(world.replica(number).configuration().feature_level(), 2);
    }
}

#[test]
fn an_application_level_is_refused_until_every_member_supports_it() {
    let mut world = World::new(3);
    let leader = settled(&mut world);
    let settings = zraft_session::Settings { application_level: 1, ..Default::default() };
    let settings = settings.check().expect("valid");
    let try_it = |world: &mut World| {
        let (now, leader) = (world.clock(), world.serving().expect("a leader"));
        let result = world.replica(leader).change_settings(now, settings.clone());
        world.collect(leader);
        result
    };
    assert!(matches!(try_it(&mut world), Err(ChangeError::ApplicationLevel(_))));
    world.application_level = 1;
    let down = world.others(leader)[0];
    for number in 1..=3 {
        if number != down {
            world.restart(number);
            world.run(2_000 * MS);
        }
    }
    world.member(down).runs = false;
    world.run(2_000 * MS);
    // It would have to stop at the entry when it is back.
    assert_eq!(try_it(&mut world), Err(ChangeError::ApplicationLevel(id(down))));
    world.member(down).runs = true;
    world.restart(down);
    world.run(12_000 * MS);
    assert_eq!(try_it(&mut world), Ok(()));
    world.run(200 * MS);
    for number in 1..=3 {
        assert_eq!(world.replica(number).view().settings.application_level, 1);
    }
}

#[test]
fn a_member_whose_application_is_too_old_does_not_vote_until_it_is_upgraded() {
    let mut world = World::new(3);
    world.application_level = 1;
    for number in 1..=3 {
        world.restart(number);
    }
    let leader = settled(&mut world);
    let settings = zraft_session::Settings { application_level: 1, ..Default::default() };
    let (now, settings) = (world.clock(), settings.check().expect("valid"));
    world.replica(leader).change_settings(now, settings).expect("all members support it");
    world.collect(leader);
    world.run(200 * MS);
    world.application_level = 0;
    world.join(4);
    change(&mut world, leader, add(4)).expect("no one knows what it supports");
    world.run(12_000 * MS);
    let configuration = world.replica(leader).configuration();
    assert!(configuration.learners.contains(&id(4)));
    assert_eq!(voters(configuration), [1, 2, 3]);
    world.application_level = 1;
    world.restart(4);
    until_voters(&mut world, &[1, 2, 3, 4]);
}

#[test]
fn an_application_level_is_not_raised_while_a_member_joins() {
    let mut world = World::new(3);
    world.application_level = 1;
    for number in 1..=3 {
        world.restart(number);
    }
    let leader = settled(&mut world);
    let settings = zraft_session::Settings { application_level: 1, ..Default::default() };
    let settings = settings.check().expect("valid");
    change(&mut world, leader, add(4)).expect("it is possible");
    let now = world.clock();
    let early = world.replica(leader).change_settings(now, settings.clone());
    assert_eq!(early, Err(ChangeError::Busy), "the new member is in no configuration yet");
    world.run(200 * MS);
    let now = world.clock();
    let later = world.replica(leader).change_settings(now, settings);
    assert_eq!(later, Err(ChangeError::ApplicationLevel(id(4))), "it has said nothing yet");
}

#[test]
fn an_operator_ends_a_session() {
    let mut world = World::new(3);
    let leader = settled(&mut world);
    let (connection, session) = world.session(leader);
    let now = world.clock();
    world.replica(leader).remove_session(now, &session).expect("it leads");
    world.collect(leader);
    world.run(50 * MS);
    assert!(world.is_closed(connection));
    assert!(world.replica(leader).view().sessions.is_empty());
}
