//! Requests that are cancelled or whose futures are dropped: an unsent request is not executed, a sent command is
//! detached.

use std::future::Future;
use std::time::Duration;

use crate::support::raw::{Peer, connected, settled};
use crate::support::{builder, reaches, within};
use zraft_client::{Error, RequestId, StateName};
use zraft_protocol::ClientMessage;

#[tokio::test]
async fn dropped_submission_that_was_never_polled_is_not_sent() {
    let (_peer, mut connection, client) = connected(builder()).await;
    drop(client.submit_command("never"));
    drop(client.submit_command("never either").into_future());
    let answer = client.try_submit_command("sent").unwrap();
    let (id, payload) = connection.command().await;
    assert_eq!((id.get(), payload.as_ref()), (1, b"sent".as_slice()));
    drop(answer);
}

#[tokio::test]
async fn dropped_request_that_waits_for_the_window_is_never_sent() {
    let (_peer, mut connection, client) = connected(builder().max_in_flight(1)).await;
    let first = client.try_submit_command("first").unwrap();
    let second = client.try_submit_command("second").unwrap();
    let third = client.try_submit_command("third").unwrap();
    drop(second);
    let (id, _) = connection.command().await;
    connection.answer(id, b"1").await;
    let (id, payload) = connection.command().await;
    assert_eq!((id.get(), payload.as_ref()), (2, b"third".as_slice()));
    connection.answer(id, b"3").await;
    within(first).await.unwrap();
    within(third).await.unwrap();
    assert_eq!(client.stats().detached, 0);
}

#[tokio::test]
async fn dropped_command_that_was_sent_is_detached_until_its_answer_comes() {
    let (_peer, mut connection, client) = connected(builder()).await;
    let answer = client.try_submit_command("sent").unwrap();
    let (id, _) = connection.command().await;
    drop(answer);
    settled(&client, &mut connection).await;
    assert_eq!((client.stats().detached, client.stats().in_flight), (1, 0));
    connection.answer(id, b"to no one").await;
    settled(&client, &mut connection).await;
    assert_eq!(client.stats().detached, 0);
}

#[tokio::test]
async fn dropped_request_does_not_cancel_the_next_one_in_its_slot() {
    let (_peer, mut connection, client) = connected(builder().max_in_flight(1)).await;
    let first = client.try_submit_command("first").unwrap();
    let (id, _) = connection.command().await;
    let second = client.try_submit_command("second").unwrap();
    settled(&client, &mut connection).await;
    // The driver sees the drop and the submission in one turn, and the machine reuses the second's slot for the third.
    drop(second);
    let third = client.try_submit_command("third").unwrap();
    connection.answer(id, b"1").await;
    let (id, payload) = connection.command().await;
    assert_eq!(payload.as_ref(), b"third");
    connection.answer(id, b"3").await;
    within(first).await.unwrap();
    assert_eq!(within(third).await.unwrap().as_ref(), b"3");
}

#[tokio::test]
async fn request_settled_by_disconnect_gets_its_error_though_its_slot_is_reused() {
    let peer = Peer::bind().await;
    let client = builder().member("peer", peer.endpoint()).build().unwrap();
    let overtaken = client.connect();
    let first = client.try_submit_command("first").unwrap();
    reaches(&client, StateName::ConnectingNewSession).await;
    drop(peer.accept().await);
    // The driver sees all three in one turn.
    let disconnect = client.disconnect();
    let connect = client.connect();
    let second = client.try_submit_command("second").unwrap();
    let error = within(first).await.unwrap_err();
    assert_eq!((error.code(), error.maybe_executed()), ("CLOSED", false));
    assert_eq!(within(overtaken).await.unwrap_err().code(), "CLOSED");
    within(disconnect).await;
    let mut connection = peer.accept_session("session").await;
    within(connect).await.unwrap();
    let (id, payload) = connection.command().await;
    assert_eq!((id.get(), payload.as_ref()), (1, b"second".as_slice()));
    connection.answer(id, b"2").await;
    within(second).await.unwrap();
}

