//! Peers that others wrote, as processes: JeroMQ and libzmq, SERVER and CLIENT, steered line by line.
//!
//! `verification/interop/prepare` builds and fetches them. Where they are missing, a test says so loudly and passes; with `CI=true` it
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

/// Nothing that a test waits for takes this long.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whose implementation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Make {
    /// JeroMQ 0.5.4, as the live server has it.
    JeroMq,
    /// libzmq, by the npm package `zeromq`.
    LibZmq,
}

impl Make {
    /// Both.
    pub const ALL: [Self; 2] = [Self::JeroMq, Self::LibZmq];

    /// Those that can be run. Of the others it says what is left out, or fails with `CI=true`.
    ///
    /// # Panics
    /// With `CI=true`, when one cannot be run.
    pub fn ready() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|make| make.is_ready())
    }

    /// Whether it was prepared and can be run. If not: says what is left out, or fails with `CI=true`.
    ///
    /// # Panics
    /// With `CI=true`, when it cannot be run.
    pub fn is_ready(self) -> bool {
        let (needed, runtime, version) = match self {
            Self::JeroMq => ("jeromq/target/lib/jeromq-0.5.4.jar", "java", "-version"),
            Self::LibZmq => ("libzmq/node_modules/zeromq/package.json", "node", "--version"),
        };
        let ready = folder().join(needed).exists() && runs(runtime, version);
        if !ready {
            let what = format!(
                "{self:?} cannot be run ({runtime}, then verification/interop/prepare): its tests are LEFT OUT"
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
                // Small and quick to start: it serves one test.
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

/// To the stream itself: the test runner swallows what a passing test prints by macro.
fn say(what: &str) {
    // Nobody may be there to read it.
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

/// A peer's process. Killed when dropped; ends by itself at the end of its standard input.
#[derive(Debug)]
pub struct Peer {
    child: Child,
    input: ChildStdin,
    /// Read at once, whoever waits for it: a peer whose pipe is full would stand still.
    output: mpsc::UnboundedReceiver<String>,
    /// Reports that were read while another was waited for.
    passed: VecDeque<String>,
}

impl Peer {
    /// A SERVER on loopback, on this port or any. Gives its port.
    pub async fn server(make: Make, port: Option<u16>) -> (Self, u16) {
        let port = port.map_or("*".to_owned(), |port| port.to_string());
        Self::server_with(make, &[&format!("port={port}")]).await
    }

    /// A SERVER on any port of loopback, or on that of an earlier one, which knows what the state holds.
    pub async fn server_keeping(make: Make, state: &State, port: Option<u16>) -> (Self, u16) {
        let port = port.map_or("*".to_owned(), |port| port.to_string());
        let arguments = [format!("port={port}"), format!("state={}", state.path().display())];
        Self::server_with(make, &arguments.each_ref().map(String::as_str)).await
    }

    /// The server program with these arguments.
    ///
    /// # Panics
    /// When it does not listen.
    pub async fn server_with(make: Make, arguments: &[&str]) -> (Self, u16) {
        let mut peer = Self::start(make.command("Server").args(arguments));
        let report = peer.report("listening ").await;
        let port = report.parse().unwrap_or_else(|_| panic!("no port: {report}"));
        (peer, port)
    }

    /// A CLIENT of this endpoint, with the live client's heartbeat.
    pub async fn client(make: Make, endpoint: &str) -> Self {
        Self::client_with(make, endpoint, &[]).await
    }

    /// The client program on this endpoint with these arguments.
    pub async fn client_with(make: Make, endpoint: &str, arguments: &[&str]) -> Self {
        let mut command = make.command("Client");
        let mut peer = Self::start(command.arg(format!("endpoint={endpoint}")).args(arguments));
        peer.report("connecting").await;
        peer
    }

    /// Any program that keeps to the line protocol.
    ///
    /// # Panics
    /// When it cannot be started.
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

    /// Tells it to do something, and waits until it did.
    pub async fn tell(&mut self, command: &str) {
        self.write(command).await;
        let word = command.split(' ').next().unwrap_or_default();
        self.report(&format!("done {word}")).await;
    }

    /// Tells it to do something.
    ///
    /// # Panics
    /// When it is gone.
    pub async fn write(&mut self, command: &str) {
        let line = format!("{command}\n");
        self.input.write_all(line.as_bytes()).await.expect("the peer lives");
        self.input.flush().await.expect("the peer lives");
    }

    /// The next report that begins like this; gives the rest of it. Others stay for later.
    ///
    /// # Panics
    /// When it does not come.
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

    /// What the kernel says of the process, `S` for sleeping and `T` for stopped, to tell a peer that hangs from one that
    /// was never thawed.
    fn state(&self) -> Option<char> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()?)).ok()?;
        // The name before it is in parentheses and may hold anything.
        stat.rsplit_once(") ")?.1.chars().next()
    }

    /// What the SERVER applied: id and payload in hexadecimal.
    pub async fn log(&mut self) -> Vec<(u64, String)> {
        self.write("log").await;
        let log = self.report("log ").await;
        log.split(' ')
            .filter_map(|entry| entry.split_once(':'))
            .map(|(id, payload)| (id.parse().expect("an id"), payload.to_owned()))
            .collect()
    }

    /// Stops the process: its sockets stay, nothing answers. It stands still when this returns: the signal alone would
    /// leave its threads a moment in which to answer.
    ///
    /// # Panics
    /// When it cannot be.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
        // Waits for the stop only, so that the end of the process is left to its handle.
        let stopped = waitid(WaitId::Pid(self.pid()), WaitIdOptions::STOPPED);
        stopped.expect("is a child").expect("has stopped");
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Ends it without any warning, and waits until it is gone.
    ///
    /// # Panics
    /// When it cannot be.
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

/// Awaits what must happen; the test fails when it does not.
pub async fn within<F: std::future::IntoFuture>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future.into_future()).await.expect("happens in time")
}
