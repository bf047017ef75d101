//! One running member.

mod secrets;

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::{JoinHandle, JoinSet},
    time::timeout,
};
use zraft_replica::{
    ChangeError, ChangeTicket, Config, Entropy, Introduction, Machine, MembershipChange, RaftId,
    Replica, Role,
};
use zraft_session::{Application, CheckedSettings, RestoreError};
use zraft_store::{CrashRecord, Identity, StoreError};

use crate::{
    ConfigError, CreateError, Ended, FEATURE_LEVEL, Figures, MemberConfig, Report, Status,
    TlsError, TokenError,
    admin::{self, AdminPort},
    clients::{self, ClientPort},
    clock::Clock,
    directory::{self, Opened},
    driver::{Driver, status_of},
    handle::Handle,
    history::SharedHistory,
    inputs::Control,
    latency::Latency,
    log::Leadership,
    peers::{self, PeerPort, Peers},
    ports::Ports,
    status::Counters,
    workers::{self, Threads},
};

pub(crate) use secrets::Secrets;

/// Inputs that wait for the driver. The tasks and threads that report more wait for room.
const WAITING_INPUTS: usize = 1024;
/// Batches of clients' messages that wait for the driver: at most about 64 MiB.
const WAITING_BATCHES: usize = 64;
/// The longest orderly part of a stop: a hand-over to two members one after the other, and a flush.
const STOP_TIME: Duration = Duration::from_secs(4);
/// The longest wait for the threads of a member that has stopped. A disk that hangs keeps one of them longer.
const THREADS_TIME: Duration = Duration::from_millis(500);

/// A running member of a replicated server.
///
/// It ends when this value is dropped, as if its process had been killed. [`stop`](Self::stop) hands leadership over
/// and tells the clients first.
#[derive(Debug)]
pub struct Member {
    identity: Identity,
    client_address: SocketAddr,
    peer_address: SocketAddr,
    admin_address: Option<SocketAddr>,
    handle: Handle,
    pub(crate) secrets: Secrets,
    /// The task that runs everything else; none once it was waited for.
    root: Option<JoinHandle<()>>,
    threads: Option<Threads>,
}

