//! `zraft`: see a cluster at work, run one, talk to one, look at its bytes, put load on it.

mod commands;
mod endpoints;
mod exit;
mod json;
mod latency;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::{commands::*, exit::Exit};

/// Sessions, commands and queries on ZIO Raft clusters.
#[derive(Debug, Parser)]
#[command(name = "zraft", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Arguments),
    Server(server::Arguments),
    Set(store::Set),
    Get(store::Get),
    Watch(store::Watch),
    Ping(ping::Arguments),
    Inspect(inspect::Arguments),
    Bench(bench::Arguments),
}

fn main() -> ExitCode {
    let arguments = match parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and versions are asked for; the rest is bad input.
            let asked = !error.use_stderr();
            let _ = error.print();
            return if asked { Exit::Success } else { Exit::BadInput }.into();
        }
    };
    match arguments.command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Server(arguments) => server::run(&arguments),
        Command::Set(arguments) => store::set(arguments),
        Command::Get(arguments) => store::get(arguments),
        Command::Watch(arguments) => store::watch(arguments),
        Command::Ping(arguments) => ping::run(&arguments),
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
    }
    .into()
}

fn parse() -> Result<Arguments, clap::Error> {
    let matches = Arguments::command().try_get_matches()?;
    Arguments::from_arg_matches(&matches)
}
