use bytes::Bytes;
use zraft_session::{Entry, Operation, StateMachine, Time};

use super::{
    application::Journal,
    world::{MS, World},
};
use crate::{
    Change, EntryBytes, EntryKind, Job, LogEntry, Machine, Role, SnapshotMeta, StopReason,
};

fn entry(index: u64, data: impl Into<EntryBytes>) -> LogEntry {
    LogEntry { index, term: 1, kind: EntryKind::Normal, data: data.into() }
}

#[test]
fn an_entry_of_an_unknown_kind_stops_the_member_before_it_is_applied() {
    let tick = Entry { time: Time::from_millis(5), operation: Operation::Tick }.encode();
    let mut unknown = tick.to_vec();
    unknown[1] = 200;
    let mut machine = Machine::new(StateMachine::new(Journal::default()), 1);
    let entries = vec![entry(2, tick.clone()), entry(3, unknown), entry(4, tick)];
    let stopped = machine.run(Job::Apply { entries, up_to: 4 });
    assert!(matches!(stopped, Err(StopReason::UnknownEntry { index: 3, .. })));
    assert_eq!(machine.state().applied(), 2);
}

#[test]
fn entries_of_raft_alone_are_passed_over() {
    let mut machine = Machine::new(StateMachine::new(Journal::default()), 1);
    let change = LogEntry { kind: EntryKind::Change, ..entry(3, Change::Leave.encode()) };
    let job = Job::Apply { entries: vec![entry(2, Bytes::new()), change], up_to: 3 };
    machine.run(job).expect("none of them is for the state machine");
    assert_eq!((machine.state().applied(), machine.view().applied), (0, 3));
}

#[test]
fn entries_that_a_snapshot_holds_are_not_applied_again() {
    let tick = Entry { time: Time::from_millis(5), operation: Operation::Tick }.encode();
    let mut machine = Machine::new(StateMachine::new(Journal::default()), 1);
    let job = Job::Apply { entries: vec![entry(2, tick)], up_to: 2 };
    machine.run(job.clone()).expect("it can be applied");
    let before = machine.view().history;
    machine.run(job).expect("it is passed over");
    assert_eq!(machine.view().history, before);
}

#[test]
fn machine_tells_the_history_after_each_entry_of_the_last_job() {
    let tick = Entry { time: Time::from_millis(5), operation: Operation::Tick }.encode();
    let mut machine = Machine::new(StateMachine::new(Journal::default()), 1);
    assert_eq!(machine.point().index, 0);
    // An entry of Raft alone has no point.
    let entries = vec![entry(2, tick.clone()), entry(3, Bytes::new()), entry(4, tick.clone())];
    machine.run(Job::Apply { entries, up_to: 4 }).expect("they can be applied");
    let points = machine.points().to_vec();
    assert_eq!(points.iter().map(|point| point.index).collect::<Vec<_>>(), [2, 4]);
    assert_ne!(points[0].hash, points[1].hash);
    assert_eq!(points.last(), Some(&machine.point()));
    assert_eq!(machine.point().hash, machine.view().history);
    machine.run(Job::Apply { entries: vec![entry(5, tick)], up_to: 5 }).expect("it can be applied");
    assert_eq!(machine.points(), [machine.point()], "those of one job only");

    // A machine that begins with a snapshot goes on with the same history.
    let mut file = Vec::new();
    machine.state().snapshot().write_to(&mut file).expect("it is written");
    let before = machine.point();
    let meta = SnapshotMeta { index: 5, ..SnapshotMeta::default() };
    machine.restore(&meta, &file[..]).expect("it was written just now");
    assert_eq!((machine.point(), machine.points()), (before, &[][..]));
}

#[test]
fn a_member_that_does_not_apply_votes_and_stores_and_never_leads() {
    let mut world = World::new(3);
    let leader = world.settle();
    let witness = world.others(leader)[0];
    world.applies = false;
    world.restart(witness);
    let (connection, session) = world.session(leader);
    world.command(connection, 1, "a");
    world.answer(connection, 1);
    // Without its vote and its disk, the third member could not go on alone.
    world.member(leader).runs = false;
    let third = world.others(leader).into_iter().find(|other| *other != witness);
    let third = third.expect("three members");
    world.until("the third leads", |world| world.serving() == Some(third));
    let again = world.continued(third, &session);
    world.command(again, 2, "b");
    assert_eq!(world.answer(again, 2), "2");
    assert!(world.lines(witness).is_empty());
    world.member(third).runs = false;
    world.run(3_000 * MS);
    assert_eq!(world.role(witness), Role::Follower);
}
