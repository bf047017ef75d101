//! Frames: headers, flags, whose bytes they are, and how much is kept.

mod common;

use bytes::{Bytes, BytesMut};
use common::{
    COMMAND, LONG, MORE, at, command, events, failure, feed, frame, header, message, open_client,
    open_server, told,
};
use zraft_zmtp::{Config, Connection, Error, Event};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

// ---- headers and flags

#[test]
fn messages_to_255_bytes_have_a_short_header_and_longer_ones_a_long_one() {
    for (length, size) in [(0, 2), (1, 2), (255, 2), (256, 9), (70_000, 9)] {
        let body = vec![7; length];
        let mut connection = open_client();
        connection.send(&body).unwrap();
        let sent = common::written(&mut connection);
        assert_eq!(sent, message(&body));
        assert_eq!(sent.len(), size + length);
        assert_eq!(feed(&mut open_server(), at(1), &sent), [told(body)]);
    }
}

#[test]
fn a_long_header_with_a_short_length_is_read() {
    for length in [0, 1, 5, 255] {
        let body = vec![b'x'; length];
        let bytes = [header(0, length as u64), body.clone()].concat();
        assert_eq!(feed(&mut open_server(), at(1), &bytes), [told(body)]);
    }
}

#[test]
fn a_length_from_two_to_the_63_on_is_refused_by_the_header_alone() {
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
        let expected = [told("a"), told(vec![0; 256])];
        assert_eq!(feed(&mut open_server(), at(1), &bytes), expected);
        let bytes = [frame(reserved | COMMAND, b"\x01X"), message(b"b")].concat();
        assert_eq!(feed(&mut open_server(), at(1), &bytes), [told("b")]);
    }
}

#[test]
fn an_empty_message_is_a_message() {
    let mut connection = open_client();
    let bytes = [message(b""), message(b""), message(b"x")].concat();
    assert_eq!(feed(&mut connection, at(1), &bytes), [told(""), told(""), told("x")]);
    assert_eq!(connection.received_messages(), 3);
}

#[test]
fn a_long_command_is_refused_by_its_header_alone() {
    let events = feed(&mut open_client(), at(1), &header(COMMAND, 4097));
    assert_eq!(failure(&events), Error::FrameTooLong(4097));
    let mut longest = header(COMMAND, 4096);
    longest.extend_from_slice(b"\x01X");
    longest.resize(9 + 4096, 0);
    assert_eq!(feed(&mut open_client(), at(1), &longest), []);
}

#[test]
fn a_command_in_several_frames_is_refused() {
    let events = feed(&mut open_client(), at(1), &frame(COMMAND | MORE, b"\x04PONG"));
    assert!(matches!(failure(&events), Error::Protocol(_)));
}

// ---- messages of several frames

#[test]
fn a_multipart_message_is_discarded_whole_with_one_event() {
    let mut connection = open_server();
    let bytes = [
        message(b"before"),
        frame(MORE, b""),
        frame(MORE | LONG, &[0; 300]),
        frame(MORE, b"third"),
        message(b"last"),
        message(b"after"),
    ];
    let expected = [told("before"), Event::MultipartDiscarded, told("after")];
    assert_eq!(feed(&mut connection, at(1), &bytes.concat()), expected);
    assert_eq!(connection.received_messages(), 2, "discarded ones are none");
}

#[test]
fn a_heartbeat_between_the_frames_of_a_multipart_message_is_answered() {
    let mut connection = open_server();
    let bytes = [frame(MORE, b"1"), common::ping(300, b""), message(b"2")].concat();
    assert_eq!(feed(&mut connection, at(1), &bytes), [Event::MultipartDiscarded]);
    assert_eq!(common::written(&mut connection), common::pong(b""));
}

#[test]
fn an_endless_multipart_message_is_not_kept() {
    let mut connection = open_server();
    let part = frame(MORE, &[0; 60_000]);
    for _ in 0..1000 {
        assert_eq!(feed(&mut connection, at(1), &part), []);
        assert_eq!(connection.recv_buffer().len(), 0);
        assert!(connection.recv_buffer().capacity() <= 256 * KIB);
    }
    let bytes = [message(b"end"), message(b"next")].concat();
    let expected = [Event::MultipartDiscarded, told("next")];
    assert_eq!(feed(&mut connection, at(1), &bytes), expected);
}

// ---- whose bytes

