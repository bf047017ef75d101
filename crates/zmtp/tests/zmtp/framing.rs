//! Frames: headers, flags, sharing of received bytes, and limits on buffered bytes.

use crate::common::{
    COMMAND, LONG, MORE, at, command, events, failure, feed, frame, header, message, message_event,
    open_client, open_server,
};
use bytes::{Bytes, BytesMut};
use zraft_zmtp::{Config, Connection, Error, Event};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

// ---- headers and flags

#[test]
fn messages_up_to_255_bytes_get_a_short_header_and_longer_ones_a_long_header() {
    for (length, size) in [(0, 2), (1, 2), (255, 2), (256, 9), (70_000, 9)] {
        let body = vec![7; length];
        let mut connection = open_client();
        connection.send(&body).unwrap();
        let sent = crate::common::written(&mut connection);
        assert_eq!(sent, message(&body));
        assert_eq!(sent.len(), size + length);
        assert_eq!(feed(&mut open_server(), at(1), &sent), [message_event(body)]);
    }
}

#[test]
fn long_header_with_a_short_length_is_read() {
    for length in [0, 1, 5, 255] {
        let body = vec![b'x'; length];
        let bytes = [header(0, length as u64), body.clone()].concat();
        assert_eq!(feed(&mut open_server(), at(1), &bytes), [message_event(body)]);
    }
}

#[test]
fn missing_bytes_are_those_of_the_unfinished_message_at_the_front() {
    let mut config = Config::server();
    config.max_frame = 70_000;
    let mut connection = crate::common::open(config, at(0));
    assert_eq!(connection.missing(), 0);
    let bytes = message(&[7; 70_000]);
    for (end, missing) in [(5, 0), (9, 70_000), (40_009, 30_000), (bytes.len(), 0)] {
        let from = connection.recv_buffer().len();
        connection.handle_bytes(at(1), &bytes[from..end]);
        assert_eq!(connection.missing(), missing, "{end}");
        let complete = end == bytes.len();
        assert_eq!(connection.poll_event(at(1)).is_some(), complete, "{end}");
    }
    connection.handle_bytes(at(1), &header(0, 70_001));
    assert_eq!(connection.missing(), 0, "it is refused");
    let mut command = open_server();
    command.handle_bytes(at(1), &header(COMMAND, 200));
    assert_eq!(command.missing(), 0);
}

#[test]
fn length_of_2_to_the_63_or_more_fails_on_the_header() {
    for length in [1 << 63, (1 << 63) + 5, u64::MAX] {
        for flags in [0, MORE, COMMAND] {
            for mut connection in [open_client(), open_server()] {
                let events = feed(&mut connection, at(1), &header(flags, length));
                assert_eq!(failure(&events), Error::FrameTooLong(length));
            }
        }
    }
}

#[test]
fn reserved_flag_bits_are_ignored_as_live_servers_do() {
    for reserved in [0x08, 0x10, 0x20, 0x40, 0x80, 0xf8] {
        let bytes = [frame(reserved, b"a"), frame(reserved, &[0; 256])].concat();
        let expected = [message_event("a"), message_event(vec![0; 256])];
        assert_eq!(feed(&mut open_server(), at(1), &bytes), expected);
        let bytes = [frame(reserved | COMMAND, b"\x01X"), message(b"b")].concat();
        assert_eq!(feed(&mut open_server(), at(1), &bytes), [message_event("b")]);
    }
}

#[test]
fn empty_message_is_delivered() {
    let mut connection = open_client();
    let bytes = [message(b""), message(b""), message(b"x")].concat();
    assert_eq!(
        feed(&mut connection, at(1), &bytes),
        [message_event(""), message_event(""), message_event("x")]
    );
    assert_eq!(connection.received_messages(), 3);
}

#[test]
fn overlong_command_fails_on_the_header() {
    let events = feed(&mut open_client(), at(1), &header(COMMAND, 4097));
    assert_eq!(failure(&events), Error::FrameTooLong(4097));
    let mut longest = header(COMMAND, 4096);
    longest.extend_from_slice(b"\x01X");
    longest.resize(9 + 4096, 0);
    assert_eq!(feed(&mut open_client(), at(1), &longest), []);
}

#[test]
fn command_with_several_frames_fails() {
    let events = feed(&mut open_client(), at(1), &frame(COMMAND | MORE, b"\x04PONG"));
    assert!(matches!(failure(&events), Error::Protocol(_)));
}

// ---- messages of several frames

