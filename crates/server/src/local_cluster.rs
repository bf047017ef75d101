//! Members in one process, for tests, demonstrations and development: real members with real files and sockets.

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use tempfile::TempDir;
use tokio::{net::TcpSocket, sync::watch};
use zraft_protocol::MemberId;
use zraft_replica::{ChangeError, Configuration, MemberInfo, MembershipChange, RaftId};
use zraft_session::Application;
use zraft_store::{ClusterId, Identity, Incarnation, Reserve, StoreError};

use crate::{
    Ended, FEATURE_LEVEL, Founding, Member, MemberConfig, StartError, Status, create_directory,
    directory::random,
};

/// The data is deleted with the cluster, so a full disk loses nothing that matters: the reserve is small.
const RESERVE: Reserve = Reserve { base: 1 << 20 };

type Configure = Box<dyn Fn(&mut MemberConfig) + Send + Sync>;
type MakeApplication<A> = Box<dyn Fn() -> A + Send + Sync>;

/// A cluster of members in this process, on loopback ports, with their data in a temporary folder.
///
/// Members are named `node-1`, `node-2` and so on, and are given by their number. A member keeps its ports and its data
/// directory while it does not run.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use zraft_server::LocalCluster;
/// use zraft_session::applications::Echo;
///
/// let mut cluster = LocalCluster::start(3, || Echo).await?;
/// let leader = cluster.leader().await?;
/// // Its files stay.
/// cluster.kill(leader).await?;
/// assert_ne!(cluster.leader().await?, leader);
/// cluster.reopen(leader).await?;
/// cluster.stop().await;
/// # Ok(())
/// # }
/// ```
pub struct LocalCluster<A> {
    folder: TempDir,
    id: ClusterId,
    places: BTreeMap<u64, Place>,
    configure: Configure,
    application: MakeApplication<A>,
}

/// Where a member lives, whether or not it runs.
#[derive(Debug)]
struct Place {
    name: MemberId,
    directory: PathBuf,
    client_address: SocketAddr,
    peer_address: SocketAddr,
    member: Option<Member>,
    /// Keep the ports from other processes while the member does not run.
    _reserved: [Option<TcpSocket>; 2],
}

/// Why a local cluster cannot do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocalClusterError {
    /// A member does not start.
    #[error("member {member} does not start: {error}")]
    Start {
        /// The member's number.
        member: u64,
        /// What went wrong.
        error: StartError,
    },
    /// A data directory cannot be made.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The system has no folder, port or random numbers.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A change of the membership was refused.
    #[error("{0}")]
    Change(#[from] ChangeError),
    /// There is no such member, or it runs, or does not run, against what was asked.
    #[error(
        "member {0} does not exist or is in another state: only one that runs can end, and only one that has ended can be opened"
    )]
    Member(u64),
    /// A member has ended by itself.
    #[error("member {member} has ended: {ended}")]
    Ended {
        /// The member's number.
        member: u64,
        /// What went wrong.
        ended: Arc<Ended>,
    },
}

type Result<T> = std::result::Result<T, LocalClusterError>;

impl<A: Application> LocalCluster<A> {
    /// Starts a cluster with the default settings. Each member's application begins as `application` returns it.
    ///
    /// # Errors
    /// [`LocalClusterError`].
    pub async fn start(
        members: u64,
        application: impl Fn() -> A + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::start_with(members, application, |_| {}).await
    }

    /// Starts a cluster. `configure` changes the configuration of each member, at its first start and at every other one.
    ///
    /// # Errors
    /// [`LocalClusterError`].
    pub async fn start_with(
        members: u64,
        application: impl Fn() -> A + Send + Sync + 'static,
        configure: impl Fn(&mut MemberConfig) + Send + Sync + 'static,
    ) -> Result<Self> {
        let mut cluster = Self {
            folder: TempDir::with_prefix("zraft-")?,
            id: ClusterId::new(random()?),
            places: BTreeMap::new(),
            configure: Box::new(configure),
            application: Box::new(application),
        };
        for number in 1..=members {
            cluster.make_place(number)?;
        }
        let infos = cluster.places.iter().map(|(number, place)| Ok((id(*number)?, place.info())));
        let configuration = Configuration::of_voters(infos.collect::<Result<Vec<_>>>()?);
        for number in 1..=members {
            cluster.make_directory(number, Founding::Cluster(configuration.clone()))?;
        }
        for number in 1..=members {
            cluster.reopen(number).await?;
        }
        Ok(cluster)
    }

