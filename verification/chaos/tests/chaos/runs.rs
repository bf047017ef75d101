//! Short forms of the runs that the program executes at full length.

use std::{future::pending, time::Duration};

use crate::support::within;
use zraft_chaos::{
    beat::Beat,
    faults::Fault,
    load::Pace,
    report::Report,
    runs::{cuts, restarts, soak},
};

#[track_caller]
fn assert_flawless(report: &Report) {
    let outcome = &report.outcome;
    assert!(report.holds(), "{:#}", report.to_json());
    assert_eq!(
        (outcome.answered, outcome.findings.applied_once),
        (outcome.submitted, outcome.submitted)
    );
}

/// Returns the settings of a run with 20 cuts.
fn twenty_cuts() -> cuts::Settings {
    cuts::Settings {
        commands: 2000,
        pace: Pace::Callers(4),
        cut: Beat::Executed(100),
        commit_delay: Duration::from_millis(1),
        deduplication: true,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cuts_every_hundred_commands_cause_no_error_no_loss_and_no_double_execution() {
    let report = within(cuts::run(twenty_cuts())).await.unwrap();
    assert_flawless(&report);
    // The last cut may be due only after the last command.
    assert!(report.faults.values().sum::<u64>() >= 19, "{:?}", report.faults);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn same_run_without_deduplication_shows_double_executions() {
    let settings = cuts::Settings { deduplication: false, ..twenty_cuts() };
    let report = within(cuts::run(settings)).await.unwrap();
    assert!(!report.holds());
    assert!(report.outcome.findings.doubled > 0, "{:#}", report.to_json());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rolling_restarts_cause_no_error_no_loss_and_no_double_execution() {
    let settings = restarts::Settings {
        restarts: 12,
        pace: Pace::Callers(4),
        between: 50,
        commit_delay: Duration::from_millis(1),
        election: Duration::from_millis(50),
        linger: Duration::from_millis(50),
        seed: 1,
    };
    let report = within(restarts::run(settings)).await.unwrap();
    assert_flawless(&report);
    assert_eq!(report.faults.values().sum::<u64>(), 12);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn soak_reports_faults_and_failover_times_and_finds_no_violation() {
    let faults = [Fault::Kill, Fault::HandOver, Fault::LostAnswers, Fault::Reset, Fault::Delay];
    let settings = soak::Settings {
        time: Beat::Executed(3000),
        pace: Pace::Callers(8),
        padding: 500,
        sessions: 2,
        every: Beat::Executed(40),
        lasting: 20,
        faults: faults.to_vec(),
        election: Duration::from_millis(20),
        commit_delay: Duration::from_millis(2),
        seed: 1,
    };
    let soaked = within(soak::run(&settings, pending())).await.unwrap();
    assert_flawless(&soaked.report);
    let report = soaked.report.to_json();
    for fault in faults {
        assert!(report["faults"][fault.name()].as_u64().is_some_and(|times| times > 0), "{report}");
    }
    for fault in [Fault::Kill, Fault::HandOver] {
        assert!(report["failoverMs"][fault.name()]["p50"].is_number(), "{report}");
    }
    assert!(report["failoverMs"]["reset"].is_null(), "a reset must not change the leader");
    assert!(report["resendsPerRequest"].as_f64().is_some_and(|resends| resends > 0.0), "{report}");
    assert_eq!(soaked.marks.len() as u64, soaked.report.faults.values().sum::<u64>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_soak_finishes_commands_in_progress_and_reports() {
    let settings = soak::Settings {
        time: Beat::Executed(u64::MAX / 2),
        pace: Pace::PerSecond(500),
        padding: 0,
        sessions: 1,
        every: Beat::Executed(1),
        lasting: 1,
        faults: vec![Fault::HandOver],
        election: Duration::from_millis(20),
        commit_delay: Duration::from_millis(1),
        seed: 1,
    };
    let soaked = within(soak::run(&settings, tokio::task::yield_now())).await.unwrap();
    assert_flawless(&soaked.report);
}
