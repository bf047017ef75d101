use bytes::{Buf, Bytes};
use zraft_zmtp::{Config, Connection, Error, Event, Instant};

use super::{
    bytes_of_peer::{COMMAND, Header, MORE, frame, handshake, ready_socket_type, short_text},
    script::Cuts,
};

/// Bytes as what follows a handshake: the frames, commands and overlong messages in it are told as a second, naive reader
/// tells them, however the stream is cut into reads; no more is held than one frame; PINGs are answered; messages that are
/// sent on come out the same.
pub fn frames(input: &[u8]) {
    let [options, cuts, stream @ ..] = input else { return };
    let config = config(*options);
    let expected = naive(&config, stream);

    let mut whole = open(config);
    whole.handle_bytes(NOW, stream);
    let told = events(&mut whole);
    compare(&expected, &told);

    let mut bytewise = open(config);
    let mut held = 0;
    let mut told_bytewise = Vec::new();
    for piece in stream.chunks(1).take(5000) {
        bytewise.handle_bytes(NOW, piece);
        told_bytewise.extend(events(&mut bytewise));
        held = held.max(bytewise.recv_buffer().len());
    }
    assert!(held <= config.max_frame.max(4096) + 9, "{held} bytes are held");
    assert!(told.starts_with(&told_bytewise), "{told_bytewise:?}, not {told:?}");

    let mut split = open(config);
    let mut cuts = Cuts::new(*cuts);
    let (mut rest, mut told_split) = (stream, Vec::new());
    while !rest.is_empty() {
        let (piece, more) = rest.split_at(cuts.next(300).min(rest.len()));
        split.handle_bytes(NOW, piece);
        told_split.extend(events(&mut split));
        rest = more;
    }
    assert_eq!(told, told_split, "however the stream is cut");

    let mut batches = open(config);
    batches.handle_bytes(NOW, stream);
    assert_eq!(told, many_at_once(&mut batches), "one by one or many at once");
    assert_eq!(batches.received_messages(), whole.received_messages());
    if !expected.failed {
        assert_eq!(whole.message_bytes_received(), split.message_bytes_received());
        assert_eq!(whole.mid_message(), split.mid_message());
        let messages =
            |event: &&Event| matches!(event, Event::Message(_) | Event::Oversized { .. });
        assert_eq!(whole.received_messages(), told.iter().filter(messages).count() as u64);
        let pongs = expected.pings.iter().take(32);
        let pongs: Vec<u8> = pongs.flat_map(|context| pong(context)).collect();
        assert_eq!(written(&mut whole), pongs, "as many PONGs as there may be, and nothing else");
        split.handle_eof(NOW);
        assert_eq!(split.poll_event(NOW), Some(Event::Failed(Error::Closed)));
    }
    over(&mut split);
    send_on(&told);
}

const NOW: Instant = Instant::from_nanos(1 << 40);

fn config(options: u8) -> Config {
    let mut config = if options & 1 == 0 { Config::client() } else { Config::server() };
    config.max_frame = [64, 300, 5000, 70_000][usize::from(options >> 1 & 3)];
    config.skip_limit = [0, 400, 6000, 1 << 30][usize::from(options >> 3 & 3)];
    config
}

/// A connection after the handshake, with nothing left to write.
fn open(config: Config) -> Connection {
    let mut connection = Connection::new(config, NOW);
    let partner = match config.socket_type {
        zraft_zmtp::SocketType::Client => "SERVER",
        zraft_zmtp::SocketType::Server => "CLIENT",
    };
    connection.handle_bytes(NOW, &handshake(partner));
    assert!(matches!(connection.poll_event(NOW), Some(Event::Ready(_))));
    written(&mut connection);
    connection
}

fn events(connection: &mut Connection) -> Vec<Event> {
    std::iter::from_fn(|| connection.poll_event(NOW)).collect()
}

/// The same by way of `poll_messages`, and by both ways to take a message out.
fn many_at_once(connection: &mut Connection) -> Vec<Event> {
    let mut events = Vec::new();
    loop {
        while let Some(mut messages) = connection.poll_messages(NOW) {
            while let Some(length) = messages.first().map(<[u8]>::len) {
                let message = if events.len() % 2 == 0 {
                    messages.take_first().unwrap()
                } else {
                    {
                        let place = messages.take_place(0..length);
                        messages.bytes().slice(place)
                    }
                };
                assert_eq!(message.len(), length);
                events.push(Event::Message(message));
            }
            assert_eq!(messages.take_first(), None);
        }
        match connection.poll_event(NOW) {
            Some(event) => events.push(event),
            None => return events,
        }
    }
}

fn written(connection: &mut Connection) -> Vec<u8> {
    let tx = connection.tx();
    let mut bytes = vec![0; tx.remaining()];
    tx.copy_to_slice(&mut bytes);
    bytes
}

