use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use zraft_protocol::{MemberId, Timestamp};
use zraft_session::applications::KvStore;
use zraft_session::{Application, StateMachine};

use super::handle::ClusterHandle;
use super::limits::TransportLimits;
use super::listener::accept;
use super::port::Port;
use super::shared::{Shared, instant_since};
use super::stream::{Address, reserve};
use super::test_cluster::TestCluster;
use super::timer;
use crate::engine::{Engine, EngineConfig, Limits, MemberIndex};

/// The settings with which a [`TestCluster`] starts.
pub struct ClusterBuilder {
    config: EngineConfig,
    machine: Box<StateMachine<dyn Application>>,
    limits: TransportLimits,
    bind: Bind,
    /// False if a member was given an id that the protocol does not allow.
    valid_ids: bool,
}

enum Bind {
    Tcp {
        address: IpAddr,
        base_port: u16,
    },
    #[cfg(unix)]
    Ipc(std::path::PathBuf),
}

/// Why a cluster cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The cluster has no member.
    #[error("a cluster needs at least one member")]
    NoMembers,
    /// Two members have the same id, or an id is empty or too long.
    #[error("a member id is used twice, empty or longer than 65,535 bytes")]
    MemberId,
    /// The last member's port would be above 65,535.
    #[error("there are not enough ports above {0}; choose a lower first port")]
    PortRange(u16),
    /// A port cannot be opened, because another process uses it, for example.
    #[error("cannot listen on {endpoint}: {error}")]
    Listen {
        /// The endpoint of the member.
        endpoint: String,
        /// The error of the operating system.
        error: String,
    },
}

impl Default for ClusterBuilder {
    fn default() -> Self {
        Self {
            config: EngineConfig::new(Vec::new()),
            machine: Box::new(StateMachine::new(KvStore::new())),
            limits: TransportLimits::default(),
            bind: Bind::Tcp { address: IpAddr::V4(Ipv4Addr::LOCALHOST), base_port: 0 },
            valid_ids: true,
        }
        .members(1)
    }
}

impl TestCluster {
    /// Returns the settings of a new cluster: one member that runs the key-value store on a free port.
    pub fn builder() -> ClusterBuilder {
        ClusterBuilder::default()
    }
}

impl ClusterBuilder {
    /// Sets the number of members. Their ids are node-1, node-2 and so on. Default 1.
    #[must_use]
    pub fn members(self, count: usize) -> Self {
        let ids = (1..=count).map(|number| format!("node-{number}"));
        self.member_ids(ids)
    }

    /// Sets the members' ids, and with them the number of members.
    #[must_use]
    pub fn member_ids<I: Into<String>>(mut self, ids: impl IntoIterator<Item = I>) -> Self {
        let ids: Result<_, _> = ids.into_iter().map(|id| MemberId::new(id.into())).collect();
        // `start` reports an invalid id.
        self.valid_ids = ids.is_ok();
        self.config.members = ids.unwrap_or_default();
        self
    }

    /// Sets the application that the cluster runs. Default [`KvStore`].
    #[must_use]
    pub fn app(mut self, app: impl Application) -> Self {
        self.machine = Box::new(StateMachine::new(app));
        self
    }

    /// Sets [`EngineConfig::commit_delay`].
    #[must_use]
    pub fn commit_delay(mut self, delay: Duration) -> Self {
        self.config.commit_delay = delay;
        self
    }

    /// Sets [`EngineConfig::commits_per_second`].
    #[must_use]
    pub fn commits_per_second(mut self, rate: Option<u32>) -> Self {
        self.config.commits_per_second = rate;
        self
    }

    /// Sets [`EngineConfig::session_timeout`].
    #[must_use]
    pub fn session_timeout(mut self, timeout: Duration) -> Self {
        self.config.session_timeout = timeout;
        self
    }

    /// Sets [`EngineConfig::expiry_tick`].
    #[must_use]
    pub fn expiry_tick(mut self, tick: Duration) -> Self {
        self.config.expiry_tick = tick;
        self
    }

    /// Sets [`EngineConfig::redelivery_interval`].
    #[must_use]
    pub fn redelivery_interval(mut self, interval: Duration) -> Self {
        self.config.redelivery_interval = interval;
        self
    }

    /// Sets [`EngineConfig::election_pause`].
    #[must_use]
    pub fn election_pause(mut self, pause: Duration) -> Self {
        self.config.election_pause = pause;
        self
    }

