//! The client makes progress although the application blocks its thread, or the peer stops reading.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use crate::support::raw::{Connection, connected};
use crate::support::{builder, next_event, within};
use zraft_client::{DisconnectReason, Error, Event};

/// How long the application blocks in each turn. A driver that wakes more than a second late assumes that its process
/// was stopped.
const BLOCKED: Duration = Duration::from_millis(1500);

/// Blocks the only thread again and again, and lets the driver run in between, until the future is ready.
async fn block_until_ready<T>(future: impl Future<Output = T>, max_turns: usize) -> T {
    let mut future = pin!(future);
    for _ in 0..max_turns {
        // This simulates a busy application. The test does not wait for anything here.
        std::thread::sleep(BLOCKED);
        for _ in 0..32 {
            tokio::task::yield_now().await;
        }
        let mut context = Context::from_waker(Waker::noop());
        if let std::task::Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
    panic!("not ready after {max_turns} blocked turns");
}

#[tokio::test]
async fn deadline_fires_and_disconnect_completes_though_the_application_blocks_every_turn() {
    let settings = builder().request_timeout(Duration::from_millis(500));
    let (_peer, _frozen, client) = connected(settings).await;
    let answer = client.try_submit_command("never answered").unwrap();
    let error = block_until_ready(answer, 6).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
    block_until_ready(client.disconnect_within(Duration::from_millis(500)), 6).await;
}

/// Never reads, and sends one byte of a long frame every 20 ms.
async fn trickle(mut connection: Connection) {
    connection.write(&[0x02]).await;
    connection.write(&(1u64 << 20).to_be_bytes()).await;
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    while connection.try_write(&[0]).await {
        ticks.tick().await;
    }
}

#[tokio::test]
async fn client_leaves_a_peer_that_stops_reading_and_trickles_bytes() {
    let short = Duration::from_millis(500);
    let settings = builder()
        .connection_timeout(short)
        .keep_alive_interval(short)
        .heartbeat_interval(short / 5)
        .heartbeat_timeout(short)
        .max_message_size(64 << 20);
    let (peer, connection, client) = connected(settings).await;
    let mut events = client.events();
    // The sockets' buffers cannot take this much, so the next KeepAlive stays unwritten.
    let _answer = client.try_submit_command(vec![7; 48 << 20]).unwrap();
    let trickling = tokio::spawn(trickle(connection));
    let reason = next_event(&mut events, |event| match event {
        Event::Disconnected { reason, .. } => Some(*reason),
        _ => None,
    });
    assert_eq!(reason.await, DisconnectReason::KeepAliveTimeout);
    let _next = peer.accept().await;
    within(trickling).await.unwrap();
}
