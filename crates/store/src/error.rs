//! Why a store refuses or ends, with the remedy in the text.

use std::io;

/// Why a store cannot be opened, or must not be used any more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process uses the data directory.
    #[error(
        "{folder} is in use by another process: stop that process, or give this member its own directory"
    )]
    InUse {
        /// The data directory.
        folder: String,
    },
    /// The directory holds no member.
    #[error(
        "{folder} holds no member: mount the right volume, or create a new member in an empty directory"
    )]
    Empty {
        /// The data directory.
        folder: String,
    },
    /// The directory holds a member already.
    #[error(
        "{folder} holds a member already: start that member, or choose an empty directory for a new one"
    )]
    Exists {
        /// The data directory.
        folder: String,
    },
    /// The directory was written by a version of this program that is newer, or too old.
    #[error(
        "{file} has format {found}, and this version reads {known}: start the version that wrote it, or upgrade step by step"
    )]
    Version {
        /// The file that tells its format.
        file: String,
        /// The format it has.
        found: u32,
        /// The newest format that this version reads.
        known: u32,
    },
    /// A file has bytes that no version writes.
    #[error(
        "{file} is damaged ({what}): remove this member from the cluster, delete its directory, and add it again as a new member"
    )]
    Damaged {
        /// The file.
        file: String,
        /// What is wrong with it.
        what: String,
    },
    /// The disk is full.
    #[error("no space left for {file}: free space on the disk, then start the member again")]
    Full {
        /// The file that did not fit.
        file: String,
    },
    /// The file system failed. What the disk holds now is not known to this process, so it must end.
    #[error("{file}: {error}: check the disk, then start the member again")]
    Io {
        /// The file.
        file: String,
        /// What the file system said.
        error: io::Error,
    },
    /// A write failed before, so this process no longer knows what the disk holds.
    #[error("an earlier write failed: end this process and start the member again")]
    Ended,
    /// The caller broke the contract of a replica's writes, which would damage the log.
    #[error("write {number} does not continue the log: {what}")]
    OutOfOrder {
        /// The number of the write.
        number: u64,
        /// What does not fit.
        what: &'static str,
    },
    /// The snapshot that a write names has no complete file.
    #[error("there is no complete file for the snapshot at index {index} of term {term}")]
    NoSnapshot {
        /// The index of the snapshot.
        index: u64,
        /// The term of the snapshot.
        term: u64,
    },
}

impl StoreError {
    pub(crate) fn io(file: &str) -> impl FnOnce(io::Error) -> Self + '_ {
        move |error| match error.kind() {
            io::ErrorKind::StorageFull => Self::Full { file: file.to_owned() },
            _ => Self::Io { file: file.to_owned(), error },
        }
    }

    pub(crate) fn damaged(file: &str, what: impl Into<String>) -> Self {
        Self::Damaged { file: file.to_owned(), what: what.into() }
    }

    /// An error of the database, which may be one of the disk below it.
    pub(crate) fn database(file: &str, error: impl Into<redb::Error>) -> Self {
        match error.into() {
            redb::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                Self::damaged(file, error.to_string())
            }
            redb::Error::Io(error) => Self::io(file)(error),
            redb::Error::Corrupted(what) => Self::damaged(file, what),
            redb::Error::UpgradeRequired(found) => {
                Self::Version { file: file.to_owned(), found: found.into(), known: 0 }
            }
            redb::Error::PreviousIo => Self::Ended,
            other => Self::Io { file: file.to_owned(), error: io::Error::other(other.to_string()) },
        }
    }
}
