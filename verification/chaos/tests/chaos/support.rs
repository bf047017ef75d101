//! Helpers that the tests of this crate share.

use std::future::{Future, IntoFuture};
use std::time::Duration;

/// Awaits a future that must complete within a minute; otherwise the test fails.
#[track_caller]
pub(crate) fn within<F: IntoFuture>(future: F) -> impl Future<Output = F::Output> {
    let place = std::panic::Location::caller();
    let future = future.into_future();
    async move {
        match tokio::time::timeout(Duration::from_secs(60), future).await {
            Ok(output) => output,
            Err(_) => panic!("the future awaited at {place} did not complete within a minute"),
        }
    }
}
