//! The measured client.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    io,
    pin::Pin,
    task::Poll,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::Stream;
use zraft_client::{Answer, RaftClient};

use zraft_bench::load::Sample;

use super::{Arguments, Mix};

pub(crate) async fn drive(arguments: &Arguments) -> io::Result<Sample> {
    let mut load = arguments.load();
    let client = connected(arguments).await?;
    let payload = Bytes::from(vec![7; arguments.requests.payload]);
    let mix = arguments.requests.mix;
    let mut turn = false;
    let mut submit = || {
        turn = !turn;
        match mix {
            Mix::Commands => client.try_submit_command(payload.clone()),
            Mix::Queries => client.try_submit_query(payload.clone()),
            Mix::Mixed if turn => client.try_submit_command(payload.clone()),
            Mix::Mixed => client.try_submit_query(payload.clone()),
        }
    };
    let mut answers: VecDeque<Answer> = VecDeque::new();
    load.start();
    loop {
        let now = Instant::now();
        if load.is_over(now) {
            break;
        }
        for _ in 0..load.due(now) {
            answers.push_back(submit().map_err(io::Error::other)?);
        }
        let count = if load.is_closed() {
            poll_fn(|context| take(&mut answers, context)).await
        } else {
            tokio::task::yield_now().await;
            let now = poll_fn(|context| Poll::Ready(take(&mut answers, context))).await;
            if let Poll::Ready(count) = now { count } else { Ok(0) }
        }?;
        load.answered(Instant::now(), count);
    }
    let sample = load.sample();
    drop(answers);
    client.disconnect_within(Duration::ZERO).await;
    Ok(sample)
}

/// Takes the answers that have arrived, in order. Returns their number.
fn take(
    answers: &mut VecDeque<Answer>,
    context: &mut std::task::Context<'_>,
) -> Poll<io::Result<u64>> {
    let mut count = 0;
    while let Some(first) = answers.front_mut() {
        match Pin::new(first).poll(context) {
            Poll::Ready(Ok(_)) => {
                answers.pop_front();
                count += 1;
            }
            Poll::Ready(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
            Poll::Pending => break,
        }
    }
    if count > 0 { Poll::Ready(Ok(count)) } else { Poll::Pending }
}

async fn connected(arguments: &Arguments) -> io::Result<RaftClient> {
    let client = RaftClient::builder()
        .member("node-1", &arguments.endpoint)
        .capability("kind", "bench")
        // With a rate, requests beyond the window wait in the queue, and their latency includes the wait.
        .max_in_flight(arguments.requests.rate.map_or(arguments.requests.in_flight, |_| 1 << 20))
        .max_queued(1 << 21)
        .max_queued_bytes(4 << 30)
        .build()
        .map_err(io::Error::other)?;
    client.connect().await.map_err(io::Error::other)?;
    Ok(client)
}

/// Puts the load on the server by one call for all commands, whose payloads never end.
pub(crate) async fn drive_batch(arguments: &Arguments) -> io::Result<Sample> {
    let mut load = arguments.load();
    if !load.is_closed() || arguments.requests.mix != Mix::Commands {
        return Err(io::Error::other("the call for many commands has no rate and no queries"));
    }
    let client = connected(arguments).await?;
    let payload = Bytes::from(vec![7; arguments.requests.payload]);
    let mut outcomes = client.submit_commands(std::iter::repeat(payload));
    load.start();
    loop {
        let now = Instant::now();
        if load.is_over(now) {
            break;
        }
        // The client sends the next command when an answer makes room on the wire.
        load.due(now);
        let count = poll_fn(|context| {
            let mut count = 0;
            loop {
                match Pin::new(&mut outcomes).poll_next(context) {
                    Poll::Ready(Some(Ok(_))) => count += 1,
                    Poll::Ready(Some(Err(error))) => {
                        return Poll::Ready(Err(io::Error::other(error)));
                    }
                    _ => break,
                }
                // As many as the other contenders take at once.
                if count == arguments.requests.in_flight as u64 {
                    break;
                }
            }
            if count > 0 { Poll::Ready(Ok(count)) } else { Poll::Pending }
        })
        .await?;
        load.answered(Instant::now(), count);
    }
    let sample = load.sample();
    drop(outcomes);
    client.disconnect_within(Duration::ZERO).await;
    Ok(sample)
}
