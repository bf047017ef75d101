//! One member as a program runs it: from its configuration to a signal.

use std::{
    future::Future,
    io,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::Arc,
};

use zraft_protocol::MemberId;
use zraft_session::Application;

use crate::{
    Ended, Member, MemberConfig, NewMember, ServerConfig, Signal, Signals, StartError, TokenFile,
    check_vacant, create_cluster, directory, random_cluster_id, signals::Asked,
};

/// The member of a new cluster that has no other and whose configuration does not name it.
const ONLY_MEMBER: &str = "node-1";

/// A running member of a cluster, for a program that does nothing else or does it beside other work.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let data = folder.path().join("data");
/// use zraft_client::RaftClient;
/// use zraft_server::Server;
/// use zraft_session::applications::Echo;
///
/// let builder = Server::builder().application(Echo).directory(data).create(true);
/// let builder = builder.client_address(([127, 0, 0, 1], 0)).peer_address(([127, 0, 0, 1], 0));
/// let server = builder.start().await?;
///
/// let endpoint = format!("tcp://{}", server.member().client_address());
/// let client = RaftClient::builder().member("node-1", endpoint).capability("a", "b").build()?;
/// client.connect().await?;
/// assert_eq!(client.submit_command("hello").await?, "hello");
/// client.disconnect().await;
/// server.stop().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Server {
    member: Member,
}

/// Builds a [`Server`]. `A` is the state machine; `()` until [`application`](ServerBuilder::application) was called.
#[derive(Clone, Debug)]
pub struct ServerBuilder<A = ()> {
    application: A,
    directory: Option<PathBuf>,
    config: ServerConfig,
    create: bool,
}

/// Why [`ServerBuilder::run`] ends without a signal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The member does not start.
    #[error("{0}")]
    Start(#[from] StartError),
    /// The member has ended by itself.
    #[error("{0}")]
    Ended(Arc<Ended>),
    /// The system does not let this process receive signals.
    #[error("cannot receive signals: {0}")]
    Signals(#[source] io::Error),
}

impl Server {
    /// Returns a builder with the default configuration.
    #[must_use]
    pub fn builder() -> ServerBuilder {
        ServerBuilder {
            application: (),
            directory: None,
            config: ServerConfig::default(),
            create: false,
        }
    }

    /// Returns the member, to look at its state or to change the membership.
    #[must_use]
    pub fn member(&self) -> &Member {
        &self.member
    }

    /// Stops the member, as [`Member::stop`] does. Returns why it ended.
    pub async fn stop(self) -> Arc<Ended> {
        self.member.stop().await
    }

    /// Runs until `shutdown` completes, and then stops the member. Returns what `shutdown` returned.
    ///
    /// Dropping the future ends the member abruptly.
    ///
    /// # Errors
    /// Why the member ended by itself.
    pub async fn run_until<T>(self, shutdown: impl Future<Output = T>) -> Result<T, Arc<Ended>> {
        let asked = tokio::select! {
            biased;
            ended = self.member.ended() => Err(ended),
            asked = shutdown => Ok(asked),
        };
        let stopped = self.member.stop().await;
        match (asked, &*stopped) {
            // One that was not done in time is killed, which is what the caller would do next.
            (Ok(asked), Ended::Stopped | Ended::Killed) => Ok(asked),
            (Ok(_), _) => Err(stopped),
            (Err(ended), _) => Err(ended),
        }
    }

    /// Runs until a signal, and then stops the member. A second signal ends it at once. Returns the last signal. SIGHUP lets
    /// the member read its certificates and tokens again.
    ///
    /// # Errors
    /// Why the member ended by itself.
    pub async fn run(self, signals: &mut Signals) -> Result<Signal, Arc<Ended>> {
        let (first, wait) = tokio::sync::oneshot::channel();
        let secrets = self.member.secrets.clone();
        let mut run = std::pin::pin!(self.run_until(wait));
        let signal = loop {
            tokio::select! {
                biased;
                asked = signals.asked() => match asked {
                    Asked::End(signal) => break signal,
                    Asked::Reload => secrets.ask(),
                },
                ended = run.as_mut() => return ended_by_itself(ended),
            }
        };
        // The member may have ended at the same moment.
        let _ = first.send(());
        tokio::select! {
            biased;
            second = signals.next() => Ok(second),
            stopped = run.as_mut() => stopped.map(|_| signal),
        }
    }
}

/// Returns why a member ended that was not asked to.
fn ended_by_itself<T>(ended: Result<T, Arc<Ended>>) -> Result<Signal, Arc<Ended>> {
    Err(ended.err().unwrap_or_else(|| Arc::new(Ended::Killed)))
}

impl<A> ServerBuilder<A> {
    /// Sets the state machine with which a cluster begins. A snapshot in the data directory replaces it.
    #[must_use]
    pub fn application<B: Application>(self, application: B) -> ServerBuilder<B> {
        let Self { application: _, directory, config, create } = self;
        ServerBuilder { application, directory, config, create }
    }

    /// Sets the data directory.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Replaces the whole configuration, for example by [`ServerConfig::load`].
    #[must_use]
    pub fn config(mut self, config: ServerConfig) -> Self {
        self.config = config;
        self
    }

    /// Changes the configuration, for example its limits.
    #[must_use]
    pub fn configure(mut self, change: impl FnOnce(&mut ServerConfig)) -> Self {
        change(&mut self.config);
        self
    }

    /// Sets where the member listens for clients.
    #[must_use]
    pub fn client_address(self, address: impl Into<SocketAddr>) -> Self {
        self.configure(|config| config.client_address = address.into())
    }

    /// Sets where the member listens for other members.
    #[must_use]
    pub fn peer_address(self, address: impl Into<SocketAddr>) -> Self {
        self.configure(|config| config.peer_address = address.into())
    }

    /// Sets where the member listens for operators. Without a call there is no such port, unless the configuration names
    /// one.
    #[must_use]
    pub fn admin_address(self, address: impl Into<SocketAddr>) -> Self {
        self.configure(|config| config.admin_address = Some(address.into()))
    }

    /// Sets whether [`start`](Self::start) makes a new cluster of one member in the directory. It is then an error if the
    /// directory holds a member already. Otherwise it is one if it holds none, because an unmounted volume looks like
    /// that.
    #[must_use]
    pub fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }
}

