//! Many commands of one call: their order, the limits of the queue, and the outcome of each.

use std::cell::Cell;
use std::time::Duration;

use futures_util::{FutureExt, Stream, StreamExt};
use zraft_client::{Bytes, CommandOutcomes, Error, RaftClient, ValidationError};

use crate::support::raw::{Connection, connected};
use crate::support::{builder, within};

fn payloads(count: u32) -> impl Iterator<Item = Vec<u8>> {
    (0..count).map(|number| number.to_be_bytes().to_vec())
}

async fn all<I: Iterator<Item = Vec<u8>>>(
    mut outcomes: CommandOutcomes<I>,
) -> Vec<Result<Bytes, Error>> {
    let mut found = Vec::new();
    while let Some(outcome) = within(outcomes.next()).await {
        found.push(outcome);
    }
    found
}

/// Answers this many commands with their own payloads, and returns them.
async fn echo(mut connection: Connection, count: u32) -> (Connection, Vec<Vec<u8>>) {
    let mut seen = Vec::new();
    for _ in 0..count {
        let (id, payload) = connection.command().await;
        connection.answer_bytes(id, payload.clone()).await;
        seen.push(payload.to_vec());
    }
    (connection, seen)
}

#[tokio::test]
async fn outcomes_come_in_the_order_of_the_payloads_whatever_the_order_of_the_answers() {
    let (_peer, mut connection, client) = connected(builder()).await;
    let outcomes = tokio::spawn(all(client.submit_commands(payloads(100).collect::<Vec<_>>())));
    let mut commands = Vec::new();
    for _ in 0..100 {
        commands.push(connection.command().await);
    }
    for (id, payload) in commands.into_iter().rev() {
        connection.answer_bytes(id, payload.clone()).await;
    }
    let outcomes = within(outcomes).await.unwrap();
    let answers: Vec<Vec<u8>> = outcomes.into_iter().map(|each| each.unwrap().to_vec()).collect();
    assert_eq!(answers, payloads(100).collect::<Vec<_>>());
}

#[tokio::test]
async fn commands_beyond_the_queue_wait_for_room_and_none_is_lost() {
    for (in_flight, queued) in [(1, 1), (2, 3), (300, 5_000)] {
        let settings = builder().max_in_flight(in_flight).max_queued(queued);
        let (_peer, connection, client) = connected(settings).await;
        let server = tokio::spawn(echo(connection, 3_000));
        let outcomes = all(client.submit_commands(payloads(3_000))).await;
        let expected: Vec<_> = payloads(3_000).collect();
        let answers: Vec<_> = outcomes.into_iter().map(|each| each.unwrap().to_vec()).collect();
        assert_eq!(answers, expected);
        assert_eq!(within(server).await.unwrap().1, expected, "executed in order, each once");
    }
}

#[tokio::test]
async fn other_submissions_get_their_room_in_turn() {
    let (_peer, connection, client) = connected(builder().max_in_flight(1).max_queued(1)).await;
    let server = tokio::spawn(echo(connection, 101));
    let outcomes = tokio::spawn(all(client.submit_commands(payloads(100).collect::<Vec<_>>())));
    // The test runs on one thread: the batch waits for room now.
    tokio::task::yield_now().await;
    within(client.submit_command("between")).await.unwrap();
    assert!(!outcomes.is_finished());
    assert_eq!(within(outcomes).await.unwrap().len(), 100);
    let (_, seen) = within(server).await.unwrap();
    let at = seen.iter().position(|payload| payload == b"between").unwrap();
    assert!(at < 10, "{at} commands of the batch came before it");
}

#[tokio::test]
async fn payload_that_cannot_be_sent_fails_in_its_place_and_the_others_go_on() {
    let (_peer, connection, client) = connected(builder().max_message_size(10)).await;
    let server = tokio::spawn(echo(connection, 2));
    let batch = [b"first".to_vec(), vec![0; 11], b"last".to_vec(), Vec::new()];
    let outcomes = all(client.submit_commands(batch)).await;
    assert_eq!(outcomes[0].as_ref().unwrap(), "first");
    let too_large = &outcomes[1];
    assert!(
        matches!(too_large, Err(Error::Validation(ValidationError::PayloadTooLarge { .. }))),
        "{too_large:?}"
    );
    assert_eq!(outcomes[2].as_ref().unwrap(), "last");
    let empty = &outcomes[3];
    assert!(matches!(empty, Err(Error::Validation(ValidationError::EmptyPayload))), "{empty:?}");
    assert_eq!(within(server).await.unwrap().1.len(), 2);
}

#[tokio::test]
async fn iterator_without_end_is_taken_only_twice_the_window_ahead() {
    let (_peer, mut connection, client) = connected(builder().max_in_flight(4)).await;
    let taken = Cell::new(0);
    let endless = std::iter::repeat_with(|| {
        taken.set(taken.get() + 1);
        Bytes::from_static(b"again")
    });
    let mut outcomes = client.submit_commands(endless);
    assert!(outcomes.next().now_or_never().is_none());
    assert_eq!(taken.get(), 8);
    // The others are answered, but the first is not: nothing more is taken.
    let (first, _) = connection.command().await;
    for _ in 0..7 {
        let (id, _) = connection.command().await;
        connection.answer(id, b"done").await;
    }
    while client.stats().answered < 7 {
        tokio::task::yield_now().await;
    }
    assert!(outcomes.next().now_or_never().is_none());
    assert_eq!(taken.get(), 8);
    connection.answer(first, b"done").await;
    within(outcomes.next()).await.unwrap().unwrap();
    for _ in 0..7 {
        outcomes.next().now_or_never().flatten().unwrap().unwrap();
    }
    assert_eq!(outcomes.size_hint(), (usize::MAX, None));
}