    fn make_place(&mut self, number: u64) -> Result<()> {
        let (client, client_address) = reserve()?;
        let (peer, peer_address) = reserve()?;
        let name = format!("node-{number}");
        let directory = self.folder.path().join(&name);
        let name = MemberId::new(name).map_err(io::Error::other)?;
        let place = Place {
            name,
            directory,
            client_address,
            peer_address,
            member: None,
            _reserved: [client, peer],
        };
        self.places.insert(number, place);
        Ok(())
    }

    fn make_directory(&self, number: u64, founding: Founding) -> Result<()> {
        let place = self.place(number)?;
        let identity = Identity {
            cluster: self.id,
            member: place.name.clone(),
            raft_id: id(number)?,
            incarnation: Incarnation::new(random()?),
        };
        Ok(create_directory(&place.directory, &identity, founding)?)
    }

    fn place(&self, number: u64) -> Result<&Place> {
        self.places.get(&number).ok_or(LocalClusterError::Member(number))
    }

    /// Returns a member that runs.
    ///
    /// # Errors
    /// [`LocalClusterError::Member`].
    pub fn member(&self, number: u64) -> Result<&Member> {
        self.place(number)?.member.as_ref().ok_or(LocalClusterError::Member(number))
    }

    fn take_member(&mut self, number: u64) -> Result<Member> {
        let place = self.places.get_mut(&number).ok_or(LocalClusterError::Member(number))?;
        place.member.take().ok_or(LocalClusterError::Member(number))
    }

    /// Returns the numbers of all members, and of those that have left.
    pub fn numbers(&self) -> impl Iterator<Item = u64> {
        self.places.keys().copied()
    }

    /// Returns the numbers of the members that run.
    pub fn running(&self) -> impl Iterator<Item = u64> {
        let running = self.places.iter().filter(|(_, place)| place.member.is_some());
        running.map(|(number, _)| *number)
    }

    /// Returns the members and the endpoints of their client ports, such as `tcp://127.0.0.1:port`.
    #[must_use]
    pub fn endpoints(&self) -> BTreeMap<MemberId, String> {
        let places = self.places.values();
        places
            .map(|place| (place.name.clone(), format!("tcp://{}", place.client_address)))
            .collect()
    }

    /// Returns the data directory of a member.
    ///
    /// # Errors
    /// [`LocalClusterError::Member`] if there is no such member.
    pub fn directory(&self, number: u64) -> Result<PathBuf> {
        Ok(self.place(number)?.directory.clone())
    }

    /// Returns the address of a member's peer port.
    ///
    /// # Errors
    /// [`LocalClusterError::Member`] if there is no such member.
    pub fn peer_address(&self, number: u64) -> Result<SocketAddr> {
        Ok(self.place(number)?.peer_address)
    }

    /// Waits until a member serves as leader and all members that run know it, and returns its number.
    ///
    /// # Errors
    /// [`LocalClusterError::Ended`] if a member has ended.
    pub async fn leader(&self) -> Result<u64> {
        self.settled(|leader, status| status.leader == Some(leader)).await
    }

    /// Waits until a member leads, all members that run follow it and have applied everything that the leader has, and
    /// returns the leader's number.
    ///
    /// # Errors
    /// [`LocalClusterError::Ended`] if a member has ended.
    pub async fn caught_up(&self) -> Result<u64> {
        loop {
            let leader = self.leader().await?;
            let wanted = self.member(leader)?.status();
            for number in self.running() {
                self.wait(number, |status| status.applied >= wanted.last_index).await?;
            }
            let now = self.member(leader)?.status();
            if now.serving && now.term == wanted.term {
                return Ok(leader);
            }
        }
    }

    /// Waits until the state of a member is as wanted.
    ///
    /// # Errors
    /// [`LocalClusterError::Ended`] if the member has ended.
    pub async fn wait(&self, number: u64, wanted: impl FnMut(&Status) -> bool) -> Result<Status> {
        let status = self.member(number)?.wait_for(wanted).await;
        status.map_err(|ended| LocalClusterError::Ended { member: number, ended })
    }

    /// Waits until one member serves, and this is true for it and each member that runs.
    async fn settled(&self, mut is: impl FnMut(RaftId, &Status) -> bool) -> Result<u64> {
        loop {
            let mut changes = Vec::new();
            let mut states = BTreeMap::new();
            for number in self.running() {
                let mut status = self.member(number)?.watch();
                let state = status.borrow_and_update().clone();
                if let Some(ended) = state.ended {
                    return Err(LocalClusterError::Ended { member: number, ended });
                }
                states.insert(number, state);
                changes.push(status);
            }
            let serving = states.iter().filter(|(_, state)| state.serving);
            let newest = serving.max_by_key(|(_, state)| state.term).map(|(number, _)| *number);
            if let Some(number) = newest {
                let leader = id(number)?;
                if states.values().all(|state| is(leader, state)) {
                    return Ok(number);
                }
            }
            any_changed(changes).await;
        }
    }

