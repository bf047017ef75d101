//! The program `zraft-chaos`, as a user runs it.

#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

use serde_json::Value;

fn chaos(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_zraft-chaos")).args(arguments).output().unwrap()
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A second of cuts, ten of them.
const CUTS: &[&str] = &["cuts", "--seconds", "1", "--rate", "1000", "--every", "100", "--json"];

#[test]
fn a_run_that_keeps_every_promise_exits_with_0_and_prints_its_figures() {
    let output = chaos(CUTS);
    let report = report(&output);
    assert_eq!(output.status.code(), Some(0), "{report:#}");
    assert_eq!(report["holds"], true);
    assert_eq!(report["submitted"], 1000);
    assert_eq!(report["journal"]["appliedOnce"], 1000);
    assert!(output.stderr.is_empty());
}

#[test]
fn a_run_that_does_not_exits_with_1() {
    let output = chaos(&[CUTS, &["--no-dedup"]].concat());
    let report = report(&output);
    assert_eq!(output.status.code(), Some(1), "{report:#}");
    assert_eq!(report["holds"], false);
    assert!(report["journal"]["doubled"].as_u64().unwrap() > 0);
}

#[test]
fn a_soak_writes_its_figures_and_its_plot_into_files() {
    let folder = std::env::temp_dir().join(format!("zraft-chaos-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (figures, plot) = (folder.join("soak.json"), folder.join("soak.svg"));
    let output = chaos(&[
        "soak",
        "--minutes",
        "0.04",
        "--every",
        "0.1",
        "--election",
        "20",
        "--rate",
        "200",
        "--fault",
        "kill",
        "--fault",
        "hand-over",
        "--out",
        figures.to_str().unwrap(),
        "--plot",
        plot.to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report: Value = serde_json::from_slice(&std::fs::read(figures).unwrap()).unwrap();
    assert_eq!(report["holds"], true);
    assert_eq!(report["submitted"], report["answered"]);
    let answered = report["series"]["answeredPerSecond"].as_array().unwrap();
    assert!(!answered.is_empty());
    assert!(std::fs::read_to_string(plot).unwrap().starts_with("<svg"));
    // To read, the series is not spelled out.
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.lines().all(|line| line.len() < 2000), "{text}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_fault_that_there_is_not_exits_with_2_and_names_those_there_are() {
    let output = chaos(&["soak", "--fault", "gremlins"]);
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("gremlins") && told.contains("kill, stop, freeze"), "{told}");
}

#[test]
fn a_file_that_cannot_be_written_exits_with_2_and_says_why() {
    let output = chaos(&["cuts", "--seconds", "0", "--out", "/nowhere/to/be/found"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("zraft-chaos: "));
}
