//! The pauses between rounds, to the moment.

use super::*;

fn three() -> Members {
    let list =
        MemberList::new((1..=3).map(|n| (format!("node-{n}"), format!("tcp://host:700{n}"))));
    Members::new(&list.unwrap(), Backoff::default())
}

fn key(place: u64) -> MemberKey {
    MemberKey(place + 1)
}

fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The pause is half fixed, half random: between half of `whole` and all of it.
#[track_caller]
fn assert_pause(pause: Duration, whole: Duration) {
    assert!(pause >= whole / 2 && pause <= whole, "{pause:?} of {whole:?}");
}

#[test]
fn an_election_is_asked_after_every_250_ms_until_it_is_10_s_old_then_ever_less_up_to_5_s() {
    let mut members = three();
    let mut rng = Rng::new(1);
    for whole in [50, 80, 128, 204, 250, 250] {
        let pause = members.pause_election(at(1000), &mut rng);
        assert_pause(pause, millis(whole + 1));
    }
    let last = members.pause_election(at(10_999), &mut rng);
    assert_pause(last, millis(250));
    // 10 s after its first pause the pauses grow, the first of them from where they stood.
    members.pause_election(at(11_000), &mut rng);
    assert!(members.election > millis(250), "{:?}", members.election);
    for _ in 0..20 {
        members.pause_election(at(12_000), &mut rng);
    }
    assert_eq!(members.election, millis(5000));
    members.heard();
    assert_pause(members.pause_election(at(60_000), &mut rng), millis(50));
}

#[test]
fn when_none_answers_the_pause_doubles_from_100_ms_to_5_s() {
    let mut members = three();
    let mut rng = Rng::new(1);
    for whole in [100, 200, 400, 800, 1600, 3200, 5000, 5000] {
        assert_pause(members.pause_down(&mut rng), millis(whole));
    }
    members.heard();
    assert_pause(members.pause_down(&mut rng), millis(100));
}

#[test]
fn half_of_a_pause_is_random() {
    let mut rng = Rng::new(1);
    let pauses: Vec<Duration> = (0..300).map(|_| half_random(millis(100), &mut rng)).collect();
    assert!(pauses.iter().all(|pause| (millis(50)..=millis(100)).contains(pause)));
    assert!(pauses.iter().any(|pause| *pause < millis(53)));
    assert!(pauses.iter().any(|pause| *pause > millis(97)));
}

#[test]
fn a_member_was_deaf_for_30_s() {
    let mut members = three();
    members.deaf(at(0), key(1));
    members.take(key(0));
    assert!(!members.usable(at(29_999), key(0), key(1)));
    assert!(members.usable(at(30_000), key(0), key(1)));
    members.take(key(2));
    assert!(members.usable(at(0), key(0), key(1)), "every other has been asked");
}
