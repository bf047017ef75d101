//! The face of the store.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use zraft_replica::{Boot, Configuration, HardState, LogEntry, SnapshotMeta, Space, Write};

use crate::{
    Disk, DiskLock, Reserve, SnapshotReceiver, SnapshotSource, SnapshotWriter, StoreError,
    disk::Guarded, log::Log, reserve::Keeper, snapshots,
};

/// What a member needs of its disk.
///
/// The calls block. A shell makes them on a separate thread, one write at a time.
pub trait Store: Send {
    /// Returns what the member starts from, as of the last write that was made durable.
    ///
    /// # Errors
    /// The first call after opening never fails for [`RedbStore`]; a later one returns [`StoreError::Ended`].
    fn boot(&mut self) -> Result<Boot, StoreError>;

    /// Makes a write of the replica durable, all of it or nothing, with one fsync. When this returns, tell the replica
    /// that the write is persisted.
    ///
    /// # Errors
    /// After any error except [`StoreError::OutOfOrder`] and [`StoreError::NoSnapshot`], what the disk holds is not
    /// known: the process must end. Further writes return [`StoreError::Ended`].
    fn write(&mut self, write: &Write) -> Result<(), StoreError>;

    /// Reads the entries from `from` up to but without `to`, for a member that lags behind: at least one, then as many as
    /// fit `most_bytes`. None if the log no longer has all of them.
    ///
    /// # Errors
    /// An error of the disk, or damage.
    fn entries(&self, from: u64, to: u64, most_bytes: usize) -> Result<Vec<LogEntry>, StoreError>;
}

/// A [`Store`] on redb.
#[derive(Debug)]
pub struct RedbStore {
    disk: Arc<dyn Disk>,
    log: Log,
    boot: Option<Boot>,
    reserve: Keeper,
    /// Set once anything that changes the disk has failed, the writers of snapshots included.
    ended: Arc<AtomicBool>,
    _lock: Box<dyn DiskLock>,
}

impl RedbStore {
    /// Creates the store of a new member in a directory without one, and opens it.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if the directory has a log already, [`StoreError::InUse`], or an error of the disk.
    pub fn create(disk: impl Disk, boot: &Boot) -> Result<Self, StoreError> {
        let (disk, ended, unguarded) = guarded(disk);
        let lock = lock(&*disk)?;
        let files = disk.list().map_err(StoreError::io("the data directory"))?;
        if files.iter().any(|name| name == crate::log::FILE) {
            return Err(StoreError::Exists { folder: disk.name() });
        }
        Log::create(&disk, boot)?;
        Self::with_lock(disk, ended, lock, unguarded)
    }

    /// Opens the store of a member. A torn tail is repaired; damage anywhere else is refused.
    ///
    /// # Errors
    /// [`StoreError::Empty`] if the directory has no log, [`StoreError::InUse`], [`StoreError::Version`],
    /// [`StoreError::Damaged`], or an error of the disk. Each text names the remedy.
    pub fn open(disk: impl Disk) -> Result<Self, StoreError> {
        let (disk, ended, unguarded) = guarded(disk);
        let lock = lock(&*disk)?;
        Self::with_lock(disk, ended, lock, unguarded)
    }

    fn with_lock(
        disk: Arc<dyn Disk>,
        ended: Arc<AtomicBool>,
        lock: Box<dyn DiskLock>,
        unguarded: Arc<dyn Disk>,
    ) -> Result<Self, StoreError> {
        // The reserve of an earlier process, given back first: opening the log may need its space.
        let reserve = Keeper::new(unguarded)?;
        let (log, boot) = Log::open(&disk)?;
        reserve.set_snapshot(log.newest_snapshot_len());
        Ok(Self { disk, log, boot: Some(boot), reserve, ended, _lock: lock })
    }

    /// Sets how much space the store keeps in reserve. The next call of [`space`](Self::space) goes by it.
    pub fn set_reserve(&self, reserve: Reserve) {
        self.reserve.set_reserve(reserve);
    }

