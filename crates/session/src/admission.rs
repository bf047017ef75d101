//! Decides which commands the leader proposes.

use zraft_protocol::{Payload, RequestId, SessionId};

use crate::{Session, Sessions, Settings};

/// Judges the commands of one session for a leader, for as long as its term lasts.
///
/// Applying a command never refuses it for want of room, so the leader must not propose one whose answer would not fit
/// into the cache. Every ClientRequest frame of the session goes through [`frame`](Self::frame), and a command that is
/// not in the log yet through [`judge`](Self::judge). A command that waits is judged again when the session's cache or
/// the totals have changed.
#[derive(Clone, Copy, Debug)]
pub struct Admission {
    /// The highest lowest pending id of any frame that was read, even of frames that wait or were answered.
    seen: RequestId,
}

/// The leader's decision about a command.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Propose it with this lowest pending id.
    Propose {
        /// Goes into the entry.
        lowest_pending: RequestId,
    },
    /// An earlier copy was executed or rejected. Send this answer; no entry is needed.
    Cached(Option<Payload>),
    /// It can never run. Send RequestError(ResponseEvicted); no entry is needed.
    Evicted,
    /// There is no room for its answer yet. Keep it and judge it again later.
    Wait,
    /// Keep it and judge it again later, as for `Wait`. The session's cache is at twice its limit, although its lowest
    /// unexecuted command was always admitted. All waiting commands of the session get this verdict.
    ///
    /// A client leaves this state by itself: it resends its lowest pending command, gets the cached answer and raises
    /// its lowest pending id. One that stays here for a session timeout never raises it. The leader then ends the
    /// session with [`EndReason::CacheOverrun`](crate::EndReason::CacheOverrun), because its commands would wait for
    /// ever.
    Overrun,
    /// The session does not exist.
    NoSession,
}

impl Default for Admission {
    fn default() -> Self {
        Self::new()
    }
}

impl Admission {
    /// Returns the judge of a session of which nothing was read in this term.
    #[must_use]
    pub const fn new() -> Self {
        Self { seen: RequestId::FIRST }
    }

    /// Takes note of a ClientRequest frame, whatever happens to its command. Returns true if the frame is the first to say that
    /// some answers have arrived: commands that wait may have room now, and are judged again.
    pub fn frame(&mut self, request_id: RequestId, lowest_pending: RequestId) -> bool {
        let seen = lowest_pending.min(request_id);
        let raises = seen > self.seen;
        self.seen = self.seen.max(seen);
        raises
    }

    /// Judges a command that is not in the log.
    ///
    /// `sessions` and `settings` are of one moment and may lag behind the log. `in_flight` is the number of this
    /// session's commands that were proposed and are not applied in `sessions`: each will add an answer. The size of
    /// those answers is unknown, so the cache can exceed its bytes by what is in flight.
    ///
    /// Room is judged as it will be once the command's own lowest pending id is applied. The lowest unexecuted command
    /// of a session is admitted even into a full cache, up to twice its limit, and the client's lowest pending command
    /// always: the client cannot make room before that one has run.
    #[must_use]
    pub fn judge(
        &self,
        sessions: &Sessions,
        settings: &Settings,
        session: &SessionId,
        request_id: RequestId,
        in_flight: u64,
    ) -> Verdict {
        let Some(state) = sessions.get(session) else { return Verdict::NoSession };
        if let Some(answer) = state.answer(request_id) {
            return Verdict::Cached(answer.cloned());
        }
        if request_id < state.lowest_pending() {
            return Verdict::Evicted;
        }
        let lowest_pending = self.seen.min(request_id);
        let propose = Verdict::Propose { lowest_pending };
        // The client waits for this command first.
        if lowest_pending == request_id {
            return propose;
        }
        let cache = Cache::of(sessions, state, lowest_pending, in_flight);
        if cache.fits(settings, 1) {
            return propose;
        }
        // Limit this, too: a client that never raises its lowest pending id would fill the memory of every member. Let
        // the command wait, because a client that lost all its answers looks the same until it resends.
        if request_id == state.lowest_unexecuted_from(lowest_pending) && cache.fits(settings, 2) {
            return propose;
        }
        // Every command of the session says the same of its cache: one that says less would end the leader's count of
        // how long the session has been at twice its limit.
        if cache.session_fits(settings, 2) { Verdict::Wait } else { Verdict::Overrun }
    }
}

/// The cache once the commands in flight are answered and the answers below the lowest pending id are dropped.
struct Cache {
    answers: u64,
    bytes: u64,
    total_answers: u64,
    total_bytes: u64,
}

impl Cache {
    fn of(sessions: &Sessions, session: &Session, lowest: RequestId, in_flight: u64) -> Self {
        let (answers, bytes) = session.cached_from(lowest);
        let totals = sessions.totals();
        Self {
            answers: answers + in_flight,
            bytes,
            total_answers: totals.cached_answers - session.cached_answers() + answers + in_flight,
            total_bytes: totals.cached_bytes - session.cached_bytes() + bytes,
        }
    }

    fn fits(&self, settings: &Settings, times: u64) -> bool {
        self.session_fits(settings, times)
            && self.total_answers < settings.total_cached_answers * times
            && self.total_bytes < settings.total_cached_bytes * times
    }

    fn session_fits(&self, settings: &Settings, times: u64) -> bool {
        settings.full_cache(self.answers, self.bytes, times).is_none()
    }
}
