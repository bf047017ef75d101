//! `zraft-chaos`: runs the client and server processes under faults and reports the figures.

mod commands;

use std::process::ExitCode;

use clap::Parser;

/// Run the ZIO Raft client under faults and report how it copes
///
/// `cuts`, `restarts`, `registers`, `failover` and `soak` start an embedded cluster in this process, on loopback, and drive it with the real
/// client over TCP, through a proxy in front of each member. Commands append their number to a replicated log. At the end, the cluster's
/// journal is compared with the outcomes that the callers were given. The other commands start processes of `zraft server`.
///
/// The exit status is 0 if every promise was kept, 1 if one was broken, and 2 if the run failed to execute. A history that the checker
/// cannot decide counts as a broken promise. After a failure, the commands that start processes, except `operations`, keep the members'
/// files and name their folder.
#[derive(Debug, Parser)]
#[command(name = "zraft-chaos", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: commands::Command,
}

fn main() -> ExitCode {
    commands::run(Arguments::parse().command)
}
