//! The commands: they turn arguments into runs and print the reports.

use std::{
    future::Future,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use zraft_chaos::{
    beat::Beat,
    failure::Failure,
    faults::Fault,
    load::Pace,
    plot,
    processes::Layer,
    report,
    runs::{
        connect, cuts, failover, idle_watch, members, operations, recovery, registers, restarts,
        server, soak,
    },
};

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

/// The result of a run.
struct Done {
    report: Value,
    holds: bool,
}

pub(crate) fn run(command: Command) -> ExitCode {
    match command {
        Command::Cuts(arguments) => {
            let settings = cuts::Settings {
                commands: u64::from(arguments.seconds) * u64::from(arguments.rate),
                pace: Pace::PerSecond(arguments.rate),
                cut: Beat::Every(Duration::from_millis(arguments.every)),
                commit_delay: Duration::from_millis(arguments.commit_delay),
                deduplication: !arguments.no_dedup,
            };
            execute(&arguments.common, async {
                let report = cuts::run(settings).await?;
                Ok(Done { report: report.to_json(), holds: report.holds() })
            })
        }
        Command::Restarts(arguments) => {
            let settings = restarts::Settings {
                restarts: arguments.restarts,
                pace: Pace::PerSecond(arguments.rate),
                between: arguments.between,
                commit_delay: Duration::from_millis(arguments.commit_delay),
                election: Duration::from_millis(arguments.election),
                linger: Duration::from_millis(2300),
                seed: arguments.seed,
            };
            execute(&arguments.common, async {
                let report = restarts::run(settings).await?;
                Ok(Done { report: report.to_json(), holds: report.holds() })
            })
        }
        Command::Registers(arguments) => execute(&arguments.common, linearizable(&arguments)),
        Command::Failover(arguments) => {
            let settings = failover::Settings {
                kills: arguments.kills,
                hand_overs: arguments.hand_overs,
                freezes: arguments.freezes,
                outages: arguments.outages,
                election: Duration::from_millis(arguments.election),
                side_by_side: arguments.side_by_side,
                seed: arguments.seed,
            };
            execute(&arguments.common, async {
                let found = failover::run(settings).await?;
                Ok(Done { report: found.to_json(), holds: found.holds() })
            })
        }
        Command::Soak(arguments) => execute(&arguments.common, soaked(&arguments)),
        Command::Recovery(arguments) => execute(&arguments.common, recovered(&arguments)),
        Command::Connect(arguments) => execute(&arguments.common, connected(&arguments)),
        Command::Members(arguments) => execute(&arguments.common, found(&arguments)),
        Command::Watch(arguments) => execute(&arguments.common, heard(&arguments)),
        Command::Operations(arguments) => execute(&arguments.common, operated(&arguments)),
        Command::Server(arguments) => execute(&arguments.common, on_processes(&arguments)),
    }
}

async fn soaked(arguments: &Soak) -> Result<Done, Failure> {
    let seconds = |seconds: f64, what: &str| {
        Duration::try_from_secs_f64(seconds).map_err(|error| {
            Failure::Io(io::Error::new(io::ErrorKind::InvalidInput, format!("{what}: {error}")))
        })
    };
    let settings = soak::Settings {
        time: Beat::Every(seconds(arguments.minutes * 60.0, "--minutes")?),
        pace: Pace::PerSecond(arguments.rate),
        padding: arguments.padding,
        sessions: arguments.sessions,
        every: Beat::Every(seconds(arguments.every, "--every")?),
        lasting: u64::from(arguments.rate),
        faults: match &arguments.faults[..] {
            [] => Fault::ALL.to_vec(),
            some => some.to_vec(),
        },
        election: Duration::from_millis(arguments.election),
        commit_delay: Duration::from_millis(arguments.commit_delay),
        seed: arguments.seed,
    };
    let stopped = async {
        if tokio::signal::ctrl_c().await.is_err() {
            // Without a handler for Ctrl+C the run cannot be ended early.
            std::future::pending::<()>().await;
        }
    };
    let soaked = soak::run(&settings, stopped).await?;
    if let Some(file) = &arguments.plot {
        let title = format!(
            "{:.0} minutes at {} commands per second; red: a fault begins",
            soaked.report.took.as_secs_f64() / 60.0,
            arguments.rate
        );
        plot::draw(file, &title, &soaked.series, &soaked.marks)?;
    }
    Ok(Done { report: soaked.report.to_json(), holds: soaked.report.holds() })
}

/// Returns the program of the members.
fn program(given: Option<&PathBuf>) -> io::Result<PathBuf> {
    match given {
        Some(program) => Ok(program.clone()),
        None => Ok(std::env::current_exe()?.with_file_name("zraft")),
    }
}

async fn recovered(arguments: &Recovery) -> Result<Done, Failure> {
    let settings = recovery::Settings {
        program: program(arguments.program.as_ref())?,
        kills: arguments.kills,
        freezes: arguments.freezes,
        hand_overs: arguments.hand_overs,
        restarts: arguments.restarts,
        sessions: arguments.sessions.clone(),
        idle: Duration::from_secs(arguments.seconds.into()),
    };
    let found = recovery::run(&settings).await?;
    Ok(Done { report: found.to_json(), holds: found.holds() })
}

async fn connected(arguments: &Connect) -> Result<Done, Failure> {
    let settings = connect::Settings {
        program: program(arguments.program.as_ref())?,
        times: arguments.times,
        restarts: arguments.restarts,
    };
    let found = connect::run(&settings).await?;
    Ok(Done { report: found.to_json(), holds: found.holds() })
}

async fn found(arguments: &Members) -> Result<Done, Failure> {
    let settings = members::Settings {
        program: program(arguments.program.as_ref())?,
        times: arguments.times,
        replacements: arguments.replacements,
    };
    let found = members::run(&settings).await?;
    Ok(Done { report: found.to_json(), holds: found.holds() })
}

async fn heard(arguments: &Watch) -> Result<Done, Failure> {
    let settings = idle_watch::Settings {
        program: program(arguments.program.as_ref())?,
        times: arguments.times,
        silence: Duration::from_secs(arguments.silence.into()),
    };
    let found = idle_watch::run(&settings).await?;
    Ok(Done { report: found.to_json(), holds: found.holds() })
}

async fn operated(arguments: &Operations) -> Result<Done, Failure> {
    let program = program(arguments.program.as_ref())?;
    let settings = operations::Settings { program, mib: arguments.mib };
    let found = operations::run(&settings).await?;
    Ok(Done { report: found.to_json(), holds: found.holds() })
}

async fn on_processes(arguments: &Server) -> Result<Done, Failure> {
    let program = program(arguments.program.as_ref())?;
    let layer = Layer::find(arguments.fiu.as_deref(), arguments.layer.as_deref())?
        .with_lies(arguments.lying_disks);
    let settings =
        server::Settings { program, kills: arguments.kills, seed: arguments.seed, layer };
    let found = server::run(&settings).await?;
    let beside = found.kept.last().map(|folder| folder.join("histories.jsonl"));
    if let Some(file) = arguments.history.clone().or(beside) {
        std::fs::write(file, found.history())?;
    }
    Ok(Done { report: found.to_json(), holds: found.holds() })
}

async fn linearizable(arguments: &Registers) -> Result<Done, Failure> {
    let (mut operations, mut unknown, mut faults) = (0, 0, 0);
    let mut violations = Vec::new();
    for seed in (0..arguments.runs).map(|run| arguments.seed.wrapping_add(run)) {
        let settings = registers::Settings {
            sessions: 3,
            callers: 4,
            registers: arguments.registers,
            faults: Fault::ALL.to_vec(),
            between: 20,
            seed,
            deduplication: true,
        };
        let found = registers::run(&settings).await?;
        let (all, of_unknown_outcome) = found.operations();
        operations += all;
        unknown += of_unknown_outcome;
        faults += found.faults.values().sum::<u64>();
        violations.extend(found.violations().map(|(register, history, verdict)| {
            json!({
                "seed": seed,
                "register": register,
                "verdict": format!("{verdict:?}"),
                "history": history.iter().map(|operation| format!("{operation:?}")).collect::<Vec<_>>(),
            })
        }));
    }
    let holds = violations.is_empty();
    let report = json!({
        "run": "registers",
        "holds": holds,
        "runs": arguments.runs,
        "registers": arguments.runs * arguments.registers as u64,
        "operations": operations,
        "ofUnknownOutcome": unknown,
        "faults": faults,
        "violations": violations,
    });
    Ok(Done { report, holds })
}

fn execute(common: &Common, job: impl Future<Output = Result<Done, Failure>>) -> ExitCode {
    let done = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Failure::from)
        .and_then(|runtime| runtime.block_on(job));
    match done.and_then(|done| publish(common, &done.report).map(|()| done.holds)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            // If standard error is closed, the exit code still shows the failure.
            let _ = writeln!(io::stderr(), "zraft-chaos: {error}");
            ExitCode::from(2)
        }
    }
}

fn publish(common: &Common, report: &Value) -> Result<(), Failure> {
    let object = format!("{report:#}\n");
    if let Some(file) = &common.out {
        std::fs::write(file, &object)?;
    }
    let text = if common.json { object } else { report::to_text(report) };
    io::stdout().write_all(text.as_bytes())?;
    Ok(())
}
