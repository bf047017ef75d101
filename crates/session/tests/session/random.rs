//! The application's random numbers.

use std::collections::BTreeSet;

use zraft_session::{Effect, EndReason, Operation};

use crate::{
    probe::Probe,
    support::{Run, command, create, end, executed, genesis},
};

/// The answers to the commands of this log, which are random numbers.
fn numbers(operations: &[Operation]) -> Vec<String> {
    let mut run = Run::with_sessions(Probe::default(), &["a"]);
    let effects = operations.iter().flat_map(|operation| run.apply(operation.clone()));
    let answers = effects.filter_map(|effect| match effect {
        Effect::Answered { answer: zraft_session::Answer::Executed(said), .. } => {
            Some(String::from_utf8(said.to_vec()).unwrap())
        }
        _ => None,
    });
    answers.collect()
}

#[test]
fn numbers_follow_from_seed_and_index_and_never_change() {
    let log = [genesis(1, 9), command("a", 1, 1, "random;random"), command("a", 2, 1, "random")];
    assert_eq!(numbers(&log), ["3320494228382064150;11095274984780270173", "7596223801452160270"]);
}

#[test]
fn each_index_draws_other_numbers() {
    let log: Vec<_> = (1..=100).map(|id| command("a", id, 1, "random;random")).collect();
    let drawn = numbers(&log);
    let distinct: BTreeSet<_> = drawn.iter().flat_map(|both| both.split(';')).collect();
    assert_eq!(distinct.len(), 200);
}

#[test]
fn another_seed_gives_other_numbers() {
    let with = |seed| numbers(&[genesis(1, seed), command("a", 1, 1, "random")]);
    assert_eq!(with(1), with(1));
    assert_ne!(with(1), with(2));
}

#[test]
fn calls_within_one_entry_draw_different_numbers() {
    let mut run = Run::with_sessions(Probe::default(), &["a", "b", "c"]);
    run.command("a", 1, "onend push a x");
    // A tick, and the command that it runs before: the ordinals 0 and 1 of one index.
    run.command("a", 2, "tick 0");
    let effects = run.command("a", 3, "random");
    let notes = String::from_utf8(run.query("a", "notes")).unwrap();
    let tick = notes.split(' ').skip_while(|note| *note != "tick").nth(2).unwrap();
    assert_ne!(effects, [executed("a", 3, tick)]);
}

#[test]
fn numbers_go_on_in_the_same_way_after_a_restore() {
    let mut run = Run::with_sessions(Probe::default(), &["a"]);
    run.apply(genesis(3, 5));
    let mut restored = run.restored();
    assert_eq!(restored.command("a", 1, "random"), run.command("a", 1, "random"));
}

#[test]
fn number_below_a_bound_is_uniform_and_below_zero_is_zero() {
    use std::sync::{Arc, Mutex};

    use zraft_session::{
        AppSnapshot, Application, Command, Context, Payload, QueryContext, Rejected, RestoreError,
        SnapshotInput,
    };

    type Drawn = Arc<Mutex<Vec<u64>>>;
    /// Draws dice.
    struct Dice(Drawn);

    impl Application for Dice {
        fn apply(&mut self, cx: &mut Context<'_>, _: Command<'_>) -> Result<Payload, Rejected> {
            let mut drawn = self.0.lock().unwrap();
            drawn.extend((0..6000).map(|_| cx.random().below(6)));
            assert_eq!(cx.random().below(0), 0);
            assert_eq!(cx.random().below(1), 0);
            assert!(cx.random().below(u64::MAX) < u64::MAX);
            let mut bytes = [0; 40];
            cx.random().fill(&mut bytes);
            assert_ne!(bytes[..20], bytes[20..]);
            assert_ne!(cx.random().seed(), cx.random().seed());
            Ok(Payload::default())
        }

        fn query(&self, _: &QueryContext<'_>, query: &Payload) -> Result<Payload, Rejected> {
            Ok(query.clone())
        }

        fn snapshot(&self) -> AppSnapshot {
            AppSnapshot::new(|_| Ok(()))
        }

        fn restore(_: &mut SnapshotInput<'_>) -> Result<Self, RestoreError> {
            Ok(Self(Drawn::default()))
        }
    }

    let drawn = Drawn::default();
    let mut run = Run::new(Dice(drawn.clone()));
    run.apply(create("a"));
    run.command("a", 1, "");
    run.apply(end("a", EndReason::Closed));
    let drawn = drawn.lock().unwrap();
    for side in 0..6 {
        let count = drawn.iter().filter(|number| **number == side).count();
        // 1,000 expected with a deviation of 29; the stream is fixed, so this cannot fail by chance.
        assert!((850..1150).contains(&count), "{side}: {count}");
    }
    assert!(drawn.iter().all(|number| *number < 6));
}
