//! `zraft bench`.

use std::time::Duration;

use clap::Args;
use zraft_cli::bench::{self, Settings};
use zraft_client::RaftClient;
use zraft_test_server::{KvStore, TestCluster};

use super::endpoints::{Endpoints, Wait, seconds};
use crate::exit::{Exit, complain, print_at_end, run as run_command};

/// Measure the throughput and latency of a key-value store under load
///
/// Sets and gets the keys bench-0, bench-1 and so on. Each caller submits its next request when the last one is answered.
/// The exit status is 3 if a request failed.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  zraft bench --embedded --in-flight 256 --queries 0.5")]
pub(crate) struct Arguments {
    /// Measure an embedded server in this process instead
    #[arg(long, conflicts_with = "endpoints")]
    embedded: bool,
    /// Requests in flight
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    in_flight: u32,
    /// Length of each value in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    payload: u32,
    /// The share of queries among the requests, from 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    queries: f64,
    /// Duration in seconds
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    duration: Duration,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    endpoints: Endpoints,
    #[command(flatten)]
    wait: Wait,
}

fn share(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or("must be from 0 to 1".to_owned())
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    let in_flight = arguments.in_flight as usize;
    if arguments.embedded {
        return run_command(embedded(arguments));
    }
    arguments.endpoints.lasting(
        arguments.wait,
        |builder| builder.max_in_flight(in_flight),
        async |session| match session.connect().await {
            Ok(()) => measure(&session.client, arguments, false).await,
            Err(exit) => exit,
        },
    )
}

/// Measures a server in this process.
async fn embedded(arguments: &Arguments) -> Exit {
    let cluster = match TestCluster::builder().app(KvStore::default()).start().await {
        Ok(cluster) => cluster,
        Err(error) => {
            complain(&error.to_string());
            return Exit::Connection;
        }
    };
    let mut builder = RaftClient::builder().capability("protocol", "kvstore");
    for (id, endpoint) in cluster.endpoints() {
        builder = builder.member(id.as_str(), endpoint);
    }
    let client = match builder.max_in_flight(arguments.in_flight as usize).build() {
        Ok(client) => client,
        Err(error) => {
            complain(&error.to_string());
            return Exit::BadInput;
        }
    };
    let exit = match client.connect().await {
        Ok(()) => measure(&client, arguments, true).await,
        Err(error) => {
            complain(&error.to_string());
            Exit::of(&error)
        }
    };
    client.disconnect().await;
    cluster.shutdown().await;
    exit
}

async fn measure(client: &RaftClient, arguments: &Arguments, embedded: bool) -> Exit {
    let settings = Settings {
        in_flight: arguments.in_flight,
        payload: arguments.payload,
        queries: arguments.queries,
        duration: arguments.duration,
    };
    let report = match bench::run(client, settings, embedded).await {
        Ok(report) => report,
        Err(error) => {
            complain(&error);
            return Exit::Failure;
        }
    };
    let text = if arguments.json { report.to_json().to_string() } else { report.to_text() };
    print_at_end(&text, if report.errors == 0 { Exit::Success } else { Exit::Failure })
}
