//! The rules of the live system in which it differs from the replicated server.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};
use zraft_session::{
    Answer, Application, Effect, FullCache, FullSession, LowestPending, Policy, PushError,
    Rejected, RejectedId, Session, SessionEnd, Settings, StateMachine,
    applications::{AppendLog, Echo},
};

use crate::{
    probe::Probe,
    support::{
        Run, answered, command, create, created, ended, executed, id, payload, pushed, rejected,
        session, settings,
    },
};

const LIVE: Policy = Policy {
    deduplication: true,
    lowest_pending: LowestPending::AsSent,
    rejected_id: RejectedId::Free,
    full_cache: FullCache::Refuses,
    full_session: FullSession::LosesTheRequest,
};

/// Starts a run under a policy, with these sessions.
fn run<A: Application>(policy: Policy, application: A, names: &[&str]) -> Run<A> {
    let mut run = Run::new(application);
    run.machine.set_policy(policy);
    for name in names {
        assert_eq!(run.apply(create(name)), [created(name)]);
    }
    run
}

fn state<A: Application>(run: &Run<A>) -> &Session {
    run.machine.sessions().get(&session("a")).unwrap()
}

fn refused(name: &str, setting: &'static str) -> Effect {
    Effect::PushRefused { session: session(name), setting }
}

#[test]
fn replicated_server_has_the_default_policy_and_a_restored_state_too() {
    let expected = Policy {
        deduplication: true,
        lowest_pending: LowestPending::UpToTheCommand,
        rejected_id: RejectedId::UsedUp,
        full_cache: FullCache::Executes,
        full_session: FullSession::Ends,
    };
    let mut run = Run::with_sessions(Echo, &["a"]);
    assert_eq!(run.machine.policy(), expected);
    run.machine.set_policy(LIVE);
    assert_eq!(run.restored().machine.policy(), expected);
}

#[test]
fn without_deduplication_every_copy_runs_and_the_last_answer_is_kept() {
    let mut run = run(Policy { deduplication: false, ..Policy::default() }, Echo, &["a"]);
    assert_eq!(run.command("a", 1, "long"), [executed("a", 1, "long")]);
    assert_eq!(run.command("a", 1, "x"), [executed("a", 1, "x")]);
    assert_eq!((state(&run).cached_answers(), state(&run).cached_bytes()), (1, 1));
    run.apply(command("a", 5, 5, "y"));
    assert_eq!(run.command("a", 1, "late"), [executed("a", 1, "late")]);
    run.machine.set_policy(Policy::default());
    let cached = Answer::Cached(Some(payload("late")));
    assert_eq!(run.command("a", 1, "again"), [answered("a", 1, cached)]);
    assert_eq!(run.machine.sessions().totals().cached_bytes, 5);
}

#[test]
fn lowest_pending_id_that_is_taken_as_sent_starts_at_zero() {
    let mut run = run(LIVE, Echo, &["a"]);
    assert_eq!(state(&run).lowest_pending(), id(0));
    assert_eq!(run.apply(command("a", 0, 0, "x")), [executed("a", 0, "x")]);
}

#[test]
fn lowest_pending_id_that_is_taken_as_sent_rises_above_its_command() {
    let mut run = run(LIVE, Echo, &["a"]);
    assert_eq!(run.apply(command("a", 3, 7, "x")), [executed("a", 3, "x")]);
    assert_eq!(state(&run).lowest_pending(), id(7));
    let cached = Answer::Cached(Some(payload("x")));
    assert_eq!(run.apply(command("a", 3, 7, "x")), [answered("a", 3, cached)]);
    assert_eq!(run.apply(command("a", 4, 7, "y")), [answered("a", 4, Answer::Evicted)]);
    // The answer of 3 stays until the lowest pending id rises again.
    assert_eq!(run.apply(command("a", 7, 7, "z")), [executed("a", 7, "z")]);
    assert_eq!(state(&run).cached_answers(), 2);
    assert_eq!(run.apply(command("a", 8, 8, "z")), [executed("a", 8, "z")]);
    assert_eq!(state(&run).cached_answers(), 1);
}

