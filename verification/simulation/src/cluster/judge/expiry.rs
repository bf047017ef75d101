//! What a leader's clocks decide: when a session may expire, which time an entry has, and how often acknowledgements may cost
//! one.

use std::time::Duration;

use zraft_protocol::SessionId;
use zraft_replica::{Boot, View};
use zraft_session::{Entry, LeaderClock, Time};

use super::{At, ClusterJudge, Member, rules::Rule, session::Session};

/// At most 20 entries a second.
const ACK_INTERVAL: Duration = Duration::from_millis(50);
/// Acknowledge entries within a second that are too many. A hand-over holds entries for up to half a second and then lets them
/// go together.
const ACKS_IN_A_SECOND: usize = 32;

/// An entry that was proposed while the disk was busy and no member could be sent to is seen late.
const SEEN_LATE: Duration = Duration::from_secs(2);

/// A wall clock that was not set for this long has shown the same for every entry that is seen now.
const CALM: Duration = Duration::from_secs(5);
/// Both clocks are read in whole milliseconds, so their distance changes by some of them.
const ROUNDING: Duration = Duration::from_millis(50);

/// What a member's wall clock says, and what the member may hold against it.
#[derive(Debug, Default)]
pub(super) struct WallClock {
    now: Time,
    /// What it says once the monotonic clock is 0 again: it changes when the clock is set.
    origin: Time,
    /// When the clock was last set in this life.
    set: Option<Duration>,
    /// The last time of the log that the life began with. How long ago that was, no one knows.
    began: Time,
    /// The last replicated time after that, and when the member knew it.
    known: Option<(Time, Duration)>,
}

impl WallClock {
    pub(super) fn started(at: At, boot: &Boot, view: &View) -> Self {
        let times = boot
            .entries
            .iter()
            .filter_map(|entry| Some(Entry::decode_shared(&entry.data).ok()?.time));
        let (now, origin) = (at.wall, origin(at));
        Self { now, origin, set: None, began: times.fold(view.time, Time::max), known: None }
    }

    pub(super) fn read(&mut self, at: At) {
        self.now = at.wall;
        let (before, after) = (self.origin, origin(at));
        let moved =
            after.saturating_duration_since(before).max(before.saturating_duration_since(after));
        if moved > ROUNDING {
            (self.origin, self.set) = (after, Some(at.clock));
        }
    }

    fn observe(&mut self, time: Time, clock: Duration) {
        if time > self.known.map_or(self.began, |(last, _)| last) {
            self.known = Some((time, clock));
        }
    }

    /// Returns the time that an entry must have at least, if the clock says what it must be.
    fn demands(&self, clock: Duration) -> Option<Time> {
        let calm = self.set.is_none_or(|set| clock.saturating_sub(set) > CALM);
        // A member holds back a clock that has leapt since the last time that it knows.
        let leapt = self.known.is_some_and(|(last, at)| {
            self.now + SEEN_LATE > last + (clock.saturating_sub(at) + LeaderClock::MAX_JUMP)
        });
        (calm && !leapt).then_some(self.now)
    }
}

/// Returns what the wall clock said when the monotonic one was 0.
fn origin(at: At) -> Time {
    Time::from_millis(at.wall.as_millis().saturating_sub(at.clock.as_millis() as u64))
}

impl Member {
    /// The replica learns the time of an entry that was applied.
    pub(super) fn observe(&mut self, time: Time) {
        self.wall.observe(time, self.clock);
        if self.stamp.is_some_and(|(last, _)| time > last) {
            self.stamp = Some((time, self.clock));
        }
    }

    /// Takes a changed session timeout. The replica learns of it after its state machine, so the shorter one counts.
    pub(super) fn set_session_timeout(&mut self, timeout: Duration) {
        if timeout != self.session_timeouts.1 {
            self.session_timeouts = (self.session_timeouts.1, timeout);
        }
    }

    /// Gives all sessions a full timeout from this time on.
    pub(super) fn grant(&mut self, clock: Duration) {
        self.granted_at = clock;
        self.granted = clock.saturating_add(self.session_timeout());
    }