#[test]
fn multipart_message_is_discarded_with_one_event() {
    let mut connection = open_server();
    let bytes = [
        message(b"before"),
        frame(MORE, b""),
        frame(MORE | LONG, &[0; 300]),
        frame(MORE, b"third"),
        message(b"last"),
        message(b"after"),
    ];
    let expected = [message_event("before"), Event::MultipartDiscarded, message_event("after")];
    assert_eq!(feed(&mut connection, at(1), &bytes.concat()), expected);
    assert_eq!(connection.received_messages(), 2, "discarded messages must not count");
}

#[test]
fn ping_between_the_frames_of_a_multipart_message_is_answered() {
    let mut connection = open_server();
    let bytes = [frame(MORE, b"1"), crate::common::ping(300, b""), message(b"2")].concat();
    assert_eq!(feed(&mut connection, at(1), &bytes), [Event::MultipartDiscarded]);
    assert_eq!(crate::common::written(&mut connection), crate::common::pong(b""));
}

#[test]
fn endless_multipart_message_is_not_buffered() {
    let mut connection = open_server();
    let part = frame(MORE, &[0; 60_000]);
    for _ in 0..1000 {
        assert_eq!(feed(&mut connection, at(1), &part), []);
        assert_eq!(connection.recv_buffer().len(), 0);
        assert!(connection.recv_buffer().capacity() <= 256 * KIB);
    }
    let bytes = [message(b"end"), message(b"next")].concat();
    let expected = [Event::MultipartDiscarded, message_event("next")];
    assert_eq!(feed(&mut connection, at(1), &bytes), expected);
}

// ---- sharing of received bytes

/// Reads `bytes` through the receive buffer, as a driver does. Returns the buffer's address range.
fn read(connection: &mut Connection, bytes: &[u8]) -> std::ops::Range<usize> {
    let buffer = connection.recv_buffer();
    buffer.reserve(bytes.len());
    buffer.extend_from_slice(bytes);
    let start = buffer.as_ptr() as usize;
    let range = start..start + buffer.len();
    connection.handle_received(at(1));
    range
}

#[test]
fn messages_share_the_receive_buffer() {
    let mut connection = open_client();
    let sizes = [1, 64, 300, 5000];
    let bytes: Vec<u8> = sizes.iter().flat_map(|size| message(&vec![3; *size])).collect();
    let range = read(&mut connection, &bytes);
    let events = events(&mut connection, at(1));
    assert_eq!(events.len(), sizes.len());
    for event in &events {
        let Event::Message(message) = event else { panic!("{event:?}") };
        let start = message.as_ptr() as usize;
        assert!(range.contains(&start) && start + message.len() <= range.end);
    }
}

#[test]
fn large_message_shares_the_receive_buffer() {
    let mut connection = open_client();
    let range = read(&mut connection, &message(&vec![3; 2 * MIB]));
    let Some(Event::Message(message)) = connection.poll_event(at(1)) else { panic!() };
    assert_eq!(message.as_ptr() as usize, range.start + 9);
}

// ---- limits on buffered bytes

/// Reads in pieces of 64 KiB. Returns the events and the largest capacity of the receive buffer.
fn read_slowly(connection: &mut Connection, bytes: &[u8]) -> (Vec<Event>, usize) {
    let (mut reported, mut largest) = (Vec::new(), 0);
    for chunk in bytes.chunks(64 * KIB) {
        connection.recv_buffer().reserve(64 * KIB);
        connection.recv_buffer().extend_from_slice(chunk);
        connection.handle_received(at(1));
        largest = largest.max(connection.recv_buffer().capacity());
        reported.extend(events(connection, at(1)));
    }
    (reported, largest)
}

#[test]
fn announced_length_is_never_allocated() {
    for length in [16 * MIB as u64, 1 << 29, (1 << 63) - 1] {
        let mut connection = open_client();
        let bytes = [header(0, length), vec![0; 50]].concat();
        let (reported, largest) = read_slowly(&mut connection, &bytes);
        assert_eq!(reported, []);
        assert!(largest <= 256 * KIB, "capacity {largest} for an announced length of {length}");
    }
}

#[test]
fn receive_buffer_grows_only_as_bytes_arrive() {
    let mut connection = open_client();
    let mut received = 0;
    for chunk in message(&vec![0; 8 * MIB]).chunks(64 * KIB) {
        connection.recv_buffer().reserve(64 * KIB);
        connection.recv_buffer().extend_from_slice(chunk);
        connection.handle_received(at(1));
        received += chunk.len();
        let capacity = connection.recv_buffer().capacity();
        assert!(capacity <= 2 * received + 128 * KIB, "capacity {capacity} after {received} bytes");
        drop(events(&mut connection, at(1)));
    }
    assert_eq!(connection.received_messages(), 1);
}

