//! Measures how long a client with default settings takes to notice that its server was killed or frozen, and to resume the
//! session after a thaw. Run `verification/interop/prepare`, then `cargo run --release -p zraft-interop --example notice`.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::time::{Duration, Instant};

use zraft_client::{Event, Events, RaftClient};
use zraft_interop::{Library, Peer};

/// The number of rounds, of which the example prints the medians.
const ROUNDS: usize = 3;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    println!("peer    | killed: noticed after | frozen: noticed after | thawed: resumed after");
    for library in Library::ALL.into_iter().filter(|library| library.is_ready()) {
        let (mut killed, mut frozen, mut thawed) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let (peer, _client, mut events) = connected(library).await;
            let started = Instant::now();
            peer.kill().await;
            disconnected(&mut events).await;
            killed.push(started.elapsed());

            let (peer, _client, mut events) = connected(library).await;
            let started = Instant::now();
            peer.freeze();
            disconnected(&mut events).await;
            frozen.push(started.elapsed());
            let started = Instant::now();
            peer.thaw();
            while !matches!(events.next().await.unwrap(), Event::Connected { .. }) {}
            thawed.push(started.elapsed());
        }
        println!(
            "{:7} | {:>21?} | {:>21?} | {:>20?}",
            format!("{library:?}"),
            median(killed),
            median(frozen),
            median(thawed)
        );
    }
}

async fn connected(library: Library) -> (Peer, RaftClient, Events) {
    let (peer, port) = Peer::server(library, None).await;
    let client = RaftClient::builder()
        .member("node-1", format!("tcp://127.0.0.1:{port}"))
        .capability("kind", "interop")
        .build()
        .unwrap();
    let events = client.events();
    client.connect().await.unwrap();
    client.ping().await.unwrap();
    (peer, client, events)
}

async fn disconnected(events: &mut Events) {
    while !matches!(events.next().await.unwrap(), Event::Disconnected { .. }) {}
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    Duration::from_millis(times[times.len() / 2].as_millis() as u64)
}