/// Why a member does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The data directory cannot be used. The text names the remedy.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The newest snapshot cannot be restored.
    #[error("the newest snapshot cannot be restored: {0}; start the version that wrote it")]
    Restore(#[from] RestoreError),
    /// The replica cannot start from what the store holds.
    #[error("{0}")]
    Replica(#[from] zraft_replica::StartError),
    /// The configuration cannot be used.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// A certificate or a key cannot be used.
    #[error("{0}")]
    Tls(#[from] TlsError),
    /// A new cluster cannot be made in the directory.
    #[error("{0}")]
    Create(#[from] CreateError),
    /// The builder was given no data directory.
    #[error("no data directory was given")]
    NoDirectory,
    /// The configuration belongs to another member than the data directory.
    #[error(
        "the configuration is for {wanted}, and the data directory belongs to {found}: mount the right volume, or use the directory's own configuration"
    )]
    OtherMember {
        /// The member or cluster in the configuration.
        wanted: String,
        /// The member or cluster of the directory.
        found: String,
    },
    /// The file with the token of the admin port cannot be used.
    #[error("{0}")]
    Token(#[from] TokenError),
    /// A port cannot be opened.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The system has no threads or no random numbers.
    #[error("the system cannot start a member: {0}")]
    System(#[from] io::Error),
}

impl Member {
    /// Starts the member that a data directory belongs to. `application` is the state with which a cluster begins; a
    /// snapshot in the directory replaces it.
    ///
    /// It must be called within a tokio runtime with I/O and time enabled. The member uses three threads beside the
    /// runtime's, and one each for certificates, client tokens and the admin port's tokens, if it has them.
    ///
    /// # Errors
    /// [`StartError`], whose text names the remedy.
    pub async fn start<A: Application>(
        config: MemberConfig,
        application: A,
    ) -> Result<Self, StartError> {
        let ports = Ports::open(&config)?;
        let level = application.level();
        let directory = config.directory.clone();
        let identity = {
            let directory = directory.clone();
            tokio::task::spawn_blocking(move || directory::identity(&directory)).await
        };
        let identity =
            identity.map_err(|_| io::Error::other("reading the identity panicked"))??;
        // First, because opening a large directory takes a while.
        let secrets = Secrets::start(&config, &identity).await?;
        let open = move || directory::open(&directory, application);
        let opened = tokio::task::spawn_blocking(open).await;
        let opened = opened.map_err(|_| io::Error::other("opening the directory panicked"))??;
        Self::run(config, opened, secrets, level, ports)
    }

    fn run<A: Application>(
        config: MemberConfig,
        opened: Opened<A>,
        secrets: Secrets,
        application_level: u32,
        ports: Ports,
    ) -> Result<Self, StartError> {
        let Opened { folder, identity, stopped_by, store, boot, newest, state } = opened;
        let applies = stopped_by.is_none();
        store.set_reserve(config.reserve);
        let ((clients, client_address), (peers, peer_address)) = (ports.clients, ports.peers);
        if let Some(CrashRecord { index, .. }) = &stopped_by {
            tracing::error!(
                index,
                "the application panicked twice at entry {index}: this member votes and stores, and neither applies nor leads"
            );
        }
        let (clock, machine) = (Clock::new(), Machine::new(state, boot.snapshot.index));
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).map_err(|error| io::Error::other(error.to_string()))?;
        let (entropy, no_entropy) = entropy();
        let client_endpoint = config.client_endpoint(client_address);
        let settings = Config {
            id: identity.raft_id,
            timing: config.timing,
            seed: u64::from_be_bytes(seed),
            settings: config.settings,
            feature_level: FEATURE_LEVEL,
            application_level,
            applies,
            limits: config.limits,
            client_endpoint,
        };
        let replica = Replica::new(settings, &boot, newest, machine.view(), entropy, clock.now())?;

        let counters = Arc::new(Counters::default());
        let (to_driver, inputs) = mpsc::channel(WAITING_INPUTS);
        let (from_clients, client_inputs) = mpsc::channel(WAITING_BATCHES);
        let (control, orders) = mpsc::channel(16);
        let (sender, status) = watch::channel(first_status(&replica, applies));
        let history = SharedHistory::new(machine.point());
        let handle =
            Handle { control, status, counters: counters.clone(), history: history.clone() };
        let admin = ports.admin.zip(secrets.admin_tokens.clone());
        let admin = admin.map(|((listener, address), tokens)| {
            let port = AdminPort {
                handle: handle.clone(),
                identity: identity.clone(),
                address,
                client_address,
                peer_address,
                tokens,
                backups: AdminPort::backups(),
                tls: secrets.tls.clone(),
            };
            (Arc::new(port), listener)
        });
        let admin_address = admin.as_ref().map(|(port, _)| port.address);
        for warning in exposed(client_address, peer_address, admin_address, &secrets) {
            tracing::warn!("{warning}");
            counters.events.add(warning);
        }
        let (workers, threads) =
            workers::start(store, (machine, history), folder, to_driver.clone(), counters.clone())?;
        let peer_port = Arc::new(PeerPort {
            id: identity.raft_id,
            inputs: to_driver,
            limits: config.ports.clone(),
            counters: counters.clone(),
            tls: secrets.tls.clone(),
        });
        let client_port = Arc::new(ClientPort {
            inputs: from_clients,
            limits: config.ports,
            counters: counters.clone(),
            tls: secrets.tls.clone(),
            tokens: secrets.client_tokens.clone(),
            origin: tokio::time::Instant::now(),
        });
        let introduction = Introduction {
            cluster: identity.cluster,
            incarnation: identity.incarnation,
            address: address_of(&replica, identity.raft_id, peer_address),
        };
        let driver = Driver {
            replica,
            clock,
            introduction,
            inputs,
            clients: client_inputs,
            control: orders,
            workers,
            peers: Peers::new(peer_port.clone()),
            connections: HashMap::new(),
            status: sender.clone(),
            counters,
            no_entropy,
            writing: None,
            begun: Vec::new(),
            stopping: false,
            leadership: Leadership::default(),
            latency: Latency::default(),
            stopped_by,
            secrets: secrets.clone(),
        };
        let root = tokio::spawn(async move {
            let clients = (client_port, clients);
            let ended = serve(driver, clients, (peer_port, peers), admin).await;
            sender.send_modify(|status| status.ended = Some(Arc::new(ended)));
        });
        let (root, threads) = (Some(root), Some(threads));
        Ok(Self {
            identity,
            client_address,
            peer_address,
            admin_address,
            handle,
            secrets,
            root,
            threads,
        })
    }

    /// Returns whose data directory it is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Returns the address of the client port.
    #[must_use]
    pub fn client_address(&self) -> SocketAddr {
        self.client_address
    }

    /// Returns the address of the peer port.
    #[must_use]
    pub fn peer_address(&self) -> SocketAddr {
        self.peer_address
    }

    /// Returns the address of the admin port; none if there is no such port.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_address
    }

    /// Returns the member's state, as of its last step.
    #[must_use]
    pub fn status(&self) -> Status {
        self.handle.status()
    }

    /// Returns everything that the member knows of itself and the others, or none if it has ended.
    pub async fn report(&self) -> Option<Report> {
        self.handle.report().await
    }

    /// Returns a receiver of the member's states. It skips states that it is too slow to see.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.handle.status.clone()
    }

    /// Returns the figures since the start.
    #[must_use]
    pub fn figures(&self) -> Figures {
        self.handle.figures()
    }

    /// Waits until `wanted` returns true for the member's state, and returns that state.
    ///
    /// # Errors
    /// Why the member ended before.
    pub async fn wait_for(
        &self,
        mut wanted: impl FnMut(&Status) -> bool,
    ) -> Result<Status, Arc<Ended>> {
        let mut status = self.handle.status.clone();
        let found = status.wait_for(|status| status.ended.is_some() || wanted(status)).await;
        let Ok(found) = found else { return Err(Arc::new(Ended::Killed)) };
        let found = found.clone();
        match (&found.ended, wanted(&found)) {
            (Some(ended), false) => Err(ended.clone()),
            _ => Ok(found),
        }
    }

    /// Waits until the member has ended by itself, and returns why.
    pub async fn ended(&self) -> Arc<Ended> {
        let mut status = self.handle.status.clone();
        match status.wait_for(|status| status.ended.is_some()).await {
            Ok(status) => status.ended.clone().unwrap_or_else(|| Arc::new(Ended::Killed)),
            Err(_) => Arc::new(Ended::Killed),
        }
    }

    /// Begins to hand leadership over, to this member or to the one with the most of the log. Does nothing on a member
    /// that does not lead. The [`status`](Self::status) shows what comes of it.
    pub async fn hand_over(&self, to: Option<RaftId>) {
        self.handle.hand_over(to).await;
    }

    /// Proposes a change of the membership. The configuration in the [`status`](Self::status) shows when it is in force.
    ///
    /// # Errors
    /// [`ChangeError`] if nothing was proposed. A member that has ended does not lead.
    pub async fn change_membership(
        &self,
        change: MembershipChange,
    ) -> Result<ChangeTicket, ChangeError> {
        self.handle.change_membership(change).await
    }

    /// Proposes new replicated settings. The settings in the [`report`](Self::report) show when they are in force.
    ///
    /// # Errors
    /// [`ChangeError`] if nothing was proposed.
    pub async fn change_settings(&self, settings: CheckedSettings) -> Result<(), ChangeError> {
        self.handle.change_settings(settings).await
    }

    /// Begins a snapshot of what this member has applied, so that its log becomes shorter. Does nothing if the newest
    /// snapshot already holds everything. The [`report`](Self::report) shows when it is complete.
    pub async fn take_snapshot(&self) {
        self.handle.take_snapshot().await;
    }

    /// Lets replicated time follow the wall clock of this member, which leapt ahead. Call it after checking the clock.
    pub async fn accept_clock_jump(&self) {
        self.handle.accept_clock_jump().await;
    }

    /// Stops the member: it hands leadership over, tells the clients where to go, and finishes its writes. Returns why
    /// it ended, which is [`Ended::Stopped`] unless something went wrong before, or [`Ended::Killed`] if it could not do
    /// all of this in time. Takes less than 5 s.
    ///
    /// The data directory is free when this returns, unless the disk hangs.
    pub async fn stop(mut self) -> Arc<Ended> {
        let control = self.handle.control.clone();
        let root = self.root.as_mut();
        let orderly = async {
            // A member that has ended needs no order.
            let _ = control.send(Control::Stop).await;
            if let Some(root) = root {
                let _ = root.await;
            }
        };
        if timeout(STOP_TIME, orderly).await.is_ok() {
            self.root = None;
        }
        // Its writes are finished. A snapshot that is still being written can be taken again.
        if let Some(threads) = &self.threads {
            threads.abandon();
        }
        let _ = timeout(THREADS_TIME, self.end()).await;
        let ended = self.handle.status.borrow().ended.clone();
        ended.unwrap_or_else(|| Arc::new(Ended::Killed))
    }

    /// Ends the member abruptly, as `kill -9` does: connections break, and what was not durable is lost.
    ///
    /// The data directory is free when this returns.
    pub async fn kill(mut self) {
        if let Some(threads) = &self.threads {
            threads.abandon();
        }
        self.end().await;
    }

    async fn end(&mut self) {
        if let Some(root) = self.root.take() {
            root.abort();
            // Either it was aborted, or it had ended.
            let _ = root.await;
        }
        if let Some(threads) = self.threads.take() {
            threads.join().await;
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(threads) = &self.threads {
            threads.abandon();
        }
        if let Some(root) = &self.root {
            root.abort();
        }
    }
}

/// Runs the ports and the driver. Dropping the future ends all of them.
async fn serve(
    driver: Driver,
    (client_port, clients): (Arc<ClientPort>, TcpListener),
    (peer_port, peers): (Arc<PeerPort>, TcpListener),
    admin: Option<(Arc<AdminPort>, TcpListener)>,
) -> Ended {
    let (close, closing) = watch::channel(false);
    let mut tasks = JoinSet::new();
    tasks.spawn(peers::listen(peer_port, peers));
    if let Some((port, listener)) = admin {
        tasks.spawn(admin::listen(port, listener));
    }
    let mut client_tasks = JoinSet::new();
    client_tasks.spawn(clients::listen(client_port, clients, closing));
    let ended = driver.run().await;
    close.send_replace(true);
    if matches!(ended, Ended::Stopped) {
        // Each connection has a limit for its flush.
        while client_tasks.join_next().await.is_some() {}
    }
    ended
}

/// Returns a warning for each port without TLS that other machines can reach.
fn exposed(
    client: SocketAddr,
    peer: SocketAddr,
    admin: Option<SocketAddr>,
    secrets: &Secrets,
) -> Vec<String> {
    let tls = &secrets.tls;
    let ports = [
        (
            "client",
            Some(client),
            tls.has_client_port(),
            "everyone who reads its traffic can take sessions over",
        ),
        ("peer", Some(peer), tls.has_peer_port(), "everyone who reaches it can act as a member"),
        (
            "admin",
            admin,
            tls.has_admin_port(),
            "everyone who reads its traffic learns the token of operators",
        ),
    ];
    let exposed = ports.into_iter().filter_map(|(port, address, has_tls, danger)| {
        let address = address.filter(|address| !address.ip().is_loopback() && !has_tls)?;
        Some(format!("the {port} port at {address} has no certificate: {danger}"))
    });
    exposed.collect()
}

/// The address at which the others know this member, or find it until they do.
fn address_of(replica: &Replica, id: RaftId, listening: SocketAddr) -> String {
    let known = replica.configuration().members.get(&id);
    known.map_or_else(|| listening.to_string(), |info| info.address.clone())
}

/// The random numbers of the operating system, and a flag that is set when it has none. The driver ends the member then,
/// before anything that was drawn leaves it.
fn entropy() -> (Entropy, Arc<AtomicBool>) {
    let failed = Arc::new(AtomicBool::new(false));
    let flag = failed.clone();
    let entropy = Box::new(move |bytes: &mut [u8]| {
        if getrandom::fill(bytes).is_err() {
            flag.store(true, Ordering::Release);
        }
    });
    (entropy, failed)
}

fn first_status(replica: &Replica, applies: bool) -> Status {
    let empty = Status {
        role: Role::Follower,
        term: 0,
        leader: None,
        serving: false,
        handing_over: false,
        last_index: 0,
        committed: 0,
        applied: 0,
        applies,
        sessions: 0,
        history: replica.view().history,
        configuration: Arc::default(),
        ended: None,
    };
    status_of(replica, &empty)
}
