//! RTO and slow start, to the nanosecond and to the last allowance.

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const LEAST: Duration = Duration::from_secs(3);

fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

fn pace() -> (Pace, Rng) {
    (Pace::new(LEAST), Rng::new(7))
}

/// How many copies may go now without an answer.
fn allowed(pace: &Pace) -> u32 {
    pace.allowance
}

#[test]
fn each_copy_draws_a_jitter_that_lengthens_the_rto_by_up_to_an_eighth() {
    let (mut pace, mut rng) = pace();
    let mut waits: Vec<Duration> = (0..500)
        .map(|_| {
            pace.resent(at(0), true, &mut rng);
            pace.due_after()
        })
        .collect();
    waits.sort_unstable();
    assert!(waits[0] >= LEAST && waits[499] < LEAST + LEAST / 8);
    assert!(waits[0] < LEAST + LEAST / 100, "{:?}", waits[0]);
    assert!(waits[499] > LEAST + LEAST / 9, "{:?}", waits[499]);
}

#[test]
fn a_missing_answer_to_a_copy_halves_the_allowance_and_doubles_the_rto() {
    let (mut pace, mut rng) = pace();
    pace.allowance = 9;
    pace.resent(at(0), true, &mut rng);
    let missed = pace.due_after();
    pace.tick(at(0) + missed - Duration::from_nanos(1));
    assert_eq!((allowed(&pace), pace.timeout()), (8, LEAST));
    pace.tick(at(0) + missed);
    assert_eq!((allowed(&pace), pace.timeout()), (4, LEAST * 2));
    // It is still unanswered, so both happen again after the longer time.
    let longer = pace.due_after();
    assert!(longer >= LEAST * 2);
    pace.tick(at(0) + missed + longer - Duration::from_nanos(1));
    assert_eq!(allowed(&pace), 4);
    pace.tick(at(0) + missed + longer);
    assert_eq!((allowed(&pace), pace.timeout()), (2, LEAST * 4));
    pace.answered();
    assert_eq!(pace.timeout(), LEAST, "any answer ends the doubling");
}

#[test]
fn no_answer_is_missing_once_every_copy_is_answered() {
    let (mut pace, mut rng) = pace();
    pace.resent(at(0), true, &mut rng);
    pace.resent(at(0), true, &mut rng);
    pace.copy_answered(at(10), Duration::from_millis(10), &mut rng);
    assert!(pace.missed_at.is_some(), "the other copy is unanswered");
    pace.copy_answered(at(20), Duration::from_millis(20), &mut rng);
    assert_eq!(pace.missed_at, None);
    pace.tick(at(3_600_000));
    assert_eq!((allowed(&pace), pace.timeout()), (4, LEAST));
}

#[test]
fn no_answer_is_missing_once_the_last_unanswered_copy_is_forgotten() {
    let (mut pace, mut rng) = pace();
    pace.resent(at(0), true, &mut rng);
    pace.copy_forgotten();
    assert_eq!((pace.missed_at, allowed(&pace)), (None, 1), "slow start begins with one");
    // A copy that is not counted, because an earlier one is, is missed once.
    pace.resent(at(0), false, &mut rng);
    pace.tick(at(3_600_000));
    assert_eq!((pace.missed_at, pace.timeout()), (None, LEAST * 2));
}

#[test]
fn a_first_answer_older_than_the_rto_begins_slow_start_again() {
    // With copies on the wire, nothing goes until they are answered.
    let (mut slow, mut rng) = pace();
    slow.allowance = 5;
    slow.resent(at(0), true, &mut rng);
    slow.sample(LEAST + Duration::from_nanos(1));
    assert_eq!(allowed(&slow), 0);
    // With a release to come, one copy goes then.
    let (mut slow, mut rng) = pace();
    slow.resent(at(0), true, &mut rng);
    slow.copy_answered(at(1000), Duration::from_secs(1), &mut rng);
    slow.sample(LEAST + Duration::from_nanos(1));
    assert_eq!(allowed(&slow), 0);
    slow.tick(at(2500));
    assert_eq!(allowed(&slow), 1, "one, not the two that were to come");
    // With neither, one copy goes now.
    let (mut slow, mut rng) = pace();
    slow.resent(at(0), true, &mut rng);
    slow.copy_answered(at(1000), Duration::from_secs(1), &mut rng);
    slow.allowance = 3;
    slow.sample(LEAST + Duration::from_nanos(1));
    assert_eq!(allowed(&slow), 1, "the allowance is cut to one");
    slow.tick(at(2500));
    assert_eq!(allowed(&slow), 1);
    // An answer exactly as old as the RTO is not late.
    let (mut fast, _) = pace();
    fast.allowance = 5;
    fast.sample(LEAST);
    assert_eq!((allowed(&fast), fast.smoothed()), (5, Some(LEAST)));
}

