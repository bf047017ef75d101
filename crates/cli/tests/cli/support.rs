//! Runs the program. Every wait has a limit, and no program outlives its test.

#![cfg_attr(not(unix), allow(dead_code, reason = "some tests run on Unix only"))]

use std::{
    io::{BufRead, BufReader, Read, Write},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

/// The limit of every wait: more than any part of a test takes, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) fn run(arguments: &[&str]) -> Output {
    run_with(arguments, b"")
}

/// Runs the program with this standard input.
pub(crate) fn run_with(arguments: &[&str], input: &[u8]) -> Output {
    run_in(arguments, &[], input)
}

/// Runs the program with these variables and this standard input.
pub(crate) fn run_in(arguments: &[&str], variables: &[(&str, &str)], input: &[u8]) -> Output {
    let mut program = Program::start(arguments, variables, Stdio::piped(), Stdio::piped());
    let mut stdin = program.child.stdin.take().unwrap();
    let input = input.to_vec();
    // Write and read at the same time, so that neither side waits for the other.
    let writer = thread::spawn(move || drop(stdin.write_all(&input)));
    let stdout = collect(program.child.stdout.take().unwrap());
    let stderr = collect(program.child.stderr.take().unwrap());
    let (stdout, stderr) = (program.all(&stdout), program.all(&stderr));
    let status = program.child.wait().unwrap();
    writer.join().unwrap();
    Output { status, stdout, stderr }
}

/// Runs the program with its standard output closed.
pub(crate) fn run_unread(arguments: &[&str]) -> ExitStatus {
    let mut program = Program::start(arguments, &[], Stdio::null(), Stdio::piped());
    drop(program.child.stdout.take());
    let stderr = collect(program.child.stderr.take().unwrap());
    program.all(&stderr);
    program.child.wait().unwrap()
}

/// Receives all bytes of a pipe once it ends.
fn collect(mut pipe: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (tell, all) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        tell.send(bytes)
    });
    all
}

/// Receives each line of a pipe.
fn lines_of(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (tell, lines) = mpsc::channel();
    let pipe = BufReader::new(pipe);
    thread::spawn(move || pipe.lines().try_for_each(|line| tell.send(line.unwrap())));
    lines
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

pub(crate) fn testdata(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(name)
}

/// A process that is killed when this value is dropped.
struct Program {
    child: Child,
    arguments: String,
}

impl Program {
    fn start(arguments: &[&str], variables: &[(&str, &str)], stdin: Stdio, stdout: Stdio) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zraft"));
        command
            .args(arguments)
            // The contexts of the person who runs the tests do not count.
            .env("ZRAFT_CONFIG", concat!(env!("CARGO_TARGET_TMPDIR"), "/none.toml"))
            .envs(variables.iter().copied())
            .stdin(stdin)
            .stdout(stdout)
            .stderr(Stdio::piped());
        Self { child: command.spawn().unwrap(), arguments: arguments.join(" ") }
    }

    /// Waits for all bytes of a pipe, which ends with the program.
    fn all(&self, pipe: &Receiver<Vec<u8>>) -> Vec<u8> {
        let all = pipe.recv_timeout(PATIENCE);
        all.unwrap_or_else(|error| panic!("zraft {} does not end: {error}", self.arguments))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program that runs until it is stopped.
pub(crate) struct Running {
    program: Program,
    lines: Receiver<String>,
    complaints: Receiver<String>,
}

impl Running {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_in(arguments, &[])
    }

    /// Starts the program with these variables.
    pub(crate) fn start_in(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::of(Program::start(arguments, variables, Stdio::null(), Stdio::piped()))
    }

    /// Starts the program with a standard input for [`feed`](Self::feed).
    pub(crate) fn start_fed(arguments: &[&str]) -> Self {
        Self::of(Program::start(arguments, &[], Stdio::piped(), Stdio::piped()))
    }

    /// Writes to the program's standard input.
    pub(crate) fn feed(&mut self, text: &str) {
        self.program.child.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn of(mut program: Program) -> Self {
        let lines = lines_of(program.child.stdout.take().unwrap());
        let complaints = lines_of(program.child.stderr.take().unwrap());
        Self { program, lines, complaints }
    }

    /// Waits for the next line of standard output. Returns `None` at its end.
    pub(crate) fn next_line(&mut self) -> Option<String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(mpsc::RecvTimeoutError::Disconnected) => None,
            Err(error) => panic!("zraft {} says nothing: {error}", self.program.arguments),
        }
    }

    pub(crate) fn line(&mut self) -> String {
        self.next_line().unwrap()
    }

    /// Waits for the next line of standard error.
    pub(crate) fn complaint(&mut self) -> String {
        let line = self.complaints.recv_timeout(PATIENCE);
        line.unwrap_or_else(|error| {
            panic!("zraft {} reports nothing: {error}", self.program.arguments)
        })
    }

    /// Sends Ctrl+C and returns the exit code.
    #[cfg(unix)]
    pub(crate) fn interrupt(self) -> Option<i32> {
        self.signal(rustix::process::Signal::INT).0
    }

    /// Sends Ctrl+C and returns the exit code and the unread rest of standard error.
    #[cfg(unix)]
    pub(crate) fn interrupted(self) -> (Option<i32>, String) {
        self.signal(rustix::process::Signal::INT)
    }

    /// Sends SIGTERM and returns the exit code.
    #[cfg(unix)]
    pub(crate) fn terminate(self) -> Option<i32> {
        self.signal(rustix::process::Signal::TERM).0
    }

    /// Sends SIGTERM and returns the exit code and the unread rest of standard error.
    #[cfg(unix)]
    pub(crate) fn terminated(self) -> (Option<i32>, String) {
        self.signal(rustix::process::Signal::TERM)
    }

    #[cfg(unix)]
    fn signal(self, signal: rustix::process::Signal) -> (Option<i32>, String) {
        self.send(signal);
        self.end()
    }

    /// Sends a signal.
    #[cfg(unix)]
    pub(crate) fn send(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.program.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for the end and returns the exit code and the unread rest of standard error.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        while self.next_line().is_some() {}
        let mut complaints = String::new();
        loop {
            match self.complaints.recv_timeout(PATIENCE) {
                Ok(line) => complaints.extend([line.as_str(), "\n"]),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(error) => panic!("zraft {} does not end: {error}", self.program.arguments),
            }
        }
        (self.program.child.wait().unwrap().code(), complaints)
    }
}
