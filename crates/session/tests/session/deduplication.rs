//! Commands run exactly once.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, prelude::*};
use zraft_session::{
    Answer, Application, Command, Context, Effect, EndReason, Payload, QueryContext, Rejected,
    RequestId, Settings,
    applications::{AppendLog, Echo},
};

use crate::{
    probe::Probe,
    support::{
        Run, answered, command, create, end, executed, id, payload, pushed, rejected,
        rejected_because, session, settings,
    },
};

fn cached(name: &str, request_id: u64, bytes: &str) -> Effect {
    answered(name, request_id, Answer::Cached(Some(payload(bytes))))
}

fn evicted(name: &str, request_id: u64) -> Effect {
    answered(name, request_id, Answer::Evicted)
}

#[test]
fn copy_of_a_command_gets_the_first_answer_and_is_not_executed() {
    let mut run = Run::with_sessions(Probe::default(), &["a"]);
    assert_eq!(run.command("a", 1, "echo x"), [executed("a", 1, "x")]);
    assert_eq!(run.command("a", 1, "echo x"), [cached("a", 1, "x")]);
    // Another payload under an answered id is a copy all the same.
    assert_eq!(run.command("a", 1, "echo y"), [cached("a", 1, "x")]);
    assert_eq!(run.query("a", "notes"), b"+a a/1");
}

#[test]
fn same_request_id_of_another_session_is_another_command() {
    let mut run = Run::with_sessions(Probe::default(), &["a", "b"]);
    assert_eq!(run.command("a", 1, "echo x"), [executed("a", 1, "x")]);
    assert_eq!(run.command("b", 1, "echo y"), [executed("b", 1, "y")]);
}

#[test]
fn command_without_an_answer_below_the_lowest_pending_id_never_runs() {
    let mut run = Run::with_sessions(Probe::default(), &["a"]);
    run.apply(command("a", 5, 5, "echo x"));
    assert_eq!(run.command("a", 4, "echo late"), [evicted("a", 4)]);
    assert_eq!(run.query("a", "notes"), b"+a a/5");
}

#[test]
fn raising_the_lowest_pending_id_drops_the_answers_below_it() {
    let mut run = Run::with_sessions(Probe::default(), &["a"]);
    for request_id in 1..=4 {
        run.command("a", request_id, "echo x");
    }
    run.apply(command("a", 5, 3, "echo y"));
    let kept = |run: &Run<Probe>| {
        let session = run.machine.sessions().get(&session("a")).unwrap();
        (session.cached_answers(), session.cached_bytes(), session.lowest_pending().get())
    };
    assert_eq!(kept(&run), (3, 3, 3));
    assert_eq!(run.command("a", 2, "echo x"), [evicted("a", 2)]);
    assert_eq!(run.command("a", 3, "echo x"), [cached("a", 3, "x")]);
    assert_eq!(run.machine.sessions().totals().cached_answers, 3);
    assert_eq!(run.machine.sessions().totals().cached_bytes, 3);
}

#[test]
fn lowest_pending_id_above_the_command_itself_raises_to_the_command() {
    let mut run = Run::with_sessions(Probe::default(), &["a"]);
    assert_eq!(run.apply(command("a", 3, 100, "echo x")), [executed("a", 3, "x")]);
    assert_eq!(run.machine.sessions().get(&session("a")).unwrap().lowest_pending(), id(3));
    assert_eq!(run.command("a", 4, "echo y"), [executed("a", 4, "y")]);
}

#[test]
fn lowest_pending_id_never_falls() {
    let mut run = Run::with_sessions(Probe::default(), &["a"]);
    run.apply(command("a", 5, 5, "echo x"));
    run.apply(command("a", 6, 1, "echo x"));
    assert_eq!(run.machine.sessions().get(&session("a")).unwrap().lowest_pending(), id(5));
}

#[test]
fn copy_that_is_answered_from_the_cache_does_not_raise_the_lowest_pending_id() {
    let mut run = Run::with_sessions(Probe::default(), &["a"]);
    run.command("a", 1, "echo x");
    run.command("a", 2, "echo y");
    assert_eq!(run.apply(command("a", 2, 2, "echo y")), [cached("a", 2, "y")]);
    assert_eq!(run.command("a", 1, "echo x"), [cached("a", 1, "x")]);
}

#[test]
fn request_id_zero_is_not_a_command() {
    let mut run = Run::with_sessions(Probe::default(), &["a"]);
    assert_eq!(run.apply(command("a", 0, 0, "echo x")), [evicted("a", 0)]);
}

#[test]
fn last_request_id_of_all_is_executed_once() {
    let mut run = Run::with_sessions(Probe::default(), &["a"]);
    let last = i64::MAX as u64;
    assert_eq!(run.apply(command("a", last, last, "echo x")), [executed("a", last, "x")]);
    assert_eq!(run.apply(command("a", last, last, "echo x")), [cached("a", last, "x")]);
    assert_eq!(run.restored().snapshot(), run.snapshot());
}

