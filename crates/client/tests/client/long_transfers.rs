//! Transfers of more bytes than one turn of the driver moves.

use std::sync::mpsc;
use std::time::Duration;

use crate::support::builder;
use crate::support::raw::Peer;
use tokio::sync::oneshot;

/// Longer than this is a hang.
const LIMIT: Duration = Duration::from_secs(20);

const LENGTH: usize = 8 << 20;

/// The runtime's clock is paused, so no timer wakes the driver. While it has more to read or write, it must take its
/// next turn by itself.
#[tokio::test(start_paused = true)]
async fn driver_with_more_to_transfer_takes_its_next_turn_without_a_timer() {
    let (bound, endpoint) = oneshot::channel();
    let (done, is_done) = mpsc::channel();
    // A paused clock does not advance while a blocking task runs. The peer runs in one, with its own runtime and clock.
    let peer = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let peer = Peer::bind().await;
            bound.send(peer.endpoint()).unwrap();
            let mut connection = peer.accept_session("session-1").await;
            let (id, payload) = connection.command().await;
            assert_eq!(payload.len(), LENGTH);
            connection.answer_bytes(id, payload).await;
            is_done.recv_timeout(LIMIT).unwrap();
        });
    });
    let transfer = async {
        let start = tokio::time::Instant::now();
        let member = endpoint.await.unwrap();
        let client = builder().member("peer", member).request_timeout(None).build().unwrap();
        client.connect().await.unwrap();
        let answer = client.submit_command(vec![7; LENGTH]).await.unwrap();
        assert_eq!(answer.len(), LENGTH);
        assert_eq!(start.elapsed(), Duration::ZERO);
        done.send(()).unwrap();
        std::future::pending::<()>().await;
    };
    // The transfer never completes, so the peer ends the test: after the transfer, or when it waited too long.
    tokio::select! {
        () = transfer => {}
        ended = peer => ended.unwrap(),
    }
}
