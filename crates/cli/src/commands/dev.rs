//! `zraft dev`: an embedded server with the key-value store, for development.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use clap::Args;
use zraft_cli::incidents;
use zraft_test_server::{KvStore, TestCluster};

use crate::exit::{Exit, complain, print, run as run_command};

/// Run an embedded server, or cluster, with the key-value store, for development
///
/// It keeps everything in memory, and whoever reaches its ports can read and change everything. It listens on 127.0.0.1 unless
/// --bind names another address.
///
/// Prints what to pass to the other commands with -e. Then it reports on standard error, one line each: connections that it
/// closes for a reason (a payload that it cannot decode, a limit that is reached), leader changes and expired sessions. It
/// runs until Ctrl+C, which makes exit status 130. Exit status 2 when a port cannot be opened.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  zraft dev --members 3\n  zraft set -e node-1=tcp://127.0.0.1:7001,node-2=tcp://127.0.0.1:7002,node-3=tcp://127.0.0.1:7003 colour green"
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
    /// The address to listen on, for example 0.0.0.0 in a container
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    bind: IpAddr,
    /// Report nothing on standard error while it runs
    #[arg(short = 'q', long)]
    quiet: bool,
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
            .bind_address(arguments.bind)
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
        if !arguments.bind.is_loopback() {
            let bind = arguments.bind;
            complain(&format!(
                "warning: listening on {bind}: whoever reaches these ports can read and change everything"
            ));
        }
        let port =
            |number: u16| SocketAddr::new(reachable(arguments.bind), arguments.port + number);
        let endpoints: Vec<String> = (0..arguments.members)
            .map(|number| format!("node-{}=tcp://{}", number + 1, port(number)))
            .collect();
        // Before anyone learns of the ports: the report must not miss the first connection.
        let incidents = cluster.incidents();
        print(&format!("endpoints: {}", endpoints.join(",")));
        print("press Ctrl+C to stop");
        if !arguments.quiet {
            incidents::follow(incidents, complain).await;
        }
        std::future::pending().await
    })
}

/// The address under which clients on this machine reach a server that listens on `bind`.
fn reachable(bind: IpAddr) -> IpAddr {
    match bind {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        address => address,
    }
}
