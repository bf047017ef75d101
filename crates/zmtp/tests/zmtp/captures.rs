//! Replays the recorded traffic between live clients and the live server.

use std::{fs, path::PathBuf};

use crate::common::{at, events, pong, written};
use proptest::{collection::vec, prelude::*, sample::Index};
use zraft_zmtp::{Config, Connection, Event};

/// The name of each capture, the suffix of its binary files, and the connection's number in its text file.
const CAPTURES: [(&str, &str, u32); 12] = [
    ("response-evicted", "", 1),
    ("scala-follower", "", 1),
    ("scala-leaderterm.node-1", "", 1),
    ("scala-leaderterm.node-2", "", 1),
    ("scala-leaderterm.node-3", "", 1),
    ("scala-session-expiry", "", 1),
    ("scala-session", "", 1),
    ("scala-tcpkill", "", 1),
    ("scala-tcpkill", ".2", 2),
    ("ts-follower", "", 1),
    ("ts-session-expiry", "", 1),
    ("ts-session", "", 1),
];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/captures")
}

/// One direction of a connection.
struct Stream {
    name: String,
    receiver: Config,
    bytes: Vec<u8>,
    /// The messages according to the text file, which another decoder wrote.
    messages: Vec<Vec<u8>>,
    pings: usize,
}

fn streams() -> Vec<Stream> {
    let mut streams = Vec::new();
    for (capture, suffix, number) in CAPTURES {
        for (direction, receiver) in [("c2s", Config::server()), ("s2c", Config::client())] {
            let name = format!("{capture}{suffix}.{direction}.bin");
            let bytes = fs::read(folder().join(&name)).expect(&name);
            let text = fs::read_to_string(folder().join(format!("{capture}.txt"))).expect(&name);
            let prefix = format!("#{number} {direction} flags=");
            let (mut messages, mut pings) = (Vec::new(), 0);
            let mut lines = text.lines();
            while let Some(line) = lines.next() {
                if !line.contains(&prefix) {
                    continue;
                }
                if line.contains(" COMMAND ") {
                    pings += usize::from(line.contains(" PING "));
                } else {
                    let hex = lines.next().and_then(|line| line.trim().strip_prefix("hex="));
                    messages
                        .push(unhex(hex.expect("the line below a message must have its bytes")));
                }
            }
            streams.push(Stream { name, receiver, bytes, messages, pings });
        }
    }
    streams
}

fn unhex(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex
        .chars()
        .map(|digit| digit.to_digit(16).expect("invalid hexadecimal digit") as u8)
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// Feeds the stream in pieces. The events must be exactly its messages, without a failure.
fn replay<'a>(stream: &Stream, pieces: impl Iterator<Item = &'a [u8]>) {
    let name = &stream.name;
    let mut connection = Connection::new(stream.receiver, at(0));
    written(&mut connection);
    let (mut reported, mut sent) = (Vec::new(), Vec::new());
    for piece in pieces {
        connection.handle_bytes(at(0), piece);
        reported.extend(events(&mut connection, at(0)));
        sent.extend(written(&mut connection));
    }
    assert!(matches!(reported.remove(0), Event::Ready(_)), "{name}");
    let expected: Vec<Event> =
        stream.messages.iter().cloned().map(crate::common::message_event).collect();
    assert_eq!(reported, expected, "{name}");
    assert!(connection.is_ready(), "{name}");
    assert_eq!(connection.received_messages(), stream.messages.len() as u64, "{name}");
    assert_eq!(connection.bytes_received(), stream.bytes.len() as u64, "{name}");
    // At most 32 PONGs are queued, so a piece with more PINGs does not get an answer to each.
    let pongs = sent.len() / pong(b"").len();
    assert_eq!(sent, pong(b"").repeat(pongs), "{name}");
    assert!((stream.pings.min(32)..=stream.pings).contains(&pongs), "{name}: {pongs}");
}

#[test]
fn all_captures_are_replayed() {
    let mut names: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".bin"))
        .collect();
    names.sort();
    let mut replayed: Vec<String> = streams().into_iter().map(|stream| stream.name).collect();
    replayed.sort();
    assert_eq!(replayed, names);
}

#[test]
fn live_streams_are_read_in_pieces_of_equal_size() {
    for stream in streams() {
        assert!(!stream.messages.is_empty(), "{}", stream.name);
        for size in [1, 2, 3, 7, 10, 64, 1000, 1 << 20] {
            replay(&stream, stream.bytes.chunks(size));
        }
    }
}

#[test]
fn our_greeting_equals_that_of_live_peers_except_for_the_version() {
    for stream in streams() {
        let ours = written(&mut Connection::new(stream.receiver, at(0)));
        assert_eq!(stream.bytes[..11], ours[..11], "{}", stream.name);
        assert!(stream.bytes[11] <= 1);
        assert_eq!(stream.bytes[12..64], ours[12..64], "{}", stream.name);
    }
}

#[test]
fn our_ready_equals_that_of_live_peers() {
    for stream in streams() {
        let sender = match stream.receiver.socket_type {
            zraft_zmtp::SocketType::Client => Config::server(),
            zraft_zmtp::SocketType::Server => Config::client(),
        };
        let ours = written(&mut Connection::new(sender, at(0)));
        assert_eq!(stream.bytes[64..ours.len()], ours[64..], "{}", stream.name);
    }
}

#[test]
fn our_ping_equals_that_of_live_clients() {
    let ours = crate::common::ping(300, b"");
    let mut connection = crate::common::open_client();
    connection.handle_timeout(at(1000));
    assert_eq!(written(&mut connection), ours);
    for stream in streams() {
        let found = stream.bytes.windows(ours.len()).filter(|window| *window == ours).count();
        assert_eq!(found, stream.pings, "{}", stream.name);
    }
}

proptest! {
    #![proptest_config(crate::common::cases(64))]

    #[test]
    fn live_streams_are_read_in_any_pieces(cuts in vec(any::<Index>(), 0..40)) {
        for stream in streams() {
            let length = stream.bytes.len();
            let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(length + 1)).collect();
            places.extend([0, length]);
            places.sort_unstable();
            replay(&stream, places.windows(2).map(|pair| &stream.bytes[pair[0]..pair[1]]));
        }
    }
}
