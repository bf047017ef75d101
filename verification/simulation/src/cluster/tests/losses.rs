//! Members that end, stand still or lag.

use super::{MS, calm, with_snapshots};

#[test]
fn a_cluster_elects_serves_and_restarts_from_its_disks() {
    let mut drive = calm();
    for at in 0..20 {
        assert_eq!(drive.command(&format!("command {at}")), at);
    }
    for place in 0..3 {
        drive.cluster.crash(drive.now, place);
    }
    assert_eq!(drive.cluster.leader(), None);
    drive.carry_out();
    for place in 0..3 {
        drive.cluster.start(drive.now, place);
    }
    assert_eq!(drive.again(20, "command 19"), 19, "the answer is cached");
    assert_eq!(drive.command("one more"), 20);
    assert_eq!(drive.length(), 21);
    drive.settle();
    assert_eq!(drive.cluster.journal().len(), 21);
}

#[test]
fn the_leader_is_replaced_after_each_kind_of_end() {
    let mut drive = calm();
    for end in 0..3 {
        drive.commands(3);
        let leader = drive.leader();
        match end {
            0 => drive.cluster.crash(drive.now, leader),
            1 => drive.cluster.kill(drive.now, leader),
            _ => drive.cluster.stop(drive.now, leader),
        }
        drive.commands(3);
        assert!(!drive.cluster.is_running(leader));
        drive.cluster.start(drive.now, leader);
        drive.run(300 * MS);
    }
    drive.settle();
    assert_eq!(drive.cluster.journal().len(), 18);
}

#[test]
fn a_leader_that_stands_still_is_replaced_and_follows_when_it_goes_on() {
    for suspended in [false, true] {
        let mut drive = calm();
        drive.commands(3);
        let leader = drive.leader();
        drive.cluster.freeze(drive.now, leader, suspended);
        drive.hang_up();
        drive.run(1_000 * MS);
        assert_ne!(drive.leader(), leader);
        drive.commands(3);
        drive.cluster.thaw(drive.now, leader);
        drive.commands(3);
        drive.settle();
        assert_eq!(drive.cluster.journal().len(), 9);
    }
}

#[test]
fn a_member_that_lags_gets_a_snapshot() {
    let mut drive = with_snapshots(10);
    let behind = (drive.leader() + 1) % 3;
    drive.cluster.kill(drive.now, behind);
    drive.commands(60);
    drive.cluster.start(drive.now, behind);
    drive.commands(5);
    drive.settle();
    assert!(drive.cluster.facts.snapshots_taken > 3);
    assert!(drive.cluster.facts.snapshots_restored > 0);
}
