//! Sessions begin and end.

use zraft_session::{
    Answer, Capabilities, Effect, EndReason, Operation, QueryError, Refusal, Rejected, SessionEnd,
    Settings,
};

use crate::{
    probe::Probe,
    support::{
        Run, answered, command, create, created, end, ended, executed, payload, pushed, session,
        settings,
    },
};

fn refused(name: &str, refusal: Refusal) -> Effect {
    Effect::SessionRefused { session: session(name), refusal }
}

fn create_with(name: &str, capabilities: &[(&str, &str)]) -> Operation {
    let capabilities = zraft_protocol::Capabilities::new(capabilities.iter().copied()).unwrap();
    Operation::CreateSession { session: session(name), capabilities: capabilities.into() }
}

#[test]
fn session_has_the_id_that_the_entry_carries() {
    let mut run = Run::new(Probe::default());
    assert_eq!(run.apply(create("from-the-leader")), [created("from-the-leader")]);
    assert!(run.machine.sessions().contains(&session("from-the-leader")));
    assert_eq!(run.query("from-the-leader", "notes"), b"+from-the-leader");
}

#[test]
fn session_id_that_exists_is_refused_and_the_session_stays() {
    let mut run = Run::with_sessions(Probe::default(), &["a"]);
    run.command("a", 1, "echo x");
    assert_eq!(run.apply(create("a")), [refused("a", Refusal::DuplicateId)]);
    assert_eq!(
        run.command("a", 1, "echo x"),
        [answered("a", 1, Answer::Cached(Some(payload("x"))))]
    );
}

#[test]
fn sessions_beyond_the_setting_are_refused() {
    let mut run = Run::with_sessions(Probe::default(), &["a", "b"]);
    run.apply(settings(Settings { sessions: 2, ..Settings::default() }));
    assert_eq!(run.apply(create("c")), [refused("c", Refusal::TooManySessions)]);
    assert_eq!(run.query("a", "notes"), b"+a +b");
    run.apply(end("a", EndReason::Closed));
    assert_eq!(run.apply(create("c")), [created("c")]);
}

#[test]
fn application_can_refuse_a_session_by_its_capabilities() {
    let mut run = Run::with_sessions(Probe::default(), &["a"]);
    let steps = ("steps", "push a never;push b never;end a");
    let effects = run.apply(create_with("b", &[("reject", ""), steps]));
    assert_eq!(effects, [refused("b", Refusal::Application)]);
    assert!(!run.machine.sessions().contains(&session("b")));
    assert_eq!(run.machine.sessions().totals().server_requests, 0);
    assert_eq!(run.query("a", "notes"), b"+a", "the application hears of no end");
    assert_eq!(run.apply(create("b")), [created("b")], "the id is still free");
}

#[test]
fn application_can_push_to_a_session_as_it_is_created() {
    let mut run = Run::new(Probe::default());
    let effects = run.apply(create_with("b", &[("steps", "push b hello")]));
    assert_eq!(effects, [created("b"), pushed("b", 1, "hello")]);
}

#[test]
fn each_reason_of_an_end_reaches_application_and_leader() {
    let reasons = [
        (EndReason::Closed, SessionEnd::Closed),
        (EndReason::Expired, SessionEnd::Expired),
        (EndReason::Abandoned, SessionEnd::Abandoned),
        (EndReason::CacheOverrun, SessionEnd::CacheOverrun),
        (EndReason::Removed, SessionEnd::Removed),
    ];
    for (reason, end_) in reasons {
        let mut run = Run::with_sessions(Probe::default(), &["a", "b"]);
        assert_eq!(run.apply(end("b", reason)), [ended("b", end_)]);
        assert_eq!(run.query("a", "notes"), format!("+a +b -b {end_:?}").as_bytes());
    }
}

#[test]
fn end_of_a_session_that_is_gone_does_nothing() {
    let mut run = Run::with_sessions(Probe::default(), &["a"]);
    run.apply(end("a", EndReason::Closed));
    assert_eq!(run.apply(end("a", EndReason::Expired)), []);
    assert_eq!(run.apply(end("never", EndReason::Expired)), []);
}

#[test]
fn end_of_a_session_frees_what_it_held() {
    let mut run = Run::with_sessions(Probe::default(), &["a"]);
    run.command("a", 1, "push a x");
    run.apply(end("a", EndReason::Closed));
    assert_eq!(run.machine.sessions().totals(), zraft_session::Totals::default());
    assert!(run.machine.sessions().is_empty());
}

