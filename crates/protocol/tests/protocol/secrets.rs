//! What is printed never tells what must not be known.

use bytes::Bytes;
use zraft_protocol::{
    Capabilities, ClientMessage, CorrelationId, Nonce, Payload, RequestId, ServerMessage,
    SessionId, Timestamp,
};

const SECRET: &str = "sesame";

fn masked(shown: &str) {
    assert!(!shown.contains(SECRET), "{shown}");
    // Neither as a list of bytes.
    assert!(!shown.contains("115, 101, 115") && !shown.contains("0x73"), "{shown}");
}

#[test]
fn a_session_id_is_masked() {
    let id = SessionId::new(SECRET).unwrap();
    assert_eq!(id.as_str(), SECRET);
    assert_eq!(format!("{id} {id:?}"), "*** SessionId(***)");
    masked(&format!("{id:#?} {:?}", Some(&id)));
}

#[test]
fn a_payload_shows_its_length_only() {
    let payload = Payload::new(SECRET).unwrap();
    assert_eq!(format!("{payload:?}"), "Payload(6 bytes)");
    masked(&format!("{payload:#?}"));
}

#[test]
fn capabilities_show_their_names_only() {
    let capabilities = Capabilities::new([("token", SECRET), ("kind", SECRET)]).unwrap();
    assert_eq!(capabilities.get("token"), Some(SECRET));
    assert_eq!(format!("{capabilities:?}"), r#"{"token": ***, "kind": ***}"#);
    masked(&format!("{capabilities:#?}"));
}

#[test]
fn messages_mask_what_they_carry() {
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
        masked(&format!("{message:?} {message:#?}"));
    }
    for message in [
        ServerMessage::SessionCreated { session_id, nonce },
        ServerMessage::ClientResponse { request_id: one, result: payload.clone() },
        ServerMessage::ServerRequest { request_id: one, payload: payload.clone(), created_at },
        ServerMessage::QueryResponse { correlation_id, result: payload },
    ] {
        masked(&format!("{message:?} {message:#?}"));
    }
}

#[test]
fn errors_do_not_show_what_did_not_decode() {
    let mut frame = b"zraft\x01\x02\xffsesame".to_vec();
    let error = ClientMessage::decode(&Bytes::from(frame.clone())).unwrap_err();
    masked(&format!("{error} {error:?}"));
    frame[7] = 7;
    frame.push(0xff);
    let error = ClientMessage::decode(&Bytes::from(frame)).unwrap_err();
    assert_eq!(error.to_string(), "the session id is not valid UTF-8");
    masked(&format!("{error} {error:?}"));
    let error = SessionId::new(SECRET.repeat(50)).unwrap_err();
    masked(&format!("{error} {error:?}"));
}
