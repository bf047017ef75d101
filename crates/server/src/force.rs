//! A new cluster from the data of one member, for a cluster that has lost its majority for ever.

use std::{io, path::Path};

use zraft_replica::{
    Boot, ClusterId, Configuration, EntryKind, HardState, Incarnation, Job, LogEntry, Machine,
    MemberInfo, RaftId, SnapshotMeta, StopReason, Write,
};
use zraft_session::{Application, HistoryHash, StateMachine};
use zraft_store::{Folder, Identity, RedbStore, Store, StoreError};

use crate::{
    CreateError, FEATURE_LEVEL, NewMember, StartError, check_vacant,
    directory::{self, Opened, random},
};

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
    /// The term of the last entry that was taken over.
    pub last_term: u64,
    /// The index of the last entry that was taken over. Of several members, take the one with the highest term here, and
    /// then the highest index: no other one has more of what was answered.
    pub last_index: u64,
    /// The sessions in the state. Their clients continue them.
    pub sessions: usize,
    /// The hash of all effects so far.
    pub history: HistoryHash,
}

/// Why no cluster was made. The old directory is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForceError {
    /// The new directory cannot be used.
    #[error("{0}")]
    Create(#[from] CreateError),
    /// The old directory cannot be opened.
    #[error("{0}")]
    Open(#[from] StartError),
    /// The new directory cannot be written.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// An entry of the log cannot be applied.
    #[error("{0}")]
    Apply(#[from] StopReason),
    /// The application has panicked twice at an entry, and would panic again.
    #[error(
        "the application panicked twice at an entry of this log: correct it, and use the corrected program"
    )]
    Panics,
    /// The new directory does not hold what was written.
    #[error("{folder} does not hold the state that was written: its disk is faulty")]
    Faulty {
        /// The new directory.
        folder: String,
    },
    /// The system has no random numbers, or a file cannot be written.
    #[error("{0}")]
    System(#[from] io::Error),
}

/// Makes a new cluster of one member from the state and the whole log of a member of another cluster. The old directory is
/// only read, and its member must not run. It blocks while it reads and writes.
///
/// This is not safe: a command that was answered can be missing if this member did not have it, and one that failed can
/// have run. Use it only if a majority of the voters is lost with their disks. The new cluster has a new id, so members
/// of the old one that come back are refused.
///
/// # Errors
/// [`ForceError`], whose text names the remedy.
pub fn force_new<A: Application>(
    from: &Path,
    to: &NewMember,
    application: A,
) -> Result<Forced, ForceError> {
    check_vacant(&to.directory)?;
    let Opened { identity: old, applies, store, boot, state, .. } =
        directory::open(from, application)?;
    if !applies {
        return Err(ForceError::Panics);
    }
    let (last_index, last_term) = last(&boot);
    // A term that no leader of the old cluster has had, as far as this member knows.
    let term = last_term.max(boot.hard_state.term) + 1;
    let state = replay(state, boot)?;
    drop(store);

    let cluster = ClusterId::new(random()?);
    let raft_id = RaftId::new(1).ok_or_else(|| io::Error::other("1 is a number"))?;
    let info = MemberInfo {
        name: to.name.clone(),
        address: to.peer_address.clone(),
        feature_level: FEATURE_LEVEL,
    };
    let configuration = Configuration::of_voters([(raft_id, info)]);
    // The place after the last entry: the new cluster's log begins behind it.
    let meta = SnapshotMeta { index: last_index + 1, term, configuration };
    let incarnation = Incarnation::new(random()?);
    let identity = Identity { cluster, member: to.name.clone(), raft_id, incarnation };
    let (sessions, history) = (state.sessions().len(), state.history_hash());
    let folder = Folder::create(&to.directory)?;
    write::<A>(&folder, &meta, state, history)?;
    // Last: a directory without an identity holds no member.
    identity.create(&folder)?;
    Ok(Forced {
        old_cluster: old.cluster,
        old_member: old.member.to_string(),
        cluster,
        last_term,
        last_index,
        sessions,
        history,
    })
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

/// Writes the state as the first snapshot of the new directory, and reads it back.
fn write<A: Application>(
    folder: &Folder,
    meta: &SnapshotMeta,
    state: StateMachine<A>,
    history: HistoryHash,
) -> Result<(), ForceError> {
    let faulty = || ForceError::Faulty { folder: folder.path().display().to_string() };
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
    match restored.history_hash() == history {
        true => Ok(()),
        false => Err(faulty()),
    }
}