#[test]
fn command_of_a_session_that_is_gone_never_runs() {
    let mut run = Run::with_sessions(Probe::default(), &["a", "b"]);
    run.apply(end("a", EndReason::Expired));
    assert_eq!(run.command("a", 1, "echo x"), [answered("a", 1, Answer::NoSession)]);
    assert_eq!(run.command("never", 1, "echo x"), [answered("never", 1, Answer::NoSession)]);
    assert_eq!(run.query("b", "notes"), b"+a +b -a Expired");
}

#[test]
fn rejected_command_uses_up_its_id_and_keeps_its_answer() {
    let mut run = Run::with_sessions(Probe::default(), &["a"]);
    let no = Answer::Rejected(Rejected::with_answer(payload("no")));
    assert_eq!(run.command("a", 1, "refuse no"), [answered("a", 1, no)]);
    assert_eq!(run.command("a", 1, "echo now fine"), [cached("a", 1, "no")]);
    assert_eq!(run.command("a", 2, "reject"), [rejected("a", 2)]);
    assert_eq!(run.command("a", 2, "echo now fine"), [answered("a", 2, Answer::Cached(None))]);
    assert_eq!(run.query("a", "notes"), b"+a");
}

#[test]
fn rejected_command_raises_the_lowest_pending_id() {
    let mut run = Run::with_sessions(Probe::default(), &["a"]);
    run.apply(command("a", 7, 6, "reject"));
    assert_eq!(run.machine.sessions().get(&session("a")).unwrap().lowest_pending(), id(6));
}

#[test]
fn rejected_command_pushes_nothing_and_ends_no_session() {
    let mut run = Run::with_sessions(Probe::default(), &["a", "b"]);
    let effects = run.command("a", 1, "push b x;end b;reject");
    assert_eq!(effects, [rejected("a", 1)]);
    assert_eq!(run.command("a", 2, "push b y"), [executed("a", 2, "1"), pushed("b", 1, "y")]);
}

#[test]
fn copies_push_nothing() {
    let mut run = Run::with_sessions(Probe::default(), &["a"]);
    assert_eq!(run.command("a", 1, "push a x"), [executed("a", 1, "1"), pushed("a", 1, "x")]);
    assert_eq!(run.command("a", 1, "push a x"), [cached("a", 1, "1")]);
}

#[test]
fn command_longer_than_the_setting_is_rejected_before_the_application() {
    let mut run = Run::with_sessions(Echo, &["a"]);
    run.apply(settings(Settings { payload_bytes: 4, ..Settings::default() }));
    let reason = "the payload is longer than the setting payload_bytes";
    assert_eq!(run.command("a", 1, "12345"), [rejected_because("a", 1, reason)]);
    assert_eq!(run.command("a", 2, "1234"), [executed("a", 2, "1234")]);
}

#[test]
fn answer_longer_than_the_setting_is_dropped_and_the_command_stays_executed() {
    let mut run = Run::with_sessions(Probe::default(), &["a", "b"]);
    run.apply(settings(Settings { payload_bytes: 20, ..Settings::default() }));
    assert_eq!(run.command("a", 1, "repeat 20"), [executed("a", 1, "x".repeat(20))]);
    let effects = run.command("a", 2, "push b x;repeat 19");
    assert_eq!(effects, [answered("a", 2, Answer::TooLong), pushed("b", 1, "x")]);
    assert_eq!(run.command("a", 2, "echo x"), [answered("a", 2, Answer::Cached(None))]);
    assert_eq!(run.query("a", "notes"), b"+a +b a/1 a/2");
    assert_eq!(run.machine.sessions().totals().cached_bytes, 20);
}

#[test]
fn rejection_loses_an_answer_longer_than_the_setting() {
    let mut run = Run::with_sessions(Probe::default(), &["a"]);
    run.apply(settings(Settings { payload_bytes: 20, ..Settings::default() }));
    let longest = Rejected::with_answer(payload("x".repeat(20)));
    let kept = answered("a", 1, Answer::Rejected(longest));
    assert_eq!(run.command("a", 1, "refuse repeat 20"), [kept]);
    assert_eq!(run.command("a", 2, "refuse repeat 21"), [rejected("a", 2)]);
}

#[test]
fn answer_becomes_the_message_that_the_protocol_has_for_it() {
    use zraft_protocol::{RequestErrorReason, ServerMessage};
    let response =
        |bytes| Some(ServerMessage::ClientResponse { request_id: id(4), result: payload(bytes) });
    let error = Some(ServerMessage::RequestError {
        request_id: id(4),
        reason: RequestErrorReason::ResponseEvicted,
    });
    let answers = [
        (Answer::Executed(payload("x")), response("x")),
        (Answer::Rejected(Rejected::with_answer(payload("x"))), response("x")),
        (Answer::Cached(Some(payload("x"))), response("x")),
        (Answer::TooLong, error.clone()),
        (Answer::Rejected(Rejected::without_answer()), error.clone()),
        (Answer::Cached(None), error.clone()),
        (Answer::Evicted, error),
        (Answer::NoSession, None),
        (Answer::CacheFull { setting: "cached_answers" }, None),
    ];
    for (answer, message) in answers {
        assert_eq!(answer.message(id(4)), message);
    }
}

/// Answers with a part of the command, as an application might to save a copy.
struct Part;

