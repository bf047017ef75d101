//! How long a command of the program waits.

use std::time::Duration;

/// How long a command waits unless told otherwise. It must be a multiple of what one member may take, so that a member that
/// hangs does not use it up.
pub const DEFAULT: Duration = Duration::from_secs(15);

/// The most that one member gets: the library's default.
const MOST: Duration = Duration::from_secs(5);
/// What one member gets where there are few enough for it. A member behind a slow network needs some round trips.
const ENOUGH: Duration = Duration::from_millis(2500);
/// The least that the settings of a client allow.
const LEAST: Duration = Duration::from_millis(1);
/// The client waits this many times longer for each next member that shakes hands and does not answer.
const GROWTH: u32 = 4;

/// The `connectionTimeout` of a client that must have asked each of `members` before `patience` is over, though all but one of
/// them hang.
///
/// A member may hang before the handshake, which costs `connectionTimeout`, or after it, which costs four times more with each
/// such member. Time is kept for both in clusters of up to three members. In a larger one, it is kept for every member that
/// hangs before the handshake, and for two that hang after it.
pub fn connection_timeout(patience: Duration, members: usize) -> Duration {
    let each = match u32::try_from(members).unwrap_or(u32::MAX) {
        // The last member has as long as the first.
        0..=2 => patience / 2,
        3 => patience / (1 + GROWTH + 1),
        members => (patience / members.saturating_add(2)).min(ENOUGH),
    };
    each.clamp(LEAST, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_member_is_asked_though_all_others_hang_before_the_handshake() {
        for millis in [100, 1_000, 5_000, 15_000, 60_000] {
            let patience = Duration::from_millis(millis);
            for members in 1..=64 {
                let each = connection_timeout(patience, members);
                let others = u32::try_from(members).unwrap() - 1;
                assert!(each * others < patience, "{members} members in {patience:?}: {each:?}");
            }
        }
    }

    #[test]
    fn each_member_is_asked_though_the_two_before_it_hang_after_the_handshake() {
        for millis in [1_000, 5_000, 15_000, 60_000] {
            let patience = Duration::from_millis(millis);
            assert!(connection_timeout(patience, 2) < patience);
            for members in 3..=64 {
                assert!(connection_timeout(patience, members) * (1 + GROWTH) < patience);
            }
        }
    }

    #[test]
    fn by_default_a_member_gets_the_librarys_time_or_half_of_it() {
        let each: Vec<_> = (1..=4).map(|n| connection_timeout(DEFAULT, n).as_millis()).collect();
        assert_eq!(each, [5000, 5000, 2500, 2500]);
    }

    #[test]
    fn no_patience_is_too_short_and_no_cluster_too_large() {
        assert_eq!(connection_timeout(Duration::ZERO, 1), LEAST);
        assert_eq!(connection_timeout(DEFAULT, usize::MAX), LEAST);
    }
}