#[test]
fn the_smoothed_answer_time_takes_an_eighth_of_each_sample() {
    let (mut pace, _) = pace();
    pace.sample(Duration::from_millis(800));
    pace.sample(Duration::from_millis(1600));
    assert_eq!(pace.smoothed(), Some(Duration::from_millis(900)));
}

#[test]
fn the_lowest_pending_may_go_once_per_rto_beyond_the_allowance() {
    let (mut pace, mut rng) = pace();
    assert!(pace.lowest_may_go(at(0)));
    pace.resent(at(0), true, &mut rng);
    let wait = pace.due_after();
    assert_eq!(pace.lowest_at(), Some(at(0) + wait));
    assert!(!pace.lowest_may_go(at(0) + wait - Duration::from_nanos(1)));
    assert!(pace.lowest_may_go(at(0) + wait));
}

#[test]
fn the_rto_is_the_larger_of_the_resend_interval_and_four_answer_times() {
    let mut pace = Pace::new(SECOND * 3);
    assert_eq!(pace.timeout(), SECOND * 3);
    pace.sample(SECOND);
    assert_eq!(pace.timeout(), SECOND * 4);
}

#[test]
fn slow_start_sends_one_then_two_more_for_each_answer_after_as_much_time_again() {
    let mut rng = Rng::new(1);
    let mut pace = Pace::new(SECOND * 3);
    assert!(pace.may_release());
    pace.resent(at(0), true, &mut rng);
    assert!(!pace.may_release());
    pace.copy_answered(at(80), Duration::from_millis(80), &mut rng);
    pace.tick(at(159));
    assert!(!pace.may_release());
    pace.tick(at(170));
    pace.resent(at(170), true, &mut rng);
    assert!(pace.may_release());
    pace.resent(at(170), true, &mut rng);
    assert!(!pace.may_release());
}

#[test]
fn the_rto_doubles_up_to_a_minute_until_the_first_answer() {
    let mut rng = Rng::new(1);
    let mut pace = Pace::new(SECOND * 3);
    pace.resent(at(0), true, &mut rng);
    let mut expected = 3;
    for _ in 0..8 {
        assert_eq!(pace.timeout(), SECOND * expected.min(60));
        let next = pace.next().unwrap();
        pace.tick(next);
        expected *= 2;
    }
    pace.answered();
    assert_eq!(pace.timeout(), SECOND * 3);
    // Four answer times may exceed the minute.
    pace.sample(SECOND * 30);
    assert_eq!(pace.timeout(), SECOND * 120);
}

#[test]
fn a_missing_answer_halves_how_many_copies_may_go() {
    let mut rng = Rng::new(1);
    let mut pace = Pace::new(SECOND);
    for _ in 0..3 {
        pace.resent(at(0), true, &mut rng);
        pace.copy_answered(at(10), Duration::from_millis(10), &mut rng);
    }
    pace.tick(at(100));
    pace.resent(at(100), true, &mut rng);
    let missed = pace.next().unwrap();
    pace.tick(missed);
    // Six were released, one of them went, half of five may still go.
    for _ in 0..2 {
        assert!(pace.may_release());
        pace.resent(missed, true, &mut rng);
    }
    assert!(!pace.may_release());
}

#[test]
fn a_late_first_answer_releases_nothing_and_starts_again_with_one() {
    let mut rng = Rng::new(1);
    let mut pace = Pace::new(SECOND);
    pace.resent(at(0), true, &mut rng);
    pace.copy_answered(at(10), Duration::from_millis(10), &mut rng);
    pace.tick(at(100));
    pace.sample(SECOND * 2);
    pace.resent(at(100), true, &mut rng);
    assert!(!pace.may_release());
    // While that copy is on the wire, further late answers release nothing.
    pace.sample(SECOND * 9);
    assert!(!pace.may_release());
}
