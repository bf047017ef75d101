//! The limits of the queue: a request that finds it full fails at once, or waits in order.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Waker};

use crate::support::raw::{Connection, connected};
use crate::support::{builder, within};
use zraft_client::{Answer, Error, RaftClient, Ready, ValidationError};

/// Answers this many commands and returns their payloads.
async fn answer_commands(connection: &mut Connection, count: usize) -> Vec<Vec<u8>> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let (id, payload) = connection.command().await;
        connection.answer(id, b"done").await;
        seen.push(payload.to_vec());
    }
    seen
}

#[tokio::test]
async fn try_submit_fails_at_once_when_the_queue_is_full() {
    let (_peer, mut connection, client) = connected(builder().max_in_flight(1).max_queued(2)).await;
    let mut answers = vec![client.try_submit_command("in flight").unwrap()];
    let (id, _) = connection.command().await;
    for queued in ["queued 1", "queued 2"] {
        within(client.ready()).await;
        answers.push(client.try_submit_command(queued).unwrap());
    }
    let error = client.try_submit_command("too many").unwrap_err();
    assert!(matches!(error, Error::Overloaded), "{error:?}");
    assert!(!error.maybe_executed());

    connection.answer(id, b"done").await;
    assert_eq!(answer_commands(&mut connection, 2).await, [b"queued 1", b"queued 2"]);
    for answer in answers {
        within(answer).await.unwrap();
    }
    within(client.ready()).await;
    let _now = client.try_submit_command("room again").unwrap();
}

#[tokio::test]
async fn byte_limit_counts_payloads_queued_and_in_flight() {
    let (_peer, mut connection, client) = connected(builder().max_queued_bytes(100)).await;
    let first = client.try_submit_command(vec![1; 60]).unwrap();
    let (id, _) = connection.command().await;
    assert!(matches!(client.try_submit_command(vec![2; 41]), Err(Error::Overloaded)));
    let second = client.try_submit_command(vec![2; 40]).unwrap();
    assert!(matches!(client.try_submit_command(vec![3; 1]), Err(Error::Overloaded)));
    connection.answer(id, b"done").await;
    within(first).await.unwrap();
    within(client.ready()).await;
    answer_commands(&mut connection, 1).await;
    within(second).await.unwrap();
}

