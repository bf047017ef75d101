//! How two members introduce themselves before they exchange messages.
//!
//! ```text
//! dialer                         acceptor
//!   Hello: who I am,       ──▶
//!     what I remember of you     judges the dialer and its own directory
//!                          ◀──   Welcome: who I am, what I have, what I remember of you
//!   judges the acceptor
//!     and its own directory
//!   Confirm: what I have   ──▶   judges the dialer's directory
//! ```
//!
//! Either side can answer with a [`Refusal`] instead, which says why. Each side answers what the other remembers with
//! what it has at that moment. So a write that becomes durable during the handshake is never mistaken for a directory
//! that was rolled back: every acknowledgement that a peer remembers was given before the answer was made.

mod codec;
mod matches;
mod refusal;
#[cfg(test)]
mod tests;

use bytes::Bytes;

pub use codec::HandshakeMessage;
pub(crate) use matches::Matches;
pub use matches::Remembered;
pub use refusal::{HandshakeError, Refusal};

use crate::{ClusterId, Configuration, FormatError, Incarnation, PeerFrame, Position, RaftId};

/// What a member's shell says of the member in every handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introduction {
    /// The cluster in the identity of the data directory.
    pub cluster: ClusterId,
    /// The incarnation in the identity of the data directory.
    pub incarnation: Incarnation,
    /// Where other members reach this one's peer port. A member that is not in the receiver's configuration yet is
    /// answered there.
    pub address: String,
}

/// What a connection between two members carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConnectionKind {
    /// Votes, heartbeats and answers: what must not wait behind entries and snapshots.
    Urgent,
    /// Appends and snapshots.
    Bulk,
}

/// One side of a handshake, as the other side reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The sender's number in the Raft group.
    pub id: RaftId,
    /// What its shell says of it.
    pub introduction: Introduction,
    /// The oldest version of the peer protocol that it speaks.
    pub oldest: u8,
    /// The newest version of the peer protocol that it speaks.
    pub newest: u8,
    /// The highest feature level that its program supports.
    pub feature_level: u32,
    /// The last entry of its log that is durable, and its durable term, which can be higher than that entry's.
    pub durable: Position,
    /// Where clients reach it, such as `tcp://10.0.0.1:7001`; none if it did not say. At most
    /// [`MemberInfo::MAX_TEXT`](crate::MemberInfo::MAX_TEXT) bytes; a longer one is not sent.
    pub client_endpoint: Option<String>,
}

/// The first message: the dialer introduces itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The dialer.
    pub from: Sender,
    /// The member that it wants to reach.
    pub to: RaftId,
    /// What the connection carries.
    pub kind: ConnectionKind,
    /// What the dialer remembers of the acceptor's incarnation, if it has met it.
    pub remembered: Option<(Incarnation, Remembered)>,
}

/// The second message: the acceptor introduces itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The acceptor.
    pub from: Sender,
    /// The dialer.
    pub to: RaftId,
    /// The version of the peer protocol that both speak.
    pub version: u8,
    /// What the acceptor remembers of the dialer's incarnation, if it has met it.
    pub remembered: Option<Remembered>,
}

/// A member at the other end of a connection whose handshake is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its number in the Raft group. Frames on this connection must come from it.
    pub id: RaftId,
    /// What its shell says of it.
    pub introduction: Introduction,
    /// What the connection carries.
    pub kind: ConnectionKind,
    /// The version of the peer protocol that both speak.
    pub version: u8,
    /// What its disk holds, as it said.
    pub durable: Position,
    /// Where clients reach it, as it said.
    pub client_endpoint: Option<String>,
}

/// A handshake of a member that dials. It waits for the [`Welcome`].
#[derive(Debug)]
pub struct Dialing {
    peer: RaftId,
    kind: ConnectionKind,
    remembered: Option<(Incarnation, Remembered)>,
}

/// A handshake of a member that was dialled. It waits for the dialer to confirm.
#[derive(Debug)]
pub struct Accepting {
    peer: Peer,
    remembered: Option<Remembered>,
}

/// What a member knows at one step of a handshake.
pub(crate) struct Standpoint<'a> {
    pub(crate) id: RaftId,
    pub(crate) introduction: &'a Introduction,
    pub(crate) feature_level: u32,
    pub(crate) durable: Position,
    pub(crate) client_endpoint: Option<&'a str>,
    pub(crate) configuration: &'a Configuration,
    /// The index as of which the configuration holds.
    pub(crate) configured: u64,
    pub(crate) matches: &'a Matches,
}

/// The oldest version of the peer protocol that this program speaks.
const OLDEST: u8 = 1;
const NEWEST: u8 = PeerFrame::VERSION;

type Step<T> = Result<T, HandshakeError>;

