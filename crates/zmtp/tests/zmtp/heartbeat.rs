//! Heartbeats: PING, PONG, signs of life and timeouts.

use std::time::Duration;

use crate::common::{
    COMMAND, at, command, events, failure, feed, frame, greeting_of, header, message,
    message_event, open, open_client, open_server, ping, pong, ready, written,
};
use bytes::Buf;
use zraft_zmtp::{Config, Connection, Error, Event, Heartbeat};

const SECOND: Duration = Duration::from_secs(1);

/// Handles all timeouts up to and including `millis`, each at its time. Returns the bytes written.
fn run_until(connection: &mut Connection, millis: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(due) = connection.poll_timeout().filter(|due| *due <= at(millis)) {
        connection.handle_timeout(due);
        assert_ne!(
            connection.poll_timeout(),
            Some(due),
            "the timeout must not be due again at once"
        );
        bytes.extend(written(connection));
    }
    bytes
}

fn beating(interval: Duration, timeout: Duration, ttl: Duration) -> Config {
    Config { heartbeat: Some(Heartbeat { interval, timeout, ttl }), ..Config::client() }
}

/// Handles the timeouts at `millis`. Returns true if the connection did not fail.
fn survives(connection: &mut Connection, millis: u64) -> bool {
    connection.handle_timeout(at(millis));
    events(connection, at(millis)).is_empty()
}

/// Asserts that the connection fails with `error` at `millis` and not a nanosecond earlier.
fn fails_at(connection: &mut Connection, millis: u64, error: &Error) {
    let before = at(millis) - Duration::from_nanos(1);
    connection.handle_timeout(before);
    assert_eq!(events(connection, before), []);
    connection.handle_timeout(at(millis));
    assert_eq!(failure(&events(connection, at(millis))), *error);
}

// ---- our PINGs

#[test]
fn ping_is_sent_at_each_interval_with_ttl_in_tenths_and_no_context() {
    let mut connection = open_client();
    for second in 1..=20 {
        assert_eq!(run_until(&mut connection, second * 1000 - 1), b"");
        assert_eq!(run_until(&mut connection, second * 1000), ping(300, b""), "TTL of 30 s");
        assert_eq!(feed(&mut connection, at(second * 1000 + 5), &pong(b"")), []);
    }
}

#[test]
fn ttl_is_limited_to_1_to_32767_tenths() {
    let tenths = [
        (Duration::ZERO, 1),
        (Duration::from_millis(1), 1),
        (Duration::from_millis(100), 1),
        (Duration::from_secs(30), 300),
        (Duration::from_millis(3_276_700), 32_767),
        (Duration::from_millis(3_276_800), 32_767),
        (Duration::from_secs(7200), 32_767),
        (Duration::MAX, 32_767),
    ];
    for (ttl, expected) in tenths {
        let mut connection = open(beating(SECOND, 10 * SECOND, ttl), at(0));
        assert_eq!(run_until(&mut connection, 1000), ping(expected, b""), "{ttl:?}");
    }
}

#[test]
fn default_ttl_is_three_timeouts() {
    let beat = Heartbeat::with_timeout(SECOND, 10 * SECOND);
    assert_eq!(beat, Heartbeat { interval: SECOND, timeout: 10 * SECOND, ttl: 30 * SECOND });
    assert_eq!(Heartbeat::with_timeout(SECOND, Duration::MAX).ttl, Duration::MAX);
}

#[test]
fn pings_continue_at_the_interval_while_pongs_are_missing() {
    let mut connection = open_client();
    for second in 1..60 {
        // The peer is busy: it sends bytes but no PONG.
        feed(&mut connection, at(second * 1000 - 500), &message(b"life"));
        assert_eq!(run_until(&mut connection, second * 1000), ping(300, b""), "second {second}");
    }
}

#[test]
fn peer_that_enforces_the_ttl_keeps_a_connection_with_late_pongs() {
    let mut client = open(beating(SECOND, 10 * SECOND, 3 * SECOND), at(0));
    let mut server = open_server();
    // Each PONG waits behind a long message on a slow link.
    server.send(&[7; 100_000]).unwrap();
    for tick in 1..=600 {
        let now = at(tick * 100);
        client.handle_timeout(now);
        let bytes = written(&mut client);
        assert_eq!(feed(&mut server, now, &bytes), []);
        assert!(
            survives(&mut server, tick * 100),
            "the server gave up at {tick} tenths of a second"
        );
        let arrives = server.tx().chunk()[..100].to_vec();
        server.tx().advance(100);
        assert_eq!(feed(&mut client, now, &arrives), []);
    }
}

