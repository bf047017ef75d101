use zraft_kv::{Command, GetResult, Key, Notification, Query, Value};
use zraft_session::{
    EndReason, Operation, QueryError, Rejected, SessionEnd, Settings, applications::KvStore,
};

use crate::support::{
    Run, end, ended, executed, payload, pushed, rejected_because, session, settings, time,
};

const FIVE_MINUTES: u64 = 300_000;

fn key(text: &str) -> Key {
    text.try_into().unwrap()
}

fn value(text: &str) -> Value {
    text.try_into().unwrap()
}

fn set(to: &str, text: &str) -> Vec<u8> {
    Command::Set { key: key(to), value: value(text) }.encode().to_vec()
}

fn watch(text: &str) -> Vec<u8> {
    Command::Watch { key: key(text) }.encode().to_vec()
}

fn notification(of: &str, text: &str) -> Vec<u8> {
    Notification { key: key(of), value: value(text) }.encode().to_vec()
}

fn get(run: &Run<KvStore>, text: &str) -> Option<String> {
    let query = Query::Get { key: key(text) }.encode();
    let answer = GetResult::decode(&run.query("a", query).into()).unwrap();
    answer.value.map(|value| value.to_string())
}

#[test]
fn value_that_was_set_is_read_back() {
    let mut run = Run::with_sessions(KvStore::new(), &["a"]);
    assert_eq!(get(&run, "k"), None);
    assert_eq!(run.command("a", 1, set("k", "v")), [executed("a", 1, "")]);
    assert_eq!(get(&run, "k").as_deref(), Some("v"));
    run.command("a", 2, set("k", "w"));
    assert_eq!(get(&run, "k").as_deref(), Some("w"));
    assert_eq!(run.machine.application().len(), 1);
    assert_eq!(run.machine.application().get(&key("k")), Some(&value("w")));
}

#[test]
fn watch_notifies_of_the_value_at_once_and_of_every_set_after_its_answer() {
    let mut run = Run::with_sessions(KvStore::new(), &["a", "b"]);
    assert_eq!(run.command("b", 1, watch("k")), [executed("b", 1, "")]);
    assert_eq!(
        run.command("a", 1, set("k", "v")),
        [executed("a", 1, ""), pushed("b", 1, notification("k", "v"))]
    );
    assert_eq!(
        run.command("a", 2, watch("k")),
        [executed("a", 2, ""), pushed("a", 1, notification("k", "v"))]
    );
    assert_eq!(
        run.command("a", 3, set("k", "w")),
        [
            executed("a", 3, ""),
            pushed("a", 2, notification("k", "w")),
            pushed("b", 2, notification("k", "w")),
        ]
    );
    assert_eq!(run.command("a", 4, set("other", "w")), [executed("a", 4, "")]);
}

#[test]
fn watching_a_key_again_is_one_watch_and_notifies_of_the_value_again() {
    let mut run = Run::with_sessions(KvStore::new(), &["a"]);
    run.command("a", 1, set("k", "v"));
    run.command("a", 2, watch("k"));
    let again = [executed("a", 3, ""), pushed("a", 2, notification("k", "v"))];
    assert_eq!(run.command("a", 3, watch("k")), again);
    let once = [executed("a", 4, ""), pushed("a", 3, notification("k", "w"))];
    assert_eq!(run.command("a", 4, set("k", "w")), once);
}

#[test]
fn watches_end_with_their_session_and_survive_a_restore() {
    let mut run = Run::with_sessions(KvStore::new(), &["a", "b", "c"]);
    for name in ["b", "c"] {
        run.command(name, 1, watch("k"));
    }
    let mut run = run.restored();
    run.apply(end("b", EndReason::Expired));
    let effects = run.command("a", 1, set("k", "v"));
    assert_eq!(effects, [executed("a", 1, ""), pushed("c", 1, notification("k", "v"))]);
    // The last watch of a key leaves nothing behind.
    let mut fresh = Run::with_sessions(KvStore::with_limit(2000), &["a", "b"]);
    for name in (0..50).map(|number| format!("s{number}")) {
        fresh.apply(crate::support::create(&name));
        assert_eq!(fresh.command(&name, 1, watch("k")), [executed(&name, 1, "")]);
        fresh.apply(end(&name, EndReason::Closed));
    }
}