impl Application for Part {
    fn apply(
        &mut self,
        context: &mut Context<'_>,
        command: Command<'_>,
    ) -> Result<Payload, Rejected> {
        let part = Payload::new(command.payload().as_bytes().slice(2..)).unwrap();
        context.push(command.session(), part.clone()).unwrap();
        Ok(part)
    }

    fn query(&self, _: &QueryContext<'_>, query: &Payload) -> Result<Payload, Rejected> {
        Ok(query.clone())
    }

    fn snapshot(&self) -> zraft_session::AppSnapshot {
        zraft_session::AppSnapshot::new(|_| Ok(()))
    }

    fn restore(
        _: &mut zraft_session::SnapshotInput<'_>,
    ) -> Result<Self, zraft_session::RestoreError> {
        Ok(Self)
    }
}

#[test]
fn what_is_kept_does_not_hold_the_buffer_of_the_entry() {
    let mut run = Run::with_sessions(Part, &["a"]);
    let entry = zraft_session::Entry {
        time: zraft_session::Time::ZERO,
        operation: command("a", 1, 1, "abcdef"),
    };
    let bytes = entry.encode();
    let mut effects = Vec::new();
    run.machine.apply(2, &zraft_session::Entry::decode(&bytes).unwrap(), &mut effects).unwrap();
    assert_eq!(effects, [executed("a", 1, "cdef"), pushed("a", 1, "cdef")]);
    assert!(bytes.is_unique(), "an answer or a server request shares the entry");
}

/// What a session does in the property below.
#[derive(Clone, Debug)]
enum Act {
    Create(u8),
    Command { session: u8, id: u64, lowest: u64 },
    End(u8),
}

fn act() -> impl Strategy<Value = Act> {
    let session = 0_u8..3;
    prop_oneof![
        1 => session.clone().prop_map(Act::Create),
        12 => (session.clone(), 0_u64..12, 0_u64..12)
            .prop_map(|(session, id, lowest)| Act::Command { session, id, lowest }),
        1 => session.prop_map(Act::End),
    ]
}

/// The rules of deduplication, said in another way: sets of everything that ever happened, nothing dropped.
#[derive(Default)]
struct Model {
    lowest: u64,
    answers: BTreeMap<u64, u64>,
}

proptest! {
    #![proptest_config(crate::support::cases(256))]

    #[test]
    fn commands_run_as_the_model_of_deduplication_says(acts in vec(act(), 0..120)) {
        let mut run = Run::new(AppendLog::new());
        let mut alive: BTreeMap<u8, Model> = BTreeMap::new();
        let mut gone: BTreeSet<u8> = BTreeSet::new();
        let mut length = 0_u64;
        for act in acts {
            match act {
                // A session id is never used again.
                Act::Create(name) if !gone.contains(&name) => {
                    run.apply(create(&name.to_string()));
                    alive.entry(name).or_default();
                }
                Act::Create(_) => {}
                Act::End(name) => {
                    run.apply(end(&name.to_string(), EndReason::Closed));
                    if alive.remove(&name).is_some() {
                        gone.insert(name);
                    }
                }
                Act::Command { session, id, lowest } => {
                    let name = session.to_string();
                    let effects = run.apply(command(&name, id, lowest, [session, id as u8]));
                    let answer = match alive.get_mut(&session) {
                        None => Answer::NoSession,
                        Some(model) => match model.answers.get(&id) {
                            Some(position) if id >= model.lowest => {
                                Answer::Cached(Some(payload(position.to_be_bytes())))
                            }
                            _ if id < model.lowest.max(1) => Answer::Evicted,
                            _ => {
                                model.lowest = model.lowest.max(lowest.min(id));
                                prop_assert!(model.answers.insert(id, length).is_none());
                                length += 1;
                                Answer::Executed(payload((length - 1).to_be_bytes()))
                            }
                        },
                    };
                    prop_assert_eq!(effects, [answered(&name, id, answer)]);
                }
            }
            check_counts(&run, &alive)?;
        }
        prop_assert_eq!(run.machine.application().len() as u64, length);
    }
}

fn check_counts(run: &Run<AppendLog>, alive: &BTreeMap<u8, Model>) -> Result<(), TestCaseError> {
    let sessions = run.machine.sessions();
    prop_assert_eq!(sessions.len(), alive.len());
    let mut total = 0;
    for (name, model) in alive {
        let state = sessions.get(&session(&name.to_string())).unwrap();
        let lowest = model.lowest.max(1);
        let kept = model.answers.range(lowest..).count() as u64;
        total += kept;
        prop_assert_eq!(state.lowest_pending().get(), lowest);
        prop_assert_eq!(state.cached_answers(), kept);
        prop_assert_eq!(state.cached_bytes(), 8 * kept);
        let unexecuted = (lowest..).find(|id| !model.answers.contains_key(id)).unwrap();
        prop_assert_eq!(state.lowest_unexecuted(), RequestId::new(unexecuted).unwrap());
    }
    prop_assert_eq!(sessions.totals().cached_answers, total);
    prop_assert_eq!(sessions.totals().cached_bytes, 8 * total);
    Ok(())
}
