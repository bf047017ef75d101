//! The protocol's rules for received messages, one test each.

use zraft_protocol::{
    ClientMessage, ClientMessageKind, DecodeError, RequestId, ServerMessage, ServerMessageKind,
};

use crate::support::{From, Message, unhex, vectors};

fn client(fields: &str) -> Result<ClientMessage, DecodeError> {
    ClientMessage::decode(&unhex(&format!("7a7261667401{}", fields.replace(' ', ""))))
}

fn server(fields: &str) -> Result<ServerMessage, DecodeError> {
    ServerMessage::decode(&unhex(&format!("7a7261667401{}", fields.replace(' ', ""))))
}

#[test]
fn bytes_after_the_last_field_are_ignored() {
    for vector in vectors() {
        let message = Message::decode(vector.from, &vector.frame).unwrap();
        for extra in [&[0][..], &[0xff; 5], b"zraft\x01\x07"] {
            let frame = [&vector.frame, extra].concat().into();
            assert_eq!(Message::decode(vector.from, &frame).as_ref(), Ok(&message));
        }
    }
}

#[test]
fn each_direction_has_its_own_discriminators() {
    let frame = "05 0000000000000007";
    let acknowledged = ClientMessage::ServerRequestAck { request_id: RequestId::new(7).unwrap() };
    assert_eq!(client(frame), Ok(acknowledged));
    assert!(matches!(server(frame), Ok(ServerMessage::KeepAliveResponse { .. })));
    for code in 0..=255 {
        let frame = unhex(&format!("7a7261667401{code:02x}"));
        let known = ClientMessageKind::from_code(code).is_some();
        let unknown = Err(DecodeError::UnknownMessage(code));
        assert_eq!(Message::decode(From::Client, &frame) != unknown, known);
        let known = ServerMessageKind::from_code(code).is_some();
        assert_eq!(Message::decode(From::Server, &frame) != unknown, known);
    }
}

#[test]
fn message_types_have_the_protocols_discriminators() {
    let client: Vec<_> = ClientMessageKind::ALL.iter().map(|k| (k.code(), k.name())).collect();
    assert_eq!(
        client,
        [
            (1, "CreateSession"),
            (2, "ContinueSession"),
            (3, "KeepAlive"),
            (4, "ClientRequest"),
            (5, "ServerRequestAck"),
            (6, "CloseSession"),
            (7, "ConnectionClosed"),
            (8, "Query"),
        ]
    );
    let server: Vec<_> = ServerMessageKind::ALL.iter().map(|k| (k.code(), k.name())).collect();
    assert_eq!(
        server,
        [
            (1, "SessionCreated"),
            (2, "SessionContinued"),
            (3, "SessionRejected"),
            (4, "SessionClosed"),
            (5, "KeepAliveResponse"),
            (6, "ClientResponse"),
            (7, "ServerRequest"),
            (8, "RequestError"),
            (9, "QueryResponse"),
        ]
    );
}

#[test]
fn negative_request_id_is_an_error() {
    let negative = |field| DecodeError::NegativeRequestId { field };
    let id = "8000000000000000";
    let one = "0000000000000001";
    assert_eq!(client(&format!("05 {id}")), Err(negative("the request id")));
    assert_eq!(client(&format!("04 {id} {one} 00000000 {one}")), Err(negative("the request id")));
    let lowest = client(&format!("04 {one} {id} 00000000 {one}"));
    assert_eq!(lowest, Err(negative("the lowest pending request id")));
    for fields in ["06 ffffffffffffffff", "07 ffffffffffffffff", "08 ffffffffffffffff"] {
        assert_eq!(server(fields), Err(negative("the request id")));
    }
    assert!(client("05 7fffffffffffffff").is_ok());
    assert!(client("05 0000000000000000").is_ok());
}

#[test]
fn zero_nonce_is_an_error() {
    let zero = "0000000000000000";
    assert_eq!(client(&format!("01 0001 00016b 000176 {zero}")), Err(DecodeError::ZeroNonce));
    assert_eq!(client(&format!("02 0173 {zero}")), Err(DecodeError::ZeroNonce));
    assert_eq!(server(&format!("01 0173 {zero}")), Err(DecodeError::ZeroNonce));
    assert_eq!(server(&format!("02 {zero}")), Err(DecodeError::ZeroNonce));
    assert_eq!(server(&format!("03 01 {zero} 00")), Err(DecodeError::ZeroNonce));
    assert!(server("02 8000000000000000").is_ok());
}