#[test]
fn watcher_that_does_not_keep_up_is_ended() {
    let mut run = Run::with_sessions(KvStore::new(), &["a", "b"]);
    run.apply(settings(Settings { server_requests: 1, ..Settings::default() }));
    run.command("b", 1, watch("k"));
    run.command("a", 1, set("k", "v"));
    assert_eq!(
        run.command("a", 2, set("k", "w")),
        [executed("a", 2, ""), ended("b", SessionEnd::ServerRequestsFull)]
    );
    assert_eq!(run.command("a", 3, set("k", "x")), [executed("a", 3, "")]);
}

#[test]
fn keys_that_no_session_watches_are_removed_every_five_minutes() {
    let mut run = Run::with_sessions(KvStore::new(), &["a"]);
    assert_eq!(run.machine.next_tick(), None, "an empty store waits for nothing");
    run.command("a", 1, set("watched", "v"));
    run.command("a", 2, set("plain", "v"));
    run.command("a", 3, watch("watched"));
    assert_eq!(run.machine.next_tick(), Some(time(run.now + FIVE_MINUTES)));
    run.now += FIVE_MINUTES - 1;
    run.apply(Operation::Tick);
    assert_eq!(get(&run, "plain").as_deref(), Some("v"));
    run.now += 1;
    run.apply(Operation::Tick);
    assert_eq!((get(&run, "plain"), get(&run, "watched").as_deref()), (None, Some("v")));
    assert_eq!(run.machine.next_tick(), Some(time(run.now + FIVE_MINUTES)));
    run.apply(end("a", EndReason::Closed));
    run.now += FIVE_MINUTES;
    run.apply(Operation::Tick);
    assert!(run.machine.application().is_empty());
    assert_eq!(run.machine.next_tick(), None);
}

#[test]
fn removal_keeps_its_rhythm_while_the_store_is_empty() {
    let mut run = Run::with_sessions(KvStore::new(), &["a"]);
    let started = run.now;
    run.now = started + 3 * FIVE_MINUTES - 1;
    run.command("a", 1, set("k", "v"));
    assert_eq!(run.machine.next_tick(), Some(time(started + 3 * FIVE_MINUTES)));
    run.now += 1;
    run.apply(Operation::Tick);
    assert_eq!(get(&run, "k"), None, "a millisecond after its Set");
    let mut run = run.restored();
    run.command("a", 2, set("k", "v"));
    assert_eq!(run.machine.next_tick(), Some(time(started + 4 * FIVE_MINUTES)));
}

#[test]
fn command_beyond_the_limit_is_rejected_until_there_is_room() {
    let mut run = Run::with_sessions(KvStore::with_limit(600), &["a"]);
    let rejected = |id| [rejected_because("a", id, "the application is full")];
    assert_eq!(run.command("a", 1, set("k", &"v".repeat(100))), [executed("a", 1, "")]);
    assert_eq!(run.command("a", 2, set("l", &"v".repeat(100))), rejected(2));
    assert_eq!(run.command("a", 3, watch("k")), rejected(3));
    assert_eq!(get(&run, "l"), None);
    let mut run = run.restored();
    assert_eq!(run.command("a", 4, set("k", "v")), [executed("a", 4, "")]);
    assert_eq!(run.command("a", 5, set("l", "v")), [executed("a", 5, "")]);
    assert_eq!(run.command("a", 6, set("m", "v")), rejected(6));
    // A purge makes room.
    run.now += FIVE_MINUTES;
    assert_eq!(run.command("a", 7, set("m", "v")), [executed("a", 7, "")]);
}

#[test]
fn payload_of_another_encoding_is_rejected() {
    let mut run = Run::with_sessions(KvStore::new(), &["a"]);
    let effects = run.command("a", 1, "nonsense");
    let reason = "the application cannot decode this payload";
    assert_eq!(effects, [rejected_because("a", 1, reason)]);
    let error = run.machine.query(&session("a"), &payload("nonsense")).unwrap_err();
    assert_eq!(error, QueryError::Rejected(Rejected::without_answer().because(reason)));
    assert_eq!(error.to_string(), reason);
}
