//! Which commands the leader proposes.

use proptest::{collection::vec, prelude::*};
use zraft_session::{Admission, Settings, Verdict, applications::Echo};

use crate::support::{Run, command, create, end, id, payload, session, settings};

fn limited(cached_answers: u32, cached_bytes: u64) -> Run<Echo> {
    let mut run = Run::with_sessions(Echo, &["a", "b"]);
    run.apply(settings(Settings { cached_answers, cached_bytes, ..Settings::default() }));
    run
}

fn judge(run: &Run<Echo>, admission: &Admission, request_id: u64, in_flight: u64) -> Verdict {
    let (sessions, settings) = (run.machine.sessions(), run.machine.settings());
    admission.judge(sessions, settings, &session("a"), id(request_id), in_flight)
}

fn seen(frames: &[(u64, u64)]) -> Admission {
    let mut admission = Admission::new();
    for (request_id, lowest) in frames {
        admission.frame(id(*request_id), id(*lowest));
    }
    admission
}

fn propose(lowest: u64) -> Verdict {
    Verdict::Propose { lowest_pending: id(lowest) }
}

#[test]
fn command_is_proposed_with_the_highest_lowest_pending_id_of_any_frame() {
    let run = limited(10, 1000);
    let admission = seen(&[(9, 4), (3, 2)]);
    assert_eq!(judge(&run, &admission, 9, 0), propose(4));
    assert_eq!(judge(&run, &admission, 3, 0), propose(3), "never above the command itself");
}

#[test]
fn frame_raises_to_no_more_than_its_own_id() {
    let run = limited(10, 1000);
    assert_eq!(judge(&run, &seen(&[(3, 100)]), 9, 0), propose(3));
}

#[test]
fn answered_and_evicted_commands_need_no_entry() {
    let mut run = limited(10, 1000);
    run.command("a", 2, "x");
    run.apply(command("a", 5, 2, "y"));
    let admission = Admission::new();
    assert_eq!(judge(&run, &admission, 2, 0), Verdict::Cached(Some(payload("x"))));
    assert_eq!(judge(&run, &admission, 1, 0), Verdict::Evicted);
    assert_eq!(judge(&run, &admission, 3, 0), propose(1));
}

#[test]
fn command_of_a_session_that_is_gone_is_not_proposed() {
    let mut run = limited(10, 1000);
    run.apply(end("a", zraft_session::EndReason::Closed));
    assert_eq!(judge(&run, &Admission::new(), 1, 0), Verdict::NoSession);
}

#[test]
fn command_waits_while_the_cache_is_full_of_answers() {
    let mut run = limited(2, 1000);
    run.command("a", 2, "x");
    assert_eq!(judge(&run, &Admission::new(), 3, 0), propose(1));
    assert_eq!(judge(&run, &Admission::new(), 3, 1), Verdict::Wait, "one in flight counts");
    run.command("a", 3, "x");
    assert_eq!(judge(&run, &Admission::new(), 4, 0), Verdict::Wait);
}

#[test]
fn command_waits_while_the_cache_is_full_of_bytes() {
    let mut run = limited(1000, 10);
    run.command("a", 2, "123456789");
    assert_eq!(judge(&run, &Admission::new(), 3, 0), propose(1));
    run.command("a", 3, "x");
    assert_eq!(judge(&run, &Admission::new(), 4, 0), Verdict::Wait);
}

#[test]
fn room_is_judged_after_raising_to_the_lowest_pending_id() {
    let mut run = limited(2, 1000);
    run.command("a", 1, "x");
    run.command("a", 2, "x");
    assert_eq!(judge(&run, &seen(&[(4, 1)]), 4, 0), Verdict::Wait);
    // A frame of any command that says that answer 1 has arrived, even one that itself waits.
    assert_eq!(judge(&run, &seen(&[(4, 1), (5, 2)]), 4, 0), propose(2));
}

#[test]
fn lowest_unexecuted_command_is_admitted_into_a_full_cache() {
    let mut run = limited(2, 1000);
    run.command("a", 2, "x");
    run.command("a", 3, "x");
    assert_eq!(judge(&run, &Admission::new(), 4, 0), Verdict::Wait);
    assert_eq!(judge(&run, &Admission::new(), 1, 0), propose(1));
    run.command("a", 1, "x");
    assert_eq!(judge(&run, &seen(&[(4, 1)]), 4, 0), propose(1));
    assert_eq!(judge(&run, &seen(&[(4, 1)]), 5, 0), Verdict::Wait);
}

