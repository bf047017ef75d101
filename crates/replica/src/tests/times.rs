//! How long clients wait in virtual time, with a network and a disk of 1 ms. Clients are at the new leader at once.

use std::time::Duration;

use super::world::{MS, World, id};

const SEEDS: u64 = 300;

/// The 99th percentile of what is measured with each seed.
fn p99(measure: impl Fn(&mut World, u64) -> Duration) -> Duration {
    let measured = (0..SEEDS).map(|seed| {
        let mut world = World::seeded(3, seed);
        let leader = world.settle();
        measure(&mut world, leader)
    });
    let mut measured: Vec<_> = measured.collect();
    measured.sort();
    measured[(SEEDS * 99 / 100) as usize]
}

/// Waits until another member answers a command of the session.
fn until_answered(world: &mut World, leader: u64, disturb: impl FnOnce(&mut World)) -> Duration {
    let (connection, session) = world.session(leader);
    world.command(connection, 1, "before");
    world.answer(connection, 1);
    world.run(100 * MS);
    let begin = world.now;
    disturb(world);
    world.until("another leader", |world| world.serving().is_some_and(|serving| serving != leader));
    let next = world.serving().expect("it serves");
    let again = world.continued(next, &session);
    world.command(again, 2, "after");
    assert_eq!(world.answer(again, 2), "2");
    world.now - begin
}

#[test]
fn commands_flow_within_a_second_after_the_leader_was_killed() {
    let p99 = p99(|world, leader| {
        until_answered(world, leader, |world| world.member(leader).runs = false)
    });
    assert!(p99 <= Duration::from_secs(1), "{p99:?}");
}

#[test]
fn commands_flow_within_100_ms_after_a_hand_over() {
    let p99 = p99(|world, leader| {
        until_answered(world, leader, |world| {
            let (now, to) = (world.clock(), world.others(leader)[0]);
            world.replica(leader).hand_over(now, Some(id(to)));
            world.collect(leader);
        })
    });
    assert!(p99 <= 100 * MS, "{p99:?}");
}

#[test]
fn commands_flow_within_100_ms_after_a_shut_down() {
    let p99 = p99(|world, leader| {
        until_answered(world, leader, |world| {
            let now = world.clock();
            world.replica(leader).shut_down(now);
            world.collect(leader);
        })
    });
    assert!(p99 <= 100 * MS, "{p99:?}");
}
