//! Invalid input. The decoder must not panic, and must not allocate because of an announced length.

use bytes::{Bytes, BytesMut};
use zraft_protocol::{ClientMessage, DecodeError, PeekedId, ServerMessage, peek_server};

use crate::support::{From, Message, hex, unhex, vectors};

/// Runs the decoders of both directions and the peek: a frame that is garbage in one direction may be valid in the
/// other.
fn read_all(frame: &Bytes) {
    for from in [From::Client, From::Server] {
        if let Ok(message) = Message::decode(from, frame) {
            // Every message that decodes can be encoded, and decodes to the same message again.
            let again = Bytes::from(message.encode());
            assert!(again.len() <= frame.len(), "{}", hex(frame));
            assert_eq!(Message::decode(from, &again).unwrap(), message, "{}", hex(frame));
        }
    }
    let _ = peek_server(frame);
    let _ = peek_server(&frame[..frame.len().min(64)]);
}

#[test]
fn truncated_vectors_are_errors() {
    for vector in vectors() {
        for length in 0..vector.frame.len() {
            let frame = vector.frame.slice(..length);
            read_all(&frame);
            let result = Message::decode(vector.from, &frame);
            assert!(
                matches!(result, Err(DecodeError::Truncated { .. })),
                "{result:?} for {length} bytes of {}",
                hex(&vector.frame)
            );
        }
    }
}

#[test]
fn vectors_with_one_flipped_bit_give_a_message_or_an_error() {
    for vector in vectors() {
        let mut frame = BytesMut::from(&vector.frame[..]);
        for bit in 0..frame.len() * 8 {
            frame[bit / 8] ^= 0x80 >> (bit % 8);
            read_all(&frame.clone().freeze());
            frame[bit / 8] ^= 0x80 >> (bit % 8);
        }
        assert_eq!(frame, vector.frame);
    }
}

#[test]
fn flipped_header_bits_give_a_signature_or_version_error() {
    for vector in vectors() {
        for bit in 0..48 {
            let mut frame = BytesMut::from(&vector.frame[..]);
            frame[bit / 8] ^= 0x80 >> (bit % 8);
            let error = Message::decode(vector.from, &frame.clone().freeze()).unwrap_err();
            let expected = if bit < 40 {
                DecodeError::BadSignature
            } else {
                DecodeError::UnsupportedVersion(frame[5])
            };
            assert_eq!(error, expected);
        }
    }
}

#[test]
fn decoded_payloads_and_texts_share_the_frame() {
    let within = |part: &[u8], frame: &Bytes| {
        frame.as_ptr_range().contains(&part.as_ptr())
            && part.as_ptr_range().end <= frame.as_ptr_range().end
    };
    let mut payloads = 0;
    for vector in vectors() {
        let message = Message::decode(vector.from, &vector.frame).unwrap();
        if let Some(payload) = message.payload()
            && !payload.is_empty()
        {
            assert!(within(payload, &vector.frame), "{}", vector.message);
            let clone = message.clone();
            assert_eq!(clone.payload().unwrap().as_ptr(), payload.as_ptr());
            payloads += 1;
        }
        match &message {
            Message::Client(ClientMessage::ContinueSession { session_id, .. })
            | Message::Server(ServerMessage::SessionCreated { session_id, .. }) => {
                assert!(within(session_id.as_bytes(), &vector.frame));
                assert!(!within(session_id.to_detached().as_bytes(), &vector.frame));
                assert_eq!(&session_id.to_detached(), session_id);
            }
            Message::Client(ClientMessage::Query { correlation_id, .. })
            | Message::Server(ServerMessage::QueryResponse { correlation_id, .. }) => {
                assert!(within(correlation_id.as_bytes(), &vector.frame));
                assert!(!within(correlation_id.to_detached().as_bytes(), &vector.frame));
            }
            Message::Client(ClientMessage::CreateSession { capabilities, .. }) => {
                for (name, value) in capabilities.iter() {
                    assert!(within(name.as_bytes(), &vector.frame));
                    assert!(value.is_empty() || within(value.as_bytes(), &vector.frame));
                }
            }
            _ => {}
        }
    }
    assert!(payloads > 100, "only {payloads} vectors have a payload");
}