impl Standpoint<'_> {
    fn sender(&self) -> Sender {
        Sender {
            id: self.id,
            introduction: self.introduction.clone(),
            oldest: OLDEST,
            newest: NEWEST,
            feature_level: self.feature_level,
            durable: self.durable,
            client_endpoint: self.client_endpoint.map(str::to_owned),
        }
    }

    /// Begins a handshake.
    pub(crate) fn dial(&self, peer: RaftId, kind: ConnectionKind) -> (Dialing, Bytes) {
        let remembered = self.matches.of(peer);
        let hello = Hello { from: self.sender(), to: peer, kind, remembered };
        (Dialing { peer, kind, remembered }, HandshakeMessage::Hello(hello).encode())
    }

    /// Answers the first message.
    pub(crate) fn accept(&self, bytes: &Bytes) -> Step<(Accepting, Bytes)> {
        let hello = match HandshakeMessage::decode(bytes)? {
            HandshakeMessage::Hello(hello) => hello,
            _ => return Err(FormatError::Invalid("the order of the handshake").into()),
        };
        let Hello { from, to, kind, remembered } = hello;
        let version = self.judge(&from, to)?;
        if let Some((incarnation, remembered)) = remembered
            && incarnation == self.introduction.incarnation
        {
            self.check_own(remembered)?;
        }
        let remembered = self.remembered(&from);
        let welcome = Welcome { from: self.sender(), to: from.id, version, remembered };
        let Sender { id, introduction, durable, client_endpoint, .. } = from;
        let peer = Peer { id, introduction, kind, version, durable, client_endpoint };
        Ok((Accepting { peer, remembered }, HandshakeMessage::Welcome(welcome).encode()))
    }

    /// Answers the second message, which completes the dialer's side.
    pub(crate) fn confirm(&self, dialing: &Dialing, bytes: &Bytes) -> Step<(Peer, Bytes)> {
        let Welcome { from, to, version, remembered } = match HandshakeMessage::decode(bytes)? {
            HandshakeMessage::Welcome(welcome) => welcome,
            HandshakeMessage::Refusal(refusal) => return Err(HandshakeError::Refused(refusal)),
            _ => return Err(FormatError::Invalid("the order of the handshake").into()),
        };
        if from.id != dialing.peer {
            return Err(Refusal::OtherMember { id: self.id }.into());
        }
        if self.judge(&from, to)? != version {
            return Err(FormatError::Invalid("the version of the peer protocol").into());
        }
        // It answers what the first message said.
        let asked = dialing.remembered.filter(|(life, _)| *life == from.introduction.incarnation);
        if let Some((_, remembered)) = asked {
            remembered.check(from.durable)?;
        }
        if let Some(remembered) = remembered {
            self.check_own(remembered)?;
        }
        let Sender { id, introduction, durable, client_endpoint, .. } = from;
        let kind = dialing.kind;
        let peer = Peer { id, introduction, kind, version, durable, client_endpoint };
        Ok((peer, HandshakeMessage::Confirm { durable: self.durable }.encode()))
    }

    /// Judges the other side by everything that does not change during a handshake. Returns the version that both speak.
    fn judge(&self, other: &Sender, to: RaftId) -> Result<u8, Refusal> {
        let Sender { id, introduction, oldest, newest, feature_level, durable, .. } = other;
        let Introduction { cluster, incarnation, .. } = introduction;
        if *cluster != self.introduction.cluster {
            return Err(Refusal::OtherCluster { cluster: self.introduction.cluster });
        }
        if to != self.id {
            return Err(Refusal::OtherMember { id: self.id });
        }
        let version = NEWEST.min(*newest);
        if version < OLDEST.max(*oldest) {
            return Err(Refusal::Version { oldest: OLDEST, newest: NEWEST });
        }
        if self.configuration.removed.contains(id) {
            return Err(Refusal::Removed);
        }
        if *incarnation == self.introduction.incarnation {
            return Err(Refusal::SameIncarnation { id: self.id });
        }
        if let Some(holder) = self.matches.holder(*incarnation).filter(|holder| holder != id) {
            return Err(Refusal::SameIncarnation { id: holder });
        }
        if *id == self.id {
            return Err(Refusal::OtherIncarnation { known: self.introduction.incarnation });
        }
        if let Some((known, _)) = self.matches.of(*id).filter(|(known, _)| known != incarnation) {
            return Err(Refusal::OtherIncarnation { known });
        }
        // A member that has more of the log may have been added there.
        if !self.configuration.contains(*id) && durable.index <= self.configured {
            return Err(Refusal::UnknownMember);
        }
        let needed = self.configuration.feature_level();
        if *feature_level < needed {
            return Err(Refusal::FeatureLevel { needed });
        }
        Ok(version)
    }

    fn remembered(&self, other: &Sender) -> Option<Remembered> {
        let (known, remembered) = self.matches.of(other.id)?;
        (known == other.introduction.incarnation).then_some(remembered)
    }

    /// Finds out whether this member's own directory lacks what a peer remembers of it.
    fn check_own(&self, remembered: Remembered) -> Step<()> {
        remembered.check(self.durable).map_err(HandshakeError::Refused)
    }
}

impl Dialing {
    pub(crate) fn peer(&self) -> RaftId {
        self.peer
    }
}

impl Accepting {
    /// Takes the third message, which completes the acceptor's side.
    pub(crate) fn complete(self, bytes: &Bytes) -> Step<Peer> {
        match HandshakeMessage::decode(bytes)? {
            HandshakeMessage::Confirm { durable } => {
                if let Some(remembered) = self.remembered {
                    remembered.check(durable)?;
                }
                Ok(self.peer)
            }
            HandshakeMessage::Refusal(refusal) => Err(HandshakeError::Refused(refusal)),
            _ => Err(FormatError::Invalid("the order of the handshake").into()),
        }
    }

    /// Returns the dialer, whose directory is not judged yet.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }
}
