//! The settings with which a cluster starts.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use zraft_protocol::MemberId;
use zraft_server::{LocalCluster, LocalClusterError, MemberConfig, Timing};
use zraft_session::{Application, CheckedSettings, Settings, SettingsError};
use zraft_test_server::KvStore;

use crate::application::Recorded;
use crate::cluster::TestCluster;
use crate::doors::{Address, Doors};
use crate::record::{Record, Restore};

/// Elections that a busy machine does not cause: each test shares two cores with another.
const TIMING: Timing = Timing {
    heartbeat: Duration::from_millis(50),
    election_min: Duration::from_millis(600),
    election_max: Duration::from_millis(900),
};
/// A member alone leads after one election timeout, for which most tests wait once. It steps down if it does not get to run for
/// about as long, so the timeout is not shorter than the server's default.
const ALONE: Timing = Timing {
    heartbeat: Duration::from_millis(50),
    election_min: Duration::from_millis(300),
    election_max: Duration::from_millis(320),
};

type Make = Box<dyn Fn() -> Box<dyn Application> + Send + Sync>;

/// The settings with which a [`TestCluster`] starts.
pub struct ClusterBuilder {
    members: u64,
    make: Make,
    restore: Restore,
    session_timeout: Duration,
    command_delay: Duration,
    address: IpAddr,
    #[cfg(unix)]
    ipc_directory: Option<std::path::PathBuf>,
}

/// Why a cluster cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The members do not start.
    #[error("{0}")]
    Members(#[from] LocalClusterError),
    /// A setting is outside its range.
    #[error("{0}")]
    Settings(#[from] SettingsError),
    /// A port cannot be opened, or the system has no thread.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The task that starts the members has panicked.
    #[error("{0}")]
    Task(#[from] tokio::task::JoinError),
}

impl TestCluster {
    /// Returns the settings of a new cluster: one member that runs the key-value store on a free port.
    #[must_use]
    pub fn builder() -> ClusterBuilder {
        let builder = ClusterBuilder {
            members: 1,
            make: Box::new(|| Box::new(KvStore::new())),
            restore: |_| Err(zraft_session::RestoreError::invalid("no application")),
            session_timeout: Settings::default().session_timeout(),
            command_delay: Duration::ZERO,
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            #[cfg(unix)]
            ipc_directory: None,
        };
        builder.app(KvStore::new())
    }
}

impl ClusterBuilder {
    /// Sets the number of members. Their ids are node-1, node-2 and so on. Default 1.
    #[must_use]
    pub fn members(mut self, count: usize) -> Self {
        self.members = count as u64;
        self
    }

    /// Sets the application that the cluster runs. Default [`KvStore`].
    #[must_use]
    pub fn app<A: Application + Clone + Sync>(mut self, app: A) -> Self {
        self.make = Box::new(move || Box::new(app.clone()));
        self.restore = |input| Ok(Box::new(A::restore(input)?));
        self
    }

    /// Sets the time that a command waits before it reaches a member.
    #[must_use]
    pub fn commit_delay(mut self, delay: Duration) -> Self {
        self.command_delay = delay;
        self
    }

    /// Sets the time without a message after which a session expires. At least 1 s.
    #[must_use]
    pub fn session_timeout(mut self, timeout: Duration) -> Self {
        self.session_timeout = timeout;
        self
    }

    /// Has no effect: a member knows when the next session expires.
    #[must_use]
    pub fn expiry_tick(self, _tick: Duration) -> Self {
        self
    }

    /// Sets the address to bind. Default 127.0.0.1.
    #[must_use]
    pub fn bind_address(mut self, to: IpAddr) -> Self {
        self.address = to;
        self
    }

    /// Binds `ipc://` sockets in this directory instead of TCP ports, one for each member, named after its id. Their
    /// connections are carried to the members' TCP ports.
    #[cfg(unix)]
    #[must_use]
    pub fn ipc_directory(mut self, directory: impl Into<std::path::PathBuf>) -> Self {
        self.ipc_directory = Some(directory.into());
        self
    }

    /// Starts the cluster on its own threads, and waits until node-1 leads.
    ///
    /// # Errors
    /// [`StartError`] if a setting is not valid, or a member or port cannot be opened.
    pub async fn start(self) -> Result<TestCluster, StartError> {
        let timeout = u64::try_from(self.session_timeout.as_millis()).unwrap_or(u64::MAX);
        let settings = Settings { session_timeout_millis: timeout, ..Settings::default() };
        let settings = settings.check()?;
        let record = Record::new(self.restore);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(4)
            .thread_name("members")
            .enable_all()
            .build()?;
        let places = self.places();
        let started = runtime.spawn(async move {
            let doors = Doors::new(record.clone(), places?)?;
            doors.set_command_delay(self.command_delay);
            let members = self.start_members(&record, settings).await?;
            for (index, number) in members.numbers().enumerate() {
                doors.open(index, members.member(number)?.client_address())?;
            }
            Ok::<_, StartError>((record, doors, members))
        });
        match started.await {
            Ok(Ok((record, doors, members))) => {
                Ok(TestCluster::new(runtime, record, doors, members))
            }
            Ok(Err(error)) => {
                abandon(runtime);
                Err(error)
            }
            Err(error) => {
                abandon(runtime);
                Err(error.into())
            }
        }
    }

    fn places(&self) -> std::io::Result<Vec<(MemberId, Address)>> {
        let place = |number| {
            let name = MemberId::new(format!("node-{number}")).map_err(std::io::Error::other)?;
            #[cfg(unix)]
            if let Some(directory) = &self.ipc_directory {
                let path = directory.join(format!("{}.sock", name.as_str()));
                return Ok((name, Address::Ipc(path)));
            }
            Ok((name, Address::Tcp(SocketAddr::new(self.address, 0))))
        };
        (1..=self.members).map(place).collect()
    }

    async fn start_members(
        self,
        record: &Arc<Record>,
        settings: CheckedSettings,
    ) -> Result<LocalCluster<Recorded>, StartError> {
        let (record, make) = (record.clone(), self.make);
        let (count, address) = (self.members, self.address);
        let application = move || Recorded::new(record.clone(), make());
        let configure = move |config: &mut MemberConfig| {
            config.timing = if count == 1 { ALONE } else { TIMING };
            config.settings = settings.clone();
            if address.is_ipv6() {
                config.client_address = SocketAddr::new(address, 0);
            }
        };
        let members = LocalCluster::start_with(count, application, configure).await?;
        members.hand_over(1).await?;
        Ok(members)
    }
}

/// Ends a runtime without waiting for it: a test may be on a thread of another one.
pub(crate) fn abandon(runtime: Runtime) {
    runtime.shutdown_background();
}

impl std::fmt::Debug for ClusterBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClusterBuilder").field("members", &self.members).finish_non_exhaustive()
    }
}
