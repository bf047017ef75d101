//! Output: the transmit buffer, copying and sharing, and the end of a connection.

use std::io::IoSlice;

use crate::common::{at, events, feed, message, open_client, open_server, ready, written};
use bytes::{Buf, Bytes};
use proptest::{collection::vec, prelude::*, sample::Index};
use zraft_zmtp::{Connection, Error, Event, NotReady, TxBuffer};

const SHARE_FROM: usize = 16 << 10;

/// Returns all queued bytes as `chunks_vectored` gives them with enough slices.
fn vectored(tx: &TxBuffer) -> Vec<u8> {
    let mut slices = [IoSlice::new(&[]); 64];
    let count = tx.chunks_vectored(&mut slices);
    joined(&slices[..count])
}

fn joined(slices: &[IoSlice<'_>]) -> Vec<u8> {
    slices.iter().flat_map(|slice| slice.iter().copied()).collect()
}

fn bytes_of(length: usize, seed: u8) -> Bytes {
    (0..length).map(|at| (at as u8).wrapping_mul(31).wrapping_add(seed)).collect()
}

// ---- TxBuffer

#[derive(Debug, Clone)]
enum Op {
    Send(usize),
    SendShared(usize),
    /// Sends a copied head, a shared payload and a copied end, one call each.
    Pieces(usize, usize),
    /// Sends the same in one call of `send_parts`.
    Parts(usize, usize),
    /// Writes a part of the queued bytes.
    Write(Index),
    WriteAll,
}

fn op() -> impl Strategy<Value = Op> {
    let length = || prop_oneof![0..600usize, SHARE_FROM - 2..SHARE_FROM + 3];
    prop_oneof![
        length().prop_map(Op::Send),
        length().prop_map(Op::SendShared),
        (0..40usize, length()).prop_map(|(head, payload)| Op::Pieces(head, payload)),
        (0..40usize, length()).prop_map(|(head, payload)| Op::Parts(head, payload)),
        any::<Index>().prop_map(Op::Write),
        Just(Op::WriteAll),
    ]
}

proptest! {
    #![proptest_config(crate::common::cases(256))]

    #[test]
    fn bytes_written_in_any_pieces_equal_the_sent_messages(
        ops in vec(op(), 1..25),
        slices in 1usize..5,
    ) {
        let mut connection = open_client();
        let start = connection.tx_total();
        let mut waiting: Vec<u8> = Vec::new();
        let (mut total, mut gone) = (0, 0);
        for (op, seed) in ops.iter().zip(0..) {
            let before = waiting.len();
            match op {
                Op::Send(length) => {
                    let body = bytes_of(*length, seed);
                    connection.send(&body).unwrap();
                    waiting.extend(message(&body));
                }
                Op::SendShared(length) => {
                    let body = bytes_of(*length, seed);
                    connection.send_shared(body.clone()).unwrap();
                    waiting.extend(message(&body));
                }
                Op::Pieces(head, payload) => {
                    let body = bytes_of(head + payload + 8, seed);
                    connection.begin_message(body.len()).unwrap();
                    connection.put_slice(&body[..*head]);
                    connection.put_shared(body.slice(*head..head + payload));
                    connection.put_slice(&body[head + payload..]);
                    waiting.extend(message(&body));
                }
                Op::Parts(head, payload) => {
                    let body = bytes_of(head + payload + 8, seed);
                    let middle = body.slice(*head..head + payload);
                    let (first, second) = body[..*head].split_at(head / 3);
                    connection.send_parts([first, second], &middle, &body[head + payload..]).unwrap();
                    waiting.extend(message(&body));
                }
                Op::Write(_) | Op::WriteAll => {}
            }
            total += (waiting.len() - before) as u64;
            let write = match op {
                Op::Write(part) => part.index(waiting.len() + 1),
                Op::WriteAll => waiting.len(),
                _ => 0,
            };
            connection.tx().advance(write);
            waiting.drain(..write);
            gone += write as u64;

            prop_assert_eq!(connection.tx_queued(), waiting.len());
            prop_assert_eq!(connection.tx_total() - start, total);
            prop_assert_eq!(connection.tx_written() - start, gone);
            let tx = connection.tx();
            prop_assert_eq!(tx.remaining(), waiting.len());
            prop_assert_eq!(tx.chunk().is_empty(), waiting.is_empty());
            prop_assert!(waiting.starts_with(tx.chunk()));
            prop_assert_eq!(&vectored(tx), &waiting);
            // With few slices the result is a non-empty prefix.
            let mut few = vec![IoSlice::new(&[]); slices];
            let count = tx.chunks_vectored(&mut few);
            let beginning = joined(&few[..count]);
            prop_assert!(count <= slices && waiting.starts_with(&beginning));
            prop_assert_eq!(beginning.is_empty(), waiting.is_empty());
            prop_assert!(few[..count].iter().all(|slice| !slice.is_empty()));
        }
        prop_assert_eq!(written(&mut connection), waiting);
    }
}

#[test]
fn chunks_vectored_without_slices_returns_zero() {
    let mut connection = open_client();
    connection.send(b"m").unwrap();
    assert_eq!(connection.tx().chunks_vectored(&mut []), 0);
}

#[test]
#[should_panic(expected = "cannot advance past the end of the buffer")]
fn advance_past_the_end_panics() {
    let mut connection = open_client();
    connection.send(b"m").unwrap();
    connection.tx().advance(4);
}

#[test]
fn allocation_is_reused_after_everything_is_written() {
    let mut connection = open_client();
    let mut place = None;
    // If the buffer's memory were freed, these allocations would occupy it.
    let mut holders = Vec::new();
    for round in 0..50 {
        for _ in 0..1000 {
            connection.send(&[7; 64]).unwrap();
        }
        let tx = connection.tx();
        let here = tx.chunk().as_ptr();
        if round > 0 {
            assert_eq!(*place.get_or_insert(here), here);
        }
        while tx.has_remaining() {
            tx.advance(tx.remaining().min(10_000));
        }
        holders.push(vec![1u8; 66_000]);
        holders.push(vec![1u8; 132_000]);
    }
}

// ---- copying and sharing

#[test]
fn payload_of_16_kib_or_more_is_not_copied() {
    let payload = bytes_of(SHARE_FROM, 1);
    let mut connection = open_client();
    connection.begin_message(4 + payload.len() + 4).unwrap();
    connection.put_slice(b"head");
    connection.put_shared(payload.clone());
    connection.put_slice(b"last");
    let mut slices = [IoSlice::new(&[]); 8];
    let tx = connection.tx();
    assert_eq!(tx.chunks_vectored(&mut slices), 3, "expected slices for head, payload and end");
    assert_eq!(slices[1].as_ptr(), payload.as_ptr());
    assert_eq!(slices[1].len(), payload.len());
    tx.advance(9 + 4 + payload.len());
    assert!(payload.is_unique(), "the payload must be released once it is written");
    assert_eq!(tx.chunk(), b"last");
}

#[test]
fn smaller_payload_is_copied() {
    let payload = bytes_of(SHARE_FROM - 1, 1);
    let mut connection = open_client();
    connection.send_shared(payload.clone()).unwrap();
    assert!(payload.is_unique());
    let tx = connection.tx();
    assert_eq!(tx.chunk().len(), tx.remaining(), "the message must be one chunk");
    assert_eq!(tx.chunk(), message(&payload));
}

// ---- messages

#[test]
fn message_sent_in_pieces_equals_one_sent_whole() {
    for length in [0, 1, 255, 256, 20_000, 100_000] {
        let body = bytes_of(length, 3);
        let mut whole = open_client();
        whole.send(&body).unwrap();
        let mut shared = open_client();
        shared.send_shared(body.clone()).unwrap();
        let mut pieces = open_client();
        pieces.begin_message(length).unwrap();
        pieces.put_slice(&body[..length / 3]);
        pieces.put_shared(body.slice(length / 3..length / 2));
        pieces.put_slice(b"");
        pieces.put_shared(body.slice(length / 2..));
        let expected = written(&mut whole);
        assert_eq!(written(&mut shared), expected);
        assert_eq!(written(&mut pieces), expected);
        assert_eq!(expected, message(&body));
    }
}

#[test]
fn message_is_written_once_tx_written_reaches_its_tx_total() {
    let mut connection = open_client();
    let handshake = 64 + ready("CLIENT").len() as u64;
    assert_eq!(connection.tx_total(), handshake);
    assert_eq!(connection.tx_written(), handshake);
    let ends = [10, 300, 20_000].map(|length| {
        connection.send_shared(bytes_of(length, 1)).unwrap();
        connection.tx_total()
    });
    assert_eq!(ends[0], handshake + 12);
    assert_eq!(ends[1], ends[0] + 309);
    assert_eq!(ends[2], ends[1] + 20_009);
    connection.tx().advance(12 + 308);
    let gone = connection.tx_written();
    assert_eq!(ends.map(|end| end <= gone), [true, false, false]);
    connection.tx().advance(1);
    assert_eq!(connection.tx_written(), ends[1]);
    written(&mut connection);
    assert_eq!(connection.tx_written(), ends[2]);
}

#[test]
fn tx_total_counts_messages_and_heartbeats() {
    let mut connection = open_server();
    let start = connection.tx_total();
    feed(&mut connection, at(1), &crate::common::ping(300, b""));
    assert_eq!(connection.tx_total() - start, connection.tx_queued() as u64);
    connection.send(b"m").unwrap();
    assert_eq!(connection.tx_total() - start, connection.tx_queued() as u64);
}

// ---- failed connections

fn sends_nothing(connection: &mut Connection) {
    assert_eq!(connection.send(b"late"), Err(NotReady));
    assert_eq!(connection.send_shared(bytes_of(20_000, 1)), Err(NotReady));
    assert_eq!(connection.begin_message(1), Err(NotReady));
    connection.handle_bytes(at(50), &crate::common::ping(300, b""));
    connection.handle_timeout(at(100_000));
    connection.restart_timers(at(200_000));
    assert_eq!(events(connection, at(200_000)), []);
    assert_eq!(connection.tx_queued(), 0);
}

#[test]
fn failed_connection_sends_nothing_and_drops_its_queue() {
    let payload = bytes_of(20_000, 1);
    let ends: [fn(&mut Connection); 3] = [
        |connection| connection.handle_eof(at(1)),
        |connection| connection.handle_timeout(at(10_000)),
        |connection| connection.handle_bytes(at(1), &ready("SERVER")),
    ];
    for end in ends {
        let mut connection = open_client();
        connection.send(b"small").unwrap();
        connection.send_shared(payload.clone()).unwrap();
        connection.tx().advance(3);
        end(&mut connection);
        assert!(matches!(events(&mut connection, at(10_000))[..], [Event::Failed(_)]));
        assert!(payload.is_unique());
        sends_nothing(&mut connection);
    }
}

#[test]
fn failed_handshake_sends_only_its_error() {
    let mut connection = Connection::new(zraft_zmtp::Config::server(), at(0));
    written(&mut connection);
    let bytes =
        [crate::common::greeting(), ready("DEALER"), crate::common::ping(300, b"")].concat();
    let reported = feed(&mut connection, at(1), &bytes);
    assert_eq!(reported, [Event::Failed(Error::SocketType("DEALER".to_owned()))]);
    let sent = written(&mut connection);
    assert!(sent[2..].starts_with(b"\x05ERROR"));
    assert_eq!(sent.len(), 2 + usize::from(sent[1]));
    sends_nothing(&mut connection);
}

// ---- many messages

#[test]
fn many_messages_fit_one_write_and_one_read() {
    let mut client = open_client();
    let mut server = open_server();
    for number in 0..1000u32 {
        client.send(&number.to_be_bytes()).unwrap();
    }
    let tx = client.tx();
    assert_eq!(tx.chunk().len(), tx.remaining(), "the messages must be one chunk");
    let reported = feed(&mut server, at(1), &written(&mut client));
    let expected: Vec<Event> = (0..1000u32)
        .map(|number| crate::common::message_event(number.to_be_bytes().to_vec()))
        .collect();
    assert_eq!(reported, expected);
}

#[test]
fn reading_does_not_wait_for_writing() {
    let mut connection = open_client();
    connection.send_shared(bytes_of(10 << 20, 1)).unwrap();
    for number in 0..1000u32 {
        let body = number.to_be_bytes();
        let reported = feed(&mut connection, at(1), &message(&body));
        assert_eq!(reported, [crate::common::message_event(body.to_vec())]);
    }
    assert_eq!(connection.received_messages(), 1000);
}
