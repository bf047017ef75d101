//! The statistics of a client.

use crate::common::*;
use zraft_core::{OnSessionExpired, RequestKind, Stats, Timeout};
use zraft_protocol::SessionCloseReason;

#[test]
fn bytes_are_counted_during_a_connection_and_stay_counted_after_it() {
    let (mut world, conn) = World::connected(single());
    let connected = world.machine.stats();
    assert!(connected.bytes_in > 64 && connected.bytes_out > 64, "{connected:?}");
    world.command("a payload of 24 bytes...");
    let sent = world.machine.stats();
    // The payload, the headers of frame and message, two ids, a length and a timestamp.
    assert_eq!(sent.bytes_out, connected.bytes_out + 2 + 7 + 16 + 4 + 24 + 8);
    assert_eq!(sent.bytes_in, connected.bytes_in);
    world.answer(conn, 1, "ok");
    let answered = world.machine.stats();
    assert_eq!(answered.bytes_in, sent.bytes_in + 2 + 7 + 8 + 4 + 2);
    world.reset(conn);
    let lost = world.machine.stats();
    assert_eq!((lost.bytes_in, lost.bytes_out), (answered.bytes_in, answered.bytes_out));
    let conn = world.resumed();
    let resumed = world.machine.stats();
    assert!(resumed.bytes_in > lost.bytes_in && resumed.bytes_out > lost.bytes_out);
    world.answer(conn, 9, "unmatched");
    assert_eq!(world.machine.stats().unmatched, 1);
}

#[test]
fn a_command_counts_as_unknown_once_and_a_query_never_does() {
    // Its caller gives up first, and the client later.
    let (mut world, conn) = World::connected(single().detached_timeout(seconds(5)));
    world.peer(conn).answers_keep_alives = true;
    world.submit(RequestKind::Command, "c", Timeout::After(seconds(1)));
    world.submit(RequestKind::Query, "q", Timeout::After(seconds(1)));
    world.advance(seconds(1));
    assert_eq!(world.machine.stats().unknown, 1);
    world.advance(seconds(60));
    assert_eq!((world.machine.stats().detached, world.machine.stats().unknown), (0, 1));
    // The session ends while the caller waits.
    let config = single().on_session_expired(OnSessionExpired::Terminate);
    let (mut world, conn) = World::connected(config);
    world.command("c");
    world.query("q");
    world.closed(conn, SessionCloseReason::SessionExpired, None);
    let stats = world.machine.stats();
    assert_eq!((stats.unknown, stats.answered, stats.not_executed), (1, 0, 0));
}

#[test]
fn an_unusable_answer_to_a_query_counts_as_its_answer_and_to_a_command_as_unknown() {
    let (mut world, conn) = World::connected(single());
    world.query("q");
    world.command("c");
    let query = correlation_ids(&world.all_received(conn)).pop().unwrap();
    // Both answers announce a payload and end before it.
    let length = (query.as_bytes().len() as u16).to_be_bytes();
    let cut = [b"zraft\x01\x09".as_slice(), &length, query.as_bytes(), &[0, 0, 0, 9]].concat();
    world.say_bytes(conn, &cut);
    let stats = world.machine.stats();
    assert_eq!((stats.answered, stats.unknown, stats.protocol_errors), (1, 0, 1));
    let cut = [b"zraft\x01\x06".as_slice(), &1_u64.to_be_bytes(), &[0, 0, 0, 9]].concat();
    world.say_bytes(conn, &cut);
    let stats = world.machine.stats();
    assert_eq!((stats.answered, stats.unknown, stats.protocol_errors), (1, 1, 2));
}

#[test]
fn a_detached_command_with_an_unusable_late_answer_is_not_counted_as_unknown_again() {
    let (mut world, conn) = World::connected(single());
    let key = world.command("c");
    world.machine.cancel(world.now, key);
    assert_eq!(world.machine.stats().unknown, 1);
    world.evicted(conn, 1);
    assert!(matches!(world.resolution(key), Some(Err(_))));
    let stats = world.machine.stats();
    assert_eq!((stats.unknown, stats.answered, stats.detached), (1, 0, 0));
}

#[test]
fn each_figure_has_the_name_and_the_value_of_its_field() {
    let mut stats = Stats::default();
    stats.sent = 1;
    stats.resent = 2;
    stats.answered = 3;
    stats.unknown = 4;
    stats.unmatched = 5;
    stats.not_executed = 6;
    stats.in_flight = 7;
    stats.detached = 8;
    stats.queued = 9;
    stats.queued_bytes = 10;
    stats.reconnects = 11;
    stats.orphans = 12;
    stats.smoothed_answer = Some(millis(13));
    stats.server_requests = 14;
    stats.duplicates = 15;
    stats.protocol_errors = 16;
    stats.bytes_in = 17;
    stats.bytes_out = 18;
    // One line for each field, in the order of the struct.
    let shown = format!("{stats:#?}");
    let fields: Vec<_> = shown
        .lines()
        .filter_map(|line| line.strip_prefix("    ")?.split_once(": "))
        .filter(|(field, _)| !field.starts_with(' '))
        .map(|(field, _)| field)
        .collect();
    let figures = stats.figures();
    assert_eq!(fields.len(), figures.len());
    for (n, (field, (name, value))) in fields.into_iter().zip(figures).enumerate() {
        let mut words = field.split('_');
        let mut camel = words.next().unwrap().to_owned();
        for word in words {
            camel.push_str(&word[..1].to_uppercase());
            camel.push_str(&word[1..]);
        }
        assert_eq!((name, value), (camel.as_str(), Some((n + 1) as f64)));
    }
}

#[test]
fn a_request_counts_as_sent_once_as_resent_for_each_further_copy_and_as_answered_by_its_answer() {
    let (mut world, conn) = World::connected(single());
    world.peer(conn).answers_keep_alives = true;
    world.command("c");
    world.query("q");
    let stats = world.machine.stats();
    assert_eq!((stats.sent, stats.resent, stats.in_flight), (2, 0, 2));
    world.advance(seconds(4));
    let resent = world.machine.stats().resent;
    assert!(resent >= 1, "after the resend interval");
    world.reset(conn);
    let conn = world.resumed();
    let stats = world.machine.stats();
    assert_eq!((stats.sent, stats.reconnects), (2, 1), "a copy on another connection is a copy");
    world.answer(conn, 1, "ok");
    world.answer(conn, 1, "ok");
    let stats = world.machine.stats();
    assert_eq!((stats.answered, stats.unmatched, stats.in_flight), (1, 1, 1));
}
