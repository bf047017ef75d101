//! Snapshot files: written aside, verified, renamed, and only then named by the log.
//!
//! | part | bytes |
//! | --- | --- |
//! | head | `zraftsn1`, u64 index, u64 term, u32 length and configuration |
//! | body | the state machine's snapshot |
//! | end | u128 XXH3-128 hash of everything before |
//!
//! A member sends the file as it is, so the receiver checks it by the same hash.

use std::{
    io::{self, Read, Write},
    path::Path,
    sync::Arc,
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use twox_hash::xxhash3_128::Hasher;
use zraft_replica::{Configuration, SnapshotFile, SnapshotMeta};

use crate::{Disk, DiskFile, StoreError, disk::read_only, record::SnapshotRecord, reserve::Keeper};

const MAGIC: &[u8; 8] = b"zraftsn1";
const FIXED_HEAD: usize = 8 + 8 + 8 + 4;
const END: u64 = 16;
/// Longer than the configuration of the largest cluster; a longer one is damage.
const MAX_CONFIGURATION: usize = 1 << 20;
/// One write or read of the file system. It bounds the memory that a snapshot of any size takes.
const BLOCK: usize = 256 << 10;

const PREFIX: &str = "snapshot-";
/// The end of the names of unfinished files.
pub(crate) const PARTIAL: &str = ".partial";
/// Unfinished files have different names for each origin: a member can take the snapshot that it is receiving.
const TAKEN: &str = ".taken.partial";
const RECEIVED: &str = ".received.partial";

fn name(index: u64, term: u64) -> String {
    format!("{PREFIX}{term:016x}-{index:016x}")
}

/// The state of a hash over a file's bytes, boxed because it is large.
struct Hash(Box<Hasher>);

impl Hash {
    fn new() -> Self {
        Self(Box::new(Hasher::new()))
    }

    fn add(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    fn finish(&self) -> u128 {
        self.0.finish_128()
    }
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hash")
    }
}

/// Writes the snapshot of a state machine into its own file.
///
/// It may run on any thread while the store goes on. The memory it takes does not depend on the snapshot's size.
#[derive(Debug)]
pub struct SnapshotWriter {
    disk: Arc<dyn Disk>,
    reserve: Keeper,
    file: Arc<dyn DiskFile>,
    name: String,
    meta: SnapshotMeta,
    written: u64,
    waiting: Vec<u8>,
    hash: Hash,
}

impl SnapshotWriter {
    pub(crate) fn create(
        disk: Arc<dyn Disk>,
        reserve: Keeper,
        meta: &SnapshotMeta,
    ) -> Result<Self, StoreError> {
        let name = name(meta.index, meta.term);
        let file = disk.create(&format!("{name}{TAKEN}")).map_err(StoreError::io(&name))?;
        let waiting = Vec::with_capacity(BLOCK);
        let (meta, hash) = (meta.clone(), Hash::new());
        let configuration = meta.configuration.encode();
        let mut writer = Self { disk, reserve, file, name, meta, written: 0, waiting, hash };
        let mut head = BytesMut::with_capacity(FIXED_HEAD + configuration.len());
        head.put_slice(MAGIC);
        head.put_u64(writer.meta.index);
        head.put_u64(writer.meta.term);
        head.put_u32(configuration.len() as u32);
        head.put_slice(&configuration);
        writer.write_all(&head).map_err(StoreError::io(&writer.name))?;
        Ok(writer)
    }

    /// Completes the file. It is durable when this returns, and has its final name. It counts once a write of the
    /// replica records it. Returns what the replica must know of it.
    ///
    /// # Errors
    /// An error of the file system.
    pub fn finish(mut self) -> Result<SnapshotFile, StoreError> {
        let error = || StoreError::io(&self.name);
        let hash = self.hash.finish().to_be_bytes();
        self.waiting.extend_from_slice(&hash);
        self.reserve.before_block()?;
        self.file.write_at(self.written, &self.waiting).map_err(error())?;
        let bytes = self.written + self.waiting.len() as u64;
        complete(&*self.disk, &*self.file, TAKEN, &self.name)?;
        Ok(SnapshotFile { meta: self.meta, bytes, hash })
    }
}

impl Write for SnapshotWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(BLOCK - self.waiting.len());
        self.hash.add(&bytes[..taken]);
        self.waiting.extend_from_slice(&bytes[..taken]);
        if self.waiting.len() == BLOCK {
            self.flush()?;
        }
        Ok(taken)
    }

    /// Hands what waits to the file system. It is not durable yet.
    fn flush(&mut self) -> io::Result<()> {
        self.reserve.before_block().map_err(io::Error::other)?;
        self.file.write_at(self.written, &self.waiting)?;
        self.written += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }
}

