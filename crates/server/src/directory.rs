//! Making the data directory of a new member, and opening an existing one.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use zraft_protocol::MemberId;
use zraft_replica::{
    Boot, ClusterId, Configuration, Incarnation, MemberInfo, RaftId, SnapshotFile,
};
use zraft_session::{Application, StateMachine};
use zraft_store::{CrashRecord, Folder, Identity, RedbStore, Store, StoreError};

use crate::{FEATURE_LEVEL, ServerConfig, StartError, TokenFile};

/// What a new data directory begins with.
#[derive(Clone, Debug)]
pub enum Founding {
    /// The first members of a new cluster. Each of them begins with the same configuration.
    Cluster(Configuration),
    /// A member that waits to be added to a cluster.
    Joining,
}

/// Makes the data directory of a new member. It creates the folder if it does not exist.
///
/// A member is never made by starting it: an unmounted volume looks like an empty directory.
///
/// # Errors
/// [`StoreError::Exists`] if the directory holds a member, or an error of the file system.
pub fn create_directory(
    path: &Path,
    identity: &Identity,
    founding: Founding,
) -> Result<(), StoreError> {
    let disk = Folder::create(path).map_err(|error| opening(path, error))?;
    let boot = match founding {
        Founding::Cluster(configuration) => Boot::of_new_cluster(configuration),
        Founding::Joining => Boot::of_joining_member(),
    };
    // The log first: a directory without an identity holds no member, and can be made again after a crash.
    RedbStore::create(disk.clone(), &boot)?;
    identity.create(&disk)
}

/// Makes the data directory of a member that joins a cluster, with the number that the cluster's leader gave it. The
/// member waits for the leader once it is started.
///
/// # Errors
/// [`CreateError`], whose text names the remedy.
pub fn create_joining(
    path: &Path,
    cluster: ClusterId,
    member: MemberId,
    raft_id: RaftId,
) -> Result<(), CreateError> {
    check_vacant(path)?;
    let identity = Identity { cluster, member, raft_id, incarnation: Incarnation::new(random()?) };
    create_directory(path, &identity, Founding::Joining)?;
    Ok(())
}

/// A member of a new cluster.
#[derive(Clone, Debug)]
pub struct NewMember {
    /// Its name, as clients will know it.
    pub name: MemberId,
    /// Its data directory.
    pub directory: PathBuf,
    /// The address at which the other members will find its peer port, for example `10.0.0.1:7002`.
    pub peer_address: String,
}

/// Why a new cluster is not made. Directories that were made before the error remain.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// A directory cannot be used, or already holds a member.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// A directory holds files that are not a member's.
    #[error(
        "{} holds {file}: choose an empty directory for a new member", .folder.display()
    )]
    NotEmpty {
        /// The directory.
        folder: PathBuf,
        /// One of the files.
        file: String,
    },
    /// Too few or too many members, or two with the same name.
    #[error(
        "a new cluster needs from 1 to {} members with different names",
        Configuration::MAX_MEMBERS
    )]
    Members,
    /// The system has no random numbers.
    #[error("the system provides no random numbers: {0}")]
    System(#[from] io::Error),
}

/// Draws the id of a new cluster.
///
/// # Errors
/// The system has no random numbers.
pub fn random_cluster_id() -> io::Result<ClusterId> {
    random().map(ClusterId::new)
}

/// Makes the data directories of a new cluster. Its members vote from the beginning.
///
/// A directory may exist if it is empty or holds only [`ServerConfig::FILE`]. All directories are looked at before the
/// first one is made.
///
/// # Errors
/// [`CreateError`], whose text names the remedy.
pub fn create_cluster(cluster: ClusterId, members: &[NewMember]) -> Result<(), CreateError> {
    let founders = Founders::of(members)?;
    for (raft_id, member) in founders.numbered() {
        let identity = Identity {
            cluster,
            member: member.name.clone(),
            raft_id,
            incarnation: Incarnation::new(random()?),
        };
        let founding = Founding::Cluster(founders.configuration.clone());
        create_directory(&member.directory, &identity, founding)?;
    }
    Ok(())
}

/// The members of a new cluster, whose directories are vacant.
pub(crate) struct Founders<'m> {
    pub(crate) members: &'m [NewMember],
    pub(crate) configuration: Configuration,
}

