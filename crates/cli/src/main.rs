//! The program `zraft`: demonstrates, runs, calls, inspects and measures clusters.

mod commands;
mod exit;
mod logging;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::{commands::*, exit::Exit};

/// A client, a development server and tools for ZIO Raft clusters
///
/// The members of a ZIO Raft cluster replicate a state machine: they execute the same commands in the same order. A client
/// opens a session and submits commands and queries. Each command is executed exactly once, even if connections break and
/// leaders fail. Queries read the result of all commands before them. set, get, watch and bench use a key-value store; command
/// and query serve any application.
#[derive(Debug, Parser)]
#[command(name = "zraft", version, arg_required_else_help = true, after_long_help = HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const HELP: &str = "\
To begin with:
  zraft demo                    shows exactly-once execution, in a few seconds
  zraft dev                     runs a server on 127.0.0.1:7001; in another terminal:
  zraft watch colour            prints each new value of the key; in a third:
  zraft set colour green
  zraft get colour

Your own application:
  zraft query --help            sends bytes that you give as text, hexadecimal digits or base64
  zraft status                  shows which members answer, and who leads
  zraft context --help          keeps the addresses of clusters under names

Durable members:
  zraft server --new data       runs a cluster of one member, with its data in the folder data
  zraft init --members 3        makes the folders of three members, and says how to run them
  zraft cluster status          shows who leads, how far each member is, and which alarms are raised
  zraft cluster check           compares the states of all members

Exit status:
  0    success
  1    a value that cannot be used, or the demo failed; cluster check: members differ
  2    arguments that are not understood; no connection, or no answer in time
  3    any other failure
  4    get --exit-code: the key has no value; status and cluster status --exit-code: something needs attention
  5    server: the member cannot go on with its data; the message says what to do
  6    command: it is not known whether the command was executed
  130  after Ctrl+C
  143  after SIGTERM";

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Arguments),
    Dev(dev::Arguments),
    Init(init::Arguments),
    Server(server::Arguments),
    Cluster(Box<cluster::Arguments>),
    Set(store::Set),
    Get(store::Get),
    Watch(store::Watch),
    Command(request::Command),
    Query(request::Query),
    Status(status::Arguments),
    Ping(ping::Arguments),
    Context(context::Arguments),
    Inspect(inspect::Arguments),
    Bench(bench::Arguments),
    Completion(completion::Arguments),
    Man(man::Arguments),
}

fn main() -> ExitCode {
    let arguments = match parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // clap prints help and version to standard output, and errors to standard error.
            let asked = !error.use_stderr();
            let _ = error.print();
            return if asked { Exit::Success } else { Exit::Usage }.into();
        }
    };
    match arguments.command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Dev(arguments) => dev::run(&arguments),
        Command::Init(arguments) => init::run(&arguments),
        Command::Server(arguments) => server::run(&arguments),
        Command::Cluster(arguments) => cluster::run(*arguments),
        Command::Set(arguments) => store::set(arguments),
        Command::Get(arguments) => store::get(arguments),
        Command::Watch(arguments) => store::watch(arguments),
        Command::Command(arguments) => request::command(arguments),
        Command::Query(arguments) => request::query(arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Ping(arguments) => ping::run(&arguments),
        Command::Context(arguments) => context::run(arguments),
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Completion(arguments) => completion::run(&arguments, &mut Arguments::command()),
        Command::Man(arguments) => man::run(&arguments, Arguments::command()),
    }
    .into()
}

fn parse() -> Result<Arguments, clap::Error> {
    let matches = Arguments::command().try_get_matches()?;
    Arguments::from_arg_matches(&matches)
}
