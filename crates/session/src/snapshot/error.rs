use std::{borrow::Cow, io};

/// A snapshot that cannot be restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The input failed.
    #[error("the snapshot cannot be read: {0}")]
    Io(io::Error),
    /// The input does not begin like a snapshot.
    #[error("the input is not a snapshot")]
    NotASnapshot,
    /// A newer version wrote the snapshot.
    #[error("snapshot format version {0} is not supported; upgrade this member")]
    UnsupportedVersion(u16),
    /// The input ends before the snapshot does.
    #[error("the snapshot ends early")]
    Truncated,
    /// A checksum does not match, or a length is impossible: the bytes are not those that were written.
    #[error("the snapshot is damaged in chunk {chunk}; use another one")]
    Damaged {
        /// The chunk, counted from 0.
        chunk: u64,
    },
    /// The bytes are undamaged and are not a state.
    #[error("the snapshot holds no valid state: {0}")]
    Invalid(Cow<'static, str>),
    /// The snapshot's application level is above what this member's version of the application supports.
    #[error(
        "application level {wanted} is not supported, only {supported}; upgrade the application"
    )]
    ApplicationLevel {
        /// The level of the snapshot.
        wanted: u32,
        /// The highest level that this member supports.
        supported: u32,
    },
}

impl RestoreError {
    /// Returns the error of a state that the application cannot have written.
    pub fn invalid(what: impl Into<Cow<'static, str>>) -> Self {
        Self::Invalid(what.into())
    }
}

/// Recovers the error that [`SnapshotInput`](super::SnapshotInput) had to pass through [`io::Read`].
impl From<io::Error> for RestoreError {
    fn from(error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(error) => error,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Self::Truncated,
            Err(error) => Self::Io(error),
        }
    }
}

impl From<RestoreError> for io::Error {
    fn from(error: RestoreError) -> Self {
        match error {
            RestoreError::Io(error) => error,
            error => Self::new(io::ErrorKind::InvalidData, error),
        }
    }
}
