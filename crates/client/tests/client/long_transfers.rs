//! Transfers of more bytes than one turn of the driver moves.

use std::sync::mpsc;
use std::time::Duration;

use crate::support::builder;
use crate::support::raw::Peer;
use tokio::sync::oneshot;

/// Longer than this is a hang.
const LIMIT: Duration = Duration::from_secs(20);

const LENGTH: usize = 8 << 20;

/// The runtime's clock stands still, so that no timer wakes the driver: it must take its next turn
/// by itself while it has more to write or to read.
#[tokio::test(start_paused = true)]
async fn the_driver_takes_its_next_turn_without_a_timer() {
    let (told, endpoint) = oneshot::channel();
    let (done, is_done) = mpsc::channel();
    // The clock of a paused runtime stands still as long as a blocking task runs. The peer has a
    // runtime with a clock of its own.
    let peer = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let peer = Peer::bind().await;
            told.send(peer.endpoint()).unwrap();
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
    // The peer ends last, or first when it waited too long for the client.
    tokio::select! {
        () = transfer => {}
        ended = peer => ended.unwrap(),
    }
}
