//! `zraft demo`: the main job. A cluster of three loses its leader twice while a client is at work, and the servers' own
//! journal shows that each command was applied exactly once.

mod report;
mod work;

use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::exit::{Exit, complain, print, run as run_command};
use report::Report;

/// Nothing in the demo takes this long.
const PATIENCE: Duration = Duration::from_secs(120);

/// Run commands through two losses of the leader, and show that each was applied exactly once
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Feeds the cluster's random choices
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// How many commands
    #[arg(long, default_value_t = 24_000, value_parser = clap::value_parser!(u64).range(1_000..=1_000_000))]
    commands: u64,
    /// Turn off the servers' deduplication, so that the demo fails: for the tests of the demo itself
    #[arg(long, hide = true)]
    no_dedup: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    run_command(async {
        let progress = progress(arguments);
        let job = tokio::time::timeout(PATIENCE, work::run(arguments, &progress)).await;
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
        tell(&report, arguments.json);
        if report.holds() { Exit::Success } else { Exit::BadInput }
    })
}

fn tell(report: &Report, json: bool) {
    if json {
        print(&report.to_json().to_string());
    } else {
        print(&report.to_text());
    }
}

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
