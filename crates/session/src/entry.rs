//! The entries of the replicated log that belong to sessions.

mod bytes;
mod codec;
mod error;

use std::fmt;

use zraft_protocol::{Payload, RequestId, SessionId};

pub use bytes::EntryBytes;
pub(crate) use codec::{SETTINGS_LEN, put_settings, read_settings};
pub use error::EntryError;

use crate::{Capabilities, CheckedSettings, SessionEnd, Time};

/// One entry of the replicated log: an operation, and the time at which the leader proposed it.
///
/// [`encode`](Self::encode) and [`decode`](Self::decode) are the log's format, described in the
/// [crate documentation](crate#formats).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The leader's clock when it proposed the entry. Applying clamps it, so that replicated time never falls.
    pub time: Time,
    /// The operation.
    pub operation: Operation,
}

/// The operation of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A leader's term begins. The first entry that a leader proposes after its no-op.
    Genesis(Genesis),
    /// Creates a session.
    CreateSession {
        /// The new session's id, drawn by the leader from the operating system's random generator.
        session: SessionId,
        /// The client's capabilities, without secrets.
        capabilities: Capabilities,
    },
    /// Executes a command, at most once for each session and request id.
    Command {
        /// The session that sent it.
        session: SessionId,
        /// The command's id within the session.
        request_id: RequestId,
        /// The session needs no cached answer below this id. [`Admission`](crate::Admission) computes it; applying
        /// lowers it to `request_id` if it is above.
        lowest_pending: RequestId,
        /// The application's bytes.
        payload: Payload,
    },
    /// Acknowledges server requests of any number of sessions.
    Acknowledge(Vec<Acknowledgement>),
    /// Ends a session.
    EndSession {
        /// The session.
        session: SessionId,
        /// Why the leader ends it.
        reason: EndReason,
    },
    /// Lets replicated time pass, so that [`Application::tick`](crate::Application::tick) runs when nothing else comes.
    Tick,
    /// Replaces the replicated settings.
    Settings(CheckedSettings),
}

/// The beginning of a leader's term.
#[derive(Clone, PartialEq, Eq)]
pub struct Genesis {
    /// The term.
    pub term: u64,
    /// The secret from which the application's random numbers of this term are drawn. The leader takes it from the
    /// operating system's random generator. `Debug` does not show it.
    pub seed: [u8; 32],
}

impl fmt::Debug for Genesis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Genesis").field("term", &self.term).finish_non_exhaustive()
    }
}

/// A session's acknowledgement of its server requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    /// The session.
    pub session: SessionId,
    /// The client has every server request up to and including this one.
    pub up_to: RequestId,
}

/// Why the leader proposes to end a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndReason {
    /// The client sent CloseSession.
    Closed,
    /// The leader received nothing from the client for the session timeout.
    Expired,
    /// The connection that sent CreateSession was gone when the session was created.
    Abandoned,
    /// The session's cached answers stayed at twice the limit; see [`Verdict::Overrun`](crate::Verdict::Overrun).
    CacheOverrun,
    /// An operator asked for it.
    Removed,
}

impl From<EndReason> for SessionEnd {
    fn from(reason: EndReason) -> Self {
        match reason {
            EndReason::Closed => Self::Closed,
            EndReason::Expired => Self::Expired,
            EndReason::Abandoned => Self::Abandoned,
            EndReason::CacheOverrun => Self::CacheOverrun,
            EndReason::Removed => Self::Removed,
        }
    }
}
