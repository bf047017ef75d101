use crate::SettingsError;

/// Bytes that are not an entry which this member can apply.
///
/// The member must stop before the entry and must not skip it: other members may have applied it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// A newer member wrote the entry.
    #[error("entry format version {0} is not supported; upgrade this member")]
    UnsupportedVersion(u8),
    /// A newer member wrote the entry.
    #[error("entry kind {0} is unknown; upgrade this member")]
    UnknownKind(u8),
    /// The bytes end within a field.
    #[error("the entry ends within {0}")]
    Truncated(&'static str),
    /// The entry is complete and bytes are left.
    #[error("{0} bytes follow the entry")]
    TrailingBytes(usize),
    /// A field holds a value that it cannot have.
    #[error("{0} is invalid")]
    Invalid(&'static str),
    /// A Settings entry holds a setting outside its range.
    #[error(transparent)]
    Settings(#[from] SettingsError),
}
