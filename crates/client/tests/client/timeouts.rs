//! Deadlines: which requests end as not executed, which with an unknown outcome, and how a late answer is returned.

use std::time::Duration;

use crate::support::raw::{Peer, connected, settled};
use crate::support::{builder, next_event, within};
use zraft_client::{Error, Event, RequestRef};
use zraft_protocol::ClientMessage;

const SHORT: Duration = Duration::from_millis(100);

#[tokio::test]
async fn command_that_was_never_sent_times_out_as_not_executed() {
    let peer = Peer::bind().await;
    let client = builder().member("peer", peer.endpoint()).build().unwrap();
    let _connect = client.connect();
    let error = within(client.submit_command("waits for a session").timeout(SHORT)).await;
    let error = error.unwrap_err();
    assert!(matches!(error, Error::Timeout { id: None, .. }), "{error:?}");
    assert!(!error.maybe_executed());
    assert!(error.resolution().is_none());
    assert!(error.to_string().contains("not executed"), "{error}");
}

#[tokio::test]
async fn sent_command_times_out_with_its_id_and_an_unknown_outcome() {
    let (_peer, mut connection, client) = connected(builder()).await;
    let mut events = client.events();
    let error = within(client.submit_command("slow").timeout(SHORT)).await.unwrap_err();
    assert_eq!(error.code(), "TIMEOUT");
    assert_eq!(error.request_id().map(zraft_client::RequestId::get), Some(1));
    assert!(error.maybe_executed());
    assert!(error.to_string().contains("command 1"), "{error}");
    let event = next_event(&mut events, |event| match event {
        Event::RequestTimeout { request_id, .. } => Some(*request_id),
        _ => None,
    });
    assert_eq!(event.await, error.request_id());
    connection.command().await;
}

#[tokio::test]
async fn resolution_returns_the_late_answer_of_a_timed_out_command() {
    let (_peer, mut connection, client) = connected(builder()).await;
    let error = within(client.submit_command("slow").timeout(SHORT)).await.unwrap_err();
    let early = error.resolution().expect("it was sent");
    let (id, _) = connection.command().await;
    connection.answer(id, b"late").await;
    assert_eq!(within(early).await.unwrap().as_ref(), b"late");
    let again = error.clone().resolution().expect("as often as wanted");
    assert_eq!(within(again).await.unwrap().as_ref(), b"late");
}

#[tokio::test]
async fn resolution_fails_when_the_command_is_abandoned() {
    let (_peer, _connection, client) = connected(builder().detached_timeout(SHORT)).await;
    let error = within(client.submit_command("lost").timeout(SHORT)).await.unwrap_err();
    let resolution = error.resolution().expect("it was sent");
    let abandoned = within(resolution).await.unwrap_err();
    assert!(abandoned.maybe_executed());
}

#[tokio::test]
async fn resolution_fails_when_the_client_disconnects() {
    let (_peer, connection, client) = connected(builder()).await;
    let error = within(client.submit_command("lost").timeout(SHORT)).await.unwrap_err();
    let resolution = error.resolution().expect("it was sent");
    let closes = tokio::spawn(connection.until_closed());
    within(client.disconnect_within(SHORT)).await;
    let closed = within(resolution).await.unwrap_err();
    assert_eq!((closed.code(), closed.maybe_executed()), ("CLOSED", true));
    closes.abort();
}

#[tokio::test]
async fn timed_out_query_is_not_tracked_and_never_counts_as_executed() {
    let (_peer, mut connection, client) = connected(builder()).await;
    let error = within(client.submit_query("slow").timeout(SHORT)).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { id: Some(RequestRef::Query(_)), .. }), "{error:?}");
    assert!(!error.maybe_executed());
    assert!(error.resolution().is_none());
    let ClientMessage::Query { correlation_id, .. } = connection.message().await else {
        panic!("expected a query")
    };
    assert_eq!(error.correlation_id(), Some(&correlation_id));
}

#[tokio::test]
async fn request_timeout_applies_unless_the_submission_sets_its_own() {
    let (_peer, mut connection, client) = connected(builder().request_timeout(SHORT)).await;
    let patient = tokio::spawn(client.submit_command("patient").timeout(None).into_future());
    let (id, _) = connection.command().await;
    let error = within(client.submit_command("default")).await.unwrap_err();
    assert_eq!(error.code(), "TIMEOUT");
    connection.answer(id, b"at last").await;
    assert_eq!(within(patient).await.unwrap().unwrap().as_ref(), b"at last");
}

#[tokio::test]
async fn timed_out_command_is_tracked_and_holds_the_lowest_pending_id() {
    let (_peer, mut connection, client) = connected(builder()).await;
    let error = within(client.submit_command("first").timeout(SHORT)).await.unwrap_err();
    assert!(error.maybe_executed());
    settled(&client, &mut connection).await;
    assert_eq!(client.stats().detached, 1);
    let _second = client.try_submit_command("second").unwrap();
    loop {
        let ClientMessage::ClientRequest { request_id, lowest_pending_request_id, .. } =
            connection.message().await
        else {
            panic!("expected a command")
        };
        assert_eq!(lowest_pending_request_id.get(), 1);
        // The client may resend the first one before it sends the second.
        if request_id.get() == 2 {
            break;
        }
    }
}

#[tokio::test]
async fn zero_and_the_longest_duration_are_valid_timeouts() {
    let (_peer, mut connection, client) = connected(builder()).await;
    let patient =
        tokio::spawn(client.submit_command("patient").timeout(Duration::MAX).into_future());
    let (id, _) = connection.command().await;
    let error = within(client.submit_command("hasty").timeout(Duration::ZERO)).await.unwrap_err();
    assert_eq!(error.code(), "TIMEOUT");
    connection.answer(id, b"at last").await;
    assert_eq!(within(patient).await.unwrap().unwrap().as_ref(), b"at last");
    within(client.connect_within(Duration::MAX)).await.unwrap();
    within(client.connect_within(Duration::ZERO)).await.unwrap();
    tokio::spawn(connection.until_closed());
    within(client.disconnect_within(Duration::MAX)).await;
}

#[tokio::test]
async fn deadline_fires_while_no_member_is_reachable() {
    let (peer, connection, client) = connected(builder()).await;
    drop((peer, connection));
    let error =
        within(client.submit_command("no member is reachable").timeout(SHORT)).await.unwrap_err();
    assert_eq!(error.code(), "TIMEOUT");
}

#[tokio::test]
async fn answer_that_arrived_while_the_thread_was_blocked_is_in_time() {
    let (_peer, mut connection, client) = connected(builder()).await;
    // The driver wakes a little late, and so late that it assumes that its process was stopped.
    for blocked in [Duration::from_millis(1000), Duration::from_millis(1900)] {
        let answer = client.submit_command("x").timeout(Duration::from_millis(500));
        let answer = tokio::spawn(async move { answer.await });
        let (id, _) = connection.command().await;
        connection.answer(id, b"r").await;
        // The test blocks the only thread. When it continues, the answer and the deadline are both due.
        std::thread::sleep(blocked);
        let answer = within(answer).await.unwrap();
        assert_eq!(answer.unwrap().as_ref(), b"r", "{blocked:?}");
    }
}
