//! The checker itself: histories known to be right and known to be wrong, and small ones of every kind beside a search that
//! is too simple to be wrong.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use zraft_chaos::{
    linearizability::{MAX_OPERATIONS, Model, Operation, Verdict, check_within},
    register::{self, Op, Op::*, Register},
};

/// An operation from `invoked` to `returned`.
fn done(op: Op, invoked: u64, returned: u64) -> Operation<Op> {
    Operation { op, invoked, returned: Some(returned) }
}

/// One whose outcome is unknown.
fn open(op: Op, invoked: u64) -> Operation<Op> {
    Operation { op, invoked, returned: None }
}

fn linearizable(history: &[Operation<Op>]) -> bool {
    match register::check(history) {
        Verdict::Linearizable => true,
        Verdict::NotLinearizable { .. } => false,
        Verdict::TooHard => panic!("too hard"),
    }
}

#[test]
fn nothing_is_linearizable() {
    assert!(linearizable(&[]));
}

#[test]
fn a_read_gives_what_was_written_last() {
    assert!(linearizable(&[
        done(Read(None), 0, 1),
        done(Write(1), 2, 3),
        done(Read(Some(1)), 4, 5)
    ]));
    assert!(!linearizable(&[done(Write(1), 0, 1), done(Read(None), 2, 3)]));
    assert!(!linearizable(&[done(Read(Some(1)), 0, 1), done(Write(1), 2, 3)]));
}

#[test]
fn a_read_during_a_write_may_give_the_old_or_the_new_value() {
    for value in [None, Some(1)] {
        assert!(linearizable(&[done(Write(1), 0, 3), done(Read(value), 1, 2)]));
    }
}

#[test]
fn a_value_once_seen_is_not_unseen() {
    let history = [done(Write(1), 0, 9), done(Read(Some(1)), 1, 2), done(Read(None), 3, 4)];
    assert!(!linearizable(&history));
}

#[test]
fn a_write_executed_twice_brings_an_overwritten_value_back() {
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
fn two_readers_may_not_see_two_writes_in_different_orders() {
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
fn an_open_write_may_take_effect_at_any_time_after_its_invocation_or_never() {
    assert!(linearizable(&[open(Write(1), 0), done(Read(None), 1, 2)]));
    assert!(linearizable(&[open(Write(1), 0), done(Read(Some(1)), 1, 2)]));
    let late = [open(Write(1), 0), done(Write(2), 1, 2), done(Read(Some(2)), 3, 4)];
    assert!(linearizable(&[&late[..], &[done(Read(Some(1)), 5, 6)]].concat()));
    let early = [done(Read(Some(1)), 0, 1), open(Write(1), 2)];
    assert!(!linearizable(&early));
}

#[test]
fn an_open_write_takes_effect_once_at_most() {
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
fn the_operation_that_cannot_be_placed_is_named() {
    let history = [done(Write(1), 0, 1), done(Write(2), 2, 3), done(Read(Some(1)), 4, 5)];
    assert_eq!(register::check(&history), Verdict::NotLinearizable { stuck: 2 });
    // Also when some were left out.
    let history = [&[open(Write(9), 0)], &history[..]].concat();
    assert_eq!(register::check(&history), Verdict::NotLinearizable { stuck: 3 });
}

#[test]
fn as_many_operations_as_allowed_are_searched_and_no_more() {
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
fn a_search_beyond_its_limit_is_too_hard_and_no_success() {
    // All at once, and a read of what nobody wrote: every order of every subset would have to be tried.
    let mut history: Vec<_> = (0..40).map(|n| done(Write(n), n, 1000 + n)).collect();
    history.push(done(Read(Some(77)), 500, 2000));
    assert_eq!(check_within(&Register, &history, 10_000), Verdict::TooHard);
}

#[test]
fn many_callers_at_once_are_no_trouble() {
    // Ten callers, all under way at the same time in each round, and readers who see one order of them.
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
    // The last reader of all sees what the first did.
    let last = history.len() - 1;
    history[last].op = Read(Some(190));
    assert!(!linearizable(&history));
}

/// Tries every order of every subset that holds all that returned.
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
    // Few values, often the same: the checker may not count on each being written once.
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
    fn the_checker_says_what_a_search_of_all_orders_says(
        history in proptest::collection::vec(operation(), 0..8)
    ) {
        let expected = brute_force(&None, &history);
        prop_assert_eq!(linearizable(&history), expected);
        let without_leaving_out = check_within(&Register, &history, usize::MAX);
        prop_assert_eq!(without_leaving_out == Verdict::Linearizable, expected);
    }
}