#[test]
fn rejection_without_an_answer_leaves_the_id_and_the_lowest_pending_id() {
    let mut run = run(LIVE, Probe::default(), &["a"]);
    assert_eq!(run.apply(command("a", 7, 6, "push a x;reject")), [rejected("a", 7)]);
    assert_eq!(state(&run).lowest_pending(), id(0));
    assert_eq!(run.apply(command("a", 7, 6, "echo x")), [executed("a", 7, "x")]);
    assert_eq!(state(&run).lowest_pending(), id(6));
}

#[test]
fn rejection_with_an_answer_uses_up_the_id_under_every_policy() {
    for policy in [LIVE, Policy::default()] {
        let mut run = run(policy, Probe::default(), &["a"]);
        let no = Answer::Rejected(Rejected::with_answer(payload("no")));
        assert_eq!(run.apply(command("a", 7, 6, "refuse no")), [answered("a", 7, no)]);
        let cached = Answer::Cached(Some(payload("no")));
        assert_eq!(run.apply(command("a", 7, 6, "echo x")), [answered("a", 7, cached)]);
        assert_eq!(state(&run).lowest_pending(), id(6));
    }
}

#[test]
fn full_cache_refuses_commands_until_the_lowest_pending_id_rises() {
    let answers = ("cached_answers", Settings { cached_answers: 2, ..Settings::default() });
    let bytes = ("cached_bytes", Settings { cached_bytes: 8, ..Settings::default() });
    for (setting, limits) in [answers, bytes] {
        let mut run = run(LIVE, Echo, &["a"]);
        run.apply(settings(limits));
        for number in [1, 2] {
            assert_eq!(run.command("a", number, "four"), [executed("a", number, "four")]);
        }
        let full = Answer::CacheFull { setting };
        assert_eq!(run.command("a", 3, "four"), [answered("a", 3, full.clone())]);
        let cached = Answer::Cached(Some(payload("four")));
        assert_eq!(run.command("a", 1, "four"), [answered("a", 1, cached)]);
        // Raising it below the answers makes no room, and a refused command does not raise it.
        assert_eq!(run.command("a", 4, "four"), [answered("a", 4, full)]);
        assert_eq!(state(&run).lowest_pending(), id(1));
        assert_eq!(run.apply(command("a", 3, 2, "four")), [executed("a", 3, "four")]);
    }
}

#[test]
fn default_policy_executes_into_a_full_cache() {
    let mut run = Run::with_sessions(Echo, &["a"]);
    run.apply(settings(Settings { cached_answers: 1, ..Settings::default() }));
    for number in [1, 2, 3] {
        assert_eq!(run.command("a", number, "x"), [executed("a", number, "x")]);
    }
}

#[test]
fn full_session_loses_the_server_request_and_lives() {
    let policy = Policy { full_session: FullSession::LosesTheRequest, ..Policy::default() };
    let mut run = run(policy, Probe::default(), &["a", "b"]);
    run.apply(settings(Settings { server_request_bytes: 4, ..Settings::default() }));
    // The order of the effects is that of the calls, and a shorter request still fits.
    assert_eq!(
        run.command("a", 1, "push b 12345;push a x;push b 1234;try b 1"),
        [
            executed("a", 1, "Full;1;1;Full"),
            refused("b", "server_request_bytes"),
            pushed("a", 1, "x"),
            pushed("b", 1, "1234"),
        ]
    );
    run.apply(settings(Settings { server_requests: 1, ..Settings::default() }));
    let effects = run.command("a", 2, "push b x");
    assert_eq!(effects, [executed("a", 2, "Full"), refused("b", "server_requests")]);
    let total = Settings { total_server_requests: 2, ..Settings::default() };
    run.apply(settings(total));
    let effects = run.command("a", 3, "push b x");
    assert_eq!(effects, [executed("a", 3, "Full"), refused("b", "total_server_requests")]);
    let total = Settings { total_server_request_bytes: 5, ..Settings::default() };
    run.apply(settings(total));
    let effects = run.command("a", 4, "push b x");
    assert_eq!(effects, [executed("a", 4, "Full"), refused("b", "total_server_request_bytes")]);
    assert!(run.machine.sessions().contains(&session("b")));
}