#[test]
fn empty_ids_are_errors_and_empty_payloads_are_valid() {
    let one = "0000000000000001";
    let empty = |field| DecodeError::Empty { field };
    assert_eq!(client(&format!("02 00 {one}")), Err(empty("the session id")));
    assert_eq!(server(&format!("01 00 {one}")), Err(empty("the session id")));
    assert_eq!(client(&format!("08 0000 00000000 {one}")), Err(empty("the correlation id")));
    assert_eq!(server("09 0000 00000000"), Err(empty("the correlation id")));
    assert!(server("09 000163 00000000").is_ok());
    assert!(client(&format!("08 000163 00000000 {one}")).is_ok());
    assert!(client(&format!("04 {one} {one} 00000000 {one}")).is_ok());
    assert!(server(&format!("06 {one} 00000000")).is_ok());
}

#[test]
fn at_least_one_capability_is_required_and_it_may_be_empty() {
    let one = "0000000000000001";
    assert_eq!(client(&format!("01 0000 {one}")), Err(DecodeError::NoCapabilities));
    let Ok(ClientMessage::CreateSession { capabilities, .. }) =
        client(&format!("01 0001 0000 0000 {one}"))
    else {
        panic!("expected a CreateSession");
    };
    assert_eq!(capabilities.iter().collect::<Vec<_>>(), [("", "")]);
}

#[test]
fn repeated_capability_keeps_its_last_value() {
    let Ok(ClientMessage::CreateSession { capabilities, .. }) =
        client("01 0003 000161 000131 000162 000132 000161 000133 0000000000000001")
    else {
        panic!("expected a CreateSession");
    };
    assert_eq!(capabilities.iter().collect::<Vec<_>>(), [("a", "3"), ("b", "2")]);
    assert_eq!(capabilities.get("a"), Some("3"));
    assert_eq!(capabilities.get("c"), None);
}

#[test]
fn unknown_reasons_are_errors() {
    let one = "0000000000000001";
    for (known, name, decode) in [
        (1..=1, "close reason", (&|v| client(&format!("06 {v:02x}")).err()) as &dyn Fn(u8) -> _),
        (1..=4, "rejection reason", &|v| server(&format!("03 {v:02x} {one} 00")).err()),
        (1..=5, "session close reason", &|v| server(&format!("04 {v:02x} 00")).err()),
        (1..=1, "request error reason", &|v| server(&format!("08 {one} {v:02x}")).err()),
    ] {
        for value in 0..=255 {
            let error = DecodeError::UnknownReason { field: name, value };
            let expected = (!known.contains(&value)).then_some(error);
            assert_eq!(decode(value), expected);
        }
    }
}

#[test]
fn text_that_is_not_utf8_is_an_error() {
    let one = "0000000000000001";
    let invalid = |field| DecodeError::InvalidUtf8 { field };
    assert_eq!(client(&format!("02 01ff {one}")), Err(invalid("the session id")));
    assert_eq!(client(&format!("08 0002c328 00000000 {one}")), Err(invalid("the correlation id")));
    assert_eq!(client(&format!("01 0001 0001ff 0000 {one}")), Err(invalid("the capabilities")));
    assert_eq!(client(&format!("01 0001 0000 0001ff {one}")), Err(invalid("the capabilities")));
    assert_eq!(server(&format!("01 01ff {one}")), Err(invalid("the session id")));
    assert_eq!(server("09 0002c328 00000000"), Err(invalid("the correlation id")));
    // The byte ff after the presence bit: 1 0000000000000001 11111111 0000000.
    assert_eq!(server("04 02 8000ff80"), Err(invalid("the leader id")));
    assert_eq!(server(&format!("03 01 {one} 8000ff80")), Err(invalid("the leader id")));
}

#[test]
fn request_id_displays_its_number_and_payload_returns_its_bytes() {
    assert_eq!(zraft_protocol::RequestId::new(42).unwrap().to_string(), "42");
    let payload = zraft_protocol::Payload::new(&b"bytes"[..]).unwrap();
    assert_eq!(payload.into_bytes(), &b"bytes"[..]);
}
