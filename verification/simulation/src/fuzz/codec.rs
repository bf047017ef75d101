use bytes::Bytes;
use zraft_protocol::{
    Answer, Capabilities, ClientMessage, ClientMessageKind, CloseReason, CorrelationId,
    DecodeError, MemberId, Nonce, Payload, PeekedId, RejectionReason, RequestErrorReason,
    RequestId, ServerMessage, ServerMessageKind, SessionCloseReason, SessionId, Timestamp,
    peek_server,
    reserved::{self, Members},
};

use super::script::Script;

/// Bytes as a client's message, and as the plan of one.
pub fn client_codec(input: &[u8]) {
    let Some((mode, bytes)) = input.split_first() else { return };
    if mode & 1 == 0 {
        decode_client(&Bytes::copy_from_slice(bytes));
    } else {
        let message = client_message(&mut Script::new(bytes));
        let mut frame = Vec::new();
        message.encode(&mut frame);
        let frame = Bytes::from(frame);
        assert_eq!(ClientMessage::decode(&frame).as_ref(), Ok(&message), "what is encoded decodes");
        decode_client(&frame);
    }
}

/// Bytes as a server's message, and as the plan of one.
pub fn server_codec(input: &[u8]) {
    let Some((mode, bytes)) = input.split_first() else { return };
    if mode & 1 == 0 {
        decode_server(&Bytes::copy_from_slice(bytes));
    } else {
        let message = server_message(&mut Script::new(bytes));
        let mut frame = Vec::new();
        message.encode(&mut frame);
        let frame = Bytes::from(frame);
        assert_eq!(ServerMessage::decode(&frame).as_ref(), Ok(&message), "what is encoded decodes");
        decode_server(&frame);
    }
}

fn decode_client(frame: &Bytes) {
    let Ok(message) = ClientMessage::decode(frame) else {
        return undecodable(frame, |frame| ClientMessage::decode(frame).is_ok());
    };
    let mut encoded = Vec::new();
    message.encode(&mut encoded);
    assert_eq!(encoded.len(), message.encoded_len());
    let repeated = match &message {
        // Of a repeated name one entry is left, so the message is shorter than what was received.
        ClientMessage::CreateSession { capabilities, .. } => {
            let count = frame.get(7..9).map(|count| u16::from_be_bytes([count[0], count[1]]));
            usize::from(count.unwrap_or_default()) != capabilities.iter().len()
        }
        _ => false,
    };
    if !repeated {
        assert!(frame.starts_with(&encoded), "a message has one encoding");
    }
    if let ClientMessage::ClientRequest { payload, .. } | ClientMessage::Query { payload, .. } =
        &message
    {
        assert_shared(frame, payload.as_bytes());
    }
    around(&encoded, &message, ClientMessage::decode);
}

/// An answer that is read where it lies is what the whole message says.
fn read_answer(frame: &Bytes) {
    let read = Answer::read(frame);
    match ServerMessage::decode(frame) {
        Ok(ServerMessage::ClientResponse { request_id, result }) => match read {
            Some(Answer::Command(id, part)) => {
                assert_eq!((id, &frame[part]), (request_id, &*result));
            }
            other => panic!("{other:?}"),
        },
        Ok(ServerMessage::QueryResponse { correlation_id, result }) => match read {
            Some(Answer::Query(id, part)) => {
                assert_eq!((id, &frame[part]), (correlation_id.as_bytes(), &*result));
            }
            other => panic!("{other:?}"),
        },
        Ok(_) => assert_eq!(read, None),
        // Of a correlation id the text is not looked at.
        Err(_) => assert!(!matches!(read, Some(Answer::Command(..)))),
    }
}

/// The answer to a reserved query is a list within its limits, or an error.
fn read_members(bytes: &[u8]) {
    let _ = reserved::answer(bytes, Members::default);
    let answer = [&reserved::PREFIX[..], &[reserved::VERSION, 0x81], bytes].concat();
    if let Ok(list) = Members::from_answer(&answer) {
        let again = reserved::answer(&reserved::members_question(), || list).unwrap();
        assert!(answer.starts_with(&again), "a list has one encoding");
    }
}

