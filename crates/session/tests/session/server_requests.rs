//! Requests that the application makes of clients.

use zraft_session::{Acknowledgement, EndReason, Operation, Session, SessionEnd, Settings};

use crate::{
    probe::Probe,
    support::{
        Run, acknowledge, command, end, ended, executed, id, payload, pushed, session, settings,
    },
};

fn limited(requests: u32, bytes: u64, total_requests: u64, total_bytes: u64) -> Run<Probe> {
    let mut run = Run::with_sessions(Probe::default(), &["a", "b"]);
    run.apply(settings(Settings {
        server_requests: requests,
        server_request_bytes: bytes,
        total_server_requests: total_requests,
        total_server_request_bytes: total_bytes,
        ..Settings::default()
    }));
    run
}

fn waiting(run: &Run<Probe>, name: &str) -> Vec<u64> {
    let session = run.machine.sessions().get(&session(name)).unwrap();
    session.redelivery().map(|request| request.id.get()).collect()
}

#[test]
fn server_requests_are_numbered_per_session_and_follow_the_answer_in_order() {
    let mut run = Run::with_sessions(Probe::default(), &["a", "b"]);
    assert_eq!(
        run.command("a", 1, "push b x;push a y;push b z"),
        [executed("a", 1, "1;1;2"), pushed("b", 1, "x"), pushed("a", 1, "y"), pushed("b", 2, "z")]
    );
    assert_eq!(run.command("a", 2, "push b w"), [executed("a", 2, "3"), pushed("b", 3, "w")]);
}

#[test]
fn push_to_a_session_that_does_not_exist_is_an_error() {
    let mut run = Run::with_sessions(Probe::default(), &["a", "b"]);
    run.apply(end("b", EndReason::Closed));
    let effects = run.command("a", 1, "push b x;try b x;push c x");
    assert_eq!(effects, [executed("a", 1, "NoSession;NoSession;NoSession")]);
}

#[test]
fn acknowledgement_drops_everything_up_to_it() {
    let mut run = Run::with_sessions(Probe::default(), &["a"]);
    run.command("a", 1, "push a 1;push a 22;push a 333");
    assert_eq!(run.apply(acknowledge("a", 2)), []);
    assert_eq!(waiting(&run, "a"), [3]);
    let state = run.machine.sessions().get(&session("a")).unwrap();
    assert_eq!((state.unacknowledged(), state.unacknowledged_bytes()), (1, 3));
    assert_eq!((state.acknowledged(), state.last_server_request()), (id(2), id(3)));
    let totals = run.machine.sessions().totals();
    assert_eq!((totals.server_requests, totals.server_request_bytes), (1, 3));
    // An older one changes nothing.
    run.apply(acknowledge("a", 1));
    assert_eq!(waiting(&run, "a"), [3]);
}

#[test]
fn application_can_ask_how_many_requests_a_session_has_not_acknowledged() {
    let mut run = Run::with_sessions(Probe::default(), &["a"]);
    // Requests of the same call are not among them.
    let effects = run.command("a", 1, "push a x;push a y;count a;count b");
    assert_eq!(effects[0], executed("a", 1, "1;2;Some(0);None"));
    assert_eq!(run.command("a", 2, "count a"), [executed("a", 2, "Some(2)")]);
    run.apply(acknowledge("a", 1));
    assert_eq!(run.command("a", 3, "count a"), [executed("a", 3, "Some(1)")]);
}

#[test]
fn acknowledgement_past_the_last_server_request_does_not_reach_later_ones() {
    let mut run = Run::with_sessions(Probe::default(), &["a"]);
    run.command("a", 1, "push a x");
    run.apply(acknowledge("a", 1000));
    assert_eq!(run.command("a", 2, "push a y"), [executed("a", 2, "2"), pushed("a", 2, "y")]);
    assert_eq!(waiting(&run, "a"), [2]);
}

#[test]
fn one_entry_acknowledges_for_many_sessions_and_skips_those_that_are_gone() {
    let mut run = Run::with_sessions(Probe::default(), &["a", "b"]);
    run.command("a", 1, "push a x;push b x;push b y");
    let each = [("a", 1), ("gone", 1), ("b", 2)];
    let each =
        each.map(|(name, up_to)| Acknowledgement { session: session(name), up_to: id(up_to) });
    run.apply(Operation::Acknowledge(each.to_vec()));
    assert_eq!((waiting(&run, "a"), waiting(&run, "b")), (vec![], vec![]));
}

#[test]
fn push_beyond_the_limit_returns_full_and_ends_the_session() {
    let mut run = limited(2, 1000, 1000, 1000);
    assert_eq!(
        run.command("a", 1, "push b 1;push b 2;push b 3;push a x"),
        [
            executed("a", 1, "1;2;Full;1"),
            pushed("b", 1, "1"),
            pushed("b", 2, "2"),
            pushed("a", 1, "x"),
            ended("b", SessionEnd::ServerRequestsFull),
        ]
    );
    assert_eq!(run.query("a", "notes"), b"+a +b a/1 -b ServerRequestsFull");
    assert_eq!(run.machine.sessions().totals().server_requests, 1);
}

