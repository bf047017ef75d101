//! Opening and using a connection: TCP with name resolution, or a Unix socket.

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::time::{Sleep, sleep};
use zraft_core::{Endpoint, OpenFailure};

/// How much later than one address of a host the next is tried.
const ADDRESS_DELAY: Duration = Duration::from_millis(250);

/// How many addresses of one host are tried.
const MAX_ADDRESSES: usize = 16;

/// A byte stream to a member.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

pub(crate) type Opening<S = Stream> = Pin<Box<dyn Future<Output = Result<S, OpenFailure>> + Send>>;

/// Resolves and connects. Dropping the future gives everything up.
pub(crate) fn open(endpoint: Endpoint) -> Opening {
    Box::pin(async move {
        match endpoint {
            Endpoint::Tcp { host, port } => open_tcp(&host, port).await,
            #[cfg(unix)]
            Endpoint::Ipc { path } => match UnixStream::connect(&path).await {
                Ok(stream) => Ok(Stream::Unix(stream)),
                // No socket file: as with a port, nobody listens there.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Err(OpenFailure::Refused),
                Err(error) => Err(failure(&error)),
            },
            #[cfg(not(unix))]
            Endpoint::Ipc { .. } => {
                Err(OpenFailure::Other("this platform has no ipc:// endpoints".to_owned()))
            }
        }
    })
}

async fn open_tcp(host: &str, port: u16) -> Result<Stream, OpenFailure> {
    #[cfg(test)]
    tests::LOOKUPS.set(tests::LOOKUPS.get() + 1);
    let addresses = match tokio::net::lookup_host((host, port)).await {
        Ok(addresses) => alternate(addresses),
        // The resolver's own words differ from platform to platform and tell no more.
        Err(_) => return Err(OpenFailure::UnknownHost),
    };
    if addresses.is_empty() {
        return Err(OpenFailure::UnknownHost);
    }
    let connect = |address| Box::pin(TcpStream::connect(address)) as Attempt<TcpStream>;
    let stream = Race::new(addresses, connect).await.map_err(|error| failure(&error))?;
    // A socket that cannot be told so works all the same, only slower.
    let _ = stream.set_nodelay(true);
    Ok(Stream::Tcp(stream))
}

/// The resolver's order, but IPv6 and IPv4 in turn, so that a family that leads nowhere costs
/// one delay and not one for each address.
fn alternate(addresses: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let addresses: Vec<_> = addresses.take(MAX_ADDRESSES).collect();
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let mut second = second.into_iter();
    let mut mixed = Vec::new();
    for address in first {
        mixed.push(address);
        mixed.extend(second.next());
    }
    mixed.extend(second);
    mixed
}

fn failure(error: &io::Error) -> OpenFailure {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => OpenFailure::Refused,
        _ => OpenFailure::Other(error.to_string()),
    }
}

type Attempt<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

/// Tries addresses one after the other, each a delay after the one before or when that has
/// failed; the first that connects wins, the others are dropped.
struct Race<T, C> {
    waiting: std::vec::IntoIter<SocketAddr>,
    connect: C,
    running: Vec<Attempt<T>>,
    delay: Option<Pin<Box<Sleep>>>,
    last_error: Option<io::Error>,
}

impl<T, C: FnMut(SocketAddr) -> Attempt<T>> Race<T, C> {
    fn new(addresses: Vec<SocketAddr>, connect: C) -> Self {
        let waiting = addresses.into_iter();
        Self { waiting, connect, running: Vec::new(), delay: None, last_error: None }
    }
}

