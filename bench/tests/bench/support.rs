//! Starts server processes, and reads the budget.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

/// Starts a server process. Returns it and its output.
pub(crate) fn start(arguments: &[&str]) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_zraft-bench"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, output)
}

/// Reads the next line of a server's output.
pub(crate) fn next(output: &mut BufReader<ChildStdout>) -> serde_json::Value {
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap()
}

/// Starts a server process. Returns it and its endpoint.
pub(crate) fn serve(arguments: &[&str]) -> (Child, String) {
    let (child, mut output) = start(arguments);
    (child, next(&mut output)["endpoint"].as_str().unwrap().to_owned())
}

pub(crate) fn budget() -> serde_json::Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("results/budget.json");
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}
