//! A request as the judge knows it.

use bytes::Bytes;
use zraft_core::{ConnId, Instant, RequestKey, RequestKind};

/// Why a frame that answers a request holds no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unusable {
    Undecodable,
    /// The application rejected the command and gave no answer.
    Evicted,
}

/// A request as the application knows it.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) kind: RequestKind,
    pub(crate) payload: Bytes,
    pub(super) key: Option<RequestKey>,
    pub(super) deadline: Option<Instant>,
    pub(super) cancelled: bool,
    /// Session (counted from 1) and id under which it was first seen on the wire.
    pub(crate) place: Option<(usize, u64)>,
    /// A query's correlation id in the present session.
    pub(super) correlation: Option<Bytes>,
    /// The connection that it was last sent on.
    pub(super) last_wire: Option<ConnId>,
    /// When it was sent, if it was sent only once.
    pub(super) sent_once: Option<Instant>,
    /// It was sent again in its session.
    pub(super) resent: bool,
    /// When the socket took the last byte of its last copy.
    pub(super) written_at: Option<Instant>,
    /// The answer that reached the machine, or an error if the answer cannot be used.
    pub(super) answer: Option<Result<Bytes, Unusable>>,
    pub(crate) settled: Option<Settled>,
    pub(super) detached_at: Option<Instant>,
    pub(crate) resolved: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Settled {
    Answered(Bytes),
    NotExecuted,
    Unknown,
    /// The query had no answer.
    Failed,
}

impl Asked {
    pub(super) fn new(
        kind: RequestKind,
        payload: Bytes,
        key: Option<RequestKey>,
        deadline: Option<Instant>,
    ) -> Self {
        Self {
            kind,
            payload,
            key,
            deadline,
            cancelled: false,
            place: None,
            correlation: None,
            last_wire: None,
            sent_once: None,
            resent: false,
            written_at: None,
            answer: None,
            settled: None,
            detached_at: None,
            resolved: false,
        }
    }

    /// Returns the answer that came after the caller was told that the outcome is unknown.
    pub(crate) fn late_answer(&self) -> Option<&Bytes> {
        let late = self.detached_at.is_some() && self.resolved;
        self.answer.as_ref().filter(|_| late)?.as_ref().ok()
    }

    /// Returns true if the machine still holds the request.
    pub(super) fn is_pending(&self) -> bool {
        self.settled.is_none() || (self.detached_at.is_some() && !self.resolved)
    }
}