fn pong(context: &[u8]) -> Vec<u8> {
    frame(COMMAND, &[b"\x04PONG", context].concat())
}

fn over(connection: &mut Connection) {
    connection.handle_bytes(NOW, &frame(0, b"too late"));
    connection.handle_timeout(NOW + std::time::Duration::from_secs(3600));
    connection.handle_eof(NOW);
    assert_eq!(connection.poll_event(NOW), None, "the failure is the last event");
    assert!(!connection.is_ready() && connection.send(b"x").is_err());
    assert!(connection.tx_queued() == 0 && connection.recv_buffer().is_empty());
    assert!(connection.poll_timeout().is_none());
}

/// What was received can be sent, and is received again.
fn send_on(told: &[Event]) {
    let mut sender = open(Config::client());
    let mut receiver = open(Config::server());
    let mut sent = Vec::new();
    for event in told {
        if let Event::Message(message) = event {
            if sent.len() % 2 == 0 {
                sender.send(message).unwrap();
            } else {
                sender.send_shared(message.clone()).unwrap();
            }
            sent.push(message.clone());
        }
    }
    assert_eq!(sender.tx_queued() as u64, sender.tx_total() - sender.tx_written());
    receiver.handle_bytes(NOW, &written(&mut sender));
    let received: Vec<Bytes> = events(&mut receiver)
        .into_iter()
        .map(|event| match event {
            Event::Message(message) => message,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(sent, received);
}

/// What the naive reader makes of a stream.
#[derive(Default)]
struct Expected {
    events: Vec<Told>,
    pings: Vec<Vec<u8>>,
    failed: bool,
}

#[derive(Debug)]
enum Told {
    Message(Vec<u8>),
    Oversized(u64, Vec<u8>),
    Multipart,
}

fn compare(expected: &Expected, told: &[Event]) {
    let (events, failed) = match told {
        [events @ .., Event::Failed(_)] => (events, true),
        events => (events, false),
    };
    assert_eq!(failed, expected.failed, "{told:?}");
    assert_eq!(events.len(), expected.events.len(), "{told:?}, not {:?}", expected.events);
    for (told, expected) in events.iter().zip(&expected.events) {
        let same = match (told, expected) {
            (Event::Message(told), Told::Message(expected)) => told == expected,
            (Event::Oversized { length, head }, Told::Oversized(expected, bytes)) => {
                length == expected && head == bytes
            }
            (Event::MultipartDiscarded, Told::Multipart) => true,
            _ => false,
        };
        assert!(same, "{told:?}, not {expected:?}");
    }
}

/// Reads the whole stream at leisure.
fn naive(config: &Config, stream: &[u8]) -> Expected {
    let mut expected = Expected::default();
    let mut rest = stream;
    let mut multipart = false;
    while let Some(header) = Header::read(rest) {
        let body = &rest[header.size..];
        let length = usize::try_from(header.length).unwrap_or(usize::MAX);
        if header.has(COMMAND) {
            if header.has(MORE) || length > 4096 {
                expected.failed = true;
                return expected;
            }
            let Some(command) = body.get(..length) else { return expected };
            match read_command(command) {
                Some(Some(context)) => expected.pings.push(context),
                Some(None) => {}
                None => {
                    expected.failed = true;
                    return expected;
                }
            }
            rest = &body[length..];
            continue;
        }
        let part = multipart || header.has(MORE);
        let too_long = length > config.max_frame;
        let beyond = header.length > config.skip_limit || header.length > i64::MAX as u64;
        if too_long
            && (config.skip_limit == 0 || header.length > i64::MAX as u64 || (part && beyond))
        {
            expected.failed = true;
            return expected;
        }
        // Of what is too long the head is waited for, of the rest everything.
        let wanted = if too_long { length.min(64) } else { length };
        let Some(head) = body.get(..wanted) else { return expected };
        multipart = header.has(MORE);
        match (part, too_long) {
            (true, _) if multipart => {}
            (true, _) => expected.events.push(Told::Multipart),
            (false, true) => expected.events.push(Told::Oversized(header.length, head.to_vec())),
            (false, false) => expected.events.push(Told::Message(head.to_vec())),
        }
        if too_long && beyond {
            expected.failed = true;
            return expected;
        }
        rest = body.get(length..).unwrap_or_default();
    }
    expected
}

/// The context of a PING, nothing of what is of no account, and `None` for what ends a connection.
fn read_command(body: &[u8]) -> Option<Option<Vec<u8>>> {
    let (name, data) = short_text(body)?;
    match name {
        b"PING" if (2..=18).contains(&data.len()) => Some(Some(data[2..].to_vec())),
        b"PING" | b"ERROR" => None,
        b"READY" => {
            let _ = ready_socket_type(data);
            None
        }
        _ => Some(None),
    }
}