fn decode_server(frame: &Bytes) {
    read_answer(frame);
    read_members(frame);
    let Ok(message) = ServerMessage::decode(frame) else {
        return undecodable(frame, |frame| ServerMessage::decode(frame).is_ok());
    };
    let mut encoded = Vec::new();
    message.encode(&mut encoded);
    assert_eq!(encoded.len(), message.encoded_len());
    let mut received = frame[..encoded.len()].to_vec();
    if let ServerMessage::SessionRejected { leader_id, .. }
    | ServerMessage::SessionClosed { leader_id, .. } = &message
    {
        // Seven bits of padding, without meaning: after the flag, or after the shifted text.
        let padding = if leader_id.is_some() { 0x80 } else { 0 };
        *received.last_mut().unwrap() &= padding;
    }
    assert_eq!(received, encoded, "a message has one encoding");
    if let ServerMessage::ClientResponse { result: payload, .. }
    | ServerMessage::QueryResponse { result: payload, .. }
    | ServerMessage::ServerRequest { payload, .. } = &message
    {
        assert_shared(frame, payload.as_bytes());
    }
    let id = match &message {
        ServerMessage::ClientResponse { request_id, .. } => {
            Some(PeekedId::ClientResponse(*request_id))
        }
        ServerMessage::ServerRequest { request_id, .. } => {
            Some(PeekedId::ServerRequest(*request_id))
        }
        ServerMessage::QueryResponse { correlation_id, .. } => {
            Some(PeekedId::QueryResponse(correlation_id.clone()))
        }
        _ => None,
    };
    assert_eq!(peek_server(frame), id, "the first bytes tell whose a message is");
    around(&encoded, &message, |frame| {
        read_answer(frame);
        ServerMessage::decode(frame)
    });
}

/// What does not decode does not begin to when its end is missing.
fn undecodable(frame: &Bytes, decodes: impl Fn(&Bytes) -> bool) {
    // Whatever it says must not panic.
    let _ = peek_server(frame);
    for end in cuts(frame.len()) {
        assert!(!decodes(&frame.slice(..end)), "the first {end} bytes decode, all do not");
    }
}

/// A message without its end does not decode; bytes after its end change nothing.
fn around<T>(encoded: &[u8], message: &T, decode: impl Fn(&Bytes) -> Result<T, DecodeError>)
where
    T: PartialEq + std::fmt::Debug,
{
    for end in cuts(encoded.len()) {
        let cut = decode(&Bytes::copy_from_slice(&encoded[..end]));
        assert!(matches!(cut, Err(DecodeError::Truncated { .. })), "{end}: {cut:?}");
    }
    let longer = Bytes::from([encoded, b"zraft\xff\0"].concat());
    assert_eq!(decode(&longer).as_ref(), Ok(message), "what follows is ignored");
}

/// Where a frame is cut off: everywhere when it is short, else near its ends.
fn cuts(length: usize) -> impl Iterator<Item = usize> {
    (0..length).filter(move |at| *at < 96 || *at + 32 >= length)
}

fn assert_shared(frame: &Bytes, payload: &Bytes) {
    let inside = frame.as_ptr_range();
    assert!(
        payload.is_empty() || inside.contains(&payload.as_ptr()),
        "a payload lies where it was received"
    );
}

/// A message that can be built, as the script has it.
pub(crate) fn client_message(script: &mut Script<'_>) -> ClientMessage {
    let kind = ClientMessageKind::from_code(1 + script.byte() % 8).unwrap();
    match kind {
        ClientMessageKind::CreateSession => ClientMessage::CreateSession {
            nonce: nonce(script),
            capabilities: capabilities(script),
        },
        ClientMessageKind::ContinueSession => {
            ClientMessage::ContinueSession { nonce: nonce(script), session_id: session_id(script) }
        }
        ClientMessageKind::KeepAlive => ClientMessage::KeepAlive { timestamp: timestamp(script) },
        ClientMessageKind::ClientRequest => ClientMessage::ClientRequest {
            request_id: request_id(script),
            lowest_pending_request_id: request_id(script),
            created_at: timestamp(script),
            payload: payload(script),
        },
        ClientMessageKind::ServerRequestAck => {
            ClientMessage::ServerRequestAck { request_id: request_id(script) }
        }
        ClientMessageKind::CloseSession => {
            ClientMessage::CloseSession { reason: CloseReason::ClientShutdown }
        }
        ClientMessageKind::ConnectionClosed => ClientMessage::ConnectionClosed,
        ClientMessageKind::Query => ClientMessage::Query {
            correlation_id: correlation_id(script),
            created_at: timestamp(script),
            payload: payload(script),
        },
    }
}