fn complete(
    disk: &dyn Disk,
    file: &dyn DiskFile,
    unfinished: &str,
    name: &str,
) -> Result<(), StoreError> {
    file.sync().map_err(StoreError::io(name))?;
    disk.rename(&format!("{name}{unfinished}"), name).map_err(StoreError::io(name))?;
    disk.sync().map_err(StoreError::io(name))
}

/// Takes the file of a snapshot from another member, piece by piece.
///
/// A lost connection may go on where it stopped, at [`received`](Self::received). A restart begins again.
#[derive(Debug)]
pub struct SnapshotReceiver {
    disk: Arc<dyn Disk>,
    reserve: Keeper,
    file: Arc<dyn DiskFile>,
    name: String,
    index: u64,
    term: u64,
    received: u64,
    total: u64,
}

impl SnapshotReceiver {
    pub(crate) fn create(
        disk: Arc<dyn Disk>,
        reserve: Keeper,
        index: u64,
        term: u64,
        total: u64,
    ) -> Result<Self, StoreError> {
        let name = name(index, term);
        let file = disk.create(&format!("{name}{RECEIVED}")).map_err(StoreError::io(&name))?;
        Ok(Self { disk, reserve, file, name, index, term, received: 0, total })
    }

    /// Returns how many bytes have arrived: the offset of the next piece.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Appends a piece. Returns false, and takes nothing, if it does not begin at [`received`](Self::received) or goes
    /// past the announced length.
    ///
    /// # Errors
    /// An error of the file system.
    pub fn append(&mut self, offset: u64, piece: &[u8]) -> Result<bool, StoreError> {
        if offset != self.received || piece.len() as u64 > self.total - self.received {
            return Ok(false);
        }
        self.reserve.before_block()?;
        self.file.write_at(offset, piece).map_err(StoreError::io(&self.name))?;
        self.received += piece.len() as u64;
        Ok(true)
    }

    /// Verifies the file and gives it its final name. It is durable when this returns, and the replica may be told that
    /// the snapshot is complete, if the returned file is the one that was offered.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if bytes are missing or differ from what the sender had: ask for the snapshot again.
    /// Otherwise an error of the file system.
    pub fn finish(self) -> Result<SnapshotFile, StoreError> {
        if self.received != self.total {
            return Err(StoreError::damaged(&self.name, "it is not complete"));
        }
        let mut source = SnapshotSource::with_file(self.file.clone(), &self.name)?;
        if (source.meta.index, source.meta.term) != (self.index, self.term) {
            return Err(StoreError::damaged(&self.name, "it holds another snapshot"));
        }
        io::copy(&mut source, &mut io::sink()).map_err(|error| source.error(error))?;
        source.verify()?;
        complete(&*self.disk, &*self.file, RECEIVED, &self.name)?;
        Ok(source.describe())
    }
}

/// Reads a complete snapshot: its body for a restore, or the bytes of the file for another member.
///
/// [`Read`] gives the body and hashes what it gives. After the last byte, [`verify`](Self::verify) tells whether the file
/// is what was written: use nothing of a restore before that.
#[derive(Debug)]
pub struct SnapshotSource {
    file: Arc<dyn DiskFile>,
    name: String,
    meta: SnapshotMeta,
    len: u64,
    /// Where the next byte of the body is, and where the body ends.
    at: u64,
    end: u64,
    hash: Hash,
    expected: u128,
    buffer: Bytes,
}

