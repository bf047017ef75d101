//! Members: their Raft ids, and what the cluster knows of each.

use std::{fmt, num::NonZeroU64};

use zraft_protocol::MemberId;

/// The number of a member in the Raft group.
///
/// It is given out once. A member that lost its data directory comes back under another number, because the engine
/// counts on everything that a number once acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RaftId(NonZeroU64);

impl RaftId {
    /// Returns the id with this number, or none for 0, which Raft reserves for "no member".
    #[must_use]
    pub const fn new(number: u64) -> Option<Self> {
        match NonZeroU64::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// Returns the number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for RaftId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for RaftId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RaftId({})", self.0)
    }
}

/// What every member knows of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberInfo {
    /// The name that clients get as a hint and find in their configuration.
    pub name: MemberId,
    /// Where other members reach its peer port. The replica only stores it.
    pub address: String,
    /// The highest feature level that its program supports.
    pub feature_level: u32,
}

impl MemberInfo {
    /// The longest name or address in bytes. A DNS name has at most 253.
    pub const MAX_TEXT: usize = 512;
}