#[test]
fn lowest_unexecuted_command_is_found_above_the_lowest_pending_id() {
    let mut run = limited(2, 1000);
    for request_id in [3, 4, 6, 7] {
        run.command("a", request_id, "x");
    }
    // Answer 3 has arrived: 5 is the lowest that has not run, though 1 and 2 have not run either.
    let admission = seen(&[(8, 4)]);
    assert_eq!(judge(&run, &admission, 5, 0), propose(4));
    assert_eq!(judge(&run, &admission, 8, 0), Verdict::Wait);
}

#[test]
fn session_whose_lowest_pending_id_stands_still_is_overrun_at_twice_the_limit() {
    let mut run = limited(3, 1000);
    for request_id in 1..=5 {
        run.command("a", request_id, "x");
    }
    assert_eq!(judge(&run, &Admission::new(), 6, 0), propose(1));
    run.command("a", 6, "x");
    assert_eq!(judge(&run, &Admission::new(), 7, 0), Verdict::Overrun);
    assert_eq!(judge(&run, &Admission::new(), 8, 0), Verdict::Overrun, "as the lowest says");
    assert_eq!(judge(&run, &seen(&[(7, 7)]), 7, 0), propose(7), "the client has caught up");
}

#[test]
fn answers_of_all_sessions_together_are_limited() {
    let mut run = limited(100, 1000);
    run.apply(settings(Settings { total_cached_answers: 2, ..Settings::default() }));
    run.command("b", 1, "x");
    run.command("b", 2, "x");
    assert_eq!(judge(&run, &Admission::new(), 2, 0), Verdict::Wait);
    assert_eq!(judge(&run, &Admission::new(), 1, 0), propose(1), "the lowest is admitted");
    run.command("b", 3, "x");
    run.command("b", 4, "x");
    // The other session filled them, so this one is not ended for it.
    run.command("a", 1, "x");
    assert_eq!(judge(&run, &Admission::new(), 2, 0), Verdict::Wait);
    assert_eq!(judge(&run, &seen(&[(2, 2)]), 2, 0), propose(2));

    let mut run = limited(100, 1000);
    run.apply(settings(Settings { total_cached_bytes: 4, ..Settings::default() }));
    run.command("b", 1, "1234");
    assert_eq!(judge(&run, &Admission::new(), 2, 0), Verdict::Wait);
}

/// A session of a client with a window that resends what is unanswered, over a network that loses anything.
fn frames() -> impl Strategy<Value = Vec<(u64, bool, bool)>> {
    vec((1_u64..=8, any::<bool>(), any::<bool>()), 1..200)
}

proptest! {
    #![proptest_config(crate::support::cases(256))]

    /// The client keeps 8 commands pending and resends the one at `offset` from the lowest; request and answer can be
    /// lost. Then everything is resent without loss: all must be answered.
    #[test]
    fn no_command_waits_for_ever_and_the_cache_stays_within_its_limit(frames in frames()) {
        let mut run = Run::new(Echo);
        run.apply(create("a"));
        run.apply(settings(Settings { cached_answers: 3, ..Settings::default() }));
        let mut admission = Admission::new();
        let mut answered = std::collections::BTreeSet::new();
        let lowest = |answered: &std::collections::BTreeSet<u64>| {
            (1..).find(|id| !answered.contains(id)).unwrap()
        };
        let mut send = |run: &mut Run<Echo>, request_id: u64, lowest: u64| {
            admission.frame(id(request_id), id(lowest));
            match judge(run, &admission, request_id, 0) {
                Verdict::Propose { lowest_pending } => {
                    let effects = run.apply(command("a", request_id, lowest_pending.get(), "x"));
                    assert!(matches!(&effects[..], [zraft_session::Effect::Answered {
                        answer: zraft_session::Answer::Executed(_), ..
                    }]));
                    true
                }
                Verdict::Cached(_) => true,
                Verdict::Wait | Verdict::Overrun => false,
                verdict => panic!("{verdict:?}"),
            }
        };
        for (offset, arrives, returns) in frames {
            let lowest = lowest(&answered);
            let request_id = lowest + offset - 1;
            if arrives && !answered.contains(&request_id) && send(&mut run, request_id, lowest)
                && returns {
                answered.insert(request_id);
            }
            let state = run.machine.sessions().get(&session("a")).unwrap();
            // Twice the limit, and the lowest pending command, which is always admitted.
            prop_assert!(state.cached_answers() <= 2 * 3 + 1);
        }
        let last = answered.last().copied().unwrap_or(0) + 8;
        for _ in 1..=last {
            let lowest = lowest(&answered);
            if lowest > last {
                break;
            }
            prop_assert!(send(&mut run, lowest, lowest), "the lowest pending command waits");
            answered.insert(lowest);
        }
        prop_assert!(lowest(&answered) > last);
    }
}
