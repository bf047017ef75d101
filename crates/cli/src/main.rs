//! `zraft`: see a cluster at work, run one, talk to one, look at its bytes, put load on it.

mod commands;
mod exit;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::{commands::*, exit::Exit};

/// Sessions, commands and queries on ZIO Raft clusters
///
/// A ZIO Raft cluster is a state machine on several servers that agree on every command, in order. A client opens a session and
/// submits commands, each of which is applied exactly once, whatever happens to connections and leaders, and queries, which
/// read what was applied. The application here is a key-value store; demo has its own.
#[derive(Debug, Parser)]
#[command(name = "zraft", version, arg_required_else_help = true, after_long_help = HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const HELP: &str = "\
To begin with:
  zraft demo                    the main job, in a second
  zraft dev                     a server on 127.0.0.1:7001; in another terminal:
  zraft watch colour            prints what the key gets; in a third:
  zraft set colour green
  zraft get colour

Exit status:
  0    success
  1    bad input, or a demo that did not hold its promise
  2    no connection, or no answer in time
  3    any other failure
  4    get --exit-code: the key has no value
  130  after Ctrl+C
  143  after SIGTERM";

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Arguments),
    Dev(dev::Arguments),
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
        Command::Dev(arguments) => dev::run(&arguments),
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
