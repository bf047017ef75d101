//! Properties that hold for every message and for every input.

use bytes::{BufMut, Bytes, BytesMut};
use proptest::test_runner::FileFailurePersistence;
use proptest::{collection::vec, option, prelude::*, sample::select};
use zraft_protocol::{
    Answer, Capabilities, ClientMessage, CloseReason, CorrelationId, MemberId, Nonce, Payload,
    RejectionReason, RequestErrorReason, RequestId, ServerMessage, SessionCloseReason, SessionId,
    Timestamp, encode, peek_server,
};

use crate::support::{From, Message};

fn text(min: usize, max: usize) -> impl Strategy<Value = String> {
    vec(any::<char>(), min..=max).prop_map(String::from_iter)
}

fn request_id() -> impl Strategy<Value = RequestId> {
    (0..=i64::MAX).prop_map(|id| RequestId::try_from(id).unwrap())
}

fn nonce() -> impl Strategy<Value = Nonce> {
    any::<i64>().prop_filter_map("zero", |nonce| Nonce::new(nonce).ok())
}

fn timestamp() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp::from_millis)
}

fn payload() -> impl Strategy<Value = Payload> {
    vec(any::<u8>(), 0..300).prop_map(|bytes| Payload::new(bytes).unwrap())
}

fn session_id() -> impl Strategy<Value = SessionId> {
    text(1, 63).prop_map(|text| SessionId::new(text).unwrap())
}

fn correlation_id() -> impl Strategy<Value = CorrelationId> {
    text(1, 80).prop_map(|text| CorrelationId::new(text).unwrap())
}

fn leader_id() -> impl Strategy<Value = Option<MemberId>> {
    option::of(text(0, 80).prop_map(|text| MemberId::new(text).unwrap()))
}

fn capabilities() -> impl Strategy<Value = Capabilities> {
    vec((text(0, 20), text(0, 20)), 1..20).prop_map(|entries| Capabilities::new(entries).unwrap())
}

fn client_message() -> impl Strategy<Value = ClientMessage> {
    prop_oneof![
        (capabilities(), nonce())
            .prop_map(|(capabilities, nonce)| ClientMessage::CreateSession { capabilities, nonce }),
        (session_id(), nonce())
            .prop_map(|(session_id, nonce)| ClientMessage::ContinueSession { session_id, nonce }),
        timestamp().prop_map(|timestamp| ClientMessage::KeepAlive { timestamp }),
        (request_id(), request_id(), payload(), timestamp()).prop_map(
            |(request_id, lowest_pending_request_id, payload, created_at)| {
                ClientMessage::ClientRequest {
                    request_id,
                    lowest_pending_request_id,
                    payload,
                    created_at,
                }
            }
        ),
        request_id().prop_map(|request_id| ClientMessage::ServerRequestAck { request_id }),
        select(CloseReason::ALL).prop_map(|reason| ClientMessage::CloseSession { reason }),
        Just(ClientMessage::ConnectionClosed),
        (correlation_id(), payload(), timestamp()).prop_map(
            |(correlation_id, payload, created_at)| ClientMessage::Query {
                correlation_id,
                payload,
                created_at
            }
        ),
    ]
}

fn server_message() -> impl Strategy<Value = ServerMessage> {
    prop_oneof![
        (session_id(), nonce())
            .prop_map(|(session_id, nonce)| ServerMessage::SessionCreated { session_id, nonce }),
        nonce().prop_map(|nonce| ServerMessage::SessionContinued { nonce }),
        (select(RejectionReason::ALL), nonce(), leader_id()).prop_map(
            |(reason, nonce, leader_id)| ServerMessage::SessionRejected {
                reason,
                nonce,
                leader_id
            }
        ),
        (select(SessionCloseReason::ALL), leader_id())
            .prop_map(|(reason, leader_id)| ServerMessage::SessionClosed { reason, leader_id }),
        timestamp().prop_map(|timestamp| ServerMessage::KeepAliveResponse { timestamp }),
        (request_id(), payload())
            .prop_map(|(request_id, result)| ServerMessage::ClientResponse { request_id, result }),
        (request_id(), payload(), timestamp()).prop_map(|(request_id, payload, created_at)| {
            ServerMessage::ServerRequest { request_id, payload, created_at }
        }),
        (request_id(), select(RequestErrorReason::ALL))
            .prop_map(|(request_id, reason)| ServerMessage::RequestError { request_id, reason }),
        (correlation_id(), payload()).prop_map(|(correlation_id, result)| {
            ServerMessage::QueryResponse { correlation_id, result }
        }),
    ]
}

