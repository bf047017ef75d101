//! Debug, display and error texts never show secrets.

use bytes::Bytes;
use zraft_protocol::{
    Capabilities, ClientMessage, CorrelationId, Nonce, Payload, RequestId, ServerMessage,
    SessionId, Timestamp,
};

const SECRET: &str = "sesame";

fn assert_masked(shown: &str) {
    assert!(!shown.contains(SECRET), "{shown}");
    // The secret must not appear as a list of bytes either.
    assert!(!shown.contains("115, 101, 115") && !shown.contains("0x73"), "{shown}");
}

#[test]
fn session_id_is_masked() {
    let id = SessionId::new(SECRET).unwrap();
    assert_eq!(id.as_str(), SECRET);
    assert_eq!(format!("{id} {id:?}"), "*** SessionId(***)");
    assert_masked(&format!("{id:#?} {:?}", Some(&id)));
}

#[test]
fn payload_shows_only_its_length() {
    let payload = Payload::new(SECRET).unwrap();
    assert_eq!(format!("{payload:?}"), "Payload(6 bytes)");
    assert_masked(&format!("{payload:#?}"));
}

#[test]
fn capabilities_show_only_their_names() {
    let capabilities = Capabilities::new([("token", SECRET), ("kind", SECRET)]).unwrap();
    assert_eq!(capabilities.get("token"), Some(SECRET));
    assert_eq!(format!("{capabilities:?}"), r#"{"token": ***, "kind": ***}"#);
    assert_masked(&format!("{capabilities:#?}"));
}

#[test]
fn messages_mask_their_secrets() {
    let session_id = SessionId::new(SECRET).unwrap();
    let capabilities = Capabilities::new([("token", SECRET)]).unwrap();
    let payload = Payload::new(SECRET).unwrap();
    let nonce = Nonce::new(1).unwrap();
    let one = RequestId::FIRST;
    let correlation_id = CorrelationId::new("c").unwrap();
    let created_at = Timestamp::from_millis(0);
    for message in [
        ClientMessage::CreateSession { capabilities, nonce },
        ClientMessage::ContinueSession { session_id: session_id.clone(), nonce },
        ClientMessage::ClientRequest {
            request_id: one,
            lowest_pending_request_id: one,
            payload: payload.clone(),
            created_at,
        },
        ClientMessage::Query {
            correlation_id: correlation_id.clone(),
            payload: payload.clone(),
            created_at,
        },
    ] {
        assert_masked(&format!("{message:?} {message:#?}"));
    }
    for message in [
        ServerMessage::SessionCreated { session_id, nonce },
        ServerMessage::ClientResponse { request_id: one, result: payload.clone() },
        ServerMessage::ServerRequest { request_id: one, payload: payload.clone(), created_at },
        ServerMessage::QueryResponse { correlation_id, result: payload },
    ] {
        assert_masked(&format!("{message:?} {message:#?}"));
    }
}

#[test]
fn errors_do_not_show_the_rejected_bytes() {
    let mut frame = b"zraft\x01\x02\xffsesame".to_vec();
    let error = ClientMessage::decode(&Bytes::from(frame.clone())).unwrap_err();
    assert_masked(&format!("{error} {error:?}"));
    frame[7] = 7;
    frame.push(0xff);
    let error = ClientMessage::decode(&Bytes::from(frame)).unwrap_err();
    assert_eq!(error.to_string(), "the session id is not valid UTF-8");
    assert_masked(&format!("{error} {error:?}"));
    let error = SessionId::new(SECRET.repeat(50)).unwrap_err();
    assert_masked(&format!("{error} {error:?}"));
}