/// A message that can be built, as the script has it.
pub(crate) fn server_message(script: &mut Script<'_>) -> ServerMessage {
    let kind = ServerMessageKind::from_code(1 + script.byte() % 9).unwrap();
    match kind {
        ServerMessageKind::SessionCreated => {
            ServerMessage::SessionCreated { nonce: nonce(script), session_id: session_id(script) }
        }
        ServerMessageKind::SessionContinued => {
            ServerMessage::SessionContinued { nonce: nonce(script) }
        }
        ServerMessageKind::SessionRejected => ServerMessage::SessionRejected {
            reason: RejectionReason::from_code(1 + script.byte() % 4).unwrap(),
            nonce: nonce(script),
            leader_id: member_id(script),
        },
        ServerMessageKind::SessionClosed => ServerMessage::SessionClosed {
            reason: SessionCloseReason::from_code(1 + script.byte() % 5).unwrap(),
            leader_id: member_id(script),
        },
        ServerMessageKind::KeepAliveResponse => {
            ServerMessage::KeepAliveResponse { timestamp: timestamp(script) }
        }
        ServerMessageKind::ClientResponse => ServerMessage::ClientResponse {
            request_id: request_id(script),
            result: payload(script),
        },
        ServerMessageKind::ServerRequest => ServerMessage::ServerRequest {
            request_id: request_id(script),
            created_at: timestamp(script),
            payload: payload(script),
        },
        ServerMessageKind::RequestError => ServerMessage::RequestError {
            request_id: request_id(script),
            reason: RequestErrorReason::ResponseEvicted,
        },
        ServerMessageKind::QueryResponse => ServerMessage::QueryResponse {
            correlation_id: correlation_id(script),
            result: payload(script),
        },
    }
}

fn request_id(script: &mut Script<'_>) -> RequestId {
    RequestId::new(script.u64() >> 1).unwrap()
}

fn nonce(script: &mut Script<'_>) -> Nonce {
    let number = script.u64() as i64;
    Nonce::new(if number == 0 { 1 } else { number }).unwrap()
}

fn timestamp(script: &mut Script<'_>) -> Timestamp {
    Timestamp::from_millis(script.u64() as i64)
}

fn payload(script: &mut Script<'_>) -> Payload {
    let length = usize::from(script.u16());
    Payload::new(script.take(length).to_vec()).unwrap()
}

/// Text of at least `least` bytes. Long ones are short ones again and again: an input need not be long for them.
fn text(script: &mut Script<'_>, least: usize, most: usize) -> String {
    let length = usize::from(script.byte());
    let piece = String::from_utf8_lossy(script.take(length)).into_owned();
    let mut text = piece.repeat(usize::from(script.byte() % 4) * 60 + 1);
    while text.len() > most {
        text.pop();
    }
    if text.len() < least {
        text.push('x');
    }
    text
}

fn session_id(script: &mut Script<'_>) -> SessionId {
    SessionId::new(text(script, SessionId::MIN_LEN, SessionId::MAX_LEN)).unwrap()
}

fn correlation_id(script: &mut Script<'_>) -> CorrelationId {
    CorrelationId::new(text(script, CorrelationId::MIN_LEN, CorrelationId::MAX_LEN)).unwrap()
}

fn member_id(script: &mut Script<'_>) -> Option<MemberId> {
    let there = script.byte() & 1 == 1;
    there.then(|| MemberId::new(text(script, 0, MemberId::MAX_LEN)).unwrap())
}

fn capabilities(script: &mut Script<'_>) -> Capabilities {
    let count = 1 + script.byte() % 8;
    let entries: Vec<(String, String)> = (0..count)
        .map(|_| (text(script, 0, Capabilities::MAX), text(script, 0, Capabilities::MAX)))
        .collect();
    Capabilities::new(entries).unwrap()
}
