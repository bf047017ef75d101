//! Events: limited for each listener, and without secrets.

use crate::support::raw::connected;
use crate::support::{builder, next_event, within};
use zraft_client::protocol::ServerMessage as Received;
use zraft_client::{DisconnectReason, Event, ReceivedServerRequest, RequestId, Timestamp};
use zraft_protocol::{Payload, ServerMessage};

fn is_message(event: &Event) -> bool {
    matches!(event, Event::MessageSent { .. } | Event::MessageReceived { .. })
}

#[tokio::test]
async fn message_events_reach_only_listeners_that_want_them() {
    let (_peer, mut connection, client) = connected(builder()).await;
    let mut plain = client.events();
    let mut detailed = client.events().with_messages();
    let answer = client.try_submit_command("seen").unwrap();
    let (id, _) = connection.command().await;
    connection.answer(id, b"seen too").await;
    within(answer).await.unwrap();
    let sent = |event: &Event| matches!(event, Event::MessageSent { .. }).then_some(());
    let received = |event: &Event| matches!(event, Event::MessageReceived { .. }).then_some(());
    next_event(&mut detailed, sent).await;
    next_event(&mut detailed, received).await;
    drop(connection);
    let seen = next_event(&mut plain, |event| Some(event.clone())).await;
    assert!(!is_message(&seen), "{seen:?}");
}

#[tokio::test]
async fn slow_listener_gets_the_number_of_lost_events() {
    let (_peer, mut connection, client) = connected(builder()).await;
    let mut events = client.events().with_messages();
    let timestamp = Timestamp::from_millis(1);
    for _ in 0..3000 {
        connection.send(&ServerMessage::KeepAliveResponse { timestamp }).await;
    }
    let answer = client.try_submit_command("last").unwrap();
    let (id, _) = connection.command().await;
    connection.answer(id, b"last").await;
    within(answer).await.unwrap();

    let Some(Event::Lagged(lost)) = within(events.next()).await else { panic!("events were lost") };
    let mut kept = 0;
    let last = |event: &Event| {
        matches!(event, Event::MessageReceived { message: ServerMessage::ClientResponse { .. } })
            .then_some(())
    };
    next_event(&mut events, |event| {
        kept += 1;
        last(event)
    })
    .await;
    // The 3,000 KeepAliveResponses, the command and its answer.
    assert_eq!(lost + kept, 3002);
}

#[tokio::test]
async fn display_and_debug_show_no_secret() {
    let settings = builder().capability("token", "hunter2");
    let shown = format!("{settings:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
    let peer = crate::support::raw::Peer::bind().await;
    let client = settings.member("peer", peer.endpoint()).build().unwrap();
    let mut events = client.events().with_messages();
    let connect = client.connect();
    let connection = peer.accept_session("bearer-secret").await;
    within(connect).await.unwrap();
    assert_eq!(client.session_id().unwrap().as_str(), "bearer-secret", "the accessor returns it");
    drop(connection);
    let (connection, session_id) = peer.accept_resume().await;
    assert_eq!(session_id.as_str(), "bearer-secret");
    let mut shown = String::new();
    next_event(&mut events, |event| {
        shown.push_str(&format!("{event:?}\n"));
        matches!(event, Event::Connected { resumed: true, .. }).then_some(())
    })
    .await;
    assert!(shown.contains("CreateSession") && shown.contains("ContinueSession"), "{shown}");
    shown.push_str(&format!("{client:?} {:?} {:?}", client.session_id(), client.config()));
    let answer = client.try_submit_command("x").unwrap();
    let expired = zraft_protocol::SessionCloseReason::SessionExpired;
    let mut connection = connection;
    connection.command().await;
    connection.send(&ServerMessage::SessionClosed { reason: expired, leader_id: None }).await;
    let error = within(answer).await.unwrap_err();
    assert_eq!(error.code(), "SESSION_EXPIRED");
    shown.push_str(&format!("{error} {error:?} {:?}", within(events.next()).await));
    for secret in ["hunter2", "bearer-secret"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}

#[tokio::test]
async fn dropped_listeners_do_not_disturb_the_others() {
    let (_peer, connection, client) = connected(builder()).await;
    let mut stays = client.events();
    drop((0..100).map(|_| client.events()).collect::<Vec<_>>());
    drop(connection);
    next_event(&mut stays, |event| matches!(event, Event::Disconnected { .. }).then_some(())).await;
}

#[tokio::test]
async fn contents_of_events_can_be_named_through_this_crate_alone() {
    let (_peer, mut connection, client) = connected(builder()).await;
    let mut events = client.events().with_messages();
    let timestamp = Timestamp::from_millis(1);
    connection.send(&ServerMessage::KeepAliveResponse { timestamp }).await;
    let alive = |event: &Event| {
        let Event::MessageReceived { message } = event else { return None };
        matches!(message, Received::KeepAliveResponse { .. }).then_some(())
    };
    next_event(&mut events, alive).await;
    drop(connection);
    let reason = |event: &Event| match event {
        Event::Disconnected { reason, .. } => Some(*reason),
        _ => None,
    };
    assert_eq!(next_event(&mut events, reason).await, DisconnectReason::ConnectionLost);
}

#[tokio::test]
async fn content_of_a_server_request_event_has_a_public_type() {
    let (_peer, mut connection, client) = connected(builder()).await;
    let mut events = client.events();
    let request = ServerMessage::ServerRequest {
        request_id: RequestId::FIRST,
        payload: Payload::new("asked").unwrap(),
        created_at: Timestamp::from_millis(1),
    };
    connection.send(&request).await;
    let request: ReceivedServerRequest = next_event(&mut events, |event| match event {
        Event::ServerRequestReceived { request } => Some(request.clone()),
        _ => None,
    })
    .await;
    assert_eq!(
        (request.request_id, request.payload.as_ref()),
        (RequestId::FIRST, b"asked".as_slice())
    );
}
