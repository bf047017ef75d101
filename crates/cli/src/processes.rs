//! The members of a cluster as processes of `zraft server`.
//!
//! No process outlives the program. Dropping [`Processes`] kills them, and each one ends by itself when its standard input ends, which
//! covers a program that is killed.

mod process;
pub mod usage;

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    io,
    net::{Ipv4Addr, SocketAddr},
    ops::Range,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{net::TcpSocket, time::sleep};

use crate::cluster::{Cluster, Found, addresses, find, read_token};
pub use process::Ending;
use process::{PAUSE, Process};

/// The number of members: the fewest that go on while one is down.
const MEMBERS: u16 = 3;
/// The first of the adjacent ports. All are below those that Linux, macOS and Windows give to outgoing connections, so that no
/// connection takes the port of a member that is down.
const FIRST_PORT: Range<u16> = 10_000..32_000;
/// Tries to find adjacent free ports. A machine on which that many fail has hardly a free port.
const PORT_TRIES: u32 = 100;
/// The disk space that members keep in reserve. The folder is deleted with the members, so a disk that fills up loses nothing that
/// matters.
const RESERVE_BYTES: &str = "1048576";
/// The longest time that members have to end after SIGTERM. They need 5 s at most; the rest is for a busy machine.
const END_TIME: Duration = Duration::from_secs(60);

/// A member's folder, and the arguments and variables of its process.
#[derive(Debug)]
struct Place {
    found: Found,
    flags: Vec<String>,
    variables: Vec<(String, String)>,
}

/// Three members, each a process.
#[derive(Debug)]
pub struct Processes {
    program: PathBuf,
    places: BTreeMap<String, Place>,
    cluster: Cluster,
    running: Mutex<BTreeMap<String, Process>>,
    folder: PathBuf,
    // Dropped after the processes, which write into it.
    own: Option<TempDir>,
    _ports: Vec<TcpSocket>,
}

impl Processes {
    /// Makes a cluster by `zraft init`, and starts no member. `application` is the name of the state machine. Everything that is asked
    /// of the members is given up after `patience`.
    ///
    /// # Errors
    /// A text with the reason.
    pub fn prepare(program: &Path, application: &str, patience: Duration) -> Result<Self, String> {
        let folder = TempDir::with_prefix("zraft-members-")
            .map_err(|error| format!("cannot make a temporary folder: {error}"))?;
        let (first, ports) =
            reserve().map_err(|error| format!("cannot find free ports: {error}"))?;
        init(program, folder.path(), first, application)?;
        let mut members = Self::in_folder(program, folder.path(), patience)?;
        members.own = Some(folder);
        members._ports = ports;
        Ok(members)
    }

    /// Takes the members whose folders are in `folder`, and starts none. The folder is not deleted.
    ///
    /// # Errors
    /// A text with the reason.
    pub fn in_folder(program: &Path, folder: &Path, patience: Duration) -> Result<Self, String> {
        let (places, cluster) = look(folder, BTreeMap::new(), patience)?;
        Ok(Self {
            program: program.to_owned(),
            places,
            cluster,
            running: Mutex::default(),
            folder: folder.to_owned(),
            own: None,
            _ports: Vec::new(),
        })
    }

