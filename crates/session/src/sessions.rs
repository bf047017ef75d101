//! The sessions and their tables. Everything is in persistent ordered maps: a copy of all sessions costs one reference
//! count, the order is the same on every member, and no client can choose keys that collide.

mod session;

use rpds::RedBlackTreeMapSync;
use zraft_protocol::{Payload, RequestId, SessionId};

pub use session::Session;

use crate::{PushError, ServerRequest, Settings};

/// All sessions of the cluster, as of one log index.
///
/// Cloning is O(1) and the copy never changes, so the leader can judge commands by a copy while entries are applied on
/// another thread.
#[derive(Clone, Debug, Default)]
pub struct Sessions {
    map: RedBlackTreeMapSync<SessionId, Session>,
    totals: Totals,
}

/// The sums over all sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Cached answers.
    pub cached_answers: u64,
    /// Payload bytes of the cached answers.
    pub cached_bytes: u64,
    /// Unacknowledged server requests.
    pub server_requests: u64,
    /// Payload bytes of the unacknowledged server requests.
    pub server_request_bytes: u64,
}

/// Server requests that wait for their acknowledgement, or that one call of the application adds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) requests: u64,
    pub(crate) bytes: u64,
}

impl Load {
    pub(crate) fn add(&mut self, payload: &Payload) {
        self.requests += 1;
        self.bytes += payload.len() as u64;
    }

    /// Returns the limit that leaves no room for one more payload beside this load and `more`.
    fn full(self, more: Self, payload: &Payload, requests: Limit, bytes: Limit) -> Option<NoRoom> {
        if self.requests + more.requests >= requests.1 {
            Some(NoRoom::Full(requests.0))
        } else if self.bytes + more.bytes + payload.len() as u64 > bytes.1 {
            Some(NoRoom::Full(bytes.0))
        } else {
            None
        }
    }
}

/// A setting's name and value.
type Limit = (&'static str, u64);

/// Why a session cannot take another server request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// The session does not exist.
    NoSession,
    /// This setting leaves no room.
    Full(&'static str),
}

impl From<NoRoom> for PushError {
    fn from(no_room: NoRoom) -> Self {
        match no_room {
            NoRoom::NoSession => Self::NoSession,
            NoRoom::Full(_) => Self::Full,
        }
    }
}

impl Sessions {
    /// Returns the number of sessions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.map.size()
    }

    /// Returns true if there is no session.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Returns a session.
    #[must_use]
    pub fn get(&self, id: &SessionId) -> Option<&Session> {
        self.map.get(id)
    }

    /// Returns true if the session exists.
    #[must_use]
    pub fn contains(&self, id: &SessionId) -> bool {
        self.map.contains_key(id)
    }

    /// Returns all sessions, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (&SessionId, &Session)> {
        self.map.iter()
    }

    /// Returns what all sessions use together.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// The session, and its id as it is stored.
    pub(crate) fn find(&self, id: &SessionId) -> Option<(&SessionId, &Session)> {
        self.map.get_key_value(id)
    }

    /// Adds a session. Its id must be new.
    pub(crate) fn insert(&mut self, id: SessionId, session: Session) {
        self.totals.cached_answers += session.cached_answers();
        self.totals.cached_bytes += session.cached_bytes();
        self.totals.server_requests += session.waiting().requests;
        self.totals.server_request_bytes += session.waiting().bytes;
        self.map.insert_mut(id, session);
    }

    /// Removes a session. Returns true if it existed.
    pub(crate) fn remove(&mut self, id: &SessionId) -> bool {
        let Some(session) = self.map.get(id) else { return false };
        self.totals.cached_answers -= session.cached_answers();
        self.totals.cached_bytes -= session.cached_bytes();
        self.totals.server_requests -= session.waiting().requests;
        self.totals.server_request_bytes -= session.waiting().bytes;
        self.map.remove_mut(id)
    }

    /// Raises the lowest pending id, and caches the answer to a command that was executed or rejected. `None` stands
    /// for a command that has none. `again` says whether the command may have an answer already.
    pub(crate) fn keep_answer(
        &mut self,
        id: &SessionId,
        request_id: RequestId,
        lowest_pending: RequestId,
        answer: Option<Payload>,
        again: bool,
    ) {
        let Some(session) = self.map.get_mut(id) else { return };
        self.totals.cached_answers -= session.cached_answers();
        self.totals.cached_bytes -= session.cached_bytes();
        session.raise_lowest(lowest_pending);
        if again {
            session.forget_answer(request_id);
        }
        session.keep_answer(request_id, answer);
        self.totals.cached_answers += session.cached_answers();
        self.totals.cached_bytes += session.cached_bytes();
    }

    /// Checks whether a session can take a server request beside those that are `staged`: for it, and for all.
    pub(crate) fn check_room(
        &self,
        id: &SessionId,
        payload: &Payload,
        settings: &Settings,
        staged: Load,
        all_staged: Load,
    ) -> Result<RequestId, NoRoom> {
        let session = self.map.get(id).ok_or(NoRoom::NoSession)?;
        let requests = ("server_requests", settings.server_requests.into());
        let bytes = ("server_request_bytes", settings.server_request_bytes);
        if let Some(full) = session.waiting().full(staged, payload, requests, bytes) {
            return Err(full);
        }
        let all =
            Load { requests: self.totals.server_requests, bytes: self.totals.server_request_bytes };
        let total = ("total_server_requests", settings.total_server_requests);
        let bytes = ("total_server_request_bytes", settings.total_server_request_bytes);
        if let Some(full) = all.full(all_staged, payload, total, bytes) {
            return Err(full);
        }
        session.server_request_id(staged.requests).ok_or(NoRoom::Full(requests.0))
    }

    /// Adds a server request for which [`check_room`](Self::check_room) found room. Returns `None` if the session has ended.
    pub(crate) fn push(&mut self, id: &SessionId, payload: Payload) -> Option<ServerRequest> {
        let session = self.map.get_mut(id)?;
        self.totals.server_requests += 1;
        self.totals.server_request_bytes += payload.len() as u64;
        Some(session.push(payload))
    }

    /// Drops the server requests of a session up to one that the client has.
    pub(crate) fn acknowledge(&mut self, id: &SessionId, up_to: RequestId) {
        // Look first: a mutable look-up copies shared nodes, and most repeated acknowledgements change nothing.
        if self.map.get(id).is_none_or(|session| session.acknowledged() >= up_to) {
            return;
        }
        let Some(session) = self.map.get_mut(id) else { return };
        let before = session.waiting();
        session.acknowledge(up_to);
        let after = session.waiting();
        self.totals.server_requests -= before.requests - after.requests;
        self.totals.server_request_bytes -= before.bytes - after.bytes;
    }
}
