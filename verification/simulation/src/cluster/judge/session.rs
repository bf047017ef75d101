//! One session, as the committed log and its client's messages show it.

use std::collections::{BTreeMap, VecDeque};

use zraft_core::Instant;
use zraft_protocol::Payload;
use zraft_session::{SessionEnd, Settings};

use super::order::Arrivals;

/// Commands and server requests of a session that are remembered. A client of the simulation sends some hundreds.
const MOST: usize = 1 << 16;

/// What a command's entry led to.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) index: u64,
    /// How many commands were executed before it, if the application executed it.
    pub(super) position: Option<u64>,
    /// None if it has no answer, now or ever.
    pub(super) answer: Option<Payload>,
    pub(super) told: bool,
}

#[derive(Debug)]
pub(super) struct Push {
    pub(super) payload: Payload,
    pub(super) index: u64,
    /// The command of the same session that made it.
    pub(super) by: Option<u64>,
    pub(super) made: Instant,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    pub(super) index: u64,
    pub(super) end: SessionEnd,
    /// The term of the EndSession entry, if it was one.
    pub(super) by_entry: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) created: u64,
    pub(super) ended: Option<Ended>,
    /// L, as the entries say.
    pub(super) lowest: u64,
    pub(super) outcomes: BTreeMap<u64, Outcome>,
    /// The server requests after the last acknowledged one.
    pub(super) pushes: VecDeque<Push>,
    pub(super) acknowledged: u64,
    /// The commands that its client sent on bound connections; none if copies with different payloads came. An entry is
    /// compared with them when it is first applied. So a command runs after everything that was answered before it came.
    pub(super) asked: BTreeMap<u64, Option<Payload>>,
    pub(super) arrivals: Arrivals,
    pub(super) seen_lowest: u64,
    /// When its client last made room in a full cache, by a higher lowest pending id. What has waited for that can go on.
    pub(super) room_since: Option<Instant>,
    pub(super) seen_acknowledged: u64,
    /// The member that last read its client's CloseSession, and the term that it had then.
    pub(super) closed_by: Option<(usize, u64)>,
    /// Some client was told that it was created.
    pub(super) told: bool,
    /// The last server request that its client was sent.
    pub(super) sent: u64,
    /// The leader that last heard its client, as place and term.
    pub(super) heard_by: Option<(usize, u64)>,
    /// When that was, by the leader's clock, and when the session may expire then.
    pub(super) heard: std::time::Duration,
    pub(super) deadline: std::time::Duration,
    /// That leader did not hear its client for a full timeout.
    pub(super) overdue: bool,
}

impl Session {
    pub(super) fn new(index: u64) -> Self {
        Self {
            created: index,
            ended: None,
            lowest: 1,
            outcomes: BTreeMap::new(),
            pushes: VecDeque::new(),
            acknowledged: 0,
            asked: BTreeMap::new(),
            arrivals: Arrivals::default(),
            seen_lowest: 1,
            room_since: None,
            seen_acknowledged: 0,
            closed_by: None,
            told: false,
            sent: 0,
            heard_by: None,
            heard: std::time::Duration::ZERO,
            deadline: std::time::Duration::ZERO,
            overdue: false,
        }
    }

    /// Returns true if it existed after the entry at this index.
    pub(super) fn lives_at(&self, index: u64) -> bool {
        self.created <= index && self.ended.is_none_or(|ended| ended.index > index)
    }

    /// The number of its last server request.
    pub(super) fn pushed(&self) -> u64 {
        self.acknowledged + self.pushes.len() as u64
    }

    /// Returns a server request that is not acknowledged.
    pub(super) fn push(&self, id: u64) -> Option<&Push> {
        let at = id.checked_sub(self.acknowledged + 1)?;
        self.pushes.get(usize::try_from(at).ok()?)
    }

    pub(super) fn acknowledge(&mut self, up_to: u64) {
        while self.acknowledged < up_to && self.pushes.pop_front().is_some() {
            self.acknowledged += 1;
        }
    }

    pub(super) fn settle(&mut self, request: u64, lowest: u64, outcome: Outcome) {
        self.outcomes.insert(request, outcome);
        self.lowest = self.lowest.max(lowest.min(request));
        while self.outcomes.len() > MOST {
            self.outcomes.pop_first();
        }
    }

    /// Returns true if the answers that the cluster still has to keep are as many, or as long, as it keeps for a session.
    pub(super) fn is_full(&self, settings: &Settings) -> bool {
        let kept = self.outcomes.range(self.lowest..).map(|(_, outcome)| outcome);
        let (answers, bytes) = kept.fold((0, 0), |(answers, bytes), outcome| {
            (answers + 1, bytes + outcome.answer.as_ref().map_or(0, |answer| answer.len()))
        });
        answers >= settings.cached_answers as usize || bytes as u64 >= settings.cached_bytes
    }

    /// Its client sent a command, or a copy.
    pub(super) fn ask(
        &mut self,
        now: Instant,
        settings: &Settings,
        (request, lowest): (u64, u64),
        payload: &Payload,
    ) {
        let lowest = lowest.min(request);
        if lowest > self.seen_lowest {
            if self.is_full(settings) {
                self.room_since = Some(now);
            }
            self.seen_lowest = lowest;
        }
        let asked = self.asked.entry(request).or_insert_with(|| Some(payload.clone()));
        if asked.as_ref().is_some_and(|first| first != payload) {
            *asked = None;
        }
        while self.asked.len() > MOST {
            self.asked.pop_first();
        }
    }
}
