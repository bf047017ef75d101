//! The replicated state, which all members share: the result of the committed entries.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;

use zraft_protocol::{MemberId, Payload, RequestErrorReason, RequestId, ServerMessage, SessionId};
use zraft_zmtp::Instant;

use super::config::Limits;
use crate::application::{Application, Outcome, Rejected, detached};
use crate::journal::Journal;

/// The number of a session in the order of creation, from 0. Never used again.
pub(crate) type Key = u64;

/// Returns the number of a session that people see, which counts from 1.
pub(crate) fn number(key: Key) -> u64 {
    key + 1
}

pub(crate) struct Replicated {
    pub(crate) sessions: BTreeMap<Key, Session>,
    by_id: HashMap<SessionId, Key>,
    next_key: Key,
    pub(crate) app: Box<dyn Application>,
    pub(crate) journal: Journal,
    pub(crate) deduplication: bool,
    /// The number of unacknowledged server requests of all sessions.
    pub(crate) unacknowledged: usize,
    limits: Limits,
}

pub(crate) struct Session {
    pub(crate) id: SessionId,
    /// L, the lowest pending request id: the highest one of any executed command.
    pub(crate) lowest: RequestId,
    cache: BTreeMap<RequestId, Payload>,
    cached_bytes: usize,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    last_server_request: RequestId,
    /// When the leader ends the session. The leader keeps this time; it is not in the log.
    pub(crate) expires_at: Instant,
    /// The session's end is in the log, because of CloseSession or an announced expiry.
    pub(crate) ending: bool,
}

/// A server request that the client has not acknowledged.
struct Waiting {
    id: RequestId,
    payload: Payload,
    last_sent: Instant,
}

/// The outcome of a command that was committed.
pub(crate) enum Applied {
    /// The session had ended.
    NoSession,
    /// The application executed the command.
    Executed(Outcome),
    /// An earlier copy was executed. This is its cached answer.
    Cached(Payload),
    /// Not executed: the id is below L, and no answer is cached.
    Evicted,
    /// Not executed: the application refused the payload.
    Rejected(Rejected),
    /// Not executed: the answer would pass this limit on cached answers.
    Full(&'static str),
}

impl Replicated {
    pub(crate) fn new(app: Box<dyn Application>, limits: Limits) -> Self {
        Self {
            sessions: BTreeMap::new(),
            by_id: HashMap::new(),
            next_key: 0,
            app,
            journal: Journal::new(limits.journal_entries, limits.journal_bytes),
            deduplication: true,
            unacknowledged: 0,
            limits,
        }
    }

    pub(crate) fn key(&self, id: &SessionId) -> Option<Key> {
        self.by_id.get(id).copied()
    }

    pub(crate) fn create_session(&mut self, id: SessionId, expires_at: Instant) -> Key {
        let key = self.next_key;
        self.next_key += 1;
        self.by_id.insert(id.clone(), key);
        let session = Session {
            id,
            lowest: RequestId::ZERO,
            cache: BTreeMap::new(),
            cached_bytes: 0,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            last_server_request: RequestId::ZERO,
            expires_at,
            ending: false,
        };
        self.sessions.insert(key, session);
        key
    }

    /// Removes a session. Returns true if it existed.
    pub(crate) fn end_session(&mut self, key: Key) -> bool {
        let Some(session) = self.sessions.remove(&key) else { return false };
        self.by_id.remove(&session.id);
        self.unacknowledged -= session.waiting.len();
        self.app.session_ended(&session.id);
        true
    }

    /// Executes a command, unless deduplication finds an earlier copy.
    pub(crate) fn apply(
        &mut self,
        key: Key,
        request_id: RequestId,
        lowest_pending: RequestId,
        payload: &Payload,
        member: &MemberId,
        now: Instant,
    ) -> Applied {
        let Some(session) = self.sessions.get_mut(&key) else { return Applied::NoSession };
        if self.deduplication {
            if let Some(answer) = session.cache.get(&request_id) {
                return Applied::Cached(answer.clone());
            }
            if request_id < session.lowest {
                return Applied::Evicted;
            }
        }
        if !session.has_room(lowest_pending, &self.limits) {
            let full = session.cache.len() >= self.limits.cached_answers;
            return Applied::Full(if full { "cached_answers" } else { "cached_bytes" });
        }
        let outcome = match self.app.apply(&session.id, payload, now) {
            Ok(outcome) => outcome,
            Err(rejected) => return Applied::Rejected(rejected),
        };
        session.raise_lowest(lowest_pending);
        session.keep_answer(request_id, &outcome.answer);
        self.journal.record(&session.id, request_id, payload, member);
        Applied::Executed(outcome)
    }

