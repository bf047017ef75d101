//! Frames longer than `max_frame`.

use crate::common::{
    MORE, at, events, failure, feed, frame, header, message, message_event, open, ping, written,
};
use bytes::Bytes;
use zraft_zmtp::{Config, Connection, Error, Event};

const MAX: usize = 1000;
const SKIP: u64 = 10_000_000;

fn client() -> Connection {
    open(Config { max_frame: MAX, skip_limit: SKIP, ..Config::client() }, at(0))
}

fn strict() -> Connection {
    open(Config { max_frame: MAX, skip_limit: 0, ..Config::client() }, at(0))
}

/// Returns bytes that differ by position, so that a shifted head is noticed.
fn body(length: usize) -> Vec<u8> {
    (0..length).map(|at| at as u8).collect()
}

fn oversized(length: usize) -> Event {
    Event::Oversized { length: length as u64, head: Bytes::from(body(length.min(64))) }
}

#[test]
fn frame_of_exactly_max_frame_is_delivered() {
    for mut connection in [client(), strict()] {
        assert_eq!(feed(&mut connection, at(1), &message(&body(MAX))), [message_event(body(MAX))]);
    }
}

#[test]
fn frame_one_byte_longer_gives_its_head_and_the_next_message_arrives() {
    let mut connection = client();
    let bytes = [message(&body(MAX + 1)), message(b"next")].concat();
    assert_eq!(feed(&mut connection, at(1), &bytes), [oversized(MAX + 1), message_event("next")]);
    assert_eq!(connection.received_messages(), 2);
    assert!(connection.is_ready());
}

#[test]
fn event_comes_as_soon_as_the_head_is_complete() {
    let mut connection = client();
    let bytes = message(&body(5000));
    assert_eq!(feed(&mut connection, at(1), &bytes[..9 + 63]), []);
    assert_eq!(feed(&mut connection, at(1), &bytes[9 + 63..9 + 64]), [oversized(5000)]);
    assert_eq!(feed(&mut connection, at(1), &bytes[9 + 64..]), []);
    assert_eq!(feed(&mut connection, at(1), &message(b"next")), [message_event("next")]);
}

#[test]
fn head_of_a_frame_below_64_bytes_is_the_whole_frame() {
    let config = Config { max_frame: 10, skip_limit: 100, ..Config::client() };
    let mut connection = open(config, at(0));
    let bytes = [message(&body(20)), message(b"next")].concat();
    assert_eq!(feed(&mut connection, at(1), &bytes[..21]), []);
    assert_eq!(feed(&mut connection, at(1), &bytes[21..]), [oversized(20), message_event("next")]);
}

#[test]
fn rest_is_skipped_without_buffering() {
    let mut connection = client();
    let bytes = message(&body(SKIP as usize));
    let mut reported = Vec::new();
    for chunk in bytes.chunks(64 << 10) {
        connection.handle_bytes(at(1), chunk);
        reported.extend(events(&mut connection, at(1)));
        assert_eq!(connection.recv_buffer().len(), 0);
        assert!(connection.recv_buffer().capacity() <= 256 << 10);
    }
    assert_eq!(reported, [oversized(SKIP as usize)]);
    assert_eq!(
        feed(&mut connection, at(1), &message(b"next")),
        [crate::common::message_event("next")]
    );
}

#[test]
fn rest_is_dropped_on_receipt_even_if_no_event_is_polled() {
    let mut connection = client();
    let bytes = message(&body(1_000_000));
    assert_eq!(feed(&mut connection, at(1), &bytes[..100]).len(), 1);
    for chunk in bytes[100..].chunks(10_000) {
        connection.handle_bytes(at(1), chunk);
        assert_eq!(connection.recv_buffer().len(), 0);
    }
}

#[test]
fn head_does_not_keep_the_receive_buffer_alive() {
    let mut connection = client();
    let bytes = message(&body(5000));
    connection.handle_bytes(at(1), &bytes[..2000]);
    let Some(Event::Oversized { head, .. }) = connection.poll_event(at(1)) else { panic!() };
    assert!(head.is_unique());
}

#[test]
fn frame_of_exactly_skip_limit_is_skipped() {
    let config = Config { max_frame: 10, skip_limit: 100, ..Config::client() };
    let mut connection = open(config, at(0));
    let bytes = [message(&body(100)), message(b"next")].concat();
    assert_eq!(feed(&mut connection, at(1), &bytes), [oversized(100), message_event("next")]);
}

