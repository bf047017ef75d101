//! Tests of the proxy: carrying bytes, degraded links and cuts.

use std::{io::ErrorKind, num::NonZeroU32, time::Duration};

use crate::support::within;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::Instant,
};
use zraft_chaos::proxy::{Accepting, Cut, Direction, LinkQuality, Proxy};

const BLACKHOLE: LinkQuality =
    LinkQuality { delay: Duration::ZERO, bytes_per_second: None, blackhole: true };

/// Returns a connected client and server, and the proxy between them.
async fn pair() -> (TcpStream, TcpStream, Proxy) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(listener.local_addr().unwrap()).await.unwrap();
    let mut client = within(TcpStream::connect(proxy.address())).await.unwrap();
    let (mut server, _) = within(listener.accept()).await.unwrap();
    // The accepted connection shows that the proxy carries it.
    client.write_all(b"?").await.unwrap();
    assert_eq!(read(&mut server, 1).await, b"?");
    (client, server, proxy)
}

async fn read(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    within(stream.read_exact(&mut bytes)).await.unwrap();
    bytes
}

/// Waits for the end of the stream. Returns true if it ended in order and false if it was reset.
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
async fn bytes_pass_both_ways_and_each_direction_ends_separately() {
    let (mut client, mut server, proxy) = pair().await;
    client.write_all(b"question").await.unwrap();
    assert_eq!(read(&mut server, 8).await, b"question");
    client.shutdown().await.unwrap();
    assert!(ends_in_order(&mut server).await);
    // The other direction must still work.
    server.write_all(b"answer").await.unwrap();
    assert_eq!(read(&mut client, 6).await, b"answer");
    assert_eq!(proxy.connections(), 1);
    drop(server);
    assert!(ends_in_order(&mut client).await);
}

#[tokio::test]
async fn reset_of_one_side_resets_the_other() {
    let (client, mut server, _proxy) = pair().await;
    client.set_zero_linger().unwrap();
    drop(client);
    assert!(!ends_in_order(&mut server).await);
}

#[tokio::test]
async fn large_transfer_arrives_complete_through_bounded_buffers() {
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
async fn reader_that_does_not_read_stops_the_writer() {
    let (client, _server, _proxy) = pair().await;
    // The proxy holds little, so the writer blocks once the kernel's buffers are full.
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
    assert!(written < 64 << 20, "{written} bytes were written");
}

#[tokio::test]
async fn delay_holds_back_one_direction_and_keeps_the_order() {
    let (mut client, mut server, proxy) = pair().await;
    let delay = Duration::from_millis(50);
    proxy.set_link(Direction::ToServer, LinkQuality { delay, ..LinkQuality::default() });
    let started = Instant::now();
    for n in 0..10_u8 {
        client.write_all(&[n]).await.unwrap();
    }
    assert_eq!(read(&mut server, 10).await, (0..10).collect::<Vec<u8>>());
    // Only the lower bound is certain: the bytes cannot have passed earlier.
    assert!(started.elapsed() >= delay);
}

#[tokio::test]
async fn slow_link_passes_at_most_its_bytes_per_second() {
    let (mut client, mut server, proxy) = pair().await;
    let bytes_per_second = NonZeroU32::new(100_000);
    proxy.set_link(Direction::ToServer, LinkQuality { bytes_per_second, ..LinkQuality::default() });
    let started = Instant::now();
    client.write_all(&[7; 20_000]).await.unwrap();
    read(&mut server, 20_000).await;
    // The last piece passes after the time that all earlier pieces take.
    assert!(started.elapsed() >= Duration::from_millis(180));
}

#[tokio::test]
async fn blackhole_passes_nothing_until_it_is_lifted_and_then_everything() {
    let (mut client, mut server, proxy) = pair().await;
    proxy.set_link(Direction::ToServer, BLACKHOLE);
    client.write_all(b"held").await.unwrap();
    client.shutdown().await.unwrap();
    // The other direction is open; its bytes show that the proxy has run since.
    server.write_all(b"through").await.unwrap();
    assert_eq!(read(&mut client, 7).await, b"through");
    assert_eq!(
        server.try_read(&mut [0; 8]).unwrap_err().kind(),
        ErrorKind::WouldBlock,
        "neither bytes nor the end of the stream must pass"
    );
    proxy.heal();
    assert_eq!(read(&mut server, 4).await, b"held");
    assert!(ends_in_order(&mut server).await);
}

#[tokio::test]
async fn blackhole_holds_back_a_reset() {
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
async fn cut_ends_both_sides_in_the_given_way_and_spares_later_connections() {
    for (cut, in_order) in [(Cut::Fin, true), (Cut::Reset, false)] {
        let (mut client, mut server, proxy) = pair().await;
        // A cut in order completes when both sides have closed.
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
async fn cut_ends_a_connection_in_a_blackhole() {
    let (mut client, _server, proxy) = pair().await;
    proxy.set_links(BLACKHOLE);
    assert_eq!(within(proxy.cut(Cut::Reset)).await, 1);
    assert!(!ends_in_order(&mut client).await);
}

#[tokio::test]
async fn new_connections_are_reset_on_request_or_if_the_target_refuses() {
    let (client, server, proxy) = pair().await;
    proxy.set_accepting(Accepting::Reset);
    let mut refused = TcpStream::connect(proxy.address()).await.unwrap();
    assert!(!ends_in_order(&mut refused).await);
    proxy.heal();
    // The test's listener was dropped, so the target refuses connections.
    let mut unheard = TcpStream::connect(proxy.address()).await.unwrap();
    assert!(!ends_in_order(&mut unheard).await);
    assert_eq!(proxy.connections(), 1, "the first connection must remain");
    drop((client, server));
}

#[tokio::test]
async fn dropped_proxy_ends_its_connections() {
    let (mut client, mut server, proxy) = pair().await;
    drop(proxy);
    ends_in_order(&mut client).await;
    ends_in_order(&mut server).await;
}
