//! The seam between the store and the file system: one folder with files in it.
//!
//! [`Folder`] is a real folder. The simulation has another one, whose unsynced writes can be torn, lost and reordered.

use std::{
    fmt::Debug,
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// A folder that belongs to one member.
///
/// Names are plain file names without a path. Creating, renaming and removing a file are durable once
/// [`sync`](Self::sync) has returned, and may be undone by a crash before that.
pub trait Disk: Debug + Send + Sync + 'static {
    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is no such file; any other error of the file system.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Creates an empty file, or empties the one that is there.
    ///
    /// # Errors
    /// Any error of the file system.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Gives a file another name. A file that has that name already is replaced, at once or not at all.
    ///
    /// # Errors
    /// Any error of the file system.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// Any error of the file system.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Returns the names of all files, in any order.
    ///
    /// # Errors
    /// Any error of the file system.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes the names of files durable: what was created, renamed or removed before.
    ///
    /// # Errors
    /// Any error of the file system.
    fn sync(&self) -> io::Result<()>;

    /// Locks the folder against another process, until the returned value is dropped.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if another process holds the lock; any other error of the file system.
    fn lock(&self) -> io::Result<Box<dyn DiskLock>>;

    /// Returns what a person calls this folder: its path.
    fn name(&self) -> String;

    /// Returns how many more bytes fit, [`u64::MAX`] if that is not known.
    ///
    /// # Errors
    /// Any error of the file system.
    fn free(&self) -> io::Result<u64>;
}

/// Keeps a folder locked until it is dropped.
pub trait DiskLock: Debug + Send + Sync {}

/// An open file.
///
/// Writes are durable once [`sync`](Self::sync) has returned. A crash before that may keep, lose or tear each of them.
pub trait DiskFile: Debug + Send + Sync + 'static {
    /// Returns the length in bytes.
    ///
    /// # Errors
    /// Any error of the file system.
    fn len(&self) -> io::Result<u64>;

    /// Returns true if the file has no bytes.
    ///
    /// # Errors
    /// Any error of the file system.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `out` with the bytes from `offset` on.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] if the file ends before; any other error of the file system.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;

    /// Writes `bytes` from `offset` on. The file grows if it must.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`] if the disk is full; any other error of the file system.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the file, or lets it grow by zeros. Growth may take no space before it is written.
    ///
    /// # Errors
    /// Any error of the file system.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Sets the length, and takes space for all of it now.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`] if it does not fit, when a part may have been taken; any other error of the file
    /// system.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Makes all writes durable.
    ///
    /// # Errors
    /// Any error of the file system. What was written since the last success may then be lost, whatever a later call
    /// returns: the process must end.
    fn sync(&self) -> io::Result<()>;

    /// Makes all writes durable, and lets later reads see what the disk holds instead of what a cache shows.
    ///
    /// After a failed sync, Linux can keep bytes in its cache that never reached the disk, and takes them for written. A process
    /// that starts again would read them, and no later sync would write them.
    ///
    /// # Errors
    /// Any error of the file system.
    fn reread(&self) -> io::Result<()>;
}

/// Zeros that are written at once where the file system cannot allocate: large enough to be fast, and little memory.
const ZEROS: u64 = 1 << 20;
/// The file that carries the lock of a [`Folder`].
const LOCK: &str = "lock";

/// A folder of the file system.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Opens an existing folder.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is none, [`io::ErrorKind::NotADirectory`] if the path is a file.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        if !fs::metadata(&path)?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Self { path })
    }

    /// Creates a folder that only its owner may read, or opens the one that is there.
    ///
    /// # Errors
    /// Any error of the file system.
    pub fn create(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&path)?;
        if let Some(parent) = path.parent() {
            sync_folder(parent)?;
        }
        Self::open(path)
    }

    /// Returns the path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Options with which only the owner may read a new file: entries and snapshots hold what clients sent.
    fn options() -> OpenOptions {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options
    }
}

