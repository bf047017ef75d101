//! `zraft server`: the embedded server with the key-value store.

use std::time::Duration;

use clap::Args;
use zraft_test_server::{KvStore, TestCluster};

use crate::exit::{Exit, complain, print, run as run_command};

/// Run an embedded server, or cluster, with the key-value store. In memory, on loopback: for development and tests
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The client port of the first member; the others follow on the next ones
    #[arg(long, default_value_t = 7001, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// How many members
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    members: u16,
    /// Execute at most this many commands a second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    slow: Option<u32>,
    /// Milliseconds from receiving a command to executing it
    #[arg(long, value_name = "MS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(..=60_000))]
    commit_delay: u64,
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    run_command(async {
        let cluster = TestCluster::builder()
            .members(usize::from(arguments.members))
            .app(KvStore::default())
            .base_port(arguments.port)
            .commit_delay(Duration::from_millis(arguments.commit_delay))
            .commits_per_second(arguments.slow)
            .start()
            .await;
        let cluster = match cluster {
            Ok(cluster) => cluster,
            Err(error) => {
                complain(&error.to_string());
                return Exit::Connection;
            }
        };
        let endpoints: Vec<String> =
            cluster.endpoints().iter().map(|(id, address)| format!("{id}={address}")).collect();
        print(&format!("endpoints: {}", endpoints.join(",")));
        print("press Ctrl+C to stop");
        std::future::pending().await
    })
}
