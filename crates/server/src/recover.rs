//! A new cluster with the state of an old one: from a backup, or from the directory of one member after the loss of a majority.
//!
//! The new cluster has a new id, so members of the old one that come back are refused. Its log begins behind the last entry
//! of the state, and clients continue their sessions.

use std::{
    io,
    path::{Path, PathBuf},
};

use zraft_replica::{
    Boot, ClusterId, EntryKind, HardState, Incarnation, Job, LogEntry, Machine, SnapshotMeta,
    StopReason, Write,
};
use zraft_session::{Application, HistoryHash, RestoreError, StateMachine};
use zraft_store::{Folder, Identity, RedbStore, SnapshotSource, Store, StoreError};

use crate::{
    CreateError, NewMember, StartError,
    directory::{self, Founders, Opened, random},
    random_cluster_id,
};

/// The highest index and term that a cluster begins behind. A file with a higher one is not a member's, and counting on from it
/// would overflow.
const MAX_PLACE: u64 = 1 << 62;

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backup {
    /// The index of the last entry in its state.
    pub index: u64,
    /// The term of that entry.
    pub term: u64,
    /// The length of the file.
    pub bytes: u64,
    /// The names of the cluster's members.
    pub members: Vec<String>,
}

/// What a new cluster begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovered {
    /// The term of the last entry in the state.
    pub last_term: u64,
    /// The index of the last entry in the state. Of several members, take the one with the highest term here, and then the
    /// highest index: no other one has more of what was answered.
    pub last_index: u64,
    /// The sessions in the state. Their clients continue them.
    pub sessions: usize,
    /// The hash of all effects so far.
    pub history: HistoryHash,
}

/// What a forced cluster begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Forced {
    /// The old cluster.
    pub old_cluster: ClusterId,
    /// The member of the old cluster whose data was taken.
    pub old_member: String,
    /// The new cluster.
    pub cluster: ClusterId,
    /// What was taken over.
    pub recovered: Recovered,
}

