//! Runs the program `zraft-chaos` as a user does.

use std::process::{Command, Output};

use serde_json::Value;

fn chaos(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_zraft-chaos")).args(arguments).output().unwrap()
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A run of one second with ten cuts.
const CUTS: &[&str] = &["cuts", "--seconds", "1", "--rate", "1000", "--every", "100", "--json"];

#[test]
fn run_that_keeps_every_promise_exits_with_0_and_prints_its_figures() {
    let output = chaos(CUTS);
    let report = report(&output);
    assert_eq!(output.status.code(), Some(0), "{report:#}");
    assert_eq!(report["holds"], true);
    assert_eq!(report["submitted"], 1000);
    assert_eq!(report["journal"]["appliedOnce"], 1000);
    assert!(output.stderr.is_empty());
}

#[test]
fn run_that_breaks_a_promise_exits_with_1() {
    let output = chaos(&[CUTS, &["--no-dedup"]].concat());
    let report = report(&output);
    assert_eq!(output.status.code(), Some(1), "{report:#}");
    assert_eq!(report["holds"], false);
    assert!(report["journal"]["doubled"].as_u64().unwrap() > 0);
}

#[test]
fn soak_writes_its_figures_and_its_plot_into_files() {
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
    // The text output must not spell out the series.
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.lines().all(|line| line.len() < 2000), "{text}");
    std::fs::remove_dir_all(folder).unwrap();
}

/// A program whose members end at once. Everything else does what `zraft` does for a cluster of three.
#[cfg(unix)]
const ENDING: &str = r#"#!/bin/sh
if [ "$1" = server ]; then
    echo "cannot go on" >&2
    exit 3
fi
while [ "$1" != --dir ]; do shift; done
for number in 1 2 3; do
    folder="$2/node-$number"
    mkdir "$folder"
    printf 'name = "node-%s"\n[client]\naddress = "127.0.0.1:0"\n[peer]\naddress = "127.0.0.1:0"\n[admin]\naddress = "127.0.0.1:1"\n' \
        $number > "$folder/node.toml"
    echo 0123456789abcdef0123456789abcdef > "$folder/admin.token"
done
"#;

#[cfg(unix)]
#[test]
fn run_whose_members_end_exits_with_2_and_names_the_folder_that_it_keeps() {
    use std::{fs, os::unix::fs::PermissionsExt, path::Path};

    let folder = std::env::temp_dir().join(format!("zraft-chaos-ending-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let program = folder.join("zraft");
    fs::write(&program, ENDING).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    for run in ["server", "recovery", "connect", "members", "watch"] {
        let output = chaos(&[run, "--program", program.to_str().unwrap()]);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains("cannot go on"), "{message}");
        let kept = message.trim_end().rsplit_once(" are in ").unwrap().1;
        assert!(Path::new(kept).join("node-1.log").is_file(), "{message}");
        fs::remove_dir_all(kept).unwrap();
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn unknown_fault_exits_with_2_and_lists_the_known_ones() {
    let output = chaos(&["soak", "--fault", "gremlins"]);
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("gremlins") && message.contains("kill, stop, freeze"), "{message}");
}

#[test]
fn unwritable_file_exits_with_2_and_an_error_message() {
    let output = chaos(&["cuts", "--seconds", "0", "--out", "/nowhere/to/be/found"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("zraft-chaos: "));
}
