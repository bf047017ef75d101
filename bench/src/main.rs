//! `zraft-bench`: measures the client against references that only carry the same bytes, and the members of a replicated
//! server.

mod budget;
mod compare;
mod drive;
mod rig;
mod servers;
mod sessions;
mod soak;
mod suite;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use servers::{echo, embedded, peer};
use zraft_bench::members::{large, opening, recovery};

/// Measures the client against references that only carry the same bytes
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
    Embedded(embedded::Arguments),
    Drive(drive::Arguments),
    Sessions(sessions::Arguments),
    Soak(soak::Arguments),
    Core(rig::Arguments),
    Recovery(recovery::Arguments),
    Large(large::Arguments),
    Opening(opening::Arguments),
    Compare(compare::Arguments),
    DriveMembers(compare::drive::Arguments),
    Run(suite::Arguments),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Peer(arguments) => peer::run(&arguments),
        Command::Echo(arguments) => echo::run(&arguments),
        Command::Embedded(_) => embedded::run(),
        Command::Drive(arguments) => drive::run(&arguments),
        Command::Sessions(arguments) => sessions::run(&arguments),
        Command::Soak(arguments) => soak::run(&arguments),
        Command::Core(arguments) => rig::run(&arguments),
        Command::Recovery(arguments) => recovery::run(&arguments),
        Command::Large(arguments) => large::run(&arguments),
        Command::Opening(arguments) => opening::run(&arguments),
        Command::Compare(arguments) => compare::run(&arguments),
        Command::DriveMembers(arguments) => compare::drive::run(&arguments),
        Command::Run(arguments) => suite::run(&arguments),
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
