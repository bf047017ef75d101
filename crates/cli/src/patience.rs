//! The timeouts of commands.

use std::time::Duration;

/// The default timeout of a command. It is three times the longest `connectionTimeout`, so that a member that hangs does
/// not use it up.
pub const DEFAULT: Duration = Duration::from_secs(15);

/// The longest `connectionTimeout`: the library's default.
const MOST: Duration = Duration::from_secs(5);
/// The longest `connectionTimeout` in a large cluster: some round trips to a member behind a slow network.
const ENOUGH: Duration = Duration::from_millis(2500);
/// The shortest `connectionTimeout` that a client accepts.
const LEAST: Duration = Duration::from_millis(1);
/// The factor by which the client extends its wait for each further member that completes the ZMTP handshake and does not
/// answer.
const GROWTH: u32 = 4;

/// Returns the `connectionTimeout` with which a client asks each of `members` within `patience`, even if all but one hang.
///
/// A member that hangs before the ZMTP handshake costs `connectionTimeout`; each one that hangs after it costs four times as
/// much as the one before. With up to three members, the timeout leaves time for both. With more, it leaves time for every
/// member to hang before the handshake, and for two to hang after it.
pub fn connection_timeout(patience: Duration, members: usize) -> Duration {
    let each = match u32::try_from(members).unwrap_or(u32::MAX) {
        // The second member has as much time as the first.
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
    fn each_member_is_asked_even_if_all_others_hang_before_the_handshake() {
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
    fn each_member_is_asked_even_if_two_before_it_hang_after_the_handshake() {
        for millis in [1_000, 5_000, 15_000, 60_000] {
            let patience = Duration::from_millis(millis);
            assert!(connection_timeout(patience, 2) < patience);
            for members in 3..=64 {
                assert!(connection_timeout(patience, members) * (1 + GROWTH) < patience);
            }
        }
    }

    #[test]
    fn default_timeout_gives_a_member_the_librarys_default_or_half_of_it() {
        let each: Vec<_> = (1..=4).map(|n| connection_timeout(DEFAULT, n).as_millis()).collect();
        assert_eq!(each, [5000, 5000, 2500, 2500]);
    }

    #[test]
    fn shortest_patience_and_largest_cluster_give_a_valid_timeout() {
        assert_eq!(connection_timeout(Duration::ZERO, 1), LEAST);
        assert_eq!(connection_timeout(DEFAULT, usize::MAX), LEAST);
    }
}
