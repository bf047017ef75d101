//! Turns arguments into runs, and prints the reports.

use std::{
    future::Future,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

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

use super::{
    Command, Common, Connect, Members, Operations, Recovery, Registers, Server, Soak, Watch,
};

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
