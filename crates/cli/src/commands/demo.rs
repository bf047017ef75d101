//! `zraft demo`.

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use zraft_cli::demo::{self, Settings};

use crate::exit::{Exit, complain, print_at_end, run as run_command};

/// Lose the leader twice, and show that each command was still executed exactly once
///
/// Starts three processes of `zraft server` on loopback, with their logs in a temporary folder, and submits commands through the real
/// client over TCP. Kills the leader by SIGKILL after about a third of the commands, starts it again at half time, and hands leadership
/// to it after about two thirds. At the end, reads the replicated log back, compares it with the answers that the callers got, and stops
/// the processes by SIGTERM. No process outlives the demo.
///
/// The exit status is 0 if the log equals the answered commands, no command failed and all members have the same state, and 1
/// otherwise.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Seed of the moments at which the leader is lost
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Print one JSON object and show no progress
    #[arg(long)]
    json: bool,
    /// Number of commands
    #[arg(long, value_name = "N", default_value_t = 24_000, value_parser = clap::value_parser!(u64).range(1_000..=1_000_000))]
    commands: u64,
    /// Submit commands again as new ones when the leader is lost, so that the demo fails; for its own tests
    #[arg(long, hide = true)]
    no_dedup: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => {
            complain(&format!("cannot find the program of the members: {error}"));
            return Exit::Failure;
        }
    };
    let settings = Settings {
        program,
        seed: arguments.seed,
        commands: arguments.commands,
        deduplication: !arguments.no_dedup,
    };
    run_command(async {
        let progress = progress(arguments);
        let report = demo::run(&settings, &progress).await;
        progress.finish_and_clear();
        let report = match report {
            Ok(report) => report,
            Err(problem) => {
                complain(&problem);
                return Exit::BadInput;
            }
        };
        let text = if arguments.json { report.to_json().to_string() } else { report.to_text() };
        print_at_end(&text, if report.holds() { Exit::Success } else { Exit::BadInput })
    })
}

/// Returns a progress bar on standard error. It is drawn only on a terminal.
fn progress(arguments: &Arguments) -> ProgressBar {
    let target =
        if arguments.json { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} commands, {per_sec}  {msg}");
    let progress = ProgressBar::with_draw_target(Some(arguments.commands), target);
    match style {
        Ok(style) => progress.with_style(style),
        Err(_) => progress,
    }
}