#[test]
fn at_most_one_ping_is_queued() {
    let mut connection = open_client();
    for second in 1..1000 {
        // The peer sends but does not read.
        feed(&mut connection, at(second * 1000 - 500), &message(b"life"));
        connection.handle_timeout(at(second * 1000));
        assert_eq!(connection.tx_queued(), ping(300, b"").len(), "second {second}");
    }
    assert_eq!(written(&mut connection), ping(300, b""));
    assert_eq!(
        run_until(&mut connection, 1_000_000),
        ping(300, b""),
        "PINGs must resume after the write"
    );
}

#[test]
fn later_pings_do_not_extend_the_heartbeat_timeout() {
    let mut connection = open_client();
    assert_eq!(run_until(&mut connection, 9_999), ping(300, b"").repeat(9));
    fails_at(&mut connection, 10_000, &Error::HeartbeatTimeout);
}

#[test]
fn ping_never_has_a_ttl_of_zero() {
    let mut connection = open(beating(SECOND, 10 * SECOND, Duration::ZERO), at(0));
    for second in 1..5 {
        let bytes = run_until(&mut connection, second * 1000);
        assert_eq!(bytes.len(), 2 + 5 + 2);
        assert_ne!(bytes[7..], [0, 0], "JeroMQ fails on a TTL of zero");
        feed(&mut connection, at(second * 1000 + 1), &pong(b""));
    }
}

#[test]
fn heartbeats_do_not_depend_on_the_announced_version() {
    for version in [(3, 0), (3, 1)] {
        let mut connection = Connection::new(Config::client(), at(0));
        let bytes = [greeting_of(version.0, version.1, b"NULL"), ready("SERVER")].concat();
        feed(&mut connection, at(0), &bytes);
        written(&mut connection);
        assert_eq!(run_until(&mut connection, 1000), ping(300, b""));
        fails_at(&mut connection, 10_000, &Error::HeartbeatTimeout);

        let mut connection = Connection::new(Config::client(), at(0));
        feed(&mut connection, at(0), &bytes);
        written(&mut connection);
        feed(&mut connection, at(1), &ping(0, b"context"));
        assert_eq!(written(&mut connection), pong(b"context"));
    }
}

#[test]
fn disabled_heartbeat_sends_nothing_and_sets_no_timer() {
    let mut connection = open(crate::common::quiet_client(), at(0));
    assert_eq!(connection.poll_timeout(), None);
    assert!(survives(&mut connection, 1_000_000_000));
    assert_eq!(written(&mut connection), b"");
}

// ---- signs of life

#[test]
fn heartbeat_timeout_runs_from_the_last_received_byte() {
    let mut connection = open_client();
    feed(&mut connection, at(2_345), &message(b"last"));
    run_until(&mut connection, 12_344);
    fails_at(&mut connection, 12_345, &Error::HeartbeatTimeout);
    assert_eq!(connection.last_received(), at(2_345));
    assert_eq!(connection.poll_timeout(), None);
}

#[test]
fn heartbeat_timeout_fires_when_handle_timeout_is_called_only_when_due() {
    let mut connection = open_client();
    let mut due = at(0);
    while let Some(next) = connection.poll_timeout() {
        assert!(next > due);
        due = next;
        connection.handle_timeout(due);
    }
    assert_eq!(due, at(10_000));
    assert_eq!(failure(&events(&mut connection, due)), Error::HeartbeatTimeout);
}

#[test]
fn any_byte_of_a_slow_frame_is_a_sign_of_life() {
    let mut connection = open_client();
    let bytes = message(&vec![1; 1 << 20]);
    // One byte every nine seconds, then the rest: no PONG and no whole frame for minutes.
    let (slow, rest) = bytes.split_at(40);
    for (byte, count) in slow.iter().zip(1..) {
        assert_eq!(feed(&mut connection, at(count * 9_000), &[*byte]), []);
        run_until(&mut connection, count * 9_000 + 8_999);
        assert!(survives(&mut connection, count * 9_000 + 8_999));
    }
    let last = 41 * 9_000;
    assert_eq!(feed(&mut connection, at(last), rest), [message_event(bytes[9..].to_vec())]);
    fails_at(&mut connection, last + 10_000, &Error::HeartbeatTimeout);
}