#[test]
fn application_can_end_sessions_after_its_answer_and_server_requests() {
    let mut run = Run::with_sessions(Probe::default(), &["a", "b"]);
    assert_eq!(
        run.command("a", 1, "end b;end a;end unknown;push b x"),
        [
            executed("a", 1, "true;true;false;1"),
            pushed("b", 1, "x"),
            ended("b", SessionEnd::Application),
            ended("a", SessionEnd::Application),
        ]
    );
}

#[test]
fn ends_that_cause_ends_come_to_a_stop() {
    let mut run = Run::with_sessions(Probe::default(), &["a", "b", "c", "d"]);
    run.command("a", 1, "onend end a,end b,end c,push d x");
    assert_eq!(
        run.apply(end("a", EndReason::Closed)),
        [
            ended("a", SessionEnd::Closed),
            pushed("d", 1, "x"),
            ended("b", SessionEnd::Application),
            pushed("d", 2, "x"),
            ended("c", SessionEnd::Application),
            pushed("d", 3, "x"),
        ]
    );
}

#[test]
fn ended_session_is_gone_when_the_application_hears_of_it() {
    let mut run = Run::with_sessions(Probe::default(), &["a", "b"]);
    run.command("b", 1, "onend push a x,push b y");
    let effects = run.apply(end("a", EndReason::Closed));
    assert_eq!(effects, [ended("a", SessionEnd::Closed), pushed("b", 1, "y")]);
}

#[test]
fn query_of_a_session_that_is_gone_is_an_error() {
    let mut run = Run::with_sessions(Probe::default(), &["a"]);
    run.apply(end("a", EndReason::Closed));
    let error = run.machine.query(&session("a"), &payload("notes")).unwrap_err();
    assert_eq!(error, QueryError::NoSession);
}

#[test]
fn rejected_query_is_an_error() {
    let run = Run::with_sessions(Probe::default(), &["a"]);
    let error = run.machine.query(&session("a"), &payload("nonsense")).unwrap_err();
    assert_eq!(error, QueryError::Rejected(Rejected::without_answer()));
}

#[test]
fn query_answer_longer_than_the_setting_is_an_error() {
    let mut run = Run::with_sessions(Probe::default(), &["a"]);
    run.apply(settings(Settings { payload_bytes: 20, ..Settings::default() }));
    assert_eq!(run.query("a", "repeat 20"), [b'x'; 20]);
    let error = run.machine.query(&session("a"), &payload("repeat 21")).unwrap_err();
    assert_eq!(error, QueryError::TooLong { length: 21, limit: 20 });
}

#[test]
fn reserved_query_does_not_reach_the_application() {
    let run = Run::with_sessions(Probe::default(), &["a"]);
    let question = zraft_protocol::reserved::members_question();
    assert_eq!(run.machine.query(&session("a"), &question), Err(QueryError::Reserved));
    assert_eq!(run.machine.query(&session("b"), &question), Err(QueryError::NoSession));
}

#[test]
fn query_sees_its_session_the_time_the_index_and_the_level() {
    let mut run = Run::with_sessions(Probe::default(), &["a"]);
    run.apply(settings(Settings { application_level: 2, ..Settings::default() }));
    assert_eq!(run.query("a", "context"), b"a 1000000 2 2");
}

#[test]
fn command_sees_the_index_and_which_sessions_exist() {
    let mut run = Run::with_sessions(Probe::default(), &["a"]);
    assert_eq!(
        run.apply(command("a", 1, 1, "index;has a;has b")),
        [executed("a", 1, "2;true;false")]
    );
}

#[test]
fn capabilities_without_a_name_keep_the_others_and_may_be_empty() {
    let both = zraft_protocol::Capabilities::new([("token", "t"), ("user", "u")]).unwrap();
    let both = Capabilities::from(both);
    assert_eq!((both.len(), both.get("token")), (2, Some("t")));
    let one = both.without("token");
    assert_eq!(one.iter().collect::<Vec<_>>(), [("user", "u")]);
    assert_eq!(one.get("token"), None);
    assert_eq!(one.without("user"), Capabilities::none());
    assert!(one.without("user").is_empty());
    assert_eq!(one.without("absent"), one);
    assert_eq!(both.without_token(), one);
}
