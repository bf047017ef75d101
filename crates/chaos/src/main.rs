//! `zraft-chaos`: the client under faults, for as long as asked, and the figures that come of it.

mod commands;

use std::process::ExitCode;

use clap::Parser;

/// Faults for the ZIO Raft client, and figures of how it bears them
///
/// Each command starts an embedded cluster in this process, on loopback, and drives it through the real client over TCP,
/// through a proxy in front of each member. Commands append their number to a replicated log, and the cluster's journal is
/// held against what the callers were told.
///
/// Exit status 0 if every promise was kept, 1 if not, 2 if the run could not be made.
#[derive(Debug, Parser)]
#[command(name = "zraft-chaos", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: commands::Command,
}

fn main() -> ExitCode {
    commands::run(Arguments::parse().command)
}
