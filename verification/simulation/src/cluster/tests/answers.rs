//! Answers that clocks do not change, messages of the ledger, and runs that a seed repeats.

use super::{
    super::{Cluster, ClusterPlan, DiskFault, Task, application::Rules},
    Drive, MS, calm,
};
use crate::random::Rng;

#[test]
fn wall_clocks_that_jump_and_slow_members_change_no_answer() {
    let mut drive = calm();
    for (at, millis) in [(0, 60_000), (1, -60_000), (2, 5_000)] {
        drive.cluster.jump_wall(drive.now, at, millis);
        drive.cluster.slow_disk(drive.now, at, 20);
        drive.cluster.slow_jobs(drive.now, at, 500);
        drive.commands(5);
    }
    drive.settle();
    assert_eq!(drive.cluster.journal().len(), 15);
}

#[test]
fn the_ledger_rejects_and_pushes_as_its_rules_say() {
    let mut plan = ClusterPlan::calm(13);
    plan.rules = Rules { push_own: 40, push_other: 40, tick: 30, ..Rules::default() };
    let mut drive = Drive::new(plan);
    drive.commands(30);
    drive.run(3_000 * MS);
    let session = drive.session.clone().unwrap();
    let pushed = drive.cluster.pushed(session.as_str());
    for kind in ["own", "other", "tick"] {
        assert!(pushed.iter().any(|payload| payload.starts_with(kind.as_bytes())), "{kind}");
    }
    drive.settle();
}

/// A run in which everything strikes a cluster that serves one client.
fn eventful(seed: u64) -> Cluster {
    let mut rng = Rng::new(seed);
    let mut drive =
        Drive::new(ClusterPlan { rules: Rules::default(), ..ClusterPlan::draw(&mut rng) });
    for _ in 0..8 {
        drive.commands(2);
        let (now, place) = (drive.now, rng.index(drive.cluster.plan.voters));
        let other = (place + 1) % drive.cluster.plan.voters;
        let cluster = &mut drive.cluster;
        match rng.below(14) {
            0 => cluster.crash(now, place),
            1 => cluster.freeze(now, place, false),
            2 => cluster.freeze(now, place, true),
            3 => cluster.block(now, place, other, true),
            4 => cluster.kill(now, place),
            5 => cluster.stop(now, place),
            6 => cluster.stall_disk(now, place),
            7 => cluster.disk_fault(now, place, DiskFault::FailingSync(rng.below(4))),
            8 => cluster.disk_fault(now, place, DiskFault::Dead(rng.below(40))),
            9 => cluster.fill_disk(now, place, 0),
            10 => cluster.jump_wall(now, place, 30_000),
            11 => cluster.order(now, Task::HandOver { to: Some(place) }),
            12 => cluster.slow_disk(now, place, 10),
            _ => cluster.reset_connections(now, place, other),
        }
        drive.run(rng.millis(0, 500));
        drive.hang_up();
        drive.cluster.heal(drive.now);
    }
    drive.settle();
    drive.cluster
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    for seed in 1..4 {
        let (first, second) = (eventful(seed), eventful(seed));
        assert_eq!(first.trace.hash(), second.trace.hash(), "seed {seed}");
        assert_eq!(first.now, second.now);
    }
    assert_ne!(eventful(1).trace.hash(), eventful(2).trace.hash());
}
