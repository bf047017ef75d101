//! Tests of the linearizability checker: histories known to be right or wrong, and small random ones that are compared
//! with a brute-force search.

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use zraft_chaos::{
    linearizability::{MAX_OPERATIONS, Model, Operation, Verdict, check_within},
    register::{self, Op, Op::*, Register},
};

/// Returns an operation that was in progress from `invoked` to `returned`.
fn done(op: Op, invoked: u64, returned: u64) -> Operation<Op> {
    Operation { op, invoked, returned: Some(returned) }
}

/// Returns an operation whose outcome is unknown.
fn open(op: Op, invoked: u64) -> Operation<Op> {
    Operation { op, invoked, returned: None }
}

fn linearizable(history: &[Operation<Op>]) -> bool {
    match register::check(history) {
        Verdict::Linearizable => true,
        Verdict::NotLinearizable { .. } => false,
        Verdict::TooHard => panic!("the search reached its limit"),
    }
}

#[test]
fn empty_history_is_linearizable() {
    assert!(linearizable(&[]));
}

#[test]
fn read_returns_the_last_value_written() {
    assert!(linearizable(&[
        done(Read(None), 0, 1),
        done(Write(1), 2, 3),
        done(Read(Some(1)), 4, 5)
    ]));
    assert!(!linearizable(&[done(Write(1), 0, 1), done(Read(None), 2, 3)]));
    assert!(!linearizable(&[done(Read(Some(1)), 0, 1), done(Write(1), 2, 3)]));
}

#[test]
fn read_during_a_write_may_return_the_old_or_the_new_value() {
    for value in [None, Some(1)] {
        assert!(linearizable(&[done(Write(1), 0, 3), done(Read(value), 1, 2)]));
    }
}

#[test]
fn later_read_must_not_return_an_older_value() {
    let history = [done(Write(1), 0, 9), done(Read(Some(1)), 1, 2), done(Read(None), 3, 4)];
    assert!(!linearizable(&history));
}

#[test]
fn write_executed_twice_is_found_when_an_overwritten_value_returns() {
    let history = [
        done(Write(1), 0, 7),
        done(Read(Some(1)), 1, 2),
        done(Write(2), 3, 4),
        done(Read(Some(2)), 5, 6),
        done(Read(Some(1)), 8, 9),
    ];
    assert!(!linearizable(&history));
}

#[test]
fn readers_must_see_writes_in_the_same_order() {
    let history = |last| {
        [
            done(Write(1), 0, 20),
            done(Write(2), 1, 21),
            done(Read(Some(1)), 2, 3),
            done(Read(Some(2)), 4, 5),
            done(Read(last), 6, 7),
        ]
    };
    assert!(linearizable(&history(Some(2))));
    assert!(!linearizable(&history(Some(1))));
}

#[test]
fn write_of_unknown_outcome_may_take_effect_later_or_never() {
    assert!(linearizable(&[open(Write(1), 0), done(Read(None), 1, 2)]));
    assert!(linearizable(&[open(Write(1), 0), done(Read(Some(1)), 1, 2)]));
    let late = [open(Write(1), 0), done(Write(2), 1, 2), done(Read(Some(2)), 3, 4)];
    assert!(linearizable(&[&late[..], &[done(Read(Some(1)), 5, 6)]].concat()));
    let early = [done(Read(Some(1)), 0, 1), open(Write(1), 2)];
    assert!(!linearizable(&early));
}

#[test]
fn write_of_unknown_outcome_takes_effect_at_most_once() {
    let history = [
        open(Write(1), 0),
        done(Read(Some(1)), 1, 2),
        done(Write(2), 3, 4),
        done(Read(Some(2)), 5, 6),
        done(Read(Some(1)), 7, 8),
    ];
    assert!(!linearizable(&history));
}

#[test]
fn verdict_names_the_operation_that_cannot_be_placed() {
    let history = [done(Write(1), 0, 1), done(Write(2), 2, 3), done(Read(Some(1)), 4, 5)];
    assert_eq!(register::check(&history), Verdict::NotLinearizable { stuck: 2 });
    // The index must be right even if earlier operations were left out.
    let history = [&[open(Write(9), 0)], &history[..]].concat();
    assert_eq!(register::check(&history), Verdict::NotLinearizable { stuck: 3 });
}

#[test]
fn longest_allowed_history_is_checked_and_a_longer_one_is_too_hard() {
    let round = |n: u64| {
        let at = 4 * n;
        [done(Write(n), at, at + 2), done(Read(Some(n)), at + 1, at + 3)]
    };
    let mut history: Vec<_> = (0..MAX_OPERATIONS as u64 / 2).flat_map(round).collect();
    assert!(linearizable(&history));
    history.push(done(Read(None), 1_000_000, 1_000_001));
    assert_eq!(register::check(&history), Verdict::TooHard);
}

#[test]
fn search_that_reaches_its_limit_is_not_a_success() {
    // All writes are concurrent with a read of a value that was never written, so every order of every subset must be
    // tried.
    let mut history: Vec<_> = (0..40).map(|n| done(Write(n), n, 1000 + n)).collect();
    history.push(done(Read(Some(77)), 500, 2000));
    assert_eq!(check_within(&Register, &history, 10_000), Verdict::TooHard);
}

#[test]
fn many_concurrent_callers_stay_within_the_limit() {
    // Ten concurrent writers in each round, and readers that see them in one order.
    let mut history = Vec::new();
    for round in 0..20_u64 {
        let at = 100 * round;
        history.extend((0..10).map(|n| done(Write(10 * round + n), at + n, at + 50 + n)));
        let read = |step: u64| {
            done(Read(Some(10 * round + (7 * step) % 10)), at + 20 + step, at + 20 + step)
        };
        history.extend((0..5).map(read));
    }
    assert!(linearizable(&history));
    // Let the last reader return the first reader's value.
    let last = history.len() - 1;
    history[last].op = Read(Some(190));
    assert!(!linearizable(&history));
}

/// Tries every order of every subset that contains all operations that returned.
fn brute_force(state: &Option<u64>, left: &[Operation<Op>]) -> bool {
    if left.iter().all(|operation| operation.returned.is_none()) {
        return true;
    }
    let first_return = left.iter().filter_map(|operation| operation.returned).min().unwrap();
    (0..left.len()).filter(|&next| left[next].invoked <= first_return).any(|next| {
        let rest = [&left[..next], &left[next + 1..]].concat();
        Register.step(state, &left[next].op).is_some_and(|state| brute_force(&state, &rest))
    })
}

fn operation() -> impl Strategy<Value = Operation<Op>> {
    // Few values, often repeated: the checker must not rely on unique values.
    let op = prop_oneof![
        (0..3_u64).prop_map(Write),
        proptest::option::weighted(0.9, 0..3_u64).prop_map(Read)
    ];
    (op, 0..16_u64, proptest::option::weighted(0.85, 0..6_u64)).prop_map(|(op, invoked, lasts)| {
        Operation { op, invoked, returned: lasts.map(|lasts| invoked + lasts) }
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4000,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("proptest-regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn checker_agrees_with_a_brute_force_search(
        history in proptest::collection::vec(operation(), 0..8)
    ) {
        let expected = brute_force(&None, &history);
        prop_assert_eq!(linearizable(&history), expected);
        let without_leaving_out = check_within(&Register, &history, usize::MAX);
        prop_assert_eq!(without_leaving_out == Verdict::Linearizable, expected);
    }
}
