//! Replicated time, ticks and the order of the log.

use std::time::Duration;

use zraft_session::{ApplyError, Effect, Entry, Operation, SessionEnd, Time, Timestamp};

use crate::{
    probe::Probe,
    support::{Run, command, end, ended, executed, genesis, time},
};

#[test]
fn time_never_falls() {
    let mut run = Run::with_sessions(Probe::default(), &["a"]);
    run.now = 5_000_000;
    assert_eq!(run.command("a", 1, "time"), [executed("a", 1, "5000000")]);
    run.now = 4_000_000;
    assert_eq!(run.command("a", 2, "time"), [executed("a", 2, "5000000")]);
    run.now = 5_000_001;
    assert_eq!(run.command("a", 3, "time"), [executed("a", 3, "5000001")]);
    assert_eq!(run.machine.time(), time(5_000_001));
}

#[test]
fn tick_runs_before_the_first_entry_at_or_past_it() {
    let mut run = Run::with_sessions(Probe::default(), &["a"]);
    run.command("a", 1, "tick 50");
    assert_eq!(run.machine.next_tick(), Some(time(1_000_050)));
    run.now += 49;
    run.command("a", 2, "echo before");
    run.now += 1;
    run.command("a", 3, "echo at");
    let notes = String::from_utf8(run.query("a", "notes")).unwrap();
    let notes: Vec<_> = notes.split(' ').collect();
    assert_eq!(notes[..5], ["+a", "a/1", "a/2", "tick", "1000050"]);
    assert_eq!(notes[6..], ["a/3"]);
    assert_eq!(run.machine.next_tick(), None);
}

#[test]
fn every_kind_of_entry_lets_a_tick_run() {
    let kinds = [
        Operation::Tick,
        genesis(2, 2),
        command("a", 9, 1, "echo x"),
        Operation::Acknowledge(vec![]),
        end("unknown", zraft_session::EndReason::Closed),
        crate::support::create("b"),
        crate::support::settings(zraft_session::Settings::default()),
    ];
    for operation in kinds {
        let mut run = Run::with_sessions(Probe::default(), &["a"]);
        run.command("a", 1, "tick 1000");
        run.now += 2000;
        run.apply(operation.clone());
        assert_eq!(run.machine.next_tick(), None, "{operation:?}");
    }
}

#[test]
fn tick_runs_once_before_an_entry_however_late_it_is() {
    /// Wants a tick at once, always.
    struct Restless(u32);

    impl zraft_session::Application for Restless {
        fn apply(
            &mut self,
            _: &mut zraft_session::Context<'_>,
            _: zraft_session::Command<'_>,
        ) -> Result<zraft_session::Payload, zraft_session::Rejected> {
            Ok(zraft_session::Payload::default())
        }

        fn query(
            &self,
            _: &zraft_session::QueryContext<'_>,
            query: &zraft_session::Payload,
        ) -> Result<zraft_session::Payload, zraft_session::Rejected> {
            Ok(query.clone())
        }

        fn next_tick(&self) -> Option<Time> {
            Some(Time::ZERO)
        }

        fn tick(&mut self, _: &mut zraft_session::Context<'_>) {
            self.0 += 1;
        }

        fn snapshot(&self) -> zraft_session::AppSnapshot {
            zraft_session::AppSnapshot::new(|_| Ok(()))
        }

        fn restore(
            _: &mut zraft_session::SnapshotInput<'_>,
        ) -> Result<Self, zraft_session::RestoreError> {
            Ok(Self(0))
        }
    }

    let mut run = Run::new(Restless(0));
    for ticks in 1..=3 {
        run.apply(Operation::Tick);
        assert_eq!(run.machine.application().0, ticks);
    }
}

#[test]
fn effects_of_a_tick_come_before_those_of_its_entry() {
    /// Ends every session at a tick.
    #[derive(Default)]
    struct Sweep(Vec<zraft_session::SessionId>);

    impl zraft_session::Application for Sweep {
        fn apply(
            &mut self,
            _: &mut zraft_session::Context<'_>,
            command: zraft_session::Command<'_>,
        ) -> Result<zraft_session::Payload, zraft_session::Rejected> {
            self.0.push(command.session().clone());
            Ok(zraft_session::Payload::default())
        }

        fn query(
            &self,
            _: &zraft_session::QueryContext<'_>,
            query: &zraft_session::Payload,
        ) -> Result<zraft_session::Payload, zraft_session::Rejected> {
            Ok(query.clone())
        }

        fn next_tick(&self) -> Option<Time> {
            (!self.0.is_empty()).then_some(Time::ZERO)
        }

        fn tick(&mut self, context: &mut zraft_session::Context<'_>) {
            for session in self.0.drain(..) {
                context.push(&session, crate::support::payload("bye")).unwrap();
                context.end_session(&session);
            }
        }

        fn snapshot(&self) -> zraft_session::AppSnapshot {
            zraft_session::AppSnapshot::new(|_| Ok(()))
        }

        fn restore(
            _: &mut zraft_session::SnapshotInput<'_>,
        ) -> Result<Self, zraft_session::RestoreError> {
            Ok(Self::default())
        }
    }

    let mut run = Run::with_sessions(Sweep::default(), &["a"]);
    run.command("a", 1, "");
    assert_eq!(
        run.command("a", 2, ""),
        [
            crate::support::pushed("a", 1, "bye"),
            ended("a", SessionEnd::Application),
            crate::support::answered("a", 2, zraft_session::Answer::NoSession),
        ]
    );
}

#[test]
fn entry_that_does_not_come_after_the_last_is_an_error_and_changes_nothing() {
    let mut run = Run::with_sessions(Probe::default(), &["a"]);
    let before = run.snapshot();
    let entry = Entry { time: Time::MAX, operation: command("a", 1, 1, "echo x") };
    for index in [0, 1] {
        let mut effects: Vec<Effect> = Vec::new();
        let error = run.machine.apply(index, &entry, &mut effects).unwrap_err();
        assert_eq!(error, ApplyError::OutOfOrder { index, applied: 1 });
        assert_eq!((effects, run.snapshot()), (vec![], before.clone()));
    }
}

#[test]
fn indexes_of_other_entries_may_be_left_out() {
    let mut run = Run::with_sessions(Probe::default(), &["a"]);
    let entry = Entry { time: Time::ZERO, operation: Operation::Tick };
    run.machine.apply(100, &entry, &mut Vec::new()).unwrap();
    assert_eq!(run.machine.applied(), 100);
}

#[test]
fn genesis_sets_the_term() {
    let mut run = Run::new(Probe::default());
    assert_eq!(run.machine.term(), 0);
    assert_eq!(run.apply(genesis(7, 1)), []);
    assert_eq!(run.machine.term(), 7);
}

#[test]
fn time_counts_milliseconds_and_stops_at_the_largest_timestamp() {
    assert_eq!(Time::from_millis(u64::MAX), Time::MAX);
    assert_eq!(Time::MAX + Duration::from_secs(1), Time::MAX);
    assert_eq!(time(5) + Duration::from_micros(1999), time(6));
    assert_eq!(time(7).saturating_duration_since(time(5)), Duration::from_millis(2));
    assert_eq!(time(5).saturating_duration_since(time(7)), Duration::ZERO);
    assert_eq!(Timestamp::from(Time::MAX), Timestamp::from_millis(i64::MAX));
    assert_eq!(Timestamp::from(time(5)), Timestamp::from_millis(5));
    assert_eq!(time(5).to_string(), "5 ms");
}
