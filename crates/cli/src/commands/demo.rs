//! `zraft demo`.

use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use zraft_cli::demo::{self, Settings};

use crate::exit::{Exit, complain, print_at_end, run as run_command};

/// Nothing in the demo takes this long.
const PATIENCE: Duration = Duration::from_secs(120);

/// Run commands through two losses of the leader, and show that each was applied exactly once
///
/// Starts a three-member cluster in this process, on loopback, and drives it through the real client over TCP. The leader is
/// killed after a third of the commands and restarted, some answers vanish at half time, and leadership is handed over after
/// two thirds. At the end the servers' own journal is held against what the callers were told.
///
/// Exit status 0 if the journal equals the acknowledged commands and no caller saw an error, else 1.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Feeds the cluster's random choices
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Print one JSON object, and show no progress
    #[arg(long)]
    json: bool,
    /// How many commands
    #[arg(long, value_name = "N", default_value_t = 24_000, value_parser = clap::value_parser!(u64).range(1_000..=1_000_000))]
    commands: u64,
    /// Turn off the servers' deduplication, so that the demo fails: for the tests of the demo itself
    #[arg(long, hide = true)]
    no_dedup: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    let settings = Settings {
        seed: arguments.seed,
        commands: arguments.commands,
        deduplication: !arguments.no_dedup,
    };
    run_command(async {
        let progress = progress(arguments);
        let job = tokio::time::timeout(PATIENCE, demo::run(settings, &progress)).await;
        progress.finish_and_clear();
        let report = match job {
            Ok(Ok(report)) => report,
            Ok(Err(error)) => {
                complain(&error);
                return Exit::BadInput;
            }
            Err(_) => {
                complain("the demo did not come to an end in time");
                return Exit::BadInput;
            }
        };
        let text = if arguments.json { report.to_json().to_string() } else { report.to_text() };
        print_at_end(&text, if report.holds() { Exit::Success } else { Exit::BadInput })
    })
}

/// A bar on standard error, drawn only where that is a terminal.
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