    /// Returns when a session may expire here. A client that was heard after all sessions were given a full timeout has only
    /// the one since: an entry may have made it shorter.
    fn due(&self, session: &Session) -> Duration {
        if session.heard >= self.granted_at {
            session.deadline
        } else {
            session.deadline.max(self.granted)
        }
    }

    pub(super) fn session_timeout(&self) -> Duration {
        self.session_timeouts.0.min(self.session_timeouts.1)
    }
}

impl ClusterJudge {
    /// A serving leader reads a message of a session's client.
    pub(super) fn hear(&mut self, member: usize, id: &SessionId) {
        let state = &self.members[member];
        let Some(session) = self.ledger.sessions.get_mut(id) else { return };
        if !state.standing.serving {
            return;
        }
        let leader = (member, state.standing.term);
        if session.heard_by != Some(leader) {
            session.heard_by = Some(leader);
            (session.heard, session.deadline) = (Duration::ZERO, Duration::ZERO);
            session.overdue = false;
        }
        session.overdue |= state.clock >= state.due(session);
        session.heard = state.clock;
        session.deadline = state.clock.saturating_add(state.session_timeout());
    }

    /// A leader proposes that a session has expired.
    pub(super) fn expires(&mut self, member: usize, id: &SessionId) {
        let name = self.name(member);
        let state = &self.members[member];
        let leader = (member, state.standing.term);
        let session = self.ledger.sessions.get(id);
        let heard = session.filter(|session| session.heard_by == Some(leader));
        let deadline = heard.map_or(Duration::ZERO, |session| session.deadline);
        let due = heard.map_or(state.granted, |session| state.due(session));
        let overdue = heard.is_some_and(|session| session.overdue);
        let (clock, granted) = (state.clock, state.granted);
        self.verdict.demand(overdue || clock >= due, Rule::NoFalseExpiry, || {
            format!(
                "{name} calls a session expired at {clock:?}, which lives until {deadline:?}; all live until {granted:?}"
            )
        });
    }

    /// A leader proposes an entry of this time. The first one after a start may be later than any known one.
    pub(super) fn stamps(&mut self, member: usize, time: Time) {
        let name = self.name(member);
        let state = &mut self.members[member];
        // An entry that a write held up may have been stamped as early as that write began.
        let since = if state.written == state.clock { state.writing_since } else { state.clock };
        let before = state.stamp.replace((time, since));
        if let Some((last, at)) = before {
            let most = last + (state.clock.saturating_sub(at) + LeaderClock::MAX_JUMP + SEEN_LATE);
            self.verdict.demand(time <= most, Rule::TimeHeld, || {
                format!("{name} proposes an entry of {time}, after {before:?}")
            });
        }
        let late = state.clock.saturating_sub(since) > SEEN_LATE;
        let wall = state.wall.demands(state.clock).filter(|_| !late);
        // Less than a held back clock is behind, and far more than an entry is seen late.
        let follows = wall.is_none_or(|wall| time + LeaderClock::MAX_JUMP >= wall);
        let clock = &state.wall;
        self.verdict.demand(follows, Rule::TimeFollows, || {
            format!("{name} proposes an entry of {time}: {clock:?}")
        });
        state.wall.observe(time, state.clock);
    }

    /// An operator asks a leader to end a session.
    pub(crate) fn removal_asked(&mut self, session: &SessionId) {
        self.ledger.removals.insert(session.clone());
    }

    /// A leader proposes an Acknowledge entry.
    pub(super) fn acknowledges(&mut self, member: usize) {
        let name = self.name(member);
        let state = &mut self.members[member];
        let clock = state.clock;
        state.acks_in_term += 1;
        state.acks.push_back(clock);
        let elapsed = clock.saturating_sub(state.serving_since);
        let most = 1 + elapsed.as_nanos() / ACK_INTERVAL.as_nanos();
        let many = state.acks.len() > ACKS_IN_A_SECOND;
        let first = if many { state.acks.pop_front() } else { None };
        let rushed =
            first.is_some_and(|first| clock.saturating_sub(first) < Duration::from_secs(1));
        let within = u128::from(state.acks_in_term) <= most && !rushed;
        let count = state.acks_in_term;
        self.verdict.demand(within, Rule::AcksBatched, || {
            format!("{name} wrote {count} Acknowledge entries in {elapsed:?}, one of them since {first:?}")
        });
    }
}
