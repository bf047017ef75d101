//! Neither a peer that stops reading nor an application that blocks its thread holds the client for ever.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use crate::support::raw::{Connection, connected};
use crate::support::{builder, next_event, within};
use zraft_client::{DisconnectReason, Error, Event};

/// One blocked turn of the application: a driver that wakes more than a second late takes its process for stopped meanwhile.
const BLOCKED: Duration = Duration::from_millis(1500);

/// Blocks the only thread turn after turn and lets the driver run in between, until the future is ready.
async fn blocked_until<T>(future: impl Future<Output = T>, most: usize) -> T {
    let mut future = pin!(future);
    for _ in 0..most {
        // This is the application at work, not a wait for anything.
        std::thread::sleep(BLOCKED);
        for _ in 0..32 {
            tokio::task::yield_now().await;
        }
        let mut context = Context::from_waker(Waker::noop());
        if let std::task::Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
    panic!("not ready after {most} blocked turns");
}

#[tokio::test]
async fn a_deadline_fires_and_disconnect_ends_though_the_application_blocks_every_turn() {
    let settings = builder().request_timeout(Duration::from_millis(500));
    let (_peer, _frozen, client) = connected(settings).await;
    let answer = client.try_submit_command("never answered").unwrap();
    let error = blocked_until(answer, 6).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
    blocked_until(client.disconnect_within(Duration::from_millis(500)), 6).await;
}

/// Never reads, and sends a long frame at a byte per 20 ms.
async fn trickle(mut connection: Connection) {
    connection.write(&[0x02]).await;
    connection.write(&(1u64 << 20).to_be_bytes()).await;
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    while connection.try_write(&[0]).await {
        ticks.tick().await;
    }
}

#[tokio::test]
async fn a_peer_that_stops_reading_and_sends_a_byte_now_and_then_is_left() {
    let short = Duration::from_millis(500);
    let settings = builder()
        .connection_timeout(short)
        .keep_alive_interval(short)
        .heartbeat_interval(short / 5)
        .heartbeat_timeout(short)
        .max_message_size(64 << 20);
    let (peer, connection, client) = connected(settings).await;
    let mut events = client.events();
    // More than the sockets' buffers take: the next KeepAlive stays unwritten.
    let _answer = client.try_submit_command(vec![7; 48 << 20]).unwrap();
    let held = tokio::spawn(trickle(connection));
    let reason = next_event(&mut events, |event| match event {
        Event::Disconnected { reason, .. } => Some(*reason),
        _ => None,
    });
    assert_eq!(reason.await, DisconnectReason::KeepAliveTimeout);
    let _next = peer.accept().await;
    within(held).await.unwrap();
}
