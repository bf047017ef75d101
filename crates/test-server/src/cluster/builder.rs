use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{Notify, mpsc};
use zraft_protocol::{MemberId, Timestamp};

use super::handle::ClusterHandle;
use super::listener::accept;
use super::shared::{Port, Shared, instant_since};
use super::stream::{Address, reserve};
use super::{TestCluster, timer};
use crate::application::Application;
use crate::apps::KvStore;
use crate::engine::{Engine, EngineConfig, Limits, MemberIndex};

/// What a connection can use up. One that would pass a limit is closed, and counted in
/// [`TransportStats`](super::TransportStats).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TransportLimits {
    /// Bytes of one ZMTP frame; 16 MiB and 64 KiB.
    pub message_size: usize,
    /// Bytes queued for one peer; 64 MiB. From half of it on nothing is read from that peer.
    pub queued_bytes: usize,
    /// How long a connection may be without a byte from its peer; 5 minutes.
    pub idle_timeout: Duration,
    /// How long a handshake may take; 5 s.
    pub handshake_timeout: Duration,
    /// Connections of one member that may be shaking hands at a time; 1,024.
    pub handshakes: usize,
}

impl Default for TransportLimits {
    fn default() -> Self {
        Self {
            message_size: (16 << 20) + (64 << 10),
            queued_bytes: 64 << 20,
            idle_timeout: Duration::from_secs(300),
            handshake_timeout: Duration::from_secs(5),
            handshakes: 1024,
        }
    }
}

/// Makes a [`TestCluster`].
pub struct ClusterBuilder {
    config: EngineConfig,
    app: Box<dyn Application>,
    limits: TransportLimits,
    bind: Bind,
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

/// A cluster cannot be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A cluster has at least one member.
    #[error("a cluster needs at least one member")]
    NoMembers,
    /// Two members have the same id, or an id cannot be one.
    #[error("a member's id is used twice or cannot be one")]
    MemberId,
    /// The last member's port would be above 65,535.
    #[error("there are not enough ports above {0}")]
    PortRange(u16),
    /// A port could not be opened: choose another.
    #[error("cannot listen on {endpoint}: {error}")]
    Listen {
        /// Where.
        endpoint: String,
        /// What the system said.
        error: String,
    },
}

impl Default for ClusterBuilder {
    fn default() -> Self {
        Self {
            config: EngineConfig::new(Vec::new()),
            app: Box::new(KvStore::new()),
            limits: TransportLimits::default(),
            bind: Bind::Tcp { address: IpAddr::V4(Ipv4Addr::LOCALHOST), base_port: 0 },
            valid_ids: true,
        }
        .members(1)
    }
}

impl ClusterBuilder {
    /// `count` members, node-1, node-2, …; 1 unless told otherwise.
    #[must_use]
    pub fn members(self, count: usize) -> Self {
        let ids = (1..=count).map(|number| format!("node-{number}"));
        self.member_ids(ids)
    }

    /// Members with these ids.
    #[must_use]
    pub fn member_ids<I: Into<String>>(mut self, ids: impl IntoIterator<Item = I>) -> Self {
        let ids: Result<_, _> = ids.into_iter().map(|id| MemberId::new(id.into())).collect();
        // One that cannot be an id is reported at the start.
        self.valid_ids = ids.is_ok();
        self.config.members = ids.unwrap_or_default();
        self
    }

    /// What the cluster replicates; the [`KvStore`] unless told otherwise.
    #[must_use]
    pub fn app(mut self, app: impl Application + 'static) -> Self {
        self.app = Box::new(app);
        self
    }

    /// See [`EngineConfig::commit_delay`].
    #[must_use]
    pub fn commit_delay(mut self, delay: Duration) -> Self {
        self.config.commit_delay = delay;
        self
    }

    /// See [`EngineConfig::commits_per_second`].
    #[must_use]
    pub fn commits_per_second(mut self, rate: Option<u32>) -> Self {
        self.config.commits_per_second = rate;
        self
    }

    /// See [`EngineConfig::session_timeout`].
    #[must_use]
    pub fn session_timeout(mut self, timeout: Duration) -> Self {
        self.config.session_timeout = timeout;
        self
    }

    /// See [`EngineConfig::expiry_tick`].
    #[must_use]
    pub fn expiry_tick(mut self, tick: Duration) -> Self {
        self.config.expiry_tick = tick;
        self
    }

    /// See [`EngineConfig::redelivery_interval`].
    #[must_use]
    pub fn redelivery_interval(mut self, interval: Duration) -> Self {
        self.config.redelivery_interval = interval;
        self
    }

    /// See [`EngineConfig::election_pause`].
    #[must_use]
    pub fn election_pause(mut self, pause: Duration) -> Self {
        self.config.election_pause = pause;
        self
    }

    /// See [`EngineConfig::stop_linger`].
    #[must_use]
    pub fn stop_linger(mut self, linger: Duration) -> Self {
        self.config.stop_linger = linger;
        self
    }

    /// What session ids and random choices are made of; 0 unless told otherwise.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.config.seed = seed;
        self
    }

    /// What peers and sessions can use up.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.config.limits = limits;
        self
    }

    /// What connections can use up.
    #[must_use]
    pub fn transport_limits(mut self, limits: TransportLimits) -> Self {
        self.limits = limits;
        self
    }

    /// The first member's TCP port; the others follow on the next ones. 0, the default: each member
    /// gets a free one.
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

    /// The address to bind; 127.0.0.1 unless told otherwise. Nothing here asks who a client is:
    /// think twice before binding another than a loopback address.
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

    /// Binds `ipc://` sockets in this directory instead of TCP ports, one for each member, named by
    /// its id.
    #[cfg(unix)]
    #[must_use]
    pub fn ipc_directory(mut self, directory: impl Into<std::path::PathBuf>) -> Self {
        self.bind = Bind::Ipc(directory.into());
        self
    }

    /// Starts the cluster on the present runtime. All ports are open when this returns.
    ///
    /// # Errors
    /// When the members are not as they must be, or a port cannot be opened.
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
        let count = ports.len();
        let engine = Engine::new(self.config, self.app, instant_since(origin));
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
        let mut port = Port {
            address,
            listener: None,
            held: false,
            reservation,
            error: None,
            wake: Arc::new(Notify::new()),
            alive: Some(alive.clone()),
        };
        port.open(&tokio::runtime::Handle::current());
        match port.error.take() {
            Some(error) => Err(StartError::Listen { endpoint: port.address.endpoint(), error }),
            None => Ok(port),
        }
    }
}

impl std::fmt::Debug for ClusterBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClusterBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}
