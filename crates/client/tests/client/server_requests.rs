//! Server requests: delivered once and in order, and acknowledged when delivered or handled.

use std::task::{Context, Poll, Waker};

use crate::support::raw::{Connection, Peer, connected, settled};
use crate::support::{builder, next_event, within};
use futures_core::Stream;
use zraft_client::{
    AckServerRequests, Bytes, Error, Event, OnSessionExpired, RaftClient, ServerRequest,
    ServerRequests, Timestamp, ValidationError,
};
use zraft_protocol::{ClientMessage, Payload, RequestId, ServerMessage, SessionCloseReason};

async fn push(connection: &mut Connection, id: u64, payload: &'static str) {
    let message = ServerMessage::ServerRequest {
        request_id: RequestId::new(id).unwrap(),
        payload: Payload::new(Bytes::from_static(payload.as_bytes())).unwrap(),
        created_at: Timestamp::from_millis(1_000),
    };
    connection.send(&message).await;
}

async fn take(requests: &mut ServerRequests) -> (u64, String, ServerRequest) {
    let request = within(requests.next()).await.expect("the client lives");
    let payload = String::from_utf8(request.payload.to_vec()).unwrap();
    (request.request_id.get(), payload, request)
}

/// Reads until this id is acknowledged. Fails if a higher id is acknowledged.
async fn acknowledged(connection: &mut Connection, id: u64) {
    loop {
        if let ClientMessage::ServerRequestAck { request_id } = connection.message().await {
            assert!(request_id.get() <= id, "{request_id:?} was not delivered");
            if request_id.get() == id {
                return;
            }
        }
    }
}

/// Returns true if no request is ready.
fn is_pending(requests: &mut ServerRequests) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    matches!(std::pin::pin!(requests).poll_next(&mut context), Poll::Pending)
}

#[tokio::test]
async fn gap_delays_later_requests_until_it_is_filled() {
    let (_peer, mut connection, client) = connected(builder()).await;
    let mut requests = client.server_requests().unwrap();
    push(&mut connection, 1, "a").await;
    push(&mut connection, 3, "c").await;
    let (id, payload, _) = take(&mut requests).await;
    assert_eq!((id, payload.as_str()), (1, "a"));
    acknowledged(&mut connection, 1).await;
    assert!(is_pending(&mut requests));
    push(&mut connection, 2, "b").await;
    assert_eq!(take(&mut requests).await.1, "b");
    assert_eq!(take(&mut requests).await.1, "c");
    acknowledged(&mut connection, 3).await;
}

#[tokio::test]
async fn duplicate_is_acknowledged_again_and_not_delivered() {
    let (_peer, mut connection, client) = connected(builder()).await;
    let mut requests = client.server_requests().unwrap();
    push(&mut connection, 1, "a").await;
    assert_eq!(take(&mut requests).await.0, 1);
    acknowledged(&mut connection, 1).await;
    push(&mut connection, 1, "a").await;
    acknowledged(&mut connection, 1).await;
    push(&mut connection, 2, "b").await;
    assert_eq!(take(&mut requests).await.0, 2);
    assert_eq!(client.stats().duplicates, 1);
}

#[tokio::test]
async fn requests_wait_unacknowledged_without_a_consumer() {
    let (_peer, mut connection, client) = connected(builder()).await;
    push(&mut connection, 1, "a").await;
    settled(&client, &mut connection).await;
    assert_eq!(client.stats().server_requests, 0);
    let mut requests = client.server_requests().unwrap();
    assert_eq!(take(&mut requests).await.1, "a");
    acknowledged(&mut connection, 1).await;
    assert_eq!(client.stats().server_requests, 1);
}

#[tokio::test]
async fn only_taken_requests_are_acknowledged() {
    let (_peer, mut connection, client) = connected(builder()).await;
    let mut requests = client.server_requests().unwrap();
    for id in 1..=3 {
        push(&mut connection, id, "x").await;
    }
    assert_eq!(take(&mut requests).await.0, 1);
    acknowledged(&mut connection, 1).await;
    assert_eq!(take(&mut requests).await.0, 2);
    acknowledged(&mut connection, 2).await;
}

#[tokio::test]
async fn second_consumer_is_refused_while_the_first_exists() {
    let (_peer, mut connection, client) = connected(builder()).await;
    let first = client.server_requests().unwrap();
    let error = client.clone().server_requests().unwrap_err();
    assert!(matches!(error, Error::Validation(ValidationError::SecondConsumer)), "{error:?}");
    push(&mut connection, 1, "a").await;
    settled(&client, &mut connection).await;
    drop(first);
    let mut second = client.server_requests().unwrap();
    assert_eq!(take(&mut second).await.1, "a", "the first consumer did not take it");
}

