//! Compares the costs of a replicated server's members with `bench/results/budget.json`, and how long clients wait with the
//! bounds that its design gives.

use std::time::Duration;

use zraft_bench::members::{
    load::{Load, cost},
    lone::{BATCH, FollowerRig, LeaderRig, SessionRig},
    recovery::{Incident, measure},
};

use crate::support::budget;

/// Seeds of each incident.
const SEEDS: u64 = 300;

fn within(group: &str, what: &str, each: f64) {
    let limit = budget()[group][what].as_f64().unwrap();
    assert!(each <= limit, "{group} {what}: {each}, {limit} allowed");
}

/// Counts the allocations of `turns` batches, divided by their commands.
fn allocations(turns: u64, mut turn: impl FnMut()) -> f64 {
    let counted = allocation_counter::measure(|| (0..turns).for_each(|_| turn()));
    counted.count_total as f64 / (turns * BATCH) as f64
}

#[test]
fn allocations_of_the_state_machine_per_command_are_within_the_budget() {
    let mut rig = SessionRig::new();
    (0..16).for_each(|_| rig.turn());
    within("allocations", "session.command", allocations(200, || rig.turn()));
}

#[test]
fn allocations_of_a_leader_per_command_are_within_the_budget() {
    let mut rig = LeaderRig::new(false);
    (0..16).for_each(|_| rig.turn());
    let before = rig.answered();
    let each = allocations(200, || rig.turn());
    assert_eq!(rig.answered() - before, 200 * BATCH);
    within("allocations", "leader.command", each);
}

#[test]
fn allocations_of_a_follower_per_command_are_within_the_budget() {
    let mut rig = FollowerRig::new(216);
    (0..16).for_each(|_| rig.turn());
    let before = rig.applied();
    let each = allocations(200, || rig.turn());
    assert_eq!(rig.applied() - before, 200 * BATCH);
    within("allocations", "follower.command", each);
}

#[test]
fn a_command_costs_one_entry_however_often_it_is_sent() {
    let load = Load { sessions: 8, window: 8, commands: 250, copies: 3 };
    let cost = cost(load, 1).unwrap();
    assert_eq!((cost.commands, cost.entries), (2000, 2000));
}

#[test]
fn fsyncs_of_three_members_at_64_commands_in_flight_are_within_the_budget() {
    for (sessions, window) in [(1, 64), (16, 4), (64, 1)] {
        let load = Load { sessions, window, commands: 6400 / sessions, copies: 1 };
        let cost = cost(load, 1).unwrap();
        let each = cost.syncs as f64 * 1000.0 / cost.commands as f64;
        within("syncs", "members.perThousandCommands", each);
    }
}

fn bound(incident: Incident, percent: usize, most: Duration) {
    let took = measure(incident, SEEDS).unwrap().percentile(percent);
    assert!(took <= most, "{incident}: {took:?} at {percent} %, {most:?} allowed");
}

#[test]
fn clients_are_answered_within_a_second_after_the_leader_was_killed() {
    bound(Incident::Kill, 99, Duration::from_secs(1));
}

#[test]
fn clients_wait_at_most_100_ms_for_a_hand_over() {
    bound(Incident::HandOver, 99, Duration::from_millis(100));
}

#[test]
fn clients_wait_at_most_100_ms_for_a_shut_down() {
    bound(Incident::ShutDown, 99, Duration::from_millis(100));
}

#[test]
fn a_leader_that_is_cut_off_says_nothing_after_two_election_timeouts_and_a_tick() {
    // The shortest election timeout is 300 ms and a tick 10 ms.
    bound(Incident::CutOff, 100, Duration::from_millis(2 * 300 + 10));
}

#[test]
fn sessions_go_on_and_nothing_is_lost_when_all_members_restart() {
    bound(Incident::RestartAll, 99, Duration::from_secs(2));
}