    /// Adds a server request to a session. Returns its id, or `None` if the session does not exist or is full.
    pub(crate) fn push_server_request(
        &mut self,
        key: Key,
        payload: &Payload,
        now: Instant,
    ) -> Option<RequestId> {
        let session = self.sessions.get_mut(&key)?;
        if session.waiting.len() >= self.limits.server_requests
            || session.waiting_bytes.saturating_add(payload.len())
                > self.limits.server_request_bytes
        {
            return None;
        }
        session.last_server_request = session.last_server_request.next();
        let id = session.last_server_request;
        session.waiting_bytes += payload.len();
        session.waiting.push_back(Waiting { id, payload: payload.clone(), last_sent: now });
        self.unacknowledged += 1;
        Some(id)
    }

    /// Returns true if a session holds as many unacknowledged server requests as it may.
    pub(crate) fn server_requests_full(&self, key: Key) -> bool {
        let limit = self.limits.server_requests;
        self.sessions.get(&key).is_some_and(|session| session.waiting.len() >= limit)
    }

    /// Drops the server requests of a session up to `request_id`, which the client has acknowledged.
    pub(crate) fn acknowledge(&mut self, key: Key, request_id: RequestId) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        while session.waiting.front().is_some_and(|waiting| waiting.id <= request_id) {
            if let Some(done) = session.waiting.pop_front() {
                session.waiting_bytes -= done.payload.len();
                self.unacknowledged -= 1;
            }
        }
    }

    /// Returns true if any server request was last sent more than `age` ago.
    pub(crate) fn redelivery_due(&self, now: Instant, age: std::time::Duration) -> bool {
        self.unacknowledged > 0
            && self.sessions.values().any(|session| {
                session.waiting.iter().any(|w| now.saturating_duration_since(w.last_sent) > age)
            })
    }

    /// Returns the server requests that were last sent more than `age` ago, and marks them as sent now.
    pub(crate) fn redeliver(
        &mut self,
        now: Instant,
        age: std::time::Duration,
    ) -> Vec<(Key, RequestId, Payload)> {
        let mut due = Vec::new();
        for (key, session) in &mut self.sessions {
            for waiting in &mut session.waiting {
                if now.saturating_duration_since(waiting.last_sent) > age {
                    waiting.last_sent = now;
                    due.push((*key, waiting.id, waiting.payload.clone()));
                }
            }
        }
        due
    }
}

impl Session {
    fn raise_lowest(&mut self, lowest: RequestId) {
        if lowest <= self.lowest {
            return;
        }
        self.lowest = lowest;
        while let Some(first) = self.cache.first_entry() {
            if *first.key() >= lowest {
                break;
            }
            self.cached_bytes -= first.remove().len();
        }
    }

    fn keep_answer(&mut self, request_id: RequestId, answer: &Payload) {
        self.cached_bytes += answer.len();
        if let Some(old) = self.cache.insert(request_id, answer.clone()) {
            self.cached_bytes -= old.len();
        }
    }

    /// Returns true if one more answer fits into the cache once L has risen to `lowest`.
    fn has_room(&self, lowest: RequestId, limits: &Limits) -> bool {
        let room = |answers, bytes| answers < limits.cached_answers && bytes < limits.cached_bytes;
        room(self.cache.len(), self.cached_bytes)
            || lowest > self.lowest && {
                let kept = self.cache.range(lowest..);
                let (answers, bytes) =
                    kept.fold((0, 0), |(count, bytes), (_, kept)| (count + 1, bytes + kept.len()));
                room(answers, bytes)
            }
    }

    pub(crate) fn cached_answers(&self) -> usize {
        self.cache.len()
    }

    pub(crate) fn unacknowledged(&self) -> usize {
        self.waiting.len()
    }
}

impl Applied {
    /// Returns the message that answers the command, if any.
    pub(crate) fn reply(&self, request_id: RequestId) -> Option<ServerMessage> {
        match self {
            Self::Executed(Outcome { answer, .. }) | Self::Cached(answer) => {
                Some(ServerMessage::ClientResponse { request_id, result: answer.clone() })
            }
            Self::Evicted => Some(ServerMessage::RequestError {
                request_id,
                reason: RequestErrorReason::ResponseEvicted,
            }),
            Self::NoSession | Self::Rejected(_) | Self::Full(_) => None,
        }
    }
}

impl fmt::Debug for Replicated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replicated")
            .field("sessions", &self.sessions.len())
            .field("executed", &self.journal.executed())
            .finish_non_exhaustive()
    }
}

/// Returns a copy of a server request's payload, which must not keep the receive buffer of a command alive.
pub(crate) fn keepable(payload: &Payload) -> Payload {
    detached(payload)
}
