//! Starts servers and contenders, and describes the machine.

use std::{
    ffi::OsStr,
    io::{self, BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
};

use serde_json::{Value, json};

use crate::budget;

/// Returns the path of this program.
pub(crate) fn itself() -> io::Result<PathBuf> {
    std::env::current_exe()
}

/// Returns the path of libzmq's contender, or `None` if it was not built.
pub(crate) fn libzmq() -> Option<PathBuf> {
    let program = budget::root().join("target/libzmq-echo/release/zraft-libzmq-echo");
    program.exists().then_some(program)
}

/// A server process. It ends when this value is dropped.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    output: BufReader<ChildStdout>,
    pub(super) endpoint: String,
}

impl Server {
    pub(crate) fn start(arguments: &[&str]) -> io::Result<Self> {
        let mut child = Command::new(itself()?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut server = Self { child, output: BufReader::new(stdout), endpoint: String::new() };
        let line = server.line()?;
        line["endpoint"].as_str().unwrap_or_default().clone_into(&mut server.endpoint);
        Ok(server)
    }

    /// Ends the process and reads the line that it prints at the end.
    pub(crate) fn finish(mut self) -> io::Result<Value> {
        drop(self.child.stdin.take());
        self.line()
    }

    fn line(&mut self) -> io::Result<Value> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        serde_json::from_str(&line).map_err(io::Error::other)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Runs a program to its end and reads the line of JSON that it prints last.
pub(crate) fn measured<S: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    arguments: &[S],
) -> io::Result<Value> {
    let output = Command::new(program).args(arguments).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("a measured process failed: {}", output.status)));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().last().unwrap_or_default();
    serde_json::from_str(line).map_err(io::Error::other)
}

fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).current_dir(budget::root()).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).lines().next()?.trim().to_owned())
}

/// Returns the machine, its load and the commit.
pub(crate) fn conditions(rounds: usize) -> Value {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().and_then(|load| load.parse::<f64>().ok());
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    json!({
        "cpu": model,
        "cores": std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        "system": format!("{} {}", std::env::consts::OS, kernel.trim()),
        "rust": first_line("rustc", &["--version"]),
        "commit": first_line("git", &["rev-parse", "--short=10", "HEAD"]),
        "loadAverage": load,
        "rounds": rounds,
    })
}

/// Prints a line.
pub(crate) fn say(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout();
    writeln!(stdout, "{text}")?;
    stdout.flush()
}