#[tokio::test]
async fn dropped_query_is_not_tracked() {
    let (_peer, mut connection, client) = connected(builder()).await;
    let answer = client.try_submit_query("sent").unwrap();
    assert!(matches!(connection.message().await, ClientMessage::Query { .. }));
    drop(answer);
    settled(&client, &mut connection).await;
    assert_eq!((client.stats().detached, client.stats().in_flight), (0, 0));
}

#[tokio::test]
async fn attempt_to_connect_ends_when_no_caller_waits_for_it() {
    let peer = Peer::bind().await;
    let client = builder().member("peer", peer.endpoint()).build().unwrap();
    let (first, second) = (client.connect(), client.connect());
    reaches(&client, StateName::ConnectingNewSession).await;
    let queued = client.try_submit_command("queued").unwrap();
    drop(first);
    let connection = peer.accept().await;
    assert_eq!(*client.state().borrow(), StateName::ConnectingNewSession, "one caller still waits");
    drop(second);
    connection.until_closed().await;
    reaches(&client, StateName::Disconnected).await;
    assert!(!within(queued).await.unwrap_err().maybe_executed());
}

#[tokio::test]
async fn dropped_connect_does_not_end_an_open_session() {
    let (_peer, mut connection, client) = connected(builder()).await;
    drop(client.connect());
    settled(&client, &mut connection).await;
    assert_eq!(*client.state().borrow(), StateName::Connected);
}

#[tokio::test]
async fn drop_of_the_last_handle_closes_the_session() {
    let (_peer, mut connection, client) = connected(builder()).await;
    let other = client.clone();
    drop(client);
    settled(&other, &mut connection).await;
    drop(other);
    assert!(matches!(connection.message().await, ClientMessage::CloseSession { .. }));
    connection.until_closed().await;
}

#[tokio::test]
async fn request_in_flight_counts_as_a_handle() {
    let (_peer, mut connection, client) = connected(builder()).await;
    let answer = client.try_submit_command("outlives the client").unwrap();
    drop(client);
    let (id, _) = connection.command().await;
    connection.answer(id, b"answered").await;
    assert_eq!(within(answer).await.unwrap().as_ref(), b"answered");
    assert!(matches!(connection.message().await, ClientMessage::CloseSession { .. }));
}

#[tokio::test]
async fn streams_end_when_the_client_is_dropped() {
    let (_peer, connection, client) = connected(builder()).await;
    let mut events = client.events();
    let mut requests = client.server_requests().unwrap();
    let mut states = client.state();
    drop(client);
    tokio::spawn(connection.until_closed());
    assert!(within(requests.next()).await.is_none());
    within(async { while events.next().await.is_some() {} }).await;
    within(async { while states.changed().await.is_ok() {} }).await;
}

#[test]
fn every_call_ends_when_the_drivers_runtime_ends() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (peer, connection, client, answer) = runtime.block_on(async {
        let (peer, mut connection, client) = connected(builder()).await;
        let answer = client.try_submit_command("in flight").unwrap();
        connection.command().await;
        (peer, connection, client, answer)
    });
    runtime.shutdown_timeout(Duration::from_secs(5));
    let other = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    other.block_on(async {
        let error = within(answer).await.unwrap_err();
        assert_eq!((error.code(), error.maybe_executed()), ("CLOSED", true));
        assert_eq!(*client.state().borrow(), StateName::Disconnected);
        within(client.disconnect()).await;
        let error = within(client.submit_command("no driver")).await.unwrap_err();
        assert_eq!(error.code(), "NOT_CONNECTED");
    });
    drop((peer, connection));
}

