//! Disks that stall, fail or fill up.

use zraft_replica::{Configuration, Output as Wanted, SnapshotFile, SnapshotMeta};

use super::{super::DiskFault, MS, calm, with_snapshots};

#[test]
fn a_leader_whose_disk_stalls_hands_over() {
    let mut drive = calm();
    drive.commands(3);
    let leader = drive.leader();
    drive.cluster.stall_disk(drive.now, leader);
    drive.commands(3);
    drive.run(3_000 * MS);
    assert_ne!(drive.leader(), leader);
    drive.cluster.mend_disk(drive.now, leader);
    drive.commands(3);
    drive.settle();
}

#[test]
fn a_member_whose_disk_fails_ends_and_starts_again() {
    let faults = [
        DiskFault::FailingSync(0),
        DiskFault::FailingWrite(2),
        DiskFault::Full(0),
        DiskFault::Dead(5),
    ];
    for fault in faults {
        for of_leader in [false, true] {
            let mut drive = with_snapshots(8);
            drive.commands(3);
            let leader = drive.leader();
            let place = if of_leader { leader } else { (leader + 1) % 3 };
            drive.cluster.disk_fault(drive.now, place, fault);
            for at in 0..200 {
                drive.command(&format!("{at}"));
                if !drive.cluster.is_running(place) {
                    break;
                }
            }
            assert!(!drive.cluster.is_running(place), "{fault:?} was met");
            drive.commands(3);
            drive.settle();
            assert!(drive.cluster.is_running(place));
        }
    }
}

#[test]
fn a_leader_whose_disk_is_nearly_full_hands_over_and_commands_wait_while_all_are() {
    let mut drive = calm();
    drive.commands(3);
    let leader = drive.leader();
    drive.cluster.fill_disk(drive.now, leader, 0);
    drive.commands(3);
    assert_ne!(drive.leader(), leader);
    for place in 0..3 {
        drive.cluster.fill_disk(drive.now, place, 0);
    }
    assert_eq!(drive.length(), 6, "queries are answered");
    for place in 0..3 {
        drive.cluster.mend_disk(drive.now, place);
    }
    drive.commands(3);
    drive.settle();
}

#[test]
fn a_file_that_begins_while_the_disk_works_on_another_is_a_violation() {
    let file = |index| {
        let configuration = Configuration::default();
        let meta = SnapshotMeta { index, term: 1, configuration };
        Box::new(SnapshotFile { meta, bytes: 2, hash: [0; 16] })
    };
    for verifies in [false, true] {
        let mut drive = calm();
        drive.cluster.carry_out(0, Wanted::BeginSnapshot(file(5)));
        let part = Wanted::WriteSnapshot { index: 5, offset: 0, data: "ab".into() };
        drive.cluster.carry_out(0, part);
        if verifies {
            drive.run(1_000 * MS);
            drive.cluster.carry_out(0, Wanted::VerifySnapshot(file(5)));
        }
        assert!(drive.cluster.violation.is_none());
        drive.cluster.carry_out(0, Wanted::BeginSnapshot(file(6)));
        let rule = drive.cluster.violation.as_ref().map(|violation| violation.rule);
        assert_eq!(rule, Some("a member handles one part of a snapshot's file at a time"));
    }
}