#[tokio::test]
async fn dropped_batch_does_not_execute_what_was_not_sent() {
    let (_peer, mut connection, client) = connected(builder().max_in_flight(2)).await;
    let mut outcomes = client.submit_commands(payloads(50));
    assert!(outcomes.next().now_or_never().is_none());
    let (first, _) = connection.command().await;
    let (second, _) = connection.command().await;
    drop(outcomes);
    let last = tokio::spawn({
        let client = client.clone();
        async move { client.submit_command("last").await }
    });
    connection.answer(first, b"done").await;
    connection.answer(second, b"done").await;
    let (id, payload) = connection.command().await;
    assert_eq!(payload, "last", "no command of the batch follows");
    connection.answer(id, b"done").await;
    within(last).await.unwrap().unwrap();
}

#[tokio::test]
async fn batch_that_is_dropped_while_it_waits_leaves_its_room_to_others() {
    let (_peer, mut connection, client) = connected(builder().max_in_flight(1).max_queued(1)).await;
    let first = client.try_submit_command("first").unwrap();
    let (id, _) = connection.command().await;
    within(client.ready()).await;
    let second = client.try_submit_command("second").unwrap();
    let mut outcomes = client.submit_commands(payloads(5));
    assert!(outcomes.next().now_or_never().is_none());
    let stays = tokio::spawn({
        let client = client.clone();
        async move { client.submit_command("stays").await }
    });
    tokio::task::yield_now().await;
    drop(outcomes);
    connection.answer(id, b"done").await;
    let (_, seen) = echo(connection, 2).await;
    assert_eq!(seen, [b"second".as_slice(), b"stays"]);
    within(first).await.unwrap();
    within(second).await.unwrap();
    within(stays).await.unwrap().unwrap();
}

#[tokio::test]
async fn cancelled_batch_tells_of_each_command_whether_it_was_sent() {
    let (_peer, mut connection, client) = connected(builder().max_in_flight(2).max_queued(1)).await;
    let mut outcomes = client.submit_commands(payloads(50));
    assert!(outcomes.next().now_or_never().is_none());
    let (first, _) = connection.command().await;
    connection.answer(first, b"done").await;
    within(outcomes.next()).await.unwrap().unwrap();
    connection.command().await;
    let mut outcomes = outcomes.cancel();
    let mut sent = 0;
    let mut count = 1;
    while let Some(outcome) = within(outcomes.next()).await {
        let error = outcome.unwrap_err();
        assert!(matches!(error, Error::Cancelled { .. }), "{error:?}");
        sent += usize::from(error.maybe_executed());
        assert!(!error.maybe_executed() || error.resolution().is_some());
        count += 1;
    }
    assert!((1..=2).contains(&sent), "{sent}");
    assert!(count <= 5, "no further payload was taken: {count}");
}

#[tokio::test]
async fn each_command_has_the_time_that_the_batch_was_given() {
    let (_peer, mut connection, client) = connected(builder()).await;
    let outcomes = client.submit_commands(payloads(3)).timeout(Duration::from_millis(50));
    let outcomes = tokio::spawn(all_boxed(Box::new(outcomes)));
    for _ in 0..3 {
        connection.command().await;
    }
    for outcome in within(outcomes).await.unwrap() {
        let error = outcome.unwrap_err();
        assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
    }
}

async fn all_boxed(
    outcomes: Box<dyn Stream<Item = Result<Bytes, Error>> + Send + Unpin>,
) -> Vec<Result<Bytes, Error>> {
    outcomes.collect().await
}

#[tokio::test]
async fn commands_of_a_client_that_is_not_connected_fail_one_by_one() {
    let client: RaftClient = builder().member("node-1", "tcp://127.0.0.1:1").build().unwrap();
    let outcomes = all(client.submit_commands(payloads(3))).await;
    assert_eq!(outcomes.len(), 3);
    for outcome in outcomes {
        assert!(matches!(outcome, Err(Error::NotConnected)), "{outcome:?}");
    }
    assert!(all(client.submit_commands(payloads(0))).await.is_empty());
}

#[tokio::test]
async fn disconnect_ends_every_command_of_a_batch_with_its_own_outcome() {
    let (_peer, mut connection, client) = connected(builder().max_in_flight(2).max_queued(3)).await;
    let outcomes = tokio::spawn(all(client.submit_commands(payloads(10).collect::<Vec<_>>())));
    connection.command().await;
    connection.command().await;
    tokio::spawn(connection.until_closed());
    within(client.disconnect_within(Duration::from_millis(50))).await;
    let outcomes = within(outcomes).await.unwrap();
    assert_eq!(outcomes.len(), 10);
    let sent = outcomes.iter().filter(|each| each.as_ref().unwrap_err().maybe_executed()).count();
    assert_eq!(sent, 2, "only those that were sent: {outcomes:?}");
}