/// Why no cluster was made. What it was to be made from is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecoverError {
    /// A new directory cannot be used.
    #[error("{0}")]
    Create(#[from] CreateError),
    /// The old directory cannot be opened.
    #[error("{0}")]
    Open(#[from] StartError),
    /// A new directory cannot be written.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The backup is not one, or bytes of it are missing or differ from what the member sent.
    #[error("{} is not a sound backup ({what}): take another one", .path.display())]
    Damaged {
        /// The backup.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The backup cannot be read.
    #[error("{}: {error}", .path.display())]
    Read {
        /// The backup.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The state in the backup cannot be restored.
    #[error(
        "the state in {} cannot be restored: {error}; name the application that wrote it, and use its version or a newer one",
        .path.display()
    )]
    Restore {
        /// The backup.
        path: PathBuf,
        /// What is wrong with the state.
        error: RestoreError,
    },
    /// An entry of the log cannot be applied.
    #[error("{0}")]
    Apply(#[from] StopReason),
    /// The application has panicked twice at an entry, and would panic again.
    #[error(
        "the application panicked twice at an entry of this log: correct it, and use the corrected program"
    )]
    Panics,
    /// A new directory does not hold what was written.
    #[error("{folder} does not hold the state that was written: its disk is faulty")]
    Faulty {
        /// The new directory.
        folder: String,
    },
    /// The system has no random numbers, or a file cannot be written.
    #[error("{0}")]
    System(#[from] io::Error),
}

/// Reads a backup to its end and checks its hash.
///
/// # Errors
/// [`RecoverError::Damaged`] or [`RecoverError::Read`].
pub fn check_backup(path: &Path) -> Result<Backup, RecoverError> {
    let failed = |error| unreadable(path, error);
    let mut source = SnapshotSource::open_file(path).map_err(failed)?;
    let read = io::copy(&mut source, &mut io::sink());
    read.map_err(|error| RecoverError::Read { path: path.to_owned(), error })?;
    source.verify().map_err(failed)?;
    let meta = source.meta();
    let members = meta.configuration.members.values().map(|info| info.name.to_string());
    Ok(Backup {
        index: meta.index,
        term: meta.term,
        bytes: source.file_len(),
        members: members.collect(),
    })
}

/// The state in a backup, from which new clusters can be made.
#[derive(Debug)]
pub struct BackupState<A> {
    state: StateMachine<A>,
    index: u64,
    term: u64,
}

impl<A: Application> BackupState<A> {
    /// Reads a backup. Its hash is checked before anything of it is used. Blocks while it reads.
    ///
    /// # Errors
    /// [`RecoverError::Damaged`], [`RecoverError::Read`] or [`RecoverError::Restore`], whose text names the remedy.
    pub fn read(path: &Path) -> Result<Self, RecoverError> {
        let Backup { index, term, .. } = check_backup(path)?;
        if index.max(term) > MAX_PLACE {
            let what = "its place in the log is impossible".to_owned();
            return Err(RecoverError::Damaged { path: path.to_owned(), what });
        }
        let foreign = |error| RecoverError::Restore { path: path.to_owned(), error };
        let source = SnapshotSource::open_file(path);
        let mut source = source.map_err(|error| unreadable(path, error))?;
        let state = StateMachine::<A>::restore(&mut source).map_err(foreign)?;
        // The state of another application can seem to end early.
        let whole = source.verify();
        whole.map_err(|_| foreign(RestoreError::invalid("it belongs to another application")))?;
        Ok(Self { state, index, term })
    }

    /// Makes the data directories of a new cluster whose members all begin with this state. Commands that were answered after
    /// the backup are not in it. Blocks while it writes.
    ///
    /// # Errors
    /// [`RecoverError`], whose text names the remedy. A directory that was made before the error holds no member.
    pub fn create_cluster(
        &self,
        cluster: ClusterId,
        members: &[NewMember],
    ) -> Result<Recovered, RecoverError> {
        let founders = Founders::of(members)?;
        begin(&self.state, (self.index, self.term + 1), cluster, &founders)?;
        Ok(recovered(&self.state, self.index, self.term))
    }
}

/// Makes a new cluster of one member from the state and the whole log of a member of another cluster. The old directory is
/// only read, and its member must not run. It blocks while it reads and writes.
///
/// This is not safe: a command that was answered can be missing if this member did not have it, and one that failed can
/// have run. Use it only if a majority of the voters is lost with their disks.
///
/// # Errors
/// [`RecoverError`], whose text names the remedy.
pub fn force_new<A: Application>(
    from: &Path,
    to: &NewMember,
    application: A,
) -> Result<Forced, RecoverError> {
    let founders = Founders::of(std::slice::from_ref(to))?;
    let Opened { identity: old, stopped_by, store, boot, state, .. } =
        directory::open(from, application)?;
    if stopped_by.is_some() {
        return Err(RecoverError::Panics);
    }
    let (index, term) = last(&boot);
    // A term that no leader of the old cluster has had, as far as this member knows.
    let next_term = term.max(boot.hard_state.term) + 1;
    let state = replay(state, boot)?;
    drop(store);
    let cluster = random_cluster_id()?;
    begin(&state, (index, next_term), cluster, &founders)?;
    Ok(Forced {
        old_cluster: old.cluster,
        old_member: old.member.to_string(),
        cluster,
        recovered: recovered(&state, index, term),
    })
}

fn recovered<A: Application>(state: &StateMachine<A>, index: u64, term: u64) -> Recovered {
    Recovered {
        last_term: term,
        last_index: index,
        sessions: state.sessions().len(),
        history: state.history_hash(),
    }
}

/// Returns the error of a backup. The store's remedies are those of a data directory.
fn unreadable(path: &Path, error: StoreError) -> RecoverError {
    let path = path.to_owned();
    match error {
        StoreError::Damaged { what, .. } => RecoverError::Damaged { path, what },
        StoreError::Io { error, .. } => RecoverError::Read { path, error },
        other => RecoverError::Damaged { path, what: other.to_string() },
    }
}

/// Returns the index and the term of the last entry.
fn last(boot: &Boot) -> (u64, u64) {
    let entry = boot.entries.last().map(|entry| (entry.index, entry.term));
    entry.unwrap_or((boot.snapshot.index, boot.snapshot.term))
}

/// Applies the whole log, also what this member does not know to be committed: it may have been committed and answered.
fn replay<A: Application>(
    state: StateMachine<A>,
    boot: Boot,
) -> Result<StateMachine<A>, StopReason> {
    let (up_to, _) = last(&boot);
    let mut machine = Machine::new(state, boot.snapshot.index);
    let own = |entry: &LogEntry| entry.kind == EntryKind::Normal && !entry.data.is_empty();
    let entries = boot.entries.into_iter().filter(own).collect();
    machine.run(Job::Apply { entries, up_to })?;
    Ok(machine.into_state())
}

/// Makes the directories of a cluster that begins with this state, behind the entry at `index` and in `term`.
fn begin<A: Application>(
    state: &StateMachine<A>,
    (index, term): (u64, u64),
    cluster: ClusterId,
    founders: &Founders<'_>,
) -> Result<(), RecoverError> {
    // The place after the last entry: the new cluster's log begins behind it.
    let configuration = founders.configuration.clone();
    let meta = SnapshotMeta { index: index + 1, term, configuration };
    for member in founders.members {
        write(&Folder::create(&member.directory)?, &meta, state)?;
    }
    // Last: a directory without an identity holds no member.
    for (raft_id, member) in founders.numbered() {
        let incarnation = Incarnation::new(random()?);
        let identity = Identity { cluster, member: member.name.clone(), raft_id, incarnation };
        identity.create(&Folder::open(&member.directory)?)?;
    }
    Ok(())
}

/// Writes the state as the first snapshot of a new directory, and reads it back.
fn write<A: Application>(
    folder: &Folder,
    meta: &SnapshotMeta,
    state: &StateMachine<A>,
) -> Result<(), RecoverError> {
    let faulty = || RecoverError::Faulty { folder: folder.path().display().to_string() };
    let boot = Boot::of_new_cluster(meta.configuration.clone());
    let mut store = RedbStore::create(folder.clone(), &boot)?;
    let mut writer = store.write_snapshot(meta)?;
    state.snapshot().write_to(&mut writer)?;
    writer.finish()?;
    store.write(&Write {
        number: 1,
        install: Some(meta.clone()),
        record: None,
        first_index: None,
        entries: Vec::new(),
        hard_state: HardState { term: meta.term, vote: None, commit: meta.index },
        configuration: Some(meta.configuration.clone()),
    })?;
    let mut source = store.newest_snapshot()?.ok_or_else(faulty)?;
    let restored = StateMachine::<A>::restore(&mut source).map_err(|_| faulty())?;
    source.verify()?;
    match restored.history_hash() == state.history_hash() {
        true => Ok(()),
        false => Err(faulty()),
    }
}