#[test]
fn frame_above_skip_limit_gives_its_head_and_then_the_failure() {
    for length in [SKIP + 1, 1 << 62, (1 << 63) - 1] {
        let mut connection = client();
        let bytes = [header(0, length), body(100), message(b"no more")].concat();
        let head = Bytes::from(body(64));
        let expected =
            [Event::Oversized { length, head }, Event::Failed(Error::FrameTooLong(length))];
        assert_eq!(feed(&mut connection, at(1), &bytes), expected);
        assert!(!connection.is_ready());
    }
}

#[test]
fn skip_limit_of_zero_fails_on_the_header() {
    let events = feed(&mut strict(), at(1), &header(0, MAX as u64 + 1));
    assert_eq!(failure(&events), Error::FrameTooLong(MAX as u64 + 1));
}

#[test]
fn server_does_not_skip_by_default() {
    let announced = 1 << 30;
    let events = feed(&mut crate::common::open_server(), at(1), &header(0, announced));
    assert_eq!(failure(&events), Error::FrameTooLong(announced));
}

#[test]
fn skipped_bytes_count_as_message_bytes_and_as_mid_message() {
    let mut connection = client();
    let bytes = message(&body(3000));
    for (count, byte) in bytes.iter().enumerate() {
        assert_eq!(connection.message_bytes_received(), count as u64);
        assert_eq!(connection.mid_message(), count > 0, "after {count} bytes");
        feed(&mut connection, at(1), &[*byte]);
    }
    assert_eq!(connection.message_bytes_received(), bytes.len() as u64);
    assert!(!connection.mid_message());
}

#[test]
fn skipped_bytes_count_the_same_in_any_pieces() {
    let bytes = [message(&body(3000)), message(b"next"), ping(0, b"")].concat();
    let messages = bytes.len() as u64 - ping(0, b"").len() as u64;
    for size in [1, 2, 8, 9, 10, 72, 73, 74, 1000, 3008, 3009, 3010, 5000] {
        let mut connection = client();
        let reported: Vec<Event> =
            bytes.chunks(size).flat_map(|chunk| feed(&mut connection, at(1), chunk)).collect();
        assert_eq!(reported, [oversized(3000), crate::common::message_event("next")]);
        assert_eq!(connection.message_bytes_received(), messages, "in pieces of {size}");
    }
}

#[test]
fn skipped_bytes_are_a_sign_of_life() {
    let mut connection = client();
    feed(&mut connection, at(1), &message(&body(5000))[..1000]);
    connection.handle_bytes(at(9_000), &[0; 10]);
    connection.handle_timeout(at(18_999));
    assert_eq!(events(&mut connection, at(18_999)), []);
    connection.handle_timeout(at(19_000));
    assert_eq!(failure(&events(&mut connection, at(19_000))), Error::HeartbeatTimeout);
}

#[test]
fn end_of_stream_within_a_skipped_frame_is_a_close() {
    let mut connection = client();
    connection.handle_bytes(at(1), &message(&body(5000))[..1000]);
    connection.handle_eof(at(1));
    let reported = events(&mut connection, at(1));
    assert_eq!(reported, [oversized(5000), Event::Failed(Error::Closed)]);
}

#[test]
fn oversized_frame_of_a_multipart_message_is_discarded_with_it() {
    let mut connection = client();
    let bytes = [
        frame(MORE, b"small"),
        frame(MORE, &body(5000)),
        frame(MORE, b"small"),
        message(&body(5000)),
        message(b"next"),
        frame(MORE, &body(5000)),
        message(b"small"),
    ];
    for size in [1, 100, 20_000] {
        let reported: Vec<Event> = (bytes.concat().chunks(size))
            .flat_map(|chunk| feed(&mut connection, at(1), chunk))
            .collect();
        let discarded = Event::MultipartDiscarded;
        assert_eq!(reported, [discarded.clone(), crate::common::message_event("next"), discarded]);
    }
    assert_eq!(connection.received_messages(), 3, "discarded messages must not count");
}

#[test]
fn frame_above_skip_limit_in_a_multipart_message_fails() {
    let length = SKIP + 1;
    // If the body were read as frames, this PING would be answered.
    let rest = ping(1, b"").repeat(20);
    for before in [vec![], frame(MORE, b"first")] {
        for flags in [MORE, 0] {
            if before.is_empty() && flags == 0 {
                continue;
            }
            let mut connection = client();
            let bytes = [before.clone(), header(flags, length), rest.clone()].concat();
            let reported = feed(&mut connection, at(1), &bytes);
            assert_eq!(failure(&reported), Error::FrameTooLong(length));
            assert_eq!(written(&mut connection), b"");
        }
    }
}
