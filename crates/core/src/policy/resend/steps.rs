//! The slow start, to the moment and to the last allowance.

use super::*;

const LEAST: Duration = Duration::from_secs(3);

fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

fn resend() -> (Resend, Rng) {
    (Resend::new(LEAST), Rng::new(7))
}

/// How many more may go now, one after the other, without an answer.
fn allowed(resend: &Resend) -> u32 {
    resend.allowance
}

#[test]
fn the_jitter_is_drawn_with_every_resend_and_lengthens_the_timeout_by_up_to_an_eighth() {
    let (mut resend, mut rng) = resend();
    let mut waits: Vec<Duration> = (0..500)
        .map(|_| {
            resend.resent(at(0), true, &mut rng);
            resend.due_after()
        })
        .collect();
    waits.sort_unstable();
    assert!(waits[0] >= LEAST && waits[499] < LEAST + LEAST / 8);
    assert!(waits[0] < LEAST + LEAST / 100, "{:?}", waits[0]);
    assert!(waits[499] > LEAST + LEAST / 9, "{:?}", waits[499]);
}

#[test]
fn a_timeout_without_an_answer_to_a_resend_halves_the_allowance_and_doubles_the_timeout() {
    let (mut resend, mut rng) = resend();
    resend.allowance = 9;
    resend.resent(at(0), true, &mut rng);
    let missed = resend.due_after();
    resend.tick(at(0) + missed - Duration::from_nanos(1));
    assert_eq!((allowed(&resend), resend.timeout()), (8, LEAST));
    resend.tick(at(0) + missed);
    assert_eq!((allowed(&resend), resend.timeout()), (4, LEAST * 2));
    // It is still unanswered: so again, after the longer time.
    let longer = resend.due_after();
    assert!(longer >= LEAST * 2);
    resend.tick(at(0) + missed + longer - Duration::from_nanos(1));
    assert_eq!(allowed(&resend), 4);
    resend.tick(at(0) + missed + longer);
    assert_eq!((allowed(&resend), resend.timeout()), (2, LEAST * 4));
    resend.answered();
    assert_eq!(resend.timeout(), LEAST, "any answer ends the doubling");
}

#[test]
fn once_every_resend_is_answered_no_answer_is_missed() {
    let (mut resend, mut rng) = resend();
    resend.resent(at(0), true, &mut rng);
    resend.resent(at(0), true, &mut rng);
    resend.resend_answered(at(10), Duration::from_millis(10), &mut rng);
    assert!(resend.missed_at.is_some(), "of the other");
    resend.resend_answered(at(20), Duration::from_millis(20), &mut rng);
    assert_eq!(resend.missed_at, None);
    resend.tick(at(3_600_000));
    assert_eq!((allowed(&resend), resend.timeout()), (4, LEAST));
}

#[test]
fn when_the_last_unanswered_resend_is_forgotten_after_a_miss_no_other_is_missed() {
    let (mut resend, mut rng) = resend();
    resend.resent(at(0), true, &mut rng);
    resend.resend_forgotten();
    assert_eq!((resend.missed_at, allowed(&resend)), (None, 1), "it begins at one");
    // One that is not counted, because an earlier copy is, is missed once.
    resend.resent(at(0), false, &mut rng);
    resend.tick(at(3_600_000));
    assert_eq!((resend.missed_at, resend.timeout()), (None, LEAST * 2));
}

#[test]
fn an_answer_older_than_the_timeout_to_what_was_never_resent_begins_the_slow_start_again() {
    // With resends on their way, nothing goes until they are answered.
    let (mut slow, mut rng) = resend();
    slow.allowance = 5;
    slow.resent(at(0), true, &mut rng);
    slow.sample(LEAST + Duration::from_nanos(1));
    assert_eq!(allowed(&slow), 0);
    // With a release to come, one goes then.
    let (mut slow, mut rng) = resend();
    slow.resent(at(0), true, &mut rng);
    slow.resend_answered(at(1000), Duration::from_secs(1), &mut rng);
    slow.sample(LEAST + Duration::from_nanos(1));
    assert_eq!(allowed(&slow), 0);
    slow.tick(at(2500));
    assert_eq!(allowed(&slow), 1, "one, not the two that were to come");
    // With neither, one goes now.
    let (mut slow, mut rng) = resend();
    slow.resent(at(0), true, &mut rng);
    slow.resend_answered(at(1000), Duration::from_secs(1), &mut rng);
    slow.allowance = 3;
    slow.sample(LEAST + Duration::from_nanos(1));
    assert_eq!(allowed(&slow), 1, "what may go already is cut to one");
    slow.tick(at(2500));
    assert_eq!(allowed(&slow), 1);
    // Exactly the timeout is not older.
    let (mut fast, _) = resend();
    fast.allowance = 5;
    fast.sample(LEAST);
    assert_eq!((allowed(&fast), fast.smoothed()), (5, Some(LEAST)));
}

#[test]
fn the_smoothed_answer_time_takes_an_eighth_of_each_sample() {
    let (mut resend, _) = resend();
    resend.sample(Duration::from_millis(800));
    resend.sample(Duration::from_millis(1600));
    assert_eq!(resend.smoothed(), Some(Duration::from_millis(900)));
}

#[test]
fn the_lowest_may_go_once_per_timeout_whatever_the_allowance() {
    let (mut resend, mut rng) = resend();
    assert!(resend.lowest_may_go(at(0)));
    resend.resent(at(0), true, &mut rng);
    let wait = resend.due_after();
    assert_eq!(resend.lowest_at(), Some(at(0) + wait));
    assert!(!resend.lowest_may_go(at(0) + wait - Duration::from_nanos(1)));
    assert!(resend.lowest_may_go(at(0) + wait));
}
