//! libzmq's draft CLIENT against an echo, under the same load and with the same report as `zraft-bench drive`.
//!
//! It sends and receives as a program does that uses libzmq directly: `zmq_msg_send` and `zmq_msg_recv` from one thread, blocking
//! when there is nothing to do.

// The very load of the other contenders; their crate's other dependencies are not wanted here.
#[path = "../../../bench/src/load.rs"]
#[allow(dead_code, reason = "the open loop is not used")]
mod load;
mod zmq;

use std::{io, process::ExitCode, time::Duration, time::Instant};

use clap::Parser;
use load::{Load, Pace};

/// Puts load on an echo by libzmq's CLIENT, and prints what came of it as one line of JSON
#[derive(Debug, Parser)]
struct Arguments {
    /// Where the server is: tcp://host:port.
    #[arg(long)]
    endpoint: String,
    /// Requests in flight.
    #[arg(long, default_value_t = 1)]
    in_flight: usize,
    /// Bytes of a message.
    #[arg(long, default_value_t = 99)]
    message: usize,
    /// How long is measured.
    #[arg(long, default_value_t = 1000)]
    millis: u64,
    /// How long nothing is measured before that.
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
        // Waits for one answer, then takes those that are there.
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
