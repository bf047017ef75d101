//! The rounds of heartbeats by which a leader shows that it still leads.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use zraft_replica::{RaftId, ReadRound};

/// Rounds without a majority that are remembered. A leader has one under way at a time.
const MOST: usize = 64;

#[derive(Debug)]
struct Round {
    round: ReadRound,
    begun: Duration,
    answered: BTreeSet<RaftId>,
}

#[derive(Debug, Default)]
pub(super) struct Rounds {
    open: VecDeque<Round>,
    newest: Option<ReadRound>,
    /// When the latest round that a majority answered began.
    proved: Option<Duration>,
}

impl Rounds {
    /// A heartbeat carries a round. Only its first one begins the round, so a number that is used twice proves nothing new.
    pub(super) fn sent(&mut self, round: ReadRound, clock: Duration) {
        if self.newest.is_none_or(|newest| newest < round) {
            self.newest = Some(round);
            self.open.push_back(Round { round, begun: clock, answered: BTreeSet::new() });
            if self.open.len() > MOST {
                self.open.pop_front();
            }
        }
    }

    /// A member answers a round. `is_quorum` says whether those that answered are enough.
    pub(super) fn answered(
        &mut self,
        from: RaftId,
        round: ReadRound,
        is_quorum: impl Fn(&BTreeSet<RaftId>) -> bool,
    ) {
        let Some(open) = self.open.iter_mut().find(|open| open.round == round) else { return };
        open.answered.insert(from);
        self.count(is_quorum);
    }

    /// Takes the rounds that have a majority as proved. A change of the configuration may give one its majority.
    pub(super) fn count(&mut self, is_quorum: impl Fn(&BTreeSet<RaftId>) -> bool) {
        if let Some(at) = self.open.iter().rposition(|open| is_quorum(&open.answered)) {
            self.proved = self.proved.max(Some(self.open[at].begun));
            self.open.drain(..=at);
        }
    }

    /// Takes note that the member was a majority by itself up to this time.
    pub(super) fn was_alone(&mut self, clock: Duration) {
        self.proved = self.proved.max(Some(clock));
    }

    /// Returns true if a round that began at this time or later has a majority.
    pub(super) fn prove(&self, since: Duration) -> bool {
        self.proved.is_some_and(|proved| proved >= since)
    }

    /// Returns true if a round that began later than this time has a majority. Of two queries that come at one time, the second
    /// may have missed the round that the first began.
    pub(super) fn prove_beyond(&self, since: Duration) -> bool {
        self.proved.is_some_and(|proved| proved > since)
    }
}