#[test]
fn server_request_without_an_entry_follows_the_policy() {
    for (policy, full) in [
        (LIVE, refused("a", "server_requests")),
        (Policy::default(), ended("a", SessionEnd::ServerRequestsFull)),
    ] {
        let mut run = run(policy, Probe::default(), &["a"]);
        run.apply(settings(Settings {
            server_requests: 1,
            payload_bytes: 4,
            ..Settings::default()
        }));
        let mut push = |name, text| {
            let mut effects = Vec::new();
            let result =
                run.machine.push_server_request(&session(name), payload(text), &mut effects);
            (result, effects)
        };
        assert_eq!(push("a", "12345"), (Err(PushError::TooLong), vec![]));
        assert_eq!(push("b", "x"), (Err(PushError::NoSession), vec![]));
        assert_eq!(push("a", "x"), (Ok(id(1)), vec![pushed("a", 1, "x")]));
        assert_eq!(push("a", "y"), (Err(PushError::Full), vec![full]));
    }
}

#[test]
fn state_machine_runs_an_application_behind_a_pointer() {
    let mut machine: Box<StateMachine<dyn Application>> = Box::new(StateMachine::new(Echo));
    let mut effects = Vec::new();
    for (index, operation) in (1..).zip([create("a"), command("a", 1, 1, "x")]) {
        let entry = zraft_session::Entry { time: zraft_session::Time::ZERO, operation };
        machine.apply(index, &entry, &mut effects).unwrap();
    }
    assert_eq!(effects, [created("a"), executed("a", 1, "x")]);
}

proptest! {
    #![proptest_config(crate::support::cases(256))]

    #[test]
    fn commands_run_as_the_model_of_the_live_system_says(
        commands in vec((0_u64..12, 0_u64..12), 0..120),
        limit in 1_u64..8,
    ) {
        let mut run = run(LIVE, AppendLog::new(), &["a"]);
        run.apply(settings(Settings { cached_answers: limit as u32, ..Settings::default() }));
        let (mut lowest, mut answers, mut length) = (0, BTreeMap::new(), 0_u64);
        for (request, sent) in commands {
            let kept = |answers: &BTreeMap<u64, u64>, from| answers.range(from..).count() as u64;
            let full = kept(&answers, 0) >= limit
                && (sent <= lowest || kept(&answers, sent) >= limit);
            let answer = if let Some(position) = answers.get(&request) {
                Answer::Cached(Some(payload(u64::to_be_bytes(*position))))
            } else if request < lowest {
                Answer::Evicted
            } else if full {
                Answer::CacheFull { setting: "cached_answers" }
            } else {
                if sent > lowest {
                    lowest = sent;
                    answers = answers.split_off(&lowest);
                }
                answers.insert(request, length);
                length += 1;
                Answer::Executed(payload((length - 1).to_be_bytes()))
            };
            let effects = run.apply(command("a", request, sent, [request as u8]));
            prop_assert_eq!(effects, [answered("a", request, answer)]);
            prop_assert_eq!(state(&run).lowest_pending(), id(lowest));
            prop_assert_eq!(state(&run).cached_answers(), answers.len() as u64);
            prop_assert_eq!(state(&run).cached_bytes(), 8 * answers.len() as u64);
        }
        prop_assert_eq!(run.machine.application().len() as u64, length);
    }
}
