//! What an operator does to server processes by `zraft cluster`: members added, replaced and removed.

use std::{
    collections::BTreeMap,
    fs, io,
    net::{Ipv4Addr, TcpListener},
    path::Path,
    time::Duration,
};

use zraft_cli::processes::{Ending, Processes};

use super::{PATIENCE, callers::leader};
use crate::failure::Failure;

/// The limit of one command of `zraft cluster`. It is far longer than the longest one takes.
const COMMAND_SECONDS: &str = "900";
/// A member that the cluster has removed ends by itself within this time, with this status.
const END: Duration = Duration::from_secs(30);
const REMOVED: i32 = 5;

/// Server processes and their operator.
pub(super) struct Operator {
    pub(super) members: Processes,
    /// The client ports of the members that can be added.
    ports: BTreeMap<&'static str, u16>,
}

impl Operator {
    /// Starts three members with the append log, and waits until one leads. `new` names the members that can be added.
    pub(super) async fn start(program: &Path, new: &[&'static str]) -> Result<Self, Failure> {
        let members = Processes::prepare(program, "append-log", PATIENCE);
        let members = members.map_err(Failure::Member)?;
        members.open_all().map_err(Failure::Member)?;
        leader(&members).await?;
        let ports = free_ports(new.len())?;
        Ok(Self { members, ports: new.iter().copied().zip(ports).collect() })
    }

    /// Returns the names of the members that can be added, with the endpoints that they will have.
    pub(super) fn later(&self) -> impl Iterator<Item = (&'static str, String)> {
        self.ports.iter().map(|(name, port)| (*name, format!("tcp://127.0.0.1:{port}")))
    }

    /// Runs a command of `zraft cluster`.
    pub(super) async fn cluster(&self, words: &[&str]) -> Result<String, Failure> {
        let folder = self.members.folder().to_string_lossy().into_owned();
        let words =
            [&["cluster"], words, &["--dir", &folder, "--timeout", COMMAND_SECONDS]].concat();
        self.members.execute(&words).await.map_err(Failure::Member)
    }

    /// Starts the member that `words` add, and waits until it votes and has applied everything.
    async fn join(&mut self, words: &[&str], new: &str) -> Result<(), Failure> {
        let port = self.ports.get(new).copied().unwrap_or(0);
        let address = format!("127.0.0.1:{port}");
        self.cluster(&[words, &[new, "--client-address", &address]].concat()).await?;
        self.members.refresh(PATIENCE).map_err(Failure::Member)?;
        self.members.open(new).map_err(Failure::Member)?;
        self.cluster(&["promote", new]).await?;
        // It votes before its state machine has taken the snapshot.
        self.members.caught_up(new).await.map_err(Failure::Member)
    }

    pub(super) async fn add(&mut self, new: &str) -> Result<(), Failure> {
        self.join(&["add"], new).await
    }

    pub(super) async fn remove(&mut self, name: &str) -> Result<(), Failure> {
        let ending = self.ending(name)?;
        self.cluster(&["remove", name]).await?;
        self.removed(name, ending).await
    }

    /// Kills a member, loses its folder, and replaces it.
    pub(super) async fn replace_lost(&mut self, lost: &str, new: &str) -> Result<(), Failure> {
        self.members.kill(lost);
        self.delete(lost)?;
        self.join(&["replace", lost], new).await
    }

    /// Replaces a member that runs.
    pub(super) async fn replace_running(&mut self, old: &str, new: &str) -> Result<(), Failure> {
        let ending = self.ending(old)?;
        self.join(&["replace", old], new).await?;
        self.removed(old, ending).await
    }

    fn ending(&self, name: &str) -> Result<Ending, Failure> {
        self.members.expect_end(name, REMOVED).map_err(Failure::Member)
    }

    /// Waits until a removed member has ended, and deletes its folder.
    async fn removed(&mut self, name: &str, ending: Ending) -> Result<(), Failure> {
        ending.wait(END).await.map_err(Failure::Member)?;
        self.delete(name)
    }

    fn delete(&mut self, name: &str) -> Result<(), Failure> {
        fs::remove_dir_all(self.members.folder().join(name))?;
        self.members.refresh(PATIENCE).map_err(Failure::Member)
    }
}

/// Returns ports that were free a moment ago.
fn free_ports(count: usize) -> io::Result<Vec<u16>> {
    let bind = |_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let listeners = (0..count).map(bind).collect::<io::Result<Vec<_>>>()?;
    listeners.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}
