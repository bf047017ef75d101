//! The statistics of a client.

use std::time::Duration;

use crate::common::*;
use zraft_core::{Latency, OnSessionExpired, RequestKind, Stats, Timeout};
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
    // One line for each field, in the order of the struct, and at the end the latencies.
    let shown = format!("{stats:#?}");
    let fields: Vec<_> = shown
        .lines()
        .filter_map(|line| line.strip_prefix("    ")?.split_once(": "))
        .filter(|(field, _)| !field.starts_with(' '))
        .map(|(field, _)| field)
        .take_while(|field| *field != "latency")
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

#[test]
fn latency_counts_from_the_submission_to_the_answer_and_by_kind() {
    let (mut world, conn) = World::connected(single().max_in_flight(1));
    world.command("sent at once");
    world.command("waits in the queue");
    world.advance(millis(10));
    world.answer(conn, 1, "ok");
    world.advance(millis(20));
    world.answer(conn, 2, "ok");
    world.query("q");
    let query = correlation_ids(&world.all_received(conn)).pop().unwrap();
    world.advance(millis(40));
    world.answer_query(conn, &query, "ok");
    let Latency { commands, queries, .. } = world.machine.stats().latency();
    assert_eq!((commands.count(), queries.count()), (2, 1));
    let near = |time: Option<Duration>, expected: u64| {
        let micros = time.unwrap().as_micros() as f64;
        assert!((micros / (expected * 1000) as f64 - 1.0).abs() < 0.01, "{micros} {expected}");
    };
    near(commands.min(), 10);
    near(commands.mean(), 20);
    near(commands.max(), 30);
    near(commands.value_at_quantile(0.5), 10);
    near(commands.value_at_quantile(0.99), 30);
    near(queries.value_at_quantile(0.0), 40);
}

#[test]
fn latency_of_a_request_that_fails_or_whose_answer_comes_too_late_is_not_counted() {
    let (mut world, conn) = World::connected(single());
    world.peer(conn).answers_keep_alives = true;
    world.submit(RequestKind::Command, "late", Timeout::After(seconds(1)));
    world.submit(RequestKind::Query, "never", Timeout::After(seconds(1)));
    world.command("evicted");
    world.advance(seconds(1));
    world.answer(conn, 1, "ok");
    world.evicted(conn, 2);
    let stats = world.machine.stats();
    assert_eq!((stats.answered, stats.unknown), (1, 2), "{stats:?}");
    assert_eq!(stats.latency(), Latency::default());
}

#[test]
fn latency_is_in_the_histogram_whether_or_not_messages_are_observed() {
    let (mut world, conn) = World::connected(single());
    for observed in [false, true] {
        world.machine.observe_messages(observed);
        world.command("c");
        world.answer(conn, 1 + u64::from(observed), "ok");
    }
    assert_eq!(world.machine.stats().latency().commands.count(), 2);
}

#[test]
fn statistics_that_were_taken_earlier_read_the_present_latencies() {
    let (mut world, conn) = World::connected(single());
    let before = world.machine.stats();
    world.command("c");
    world.answer(conn, 1, "ok");
    assert_eq!((before.answered, before.latency().commands.count()), (0, 1));
}

#[test]
fn latency_above_an_hour_counts_as_an_hour_and_one_of_no_time_as_0() {
    let (mut world, conn) = World::connected(single().request_timeout(None));
    world.command("a");
    world.answer(conn, 1, "ok");
    world.command("b");
    // As after a suspension of the computer.
    world.now = world.now + seconds(3 * 3600);
    world.answer(conn, 2, "ok");
    let commands = world.machine.stats().latency().commands;
    assert_eq!(commands.min(), Some(Duration::ZERO));
    let max = commands.max().unwrap().as_secs_f64();
    assert!((3600.0..3636.0).contains(&max), "{max}");
}

#[test]
fn quantiles_are_exact_to_one_per_cent() {
    let (mut world, conn) = World::connected(single().max_in_flight(2000));
    for _ in 0..1000 {
        world.command("c");
    }
    for id in 1..=1000 {
        world.advance(millis(1));
        world.answer(conn, id, "ok");
    }
    let commands = world.machine.stats().latency().commands;
    let millis_at = |quantile| commands.value_at_quantile(quantile).unwrap().as_secs_f64() * 1e3;
    for (quantile, expected) in
        [(0.001, 1.0), (0.5, 500.0), (0.9, 900.0), (0.99, 990.0), (1.0, 1000.0)]
    {
        assert!((millis_at(quantile) / expected - 1.0).abs() < 0.01, "{quantile}");
    }
    assert_eq!(millis_at(-1.0), millis_at(0.0));
    assert_eq!(millis_at(2.0), millis_at(1.0));
    let named = commands.figures();
    let names = ["count", "min", "mean", "max", "p50", "p90", "p99", "p999"];
    assert_eq!(named.map(|(name, _)| name), names);
    assert_eq!(named[6].1, Some(millis_at(0.99)));
    assert!(named[7].1 <= named[3].1 && named[1].1 <= named[2].1, "{commands:?}");
}

#[test]
fn latencies_of_an_interval_are_the_difference_of_two_histograms() {
    let (mut world, conn) = World::connected(single());
    world.command("a");
    world.advance(millis(100));
    world.answer(conn, 1, "ok");
    let before = world.machine.stats().latency();
    for id in 2..4 {
        world.command("b");
        world.advance(millis(1));
        world.answer(conn, id, "ok");
    }
    let after = world.machine.stats().latency();
    let between = after.since(&before).unwrap();
    assert_eq!((between.commands.count(), between.queries.count()), (2, 0));
    assert!(between.commands.max() < Some(millis(2)), "{between:?}");
    assert_eq!(after.since(&Latency::default()), Some(after.clone()));
    assert_eq!(after.since(&after).unwrap().commands.max(), None);
    assert_eq!(before.since(&after), None, "the arguments are the wrong way round");
}
