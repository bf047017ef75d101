//! Changes that the operator makes.

use zraft_session::Settings;

use super::{super::Task, MS, calm, with_snapshots};

#[test]
fn a_member_that_lost_its_disk_comes_back_as_a_new_one() {
    let mut drive = with_snapshots(11);
    drive.commands(10);
    let place = drive.leader();
    let id = drive.cluster.members[place].id;
    drive.cluster.wipe(drive.now, place);
    drive.cluster.order(drive.now, Task::Rejoin { place });
    drive.commands(20);
    drive.settle();
    assert!(drive.cluster.is_running(place));
    assert_ne!(drive.cluster.members[place].id, id);
    assert_eq!(drive.cluster.facts.membership_changes, 1);
}

#[test]
fn members_are_added_replaced_and_removed_while_commands_run() {
    let mut drive = with_snapshots(12);
    let leader = drive.leader();
    let tasks = [
        Task::Add { place: 3 },
        Task::Add { place: 4 },
        Task::Replace { old: (leader + 1) % 3, new: 5 },
        Task::Remove { place: leader },
    ];
    for task in tasks {
        drive.cluster.order(drive.now, task);
        drive.commands(20);
    }
    drive.settle();
    assert_eq!(drive.cluster.facts.membership_changes, 4);
    assert!(!drive.cluster.is_running(leader) && drive.cluster.is_running(5));
    assert!(drive.cluster.is_empty(leader));
}

#[test]
fn the_operator_hands_over_changes_settings_and_ends_sessions() {
    let mut drive = calm();
    drive.commands(3);
    let leader = drive.leader();
    let to = (leader + 1) % 3;
    drive.cluster.order(drive.now, Task::HandOver { to: Some(to) });
    drive.until("the next member leads", |cluster| cluster.leader() == Some(to));
    let settings = Settings { cached_answers: 5, application_level: 1, ..Settings::default() };
    let settings = Box::new(settings.check().unwrap());
    drive.cluster.order(drive.now, Task::Settings(settings));
    drive.commands(3);
    let session = drive.session.take().unwrap();
    drive.cluster.order(drive.now, Task::EndSession(session));
    drive.until("the operator is done", |cluster| cluster.tasks() == 0);
    drive.run(100 * MS);
    assert_eq!(drive.connection, None, "the client was told");
    drive.requests = 0;
    drive.commands(3);
    drive.settle();
    for member in drive.cluster.members.iter().filter_map(|member| member.process.as_ref()) {
        assert_eq!(member.replica.view().settings.cached_answers, 5);
    }
}
