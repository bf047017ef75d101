//! `zraft dev`: runs an embedded cluster with the key-value store, for development.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use clap::Args;
use serde_json::json;
use zraft_cli::incidents;
use zraft_test_server::{KvStore, TestCluster};

use super::json::Json;
use crate::exit::{Exit, complain, run as run_command};

/// Run an embedded cluster with the key-value store, for development
///
/// The cluster keeps everything in memory. It does not authenticate clients: everyone who can reach its ports can read and
/// change everything. It listens on 127.0.0.1 by default.
///
/// Prints the value of -e for the other commands. Then reports incidents on standard error, one per line: connections closed
/// because of a payload or a limit, leader changes and expired sessions. Runs until Ctrl+C, with exit status 130. The exit
/// status is 2 if a port cannot be opened.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  zraft dev --members 3\n  zraft set -e node-1=tcp://127.0.0.1:7001,node-2=tcp://127.0.0.1:7002,node-3=tcp://127.0.0.1:7003 colour green"
)]
pub(crate) struct Arguments {
    /// Port of the first member; the other members use the ports that follow
    #[arg(long, default_value_t = 7001, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// Number of members
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    members: u16,
    /// Execute at most this many commands per second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    slow: Option<u32>,
    /// Time from receiving a command to executing it, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(..=60_000))]
    commit_delay: u64,
    /// Address to listen on, such as 0.0.0.0 in a container
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    bind: IpAddr,
    /// Report no incidents
    #[arg(short = 'q', long)]
    quiet: bool,
    #[command(flatten)]
    json: Json,
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    if arguments.port.checked_add(arguments.members - 1).is_none() {
        complain("the ports of the last members would be above 65535: choose a lower --port");
        return Exit::BadInput;
    }
    // Session ids are drawn from the seed. They are secrets and must not repeat when the server is started again.
    let Ok(seed) = getrandom::u64() else {
        complain("the system provides no random numbers");
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
                "warning: listening on {bind}: everyone who can reach these ports can read and change everything"
            ));
        }
        let port =
            |number: u16| SocketAddr::new(reachable(arguments.bind), arguments.port + number);
        let members: Vec<_> = (0..arguments.members)
            .map(|number| (format!("node-{}", number + 1), format!("tcp://{}", port(number))))
            .collect();
        let endpoints: Vec<_> =
            members.iter().map(|(name, address)| format!("{name}={address}")).collect();
        let objects =
            members.iter().map(|(name, address)| json!({ "member": name, "endpoint": address }));
        let object =
            json!({ "endpoints": endpoints.join(","), "members": objects.collect::<Vec<_>>() });
        // Subscribe before printing the ports, so that the report does not miss the first connection.
        let incidents = cluster.incidents();
        let text = format!("endpoints: {}\npress Ctrl+C to stop", endpoints.join(","));
        arguments.json.print(&object, &text);
        if !arguments.quiet {
            incidents::follow(incidents, complain).await;
        }
        std::future::pending().await
    })
}

/// Returns the address at which clients on this machine reach a server that listens on `bind`.
pub(crate) fn reachable(bind: IpAddr) -> IpAddr {
    match bind {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        address => address,
    }
}
