//! Arithmetic of `Instant`.

use std::time::Duration;

use zraft_zmtp::Instant;

#[test]
fn instant_counts_nanoseconds_since_the_origin() {
    let moment = Instant::from_nanos(1_500_000_001);
    assert_eq!(moment.as_nanos(), 1_500_000_001);
    assert_eq!(Instant::ZERO.as_nanos(), 0);
    assert_eq!((moment + Duration::from_nanos(9)).as_nanos(), 1_500_000_010);
    assert_eq!((moment - Duration::from_secs(1)).as_nanos(), 500_000_001);
    assert_eq!(moment - Instant::from_nanos(1), Duration::from_nanos(1_500_000_000));
}

#[test]
fn instant_arithmetic_saturates() {
    let moment = Instant::from_nanos(5);
    assert_eq!((moment + Duration::MAX).as_nanos(), u64::MAX);
    assert_eq!((moment - Duration::from_secs(1)).as_nanos(), 0);
    assert_eq!(moment - Instant::from_nanos(6), Duration::ZERO);
    assert_eq!(moment.saturating_duration_since(Instant::from_nanos(2)), Duration::from_nanos(3));
}