#[tokio::test]
async fn submissions_get_room_in_the_order_they_began_to_wait() {
    let (_peer, mut connection, client) = connected(builder().max_in_flight(2).max_queued(3)).await;
    let count = 500_u32;
    let tasks: Vec<_> = (0..count)
        .map(|n| tokio::spawn(client.submit_command(n.to_be_bytes().to_vec()).into_future()))
        .collect();
    let seen = answer_commands(&mut connection, count as usize).await;
    let expected: Vec<_> = (0..count).map(|n| n.to_be_bytes().to_vec()).collect();
    assert_eq!(seen, expected);
    for task in tasks {
        within(task).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn dropped_submission_lets_the_next_one_have_its_room() {
    let (_peer, mut connection, client) = connected(builder().max_in_flight(1).max_queued(1)).await;
    let first = client.try_submit_command("first").unwrap();
    let (id, _) = connection.command().await;
    within(client.ready()).await;
    let second = client.try_submit_command("second").unwrap();
    let dropped = tokio::spawn(client.submit_command("dropped").into_future());
    let stays = tokio::spawn(client.submit_command("stays").into_future());
    // The test runs on one thread, so both wait now, in this order.
    tokio::task::yield_now().await;
    dropped.abort();
    connection.answer(id, b"done").await;
    assert_eq!(answer_commands(&mut connection, 2).await, [b"second".as_slice(), b"stays"]);
    within(first).await.unwrap();
    within(second).await.unwrap();
    within(stays).await.unwrap().unwrap();
}

#[tokio::test]
async fn submissions_waiting_for_room_at_disconnect_are_not_executed() {
    let (_peer, mut connection, client) = connected(builder().max_in_flight(1).max_queued(1)).await;
    let tasks: Vec<_> =
        (0..10).map(|_| tokio::spawn(client.submit_command("waits").into_future())).collect();
    connection.command().await;
    tokio::spawn(connection.until_closed());
    within(client.disconnect_within(std::time::Duration::from_millis(100))).await;
    let mut maybe_executed = 0;
    for task in tasks {
        let error = within(task).await.unwrap().unwrap_err();
        maybe_executed += u32::from(error.maybe_executed());
    }
    assert_eq!(maybe_executed, 1, "only the one that was sent");
}

#[tokio::test]
async fn payloads_that_cannot_be_sent_fail_at_the_call() {
    let (_peer, _connection, client) = connected(builder().max_message_size(10)).await;
    let error = client.try_submit_command("").unwrap_err();
    assert!(matches!(error, Error::Validation(ValidationError::EmptyPayload)), "{error:?}");
    let error = client.try_submit_query(vec![0; 11]).unwrap_err();
    let setting = "max_message_size";
    let expected = ValidationError::PayloadTooLarge { length: 11, setting, limit: 10 };
    assert!(matches!(&error, Error::Validation(e) if *e == expected), "{error:?}");
    let error = within(client.submit_command(vec![0; 11])).await.unwrap_err();
    assert!(matches!(&error, Error::Validation(e) if *e == expected), "{error:?}");
}

#[tokio::test]
async fn payload_longer_than_the_whole_queue_fails_at_once() {
    let (_peer, _connection, client) = connected(builder().max_queued_bytes(10)).await;
    let setting = "max_queued_bytes";
    let expected = ValidationError::PayloadTooLarge { length: 11, setting, limit: 10 };
    let error = within(client.submit_command(vec![0; 11])).await.unwrap_err();
    assert!(matches!(&error, Error::Validation(e) if *e == expected), "{error:?}");
    let error = client.try_submit_command(vec![0; 11]).unwrap_err();
    assert!(matches!(&error, Error::Validation(e) if *e == expected), "{error:?}");
    assert_eq!(client.config().max_payload(), 10);
}

/// Polls a `ready()` and returns true if it is pending.
fn is_pending(ready: &mut Ready) -> bool {
    Pin::new(ready).poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

/// Submits until there is room, as the documentation of `try_submit_command` shows.
///
/// The function counts its turns, because a loop that spins would leave no thread to a time limit.
async fn submit_in_a_loop(client: &RaftClient, length: usize) -> Answer {
    for _ in 0..100 {
        match client.try_submit_command(vec![7; length]) {
            Err(Error::Overloaded) => client.ready().await,
            other => return other.unwrap(),
        }
    }
    panic!("refused 100 times: ready() does not wait for room");
}

#[tokio::test]
async fn loop_of_try_submit_and_ready_lets_the_driver_run_on_the_same_thread() {
    // There is room for some payloads, but not for this one before an answer has come.
    let (_peer, mut connection, client) = connected(builder().max_queued_bytes(100)).await;
    let first = client.try_submit_command(vec![1; 60]).unwrap();
    let looping = submit_in_a_loop(&client, 50);
    let answering = async {
        let (id, _) = connection.command().await;
        connection.answer(id, b"done").await;
        within(first).await.unwrap();
    };
    let (second, ()) = within(async { tokio::join!(looping, answering) }).await;
    let (_, payload) = connection.command().await;
    assert_eq!(payload.len(), 50);
    drop(second);
}

#[tokio::test]
async fn ready_waits_for_the_last_refused_or_requested_length() {
    let (_peer, mut connection, client) = connected(builder().max_queued_bytes(100)).await;
    let first = client.try_submit_command(vec![1; 60]).unwrap();
    let (id, _) = connection.command().await;
    assert!(matches!(client.try_submit_command(vec![2; 41]), Err(Error::Overloaded)));
    let mut refused_last = client.ready();
    let mut asked_for = client.ready_for(41);
    let mut longer_than_any = client.ready_for(1000);
    within(client.ready_for(40)).await;
    for ready in [&mut refused_last, &mut asked_for, &mut longer_than_any] {
        assert!(is_pending(ready), "the first poll yields");
        assert!(is_pending(ready), "there is no room before the answer");
    }
    connection.answer(id, b"done").await;
    within(first).await.unwrap();
    for ready in [refused_last, asked_for, longer_than_any] {
        within(ready).await;
    }
    let _second = client.try_submit_command(vec![2; 41]).unwrap();
    within(client.ready()).await;
}

#[tokio::test]
async fn ready_yields_after_a_refusal_even_if_there_is_room() {
    let (_peer, _connection, client) = connected(builder().max_queued_bytes(100)).await;
    let _first = client.try_submit_command(vec![1; 60]).unwrap();
    assert!(matches!(client.try_submit_command(vec![2; 50]), Err(Error::Overloaded)));
    let mut ready = std::pin::pin!(client.ready_for(1));
    let mut polls = 0;
    std::future::poll_fn(|context| {
        polls += 1;
        ready.as_mut().poll(context)
    })
    .await;
    assert_eq!(polls, 2, "once to yield, once to find the room");
}

#[tokio::test]
async fn try_submit_does_not_overtake_a_waiting_submission() {
    let (_peer, mut connection, client) = connected(builder().max_queued_bytes(100)).await;
    let first = client.try_submit_command(vec![1; 60]).unwrap();
    let waiting = tokio::spawn(client.submit_command(vec![2; 50]).into_future());
    tokio::task::yield_now().await;
    let error = client.try_submit_command(vec![3; 10]).unwrap_err();
    assert!(matches!(error, Error::Overloaded), "{error:?}");
    let looping = submit_in_a_loop(&client, 10);
    let (third, seen) =
        within(async { tokio::join!(looping, answer_commands(&mut connection, 2)) }).await;
    assert_eq!(seen.iter().map(Vec::len).collect::<Vec<_>>(), [60, 50]);
    within(first).await.unwrap();
    within(waiting).await.unwrap().unwrap();
    assert_eq!(answer_commands(&mut connection, 1).await[0].len(), 10);
    within(third).await.unwrap();
}

#[tokio::test]
async fn calls_before_the_first_connect_fail_with_not_connected() {
    let client = builder().member("unreachable", "tcp://127.0.0.1:1").build().unwrap();
    let error = client.try_submit_command("early").unwrap_err();
    assert!(matches!(error, Error::NotConnected), "{error:?}");
    let error = within(client.submit_query("early")).await.unwrap_err();
    assert!(matches!(error, Error::NotConnected), "{error:?}");
    let error = within(client.ping()).await.unwrap_err();
    assert!(matches!(error, Error::NotConnected), "{error:?}");
    within(client.ready()).await;
    within(client.disconnect()).await;
}

#[test]
fn connect_without_a_runtime_fails_with_no_runtime() {
    let client = builder().member("unreachable", "tcp://127.0.0.1:1").build().unwrap();
    let mut connect = std::pin::pin!(client.connect());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(Err(error)) = connect.as_mut().poll(&mut context) else {
        panic!("it fails at once")
    };
    assert!(matches!(error, Error::Validation(ValidationError::NoRuntime)), "{error:?}");
}