#[test]
fn announced_two_gigabyte_payload_without_bytes_is_truncated() {
    let head = "7a7261667401";
    for (from, fields, field) in [
        (From::Client, "0400000000000000010000000000000001", "the payload"),
        (From::Client, "08000163", "the payload"),
        (From::Server, "060000000000000001", "the result"),
        (From::Server, "070000000000000001", "the payload"),
        (From::Server, "09000163", "the result"),
    ] {
        let frame = unhex(&format!("{head}{fields}7fffffff00"));
        assert_eq!(Message::decode(from, &frame), Err(DecodeError::Truncated { field }));
        for length in ["ffffffff", "80000000"] {
            let frame = unhex(&format!("{head}{fields}{length}00"));
            assert_eq!(Message::decode(from, &frame), Err(DecodeError::NegativeLength { field }));
        }
    }
}

#[test]
fn announced_texts_and_counts_without_bytes_are_truncated() {
    for (from, frame, field) in [
        (From::Client, "7a7261667401 01 ffff 0001 6b 0001 76", "the capabilities"),
        (From::Client, "7a7261667401 01 0001 ffff 6b", "the capabilities"),
        (From::Client, "7a7261667401 02 ff 61", "the session id"),
        (From::Client, "7a7261667401 08 ffff 61", "the correlation id"),
        (From::Server, "7a7261667401 04 01 ffffff", "the leader id"),
    ] {
        let frame = unhex(&frame.replace(' ', ""));
        assert_eq!(Message::decode(from, &frame), Err(DecodeError::Truncated { field }));
    }
}

#[test]
fn largest_number_of_capabilities_decodes_quickly() {
    let entries = |value: &'static str| (0..65_535).map(move |n| (n.to_string(), value));
    let capabilities = zraft_protocol::Capabilities::new(entries("v")).unwrap();
    let nonce = zraft_protocol::Nonce::new(1).unwrap();
    let message = Message::Client(ClientMessage::CreateSession { capabilities, nonce });
    let frame = Bytes::from(message.encode());
    assert_eq!(Message::decode(From::Client, &frame), Ok(message));
}

#[test]
fn peek_finds_the_id_in_the_first_64_bytes() {
    for vector in vectors() {
        let message = Message::decode(vector.from, &vector.frame).unwrap();
        let Message::Server(message) = message else { continue };
        let expected = match message {
            ServerMessage::ClientResponse { request_id, .. } => {
                Some(PeekedId::ClientResponse(request_id))
            }
            ServerMessage::ServerRequest { request_id, .. } => {
                Some(PeekedId::ServerRequest(request_id))
            }
            ServerMessage::QueryResponse { correlation_id, .. } => {
                (correlation_id.as_bytes().len() <= 55)
                    .then_some(PeekedId::QueryResponse(correlation_id))
            }
            _ => None,
        };
        let head = &vector.frame[..vector.frame.len().min(64)];
        assert_eq!(peek_server(head), expected, "{}", vector.message);
    }
}

#[test]
fn peek_finds_the_id_when_the_rest_does_not_decode() {
    let id = |id| zraft_protocol::RequestId::new(id).unwrap();
    let peek = |frame: &str| {
        let frame = unhex(&frame.replace(' ', ""));
        assert!(ServerMessage::decode(&frame).is_err());
        peek_server(&frame)
    };
    assert_eq!(
        peek("7a7261667401 06 0000000000000007 ffffffff"),
        Some(PeekedId::ClientResponse(id(7)))
    );
    assert_eq!(peek("7a7261667401 07 0000000000000009"), Some(PeekedId::ServerRequest(id(9))));
    let correlation = zraft_protocol::CorrelationId::new("c1").unwrap();
    assert_eq!(peek("7a7261667401 09 0002 6331"), Some(PeekedId::QueryResponse(correlation)));
    for unreadable in [
        "",
        "7a72616674",
        "7a7261667402 06 0000000000000007",
        "7a7261667401 06 00000000000007",
        "7a7261667401 06 8000000000000007",
        "7a7261667401 09 0000",
        "7a7261667401 09 0002 63",
        "7a7261667401 09 0001 ff",
    ] {
        assert_eq!(peek(unreadable), None, "{unreadable}");
    }
}
