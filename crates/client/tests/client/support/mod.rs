//! Helpers of all tests: a time limit for every wait, clusters, certificates, and scripted peers.

pub(crate) mod certificates;
pub(crate) mod cluster;
pub(crate) mod raw;

use std::future::{Future, IntoFuture};
use std::time::Duration;

use zraft_client::{ClientBuilder, Event, Events, RaftClient, StateName};

/// Awaits a future and fails the test if it takes longer than 20 s.
#[track_caller]
pub(crate) fn within<F: IntoFuture>(future: F) -> impl Future<Output = F::Output> {
    let place = std::panic::Location::caller();
    let future = future.into_future();
    async move {
        match tokio::time::timeout(Duration::from_secs(20), future).await {
            Ok(output) => output,
            Err(_) => panic!("nothing happened for 20 s, awaited at {place}"),
        }
    }
}

/// Returns the settings of a client, with shortened times.
pub(crate) fn builder() -> ClientBuilder {
    RaftClient::builder()
        .capability("kind", "test")
        .connection_timeout(Duration::from_millis(500))
        .request_timeout(Duration::from_secs(15))
        .resend_interval(Duration::from_millis(200))
}

/// Returns the first value that `pick` makes of the next events.
pub(crate) async fn next_event<T>(
    events: &mut Events,
    mut pick: impl FnMut(&Event) -> Option<T>,
) -> T {
    within(async {
        loop {
            let event = events.next().await.expect("the client lives");
            if let Some(picked) = pick(&event) {
                return picked;
            }
        }
    })
    .await
}

/// Waits until the client is in this state.
pub(crate) async fn reaches(client: &RaftClient, state: StateName) {
    let mut states = client.state();
    within(states.wait_for(|now| *now == state)).await.expect("the client lives");
}

/// Returns the reason in the next `Disconnected` event.
pub(crate) async fn disconnected(events: &mut Events) -> &'static str {
    next_event(events, |event| match event {
        Event::Disconnected { reason, .. } => Some(reason.name()),
        _ => None,
    })
    .await
}
