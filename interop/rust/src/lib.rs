//! Peers that others wrote, as processes: JeroMQ and libzmq, SERVER and CLIENT, steered line by line.
//!
//! `interop/prepare` builds and fetches them. Where they are missing, a test says so loudly and passes; with `CI=true` it
//! fails.

use std::{collections::VecDeque, path::PathBuf, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
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

    /// Whether it was prepared. If not: says what is left out, or fails with `CI=true`.
    ///
    /// # Panics
    /// With `CI=true`, when it was not prepared.
    pub fn is_ready(self) -> bool {
        let needed = match self {
            Self::JeroMq => folder().join("jeromq/target/lib/jeromq-0.5.4.jar"),
            Self::LibZmq => folder().join("libzmq/node_modules/zeromq/package.json"),
        };
        let ready = needed.exists();
        if !ready {
            let what =
                format!("{self:?} is not prepared (interop/prepare): its tests are LEFT OUT");
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

/// Not swallowed by the test runner's capture of the standard output.
#[allow(clippy::print_stderr)]
fn say(what: &str) {
    eprintln!("\n*** {what} ***\n");
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A peer's process. Killed when dropped; ends by itself at the end of its standard input.
#[derive(Debug)]
pub struct Peer {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    /// Reports that were read while another was waited for.
    passed: VecDeque<String>,
}

impl Peer {
    /// A SERVER on loopback, on this port or any. Gives its port.
    pub async fn server(make: Make, port: Option<u16>) -> (Self, u16) {
        let port = port.map_or("*".to_owned(), |port| port.to_string());
        let mut peer = Self::start(make.command("Server").arg(port));
        let report = peer.report("listening ").await;
        let port = report.parse().unwrap_or_else(|_| panic!("no port: {report}"));
        (peer, port)
    }

    /// A CLIENT of this endpoint.
    pub async fn client(make: Make, endpoint: &str) -> Self {
        let mut peer = Self::start(make.command("Client").arg(endpoint));
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
        let output = BufReader::new(child.stdout.take().expect("is piped")).lines();
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
                let line = self.output.next_line().await.ok().flatten().expect("the peer lives");
                if let Some(rest) = line.strip_prefix(beginning) {
                    return rest.to_owned();
                }
                self.passed.push_back(line);
            }
        });
        let found = found.await;
        found.unwrap_or_else(|_| panic!("no {beginning:?}, but {:?}", self.passed))
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

    /// Stops the process: its sockets stay, nothing answers.
    pub fn freeze(&self) {
        self.signal(rustix::process::Signal::STOP);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal(rustix::process::Signal::CONT);
    }

    /// Ends it without any warning, and waits until it is gone.
    ///
    /// # Panics
    /// When it cannot be.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("can be killed");
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = self.child.id().and_then(|id| rustix::process::Pid::from_raw(id as i32));
        rustix::process::kill_process(pid.expect("runs"), signal).expect("can be signalled");
    }
}

/// Awaits what must happen; the test fails when it does not.
pub async fn within<F: std::future::IntoFuture>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future.into_future()).await.expect("happens in time")
}
