//! The proxy: what it carries, and what its switches do.

#![allow(clippy::unwrap_used)]

mod support;

use std::{io::ErrorKind, num::NonZeroU32, time::Duration};

use support::within;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::Instant,
};
use zraft_chaos::proxy::{Accepting, Cut, Direction, Link, Proxy};

const BLACKHOLE: Link = Link { delay: Duration::ZERO, bytes_per_second: None, blackhole: true };

/// A client and a server, and the proxy between them.
async fn pair() -> (TcpStream, TcpStream, Proxy) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(listener.local_addr().unwrap()).await.unwrap();
    let mut client = within(TcpStream::connect(proxy.address())).await.unwrap();
    let (mut server, _) = within(listener.accept()).await.unwrap();
    // From here on the proxy carries it.
    client.write_all(b"?").await.unwrap();
    assert_eq!(read(&mut server, 1).await, b"?");
    (client, server, proxy)
}

async fn read(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    within(stream.read_exact(&mut bytes)).await.unwrap();
    bytes
}

/// Whether the stream has ended in order; else it was reset.
async fn ends_in_order(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    match within(stream.read_to_end(&mut rest)).await {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            false
        }
    }
}

#[tokio::test]
async fn bytes_go_both_ways_and_each_end_by_itself() {
    let (mut client, mut server, proxy) = pair().await;
    client.write_all(b"question").await.unwrap();
    assert_eq!(read(&mut server, 8).await, b"question");
    client.shutdown().await.unwrap();
    assert!(ends_in_order(&mut server).await);
    // The other direction still works.
    server.write_all(b"answer").await.unwrap();
    assert_eq!(read(&mut client, 6).await, b"answer");
    assert_eq!(proxy.connections(), 1);
    drop(server);
    assert!(ends_in_order(&mut client).await);
}

#[tokio::test]
async fn a_reset_of_one_side_resets_the_other() {
    let (client, mut server, _proxy) = pair().await;
    client.set_zero_linger().unwrap();
    drop(client);
    assert!(!ends_in_order(&mut server).await);
}

#[tokio::test]
async fn a_large_transfer_arrives_whole_through_bounded_buffers() {
    let (mut client, mut server, _proxy) = pair().await;
    let sent: Vec<u8> = (0..4_000_000_u32).map(|n| (n % 251) as u8).collect();
    let expected = sent.clone();
    let writer = tokio::spawn(async move {
        client.write_all(&sent).await.unwrap();
        client
    });
    assert_eq!(read(&mut server, expected.len()).await, expected);
    writer.await.unwrap();
}

#[tokio::test]
async fn a_reader_that_reads_nothing_stops_the_writer() {
    let (client, _server, _proxy) = pair().await;
    // Whatever the kernel holds, the proxy holds little: the writer is stopped at some time.
    let chunk = vec![0; 1 << 20];
    let mut written = 0_usize;
    within(async {
        loop {
            match client.try_write(&chunk) {
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let writable =
                        tokio::time::timeout(Duration::from_millis(500), client.writable());
                    if writable.await.is_err() {
                        break;
                    }
                }
                Err(error) => panic!("{error}"),
            }
        }
    })
    .await;
    assert!(written < 64 << 20, "{written}");
}

#[tokio::test]
async fn a_delay_holds_back_one_direction_and_keeps_the_order() {
    let (mut client, mut server, proxy) = pair().await;
    let delay = Duration::from_millis(50);
    proxy.set_link(Direction::ToServer, Link { delay, ..Link::default() });
    let started = Instant::now();
    for n in 0..10_u8 {
        client.write_all(&[n]).await.unwrap();
    }
    assert_eq!(read(&mut server, 10).await, (0..10).collect::<Vec<u8>>());
    // Not how long it took, only that it cannot have been carried earlier.
    assert!(started.elapsed() >= delay);
}

