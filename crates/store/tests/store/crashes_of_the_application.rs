//! The record of an application's panics.

use std::panic::{AssertUnwindSafe, catch_unwind};

use twox_hash::XxHash3_64;
use zraft_replica::{EntryKind, Job, LogEntry, Machine};
use zraft_session::{
    AppSnapshot, Application, Capabilities, Command, Context, Entry, Operation, Payload,
    QueryContext, Rejected, RequestId, RestoreError, SessionId, SnapshotInput, StateMachine, Time,
};
use zraft_simulated_disk::{Faults, SimulatedDisk};
use zraft_store::{CrashRecord, Disk, StoreError};

#[test]
fn a_member_applies_after_one_panic_and_not_after_the_second_at_the_same_entry() {
    let disk = SimulatedDisk::new(1);
    assert_eq!(CrashRecord::read(&disk).unwrap(), None);
    let first = CrashRecord::note(&disk, 40, "first").unwrap();
    assert!(first.applies_from(10));
    let second = CrashRecord::note(&disk, 40, "second").unwrap();
    assert_eq!(second, CrashRecord { index: 40, count: 2, trace: "second".to_owned() });
    assert!(!second.applies_from(10));
    assert!(!second.applies_from(39));
    assert!(second.applies_from(40), "the snapshot holds what the entry led to");
    assert_eq!(CrashRecord::read(&disk).unwrap(), Some(second));
}

#[test]
fn a_panic_at_another_entry_starts_the_count_again() {
    let disk = SimulatedDisk::new(1);
    for index in [40, 41, 40] {
        let record = CrashRecord::note(&disk, index, "").unwrap();
        assert_eq!((record.index, record.count), (index, 1));
    }
    assert_eq!(CrashRecord::note(&disk, 40, "").unwrap().count, 2);
    assert_eq!(CrashRecord::note(&disk, 40, "").unwrap().count, 3);
}

#[test]
fn a_cleared_record_lets_the_member_apply_again() {
    let disk = SimulatedDisk::new(1);
    CrashRecord::clear(&disk).unwrap();
    CrashRecord::note(&disk, 40, "").unwrap();
    CrashRecord::note(&disk, 40, "").unwrap();
    CrashRecord::clear(&disk).unwrap();
    disk.crash();
    assert_eq!(CrashRecord::read(&disk).unwrap(), None);
}

#[test]
fn a_crash_of_the_machine_leaves_the_record_before_or_after() {
    for at in 0..8 {
        let disk = SimulatedDisk::new(at);
        CrashRecord::note(&disk, 40, "first").unwrap();
        disk.plan(Faults { crash_at: Some(disk.usage().changes + at), ..Faults::default() });
        let noted = CrashRecord::note(&disk, 40, "second");
        disk.crash();
        let found = CrashRecord::read(&disk).unwrap().expect("the first is durable");
        assert!(found.count == 2 || noted.is_err(), "crash at {at}: a durable record is lost");
    }
}

#[test]
fn a_long_trace_is_cut_and_a_trace_of_any_text_is_read_back() {
    let disk = SimulatedDisk::new(1);
    for trace in ["", "a\nb\n\ncheck 0\n", "ä", &"é".repeat(100_000), &"x".repeat(65_536)] {
        let noted = CrashRecord::note(&disk, 7, trace).unwrap();
        assert!(noted.trace.len() <= 65_536 && trace.starts_with(&noted.trace));
        assert!(noted.trace.len() + 4 > trace.len().min(65_536));
        assert_eq!(CrashRecord::read(&disk).unwrap(), Some(noted));
    }
}

#[test]
fn a_damaged_record_counts_as_none() {
    let whole = SimulatedDisk::new(1);
    CrashRecord::note(&whole, 40, "trace").unwrap();
    let len = whole.bytes("crash").unwrap().len() as u64;
    for at in 0..len {
        let disk = whole.copy(at);
        disk.flip("crash", at, 1);
        assert_eq!(CrashRecord::read(&disk).unwrap(), None, "byte {at}");
        assert_eq!(CrashRecord::note(&disk, 40, "").unwrap().count, 1);
    }
    let long = whole.copy(0);
    long.open("crash").unwrap().set_len(1 << 20).unwrap();
    assert_eq!(CrashRecord::read(&long).unwrap(), None);
}

