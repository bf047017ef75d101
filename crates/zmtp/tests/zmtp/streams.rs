//! Properties of whole streams: valid ones in any pieces, and arbitrary bytes.

use crate::common::{
    COMMAND, LONG, MORE, at, command, events, frame, greeting, header, message, ping, ready,
};
use proptest::{collection::vec, prelude::*, sample::Index};
use zraft_zmtp::{Config, Connection, Event};

const MAX: usize = 300;
const SKIP: u64 = 2000;

fn config() -> Config {
    Config { max_frame: MAX, skip_limit: SKIP, ..Config::client() }
}

/// One message or command that a peer sends.
#[derive(Debug, Clone)]
enum Item {
    Message { length: usize, long_header: bool, reserved: u8 },
    Oversized { length: usize },
    Multipart { lengths: Vec<usize> },
    Ping { context: Vec<u8> },
    Pong,
    Unknown { length: usize },
}

fn item() -> impl Strategy<Value = Item> {
    prop_oneof![
        4 => (0..=MAX, any::<bool>(), 0u8..32)
            .prop_map(|(length, long_header, reserved)| Item::Message { length, long_header, reserved: reserved << 3 }),
        1 => (MAX + 1..=SKIP as usize).prop_map(|length| Item::Oversized { length }),
        1 => vec(0..=SKIP as usize, 2..5).prop_map(|lengths| Item::Multipart { lengths }),
        1 => vec(any::<u8>(), 0..=16).prop_map(|context| Item::Ping { context }),
        1 => Just(Item::Pong),
        1 => (0usize..600).prop_map(|length| Item::Unknown { length }),
    ]
}

fn body(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + length) as u8).collect()
}

impl Item {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Message { length, long_header: true, reserved } => {
                [header(*reserved, *length as u64), body(*length)].concat()
            }
            Self::Message { length, long_header: false, reserved } => {
                frame(*reserved, &body(*length))
            }
            Self::Oversized { length } => message(&body(*length)),
            Self::Multipart { lengths } => {
                let (last, parts) =
                    lengths.split_last().expect("a multipart message has at least two frames");
                let parts = parts.iter().flat_map(|length| frame(MORE, &body(*length)));
                parts.chain(message(&body(*last))).collect()
            }
            Self::Ping { context } => ping(300, context),
            Self::Pong => command("PONG", b""),
            Self::Unknown { length } => command("UNKNOWN", &body(*length)),
        }
    }

    fn event(&self) -> Option<Event> {
        match self {
            Self::Message { length, .. } => Some(crate::common::message_event(body(*length))),
            Self::Oversized { length } => {
                let head = body(*length)[..64].to_vec().into();
                Some(Event::Oversized { length: *length as u64, head })
            }
            Self::Multipart { .. } => Some(Event::MultipartDiscarded),
            Self::Ping { .. } | Self::Pong | Self::Unknown { .. } => None,
        }
    }
}

/// Returns all events, with messages taken in batches, by `take_place` or by `take_first`.
fn events_by_many(connection: &mut Connection, parts: bool) -> Vec<Event> {
    let mut reported = Vec::new();
    loop {
        if let Some(mut messages) = connection.poll_messages(at(1)) {
            while let Some(length) = messages.first().map(<[u8]>::len) {
                let message = if parts {
                    {
                        let place = messages.take_place(0..length);
                        messages.bytes().slice(place)
                    }
                } else {
                    messages.take_first().unwrap()
                };
                reported.push(Event::Message(message));
            }
            continue;
        }
        match connection.poll_event(at(1)) {
            Some(event) => reported.push(event),
            None => return reported,
        }
    }
}

/// Cuts the bytes at these places.
fn pieces(bytes: &[u8], cuts: &[Index]) -> Vec<Vec<u8>> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| bytes[pair[0]..pair[1]].to_vec()).collect()
}