/// Reads through the receive buffer as a driver does.
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
fn messages_share_the_bytes_they_were_received_in() {
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
fn a_large_message_shares_the_bytes_it_was_received_in() {
    let mut connection = open_client();
    let range = read(&mut connection, &message(&vec![3; 2 * MIB]));
    let Some(Event::Message(message)) = connection.poll_event(at(1)) else { panic!() };
    assert_eq!(message.as_ptr() as usize, range.start + 9);
}

// ---- how much is kept

/// Reads piece by piece and tells the largest capacity there was.
fn read_slowly(connection: &mut Connection, bytes: &[u8]) -> (Vec<Event>, usize) {
    let (mut told, mut largest) = (Vec::new(), 0);
    for chunk in bytes.chunks(64 * KIB) {
        connection.recv_buffer().reserve(64 * KIB);
        connection.recv_buffer().extend_from_slice(chunk);
        connection.handle_received(at(1));
        largest = largest.max(connection.recv_buffer().capacity());
        told.extend(events(connection, at(1)));
    }
    (told, largest)
}

#[test]
fn an_announced_length_is_never_allocated() {
    for length in [16 * MIB as u64, 1 << 29, (1 << 63) - 1] {
        let mut connection = open_client();
        let bytes = [header(0, length), vec![0; 50]].concat();
        let (told, largest) = read_slowly(&mut connection, &bytes);
        assert_eq!(told, []);
        assert!(largest <= 256 * KIB, "{largest} for {length}");
    }
}

#[test]
fn the_receive_buffer_grows_only_as_bytes_arrive() {
    let mut connection = open_client();
    let mut received = 0;
    for chunk in message(&vec![0; 8 * MIB]).chunks(64 * KIB) {
        connection.recv_buffer().reserve(64 * KIB);
        connection.recv_buffer().extend_from_slice(chunk);
        connection.handle_received(at(1));
        received += chunk.len();
        let capacity = connection.recv_buffer().capacity();
        assert!(capacity <= 2 * received + 128 * KIB, "{capacity} after {received}");
        drop(events(&mut connection, at(1)));
    }
    assert_eq!(connection.received_messages(), 1);
}

#[test]
fn the_receive_buffer_shrinks_after_a_large_message() {
    let mut connection = open_client();
    let (told, largest) = read_slowly(&mut connection, &message(&vec![0; 8 * MIB]));
    assert!(told.len() == 1 && largest >= 8 * MIB);
    drop(told);
    let buffer: &mut BytesMut = connection.recv_buffer();
    buffer.reserve(64 * KIB);
    assert!(buffer.capacity() <= 256 * KIB, "{}", buffer.capacity());
}

#[test]
fn a_large_message_is_alone_in_its_bytes_whatever_comes_after_it() {
    for after in [vec![], message(b"next")[..3].to_vec(), message(&vec![1; 100 * KIB])] {
        let mut connection = open_client();
        let bytes = [message(&vec![0; MIB]), after].concat();
        read(&mut connection, &bytes);
        let Some(Event::Message(message)) = connection.poll_event(at(1)) else { panic!() };
        assert!(message.is_unique(), "dropping it frees it, though nothing more is read");
        drop(events(&mut connection, at(1)));
    }
}

#[test]
fn a_long_stream_of_small_messages_keeps_the_buffer_small() {
    let mut connection = open_client();
    let batch: Vec<u8> = (0..1000).flat_map(|_| message(&[0; 64])).collect();
    for _ in 0..200 {
        let (told, largest) = read_slowly(&mut connection, &batch);
        assert_eq!(told.len(), 1000);
        assert!(largest <= 256 * KIB, "{largest}");
    }
}

#[test]
fn all_bytes_received_are_counted_once() {
    let mut connection = open_client();
    let start = connection.bytes_received();
    assert_eq!(start, (64 + common::ready("SERVER").len()) as u64);
    let bytes = [message(&[0; 300]), command("PONG", b""), header(0, 3)].concat();
    for chunk in bytes.chunks(7) {
        feed(&mut connection, at(1), chunk);
    }
    assert_eq!(connection.bytes_received() - start, bytes.len() as u64);
}

#[test]
fn bytes_of_messages_are_counted_as_they_arrive_and_those_of_commands_are_not() {
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
fn a_config_without_room_for_anything_still_takes_empty_messages() {
    let config = Config { max_frame: 0, skip_limit: 0, ..Config::client() };
    let mut connection = common::open(config, at(0));
    assert_eq!(feed(&mut connection, at(1), &message(b"")), [Event::Message(Bytes::new())]);
    let events = feed(&mut connection, at(1), &message(b"x"));
    assert_eq!(failure(&events), Error::FrameTooLong(1));
}

/// Whether more than 256 KiB stay allocated.
fn keeps_much(connection: &mut Connection) -> bool {
    connection.recv_buffer().try_reclaim(256 * KIB + 1)
}

#[test]
fn nothing_large_stays_allocated_when_all_is_taken() {
    let burst: Vec<u8> = (0..2000).flat_map(|_| message(&[0; 1000])).collect();
    let multipart = [frame(MORE, &vec![0; MIB]), message(b"")].concat();
    let oversized = message(&vec![0; 20 * MIB]);
    for bytes in [message(&vec![0; MIB]), burst, multipart, oversized] {
        let mut connection = open_client();
        read(&mut connection, &bytes);
        // What was taken is let go one by one, as an application does.
        while let Some(event) = connection.poll_event(at(1)) {
            assert!(!matches!(event, Event::Failed(_)));
        }
        assert_eq!(connection.recv_buffer().len(), 0);
        assert!(!keeps_much(&mut connection));
    }
}
