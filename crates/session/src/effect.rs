//! The effects of applied entries. The leader turns them into messages; every other member drops them.

use zraft_protocol::{Payload, RequestErrorReason, RequestId, ServerMessage, SessionId};

use crate::Rejected;

/// One consequence of an applied entry. [`StateMachine::apply`](crate::StateMachine::apply) reports them in the order
/// in which clients must see them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A session exists from now on.
    SessionCreated {
        /// Its id.
        session: SessionId,
    },
    /// A CreateSession entry created no session.
    SessionRefused {
        /// The id that the leader had drawn for it.
        session: SessionId,
        /// Why it was refused.
        refusal: Refusal,
    },
    /// A command reached its place in the log.
    Answered {
        /// The session that the entry names.
        session: SessionId,
        /// The request id that the entry names.
        request_id: RequestId,
        /// The outcome of the command.
        answer: Answer,
    },
    /// A session got a server request.
    Pushed {
        /// The session to send it to.
        session: SessionId,
        /// The server request.
        request: ServerRequest,
    },
    /// A session had no room for a server request and lost it. Reported only under
    /// [`FullSession::LosesTheRequest`](crate::FullSession::LosesTheRequest).
    PushRefused {
        /// The session that got nothing.
        session: SessionId,
        /// The name of the setting that left no room.
        setting: &'static str,
    },
    /// A session has ended.
    SessionEnded {
        /// Its id, which is never used again.
        session: SessionId,
        /// Why it ended.
        end: SessionEnd,
    },
}

/// The outcome of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The application executed it and gave this answer.
    Executed(Payload),
    /// The application executed it, and its answer is longer than
    /// [`Settings::payload_bytes`](crate::Settings::payload_bytes). The answer is dropped: clients refuse it, and the
    /// limits on the cache would not hold.
    TooLong,
    /// The application rejected it, with or without an answer. Its request id is used up all the same, unless the
    /// [`Policy`](crate::Policy) says otherwise.
    Rejected(Rejected),
    /// An earlier copy was executed or rejected, and this is its answer; none if it got none.
    Cached(Option<Payload>),
    /// Not executed, now or ever: its request id is below the session's lowest pending id and no answer is kept.
    Evicted,
    /// Not executed: its session had ended.
    NoSession,
    /// Not executed: the session's cache has no room for its answer. Reported only under
    /// [`FullCache::Refuses`](crate::FullCache::Refuses).
    CacheFull {
        /// The name of the setting that left no room.
        setting: &'static str,
    },
}

impl Answer {
    /// Returns the application's bytes, if the outcome has any.
    pub(crate) fn payload(&self) -> Option<&Payload> {
        match self {
            Self::Executed(payload) => Some(payload),
            Self::Rejected(rejected) => rejected.answer(),
            Self::Cached(payload) => payload.as_ref(),
            Self::TooLong | Self::Evicted | Self::NoSession | Self::CacheFull { .. } => None,
        }
    }

    /// Returns the message that answers the command, or none if there is no session to answer or no message for the
    /// outcome.
    ///
    /// A command that will never have an answer becomes RequestError(ResponseEvicted), the protocol's only message for
    /// it. The client reports that the command may have run.
    #[must_use]
    pub fn message(&self, request_id: RequestId) -> Option<ServerMessage> {
        if let Some(result) = self.payload() {
            return Some(ServerMessage::ClientResponse { request_id, result: result.clone() });
        }
        match self {
            Self::NoSession | Self::CacheFull { .. } => None,
            _ => {
                let reason = RequestErrorReason::ResponseEvicted;
                Some(ServerMessage::RequestError { request_id, reason })
            }
        }
    }
}

/// A request that the application makes of a client. The client acknowledges it; until then it is kept and redelivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerRequest {
    /// Counts up from 1 within the session.
    pub id: RequestId,
    /// The application's bytes.
    pub payload: Payload,
}

/// Why a CreateSession entry created no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// As many sessions exist as [`Settings::sessions`](crate::Settings::sessions) allows.
    TooManySessions,
    /// A session with this id exists. The leader draws ids at random, so this means that its generator is broken.
    DuplicateId,
    /// The application rejected the client's capabilities.
    Application,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SessionEnd {
    /// The client closed it.
    Closed,
    /// The client sent nothing for the session timeout.
    Expired,
    /// The connection that asked for it was gone when it was created, so no client knows its id.
    Abandoned,
    /// Its cached answers stayed at twice the limit because the client never raised its lowest pending id.
    CacheOverrun,
    /// An operator ended it.
    Removed,
    /// [`Context::push`](crate::Context::push) found no room for another server request.
    ServerRequestsFull,
    /// The application called [`Context::end_session`](crate::Context::end_session).
    Application,
}

impl SessionEnd {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Closed => 1,
            Self::Expired => 2,
            Self::Abandoned => 3,
            Self::CacheOverrun => 4,
            Self::Removed => 5,
            Self::ServerRequestsFull => 6,
            Self::Application => 7,
        }
    }
}
