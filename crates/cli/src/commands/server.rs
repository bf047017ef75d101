//! `zraft server`: the embedded server with the key-value store.

use std::time::Duration;

use clap::Args;
use zraft_test_server::{KvStore, TestCluster};

use crate::exit::{Exit, complain, print, run as run_command};

/// Run an embedded server, or cluster, with the key-value store
///
/// For development and tests: everything is in memory, gone when it stops, and open to whoever reaches the port. It binds
/// 127.0.0.1 only.
///
/// Prints what to pass on to the other commands with -e, and runs until Ctrl+C, which makes exit status 130. Exit status 2 when
/// a port cannot be had.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  zraft server --members 3\n  zraft set -e node-1=tcp://127.0.0.1:7001,node-2=tcp://127.0.0.1:7002,node-3=tcp://127.0.0.1:7003 colour green"
)]
pub(crate) struct Arguments {
    /// The client port of the first member; the others follow on the next ones
    #[arg(long, default_value_t = 7001, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// How many members
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    members: u16,
    /// Execute at most this many commands a second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    slow: Option<u32>,
    /// Milliseconds from receiving a command to executing it
    #[arg(long, value_name = "MS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(..=60_000))]
    commit_delay: u64,
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    if arguments.port.checked_add(arguments.members - 1).is_none() {
        complain("the ports of the last members would be beyond 65535: choose a lower --port");
        return Exit::BadInput;
    }
    // Session ids come of it: they are secrets, and must not come again when the server is started again.
    let Ok(seed) = getrandom::u64() else {
        complain("the system gives no random numbers");
        return Exit::Failure;
    };
    run_command(async {
        let cluster = TestCluster::builder()
            .members(usize::from(arguments.members))
            .app(KvStore::default())
            .seed(seed)
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