impl SnapshotSource {
    pub(crate) fn open(disk: &dyn Disk, index: u64, term: u64) -> Result<Self, StoreError> {
        let name = name(index, term);
        match disk.open(&name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(StoreError::NoSnapshot { index, term })
            }
            file => Self::with_file(file.map_err(StoreError::io(&name))?, &name),
        }
    }

    /// Opens the file of a snapshot outside a data directory, such as a backup. The file is only read.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if it is not the file of a snapshot; otherwise an error of the file system.
    pub fn open_file(path: &Path) -> Result<Self, StoreError> {
        let name = path.display().to_string();
        let file = read_only(path).map_err(StoreError::io(&name))?;
        Self::with_file(file, &name)
    }

    fn with_file(file: Arc<dyn DiskFile>, name: &str) -> Result<Self, StoreError> {
        let damaged = |what: &str| StoreError::damaged(name, what);
        let len = file.len().map_err(StoreError::io(name))?;
        if len < FIXED_HEAD as u64 + END {
            return Err(damaged("it is too short"));
        }
        let mut fixed = [0; FIXED_HEAD];
        file.read_at(0, &mut fixed).map_err(StoreError::io(name))?;
        let mut head = &fixed[..];
        if head.copy_to_bytes(8) != MAGIC[..] {
            return Err(damaged("its head is unknown"));
        }
        let (index, term, size) = (head.get_u64(), head.get_u64(), head.get_u32() as usize);
        let at = (FIXED_HEAD + size) as u64;
        if size > MAX_CONFIGURATION || at + END > len {
            return Err(damaged("its head has a wrong length"));
        }
        let mut configuration = vec![0; size];
        file.read_at(FIXED_HEAD as u64, &mut configuration).map_err(StoreError::io(name))?;
        let mut hash = Hash::new();
        hash.add(&fixed);
        hash.add(&configuration);
        let configuration = Configuration::decode(&configuration.into())
            .map_err(|_| damaged("its configuration is unreadable"))?;
        let mut expected = [0; END as usize];
        file.read_at(len - END, &mut expected).map_err(StoreError::io(name))?;
        Ok(Self {
            file,
            name: name.to_owned(),
            meta: SnapshotMeta { index, term, configuration },
            len,
            at,
            end: len - END,
            hash,
            expected: u128::from_be_bytes(expected),
            buffer: Bytes::new(),
        })
    }

    /// Returns the place in the log that the snapshot stands for.
    #[must_use]
    pub fn meta(&self) -> &SnapshotMeta {
        &self.meta
    }

    /// Returns the length of the file in bytes.
    #[must_use]
    pub fn file_len(&self) -> u64 {
        self.len
    }

    /// Returns up to `most` bytes of the file from `offset` on, for another member. No bytes at the end.
    ///
    /// # Errors
    /// An error of the file system.
    pub fn piece(&self, offset: u64, most: usize) -> Result<Bytes, StoreError> {
        let left = self.len.saturating_sub(offset).min(most as u64) as usize;
        let mut piece = vec![0; left];
        self.file.read_at(offset, &mut piece).map_err(StoreError::io(&self.name))?;
        Ok(piece.into())
    }

    /// Checks the hash, once the body was read to its end.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if the file is not what was written, or was not read to its end.
    pub fn verify(&self) -> Result<(), StoreError> {
        let read = self.at == self.end && self.buffer.is_empty();
        if read && self.hash.finish() == self.expected {
            Ok(())
        } else {
            Err(StoreError::damaged(&self.name, "its hash is wrong"))
        }
    }

    /// Returns what the replica must know of the file.
    #[must_use]
    pub fn describe(&self) -> SnapshotFile {
        let hash = self.expected.to_be_bytes();
        SnapshotFile { meta: self.meta.clone(), bytes: self.len, hash }
    }

    pub(crate) fn record(&self) -> SnapshotRecord {
        SnapshotRecord { meta: self.meta.clone(), len: self.len, hash: self.expected }
    }

    fn error(&self, error: io::Error) -> StoreError {
        StoreError::io(&self.name)(error)
    }
}

impl Read for SnapshotSource {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.buffer.is_empty() && self.at < self.end {
            let mut block = vec![0; (self.end - self.at).min(BLOCK as u64) as usize];
            self.file.read_at(self.at, &mut block)?;
            self.at += block.len() as u64;
            self.hash.add(&block);
            self.buffer = block.into();
        }
        let taken = out.len().min(self.buffer.len());
        self.buffer.copy_to_slice(&mut out[..taken]);
        Ok(taken)
    }
}

/// Deletes unfinished files, and snapshots that no write of the log names.
pub(crate) fn delete_others(disk: &dyn Disk, named: &[SnapshotRecord]) -> Result<(), StoreError> {
    for file in disk.list().map_err(StoreError::io("the data directory"))? {
        let unfinished = file.ends_with(PARTIAL);
        let counts = |record: &SnapshotRecord| name(record.meta.index, record.meta.term) == file;
        if unfinished || (file.starts_with(PREFIX) && !named.iter().any(counts)) {
            disk.remove(&file).map_err(StoreError::io(&file))?;
        }
    }
    Ok(())
}

/// Deletes the file of a snapshot that no longer counts.
pub(crate) fn delete(disk: &dyn Disk, record: &SnapshotRecord) -> Result<(), StoreError> {
    let name = name(record.meta.index, record.meta.term);
    match disk.remove(&name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io(&name)(error)),
        _ => Ok(()),
    }
}

/// Checks that the file of a recorded snapshot is there, with the length and hash that were recorded.
pub(crate) fn check(disk: &dyn Disk, record: &SnapshotRecord) -> Result<(), StoreError> {
    let SnapshotMeta { index, term, .. } = record.meta;
    let name = name(index, term);
    let found = match SnapshotSource::open(disk, index, term) {
        Err(StoreError::NoSnapshot { .. }) => {
            return Err(StoreError::damaged(&name, "it is missing"));
        }
        found => found?,
    };
    if found.record() == *record {
        Ok(())
    } else {
        Err(StoreError::damaged(&name, "it is not the file that was recorded"))
    }
}
