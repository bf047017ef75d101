//! The times that a leader stamps its entries with.

use std::time::Duration;

use proptest::{collection::vec, prelude::*};
use zraft_session::{LeaderClock, Time};

use crate::support::time;

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A clock that has stamped 1,000,000 ms at 0 on the monotonic clock.
fn started() -> LeaderClock {
    let mut clock = LeaderClock::new(time(5));
    assert_eq!(clock.stamp(time(1_000_000), millis(0)), time(1_000_000));
    clock
}

#[test]
fn stamp_is_the_wall_clock_while_it_agrees_with_the_monotonic_clock() {
    let mut clock = started();
    assert_eq!(clock.stamp(time(1_000_100), millis(100)), time(1_000_100));
    // Slewed by 10 s at most, ahead.
    assert_eq!(clock.stamp(time(1_010_200), millis(200)), time(1_010_200));
    assert_eq!(clock.held_back(), None);
}

#[test]
fn first_stamp_after_a_start_follows_the_wall_clock_and_never_falls() {
    assert_eq!(started().stamp(time(1_000_000), millis(0)), time(1_000_000));
    let mut behind = LeaderClock::new(time(9_000));
    assert_eq!(behind.stamp(time(1_000), millis(0)), time(9_000));
    assert_eq!(behind.stamp(time(1_500), millis(500)), time(9_250), "half speed from there on");
}

#[test]
fn entry_without_a_later_time_leaves_the_first_stamp_to_the_wall_clock() {
    let mut clock = LeaderClock::new(time(0));
    clock.observe(time(0), millis(10));
    assert_eq!(clock.stamp(time(1_000_000), millis(20)), time(1_000_000));
    assert_eq!(clock.held_back(), None);
}

#[test]
fn clock_that_fell_back_goes_on_at_half_speed_until_it_has_caught_up() {
    let mut clock = started();
    // 5 s back: caught up after 10 s.
    let stamps = [(1_000, 1_000_500), (4_000, 1_002_000), (9_998, 1_004_999), (10_000, 1_005_000)];
    for (elapsed, expected) in stamps {
        assert_eq!(clock.stamp(time(995_000 + elapsed), millis(elapsed)), time(expected));
    }
    assert_eq!(clock.stamp(time(1_006_000), millis(11_000)), time(1_006_000));
}

#[test]
fn half_speed_holds_however_often_entries_are_stamped() {
    let mut clock = started();
    let last = (1..=10_000_u64).map(|tenth| {
        let monotonic = Duration::from_micros(100 * tenth);
        clock.stamp(time(900_000), monotonic)
    });
    assert_eq!(last.last(), Some(time(1_000_500)));
}

#[test]
fn leap_of_more_than_ten_seconds_is_held_back_until_an_operator_accepts_it() {
    let mut clock = started();
    assert_eq!(clock.stamp(time(1_010_101), millis(100)), time(1_000_100));
    assert_eq!(clock.held_back(), Some(millis(10_001)));
    assert_eq!(clock.stamp(time(1_010_301), millis(300)), time(1_000_300));
    clock.accept_jump();
    assert_eq!(clock.stamp(time(1_010_401), millis(400)), time(1_010_401));
    assert_eq!(clock.held_back(), None);
    // Accepted once.
    assert_eq!(clock.stamp(time(9_000_000), millis(500)), time(1_010_501));
}

#[test]
fn held_back_clock_is_followed_again_once_it_is_right() {
    let mut clock = started();
    clock.stamp(time(9_000_000), millis(100));
    assert_eq!(clock.stamp(time(1_000_200), millis(200)), time(1_000_200));
    assert_eq!(clock.held_back(), None);
}

#[test]
fn new_leader_judges_its_wall_clock_by_the_entries_it_applied() {
    let mut clock = LeaderClock::new(time(0));
    clock.observe(time(2_000_000), millis(50));
    clock.observe(time(1_999_000), millis(60));
    assert_eq!(clock.stamp(time(2_020_000), millis(1_050)), time(2_001_000));
    assert_eq!(clock.held_back(), Some(millis(19_000)));
}

proptest! {
    #![proptest_config(crate::support::cases(256))]

    #[test]
    fn stamps_never_fall_and_never_leap_unaccepted(
        steps in vec((0_u64..2_000_000, 0_u64..20_000), 1..100),
    ) {
        let mut clock = started();
        let (mut last, mut monotonic) = (time(1_000_000), Duration::ZERO);
        for (wall, micros) in steps {
            monotonic += Duration::from_micros(micros);
            let stamp = clock.stamp(time(wall), monotonic);
            prop_assert!(stamp >= last);
            // A step, what is left of an earlier one, and the jump.
            let most = Duration::from_micros(micros) + millis(2) + LeaderClock::MAX_JUMP;
            prop_assert!(stamp.saturating_duration_since(last) <= most);
            last = stamp;
        }
        prop_assert!(clock.stamp(Time::MAX, monotonic) < Time::MAX);
    }
}
