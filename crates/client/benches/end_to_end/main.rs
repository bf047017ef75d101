//! The client against a peer that answers at once, beside two references in the same rounds: a bare ZMTP echo on this
//! project's own ZMTP, and a raw TCP echo. Frames have the same size everywhere.
//!
//! Rounds are interleaved and the medians printed: throughput, CPU per request of the thread that drives the client
//! (user and system), and, with one request in flight, the round trip. Each server has a thread of its own.
//!
//! `cargo bench -p zraft-client --bench end_to_end [-- --rounds N] [--millis N]`

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod client;
mod echo;
mod peer;
mod tcp;

use std::time::Duration;

/// Bytes of each frame's content, both ways: a command of 64 bytes, and an answer of as many more as make it equal.
const MESSAGE: usize = 99;
const IN_FLIGHT: &[usize] = &[1, 16, 64, 256, 1024];

/// What one round of one contender gave.
#[derive(Clone, Copy)]
struct Sample {
    /// Answers a second.
    rate: f64,
    /// Microseconds of CPU per answer, of the client's thread.
    cpu: f64,
}

impl Sample {
    fn new(count: u64, wall: Duration, cpu: Duration) -> Self {
        let count = count as f64;
        Self { rate: count / wall.as_secs_f64(), cpu: cpu.as_secs_f64() * 1e6 / count }
    }
}

type Contender = (&'static str, fn(usize, Duration) -> Sample);

const CONTENDERS: &[Contender] = &[
    ("raw TCP echo", tcp::round),
    ("bare ZMTP echo", echo::round),
    ("zraft-client", client::round),
];

fn main() {
    let rounds = option("--rounds").unwrap_or(7);
    let time = Duration::from_millis(option("--millis").unwrap_or(400));
    println!(
        "in flight | contender      | requests/s | CPU µs/request | against bare ZMTP: rate, CPU"
    );
    for &in_flight in IN_FLIGHT {
        let mut samples = vec![Vec::new(); CONTENDERS.len()];
        for _ in 0..rounds {
            for (samples, (_, round)) in samples.iter_mut().zip(CONTENDERS) {
                samples.push(round(in_flight, time));
            }
        }
        let medians: Vec<Sample> = samples.iter().map(|samples| median(samples)).collect();
        let reference = medians[1];
        for ((name, _), sample) in CONTENDERS.iter().zip(&medians) {
            println!(
                "{in_flight:9} | {name:14} | {:10.0} | {:14.2} | {:.2}, {:.2}",
                sample.rate,
                sample.cpu,
                sample.rate / reference.rate,
                sample.cpu / reference.cpu,
            );
        }
    }
}

fn option(name: &str) -> Option<u64> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1)?.parse().ok()
}

fn median(samples: &[Sample]) -> Sample {
    let middle = |value: fn(&Sample) -> f64| {
        let mut values: Vec<f64> = samples.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Sample { rate: middle(|sample| sample.rate), cpu: middle(|sample| sample.cpu) }
}

/// Processor time that this thread has used.
fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// A runtime of one thread: this one.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Runs a server on a thread of its own, for one connection, and gives its address.
fn serve<F>(serve: fn(tokio::net::TcpStream) -> F) -> std::net::SocketAddr
where
    F: Future<Output = ()> + 'static,
{
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        runtime().block_on(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            serve(stream).await;
        });
    });
    told.recv().unwrap()
}