impl<'m> Founders<'m> {
    /// Checks the members' names and looks at all directories.
    pub(crate) fn of(members: &'m [NewMember]) -> Result<Self, CreateError> {
        let mut names: Vec<_> = members.iter().map(|member| &member.name).collect();
        names.sort();
        names.dedup();
        let count = members.len();
        if count == 0 || count > Configuration::MAX_MEMBERS || names.len() != count {
            return Err(CreateError::Members);
        }
        members.iter().try_for_each(|member| check_vacant(&member.directory))?;
        let infos = numbered(members).map(|(id, member)| {
            let info = MemberInfo {
                name: member.name.clone(),
                address: member.peer_address.clone(),
                feature_level: FEATURE_LEVEL,
            };
            (id, info)
        });
        Ok(Self { members, configuration: Configuration::of_voters(infos) })
    }

    /// Returns the members with their numbers.
    pub(crate) fn numbered(&self) -> impl Iterator<Item = (RaftId, &'m NewMember)> {
        numbered(self.members)
    }
}

fn numbered(members: &[NewMember]) -> impl Iterator<Item = (RaftId, &NewMember)> {
    (1..).filter_map(RaftId::new).zip(members)
}

/// Checks that a new member can be made in this directory: that it does not exist, is empty, or holds only
/// [`ServerConfig::FILE`], [`TokenFile::NAME`] and the files of a member that was not completed before a crash.
///
/// # Errors
/// [`CreateError`] says what it holds.
pub fn check_vacant(folder: &Path) -> Result<(), CreateError> {
    const UNFINISHED: [&str; 4] = ["lock", "log.redb", ServerConfig::FILE, TokenFile::NAME];
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(opening(folder, error).into()),
    };
    let mut strange = None;
    for entry in entries {
        let name = entry.map_err(|error| opening(folder, error))?.file_name();
        let name = name.to_string_lossy();
        if name == "identity" {
            return Err(StoreError::Exists { folder: folder.display().to_string() }.into());
        }
        if !UNFINISHED.contains(&&*name) && !name.ends_with(".partial") {
            strange = Some(name.into_owned());
        }
    }
    match strange {
        Some(file) => Err(CreateError::NotEmpty { folder: folder.to_owned(), file }),
        None => Ok(()),
    }
}

/// Reads whose data a directory holds.
pub(crate) fn identity(path: &Path) -> Result<Identity, StoreError> {
    let disk = Folder::open(path).map_err(|error| opening(path, error))?;
    Identity::read(&disk)
}

/// Returns random bytes of the operating system.
pub(crate) fn random() -> io::Result<[u8; 16]> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes)
}

/// An opened data directory, and the state machine that was restored from it.
pub(crate) struct Opened<A> {
    pub(crate) folder: Folder,
    pub(crate) identity: Identity,
    /// The panics that keep the application from being run; none if it is run.
    pub(crate) stopped_by: Option<CrashRecord>,
    pub(crate) store: RedbStore,
    pub(crate) boot: Boot,
    pub(crate) newest: Option<SnapshotFile>,
    pub(crate) state: StateMachine<A>,
}

/// Opens a data directory. Reads the whole log and the newest snapshot, so it takes a while.
pub(crate) fn open<A: Application>(path: &Path, application: A) -> Result<Opened<A>, StartError> {
    let disk = Folder::open(path).map_err(|error| opening(path, error))?;
    let identity = Identity::read(&disk)?;
    let mut store = RedbStore::open(disk.clone())?;
    let boot = store.boot()?;
    let crash = CrashRecord::read(&disk)?;
    let stopped_by = crash.filter(|crash| !crash.applies_from(boot.snapshot.index));
    let (state, newest) = match store.newest_snapshot()? {
        Some(mut source) => {
            let file = source.describe();
            let state = StateMachine::restore(&mut source)?;
            source.verify()?;
            (state, Some(file))
        }
        None => (StateMachine::new(application), None),
    };
    Ok(Opened { folder: disk, identity, stopped_by, store, boot, newest, state })
}

fn opening(path: &Path, error: io::Error) -> StoreError {
    let folder = path.display().to_string();
    match error.kind() {
        io::ErrorKind::NotFound => StoreError::Empty { folder },
        _ => StoreError::Io { file: folder, error },
    }
}