#[test]
fn any_byte_of_a_command_is_a_sign_of_life() {
    let mut connection = open_client();
    let bytes = pong(b"");
    for (byte, count) in bytes.iter().zip(1..) {
        feed(&mut connection, at(count * 9_999), &[*byte]);
        assert!(survives(&mut connection, count * 9_999));
    }
}

#[test]
fn bytes_are_a_sign_of_life_before_events_are_polled() {
    let mut connection = open_client();
    connection.handle_bytes(at(9_999), &message(b"m"));
    connection.handle_timeout(at(19_998));
    assert_eq!(events(&mut connection, at(19_998)), [message_event("m")]);
    fails_at(&mut connection, 19_999, &Error::HeartbeatTimeout);
}

#[test]
fn our_own_writes_are_no_sign_of_life() {
    let mut connection = open_client();
    for millis in (100..10_000).step_by(100) {
        connection.send(b"are you there").unwrap();
        connection.handle_timeout(at(millis));
        written(&mut connection);
    }
    fails_at(&mut connection, 10_000, &Error::HeartbeatTimeout);
}

#[test]
fn empty_read_does_not_count_as_a_sign_of_life() {
    let mut connection = open_client();
    for millis in (100..10_000).step_by(100) {
        connection.handle_received(at(millis));
        assert_eq!(events(&mut connection, at(millis)), []);
    }
    fails_at(&mut connection, 10_000, &Error::HeartbeatTimeout);
}

// ---- the peer's PINGs

#[test]
fn pong_repeats_up_to_16_bytes_of_context() {
    let mut connection = open_server();
    for length in 0..=16 {
        let context: Vec<u8> = (0..length).collect();
        assert_eq!(feed(&mut connection, at(1), &ping(300, &context)), []);
        assert_eq!(written(&mut connection), pong(&context));
    }
}

#[test]
fn ping_with_a_longer_context_fails() {
    for length in [17, 100, 255, 4000] {
        let mut connection = open_server();
        let events = feed(&mut connection, at(1), &ping(300, &vec![0; length]));
        assert!(matches!(failure(&events), Error::Protocol(_)));
        assert_eq!(written(&mut connection), b"", "no PONG must be sent");
    }
}

#[test]
fn ping_with_an_incomplete_ttl_fails() {
    for data in [&b""[..], b"\x01"] {
        let events = feed(&mut open_server(), at(1), &command("PING", data));
        assert!(matches!(failure(&events), Error::Protocol(_)));
    }
}

#[test]
fn ping_with_a_long_header_is_answered() {
    let short = ping(300, b"ctx");
    let bytes = [header(COMMAND, short.len() as u64 - 2), short[2..].to_vec()].concat();
    let mut connection = open_server();
    assert_eq!(feed(&mut connection, at(1), &bytes), []);
    assert_eq!(written(&mut connection), pong(b"ctx"));
}

#[test]
fn pong_with_any_context_is_accepted() {
    let mut connection = open_client();
    for context in [&b""[..], b"never sent", &[0; 200]] {
        assert_eq!(feed(&mut connection, at(1), &pong(context)), []);
    }
}

#[test]
fn pong_that_overtakes_messages_does_not_affect_them() {
    let mut connection = open_client();
    run_until(&mut connection, 1000);
    let answers = [message(b"1"), message(b"2")].concat();
    let first = feed(&mut connection, at(1001), &[pong(b""), answers].concat());
    assert_eq!(first, [message_event("1"), message_event("2")]);
    // The next PING follows from the interval, not from a missing PONG.
    assert_eq!(run_until(&mut connection, 2000), ping(300, b""));
}

