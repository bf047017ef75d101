//! Measures libzmq's draft CLIENT against an echo, with the load and the report of `zraft-bench drive`.
//!
//! It sends and receives like a program that uses libzmq directly: `zmq_msg_send` and `zmq_msg_recv` from one thread, which
//! blocks when there is nothing to do.

// Include the load of the other contenders by path, because their crate has dependencies that this program does not need.
#[path = "../../../../bench/src/load.rs"]
#[allow(dead_code, reason = "the open loop is not used")]
mod load;
mod zmq;

use std::{io, process::ExitCode, time::Duration, time::Instant};

use clap::Parser;
use load::{Load, Pace};

/// Puts load on an echo through libzmq's CLIENT and prints the result as one line of JSON
#[derive(Debug, Parser)]
struct Arguments {
    /// Endpoint of the server: tcp://host:port.
    #[arg(long)]
    endpoint: String,
    /// Requests in flight.
    #[arg(long, default_value_t = 1)]
    in_flight: usize,
    /// Length of a message in bytes.
    #[arg(long, default_value_t = 99)]
    message: usize,
    /// Duration of the measurement in milliseconds.
    #[arg(long, default_value_t = 1000)]
    millis: u64,
    /// Duration of the warm-up in milliseconds.
    #[arg(long, default_value_t = 200)]
    warm_up_millis: u64,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("zraft-libzmq-echo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> io::Result<()> {
    let socket = zmq::Client::connect(&arguments.endpoint)?;
    let message = vec![7; arguments.message];
    let millis = Duration::from_millis;
    let pace = Pace::Closed { in_flight: arguments.in_flight };
    let mut load = Load::new(pace, millis(arguments.warm_up_millis), millis(arguments.millis));
    load.start();
    loop {
        let now = Instant::now();
        if load.is_over(now) {
            break;
        }
        for _ in 0..load.due(now) {
            socket.send(&message)?;
        }
        // Wait for one answer, then take all that have arrived.
        socket.receive()?;
        let mut count = 1;
        while socket.try_receive()? {
            count += 1;
        }
        load.answered(Instant::now(), count);
    }
    println!("{}", load.sample().json());
    Ok(())
}