#[test]
fn session_that_does_not_keep_up_with_its_own_commands_still_gets_the_answer() {
    let mut run = limited(1, 1000, 1000, 1000);
    assert_eq!(
        run.command("a", 1, "push a 1;push a 2"),
        [
            executed("a", 1, "1;Full"),
            pushed("a", 1, "1"),
            ended("a", SessionEnd::ServerRequestsFull),
        ]
    );
}

#[test]
fn try_push_beyond_the_limit_returns_full_and_lets_the_session_live() {
    let mut run = limited(1, 1000, 1000, 1000);
    assert_eq!(
        run.command("a", 1, "try b 1;try b 2"),
        [executed("a", 1, "1;Full"), pushed("b", 1, "1")]
    );
    run.apply(acknowledge("b", 1));
    assert_eq!(run.command("a", 2, "try b 3"), [executed("a", 2, "2"), pushed("b", 2, "3")]);
}

#[test]
fn bytes_of_server_requests_are_limited() {
    let mut run = limited(1000, 5, 1000, 1000);
    let said = run.command("a", 1, "try b 123;try b 456;try b 45;try b ");
    assert_eq!(said[0], executed("a", 1, "1;Full;2;3"));
}

#[test]
fn server_requests_of_all_sessions_together_are_limited() {
    let mut run = limited(1000, 1000, 2, 1000);
    assert_eq!(run.command("a", 1, "try a 1;try b 2;try b 3")[0], executed("a", 1, "1;1;Full"));
    run.apply(acknowledge("a", 1));
    assert_eq!(run.command("a", 2, "try b 3")[0], executed("a", 2, "2"));
    // What a session held is free once it has ended.
    run.apply(end("b", EndReason::Closed));
    assert_eq!(run.command("a", 3, "try a 1;try a 2;try a 3")[0], executed("a", 3, "2;3;Full"));

    let mut run = limited(1000, 1000, 1000, 4);
    let said = run.command("a", 1, "try a 123;try b 45;try b 4");
    assert_eq!(said[0], executed("a", 1, "1;Full;1"));
}

#[test]
fn server_request_longer_than_the_setting_is_an_error_and_ends_nothing() {
    let mut run = Run::with_sessions(Probe::default(), &["a", "b"]);
    // The step that makes the request was set while the limit was higher.
    run.command("a", 1, "onend push a 123456789,push a 1234567890");
    run.apply(settings(Settings { payload_bytes: 9, ..Settings::default() }));
    assert_eq!(
        run.apply(end("b", EndReason::Closed)),
        [ended("b", SessionEnd::Closed), pushed("a", 1, "123456789")]
    );
    assert_eq!(run.machine.sessions().len(), 1);
}

#[test]
fn lowered_limit_drops_nothing_and_refuses_what_is_new() {
    let mut run = limited(3, 1000, 1000, 1000);
    run.command("a", 1, "try b 1;try b 2;try b 3");
    run.apply(settings(Settings { server_requests: 1, ..Settings::default() }));
    assert_eq!(waiting(&run, "b"), [1, 2, 3]);
    run.apply(acknowledge("b", 2));
    assert_eq!(run.command("a", 2, "try b 4")[0], executed("a", 2, "Full"));
    run.apply(acknowledge("b", 3));
    assert_eq!(run.command("a", 3, "try b 4")[0], executed("a", 3, "4"));
}

#[test]
fn redelivery_begins_at_the_lowest_unacknowledged_and_holds_512_requests() {
    let mut run = Run::with_sessions(Probe::default(), &["a"]);
    run.command("a", 1, "push a x;".repeat(600));
    let expected = |from: u64| (from..from + 512).collect::<Vec<_>>();
    assert_eq!(waiting(&run, "a"), expected(1));
    run.apply(acknowledge("a", 7));
    assert_eq!(waiting(&run, "a"), expected(8));
    run.apply(acknowledge("a", 599));
    assert_eq!(waiting(&run, "a"), [600]);
}

#[test]
fn redelivery_holds_8_mib_or_one_longer_request() {
    let mut run = Run::with_sessions(Probe::default(), &["a"]);
    let mib = "m".repeat(1 << 20);
    let long = "l".repeat(Session::MAX_REDELIVERY_BYTES + 1);
    for request_id in 1..=9 {
        run.command("a", request_id, format!("push a {mib}"));
    }
    run.command("a", 10, format!("push a {long}"));
    run.command("a", 11, "push a x");
    assert_eq!(waiting(&run, "a"), (1..=8).collect::<Vec<_>>());
    run.apply(acknowledge("a", 8));
    assert_eq!(waiting(&run, "a"), [9]);
    run.apply(acknowledge("a", 9));
    assert_eq!(waiting(&run, "a"), [10]);
}

#[test]
fn redelivered_request_has_the_payload_it_was_made_with() {
    let mut run = Run::with_sessions(Probe::default(), &["a"]);
    run.command("a", 1, "push a first;push a second");
    let session = run.machine.sessions().get(&session("a")).unwrap();
    let payloads: Vec<_> = session.redelivery().map(|request| request.payload).collect();
    assert_eq!(payloads, [payload("first"), payload("second")]);
}

#[test]
fn empty_acknowledge_entry_and_command_after_it_apply() {
    let mut run = Run::with_sessions(Probe::default(), &["a"]);
    assert_eq!(run.apply(Operation::Acknowledge(vec![])), []);
    assert_eq!(run.apply(command("a", 1, 1, "echo x")), [executed("a", 1, "x")]);
}
