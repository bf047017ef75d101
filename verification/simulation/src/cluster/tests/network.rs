//! Connections between members.

use super::{super::ClusterPlan, Drive, MS, calm};

#[test]
fn a_leader_cut_off_in_either_direction_is_replaced() {
    for (out, back) in [(true, true), (true, false), (false, true)] {
        let mut drive = calm();
        drive.commands(3);
        let leader = drive.leader();
        for other in (0..3).filter(|other| *other != leader) {
            drive.cluster.block(drive.now, leader, other, out);
            drive.cluster.block(drive.now, other, leader, back);
        }
        drive.run(2_000 * MS);
        drive.hang_up();
        drive.commands(3);
        assert_ne!(drive.leader(), leader, "{out} {back}");
        drive.settle();
    }
}

#[test]
fn connections_between_members_that_are_reset_lose_nothing_that_matters() {
    let mut plan = ClusterPlan::calm(9);
    (plan.link.reset, plan.link.duplicate, plan.link.jitter) = (20, 20, MS);
    let mut drive = Drive::new(plan);
    for at in 0..30 {
        drive.cluster.reset_connections(drive.now, at % 3, (at + 1) % 3);
        drive.commands(1);
    }
    drive.settle();
    assert_eq!(drive.cluster.journal().len(), 30);
}

#[test]
fn way_that_opens_after_the_faults_loses_no_connection() {
    let mut plan = ClusterPlan::calm(9);
    (plan.link.reset, plan.link.duplicate) = (20, 20);
    let mut drive = Drive::new(plan);
    drive.cluster.heal(drive.now);
    drive.cluster.open_ways(drive.now);
    let link = *drive.cluster.peers.link(0, 1);
    assert_eq!((link.reset, link.duplicate), (0, 0));
}