    /// Kills a member abruptly. Its files stay as they are.
    ///
    /// # Errors
    /// [`LocalClusterError::Member`] if it does not run.
    pub async fn kill(&mut self, number: u64) -> Result<()> {
        self.take_member(number)?.kill().await;
        Ok(())
    }

    /// Stops a member in an orderly way. Returns why it ended.
    ///
    /// # Errors
    /// [`LocalClusterError::Member`] if it does not run.
    pub async fn stop_member(&mut self, number: u64) -> Result<Arc<Ended>> {
        Ok(self.take_member(number)?.stop().await)
    }

    /// Starts a member from its data directory.
    ///
    /// # Errors
    /// [`LocalClusterError::Member`] if it runs, [`LocalClusterError::Start`] if it does not start.
    pub async fn reopen(&mut self, number: u64) -> Result<()> {
        let place = self.place(number)?;
        if place.member.is_some() {
            return Err(LocalClusterError::Member(number));
        }
        let mut config =
            MemberConfig::new(&place.directory, place.client_address, place.peer_address);
        config.reserve = RESERVE;
        (self.configure)(&mut config);
        let started = Member::start(config, (self.application)()).await;
        let member = started.map_err(|error| LocalClusterError::Start { member: number, error })?;
        if let Some(place) = self.places.get_mut(&number) {
            place.member = Some(member);
        }
        Ok(())
    }

    /// Hands leadership over to a member and waits until it serves. Tries until it succeeds: a slow member does not take
    /// over within an election timeout.
    ///
    /// # Errors
    /// [`LocalClusterError::Ended`] if a member has ended.
    pub async fn hand_over(&self, to: u64) -> Result<()> {
        let target = id(to)?;
        loop {
            let from = self.leader().await?;
            if from == to {
                return Ok(());
            }
            self.member(from)?.hand_over(Some(target)).await;
            // If no member takes over in time, the leader goes on, and is asked again.
            self.wait(from, |status| !status.handing_over).await?;
        }
    }

    /// Adds a member with an empty data directory, and starts it. It becomes a voter by itself once it has caught up.
    /// Returns its number.
    ///
    /// # Errors
    /// [`LocalClusterError::Change`] if the leader refuses the change.
    pub async fn add_member(&mut self) -> Result<u64> {
        let number = self.places.keys().next_back().map_or(1, |last| last + 1);
        self.make_place(number)?;
        self.make_directory(number, Founding::Joining)?;
        self.reopen(number).await?;
        let info = self.place(number)?.info();
        let leader = self.leading().await?;
        let change = MembershipChange::Add { id: id(number)?, info };
        self.member(leader)?.change_membership(change).await?;
        Ok(number)
    }

    /// Waits until a member serves, and returns its number.
    async fn leading(&self) -> Result<u64> {
        self.settled(|_, _| true).await
    }

    /// Stops all members. The data is deleted.
    pub async fn stop(mut self) {
        for place in self.places.values_mut() {
            if let Some(member) = place.member.take() {
                member.kill().await;
            }
        }
    }
}

impl Place {
    fn info(&self) -> MemberInfo {
        MemberInfo {
            name: self.name.clone(),
            address: self.peer_address.to_string(),
            feature_level: FEATURE_LEVEL,
        }
    }
}

impl<A> std::fmt::Debug for LocalCluster<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let running = self.places.iter().map(|(number, place)| (number, place.member.is_some()));
        f.debug_struct("LocalCluster")
            .field("folder", &self.folder.path())
            .field("running", &running.collect::<BTreeMap<_, _>>())
            .finish_non_exhaustive()
    }
}

/// Waits until one of them has changed.
async fn any_changed(mut all: Vec<watch::Receiver<Status>>) {
    let mut changes: Vec<_> = all.iter_mut().map(|each| Box::pin(each.changed())).collect();
    std::future::poll_fn(|cx| {
        let ready = changes.iter_mut().any(|change| change.as_mut().poll(cx).is_ready());
        if ready { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

fn id(number: u64) -> Result<RaftId> {
    RaftId::new(number).ok_or(LocalClusterError::Member(number))
}

/// Reserves a port without listening on it: the system refuses connections and gives the port to no other process.
///
/// Only Linux lets a listener be bound beside the reservation. On other systems there is none, and the port is free
/// while its member does not run.
fn reserve() -> io::Result<(Option<TcpSocket>, SocketAddr)> {
    let socket = TcpSocket::new_v4()?;
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let address = socket.local_addr()?;
    Ok((cfg!(target_os = "linux").then_some(socket), address))
}
