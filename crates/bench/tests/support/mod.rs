//! Servers in processes of their own.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

/// A server process, and its endpoint.
pub(crate) fn serve(arguments: &[&str]) -> (Child, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_zraft-bench"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let said: serde_json::Value = serde_json::from_str(&line).unwrap();
    (child, said["endpoint"].as_str().unwrap().to_owned())
}