    /// Runs a command of the program, such as `["cluster", "add", "node-4"]`, and returns what it prints. Give a command of
    /// `zraft cluster` the [`folder`](Self::folder) of the members by `--dir`.
    ///
    /// # Errors
    /// A text if it fails, with what it says.
    pub async fn execute(&self, words: &[&str]) -> Result<String, String> {
        let mut command = command(&self.program);
        command.args(words).stdin(Stdio::null());
        let name = words.join(" ");
        let output = tokio::task::spawn_blocking(move || command.output()).await;
        let output = output
            .map_err(io::Error::other)
            .flatten()
            .map_err(|error| format!("cannot run zraft {name}: {error}"))?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => {
                let problem = String::from_utf8_lossy(&output.stderr);
                Err(format!("zraft {name} fails, {}: {}", output.status, problem.trim_end()))
            }
        }
    }

    /// Looks at the folders again: members that were added since can be opened, and those whose folder is gone are forgotten. `patience`
    /// begins again.
    ///
    /// # Errors
    /// A text with the reason.
    pub fn refresh(&mut self, patience: Duration) -> Result<(), String> {
        let known = std::mem::take(&mut self.places);
        (self.places, self.cluster) = look(&self.folder, known, patience)?;
        Ok(())
    }

    /// Adds flags with which a member is started from now on.
    pub fn add_flags(&mut self, name: &str, flags: impl IntoIterator<Item = String>) {
        if let Some(place) = self.places.get_mut(name) {
            place.flags.extend(flags);
        }
    }

    /// Adds a variable of the environment in which a member is started from now on.
    pub fn add_variable(&mut self, name: &str, variable: &str, value: &str) {
        if let Some(place) = self.places.get_mut(name) {
            place.variables.push((variable.to_owned(), value.to_owned()));
        }
    }

    /// Returns the folder that the members' folders are in. It is deleted with this value if [`prepare`](Self::prepare) made it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Keeps the folder when this value is dropped, and returns it.
    pub fn keep_folder(&mut self) -> &Path {
        if let Some(own) = &mut self.own {
            own.disable_cleanup(true);
        }
        &self.folder
    }

    /// Starts all members.
    ///
    /// # Errors
    /// A text with the reason.
    pub fn open_all(&self) -> Result<(), String> {
        self.places.keys().try_for_each(|name| self.open(name))
    }

    /// Returns the names of all members, with their folders and configurations.
    pub fn places(&self) -> impl Iterator<Item = (&str, &Found)> {
        self.places.iter().map(|(name, place)| (&name[..], &place.found))
    }

    /// Returns the members through their admin ports.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Returns the names of all members, with the endpoints of their client ports.
    pub fn endpoints(&self) -> impl Iterator<Item = (&str, String)> {
        self.places().map(|(name, found)| (name, format!("tcp://{}", found.config.client_address)))
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<String, Process>> {
        // Nothing panics while it holds the lock.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the process of a member that does not run.
    ///
    /// # Errors
    /// A text with the reason.
    pub fn open(&self, name: &str) -> Result<(), String> {
        let Some(place) = self.places.get(name) else { return Err(format!("no member {name}")) };
        let mut command = command(&self.program);
        command.envs(place.variables.iter().map(|(name, value)| (name, value)));
        command.arg("server").arg(&place.found.directory).args(&place.flags).args([
            "--end-with-stdin",
            "--storage-reserve-bytes",
            RESERVE_BYTES,
        ]);
        let log = self.folder.join(format!("{name}.log"));
        let process = Process::start(&mut command, log)
            .map_err(|error| format!("cannot start {}: {error}", self.program.display()))?;
        self.running().insert(name.to_owned(), process);
        Ok(())
    }

    /// Kills the process of a member by SIGKILL.
    pub fn kill(&self, name: &str) {
        let process = self.running().remove(name);
        drop(process);
    }

    /// Waits until all members have applied the same entries, and returns true if they have the same state.
    ///
    /// # Errors
    /// A text if that takes too long.
    pub async fn are_equal(&self) -> Result<bool, String> {
        loop {
            let answers = self.cluster.ask_all().await;
            let statuses: Vec<_> =
                answers.into_iter().filter_map(|answer| answer.status.ok()).collect();
            // The acknowledgements of the clients can still be on their way.
            let applied = |two: &[Value]| two[0]["log"]["applied"] == two[1]["log"]["applied"];
            if statuses.len() == self.places.len() && statuses.windows(2).all(applied) {
                return Ok(statuses
                    .windows(2)
                    .all(|two| two[0]["state_hash"] == two[1]["state_hash"]));
            }
            if !self.cluster.pause().await {
                return Err("the members do not apply the same entries".to_owned());
            }
        }
    }

    /// Freezes the process of a member by SIGSTOP.
    ///
    /// # Errors
    /// A text with the reason. Windows cannot freeze a process.
    pub fn freeze(&self, name: &str) -> Result<(), String> {
        self.signal(name, Process::freeze)
    }

    /// Lets the frozen process of a member go on by SIGCONT.
    ///
    /// # Errors
    /// A text with the reason. Windows cannot freeze a process.
    pub fn thaw(&self, name: &str) -> Result<(), String> {
        self.signal(name, Process::thaw)
    }

    fn signal(&self, name: &str, send: fn(&Process) -> io::Result<()>) -> Result<(), String> {
        match self.running().get(name) {
            Some(process) => {
                send(process).map_err(|error| format!("cannot signal {name}: {error}"))
            }
            None => Err(not_running(name)),
        }
    }

    /// Returns the number of a member's process.
    #[must_use]
    pub fn process_id(&self, name: &str) -> Option<u32> {
        self.running().get(name).map(Process::id)
    }

    /// Asks a member to end by SIGTERM. [`watch`](Self::watch) does not report its end.
    ///
    /// # Errors
    /// A text with the reason.
    pub fn terminate(&self, name: &str) -> Result<Ending, String> {
        let mut process = self.take(name)?;
        process.terminate().map_err(|error| format!("cannot stop {name}: {error}"))?;
        Ok(Ending::after_sigterm(name, process))
    }

    /// Expects a member to end by itself with this exit status. [`watch`](Self::watch) does not report its end.
    ///
    /// # Errors
    /// A text if the member does not run.
    pub fn expect_end(&self, name: &str, status: i32) -> Result<Ending, String> {
        Ok(Ending::by_itself(name, self.take(name)?, status))
    }

    fn take(&self, name: &str) -> Result<Process, String> {
        self.running().remove(name).ok_or_else(|| not_running(name))
    }

    /// Waits until a member has applied everything that the leader has committed now.
    ///
    /// # Errors
    /// A text if that takes too long.
    pub async fn caught_up(&self, name: &str) -> Result<(), String> {
        let leader = self.cluster.leader().await;
        let (_, status) = leader.map_err(|failure| failure.text().to_owned())?;
        let wanted = status["log"]["committed"].as_u64();
        loop {
            let answers = self.cluster.ask_all().await;
            let is_there = |status: &Value| {
                status["member"] == name && status["log"]["applied"].as_u64() >= wanted
            };
            if answers.iter().filter_map(|answer| answer.status.as_ref().ok()).any(is_there) {
                return Ok(());
            }
            if !self.cluster.pause().await {
                return Err(format!("{name} does not catch up"));
            }
        }
    }

    /// Waits until a member ends that was not asked to. Returns why it did.
    pub async fn watch(&self) -> String {
        loop {
            for (name, process) in self.running().iter_mut() {
                match process.end() {
                    Ok(None) => {}
                    Ok(Some(status)) => return process.complaint(name, status),
                    Err(error) => return format!("cannot watch {name}: {error}"),
                }
            }
            sleep(PAUSE).await;
        }
    }

    /// Stops all members by SIGTERM, and waits for their end.
    ///
    /// # Errors
    /// A text about a member that ends with another status than 143, or does not end within 60 s.
    pub async fn stop(&self) -> Result<(), String> {
        let names: Vec<String> = self.running().keys().cloned().collect();
        // All are asked before the first end is awaited.
        let endings: Result<Vec<_>, _> = names.iter().map(|name| self.terminate(name)).collect();
        for ending in endings? {
            ending.wait(END_TIME).await?;
        }
        Ok(())
    }
}

fn not_running(name: &str) -> String {
    format!("{name} does not run")
}

/// Finds the members in a folder. Those that are `known` keep their flags and variables.
fn look(
    folder: &Path,
    mut known: BTreeMap<String, Place>,
    patience: Duration,
) -> Result<(BTreeMap<String, Place>, Cluster), String> {
    let found = find(folder)?;
    let token = found.first().map(|found| found.config.token_file(&found.directory));
    let token = read_token(&token.unwrap_or_default())?;
    let cluster = Cluster::new(addresses(&found, |address| address), &token, patience);
    let places = found.into_iter().filter_map(|found| {
        let name = found.config.name.as_ref()?.to_string();
        let place = match known.remove(&name) {
            Some(known) => Place { found, ..known },
            None => Place { found, flags: Vec::new(), variables: Vec::new() },
        };
        Some((name, place))
    });
    Ok((places.collect(), cluster))
}

/// Returns a command that runs the program. The variables of the program's own environment must not configure its members.
fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"ZRAFT_") {
            command.env_remove(name);
        }
    }
    command
}

