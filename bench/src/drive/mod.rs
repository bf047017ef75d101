//! The measured side: one contender puts load on one server. Each measurement has its own process.

mod tcp;
mod zmtp;
mod zraft;

use std::{io, time::Duration};

use clap::ValueEnum;
use zraft_bench::load::{Load, Pace};

/// Puts load on a server and prints the result as one line of JSON
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Arguments {
    /// Contender that carries the requests.
    #[arg(long, value_enum)]
    contender: Contender,
    /// Endpoint of the server: tcp://host:port.
    #[arg(long)]
    endpoint: String,
    #[command(flatten)]
    requests: Requests,
    /// Measure this many answers instead, without a warm-up.
    #[arg(long)]
    count: Option<u64>,
    /// Worker threads of the runtime; 0 for a current_thread runtime.
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

/// The requests of a load, and how long they are measured.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Requests {
    /// Requests in flight, if no rate is given.
    #[arg(long, default_value_t = 1)]
    pub(crate) in_flight: usize,
    /// Requests per second, each due at a fixed time.
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// Length of a payload or value in bytes.
    #[arg(long, default_value_t = 64)]
    pub(crate) payload: usize,
    /// Kinds of requests.
    #[arg(long, value_enum, default_value_t = Mix::Commands)]
    pub(crate) mix: Mix,
    /// Duration of the measurement in milliseconds.
    #[arg(long, default_value_t = 1000)]
    pub(crate) millis: u64,
    /// Duration of the warm-up in milliseconds.
    #[arg(long, default_value_t = 200)]
    pub(crate) warm_up_millis: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Contender {
    /// The client.
    Zraft,
    /// The client's call for many commands.
    Batch,
    /// A ZMTP CLIENT of this project, without sessions and requests.
    Zmtp,
    /// A TCP stream without messages.
    Tcp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mix {
    Commands,
    Queries,
    /// Commands and queries in turn.
    Mixed,
}

/// The length of a command's message without its payload.
const COMMAND: usize = zraft_protocol::HEADER_LEN + 28;
/// The length of a query's message without its payload.
const QUERY: usize = zraft_protocol::HEADER_LEN + 14 + 36;

impl Arguments {
    /// Returns the length of a message in bytes.
    fn message(&self) -> usize {
        let head = if self.requests.mix == Mix::Queries { QUERY } else { COMMAND };
        head + self.requests.payload
    }

    fn address(&self) -> &str {
        self.endpoint.strip_prefix("tcp://").unwrap_or(&self.endpoint)
    }

    fn load(&self) -> Load {
        let pace = match self.requests.rate {
            Some(rate) => Pace::Open { rate },
            None => Pace::Closed { in_flight: self.requests.in_flight },
        };
        let millis = Duration::from_millis;
        if let Some(count) = self.count {
            return Load::of_count(pace, count);
        }
        Load::new(pace, millis(self.requests.warm_up_millis), millis(self.requests.millis))
    }
}

pub(crate) fn run(arguments: &Arguments) -> io::Result<()> {
    let runtime = match arguments.threads {
        0 => tokio::runtime::Builder::new_current_thread().enable_all().build()?,
        threads => tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .enable_all()
            .build()?,
    };
    let own = arguments.clone();
    let sample = async move {
        match own.contender {
            Contender::Zraft => zraft::drive(&own).await,
            Contender::Batch => zraft::drive_batch(&own).await,
            Contender::Zmtp => zmtp::drive(&own).await,
            Contender::Tcp => tcp::drive(&own).await,
        }
    };
    let sample = if arguments.threads == 0 {
        runtime.block_on(sample)?
    } else {
        // Run on a worker thread; `block_on` runs its future on the calling thread.
        runtime.block_on(runtime.spawn(sample)).map_err(io::Error::other)??
    };
    io::Write::write_fmt(&mut io::stdout(), format_args!("{}\n", sample.json()))
}
