//! Why a member refuses another one. The refused member gets the reason.

use bytes::Bytes;

use super::{HandshakeMessage, Remembered};
use crate::{ClusterId, FormatError, Incarnation, Position, RaftId, StopReason};

/// Why a member refuses another one. The text addresses the operator of the refused member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The two belong to different clusters.
    #[error("the peer belongs to cluster {cluster}, not to this member's; correct its address")]
    OtherCluster {
        /// The cluster of the member that refuses.
        cluster: ClusterId,
    },
    /// Another member has the address that was dialled, or has answered.
    #[error("the peer is member {id}, not the one that was expected; correct its address")]
    OtherMember {
        /// The member that refuses.
        id: RaftId,
    },
    /// The two have no version of the peer protocol in common.
    #[error(
        "the peer speaks versions {oldest} to {newest} of the peer protocol, which this member does not; upgrade the older one first to the version between"
    )]
    Version {
        /// The oldest version that the refusing member speaks.
        oldest: u8,
        /// The newest version that the refusing member speaks.
        newest: u8,
    },
    /// A data directory is used twice.
    #[error(
        "member {id} has the same data directory, or a copy of it; stop one of the two, delete its directory and add it again as a new member"
    )]
    SameIncarnation {
        /// The member that has the incarnation.
        id: RaftId,
    },
    /// The member was known with another data directory.
    #[error(
        "the peer knows this member with another data directory, incarnation {known}; start it from that one, or add it as a new member with a new id"
    )]
    OtherIncarnation {
        /// The incarnation that the refusing member knows.
        known: Incarnation,
    },
    /// The configuration of the refusing member, which is as new as the refused member's log, does not contain it.
    #[error("the cluster does not contain this member; add it, and it is accepted at its next try")]
    UnknownMember,
    /// The member was removed.
    #[error(
        "the cluster has removed this member; to use this machine again, add a new member with an empty directory"
    )]
    Removed,
    /// The program of the member is too old for the cluster.
    #[error(
        "the cluster is at feature level {needed}, which this program does not support; upgrade it"
    )]
    FeatureLevel {
        /// The cluster's level.
        needed: u32,
    },
    /// The member has acknowledged or promised what its directory no longer holds.
    #[error(
        "this member's data directory was rolled back or copied: it has entry {} and term {}, and once had entry {} and term {}; remove this member and add it again as a new one with an empty directory",
        .durable.index, .durable.term, .remembered.matched.max(.remembered.committed), .remembered.term
    )]
    RolledBack {
        /// What a peer remembers.
        remembered: Remembered,
        /// What the member has.
        durable: Position,
    },
}

impl Refusal {
    /// Returns why the refused member must end its process, or none if it may try again.
    #[must_use]
    pub fn stop_reason(&self) -> Option<StopReason> {
        match self {
            Self::Removed => Some(StopReason::Removed),
            Self::RolledBack { remembered, durable } => {
                Some(StopReason::RolledBack { remembered: *remembered, durable: *durable })
            }
            _ => None,
        }
    }
}

/// How a handshake fails. Either way the connection must be closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The bytes are not the message that belongs here.
    #[error("the peer sent an invalid handshake: {0}")]
    Format(#[from] FormatError),
    /// This member refuses the other one. [`reply`](Self::reply) tells it why.
    #[error("this member refuses the peer, which is told: {0}")]
    Refuses(#[from] Refusal),
    /// The other member refuses this one, or this member has found that its own directory was rolled back.
    #[error("{0}")]
    Refused(Refusal),
}

impl HandshakeError {
    /// Returns the message to send before the connection is closed.
    #[must_use]
    pub fn reply(&self) -> Option<Bytes> {
        match self {
            Self::Refuses(refusal) => Some(HandshakeMessage::Refusal(*refusal).encode()),
            Self::Format(_) | Self::Refused(_) => None,
        }
    }
}