#[tokio::test]
async fn command_cancelled_before_it_was_sent_is_not_executed() {
    let (_peer, mut connection, client) = connected(builder().max_in_flight(1)).await;
    let first = client.try_submit_command("first").unwrap();
    let (id, _) = connection.command().await;
    let in_the_queue = client.try_submit_command("cancelled in the queue").unwrap();
    settled(&client, &mut connection).await;
    // The driver runs on the same thread, so it has not taken the second one.
    let in_the_inbox = client.try_submit_command("cancelled in the inbox").unwrap();
    for answer in [in_the_queue, in_the_inbox] {
        let error = within(answer.cancel()).await.unwrap_err();
        assert!(matches!(error, Error::Cancelled { id: None, .. }), "{error:?}");
        assert!(!error.maybe_executed() && error.resolution().is_none());
    }
    let last = client.try_submit_command("last").unwrap();
    connection.answer(id, b"1").await;
    let (id, payload) = connection.command().await;
    assert_eq!((id.get(), payload.as_ref()), (2, b"last".as_slice()));
    connection.answer(id, b"2").await;
    within(first).await.unwrap();
    within(last).await.unwrap();
    assert_eq!(client.stats().detached, 0);
}

#[tokio::test]
async fn cancelled_command_that_was_sent_may_have_run_and_resolves_late() {
    let (_peer, mut connection, client) = connected(builder()).await;
    let mut submission = client.submit_command("sent").into_future();
    let (id, _) = tokio::select! {
        command = connection.command() => command,
        result = &mut submission => panic!("{result:?}"),
    };
    let error = within(submission.cancel()).await.unwrap_err();
    assert!(matches!(error, Error::Cancelled { .. }), "{error:?}");
    assert_eq!(error.request_id(), Some(RequestId::FIRST));
    assert!(error.maybe_executed());
    assert_eq!(client.stats().detached, 1);
    let resolution = error.resolution().expect("it was sent");
    connection.answer(id, b"late").await;
    assert_eq!(within(resolution).await.unwrap().as_ref(), b"late");
}

#[tokio::test]
async fn cancel_after_the_answer_arrived_returns_the_answer() {
    let (_peer, mut connection, client) = connected(builder()).await;
    let answer = client.try_submit_command("answered").unwrap();
    let (id, _) = connection.command().await;
    connection.answer(id, b"in time").await;
    settled(&client, &mut connection).await;
    assert_eq!(within(answer.cancel()).await.unwrap().as_ref(), b"in time");
}

#[tokio::test]
async fn cancelled_query_is_not_tracked_and_never_counts_as_executed() {
    let (_peer, mut connection, client) = connected(builder()).await;
    let answer = client.try_submit_query("sent").unwrap();
    assert!(matches!(connection.message().await, ClientMessage::Query { .. }));
    let error = within(answer.cancel().cancel()).await.unwrap_err();
    assert!(matches!(error, Error::Cancelled { id: Some(_), .. }), "{error:?}");
    assert!(!error.maybe_executed() && error.resolution().is_none());
    assert_eq!((client.stats().detached, client.stats().in_flight), (0, 0));
}

#[tokio::test]
async fn submission_cancelled_while_waiting_lets_the_next_one_have_its_room() {
    let (_peer, mut connection, client) = connected(builder().max_queued_bytes(100)).await;
    let first = client.try_submit_command(vec![1; 60]).unwrap();
    let mut large = client.submit_command(vec![2; 50]).into_future();
    let never_polled = client.submit_command("never polled").into_future();
    std::future::poll_fn(|context| {
        assert!(std::pin::Pin::new(&mut large).poll(context).is_pending());
        std::task::Poll::Ready(())
    })
    .await;
    let small = tokio::spawn(client.submit_command(vec![3; 40]).into_future());
    tokio::task::yield_now().await;
    for submission in [large, never_polled] {
        let error = within(submission.cancel()).await.unwrap_err();
        assert!(matches!(error, Error::Cancelled { id: None, .. }), "{error:?}");
        assert!(!error.maybe_executed());
    }
    for length in [60, 40] {
        let (id, payload) = connection.command().await;
        assert_eq!(payload.len(), length);
        connection.answer(id, b"done").await;
    }
    within(first).await.unwrap();
    within(small).await.unwrap().unwrap();
}
