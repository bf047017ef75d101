use std::ops::Bound;

use rpds::RedBlackTreeMapSync;
use zraft_protocol::{Payload, RequestId};

use super::Load;
use crate::ServerRequest;

/// One session: its cached answers and its unacknowledged server requests.
///
/// Read-only outside this crate: only entries of the log change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// L: ids below it have no cached answer and never run.
    lowest: RequestId,
    /// The smallest id from `lowest` on without an answer. Follows from `lowest` and `answers`.
    lowest_unexecuted: RequestId,
    /// Answers from `lowest` on. `None` stands for a command that has none.
    answers: RedBlackTreeMapSync<RequestId, Option<Payload>>,
    answer_bytes: u64,
    /// The last server request; zero before the first.
    last_server_request: RequestId,
    /// The last server request that the client acknowledged; zero before the first.
    acknowledged: RequestId,
    /// The server requests after `acknowledged`, without a gap.
    waiting: RedBlackTreeMapSync<RequestId, Payload>,
    waiting_bytes: u64,
}

impl Session {
    /// The most server requests that [`redelivery`](Self::redelivery) returns, so that a client that does not read is not
    /// flooded.
    pub const MAX_REDELIVERY: usize = 512;
    /// The most payload bytes that [`redelivery`](Self::redelivery) returns, unless its first request alone is longer.
    pub const MAX_REDELIVERY_BYTES: usize = 8 << 20;

    /// Returns a new session with this lowest pending id.
    pub(crate) fn new(lowest: RequestId) -> Self {
        Self {
            lowest,
            lowest_unexecuted: lowest,
            answers: RedBlackTreeMapSync::new_sync(),
            answer_bytes: 0,
            last_server_request: RequestId::ZERO,
            acknowledged: RequestId::ZERO,
            waiting: RedBlackTreeMapSync::new_sync(),
            waiting_bytes: 0,
        }
    }

    /// Returns the lowest pending id: commands below it have no cached answer and never run.
    #[must_use]
    pub fn lowest_pending(&self) -> RequestId {
        self.lowest
    }

    /// Returns the smallest id, from the lowest pending id on, of a command that was neither executed nor rejected.
    #[must_use]
    pub fn lowest_unexecuted(&self) -> RequestId {
        self.lowest_unexecuted
    }

    /// Returns the cached answer to a command: `Some(None)` if it was rejected without one, none if nothing is cached.
    #[must_use]
    pub fn answer(&self, request_id: RequestId) -> Option<Option<&Payload>> {
        self.answers.get(&request_id).map(Option::as_ref)
    }

    /// Returns the number of cached answers.
    #[must_use]
    pub fn cached_answers(&self) -> u64 {
        self.answers.size() as u64
    }

    /// Returns the payload bytes of the cached answers.
    #[must_use]
    pub fn cached_bytes(&self) -> u64 {
        self.answer_bytes
    }

    /// Returns the number of server requests that the client has not acknowledged.
    #[must_use]
    pub fn unacknowledged(&self) -> u64 {
        self.waiting.size() as u64
    }

    /// Returns the payload bytes of the server requests that the client has not acknowledged.
    #[must_use]
    pub fn unacknowledged_bytes(&self) -> u64 {
        self.waiting_bytes
    }

    /// Returns the last server request that the client acknowledged; zero if it acknowledged none.
    #[must_use]
    pub fn acknowledged(&self) -> RequestId {
        self.acknowledged
    }

    /// Returns the id of the last server request; zero if there was none.
    #[must_use]
    pub fn last_server_request(&self) -> RequestId {
        self.last_server_request
    }

    /// Returns the server requests that the client has not acknowledged, in the order of their ids.
    pub fn server_requests(&self) -> impl Iterator<Item = ServerRequest> {
        let request = |(id, payload): (&RequestId, &Payload)| ServerRequest {
            id: *id,
            payload: payload.clone(),
        };
        self.waiting.iter().map(request)
    }

    /// Returns the server requests that the leader should have in flight: from the lowest unacknowledged one on, at
    /// most [`MAX_REDELIVERY`](Self::MAX_REDELIVERY) and [`MAX_REDELIVERY_BYTES`](Self::MAX_REDELIVERY_BYTES). The
    /// first one is always among them, however long it is. Acknowledgements bring up the next ones.
    pub fn redelivery(&self) -> impl Iterator<Item = ServerRequest> {
        let mut bytes = 0_usize;
        let within = move |(at, request): &(usize, ServerRequest)| {
            bytes = bytes.saturating_add(request.payload.len());
            *at == 0 || bytes <= Self::MAX_REDELIVERY_BYTES
        };
        let first = self.server_requests().take(Self::MAX_REDELIVERY).enumerate();
        first.take_while(within).map(|(_, request)| request)
    }

