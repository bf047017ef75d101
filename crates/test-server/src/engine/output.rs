use zraft_protocol::ServerMessage;

use super::{Incident, MemberIndex};

/// The number of a connection, unique in the cluster and never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub(crate) u64);

/// A task for the caller, who carries the bytes. Outputs must be carried out in order.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Output {
    /// Send a message.
    Send {
        /// The connection.
        peer: PeerId,
        /// The message to send.
        message: ServerMessage,
    },
    /// Close a connection. The engine has removed it; do not call [`disconnected`](super::Engine::disconnected) for it.
    Close {
        /// The connection.
        peer: PeerId,
        /// Whether to send its queued messages first.
        how: CloseHow,
    },
    /// Read nothing from a connection and answer no PING on it until [`ResumeReading`](Self::ResumeReading). Keep it open,
    /// whatever its timers say.
    StopReading {
        /// The connection.
        peer: PeerId,
    },
    /// Read from a connection again.
    ResumeReading {
        /// The connection.
        peer: PeerId,
    },
    /// Change what a member's port does.
    Listen {
        /// The member.
        member: MemberIndex,
        /// The new state of the port.
        listening: Listening,
    },
    /// Report an incident to the person who runs the cluster.
    Report {
        /// The connection that the incident concerns. Its [`Close`](Self::Close), if any, comes later.
        peer: Option<PeerId>,
        /// The incident.
        incident: Incident,
    },
}

/// How to close a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseHow {
    /// Send the queued messages first.
    Flush,
    /// Reset the TCP connection. Queued messages are lost.
    Reset,
}

/// The state of a member's port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listening {
    /// The member accepts connections.
    Open,
    /// The port is open and the member accepts no connection, like a process that was stopped by SIGSTOP.
    Held,
    /// The port is closed. The system refuses connections.
    Closed,
}
