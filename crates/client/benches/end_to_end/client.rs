//! The client itself, with a given number of commands in flight.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;
use zraft_client::RaftClient;

use crate::{Sample, peer, runtime, serve, thread_cpu};

pub(crate) fn round(in_flight: usize, time: Duration) -> Sample {
    let address = serve(peer::serve);
    runtime().block_on(async {
        let client = RaftClient::builder()
            .member("node-1", format!("tcp://{address}"))
            .capability("kind", "bench")
            .max_in_flight(in_flight)
            .build()
            .unwrap();
        client.connect().await.unwrap();
        let payload = Bytes::from(vec![7; 64]);
        let submit = || client.try_submit_command(payload.clone()).unwrap();
        let mut answers: VecDeque<_> = (0..in_flight).map(|_| submit()).collect();
        let mut count = 0;
        let (started, cpu) = (Instant::now(), thread_cpu());
        while started.elapsed() < time {
            // Answers come in order; with each, one more command goes.
            for _ in 0..in_flight.min(64) {
                answers.pop_front().unwrap().await.unwrap();
                answers.push_back(submit());
                count += 1;
            }
        }
        let sample = Sample::new(count, started.elapsed(), thread_cpu() - cpu);
        drop(answers);
        client.disconnect_within(Duration::ZERO).await;
        sample
    })
}
