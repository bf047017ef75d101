//! A cluster of server processes whose networks can be degraded: every path between two members, and the paths of the clients.

mod disk;
mod faults;
mod gate;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::atomic::AtomicU64,
    time::Duration,
};

use serde_json::Value;
use tokio::net::TcpSocket;
use zraft_cli::processes::Processes;
use zraft_client::{ClientBuilder, RaftClient};

use crate::{
    failure::Failure,
    proxy::{Direction, LinkQuality, Proxy},
};
pub use disk::Layer;
pub use faults::{Faults, ProcessFault};
use gate::Gate;

/// What passes no byte.
const NOTHING: LinkQuality =
    LinkQuality { delay: Duration::ZERO, bytes_per_second: None, blackhole: true };

/// Three server processes. Between each two of them, and before each client port, is a proxy.
#[derive(Debug)]
pub struct Cluster {
    processes: Processes,
    /// By the member that opens the connections, and the one that accepts them.
    links: BTreeMap<(String, String), Proxy>,
    /// Before the client ports, by member.
    doors: BTreeMap<String, Proxy>,
    layer: Layer,
    /// Writes that were not synced when members lost power.
    lost_writes: AtomicU64,
    _gates: Vec<Gate>,
    /// Keep the members' own ports from other processes.
    _ports: Vec<TcpSocket>,
}

impl Cluster {
    /// Makes a cluster and starts its members. `application` is the name of its state machine. What is asked of the members is given
    /// up `patience` from now on. `layer` can make their disks fail or lose
    /// writes, and set their clocks.
    ///
    /// # Errors
    /// [`Failure`] if a port cannot be opened or a member cannot be started.
    pub async fn start(
        program: &Path,
        application: &str,
        patience: Duration,
        layer: Layer,
    ) -> Result<Self, Failure> {
        let mut processes =
            Processes::prepare(program, application, patience).map_err(Failure::Member)?;
        let places: Vec<(String, SocketAddr, SocketAddr)> = processes
            .places()
            .map(|(name, found)| {
                (name.to_owned(), found.config.peer_address, found.config.client_address)
            })
            .collect();
        let (mut links, mut doors) = (BTreeMap::new(), BTreeMap::new());
        let (mut gates, mut ports) = (Vec::new(), Vec::new());
        for (to, known_at, client_address) in &places {
            // The others know the address of the gate, and the member listens at another one.
            let port = TcpSocket::new_v4()?;
            port.set_reuseaddr(true)?;
            port.bind((Ipv4Addr::LOCALHOST, 0).into())?;
            let own = port.local_addr()?;
            ports.push(port);
            processes.add_flags(to, ["--peer-address".to_owned(), own.to_string()]);
            let mut ways = BTreeMap::new();
            for (number, (from, ..)) in (1..).zip(&places) {
                if from != to {
                    let link = Proxy::start(own).await?;
                    ways.insert(number, link.address());
                    links.insert((from.clone(), to.clone()), link);
                }
            }
            gates.push(Gate::start(*known_at, ways)?);
            doors.insert(to.clone(), Proxy::start(*client_address).await?);
        }
        layer.prepare(&mut processes)?;
        processes.open_all().map_err(Failure::Member)?;
        let lost_writes = AtomicU64::new(0);
        Ok(Self { processes, links, doors, layer, lost_writes, _gates: gates, _ports: ports })
    }

    /// Returns the processes.
    #[must_use]
    pub fn processes(&self) -> &Processes {
        &self.processes
    }

    /// Keeps the folders and the logs of the members when this value is dropped, and returns where they are.
    pub fn keep(&mut self) -> &Path {
        self.processes.keep_folder()
    }

    /// Returns the names of the members.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.doors.keys().map(String::as_str)
    }

    /// Returns the proxy before the client port of a member.
    #[must_use]
    pub fn door(&self, member: &str) -> Option<&Proxy> {
        self.doors.get(member)
    }

    /// Returns the settings of a client that reaches each member through its proxy.
    pub fn client(&self) -> ClientBuilder {
        let settings = RaftClient::builder().capability("kind", "chaos");
        self.doors
            .iter()
            .fold(settings, |settings, (id, door)| settings.member(id, door.endpoint()))
    }

    /// Waits until a member serves, and returns its name.
    ///
    /// # Errors
    /// [`Failure::Member`] if none does in time.
    pub async fn leader(&self) -> Result<String, Failure> {
        let (_, status) = self.processes.cluster().leader().await.map_err(failed)?;
        Ok(status["member"].as_str().unwrap_or_default().to_owned())
    }

    /// Asks the leader to hand its leadership over.
    ///
    /// # Errors
    /// [`Failure::Member`] if it refuses.
    pub async fn hand_over(&self) -> Result<(), Failure> {
        let to_the_best = Value::Object(serde_json::Map::new());
        let asked = self.processes.cluster().change("/v1/leader/move", &to_the_best);
        asked.await.map(drop).map_err(failed)
    }

    /// Lets nothing pass from one member to another, on the connections of either. What is sent meanwhile arrives when the path is
    /// [healed](Self::heal).
    pub fn block(&self, from: &str, to: &str) {
        let link = |from: &str, to: &str| self.links.get(&(from.to_owned(), to.to_owned()));
        if let Some(dialled) = link(from, to) {
            dialled.set_link(Direction::ToServer, NOTHING);
        }
        if let Some(accepted) = link(to, from) {
            accepted.set_link(Direction::ToClient, NOTHING);
        }
    }

    /// Delays everything between members.
    pub fn delay(&self, delay: Duration) {
        let link = LinkQuality { delay, ..LinkQuality::default() };
        self.links.values().for_each(|each| each.set_links(link));
    }

    /// Ends every disturbance of the network.
    pub fn heal(&self) {
        self.links.values().chain(self.doors.values()).for_each(|each| each.heal());
    }
}

fn failed(failure: zraft_cli::cluster::Failure) -> Failure {
    Failure::Member(failure.text().to_owned())
}
