//! Runs peers that others wrote as processes: SERVERs and CLIENTs of JeroMQ and libzmq, controlled by lines of text.
//!
//! `verification/interop/prepare` builds and fetches them. If they are missing, a test says so and passes; with `CI=true` it
//! fails.

mod state;
mod wire;

pub use state::State;
pub use wire::Wire;

use std::{collections::VecDeque, io::Write as _, path::PathBuf, process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, Command},
    sync::mpsc,
};

/// The limit of every wait: longer than anything takes that a test waits for, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A library that implements ZMTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Library {
    /// JeroMQ 0.5.4, which the live server uses.
    JeroMq,
    /// libzmq, through the npm package `zeromq`.
    LibZmq,
}

impl Library {
    /// Both libraries.
    pub const ALL: [Self; 2] = [Self::JeroMq, Self::LibZmq];

    /// Returns the libraries that can run, and prints which tests are skipped for the others.
    ///
    /// # Panics
    /// With `CI=true`, if one cannot run.
    pub fn ready() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|library| library.is_ready())
    }

    /// Returns true if the library was prepared and can run. Prints that its tests are skipped otherwise.
    ///
    /// # Panics
    /// With `CI=true`, if it cannot run.
    pub fn is_ready(self) -> bool {
        let (needed, runtime, version) = match self {
            Self::JeroMq => ("jeromq/target/lib/jeromq-0.5.4.jar", "java", "-version"),
            Self::LibZmq => ("libzmq/node_modules/zeromq/package.json", "node", "--version"),
        };
        let ready = folder().join(needed).exists() && runs(runtime, version);
        if !ready {
            let what = format!(
                "{self:?} cannot run (install {runtime}, then run verification/interop/prepare): its tests are SKIPPED"
            );
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{what}");
            say(&what);
        }
        ready
    }

    fn command(self, program: &str) -> Command {
        let mut command;
        match self {
            Self::JeroMq => {
                let target = folder().join("jeromq/target");
                let path = format!("{0}/classes:{0}/lib/*", target.display());
                command = Command::new("java");
                // A small heap and the quick compiler, because the process serves one test.
                command.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx256m", "-cp"]);
                command.arg(path).arg(program);
            }
            Self::LibZmq => {
                command = Command::new("node");
                let file = format!("libzmq/{}.mjs", program.to_lowercase());
                command.arg("--no-warnings").arg(folder().join(file));
            }
        }
        command
    }
}

/// Writes to standard error itself, because the test runner hides what a passing test prints with macros.
fn say(what: &str) {
    // A closed standard error is not a failure.
    let _ = writeln!(std::io::stderr(), "\n*** {what} ***\n");
}