#[test]
fn our_pong_is_written_between_messages_never_within_one() {
    let mut connection = open_server();
    connection.send(b"before").unwrap();
    // The first byte is already written.
    connection.tx().advance(1);
    feed(&mut connection, at(1), &ping(300, b"x"));
    connection.send(b"after").unwrap();
    let expected = [message(b"before"), pong(b"x"), message(b"after")].concat();
    assert_eq!(written(&mut connection), expected[1..]);
}

#[test]
fn queued_pongs_are_bounded_when_a_peer_floods_pings_and_does_not_read() {
    let mut connection = open_server();
    let flood = ping(300, &[9; 16]).repeat(1000);
    for _ in 0..100 {
        assert_eq!(feed(&mut connection, at(1), &flood), []);
        assert!(connection.tx_queued() <= 1024, "{}", connection.tx_queued());
    }
    assert!(!written(&mut connection).is_empty());
    feed(&mut connection, at(2), &ping(300, b"again"));
    assert_eq!(
        written(&mut connection),
        pong(b"again"),
        "PINGs must be answered again after the write"
    );
}

#[test]
fn at_most_32_pings_are_answered_between_two_writes() {
    let mut connection = open_client();
    for round in 0..2 {
        for number in 0..40_u8 {
            feed(&mut connection, at(round), &ping(300, &[number]));
        }
        let answered: Vec<u8> = (0..32_u8).flat_map(|number| pong(&[number])).collect();
        assert_eq!(written(&mut connection), answered, "round {round}");
    }
}

#[test]
fn busy_connection_answers_every_ping() {
    let mut connection = open_server();
    connection.send(&[0; 100]).unwrap();
    for count in 0..1000 {
        feed(&mut connection, at(count), &ping(300, b""));
        let queued = connection.tx_queued();
        connection.send(&[0; 100]).unwrap();
        assert_eq!(queued, 102 + pong(b"").len(), "PING {count} was not answered");
        // Queue the next message before the PONG is written.
        connection.tx().advance(queued);
    }
}

// ---- the peer's TTL

#[test]
fn peers_ttl_is_enforced_exactly() {
    let mut connection = open_server();
    assert_eq!(connection.poll_timeout(), None);
    feed(&mut connection, at(1000), &ping(300, b""));
    assert_eq!(connection.poll_timeout(), Some(at(31_000)));
    fails_at(&mut connection, 31_000, &Error::HeartbeatTimeout);
}

#[test]
fn any_byte_restarts_the_peers_ttl() {
    let mut connection = open_server();
    feed(&mut connection, at(0), &ping(300, b""));
    feed(&mut connection, at(29_999), &message(b"m")[..1]);
    fails_at(&mut connection, 59_999, &Error::HeartbeatTimeout);
}

#[test]
fn later_ping_replaces_the_ttl_and_zero_removes_it() {
    let mut connection = open_server();
    feed(&mut connection, at(0), &ping(10, b""));
    feed(&mut connection, at(500), &ping(65_535, b""));
    assert_eq!(connection.poll_timeout(), Some(at(500 + 6_553_500)));
    feed(&mut connection, at(600), &ping(0, b""));
    assert_eq!(connection.poll_timeout(), None);
}

#[test]
fn shorter_of_our_timeout_and_the_peers_ttl_applies() {
    for (tenths, millis) in [(20, 2_000), (300, 10_000)] {
        let mut connection = open_client();
        feed(&mut connection, at(0), &ping(tenths, b""));
        fails_at(&mut connection, millis, &Error::HeartbeatTimeout);
    }
}

#[test]
fn ttl_runs_from_the_time_at_which_the_ping_is_read() {
    let mut connection = open_server();
    connection.handle_bytes(at(0), &ping(10, b""));
    assert_eq!(events(&mut connection, at(5000)), []);
    fails_at(&mut connection, 6000, &Error::HeartbeatTimeout);
}

// ---- the idle timeout

fn idle_server() -> Connection {
    open(Config { idle_timeout: Some(90 * SECOND), ..Config::server() }, at(500))
}

#[test]
fn idle_timeout_fails_a_connection_without_messages() {
    let mut connection = idle_server();
    assert_eq!(connection.poll_timeout(), Some(at(90_500)));
    fails_at(&mut connection, 90_500, &Error::IdleTimeout);
}

