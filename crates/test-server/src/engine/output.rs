use zraft_protocol::ServerMessage;

use super::{Incident, MemberIndex};

/// A connection of a client to a member, numbered over the whole cluster and never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub(crate) u64);

/// What whoever carries the bytes has to do, in order.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Output {
    /// Send a message.
    Send {
        /// To this connection.
        peer: PeerId,
        /// The message.
        message: ServerMessage,
    },
    /// Close a connection. The engine has forgotten it: it need not be told of its end.
    Close {
        /// This connection.
        peer: PeerId,
        /// With or without what is queued for it.
        how: CloseHow,
    },
    /// Read nothing more from a connection and answer no PING on it, but keep it open and keep its
    /// timers from ending it, until told otherwise.
    StopReading {
        /// This connection.
        peer: PeerId,
    },
    /// Read on.
    ResumeReading {
        /// This connection.
        peer: PeerId,
    },
    /// What the member's port does from now on.
    Listen {
        /// The member.
        member: MemberIndex,
        /// What its port does.
        listening: Listening,
    },
    /// Nothing to do for the connections. Tell whoever runs the cluster.
    Report {
        /// The connection that it is about. A [`Close`](Self::Close) of it follows, if one does.
        peer: Option<PeerId>,
        /// What happened.
        incident: Incident,
    },
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseHow {
    /// What is queued is sent first.
    Flush,
    /// A TCP reset; what is queued is lost.
    Reset,
}

/// What a member's port does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listening {
    /// Connections are accepted.
    Open,
    /// The port stands open and nobody accepts, as of a process that was stopped by a signal.
    Held,
    /// The port is closed: connections are refused.
    Closed,
}