impl<T, C: FnMut(SocketAddr) -> Attempt<T> + Unpin> Future for Race<T, C> {
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
            let due = match &mut race.delay {
                Some(delay) => delay.as_mut().poll(context).is_ready(),
                None => true,
            };
            if !(due || failed) {
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

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(context),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::{pending, ready};
    use std::sync::{Arc, Mutex};

    use tokio::net::TcpListener;
    use tokio::time::{Instant, timeout};

    use super::*;
    use crate::RaftClient;

    thread_local! {
        /// How often a name was resolved by this thread.
        pub(super) static LOOKUPS: Cell<usize> = const { Cell::new(0) };
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn three() -> Vec<SocketAddr> {
        (1..=3).map(|n| address(&format!("192.0.2.{n}:1"))).collect()
    }

    /// Runs a race whose attempts behave as told, on paused time: the result, the time it took,
    /// and when each address was tried.
    async fn race(
        behave: impl Fn(SocketAddr) -> Attempt<SocketAddr> + Unpin,
    ) -> (io::Result<SocketAddr>, Duration, Vec<(u8, Duration)>) {
        let start = Instant::now();
        let tried = Arc::new(Mutex::new(Vec::new()));
        let log = tried.clone();
        let result = Race::new(three(), move |address: SocketAddr| {
            let SocketAddr::V4(v4) = address else { panic!("only IPv4 here") };
            log.lock().unwrap().push((v4.ip().octets()[3], start.elapsed()));
            behave(address)
        })
        .await;
        let tried = tried.lock().unwrap().clone();
        (result, start.elapsed(), tried)
    }

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[tokio::test]
    async fn small_writes_do_not_wait_for_earlier_ones_to_be_confirmed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = open_tcp("127.0.0.1", listener.local_addr().unwrap().port()).await;
        let Ok(Stream::Tcp(stream)) = stream else { panic!("not connected") };
        assert!(stream.nodelay().unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_address_that_answers_at_once_wins_alone() {
        let (result, time, tried) = race(|address| Box::pin(ready(Ok(address)))).await;
        assert_eq!(result.unwrap(), address("192.0.2.1:1"));
        assert_eq!((time, tried), (ms(0), vec![(1, ms(0))]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_address_delays_the_next_by_250_ms() {
        let (result, time, tried) = race(|address| {
            if address.ip().to_string().ends_with('3') {
                Box::pin(ready(Ok(address)))
            } else {
                Box::pin(pending())
            }
        })
        .await;
        assert_eq!(result.unwrap(), address("192.0.2.3:1"));
        assert_eq!(time, ms(500));
        assert_eq!(tried, [(1, ms(0)), (2, ms(250)), (3, ms(500))]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_early_address_may_still_win_late() {
        let (result, time, _) = race(|address| {
            if address.ip().to_string().ends_with('1') {
                Box::pin(async move {
                    sleep(ms(300)).await;
                    Ok(address)
                })
            } else {
                Box::pin(pending())
            }
        })
        .await;
        assert_eq!(result.unwrap(), address("192.0.2.1:1"));
        assert_eq!(time, ms(300));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_starts_the_next_at_once_and_the_last_error_is_told() {
        let refused =
            |_| Box::pin(ready(Err(io::ErrorKind::ConnectionRefused.into()))) as Attempt<_>;
        let (result, time, tried) = race(refused).await;
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(time, ms(0));
        assert_eq!(tried.len(), 3);
    }

    /// A name may lead elsewhere after a failover.
    #[tokio::test]
    async fn a_name_is_resolved_at_every_attempt() {
        let listener = TcpListener::bind(("localhost", 0)).await.unwrap();
        let endpoint = format!("tcp://localhost:{}", listener.local_addr().unwrap().port());
        let client = RaftClient::builder()
            .member("node-1", endpoint)
            .capability("protocol", "test")
            .build()
            .unwrap();
        let connecting = client.connect();
        for attempt in 1..=3 {
            // Closed before the first message: it is tried again.
            let accepted = timeout(Duration::from_secs(30), listener.accept()).await.unwrap();
            assert_eq!(LOOKUPS.get(), attempt);
            drop(accepted);
        }
        drop(connecting);
    }

    #[test]
    fn address_families_alternate_in_the_resolvers_order() {
        let given = ["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"].map(address);
        let expected = ["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"].map(address);
        assert_eq!(alternate(given.into_iter()), expected);
        let v4 = ["1.1.1.1:1", "[::1]:1", "[::2]:1"].map(address);
        let expected = ["1.1.1.1:1", "[::1]:1", "[::2]:1"].map(address);
        assert_eq!(alternate(v4.into_iter()), expected);
    }

    #[test]
    fn a_name_with_endless_addresses_costs_a_bounded_number_of_attempts() {
        let many = (1..=1000).map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        assert_eq!(alternate(many).len(), MAX_ADDRESSES);
    }
}