    /// Looks how much space the disk has, and takes the reserve or gives it back. The shell calls it after each write
    /// and about once a second, and passes the result to [`Replica::disk_space`](zraft_replica::Replica::disk_space).
    ///
    /// It takes some microseconds, except that taking the reserve writes it on file systems that cannot allocate.
    ///
    /// # Errors
    /// An error of the disk other than that it is full. The process must end.
    pub fn space(&mut self) -> Result<Space, StoreError> {
        if self.ended.load(Ordering::Acquire) {
            return Err(StoreError::Ended);
        }
        let looked = self.reserve.look();
        if looked.is_err() {
            self.ended.store(true, Ordering::Release);
        }
        looked
    }

    /// Returns the newest configuration that was written, for the addresses of the peers.
    ///
    /// # Errors
    /// An error of the disk, or damage.
    pub fn configuration(&self) -> Result<Configuration, StoreError> {
        self.log.configuration()
    }

    /// Returns the hard state of the last write.
    ///
    /// # Errors
    /// An error of the disk, or damage.
    pub fn hard_state(&self) -> Result<HardState, StoreError> {
        self.log.hard_state()
    }

    /// Begins the file of a snapshot that this member takes.
    ///
    /// # Errors
    /// An error of the disk.
    pub fn write_snapshot(&self, meta: &SnapshotMeta) -> Result<SnapshotWriter, StoreError> {
        SnapshotWriter::create(self.disk.clone(), self.reserve.clone(), meta)
    }

    /// Begins the file of a snapshot that another member sends: `total` bytes for the entry at `index` of `term`.
    ///
    /// # Errors
    /// An error of the disk.
    pub fn receive_snapshot(
        &self,
        index: u64,
        term: u64,
        total: u64,
    ) -> Result<SnapshotReceiver, StoreError> {
        SnapshotReceiver::create(self.disk.clone(), self.reserve.clone(), index, term, total)
    }

    /// Opens the newest snapshot that counts, or returns none if the state machine starts empty.
    ///
    /// # Errors
    /// An error of the disk, or damage.
    pub fn newest_snapshot(&self) -> Result<Option<SnapshotSource>, StoreError> {
        let Some(meta) = self.log.newest_snapshot() else { return Ok(None) };
        SnapshotSource::open(&*self.disk, meta.index, meta.term).map(Some)
    }

    /// Opens the snapshot at this index, for another member, or returns none if it no longer counts.
    ///
    /// # Errors
    /// An error of the disk, or damage.
    pub fn snapshot(&self, index: u64) -> Result<Option<SnapshotSource>, StoreError> {
        let Some(meta) = self.log.snapshot(index) else { return Ok(None) };
        SnapshotSource::open(&*self.disk, meta.index, meta.term).map(Some)
    }
}

impl Store for RedbStore {
    fn boot(&mut self) -> Result<Boot, StoreError> {
        self.boot.take().ok_or(StoreError::Ended)
    }

    fn write(&mut self, write: &Write) -> Result<(), StoreError> {
        if self.ended.load(Ordering::Acquire) {
            return Err(StoreError::Ended);
        }
        let done = self.log.write(&*self.disk, write).and_then(|dropped| {
            dropped.iter().try_for_each(|record| snapshots::delete(&*self.disk, record))
        });
        let refused =
            matches!(done, Err(StoreError::OutOfOrder { .. } | StoreError::NoSnapshot { .. }));
        if done.is_err() && !refused {
            self.ended.store(true, Ordering::Release);
        }
        self.reserve.set_snapshot(self.log.newest_snapshot_len());
        done
    }

    fn entries(&self, from: u64, to: u64, most_bytes: usize) -> Result<Vec<LogEntry>, StoreError> {
        if self.ended.load(Ordering::Acquire) {
            return Err(StoreError::Ended);
        }
        self.log.entries(from, to, most_bytes)
    }
}

/// Returns the guarded disk, its flag, and the disk itself.
fn guarded(disk: impl Disk) -> (Arc<dyn Disk>, Arc<AtomicBool>, Arc<dyn Disk>) {
    let disk = Guarded::new(disk);
    let (ended, unguarded) = (disk.ended(), disk.unguarded());
    (Arc::new(disk), ended, unguarded)
}

fn lock(disk: &dyn Disk) -> Result<Box<dyn DiskLock>, StoreError> {
    disk.lock().map_err(|error| match error.kind() {
        std::io::ErrorKind::WouldBlock => StoreError::InUse { folder: disk.name() },
        _ => StoreError::io("lock")(error),
    })
}