impl<A: Application> ServerBuilder<A> {
    /// Starts the member. It must be called within a tokio runtime with I/O and time enabled.
    ///
    /// # Errors
    /// [`StartError`], whose text names the remedy.
    pub async fn start(self) -> Result<Server, StartError> {
        let Self { application, directory, config, create } = self;
        let directory = directory.ok_or(StartError::NoDirectory)?;
        let prepare =
            move || if create { found(config, directory) } else { check(config, directory) };
        let prepared = tokio::task::spawn_blocking(prepare).await;
        let config =
            prepared.map_err(|_| io::Error::other("looking at the directory panicked"))??;
        Ok(Server { member: Member::start(config, application).await? })
    }

    /// Starts the member and runs it until SIGTERM or Ctrl+C. Then it hands leadership over, tells its clients where to go
    /// and stops, in less than 5 s. A second signal ends it at once. Returns the last signal.
    ///
    /// # Errors
    /// [`RunError`], whose text names the remedy.
    pub async fn run(self) -> Result<Signal, RunError> {
        let mut signals = Signals::listen().map_err(RunError::Signals)?;
        let server = tokio::select! {
            biased;
            signal = signals.next() => return Ok(signal),
            started = self.start() => started?,
        };
        server.run(&mut signals).await.map_err(RunError::Ended)
    }
}

/// Makes a new cluster of one member. The cluster knows the member by its peer address, so a port is chosen now if the
/// configuration leaves that to the system.
fn found(mut config: ServerConfig, directory: PathBuf) -> Result<MemberConfig, StartError> {
    config.check()?;
    config.choose_ports()?;
    let name = match &config.name {
        Some(name) => name.clone(),
        None => MemberId::new(ONLY_MEMBER).map_err(io::Error::other)?,
    };
    let cluster = match config.cluster {
        Some(cluster) => cluster,
        None => random_cluster_id()?,
    };
    let peer_address = config.peer_address.to_string();
    if config.admin_address.is_some() {
        check_vacant(&directory)?;
        TokenFile::new(config.token_file(&directory)).create_if_missing()?;
    }
    create_cluster(cluster, &[NewMember { name, directory: directory.clone(), peer_address }])?;
    Ok(config.member(directory)?)
}

/// Checks that the configuration belongs to the member of the directory. Another volume may be mounted there.
fn check(config: ServerConfig, directory: PathBuf) -> Result<MemberConfig, StartError> {
    let identity = directory::identity(&directory)?;
    let other = |wanted: String, found: String| Err(StartError::OtherMember { wanted, found });
    match (&config.name, &config.cluster) {
        (Some(name), _) if *name != identity.member => {
            other(format!("member {name}"), format!("member {}", identity.member))
        }
        (_, Some(cluster)) if *cluster != identity.cluster => {
            other(format!("cluster {cluster}"), format!("cluster {}", identity.cluster))
        }
        _ => Ok(config.member(directory)?),
    }
}

impl ServerConfig {
    /// Replaces port 0 in the addresses by a free port, for a new member that must keep its ports.
    ///
    /// # Errors
    /// [`StartError::Listen`] if there is none.
    pub fn choose_ports(&mut self) -> Result<(), StartError> {
        // All are held until all are chosen, so that they differ.
        let mut held = Vec::new();
        let addresses = [&mut self.client_address, &mut self.peer_address];
        for address in addresses.into_iter().chain(self.admin_address.as_mut()) {
            if address.port() == 0 {
                let chosen = TcpListener::bind(*address);
                let failed = |error| StartError::Listen { address: *address, error };
                let listener = chosen.map_err(failed)?;
                *address = listener.local_addr().map_err(failed)?;
                held.push(listener);
            }
        }
        Ok(())
    }
}