proptest! {
    #![proptest_config(crate::common::cases(512))]

    #[test]
    fn stream_gives_the_same_events_in_any_pieces(
        items in vec(item(), 0..20),
        cuts in vec(any::<Index>(), 0..60),
        polled in vec(any::<bool>(), 1..10),
    ) {
        let mut bytes = [greeting(), ready("SERVER")].concat();
        let handshake = bytes.len();
        bytes.extend(items.iter().flat_map(Item::bytes));
        let mut connection = Connection::new(config(), at(0));
        let mut reported = Vec::new();
        for (piece, poll) in pieces(&bytes, &cuts).iter().zip(polled.iter().cycle()) {
            connection.handle_bytes(at(1), piece);
            if *poll {
                reported.extend(events(&mut connection, at(1)));
            }
        }
        reported.extend(events(&mut connection, at(1)));

        prop_assert!(matches!(reported.remove(0), Event::Ready(_)));
        let expected: Vec<Event> = items.iter().filter_map(Item::event).collect();
        prop_assert_eq!(reported, expected);
        prop_assert_eq!(connection.bytes_received(), bytes.len() as u64);
        let commands: usize = items
            .iter()
            .filter(|item| matches!(item, Item::Ping { .. } | Item::Pong | Item::Unknown { .. }))
            .map(|item| item.bytes().len())
            .sum();
        let messages = bytes.len() - handshake - commands;
        prop_assert_eq!(connection.message_bytes_received(), messages as u64);
        prop_assert!(!connection.mid_message());
        prop_assert_eq!(connection.recv_buffer().len(), 0);
    }

    #[test]
    fn batched_messages_equal_messages_polled_one_by_one(
        items in vec(item(), 0..40),
        cuts in vec(any::<Index>(), 0..60),
        parts in any::<bool>(),
    ) {
        let mut bytes = [greeting(), ready("SERVER")].concat();
        bytes.extend(items.iter().flat_map(Item::bytes));
        let (mut one, mut many) = (Connection::new(config(), at(0)), Connection::new(config(), at(0)));
        for piece in pieces(&bytes, &cuts) {
            one.handle_bytes(at(1), &piece);
            many.handle_bytes(at(1), &piece);
            prop_assert_eq!(events(&mut one, at(1)), events_by_many(&mut many, parts));
            prop_assert_eq!(one.received_messages(), many.received_messages());
            prop_assert_eq!(one.message_bytes_received(), many.message_bytes_received());
            prop_assert_eq!(one.mid_message(), many.mid_message());
            prop_assert_eq!(one.recv_buffer().len(), many.recv_buffer().len());
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic_or_buffer_more_than_a_frame(
        stage in 0..3,
        chunks in vec(chunk(), 0..30),
        server in any::<bool>(),
        eof in any::<bool>(),
    ) {
        let socket_type = if server { Config::server() } else { Config::client() }.socket_type;
        let mut connection = Connection::new(Config { socket_type, ..config() }, at(0));
        if stage > 0 {
            connection.handle_bytes(at(0), &greeting());
        }
        if stage > 1 {
            connection.handle_bytes(at(0), &ready(if server { "CLIENT" } else { "SERVER" }));
        }
        prop_assert_eq!(events(&mut connection, at(0)).len(), usize::from(stage > 1));
        let (mut failed, mut messages) = (false, 0);
        for (chunk, millis) in chunks.iter().zip(1..) {
            connection.handle_bytes(at(millis), chunk);
            for event in events(&mut connection, at(millis)) {
                prop_assert!(!failed, "the failure must be the last event");
                match event {
                    Event::Failed(_) => failed = true,
                    Event::Message(message) => {
                        messages += 1;
                        prop_assert!(message.len() <= MAX);
                    }
                    Event::Oversized { length, head } => {
                        messages += 1;
                        prop_assert!(length > MAX as u64 && head.len() <= 64);
                    }
                    _ => {}
                }
            }
            // The longest frame that is buffered until it is complete is a command.
            prop_assert!(connection.recv_buffer().len() <= 4096 + 9);
            prop_assert!(connection.tx_queued() <= 4096);
            prop_assert_eq!(failed, connection.poll_timeout().is_none());
        }
        if eof {
            connection.handle_eof(at(100));
            let last = events(&mut connection, at(100));
            prop_assert_eq!(last.len(), usize::from(!failed));
            failed = true;
        }
        prop_assert_eq!(connection.received_messages(), messages);
        if failed {
            prop_assert!(connection.send(b"x").is_err());
        }
    }
}

/// Generates bytes that resemble frames, so that the decoder gets past the first byte.
fn chunk() -> impl Strategy<Value = Vec<u8>> {
    let noise = || vec(any::<u8>(), 0..40);
    prop_oneof![
        noise(),
        item().prop_map(|item| item.bytes()),
        (any::<u8>(), any::<u64>(), noise()).prop_map(|(flags, length, body)| [
            header(flags, length),
            body
        ]
        .concat()),
        (0u8..8, 0u64..5000, noise()).prop_map(|(flags, length, body)| [
            header(flags, length),
            body
        ]
        .concat()),
        (0u8..8, noise()).prop_map(|(flags, body)| frame(flags & !LONG, &body)),
        (prop::sample::select(&["READY", "ERROR", "PING", "PONG"][..]), noise())
            .prop_map(|(name, data)| command(name, &data)),
        noise().prop_map(|body| frame(COMMAND, &body)),
        Just(greeting()),
        Just(ready("SERVER")),
    ]
}
