//! The commands and their arguments. `execute` turns them into runs.

mod execute;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use zraft_chaos::faults::Fault;

pub(crate) use execute::run;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Cut a connection every second while it carries commands
    Cuts(Cuts),
    /// Restart the members one after the other, repeatedly
    Restarts(Restarts),
    /// Write and read registers under every fault, and check that the histories are linearizable
    Registers(Registers),
    /// Measure the time to the first answer of a new leader, and the cost of an outage
    Failover(Failover),
    /// Run a steady load under faults of every kind
    Soak(Soak),
    /// Kill, freeze and cut off real server processes, and check what they did
    Server(Server),
    /// Replace, add and remove members of real server processes under load, back them up and restore them
    Operations(Operations),
    /// Measure how long clients of real server processes go without an answer when a member is lost, and what idle sessions cost
    Recovery(Recovery),
    /// Measure how long clients of real server processes take to connect beside silent and dead members, and to learn that a restarted
    /// server lost their sessions
    Connect(Connect),
    /// Measure how clients that are configured with one of three real server processes find the others, and go on when members are
    /// killed and replaced
    Members(Members),
    /// Measure how long an idle `zraft watch` takes to hear a change again when its leader is cut off or frozen
    Watch(Watch),
}

/// The arguments that all commands have.
#[derive(Debug, Args)]
struct Common {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Also write the JSON object to this file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Cuts {
    /// Length of the run
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    seconds: u32,
    /// Commands per second
    #[arg(long, value_name = "N", default_value_t = 100)]
    rate: u32,
    /// Time between two cuts, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 1000)]
    every: u64,
    /// Time that the cluster takes to commit, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 10)]
    commit_delay: u64,
    /// Turn off the servers' deduplication so that the run fails, to test the run itself
    #[arg(long, hide = true)]
    no_dedup: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct Restarts {
    /// Number of restarts
    #[arg(long, value_name = "N", default_value_t = 100)]
    restarts: u64,
    /// Commands per second
    #[arg(long, value_name = "N", default_value_t = 100)]
    rate: u32,
    /// Commands executed while a member is down, and again before the next restart
    #[arg(long, value_name = "N", default_value_t = 100)]
    between: u64,
    /// Longest duration of an election in milliseconds; the shortest is half of it
    #[arg(long, value_name = "MS", default_value_t = 2000)]
    election: u64,
    /// Time that the cluster takes to commit, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 10)]
    commit_delay: u64,
    /// Seed of the random choices
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct Registers {
    /// Number of runs, each with its own seed
    #[arg(long, value_name = "N", default_value_t = 20)]
    runs: u64,
    /// Seed of the first run; each further run adds one
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Number of registers in each run
    #[arg(long, value_name = "N", default_value_t = 8)]
    registers: usize,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct Failover {
    /// Number of leaders that are killed
    #[arg(long, value_name = "N", default_value_t = 100)]
    kills: u64,
    /// Number of hand-overs
    #[arg(long, value_name = "N", default_value_t = 100)]
    hand_overs: u64,
    /// Number of leaders that are frozen, half with an idle client and half with a busy one
    #[arg(long, value_name = "N", default_value_t = 40)]
    freezes: u64,
    /// Number of outages of a whole cluster
    #[arg(long, value_name = "N", default_value_t = 20)]
    outages: u64,
    /// Longest duration of an election in milliseconds; the shortest is 50
    #[arg(long, value_name = "MS", default_value_t = 9900)]
    election: u64,
    /// Number of clusters that run in parallel
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..))]
    side_by_side: u64,
    /// Seed of the random choices
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct Soak {
    /// Length of the run; Ctrl+C ends it early and still prints the report
    #[arg(long, value_name = "MINUTES", default_value_t = 10.0)]
    minutes: f64,
    /// Commands per second
    #[arg(long, value_name = "N", default_value_t = 100)]
    rate: u32,
    /// Largest padding of a command's payload in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1000)]
    padding: usize,
    /// Number of sessions
    #[arg(long, value_name = "N", default_value_t = 4)]
    sessions: usize,
    /// Seconds from the end of a fault to the next
    #[arg(long, value_name = "SECONDS", default_value_t = 3.0)]
    every: f64,
    /// Duration of an election in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 1000)]
    election: u64,
    /// Time that the cluster takes to commit, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 10)]
    commit_delay: u64,
    /// Seed of the random choices
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Inject only this fault; may be repeated. The names are those in the report
    #[arg(long = "fault", value_name = "NAME", value_parser = fault)]
    faults: Vec<Fault>,
    /// Draw a plot of the run into this SVG file
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct Recovery {
    /// Number of leaders that are killed by SIGKILL
    #[arg(long, value_name = "N", default_value_t = 100)]
    kills: u32,
    /// Number of leaders that are frozen by SIGSTOP until commands are answered again
    #[arg(long, value_name = "N", default_value_t = 100)]
    freezes: u32,
    /// Number of hand-overs
    #[arg(long, value_name = "N", default_value_t = 100)]
    hand_overs: u32,
    /// Number of members that are stopped by SIGTERM and started again, one after the other
    #[arg(long, value_name = "N", default_value_t = 100)]
    restarts: u32,
    /// Numbers of idle sessions, from few to many
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1, 1000, 10_000])]
    sessions: Vec<u32>,
    /// Time for which idle sessions are watched
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    seconds: u32,
    /// The program zraft [default: the one beside this program]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct Connect {
    /// Number of connections of each kind
    #[arg(long, value_name = "N", default_value_t = 100)]
    times: u32,
    /// Number of restarts of a server that keeps nothing
    #[arg(long, value_name = "N", default_value_t = 10)]
    restarts: u32,
    /// The program zraft [default: the one beside this program]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct Members {
    /// Number of leaders that are killed, for each way to find members
    #[arg(long, value_name = "N", default_value_t = 100)]
    times: u32,
    /// Number of clusters that have all their members replaced
    #[arg(long, value_name = "N", default_value_t = 5)]
    replacements: u32,
    /// The program zraft [default: the one beside this program]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// Number of leaders that are lost in each way
    #[arg(long, value_name = "N", default_value_t = 10)]
    times: u32,
    /// Seconds after which a watch counts as one that hears nothing
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    silence: u32,
    /// The program zraft [default: the one beside this program]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct Operations {
    /// Size of the state that a new member receives, in MiB; the application takes at most 1,024, of which the load needs a part
    #[arg(long, value_name = "N", default_value_t = 1000)]
    mib: usize,
    /// The program zraft [default: the one beside this program]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct Server {
    /// Number of processes to kill by SIGKILL; other faults come between
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    kills: u64,
    /// Seed of the faults. The moments at which they strike the processes differ from run to run
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// The program zraft [default: the one beside this program]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Let disks fail as well, by libfiu in this folder, such as /usr/lib/fiu of Debian's fiu-utils
    #[arg(long, value_name = "DIR")]
    fiu: Option<PathBuf>,
    /// Let disks lose writes that were not synced, and set clocks, by this library, which verification/chaos/layer/build makes
    #[arg(long, value_name = "FILE")]
    layer: Option<PathBuf>,
    /// Let disks say that they have synced when they have not, so that the run fails, to test the run itself
    #[arg(long, hide = true, requires = "layer")]
    lying_disks: bool,
    /// Write the histories of the registers to this file, for verification/porcupine/run; without it, those of a run that breaks a
    /// promise are beside the files of its members
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

fn fault(name: &str) -> Result<Fault, String> {
    let named = Fault::ALL.iter().find(|fault| fault.name() == name).copied();
    named.ok_or_else(|| {
        let names: Vec<_> = Fault::ALL.iter().map(|fault| fault.name()).collect();
        format!("unknown fault, use one of: {}", names.join(", "))
    })
}