/// Generates arbitrary frames. Four of five have a valid header, so that the field decoders are reached.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let rest = || vec(any::<u8>(), 0..120);
    prop_oneof![
        1 => rest(),
        4 => (0..12_u8, rest()).prop_map(|(code, rest)| [&b"zraft\x01"[..], &[code], &rest].concat()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("proptest-regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn client_messages_survive_encoding_and_decoding(message in client_message()) {
        let mut out = BytesMut::new();
        message.encode(&mut out);
        prop_assert_eq!(out.len(), message.encoded_len());
        prop_assert_eq!(ClientMessage::decode(&out.freeze()), Ok(message));
    }

    #[test]
    fn server_messages_survive_encoding_and_decoding(message in server_message()) {
        let mut out = BytesMut::new();
        message.encode(&mut out);
        prop_assert_eq!(out.len(), message.encoded_len());
        prop_assert_eq!(ServerMessage::decode(&out.freeze()), Ok(message));
    }

    #[test]
    fn answer_read_in_place_equals_the_decoded_answer(
        frame in prop_oneof![
            (server_message(), vec(any::<u8>(), 0..9), any::<usize>()).prop_map(|(message, rest, cut)| {
                let mut frame = Vec::new();
                message.encode(&mut frame);
                frame.extend(rest);
                // Cut some of the frames short.
                frame.truncate(cut % (frame.len() * 3));
                frame
            }),
            frame(),
        ],
    ) {
        let decoded = ServerMessage::decode(&Bytes::copy_from_slice(&frame));
        match Answer::read(&frame) {
            Some(Answer::Command(id, result)) => {
                let result = Payload::new(frame[result].to_vec()).unwrap();
                prop_assert_eq!(decoded, Ok(ServerMessage::ClientResponse { request_id: id, result }));
            }
            // `Answer::read` does not validate the correlation id.
            Some(Answer::Query(id, result)) => {
                let id = std::str::from_utf8(id).ok().and_then(|id| CorrelationId::new(id).ok());
                prop_assert_eq!(id.is_some(), decoded.is_ok());
                if let Some(correlation_id) = id {
                    let result = Payload::new(frame[result].to_vec()).unwrap();
                    prop_assert_eq!(decoded, Ok(ServerMessage::QueryResponse { correlation_id, result }));
                }
            }
            None => {
                let answer = matches!(
                    decoded,
                    Ok(ServerMessage::ClientResponse { .. } | ServerMessage::QueryResponse { .. })
                );
                prop_assert!(!answer);
            }
        }
    }

    #[test]
    fn encode_appends_to_the_buffer(message in server_message()) {
        let mut alone = Vec::new();
        message.encode(&mut alone);
        let mut out = b"before".to_vec();
        message.encode(&mut out);
        prop_assert_eq!(out, [b"before", &alone[..]].concat());
    }

    #[test]
    fn command_encoded_in_pieces_equals_the_whole(
        request_id in request_id(),
        lowest_pending_request_id in request_id(),
        payload in payload(),
        created_at in timestamp(),
    ) {
        let mut pieces = Vec::new();
        encode::client_request_head(
            &mut pieces, request_id, lowest_pending_request_id, payload.len(),
        );
        pieces.put_slice(&payload);
        encode::created_at(&mut pieces, created_at);
        let mut whole = Vec::new();
        ClientMessage::ClientRequest { request_id, lowest_pending_request_id, payload, created_at }
            .encode(&mut whole);
        prop_assert_eq!(pieces, whole);
    }

    #[test]
    fn query_encoded_in_pieces_equals_the_whole(
        correlation_id in correlation_id(),
        payload in payload(),
        created_at in timestamp(),
    ) {
        let mut pieces = Vec::new();
        encode::query_head(&mut pieces, correlation_id.as_bytes(), payload.len());
        prop_assert_eq!(pieces.len(), encode::QUERY_HEAD + correlation_id.as_bytes().len());
        pieces.put_slice(&payload);
        encode::created_at(&mut pieces, created_at);
        let mut whole = Vec::new();
        ClientMessage::Query { correlation_id, payload, created_at }.encode(&mut whole);
        prop_assert_eq!(pieces, whole);
    }

    #[test]
    fn arbitrary_input_gives_a_message_or_an_error(frame in frame()) {
        let _ = peek_server(&frame);
        let frame = Bytes::from(frame);
        for from in [From::Client, From::Server] {
            if let Ok(message) = Message::decode(from, &frame) {
                let again = Bytes::from(message.encode());
                prop_assert_eq!(Message::decode(from, &again), Ok(message));
            }
        }
    }
}