impl Disk for Folder {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(RealFile(Self::options().open(self.path.join(name))?)))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let options = Self::options().create(true).truncate(true).clone();
        Ok(Arc::new(RealFile(options.open(self.path.join(name))?)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn sync(&self) -> io::Result<()> {
        sync_folder(&self.path)
    }

    fn lock(&self) -> io::Result<Box<dyn DiskLock>> {
        let file = Self::options().create(true).truncate(false).open(self.path.join(LOCK))?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(RealLock(file))),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }

    #[cfg(unix)]
    fn free(&self) -> io::Result<u64> {
        let found = rustix::fs::statvfs(&self.path)?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    /// The standard library does not tell it. A full disk then ends the member without a warning.
    #[cfg(not(unix))]
    fn free(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path)?.sync_all()
}

/// Windows makes names durable with the files, and cannot open a folder as a file.
#[cfg(not(unix))]
fn sync_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// Opens a file of the file system that is only read, such as a backup.
pub(crate) fn read_only(path: &Path) -> io::Result<Arc<dyn DiskFile>> {
    Ok(Arc::new(RealFile(File::open(path)?)))
}

#[derive(Debug)]
struct RealLock(#[expect(dead_code, reason = "the open file holds the lock")] File);

impl DiskLock for RealLock {}

#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    #[cfg(unix)]
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.0, out, offset)
    }

    #[cfg(unix)]
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(&self.0, bytes, offset)
    }

    #[cfg(windows)]
    fn read_at(&self, mut offset: u64, mut out: &mut [u8]) -> io::Result<()> {
        while !out.is_empty() {
            match std::os::windows::fs::FileExt::seek_read(&self.0, out, offset)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => {
                    offset += read as u64;
                    out = &mut out[read..];
                }
            }
        }
        Ok(())
    }

    #[cfg(windows)]
    fn write_at(&self, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match std::os::windows::fs::FileExt::seek_write(&self.0, bytes, offset)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => {
                    offset += written as u64;
                    bytes = &bytes[written..];
                }
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let had = self.0.metadata()?.len();
        if len <= had {
            return self.0.set_len(len);
        }
        #[cfg(target_os = "linux")]
        match rustix::fs::fallocate(&self.0, rustix::fs::FallocateFlags::empty(), had, len - had) {
            // Not every file system can.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
            done => return Ok(done?),
        }
        write_zeros(self, had, len)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn reread(&self) -> io::Result<()> {
        // The system drops only what it takes for written, so everything is written first.
        self.0.sync_data()?;
        #[cfg(target_os = "linux")]
        rustix::fs::fadvise(&self.0, 0, None, rustix::fs::Advice::DontNeed)?;
        Ok(())
    }
}

/// Takes the space of a file from `from` up to `to`, where the file system cannot do it by itself.
fn write_zeros(file: &dyn DiskFile, from: u64, to: u64) -> io::Result<()> {
    let zeros = vec![0; ZEROS.min(to - from) as usize];
    let mut at = from;
    while at < to {
        let part = &zeros[..(to - at).min(ZEROS) as usize];
        file.write_at(at, part)?;
        at += part.len() as u64;
    }
    Ok(())
}

/// A disk that refuses everything that changes it, once something that changed it has failed.
///
/// After a failed write or sync it is not known what is durable, and a later sync may succeed although bytes are lost.
#[derive(Debug)]
pub(crate) struct Guarded {
    disk: Arc<dyn Disk>,
    ended: Arc<AtomicBool>,
}

impl Guarded {
    pub(crate) fn new(disk: impl Disk) -> Self {
        Self { disk: Arc::new(disk), ended: Arc::default() }
    }

    /// Returns the disk whose failures end nothing.
    pub(crate) fn unguarded(&self) -> Arc<dyn Disk> {
        self.disk.clone()
    }

    /// Returns a flag that is set once something has failed.
    pub(crate) fn ended(&self) -> Arc<AtomicBool> {
        self.ended.clone()
    }
}

fn change<T>(ended: &AtomicBool, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    if ended.load(Ordering::Acquire) {
        return Err(io::Error::other("an earlier write failed"));
    }
    let done = act();
    if done.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::NotFound) {
        ended.store(true, Ordering::Release);
    }
    done
}

impl Disk for Guarded {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.disk.open(name)?;
        Ok(Arc::new(GuardedFile { file, ended: self.ended.clone() }))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = change(&self.ended, || self.disk.create(name))?;
        Ok(Arc::new(GuardedFile { file, ended: self.ended.clone() }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        change(&self.ended, || self.disk.rename(from, to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        change(&self.ended, || self.disk.remove(name))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn sync(&self) -> io::Result<()> {
        change(&self.ended, || self.disk.sync())
    }

    fn lock(&self) -> io::Result<Box<dyn DiskLock>> {
        self.disk.lock()
    }

    fn name(&self) -> String {
        self.disk.name()
    }

    fn free(&self) -> io::Result<u64> {
        self.disk.free()
    }
}

#[derive(Debug)]
struct GuardedFile {
    file: Arc<dyn DiskFile>,
    ended: Arc<AtomicBool>,
}

impl DiskFile for GuardedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, out)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        change(&self.ended, || self.file.write_at(offset, bytes))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        change(&self.ended, || self.file.set_len(len))
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        change(&self.ended, || self.file.allocate(len))
    }

    fn sync(&self) -> io::Result<()> {
        change(&self.ended, || self.file.sync())
    }

    fn reread(&self) -> io::Result<()> {
        change(&self.ended, || self.file.reread())
    }
}

#[cfg(test)]
mod tests;