    /// Sets [`EngineConfig::stop_linger`].
    #[must_use]
    pub fn stop_linger(mut self, linger: Duration) -> Self {
        self.config.stop_linger = linger;
        self
    }

    /// Sets the seed from which session ids and random choices are drawn. Default 0.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.config.seed = seed;
        self
    }

    /// Sets the limits on what peers and sessions can use.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.config.limits = limits;
        self
    }

    /// Sets the limits on what connections can use.
    #[must_use]
    pub fn transport_limits(mut self, limits: TransportLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the first member's TCP port. The other members get the ports that follow. With 0, the default, each member
    /// gets a free port.
    #[must_use]
    pub fn base_port(mut self, port: u16) -> Self {
        let address = match self.bind {
            Bind::Tcp { address, .. } => address,
            #[cfg(unix)]
            Bind::Ipc(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        };
        self.bind = Bind::Tcp { address, base_port: port };
        self
    }

    /// Sets the address to bind. Default 127.0.0.1.
    ///
    /// The cluster does not authenticate clients: on any other than a loopback address, everyone who can reach it can
    /// use it.
    #[must_use]
    pub fn bind_address(mut self, to: IpAddr) -> Self {
        let base_port = match self.bind {
            Bind::Tcp { base_port, .. } => base_port,
            #[cfg(unix)]
            Bind::Ipc(_) => 0,
        };
        self.bind = Bind::Tcp { address: to, base_port };
        self
    }

    /// Binds `ipc://` sockets in this directory instead of TCP ports, one for each member, named after its id.
    #[cfg(unix)]
    #[must_use]
    pub fn ipc_directory(mut self, directory: impl Into<std::path::PathBuf>) -> Self {
        self.bind = Bind::Ipc(directory.into());
        self
    }

    /// Starts the cluster on the current tokio runtime. All ports are open when this returns.
    ///
    /// # Errors
    /// [`StartError`] if a member id is invalid, there is no member, or a port cannot be opened.
    pub async fn start(mut self) -> Result<TestCluster, StartError> {
        let members = &self.config.members;
        if !self.valid_ids {
            return Err(StartError::MemberId);
        }
        if members.is_empty() {
            return Err(StartError::NoMembers);
        }
        for (index, member) in members.iter().enumerate() {
            if members[..index].contains(member) {
                return Err(StartError::MemberId);
            }
        }
        let (alive, ended) = mpsc::channel(1);
        let mut ports = Vec::new();
        for index in 0..members.len() {
            ports.push(self.open(index, &alive)?);
        }
        let origin = tokio::time::Instant::now();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.config.wall_origin =
            Timestamp::from_millis(i64::try_from(wall.as_millis()).unwrap_or(i64::MAX));
        // No client can use an address that means every interface.
        let endpoint = |port: &Port| port.reachable().unwrap_or_default();
        self.config.endpoints = ports.iter().map(endpoint).collect();
        let count = ports.len();
        let engine = Engine::of(self.config, self.machine, instant_since(origin));
        let shared = Arc::new(Shared::new(engine, ports, self.limits, origin));
        for index in 0..count {
            tokio::spawn(accept(shared.clone(), MemberIndex(index), alive.clone()));
        }
        tokio::spawn(timer::run(shared.clone(), alive));
        Ok(TestCluster::new(ClusterHandle::new(shared), ended))
    }

    fn open(&self, index: usize, alive: &mpsc::Sender<()>) -> Result<Port, StartError> {
        let (address, reservation) = match &self.bind {
            Bind::Tcp { address, base_port } => {
                let port = match base_port {
                    0 => 0,
                    base => u16::try_from(usize::from(*base) + index)
                        .map_err(|_| StartError::PortRange(*base))?,
                };
                let wanted = SocketAddr::new(*address, port);
                let (reservation, address) =
                    reserve(wanted).map_err(|error| StartError::Listen {
                        endpoint: format!("tcp://{wanted}"),
                        error: error.to_string(),
                    })?;
                (Address::Tcp(address), reservation)
            }
            #[cfg(unix)]
            Bind::Ipc(directory) => {
                let name = format!("{}.sock", self.config.members[index].as_str());
                (Address::Ipc(directory.join(name)), None)
            }
        };
        let mut port = Port::new(address, reservation, alive.clone());
        port.open(&tokio::runtime::Handle::current());
        match port.error() {
            Some(error) => {
                Err(StartError::Listen { endpoint: port.endpoint(), error: error.to_owned() })
            }
            None => Ok(port),
        }
    }
}

impl std::fmt::Debug for ClusterBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClusterBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}
