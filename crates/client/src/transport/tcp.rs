//! TCP with name resolution: `tcp://host:port`.

use std::net::SocketAddr;

use tokio::net::TcpStream;
use zraft_core::OpenFailure;

use super::address_race::{AddressRace, Attempt};
use super::open_failure;

/// How many addresses of one host are tried. Real hosts have fewer; a resolver that returns more, by mistake or on
/// purpose, must not cost more attempts.
const MAX_ADDRESSES: usize = 16;

/// Resolves the host and connects to the first of its addresses that accepts.
pub(super) async fn connect(host: &str, port: u16) -> Result<TcpStream, OpenFailure> {
    #[cfg(test)]
    tests::LOOKUPS.set(tests::LOOKUPS.get() + 1);
    let addresses = match tokio::net::lookup_host((host, port)).await {
        Ok(addresses) => alternate_families(addresses),
        // The resolver's texts differ between platforms and say no more than this.
        Err(_) => return Err(OpenFailure::UnknownHost),
    };
    if addresses.is_empty() {
        return Err(OpenFailure::UnknownHost);
    }
    let connect = |address| Box::pin(TcpStream::connect(address)) as Attempt<TcpStream>;
    let stream =
        AddressRace::new(addresses, connect).await.map_err(|error| open_failure(&error))?;
    // Nagle's algorithm delays small messages. A socket that refuses the option still works.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// Keeps the resolver's order within each family but alternates IPv6 and IPv4. A family without a route then costs
/// one delay instead of one per address.
fn alternate_families(addresses: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::*;
    use crate::RaftClient;

    thread_local! {
        /// How many names this thread has resolved.
        pub(super) static LOOKUPS: Cell<usize> = const { Cell::new(0) };
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn connected_socket_sends_small_writes_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = connect("127.0.0.1", listener.local_addr().unwrap().port()).await.unwrap();
        assert!(stream.nodelay().unwrap());
    }

    /// After a failover a name may lead to another address.
    #[tokio::test]
    async fn every_attempt_resolves_the_name_again() {
        let listener = TcpListener::bind(("localhost", 0)).await.unwrap();
        let endpoint = format!("tcp://localhost:{}", listener.local_addr().unwrap().port());
        let client = RaftClient::builder()
            .member("node-1", endpoint)
            .capability("protocol", "test")
            .build()
            .unwrap();
        let connecting = client.connect();
        for attempt in 1..=3 {
            // The peer closes the connection before the first message, so the client tries again.
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
        assert_eq!(alternate_families(given.into_iter()), expected);
        let v4 = ["1.1.1.1:1", "[::1]:1", "[::2]:1"].map(address);
        let expected = ["1.1.1.1:1", "[::1]:1", "[::2]:1"].map(address);
        assert_eq!(alternate_families(v4.into_iter()), expected);
    }

    #[test]
    fn name_with_endless_addresses_costs_at_most_16_attempts() {
        let many = (1..=1000).map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        assert_eq!(alternate_families(many).len(), MAX_ADDRESSES);
    }
}
