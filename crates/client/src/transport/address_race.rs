//! Connects to the addresses of one host, with a head start for the earlier ones.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

/// How much later than one address the next is tried. RFC 8305 ("Happy Eyeballs") recommends 250 ms.
const ADDRESS_DELAY: Duration = Duration::from_millis(250);

pub(super) type Attempt<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

/// Tries addresses in order. Each starts [`ADDRESS_DELAY`] after the one before, or when an attempt has failed. The
/// first that connects wins, and the other attempts are dropped.
pub(super) struct AddressRace<T, C> {
    waiting: std::vec::IntoIter<SocketAddr>,
    connect: C,
    running: Vec<Attempt<T>>,
    delay: Option<Pin<Box<Sleep>>>,
    last_error: Option<io::Error>,
}

impl<T, C: FnMut(SocketAddr) -> Attempt<T>> AddressRace<T, C> {
    pub(super) fn new(addresses: Vec<SocketAddr>, connect: C) -> Self {
        let waiting = addresses.into_iter();
        Self { waiting, connect, running: Vec::new(), delay: None, last_error: None }
    }
}

impl<T, C: FnMut(SocketAddr) -> Attempt<T> + Unpin> Future for AddressRace<T, C> {
    type Output = io::Result<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        let race = self.get_mut();
        loop {
            let mut failed = false;
            let mut index = 0;
            while let Some(attempt) = race.running.get_mut(index) {
                match attempt.as_mut().poll(context) {
                    Poll::Ready(Ok(stream)) => return Poll::Ready(Ok(stream)),
                    Poll::Ready(Err(error)) => {
                        drop(race.running.remove(index));
                        race.last_error = Some(error);
                        failed = true;
                    }
                    Poll::Pending => index += 1,
                }
            }
            let delay_over = match &mut race.delay {
                Some(delay) => delay.as_mut().poll(context).is_ready(),
                None => true,
            };
            if !(delay_over || failed) {
                return Poll::Pending;
            }
            match race.waiting.next() {
                Some(address) => {
                    race.running.push((race.connect)(address));
                    race.delay = Some(Box::pin(sleep(ADDRESS_DELAY)));
                }
                None if race.running.is_empty() => {
                    let error = race.last_error.take();
                    return Poll::Ready(Err(error.unwrap_or(io::ErrorKind::NotFound.into())));
                }
                None => return Poll::Pending,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::{Arc, Mutex};

    use tokio::time::Instant;

    use super::*;

    /// The addresses 192.0.2.1 to 192.0.2.3.
    fn three_addresses() -> Vec<SocketAddr> {
        (1..=3).map(|n| SocketAddr::from(([192, 0, 2, n], 1))).collect()
    }

    fn last_octet(address: SocketAddr) -> u8 {
        let SocketAddr::V4(v4) = address else { panic!("the test uses IPv4 only") };
        v4.ip().octets()[3]
    }

    /// What a race did, in virtual time.
    struct Run {
        /// The last octet of the winner.
        winner: io::Result<u8>,
        took: Duration,
        /// The last octet of each address tried, and when.
        tried: Vec<(u8, Duration)>,
    }

    /// Runs a race in which each attempt behaves as `attempt` says for the last octet of its address.
    async fn race(attempt: impl Fn(u8) -> Attempt<u8> + Unpin) -> Run {
        let start = Instant::now();
        let tried = Arc::new(Mutex::new(Vec::new()));
        let log = tried.clone();
        let connect = move |address: SocketAddr| {
            let octet = last_octet(address);
            log.lock().unwrap().push((octet, start.elapsed()));
            attempt(octet)
        };
        let winner = AddressRace::new(three_addresses(), connect).await;
        let tried = tried.lock().unwrap().clone();
        Run { winner, took: start.elapsed(), tried }
    }

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[tokio::test(start_paused = true)]
    async fn first_address_that_connects_at_once_is_the_only_one_tried() {
        let run = race(|octet| Box::pin(ready(Ok(octet)))).await;
        assert_eq!(run.winner.unwrap(), 1);
        assert_eq!((run.took, run.tried), (ms(0), vec![(1, ms(0))]));
    }

    #[tokio::test(start_paused = true)]
    async fn silent_address_delays_the_next_by_250_ms() {
        let run =
            race(|octet| if octet == 3 { Box::pin(ready(Ok(octet))) } else { Box::pin(pending()) })
                .await;
        assert_eq!(run.winner.unwrap(), 3);
        assert_eq!(run.took, ms(500));
        assert_eq!(run.tried, [(1, ms(0)), (2, ms(250)), (3, ms(500))]);
    }

    #[tokio::test(start_paused = true)]
    async fn earlier_address_may_still_win_after_the_next_has_started() {
        let run = race(|octet| {
            if octet == 1 {
                Box::pin(async move {
                    sleep(ms(300)).await;
                    Ok(octet)
                })
            } else {
                Box::pin(pending())
            }
        })
        .await;
        assert_eq!(run.winner.unwrap(), 1);
        assert_eq!(run.took, ms(300));
    }

    #[tokio::test(start_paused = true)]
    async fn refused_address_starts_the_next_at_once_and_the_last_error_is_returned() {
        let run = race(|_| Box::pin(ready(Err(io::ErrorKind::ConnectionRefused.into())))).await;
        assert_eq!(run.winner.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(run.took, ms(0));
        assert_eq!(run.tried.len(), 3);
    }
}