#[test]
fn a_file_that_is_longer_than_a_record_counts_as_none_although_its_checksum_is_right() {
    // One of the format's other properties must not be what refuses the file, so the shorter one is read.
    for (len, is_record) in [(1_000, true), (100_000, false)] {
        let (facts, trace) = ("zraft crash 1\nentry 40\ncount 2\n", "x".repeat(len));
        let check = XxHash3_64::oneshot(format!("{facts}{trace}").as_bytes());
        let disk = SimulatedDisk::new(1);
        let text = format!("{facts}check {check:016x}\n{trace}");
        disk.create("crash").unwrap().write_at(0, text.as_bytes()).unwrap();
        assert_eq!(CrashRecord::read(&disk).unwrap().is_some(), is_record, "{len} bytes");
    }
}

#[test]
fn a_disk_that_fails_is_an_error_and_not_a_missing_record() {
    let disk = SimulatedDisk::new(1);
    CrashRecord::note(&disk, 40, "").unwrap();
    disk.plan(Faults { crash_at: Some(disk.usage().changes), ..Faults::default() });
    assert!(matches!(CrashRecord::note(&disk, 40, ""), Err(StoreError::Io { .. })));
    assert!(matches!(CrashRecord::read(&disk), Err(StoreError::Io { .. })));
    assert!(matches!(CrashRecord::clear(&disk), Err(StoreError::Io { .. })));
}

/// Panics at the command `panic`, and at queries.
struct Fragile;

impl Application for Fragile {
    fn apply(&mut self, _: &mut Context<'_>, command: Command<'_>) -> Result<Payload, Rejected> {
        assert!(&command.payload()[..] != b"panic", "this command is my end");
        Ok(Payload::default())
    }

    fn query(&self, _: &QueryContext<'_>, _: &Payload) -> Result<Payload, Rejected> {
        panic!("no query was expected")
    }

    fn snapshot(&self) -> AppSnapshot {
        AppSnapshot::new(|_| Ok(()))
    }

    fn restore(_: &mut SnapshotInput<'_>) -> Result<Self, RestoreError> {
        Ok(Self)
    }
}

#[test]
fn a_machine_names_the_entry_at_which_its_application_panicked() {
    let session = SessionId::new("s").unwrap();
    let command = |id, text: &str| Operation::Command {
        session: session.clone(),
        request_id: RequestId::new(id).unwrap(),
        lowest_pending: RequestId::new(id).unwrap(),
        payload: Payload::new(text.to_owned()).unwrap(),
    };
    let create =
        Operation::CreateSession { session: session.clone(), capabilities: Capabilities::none() };
    let operations = [create, command(1, "a"), command(2, "panic"), command(3, "b")];
    let entries: Vec<_> = (2..)
        .zip(operations)
        .map(|(index, operation)| LogEntry {
            index,
            term: 1,
            kind: EntryKind::Normal,
            data: Entry { time: Time::from_millis(1), operation }.encode_shared(),
        })
        .collect();
    let disk = SimulatedDisk::new(1);
    // Three starts from the same log, as a shell makes them.
    for start in 1..=3 {
        let record = CrashRecord::read(&disk).unwrap();
        let applies = record.is_none_or(|record| record.applies_from(1));
        assert_eq!(applies, start < 3);
        if !applies {
            continue;
        }
        let mut machine = Machine::new(StateMachine::new(Fragile), 1);
        assert_eq!(machine.applying(), None);
        let job = Job::Apply { entries: entries.clone(), up_to: 5 };
        catch_unwind(AssertUnwindSafe(|| machine.run(job))).unwrap_err();
        assert_eq!(machine.applying(), Some(4));
        CrashRecord::note(&disk, machine.applying().unwrap(), "trace").unwrap();
    }
    let mut machine = Machine::new(StateMachine::new(Fragile), 1);
    machine.run(Job::Apply { entries: entries[..2].to_vec(), up_to: 3 }).unwrap();
    assert_eq!(machine.applying(), None, "it is done with them");
}
