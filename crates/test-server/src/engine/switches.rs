//! The data of the switches.

use std::fmt;

use zraft_protocol::{ClientMessageKind, MemberId, ServerMessageKind};

/// What is lost when a leader is killed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KillLoss {
    /// Nothing that the leader had received: it commits and answers all of it first.
    Unreceived,
    /// Entries that the leader had not committed.
    #[default]
    Uncommitted,
    /// Answers: the leader commits and executes everything that it had received and answers none of it.
    Unanswered,
    /// A part drawn from the seed: the leader commits and answers the first entries, commits some more without an
    /// answer, and the rest is lost.
    Mixed,
}

/// The leader that a follower's rejections name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Hints {
    /// The leader; none during an election.
    #[default]
    Leader,
    /// No leader, ever.
    Absent,
    /// Always this member, which need not exist.
    Wrong(MemberId),
    /// The follower itself.
    Itself,
    /// The next member that does not lead, so that hints go round in a circle and never name the leader.
    Circular,
}

/// The messages that a switch drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageClass {
    /// Messages of this kind from clients.
    FromClient(ClientMessageKind),
    /// Messages of this kind to clients.
    ToClient(ServerMessageKind),
    /// The answers to commands and queries.
    Answers,
    /// All messages from clients.
    AllFromClients,
    /// All messages to clients.
    AllToClients,
}

/// The number of messages still to be dropped, per kind; `u64::MAX` means all.
#[derive(Debug, Default)]
pub(crate) struct Drops {
    from_client: [u64; 16],
    to_client: [u64; 16],
    active: bool,
    pub(crate) dropped: u64,
}

impl Drops {
    pub(crate) fn add(&mut self, class: MessageClass, first: Option<u64>) {
        let count = first.unwrap_or(u64::MAX);
        let mut to_client = |kind: ServerMessageKind| self.to_client[slot(kind as u8)] = count;
        match class {
            MessageClass::FromClient(kind) => self.from_client[slot(kind as u8)] = count,
            MessageClass::ToClient(kind) => to_client(kind),
            MessageClass::Answers => {
                to_client(ServerMessageKind::ClientResponse);
                to_client(ServerMessageKind::QueryResponse);
            }
            MessageClass::AllFromClients => self.from_client = [count; 16],
            MessageClass::AllToClients => self.to_client = [count; 16],
        }
        self.active = true;
    }

    pub(crate) fn clear(&mut self) {
        *self = Self { dropped: self.dropped, ..Self::default() };
    }

    /// Returns true if the engine must drop a message of this kind from a client, and counts it.
    pub(crate) fn take_from_client(&mut self, kind: ClientMessageKind) -> bool {
        self.active && take(&mut self.from_client[slot(kind as u8)], &mut self.dropped)
    }

    /// Returns true if the engine must drop a message of this kind to a client, and counts it.
    pub(crate) fn take_to_client(&mut self, kind: ServerMessageKind) -> bool {
        self.active && take(&mut self.to_client[slot(kind as u8)], &mut self.dropped)
    }
}

/// Returns the index of a discriminator, which is a single digit. The mask lets the compiler omit bounds checks.
fn slot(discriminator: u8) -> usize {
    usize::from(discriminator & 15)
}

fn take(left: &mut u64, dropped: &mut u64) -> bool {
    if *left == 0 {
        return false;
    }
    if *left != u64::MAX {
        *left -= 1;
    }
    *dropped += 1;
    true
}

/// Why a switch cannot be set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SwitchError {
    /// No member has this id.
    #[error("the cluster has no member {0:?}")]
    UnknownMember(String),
    /// No session has this id. The error does not name the id, because it is a secret.
    #[error("the cluster has no such session")]
    UnknownSession,
    /// The member does not run. Restart it first.
    #[error("member {0:?} does not run")]
    NotRunning(String),
    /// The member already runs.
    #[error("member {0:?} runs already")]
    Running(String),
    /// The member cannot lead, because it does not run, is frozen or is cut off.
    #[error("member {0:?} cannot lead")]
    CannotLead(String),
    /// No member leads. Wait for the election.
    #[error("no member leads")]
    NoLeader,
    /// The session would hold more than [`Limits`](super::Limits) allows.
    #[error("a limit would be passed")]
    Limit,
    /// The port cannot be opened.
    #[error("cannot listen on {endpoint}: {error}")]
    Listen {
        /// The endpoint of the member.
        endpoint: String,
        /// The error of the operating system.
        error: String,
    },
}

/// The position of a member in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberIndex(pub(crate) usize);

impl MemberIndex {
    /// Returns the position, counted from 0.
    pub fn get(self) -> usize {
        self.0
    }
}

impl fmt::Display for MemberIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "member {} of the configuration", self.0 + 1)
    }
}
