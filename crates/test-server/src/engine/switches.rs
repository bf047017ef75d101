//! The faults a test can plant, as data.

use std::fmt;

use zraft_protocol::{ClientMessageKind, MemberId, ServerMessageKind};

/// What a killed leader takes with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KillLoss {
    /// Only what it had not received: all that it had is committed and answered first.
    Unreceived,
    /// What it had not committed. What was committed is executed, and its answers were sent.
    #[default]
    Uncommitted,
    /// The answers: all that it had received is committed and executed, and nothing of it answered.
    Unanswered,
    /// Drawn from the seed: a first part is committed and answered, a second committed only, the rest
    /// lost.
    Mixed,
}

/// What the rejections of a follower name as the leader.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Hints {
    /// The leader; nobody during an election.
    #[default]
    Leader,
    /// Nobody, ever.
    Absent,
    /// Always this one, which need not exist.
    Wrong(MemberId),
    /// The member itself.
    Itself,
    /// The next member that does not lead, so that hints lead round and never to the leader.
    Circular,
}

/// Which messages are to vanish.
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

/// How many more of each kind vanish; `u64::MAX` is all of them.
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

    pub(crate) fn take_from_client(&mut self, kind: ClientMessageKind) -> bool {
        self.active && take(&mut self.from_client[slot(kind as u8)], &mut self.dropped)
    }

    pub(crate) fn take_to_client(&mut self, kind: ServerMessageKind) -> bool {
        self.active && take(&mut self.to_client[slot(kind as u8)], &mut self.dropped)
    }
}

/// Discriminators are single digits; the mask only keeps the compiler from checking bounds.
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

/// A switch cannot be thrown as things stand.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SwitchError {
    /// No member has this id.
    #[error("the cluster has no member {0:?}")]
    UnknownMember(String),
    /// No living session has this id. (The id is not told: it is a secret.)
    #[error("the cluster has no such session")]
    UnknownSession,
    /// The member does not run: restart it first.
    #[error("member {0:?} does not run")]
    NotRunning(String),
    /// The member runs already.
    #[error("member {0:?} runs already")]
    Running(String),
    /// The member cannot lead: it does not run, is frozen or is cut off.
    #[error("member {0:?} cannot lead")]
    CannotLead(String),
    /// No member leads: wait for the election.
    #[error("no member leads")]
    NoLeader,
    /// A limit would be passed.
    #[error("a limit would be passed")]
    Limit,
    /// The port could not be opened.
    #[error("cannot listen on {endpoint}: {error}")]
    Listen {
        /// Where.
        endpoint: String,
        /// What the system said.
        error: String,
    },
}

/// The position of a member in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberIndex(pub(crate) usize);

impl MemberIndex {
    /// The position, from 0.
    pub fn get(self) -> usize {
        self.0
    }
}

impl fmt::Display for MemberIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "member {} of the configuration", self.0 + 1)
    }
}
