//! At which entry the application panicked, and how often.
//!
//! The file is text, so that a person can read it:
//!
//! ```text
//! zraft crash 1
//! entry 4711
//! count 2
//! check 0123456789abcdef
//! thread 'application' panicked at …
//! ```
//!
//! The checksum covers the lines before it and the text after it.

use std::io;

use twox_hash::XxHash3_64;

use crate::{Disk, StoreError};

const FILE: &str = "crash";
const PARTIAL: &str = "crash.partial";
const HEAD: &str = "zraft crash 1\n";
/// A backtrace of some hundred frames. What is longer is cut at its end, where the frames of the runtime are.
const MAX_TRACE: usize = 64 << 10;
/// Longer than any record; a longer file is none.
const MAX_LEN: u64 = MAX_TRACE as u64 + 1024;
/// The second panic at one entry shows that it is not chance.
const GIVE_UP_AFTER: u32 = 2;

/// What a data directory knows of the panics of its application.
///
/// A panic ends the process, and the restarted process applies the same entry again. So that it does not crash without end,
/// the member starts without its application after the second panic at the same entry: it votes and stores, and neither
/// applies nor leads. The entry is not skipped, because other members may have applied it.
///
/// The shell calls [`note`](Self::note) where it catches the panic of the application's thread, before the process ends,
/// and [`read`](Self::read) at the start.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use zraft_store::{CrashRecord, Folder};
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("member");
///
/// let disk = Folder::create(path)?;
/// // Twice: the application panicked at entry 4711.
/// for _ in 0..2 {
///     CrashRecord::note(&disk, 4711, "thread 'application' panicked at src/main.rs:7: overflow")?;
/// }
/// // At the start, with the index of the newest snapshot:
/// let record = CrashRecord::read(&disk)?;
/// let applies = record.is_none_or(|record| record.applies_from(4000));
/// assert!(!applies);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrashRecord {
    /// The index of the entry.
    pub index: u64,
    /// How often the application panicked there in a row.
    pub count: u32,
    /// The message and the backtrace of the last panic.
    pub trace: String,
}

impl CrashRecord {
    /// Returns true if a member whose newest snapshot is at `snapshot` may apply entries: the application panicked once,
    /// or the snapshot holds the entry's effects, so the application never meets it again.
    #[must_use]
    pub fn applies_from(&self, snapshot: u64) -> bool {
        self.count < GIVE_UP_AFTER || snapshot >= self.index
    }

    /// Writes down a panic at an entry, and returns the record. It is durable when this returns. A panic at another entry
    /// than the last one starts the count again.
    ///
    /// It may run on any thread, beside the store, but not twice at once.
    ///
    /// # Errors
    /// An error of the file system.
    pub fn note(disk: &dyn Disk, index: u64, trace: &str) -> Result<Self, StoreError> {
        let before = Self::read(disk)?.filter(|before| before.index == index);
        let count = before.map_or(0, |before| before.count).saturating_add(1);
        let record = Self { index, count, trace: bounded(trace).to_owned() };
        let error = || StoreError::io(FILE);
        let file = disk.create(PARTIAL).map_err(error())?;
        file.write_at(0, record.to_text().as_bytes()).map_err(error())?;
        file.sync().map_err(error())?;
        disk.rename(PARTIAL, FILE).map_err(error())?;
        disk.sync().map_err(error())?;
        Ok(record)
    }

    /// Reads the record of a directory, none if its application never panicked.
    ///
    /// A record that cannot be read counts as none: the member may then panic twice more, which harms less than a member
    /// that does not start.
    ///
    /// # Errors
    /// An error of the file system.
    pub fn read(disk: &dyn Disk) -> Result<Option<Self>, StoreError> {
        let file = match disk.open(FILE) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(StoreError::io(FILE))?,
        };
        let len = file.len().map_err(StoreError::io(FILE))?;
        if len > MAX_LEN {
            return Ok(None);
        }
        let mut bytes = vec![0; len as usize];
        file.read_at(0, &mut bytes).map_err(StoreError::io(FILE))?;
        Ok(Self::from_text(&bytes))
    }

    /// Removes the record, so that the member applies entries again from its next start on: after the application was
    /// corrected.
    ///
    /// # Errors
    /// An error of the file system.
    pub fn clear(disk: &dyn Disk) -> Result<(), StoreError> {
        match disk.remove(FILE) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.and_then(|()| disk.sync()).map_err(StoreError::io(FILE)),
        }
    }

    fn to_text(&self) -> String {
        let facts = format!("{HEAD}entry {}\ncount {}\n", self.index, self.count);
        format!("{facts}check {:016x}\n{}", check(&facts, &self.trace), self.trace)
    }

    fn from_text(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let rest = text.strip_prefix(HEAD)?.strip_prefix("entry ")?;
        let (index, rest) = rest.split_once("\ncount ")?;
        let (count, rest) = rest.split_once("\ncheck ")?;
        let (sum, trace) = rest.split_once('\n')?;
        let record = Self {
            index: index.parse().ok()?,
            count: count.parse().ok()?,
            trace: trace.to_owned(),
        };
        (record.to_text() == text && sum.len() == 16).then_some(record)
    }
}

fn check(facts: &str, trace: &str) -> u64 {
    XxHash3_64::oneshot([facts, trace].concat().as_bytes())
}

/// Cuts a trace, not within a character.
fn bounded(trace: &str) -> &str {
    let mut end = trace.len().min(MAX_TRACE);
    while !trace.is_char_boundary(end) {
        end -= 1;
    }
    &trace[..end]
}