fn runs(program: &str, argument: &str) -> bool {
    let mut command = std::process::Command::new(program);
    command.arg(argument).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The process of a peer. It is killed when this value is dropped, and ends at the end of its standard input.
#[derive(Debug)]
pub struct Peer {
    child: Child,
    input: ChildStdin,
    /// Lines of standard output. A task reads them at once, because a peer with a full pipe would stop.
    output: mpsc::UnboundedReceiver<String>,
    /// Reports that arrived while the test waited for another one.
    passed: VecDeque<String>,
}

impl Peer {
    /// Starts a SERVER on loopback, on this port or on a free one. Returns its port.
    pub async fn server(library: Library, port: Option<u16>) -> (Self, u16) {
        let port = port.map_or("*".to_owned(), |port| port.to_string());
        Self::server_with(library, &[&format!("port={port}")]).await
    }

    /// Starts a SERVER like [`server`](Self::server) that keeps its sessions and its log in `state`.
    pub async fn server_keeping(library: Library, state: &State, port: Option<u16>) -> (Self, u16) {
        let port = port.map_or("*".to_owned(), |port| port.to_string());
        let arguments = [format!("port={port}"), format!("state={}", state.path().display())];
        Self::server_with(library, &arguments.each_ref().map(String::as_str)).await
    }

    /// Starts the server program with these arguments.
    ///
    /// # Panics
    /// If it does not listen.
    pub async fn server_with(library: Library, arguments: &[&str]) -> (Self, u16) {
        let mut peer = Self::start(library.command("Server").args(arguments));
        let report = peer.report("listening ").await;
        let port = report.parse().unwrap_or_else(|_| panic!("no port: {report}"));
        (peer, port)
    }

    /// Starts a CLIENT of this endpoint with the live client's heartbeat.
    pub async fn client(library: Library, endpoint: &str) -> Self {
        Self::client_with(library, endpoint, &[]).await
    }

    /// Starts the client program for this endpoint with these arguments.
    pub async fn client_with(library: Library, endpoint: &str, arguments: &[&str]) -> Self {
        let mut command = library.command("Client");
        let mut peer = Self::start(command.arg(format!("endpoint={endpoint}")).args(arguments));
        peer.report("connecting").await;
        peer
    }

    /// Starts any program that follows the line protocol.
    ///
    /// # Panics
    /// If it cannot start.
    pub fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let input = child.stdin.take().expect("is piped");
        let mut lines = BufReader::new(child.stdout.take().expect("is piped")).lines();
        let (sender, output) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, input, output, passed: VecDeque::new() }
    }

    /// Sends a line to the peer and waits until the peer reports that it is done.
    pub async fn tell(&mut self, command: &str) {
        self.write(command).await;
        let word = command.split(' ').next().unwrap_or_default();
        self.report(&format!("done {word}")).await;
    }

    /// Sends a line to the peer.
    ///
    /// # Panics
    /// If its process has ended.
    pub async fn write(&mut self, command: &str) {
        let line = format!("{command}\n");
        self.input.write_all(line.as_bytes()).await.expect("the peer lives");
        self.input.flush().await.expect("the peer lives");
    }

    /// Waits for the next report that begins with `beginning`, and returns the rest of it. Other reports are kept.
    ///
    /// # Panics
    /// If it does not arrive in time.
    pub async fn report(&mut self, beginning: &str) -> String {
        if let Some(place) = self.passed.iter().position(|line| line.starts_with(beginning)) {
            let line = self.passed.remove(place).expect("is there");
            return line[beginning.len()..].to_owned();
        }
        let found = tokio::time::timeout(PATIENCE, async {
            loop {
                let line = self.output.recv().await.expect("the peer lives");
                if let Some(rest) = line.strip_prefix(beginning) {
                    return rest.to_owned();
                }
                self.passed.push_back(line);
            }
        });
        let found = found.await;
        let state = self.state();
        found.unwrap_or_else(|_| {
            panic!("no {beginning:?}, but {:?}; its process is {state:?}", self.passed)
        })
    }

    /// Returns the state of the process in the kernel, such as `S` for sleeping and `T` for stopped. It tells a peer that
    /// hangs from one that is still frozen.
    fn state(&self) -> Option<char> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()?)).ok()?;
        // The process name before the state is in parentheses and may contain anything.
        stat.rsplit_once(") ")?.1.chars().next()
    }

    /// Returns the commands that the SERVER executed: id, and payload in hexadecimal digits.
    pub async fn log(&mut self) -> Vec<(u64, String)> {
        self.write("log").await;
        let log = self.report("log ").await;
        log.split(' ')
            .filter_map(|entry| entry.split_once(':'))
            .map(|(id, payload)| (id.parse().expect("an id"), payload.to_owned()))
            .collect()
    }

    /// Stops the process with SIGSTOP: its sockets stay open, and nothing answers. The process has stopped when this
    /// returns; after the signal alone, its threads could still answer.
    ///
    /// # Panics
    /// If the process has ended.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
        // Wait for the stop only, so that the end of the process is reported to its handle.
        let stopped = waitid(WaitId::Pid(self.pid()), WaitIdOptions::STOPPED);
        stopped.expect("is a child").expect("has stopped");
    }

    /// Continues a stopped process.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Kills the process and waits until it has ended.
    ///
    /// # Panics
    /// If it cannot be killed.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("can be killed");
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("can be signalled");
    }

    fn pid(&self) -> Pid {
        self.child.id().and_then(|id| Pid::from_raw(id as i32)).expect("runs")
    }
}

/// Awaits a future that must complete within the limit; otherwise the test fails.
pub async fn within<F: std::future::IntoFuture>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future.into_future()).await.expect("happens in time")
}
