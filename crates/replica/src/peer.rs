//! The messages that members send each other.
//!
//! They can express nothing but what a member sends: no proposal, no ReadIndex request, no request for a transfer and
//! no message that the engine addresses to itself. A member can therefore not make another one propose for it, whatever
//! it sends.

mod codec;
mod handshake;

use bytes::Bytes;

pub use codec::{PeerError, PeerFrame};
pub use handshake::{
    Accepting, ConnectionKind, Dialing, HandshakeError, HandshakeMessage, Hello, Introduction,
    Peer, Refusal, Remembered, Sender, Welcome,
};
pub(crate) use handshake::{Matches, Standpoint};

use crate::{LogEntry, RaftId, SnapshotMeta, Space};

/// A message from one member to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerMessage {
    /// The leader sends entries, or asks where the follower's log ends.
    Append {
        /// The leader's term.
        term: u64,
        /// The entry before the first one that is sent.
        previous: Position,
        /// The leader's commit index.
        commit: u64,
        /// The entries after `previous`, without a gap.
        entries: Vec<LogEntry>,
    },
    /// The follower has stored entries, or its log does not match.
    AppendResponse {
        /// The follower's term.
        term: u64,
        /// The last entry that matches, or the `previous` that does not.
        index: u64,
        /// The follower's commit index.
        commit: u64,
        /// Where the logs may match, if they do not at `index`.
        rejected: Option<Position>,
    },
    /// The leader shows that it leads.
    Heartbeat {
        /// The leader's term.
        term: u64,
        /// The leader's commit index, as far as the follower's log is known to reach.
        commit: u64,
        /// The newest read round, which the answer repeats.
        round: Option<ReadRound>,
    },
    /// The follower has heard the leader.
    HeartbeatResponse {
        /// The follower's term.
        term: u64,
        /// The follower's commit index.
        commit: u64,
        /// The read round of the heartbeat.
        round: Option<ReadRound>,
    },
    /// A member asks for a vote.
    VoteRequest {
        /// The term in which it wants to lead.
        term: u64,
        /// Whether it asks in earnest.
        kind: VoteKind,
        /// The last entry of its log.
        last: Position,
        /// Its commit index and that entry's term.
        commit: Position,
    },
    /// A member grants or refuses a vote.
    VoteResponse {
        /// The term of the vote, or the member's higher one if it refuses.
        term: u64,
        /// The request's kind, because an answer to a pre-vote is not a vote. An answer to [`VoteKind::HandOver`] says
        /// [`VoteKind::Vote`].
        kind: VoteKind,
        /// True if the vote is granted.
        granted: bool,
        /// The member's commit index and that entry's term, if it refuses; zeros otherwise.
        commit: Position,
    },
    /// The leader asks the member to start an election at once, because leadership is handed to it.
    TimeoutNow {
        /// The leader's term.
        term: u64,
    },
    /// The leader offers a snapshot. The follower answers with [`PeerMessage::SnapshotStatus`].
    SnapshotOffer {
        /// The leader's term.
        term: u64,
        /// Names the transfer.
        snapshot: SnapshotMeta,
        /// The length of the file.
        bytes: u64,
        /// The state hash of the snapshot, which is its checksum.
        hash: [u8; 16],
    },
    /// A part of the snapshot's file.
    SnapshotChunk {
        /// The leader's term.
        term: u64,
        /// The index of the snapshot.
        index: u64,
        /// Where in the file the data belong.
        offset: u64,
        /// The data.
        data: Bytes,
    },
    /// What the follower has of an offered snapshot.
    SnapshotStatus {
        /// The follower's term.
        term: u64,
        /// The index of the snapshot.
        index: u64,
        /// How far it is.
        progress: SnapshotProgress,
    },
    /// A member tells the leader what its program supports, so that the cluster's levels can rise.
    Level {
        /// The sender's term.
        term: u64,
        /// The highest feature level that the sender's program supports.
        feature_level: u32,
        /// The highest level that its application supports.
        application_level: u32,
    },
    /// A member tells the leader whether its disk is nearly full.
    Space {
        /// The sender's term.
        term: u64,
        /// How much space its disk has.
        space: Space,
    },
}

/// A place in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The entry's index.
    pub index: u64,
    /// The entry's term; 0 if the log has no such entry.
    pub term: u64,
}

/// A round of heartbeats by which a leader makes sure that it still leads. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadRound {
    /// The leader's term.
    pub term: u64,
    /// Counts up within the leader's life.
    pub count: u64,
}

/// What a member that asks for a vote intends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoteKind {
    /// It asks whether it would win, and changes no term.
    PreVote,
    /// It stands in an election.
    Vote,
    /// It stands in an election because the leader hands over to it. Members vote although they hear the leader.
    HandOver,
}

/// How far the transfer of a snapshot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotProgress {
    /// The file is complete up to this offset. The leader goes on from there.
    Have(u64),
    /// The file is complete and verified, and the state machine is being restored from it.
    Complete,
    /// The follower does not want it, or the file was damaged.
    Failed,
}

impl PeerMessage {
    /// Returns the term that the message carries.
    #[must_use]
    pub fn term(&self) -> u64 {
        match self {
            Self::Append { term, .. }
            | Self::AppendResponse { term, .. }
            | Self::Heartbeat { term, .. }
            | Self::HeartbeatResponse { term, .. }
            | Self::VoteRequest { term, .. }
            | Self::VoteResponse { term, .. }
            | Self::TimeoutNow { term }
            | Self::SnapshotOffer { term, .. }
            | Self::SnapshotChunk { term, .. }
            | Self::SnapshotStatus { term, .. }
            | Self::Level { term, .. }
            | Self::Space { term, .. } => *term,
        }
    }

    /// Returns true if the message must not wait behind entries and snapshots. The shell sends it on the pair's other
    /// connection.
    #[must_use]
    pub fn is_urgent(&self) -> bool {
        !matches!(
            self,
            Self::Append { .. } | Self::SnapshotOffer { .. } | Self::SnapshotChunk { .. }
        )
    }
}

/// A message and the member that it goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addressed {
    /// The receiver.
    pub to: RaftId,
    /// The message.
    pub message: PeerMessage,
}
