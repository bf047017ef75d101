//! Figures that must hold, in virtual time.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use zraft_simulation::scenario::{
    Others, connect, cut_off, discovery, false_expiry, freeze, hand_over, kill, lost_at_once,
    lost_session, outage, overload,
};

#[test]
fn an_overloaded_server_that_loses_nothing_gets_few_copies_and_does_useful_work() {
    let lasts = Duration::from_secs(300);
    let load = overload(4, 1024, lasts).unwrap();
    assert_eq!(load.failed, 0);
    let copies = load.frames as f64 / load.sent as f64;
    assert!(copies <= 1.1, "{copies} frames for each request: {load:?}");
    let goodput = load.answered as f64 / lasts.as_secs_f64();
    assert!(goodput >= 90.0, "{goodput} commands a second: {load:?}");
}

#[test]
fn a_thousand_commands_lost_at_once_are_all_recovered() {
    let load = lost_at_once(1024).unwrap();
    assert_eq!((load.answered, load.failed), (1024, 0), "{load:?}");
}

#[test]
fn a_full_outage_costs_at_most_ten_attempts_at_each_member_in_ten_seconds() {
    for seed in 0..50 {
        let attempts = outage(seed).unwrap();
        assert!(attempts.iter().all(|attempts| *attempts <= 10), "seed {seed}: {attempts:?}");
    }
}

/// The 99th of a hundred.
fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() * 99 / 100 - 1]
}

#[test]
fn after_a_kill_commands_flow_soon_after_the_next_leader_can_answer() {
    let times: Vec<_> = (0..300).map(|seed| kill(seed).unwrap()).collect();
    let p99 = p99(times);
    assert!(p99 <= Duration::from_millis(300), "{p99:?}");
}

#[test]
fn after_a_hand_over_commands_flow_at_once() {
    let times: Vec<_> = (0..300).map(|seed| hand_over(seed).unwrap()).collect();
    let p99 = p99(times);
    assert!(p99 <= Duration::from_millis(50), "{p99:?}");
}

#[test]
fn a_frozen_leader_costs_at_most_300_ms_more_than_one_second_and_the_election() {
    let times: Vec<_> = (0..300).map(|seed| freeze(seed).unwrap()).collect();
    let most = times.iter().max().unwrap();
    assert!(*most <= Duration::from_millis(300), "{most:?}");
}

#[test]
fn a_session_that_only_listens_leaves_a_leader_that_is_cut_off() {
    for seed in 0..100 {
        let took = cut_off(seed).unwrap();
        assert!(took <= Duration::from_secs(17), "seed {seed}: {took:?}");
    }
}

#[test]
fn client_of_one_member_goes_on_at_the_others_when_that_one_is_killed() {
    let times: Vec<_> = (0..300).map(|seed| discovery(seed).unwrap()).collect();
    let p99 = p99(times);
    assert!(p99 <= Duration::from_millis(300), "{p99:?}");
}

#[test]
fn client_connects_and_resumes_within_1500_ms_beside_a_silent_and_a_refusing_member() {
    for seed in 0..300 {
        let times = connect(seed, Others::SilentAndRefusing).unwrap();
        let most = times.iter().max().unwrap();
        assert!(*most <= Duration::from_millis(1500), "seed {seed}: {times:?}");
    }
}

#[test]
fn dead_members_cost_a_client_nothing() {
    for seed in 0..300 {
        let [well, _] = connect(seed, Others::Well).unwrap();
        let [dead, _] = connect(seed, Others::Dead).unwrap();
        assert!(dead <= well + Duration::from_millis(5), "seed {seed}: {dead:?}, {well:?}");
    }
}

#[test]
fn session_that_a_restarted_cluster_lost_ends_within_16_s_and_a_new_one_works_at_once() {
    for seed in 0..100 {
        let lost = lost_session(seed).unwrap();
        assert!(lost.took <= Duration::from_secs(16), "seed {seed}: {lost:?}");
        assert!(lost.messages <= 45, "seed {seed}: {lost:?}");
        assert_eq!(lost.unknown, 20, "seed {seed}: {lost:?}");
        assert!(lost.again <= Duration::from_millis(100), "seed {seed}: {lost:?}");
    }
}

#[test]
fn false_expiry_at_a_member_that_does_not_lead_ends_no_session_and_fails_no_command() {
    let mut doubts = 0;
    for seed in 0..100 {
        let (failed, doubted) = false_expiry(seed).unwrap();
        assert_eq!(failed, 0, "seed {seed}");
        doubts += doubted;
    }
    assert!(doubts > 0, "some clients heard it");
}