    /// Returns the number of answers, and their bytes, that stay cached once the lowest pending id has risen to `lowest`.
    pub(crate) fn cached_from(&self, lowest: RequestId) -> (u64, u64) {
        let mut cached = (self.cached_answers(), self.answer_bytes);
        for (_, answer) in self.answers.range((Bound::Unbounded, Bound::Excluded(lowest))) {
            cached.0 -= 1;
            cached.1 -= length(answer.as_ref());
        }
        cached
    }

    /// Returns the smallest id without an answer once the lowest pending id has risen to `lowest`.
    pub(crate) fn lowest_unexecuted_from(&self, lowest: RequestId) -> RequestId {
        let mut id = self.lowest_unexecuted.max(lowest);
        if id > self.lowest_unexecuted {
            for (cached, _) in self.answers.range(id..) {
                if *cached != id {
                    break;
                }
                id = id.next();
            }
        }
        id
    }

    pub(super) fn waiting(&self) -> Load {
        Load { requests: self.unacknowledged(), bytes: self.waiting_bytes }
    }

    /// Returns the id of the server request after `staged` further ones, or `None` if no id is left.
    pub(super) fn server_request_id(&self, staged: u64) -> Option<RequestId> {
        let id = self.last_server_request.get().checked_add(staged)?.checked_add(1)?;
        RequestId::new(id).ok()
    }

    pub(super) fn raise_lowest(&mut self, lowest: RequestId) {
        if lowest <= self.lowest {
            return;
        }
        self.lowest_unexecuted = self.lowest_unexecuted_from(lowest);
        self.lowest = lowest;
        while let Some((id, answer)) = self.answers.first() {
            if *id >= lowest {
                break;
            }
            let id = *id;
            self.answer_bytes -= length(answer.as_ref());
            self.answers.remove_mut(&id);
        }
    }

    /// Drops a cached answer, because its command was executed again.
    pub(super) fn forget_answer(&mut self, id: RequestId) {
        let Some(answer) = self.answers.get(&id) else { return };
        self.answer_bytes -= length(answer.as_ref());
        self.answers.remove_mut(&id);
    }

    /// Keeps an answer to a command that has none yet.
    pub(super) fn keep_answer(&mut self, id: RequestId, answer: Option<Payload>) {
        self.answer_bytes += length(answer.as_ref());
        self.answers.insert_mut(id, answer);
        if id == self.lowest_unexecuted {
            for (cached, _) in self.answers.range(id..) {
                if *cached != self.lowest_unexecuted {
                    break;
                }
                self.lowest_unexecuted = self.lowest_unexecuted.next();
            }
        }
    }

    pub(super) fn push(&mut self, payload: Payload) -> ServerRequest {
        let id = self.last_server_request.next();
        self.last_server_request = id;
        self.waiting_bytes += payload.len() as u64;
        self.waiting.insert_mut(id, payload.clone());
        ServerRequest { id, payload }
    }

    pub(super) fn acknowledge(&mut self, up_to: RequestId) {
        // An id above the last server request would drop later requests that the client has not seen.
        let up_to = up_to.min(self.last_server_request);
        self.acknowledged = self.acknowledged.max(up_to);
        while let Some((id, payload)) = self.waiting.first() {
            if *id > up_to {
                break;
            }
            let id = *id;
            self.waiting_bytes -= payload.len() as u64;
            self.waiting.remove_mut(&id);
        }
    }

    /// The session's parts, for a snapshot.
    pub(crate) fn parts(&self) -> Parts<'_> {
        Parts {
            lowest: self.lowest,
            answers: &self.answers,
            acknowledged: self.acknowledged,
            waiting: &self.waiting,
        }
    }

    /// A session whose tables are empty, to which a snapshot's answers and server requests are added in order.
    pub(crate) fn restored(lowest: RequestId, acknowledged: RequestId) -> Self {
        Self { last_server_request: acknowledged, acknowledged, ..Self::new(lowest) }
    }

    pub(crate) fn restore_answer(&mut self, id: RequestId, answer: Option<Payload>) {
        self.keep_answer(id, answer);
    }

    /// Adds a server request. Returns `None` if no id is left.
    pub(crate) fn restore_waiting(&mut self, payload: Payload) -> Option<ServerRequest> {
        self.server_request_id(0)?;
        Some(self.push(payload))
    }
}

/// The parts of a session that a snapshot stores. The rest follows from them: server requests have no gaps, for example.
pub(crate) struct Parts<'a> {
    pub(crate) lowest: RequestId,
    pub(crate) answers: &'a RedBlackTreeMapSync<RequestId, Option<Payload>>,
    pub(crate) acknowledged: RequestId,
    pub(crate) waiting: &'a RedBlackTreeMapSync<RequestId, Payload>,
}

fn length(answer: Option<&Payload>) -> u64 {
    answer.map_or(0, |answer| answer.len() as u64)
}