#[tokio::test]
async fn handled_mode_delivers_one_request_at_a_time() {
    let settings = builder().ack_server_requests(AckServerRequests::Handled);
    let (_peer, mut connection, client) = connected(settings).await;
    let mut requests = client.server_requests().unwrap();
    push(&mut connection, 1, "a").await;
    push(&mut connection, 2, "b").await;
    let (_, payload, request) = take(&mut requests).await;
    assert_eq!(payload, "a");
    settled(&client, &mut connection).await;
    assert!(is_pending(&mut requests));
    request.acknowledge();
    acknowledged(&mut connection, 1).await;
    let (_, payload, request) = take(&mut requests).await;
    assert_eq!(payload, "b");
    request.acknowledge();
    acknowledged(&mut connection, 2).await;
}

#[tokio::test]
async fn request_dropped_unacknowledged_is_delivered_again() {
    let settings = builder().ack_server_requests(AckServerRequests::Handled);
    let (_peer, mut connection, client) = connected(settings).await;
    let mut requests = client.server_requests().unwrap();
    push(&mut connection, 1, "a").await;
    drop(take(&mut requests).await.2);
    let (id, payload, request) = take(&mut requests).await;
    assert_eq!((id, payload.as_str()), (1, "a"));
    request.acknowledge();
    acknowledged(&mut connection, 1).await;
}

#[tokio::test]
async fn resume_keeps_the_delivered_ids() {
    let (peer, mut connection, client) = connected(builder()).await;
    let mut requests = client.server_requests().unwrap();
    push(&mut connection, 1, "a").await;
    assert_eq!(take(&mut requests).await.0, 1);
    drop(connection);
    let (mut connection, _) = peer.accept_resume().await;
    push(&mut connection, 1, "a").await;
    push(&mut connection, 2, "b").await;
    assert_eq!(take(&mut requests).await.1, "b");
    acknowledged(&mut connection, 2).await;
}

#[tokio::test]
async fn new_session_starts_at_id_1_and_drops_requests_not_taken() {
    let settings = builder().on_session_expired(OnSessionExpired::NewSession);
    let (peer, mut connection, client) = connected(settings).await;
    let mut events = client.events();
    let mut requests = client.server_requests().unwrap();
    for id in 1..=3 {
        push(&mut connection, id, "old").await;
    }
    let (id, payload, _) = take(&mut requests).await;
    assert_eq!((id, payload.as_str()), (1, "old"));
    let reason = SessionCloseReason::SessionExpired;
    connection.send(&ServerMessage::SessionClosed { reason, leader_id: None }).await;
    let mut connection = next_session(&peer).await;
    next_event(&mut events, |event| match event {
        Event::Connected { resumed: false, .. } => Some(()),
        _ => None,
    })
    .await;
    push(&mut connection, 1, "new").await;
    let (id, payload, _) = take(&mut requests).await;
    assert_eq!((id, payload.as_str()), (1, "new"));
    acknowledged(&mut connection, 1).await;
}

#[tokio::test]
async fn acknowledgement_for_an_expired_session_has_no_effect_in_the_new_one() {
    let settings = builder()
        .ack_server_requests(AckServerRequests::Handled)
        .on_session_expired(OnSessionExpired::NewSession);
    let (peer, mut connection, client) = connected(settings).await;
    let mut requests = client.server_requests().unwrap();
    push(&mut connection, 1, "old").await;
    let (_, _, old) = take(&mut requests).await;
    let reason = SessionCloseReason::SessionExpired;
    connection.send(&ServerMessage::SessionClosed { reason, leader_id: None }).await;
    let mut connection = next_session(&peer).await;
    push(&mut connection, 1, "new").await;
    push(&mut connection, 2, "next").await;
    let (id, payload, new) = take(&mut requests).await;
    assert_eq!((id, payload.as_str()), (1, "new"));

    old.acknowledge();
    // The client would send an acknowledgement before the second ping at the latest.
    for _ in 0..2 {
        nothing_acknowledged_during_a_ping(&client, &mut connection).await;
    }
    assert!(is_pending(&mut requests), "the request of the new session is not handled yet");
    assert_eq!(client.stats().server_requests, 0);

    new.acknowledge();
    acknowledged(&mut connection, 1).await;
    assert_eq!(take(&mut requests).await.1, "next");
}

/// Answers one ping of the client. Fails if an acknowledgement comes before it.
async fn nothing_acknowledged_during_a_ping(client: &RaftClient, connection: &mut Connection) {
    let answering = async {
        loop {
            match connection.any_message().await {
                ClientMessage::KeepAlive { timestamp } => {
                    connection.send(&ServerMessage::KeepAliveResponse { timestamp }).await;
                    return;
                }
                ClientMessage::ServerRequestAck { request_id } => {
                    panic!("{request_id:?} was acknowledged and is not handled")
                }
                _ => {}
            }
        }
    };
    let (pong, ()) = tokio::join!(within(client.ping()), answering);
    pong.unwrap();
}

async fn next_session(peer: &Peer) -> Connection {
    peer.accept_session("session-2").await
}
