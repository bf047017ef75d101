//! Making the data directory of a new member, and opening an existing one.

use std::{io, path::Path};

use zraft_replica::{Boot, Configuration, SnapshotFile};
use zraft_session::{Application, StateMachine};
use zraft_store::{CrashRecord, Folder, Identity, RedbStore, Store, StoreError};

use crate::StartError;

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

/// An opened data directory, and the state machine that was restored from it.
pub(crate) struct Opened<A> {
    pub(crate) folder: Folder,
    pub(crate) identity: Identity,
    /// False if the application has panicked twice at an entry that it would meet again.
    pub(crate) applies: bool,
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
    let applies = crash.is_none_or(|crash| crash.applies_from(boot.snapshot.index));
    let (state, newest) = match store.newest_snapshot()? {
        Some(mut source) => {
            let file = source.describe();
            let state = StateMachine::restore(&mut source)?;
            source.verify()?;
            (state, Some(file))
        }
        None => (StateMachine::new(application), None),
    };
    Ok(Opened { folder: disk, identity, applies, store, boot, newest, state })
}

fn opening(path: &Path, error: io::Error) -> StoreError {
    let folder = path.display().to_string();
    match error.kind() {
        io::ErrorKind::NotFound => StoreError::Empty { folder },
        _ => StoreError::Io { file: folder, error },
    }
}
