//! The searches that every run of the tests completes, and the mistakes that they find.

use stateright::{Checker, HasDiscoveries, Model};

use crate::{Broken, Budget, Course, Mistake};

/// Searches the whole state space, and fails if a rule is broken or something cannot be reached.
fn search(course: Course, at_least: usize) {
    let checker = course.checker().spawn_bfs().join();
    // Each `always` property holds in every state, and each `sometimes` property in at least one.
    checker.assert_properties();
    assert!(checker.is_done(), "the search must visit the whole state space");
    let states = checker.unique_state_count();
    assert!(states > at_least, "only {states} states");
}

fn cluster(budget: Budget, at_least: usize) {
    search(Course::of_cluster(budget, None), at_least);
}

const NOTHING: Budget = Budget {
    commands: 0,
    queries: 0,
    crashes: 0,
    hand_overs: 0,
    duplicates: 0,
    delays: 0,
    timeouts: 0,
};

#[test]
fn two_commands_and_a_crash_with_a_frame_that_comes_twice_hold_in_every_order() {
    cluster(Budget { commands: 2, crashes: 1, duplicates: 1, ..NOTHING }, 30_000);
}

#[test]
fn two_commands_and_a_hand_over_hold_in_every_order() {
    cluster(Budget { commands: 2, hand_overs: 1, ..NOTHING }, 200_000);
}

#[test]
fn two_commands_with_frames_that_come_twice_and_late_hold_in_every_order() {
    cluster(Budget { commands: 2, duplicates: 1, delays: 1, ..NOTHING }, 100_000);
}

#[test]
fn two_commands_a_crash_and_a_hand_over_hold_in_every_order() {
    cluster(Budget { commands: 2, crashes: 1, hand_overs: 1, ..NOTHING }, 1_000_000);
}

#[test]
fn a_crash_and_an_election_hold_in_every_order() {
    cluster(Budget { commands: 1, crashes: 1, timeouts: 1, ..NOTHING }, 300_000);
}

#[test]
fn a_query_during_a_hand_over_holds_in_every_order() {
    cluster(Budget { commands: 1, queries: 1, hand_overs: 1, ..NOTHING }, 100_000);
}

#[test]
fn two_disks_that_crash_at_any_point_lose_nothing_that_was_acknowledged() {
    let elections = Budget { commands: 2, crashes: 2, timeouts: 1, ..NOTHING };
    search(Course::of_disks(elections, None), 30_000);
    let hand_over = Budget { commands: 1, crashes: 2, hand_overs: 1, ..NOTHING };
    search(Course::of_disks(hand_over, None), 10_000);
}

/// Searches for the first state in which a mistake breaks a rule.
fn found(course: Course) -> Option<Broken> {
    let checker = course.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let mut paths = checker.discoveries().into_values();
    paths.find_map(|path| checker.model().broken(path.last_state()).map(|(broken, _)| broken))
}

#[test]
fn a_write_that_is_acknowledged_too_early_is_found() {
    let budget = Budget { commands: 1, crashes: 1, ..NOTHING };
    let course = Course::of_cluster(budget, Some(Mistake::EarlyAcknowledgement));
    assert_eq!(found(course), Some(Broken::NotDurable));
}

#[test]
fn a_forgotten_vote_is_found() {
    let budget = Budget { crashes: 1, timeouts: 2, ..NOTHING };
    let course = Course::of_cluster(budget, Some(Mistake::ForgottenVote));
    assert_eq!(found(course), Some(Broken::TwoVotes));
}

#[test]
fn a_query_that_is_answered_without_a_round_is_found() {
    let budget = Budget { commands: 1, queries: 1, hand_overs: 1, ..NOTHING };
    let course = Course::of_cluster(budget, Some(Mistake::QueryWithoutRound));
    assert_eq!(found(course), Some(Broken::StaleRead));
}

#[test]
fn a_copy_of_a_command_under_a_new_id_is_found() {
    let budget = Budget { commands: 1, crashes: 1, timeouts: 1, ..NOTHING };
    let course = Course::of_disks(budget, Some(Mistake::CopyUnderNewId));
    assert_eq!(found(course), Some(Broken::RanTwice));
}

/// The search takes members with equal fingerprints for the same. That is valid only if the same inputs make the same of
/// them. If this test fails, [`zraft_replica::Replica::write_fingerprint`] leaves something out.
#[test]
fn members_with_equal_fingerprints_act_alike() {
    let budget = Budget { commands: 1, queries: 1, crashes: 1, hand_overs: 1, ..NOTHING };
    let checker = Course::of_cluster(budget, None).checker();
    let checker = checker.target_state_count(50_000).spawn_bfs().join();
    let compared = checker.model().compare_merged();
    assert!(compared > 1000, "only {compared} pairs of states were compared");
}
