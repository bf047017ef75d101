//! `zraft ping`: finds the leader and measures round trips to it.

use std::time::Duration;

use clap::Args;
use zraft_cli::latency::Latencies;
use zraft_client::RaftClient;

use super::endpoints::Endpoints;
use crate::exit::{Exit, complain, print, run_then};

/// Open a session, print the leader, and measure round trips with keep-alives
///
/// Gives up after 15 seconds without a session, or without an answer to a keep-alive. --timeout changes this.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    endpoints: Endpoints,
    /// Number of round trips
    #[arg(short = 'c', long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    match arguments.endpoints.client() {
        Ok(client) => run_then(ping(client.clone(), arguments), async move {
            client.disconnect_within(Duration::from_secs(1)).await;
        }),
        Err(error) => {
            complain(&error);
            Exit::BadInput
        }
    }
}

async fn ping(client: RaftClient, arguments: &Arguments) -> Exit {
    let patience = arguments.endpoints.patience();
    if let Err(error) = client.connect_within(patience).await {
        complain(&error.to_string());
        return Exit::of(&error);
    }
    let session = client.session_id().map_or("?".to_owned(), |id| id.to_string());
    let leader = client.member_id().map_or("?".to_owned(), |id| id.to_string());
    print(&format!("session {session}, leader {leader}"));
    let mut times = Latencies::new();
    let mut exit = Exit::Success;
    for number in 1..=arguments.count {
        match tokio::time::timeout(patience, client.ping()).await {
            Ok(Ok(time)) => {
                times.record(time);
                print(&format!("round trip {number}: {:.3} ms", time.as_secs_f64() * 1e3));
            }
            Ok(Err(error)) => {
                complain(&error.to_string());
                exit = Exit::of(&error);
            }
            Err(_) => {
                complain("no answer in time");
                exit = Exit::Connection;
            }
        }
    }
    if exit == Exit::Success {
        print(&times.to_text());
    }
    exit
}