#[test]
fn receive_buffer_shrinks_after_a_large_message() {
    let mut connection = open_client();
    let (reported, largest) = read_slowly(&mut connection, &message(&vec![0; 8 * MIB]));
    assert!(reported.len() == 1 && largest >= 8 * MIB);
    drop(reported);
    let buffer: &mut BytesMut = connection.recv_buffer();
    buffer.reserve(64 * KIB);
    assert!(buffer.capacity() <= 256 * KIB, "{}", buffer.capacity());
}

#[test]
fn large_message_has_its_allocation_to_itself() {
    for after in [vec![], message(b"next")[..3].to_vec(), message(&vec![1; 100 * KIB])] {
        let mut connection = open_client();
        let bytes = [message(&vec![0; MIB]), after].concat();
        read(&mut connection, &bytes);
        let Some(Event::Message(message)) = connection.poll_event(at(1)) else { panic!() };
        assert!(message.is_unique(), "the message must not share its allocation with later bytes");
        drop(events(&mut connection, at(1)));
    }
}

#[test]
fn receive_buffer_stays_small_in_a_long_stream_of_small_messages() {
    let mut connection = open_client();
    let batch: Vec<u8> = (0..1000).flat_map(|_| message(&[0; 64])).collect();
    for _ in 0..200 {
        let (reported, largest) = read_slowly(&mut connection, &batch);
        assert_eq!(reported.len(), 1000);
        assert!(largest <= 256 * KIB, "{largest}");
    }
}

#[test]
fn each_received_byte_is_counted_once() {
    let mut connection = open_client();
    let start = connection.bytes_received();
    assert_eq!(start, (64 + crate::common::ready("SERVER").len()) as u64);
    let bytes = [message(&[0; 300]), command("PONG", b""), header(0, 3)].concat();
    for chunk in bytes.chunks(7) {
        feed(&mut connection, at(1), chunk);
    }
    assert_eq!(connection.bytes_received() - start, bytes.len() as u64);
}

#[test]
fn message_bytes_are_counted_on_arrival_and_command_bytes_are_not() {
    let mut connection = open_client();
    let bytes = message(&[0; 1000]);
    for (count, byte) in bytes.iter().enumerate() {
        assert_eq!(connection.message_bytes_received(), count as u64);
        assert_eq!(connection.mid_message(), count > 0);
        feed(&mut connection, at(1), &[*byte]);
    }
    for byte in command("PONG", b"") {
        assert_eq!(connection.message_bytes_received(), bytes.len() as u64);
        assert!(!connection.mid_message());
        feed(&mut connection, at(1), &[byte]);
    }
    feed(&mut connection, at(1), &[message(b"abc"), message(b"d")[..2].to_vec()].concat());
    assert_eq!(connection.message_bytes_received(), bytes.len() as u64 + 7);
    assert!(connection.mid_message());
}

#[test]
fn max_frame_of_zero_allows_empty_messages() {
    let config = Config { max_frame: 0, skip_limit: 0, ..Config::client() };
    let mut connection = crate::common::open(config, at(0));
    assert_eq!(feed(&mut connection, at(1), &message(b"")), [Event::Message(Bytes::new())]);
    let events = feed(&mut connection, at(1), &message(b"x"));
    assert_eq!(failure(&events), Error::FrameTooLong(1));
}

/// Returns true if more than 256 KiB are still allocated.
fn stays_large(connection: &mut Connection) -> bool {
    connection.recv_buffer().try_reclaim(256 * KIB + 1)
}

#[test]
fn large_receive_buffer_is_freed_once_it_is_drained() {
    let burst: Vec<u8> = (0..2000).flat_map(|_| message(&[0; 1000])).collect();
    let multipart = [frame(MORE, &vec![0; MIB]), message(b"")].concat();
    let oversized = message(&vec![0; 20 * MIB]);
    for bytes in [message(&vec![0; MIB]), burst, multipart, oversized] {
        let mut connection = open_client();
        read(&mut connection, &bytes);
        // Drop each message before polling the next, as an application does.
        while let Some(event) = connection.poll_event(at(1)) {
            assert!(!matches!(event, Event::Failed(_)));
        }
        assert_eq!(connection.recv_buffer().len(), 0);
        assert!(!stays_large(&mut connection));
    }
}