/// Makes the folders of the members.
fn init(program: &Path, folder: &Path, first_port: u16, application: &str) -> Result<(), String> {
    let (members, first_port) = (MEMBERS.to_string(), first_port.to_string());
    let arguments: [&OsStr; 9] = [
        "init".as_ref(),
        "--members".as_ref(),
        members.as_ref(),
        "--dir".as_ref(),
        folder.as_ref(),
        "--base-port".as_ref(),
        first_port.as_ref(),
        "--application".as_ref(),
        application.as_ref(),
    ];
    let output = command(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("cannot start {}: {error}", program.display()))?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let problem = String::from_utf8_lossy(&output.stderr);
            Err(format!("zraft init fails, {}: {}", output.status, problem.trim_end()))
        }
    }
}

/// Finds adjacent free ports for all members, and returns the first one.
///
/// On Linux the sockets keep the ports from other processes: the members listen beside them, because all of them allow the address to
/// be reused, and the sockets do not listen. Elsewhere the ports are free until the members take them.
fn reserve() -> io::Result<(u16, Vec<TcpSocket>)> {
    // Client port, peer port and admin port.
    let count = 3 * MEMBERS;
    let mut refused = None;
    for _ in 0..PORT_TRIES {
        let drawn = getrandom::u32().map_err(io::Error::other)?;
        let range = u32::from(FIRST_PORT.end - FIRST_PORT.start);
        // The remainder is below 22,000.
        let first = FIRST_PORT.start + u16::try_from(drawn % range).unwrap_or(0);
        match (first..first + count).map(bind).collect() {
            Ok(_) if !cfg!(target_os = "linux") => return Ok((first, Vec::new())),
            Ok(held) => return Ok((first, held)),
            Err(error) => refused = Some(error),
        }
    }
    Err(refused.unwrap_or_else(|| io::ErrorKind::AddrInUse.into()))
}

/// Takes a port that no one else has, and then lets a member share it.
fn bind(port: u16) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    socket.set_reuseaddr(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_ports_are_kept_from_another_cluster() {
        let (first, held) = reserve().unwrap();
        assert!(FIRST_PORT.contains(&first));
        for number in 0..held.len() {
            bind(first + u16::try_from(number).unwrap()).unwrap_err();
        }
    }
}