#[tokio::test]
async fn a_slow_link_passes_no_more_than_its_bytes_a_second() {
    let (mut client, mut server, proxy) = pair().await;
    let bytes_per_second = NonZeroU32::new(100_000);
    proxy.set_link(Direction::ToServer, Link { bytes_per_second, ..Link::default() });
    let started = Instant::now();
    client.write_all(&[7; 20_000]).await.unwrap();
    read(&mut server, 20_000).await;
    // The last piece passes when all but it have had their time.
    assert!(started.elapsed() >= Duration::from_millis(180));
}

#[tokio::test]
async fn a_blackhole_lets_nothing_through_until_it_is_lifted_and_then_everything() {
    let (mut client, mut server, proxy) = pair().await;
    proxy.set_link(Direction::ToServer, BLACKHOLE);
    client.write_all(b"held").await.unwrap();
    client.shutdown().await.unwrap();
    // The other direction is open, and shows that the proxy has had its turn.
    server.write_all(b"through").await.unwrap();
    assert_eq!(read(&mut client, 7).await, b"through");
    assert_eq!(
        server.try_read(&mut [0; 8]).unwrap_err().kind(),
        ErrorKind::WouldBlock,
        "neither bytes nor the end"
    );
    proxy.heal();
    assert_eq!(read(&mut server, 4).await, b"held");
    assert!(ends_in_order(&mut server).await);
}

#[tokio::test]
async fn a_blackhole_holds_back_a_reset_too() {
    let (client, mut server, proxy) = pair().await;
    proxy.set_links(BLACKHOLE);
    client.set_zero_linger().unwrap();
    drop(client);
    let other = TcpStream::connect(proxy.address()).await.unwrap();
    within(proxy.accepted_reached(2)).await;
    assert_eq!(server.try_read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    proxy.heal();
    assert!(!ends_in_order(&mut server).await);
    drop(other);
}

#[tokio::test]
async fn a_cut_ends_both_sides_as_told_and_spares_what_comes_after() {
    for (cut, in_order) in [(Cut::Fin, true), (Cut::Reset, false)] {
        let (mut client, mut server, proxy) = pair().await;
        // A cut in order is over when both sides have closed.
        let ends =
            async move { (ends_in_order(&mut client).await, ends_in_order(&mut server).await) };
        let (count, ends) = tokio::join!(within(proxy.cut(cut)), ends);
        assert_eq!((count, ends), (1, (in_order, in_order)));
        assert_eq!(proxy.connections(), 0);
        let next = TcpStream::connect(proxy.address()).await.unwrap();
        within(proxy.accepted_reached(2)).await;
        assert_eq!(within(proxy.cut(Cut::Reset)).await, 1);
        drop(next);
    }
}

#[tokio::test]
async fn a_cut_also_ends_a_connection_in_a_blackhole() {
    let (mut client, _server, proxy) = pair().await;
    proxy.set_links(BLACKHOLE);
    assert_eq!(within(proxy.cut(Cut::Reset)).await, 1);
    assert!(!ends_in_order(&mut client).await);
}

#[tokio::test]
async fn new_connections_are_reset_where_nobody_listens_or_when_told_so() {
    let (client, server, proxy) = pair().await;
    proxy.set_accepting(Accepting::Reset);
    let mut refused = TcpStream::connect(proxy.address()).await.unwrap();
    assert!(!ends_in_order(&mut refused).await);
    proxy.heal();
    // The listener of the test is gone.
    let mut unheard = TcpStream::connect(proxy.address()).await.unwrap();
    assert!(!ends_in_order(&mut unheard).await);
    assert_eq!(proxy.connections(), 1, "the first one is untouched");
    drop((client, server));
}

#[tokio::test]
async fn a_proxy_that_is_dropped_ends_its_connections() {
    let (mut client, mut server, proxy) = pair().await;
    drop(proxy);
    ends_in_order(&mut client).await;
    ends_in_order(&mut server).await;
}
