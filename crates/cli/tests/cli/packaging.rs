//! The unit of systemd and the container file run the program as it is.

use std::{fs, path::Path, process::Output};

use crate::support::{run, stderr};

fn packaging(file: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs::read_to_string(root.join("packaging").join(file)).unwrap()
}

/// Returns the values of a setting.
fn values(unit: &str, setting: &str) -> Vec<String> {
    let line = unit.lines().find_map(|line| line.strip_prefix(&format!("{setting}=")));
    line.unwrap().split_whitespace().map(str::to_owned).collect()
}

/// Runs a command line in another folder, with these arguments besides its own.
fn run_on(command: &[String], folder: &Path, more: &[&str]) -> Output {
    let [program, arguments @ .., _folder] = command else { panic!("{command:?}") };
    assert_eq!(Path::new(program).file_name(), Path::new(env!("CARGO_BIN_EXE_zraft")).file_name());
    let arguments = arguments.iter().map(String::as_str);
    let folder = folder.to_str().unwrap();
    run(&arguments.chain([folder]).chain(more.iter().copied()).collect::<Vec<_>>())
}

/// Checks that a command line runs the member of a folder. Returns what it does without a member.
fn assert_runs_members(command: &[String]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("cluster");
    let made = run(&["init", "--members", "1", "--dir", dir.to_str().unwrap()]);
    assert!(made.status.success(), "{}", stderr(&made));
    let checked = run_on(command, &dir.join("node-1"), &["--check-config"]);
    assert!(checked.status.success(), "{}", stderr(&checked));
    run_on(command, &dir.join("missing"), &[])
}

#[test]
fn unit_runs_a_member_and_knows_its_exit_statuses() {
    let unit = packaging("systemd/zraft.service");
    let refused = assert_runs_members(&values(&unit, "ExecStart"));
    let status = refused.status.code().unwrap().to_string();
    assert!(values(&unit, "RestartPreventExitStatus").contains(&status), "{status}");
    assert_eq!(values(&unit, "SuccessExitStatus"), ["143"]);
    assert_eq!(values(&unit, "ExecStart").last(), Some(&"/var/lib/zraft".to_owned()));
    assert_eq!(values(&unit, "StateDirectory"), ["zraft"]);
}

#[test]
fn container_runs_a_member() {
    let file = packaging("container/Containerfile");
    let list = |name: &str| -> Vec<String> {
        let line = file.lines().find_map(|line| line.strip_prefix(&format!("{name} "))).unwrap();
        serde_json::from_str(line).unwrap()
    };
    let command = [list("ENTRYPOINT"), list("CMD")].concat();
    assert!(!assert_runs_members(&command).status.success());
    let volume = file.lines().find_map(|line| line.strip_prefix("VOLUME ")).unwrap();
    assert_eq!(command.last().map(String::as_str), Some(volume));
}
