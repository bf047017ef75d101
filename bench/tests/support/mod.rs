//! Servers in processes of their own.

use std::{
    io::{BufRead, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
};

/// A server process, and what it says.
pub(crate) fn start(arguments: &[&str]) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_zraft-bench"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(child.stdout.take().unwrap());
    (child, said)
}

/// The next line.
pub(crate) fn next(said: &mut BufReader<ChildStdout>) -> serde_json::Value {
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap()
}

/// A server process, and its endpoint.
pub(crate) fn serve(arguments: &[&str]) -> (Child, String) {
    let (child, mut said) = start(arguments);
    (child, next(&mut said)["endpoint"].as_str().unwrap().to_owned())
}
