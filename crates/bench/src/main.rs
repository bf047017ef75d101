//! `zraft-bench`: measures the client, beside references that do nothing but carry the same bytes.

mod drive;
mod servers;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use servers::{echo, peer};

/// Measures the client beside its references
#[derive(Debug, Parser)]
#[command(name = "zraft-bench", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Peer(peer::Arguments),
    Echo(echo::Arguments),
    Drive(drive::Arguments),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Peer(arguments) => peer::run(&arguments),
        Command::Echo(arguments) => echo::run(&arguments),
        Command::Drive(arguments) => drive::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut stderr = std::io::stderr();
            let _ = std::io::Write::write_fmt(&mut stderr, format_args!("zraft-bench: {error}\n"));
            ExitCode::FAILURE
        }
    }
}