#[test]
fn messages_restart_the_idle_timeout_and_heartbeats_do_not() {
    let mut connection = idle_server();
    feed(&mut connection, at(10_000), &message(b"m"));
    for second in 11..100 {
        feed(&mut connection, at(second * 1000), &ping(300, b""));
    }
    fails_at(&mut connection, 100_000, &Error::IdleTimeout);
}

// ---- a clock that jumped

#[test]
fn restart_sends_a_ping_at_once_and_times_nothing_out() {
    let mut connection = open_client();
    run_until(&mut connection, 1000);
    // The computer slept for an hour with a PING unanswered.
    let wake = 3_600_000;
    connection.restart_timers(at(wake));
    assert_eq!(written(&mut connection), ping(300, b""));
    assert!(survives(&mut connection, wake));
    assert_eq!(written(&mut connection), b"", "only one PING must be sent");
    fails_at(&mut connection, wake + 10_000, &Error::HeartbeatTimeout);
}

#[test]
fn restart_restarts_the_handshake_timeout() {
    let mut connection = Connection::new(Config::client(), at(0));
    written(&mut connection);
    connection.restart_timers(at(60_000));
    assert_eq!(written(&mut connection), b"", "nothing must be sent after READY");
    fails_at(&mut connection, 65_000, &Error::HandshakeTimeout);
}

#[test]
fn restart_restarts_the_peers_ttl_and_the_idle_timeout() {
    let mut connection = idle_server();
    feed(&mut connection, at(600), &ping(300, b""));
    connection.restart_timers(at(600_000));
    assert!(survives(&mut connection, 600_000));
    assert_eq!(connection.poll_timeout(), Some(at(630_000)));
    feed(&mut connection, at(620_000), &ping(0, b""));
    fails_at(&mut connection, 690_000, &Error::IdleTimeout);
}

#[test]
fn restart_keeps_received_bytes() {
    let mut connection = open_client();
    connection.handle_bytes(at(1), &message(b"m"));
    connection.restart_timers(at(60_000));
    assert_eq!(events(&mut connection, at(60_000)), [message_event("m")]);
}

#[test]
fn late_handle_timeout_after_a_read_does_not_fail_the_connection() {
    let mut connection = open_client();
    connection.handle_bytes(at(15_000), &frame(COMMAND, b"\x04PONG"));
    connection.handle_timeout(at(15_000));
    assert_eq!(events(&mut connection, at(15_000)), []);
    assert!(matches!(feed(&mut connection, at(15_001), &message(b"m"))[..], [Event::Message(_)]));
}

#[test]
fn second_restart_without_a_byte_in_between_has_no_effect() {
    let mut connection = open_client();
    connection.restart_timers(at(60_000));
    connection.restart_timers(at(65_000));
    fails_at(&mut connection, 70_000, &Error::HeartbeatTimeout);

    let mut connection = Connection::new(Config::client(), at(0));
    connection.restart_timers(at(60_000));
    connection.restart_timers(at(64_000));
    fails_at(&mut connection, 65_000, &Error::HandshakeTimeout);
}

#[test]
fn restart_has_effect_again_after_a_byte() {
    let mut connection = open_client();
    connection.restart_timers(at(60_000));
    feed(&mut connection, at(60_500), &pong(b""));
    written(&mut connection);
    connection.restart_timers(at(120_000));
    assert_eq!(written(&mut connection), ping(300, b""));
    fails_at(&mut connection, 130_000, &Error::HeartbeatTimeout);
}

#[test]
fn handshake_bytes_do_not_permit_another_restart() {
    let mut connection = Connection::new(Config::client(), at(0));
    connection.restart_timers(at(60_000));
    // The peer sends its greeting byte by byte, and the driver always wakes late.
    for (byte, count) in greeting_of(3, 0, b"NULL").iter().zip(1..) {
        let now = 60_000 + count * 1500;
        if now < 65_000 {
            feed(&mut connection, at(now), &[*byte]);
            connection.restart_timers(at(now));
        }
    }
    fails_at(&mut connection, 65_000, &Error::HandshakeTimeout);
}

#[test]
fn restarting_the_timers_does_not_count_as_a_received_byte() {
    let mut connection = open_client();
    feed(&mut connection, at(500), &message(b"life"));
    connection.restart_timers(at(60_000));
    assert_eq!(connection.last_received(), at(500));
}
