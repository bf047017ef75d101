//! The rules in which servers differ.

use zraft_protocol::RequestId;

use crate::{Answer, Session, Settings};

/// The rules of a [`StateMachine`](crate::StateMachine) in which servers differ.
///
/// The default is the replicated server's, and each other value is a rule of the live ZIO Raft system. They exist for
/// servers that imitate that system, as the embedded test cluster does.
///
/// A policy is not part of the state. Entries and snapshots do not carry it, and a restored state machine has the
/// default one. So a replicated server must not change it: members with different policies diverge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// True if a command is executed at most once; false if every copy of it is executed. Default true.
    pub deduplication: bool,
    /// Where a session's lowest pending id starts, and how far a command raises it.
    pub lowest_pending: LowestPending,
    /// What a rejection without an answer does to the command's id.
    pub rejected_id: RejectedId,
    /// What happens to a command whose answer does not fit into the session's cache.
    pub full_cache: FullCache,
    /// What [`Context::push`](crate::Context::push) does to a session that has no room for another server request.
    pub full_session: FullSession,
}

/// Where a session's lowest pending id starts, and how far a command raises it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LowestPending {
    /// It starts at 1, and no command raises it above its own id.
    #[default]
    UpToTheCommand,
    /// It starts at 0, so 0 is the id of a command, and it rises to whatever the command says. A command that raises
    /// it above its own id keeps its answer until the lowest pending id rises again.
    AsSent,
}

/// What a rejection without an answer does to the command's id. A rejection with an answer always uses it up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RejectedId {
    /// It uses the id up: a copy gets the same rejection.
    #[default]
    UsedUp,
    /// It leaves the session as it was: a copy goes to the application again.
    Free,
}

/// What happens to a command whose answer does not fit into the session's cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FullCache {
    /// It is executed, because [`Admission`](crate::Admission) keeps commands that do not fit out of the log.
    #[default]
    Executes,
    /// It is not executed, and [`Answer::CacheFull`] reports it.
    Refuses,
}

/// What [`Context::push`](crate::Context::push) does to a session that has no room for another server request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FullSession {
    /// It ends the session.
    #[default]
    Ends,
    /// It drops the server request, and [`Effect::PushRefused`](crate::Effect::PushRefused) reports it.
    LosesTheRequest,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            deduplication: true,
            lowest_pending: LowestPending::default(),
            rejected_id: RejectedId::default(),
            full_cache: FullCache::default(),
            full_session: FullSession::default(),
        }
    }
}

impl Policy {
    /// The lowest pending id of a new session.
    pub(crate) fn first_lowest(&self) -> RequestId {
        match self.lowest_pending {
            LowestPending::UpToTheCommand => RequestId::FIRST,
            LowestPending::AsSent => RequestId::ZERO,
        }
    }

    /// The lowest pending id to which an executed command raises its session, unless it is higher already.
    pub(crate) fn raised_lowest(&self, request_id: RequestId, sent: RequestId) -> RequestId {
        match self.lowest_pending {
            LowestPending::UpToTheCommand => sent.min(request_id),
            LowestPending::AsSent => sent,
        }
    }

    /// Returns the answer to a command that must not be executed.
    pub(crate) fn refusal(
        &self,
        session: &Session,
        request_id: RequestId,
        sent_lowest: RequestId,
        settings: &Settings,
    ) -> Option<Answer> {
        if self.deduplication {
            if let Some(cached) = session.answer(request_id) {
                return Some(Answer::Cached(cached.cloned()));
            }
            if request_id < session.lowest_pending() {
                return Some(Answer::Evicted);
            }
        }
        if self.full_cache == FullCache::Executes {
            return None;
        }
        let lowest = self.raised_lowest(request_id, sent_lowest);
        let room = |(answers, bytes)| settings.full_cache(answers, bytes, 1).is_none();
        let has_room = room((session.cached_answers(), session.cached_bytes()))
            || lowest > session.lowest_pending() && room(session.cached_from(lowest));
        if has_room {
            return None;
        }
        let full = settings.full_cache(session.cached_answers(), session.cached_bytes(), 1);
        full.map(|setting| Answer::CacheFull { setting })
    }

    /// Returns true if the session keeps this outcome of a command that went to the application, and so uses up its id.
    pub(crate) fn keeps(&self, answer: &Answer) -> bool {
        match (self.rejected_id, answer) {
            (RejectedId::Free, Answer::Rejected(rejected)) => rejected.answer().is_some(),
            _ => true,
        }
    }
}
