//! Why a member must end.

use zraft_session::EntryError;

use crate::{FormatError, Position, Remembered};

/// The role of a member in its term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// It follows a leader, or waits for one.
    Follower,
    /// It stands for election.
    Candidate,
    /// It leads.
    Leader,
}

/// What a member cannot live with. It must end its process, and its data directory must not be used under the same
/// [`RaftId`](crate::RaftId) again unless the text says so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StopReason {
    /// A leader counts on entries that this member has acknowledged and no longer has.
    #[error(
        "this member's log ends at {last}, but it once acknowledged entry {known}; add it again as a new member"
    )]
    LostLog {
        /// An entry that the member must have acknowledged.
        known: u64,
        /// The last entry that it has.
        last: u64,
    },
    /// Two members have committed different entries at one index.
    #[error(
        "entry {index} is committed here and differs on the leader; add this member again as a new one"
    )]
    Diverged {
        /// The index of the entry.
        index: u64,
    },
    /// A newer member wrote a change of the configuration that this one cannot read. Upgrade it and start it again.
    #[error(
        "entry {index} is a change of the configuration that this version does not know: {error}"
    )]
    UnknownChange {
        /// The index of the entry.
        index: u64,
        /// What is wrong with it.
        error: FormatError,
    },
    /// A change of the configuration does not fit the configuration that this member has.
    #[error("entry {index} changes a configuration that this member does not have")]
    ImpossibleChange {
        /// The index of the entry.
        index: u64,
    },
    /// A newer member wrote an entry that this one cannot read. Upgrade it and start it again.
    #[error("entry {index} cannot be read: {error}")]
    UnknownEntry {
        /// The index of the entry.
        index: u64,
        /// What is wrong with it.
        error: EntryError,
    },
    /// The state machine could not apply an entry. Its error says what to do.
    #[error("entry {index} cannot be applied: {error}")]
    NotApplied {
        /// The index of the entry.
        index: u64,
        /// What is wrong with it.
        error: String,
    },
    /// The cluster has removed this member.
    #[error(
        "the cluster has removed this member; to use this machine again, add a new member with an empty directory"
    )]
    Removed,
    /// A peer remembers promises of this member that its data directory no longer holds.
    #[error(
        "this member's data directory was rolled back or copied: it has entry {} and term {}, and once had entry {} and term {}; remove this member and add it again as a new one with an empty directory",
        .durable.index, .durable.term, .remembered.matched.max(.remembered.committed), .remembered.term
    )]
    RolledBack {
        /// What the peer remembers.
        remembered: Remembered,
        /// What the directory has.
        durable: Position,
    },
}
