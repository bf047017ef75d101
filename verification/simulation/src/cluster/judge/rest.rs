//! The end of a run: everything has healed, and the members are equal.

use std::collections::BTreeSet;

use zraft_core::Instant;
use zraft_protocol::MemberId;
use zraft_session::Session as Kept;

use super::{ClusterJudge, Rest, queries::Query, rules::Rule};

impl ClusterJudge {
    /// The member that serves in the highest term.
    fn leader(&self) -> Option<usize> {
        let serving = self.members.iter().enumerate();
        let serving = serving.filter(|(_, state)| state.running && state.standing.serving);
        serving.max_by_key(|(_, state)| state.standing.term).map(|(member, _)| member)
    }

    /// Returns true if a leader serves, and all running members of its configuration have applied its whole log.
    pub(crate) fn is_settled(&self) -> bool {
        let Some(leader) = self.leader().map(|leader| &self.members[leader]) else { return false };
        let end = leader.standing.last_index;
        let configuration = self.configurations.at(leader.place);
        let belongs = |id| configuration.contains(id);
        let mut running =
            self.members.iter().filter(|state| state.running && state.id.is_some_and(belongs));
        leader.standing.committed == end
            && !configuration.is_joint()
            && running.all(|state| state.standing.known == end && state.standing.committed == end)
    }

    /// The end of the run, once it has settled or its time is up. `rests` are the members of the configuration.
    pub(crate) fn finish(&mut self, now: Instant, rests: &[Rest<'_>]) {
        let settled = self.is_settled();
        self.verdict.demand(settled, Rule::Settles, || {
            let members = self.members.iter().filter(|state| state.running);
            let members = members.map(|state| (state.id, state.applied, state.standing));
            let members: Vec<_> = members.collect();
            format!("healed at {:?}, at the end {now:?} the members are {members:?}", self.healed)
        });
        self.compare_rests(rests);
        self.watch(now);
    }

    /// While a cluster settles, what clients wait for comes in time. At the end of a run all of them have left.
    pub(crate) fn watch(&mut self, now: Instant) {
        if let Some(leader) = self.leader() {
            self.nothing_waits(now, leader);
            self.requests_reach(now, leader);
            self.lists_reach(now, leader);
        }
    }

    fn compare_rests(&mut self, rests: &[Rest<'_>]) {
        let Some(first) = rests.first() else { return };
        for rest in rests {
            let name = self.name(rest.member);
            let same = rest.applied == first.applied && rest.state == first.state;
            self.verdict.demand(same, Rule::RestsEqual, || {
                format!(
                    "{name} is at {} with {:02x?}, another member at {} with {:02x?}",
                    rest.applied, rest.state, first.applied, first.state
                )
            });
            let committed = self.log.committed();
            let last = rest.entries.last().map_or(committed, |entry| entry.index);
            let log = &self.log;
            let wrong = rest
                .entries
                .iter()
                .find(|entry| log.get(entry.index).is_some_and(|committed| committed != *entry));
            self.verdict.demand(last == committed && wrong.is_none(), Rule::RestsEqual, || {
                format!("{name} ends at {last} of {committed} entries; {wrong:?} is not committed")
            });
        }
    }

    /// What the leader read long ago has an answer.
    fn nothing_waits(&mut self, now: Instant, leader: usize) {
        let patience = self.terms.patience;
        let healed = self.healed.unwrap_or(Instant::ZERO);
        let late = |since: Instant| now.saturating_duration_since(since.max(healed)) > patience;
        for (connection, place) in &self.members[leader].connections {
            let session = place.session.as_ref().and_then(|id| self.ledger.sessions.get(id));
            // Commands behind a full cache wait for the client to raise its lowest pending id.
            let full = session.filter(|session| session.is_full(self.ledger.settings()));
            let lowest = full.map_or(u64::MAX, |session| session.seen_lowest);
            let room = session.and_then(|session| session.room_since).unwrap_or(Instant::ZERO);
            let late = |since: Instant| late(since.max(room));
            if place.commands.is_empty() && place.queries.is_empty() && place.handshakes.is_empty()
            {
                continue;
            }
            let command =
                place.commands.iter().find(|(request, since)| **request <= lowest && late(**since));
            // A query waits for its client's commands that came before it.
            let free = |query: &&Query| query.own.iter().all(|request| *request <= lowest);
            let query = place.queries.iter().filter(free).find(|query| late(query.since));
            let handshake = place.handshakes.iter().find(|handshake| late(handshake.since));
            let waits = command.is_some() || query.is_some() || handshake.is_some();
            self.verdict.demand(!waits, Rule::NothingWaits, || {
                format!(
                    "on {connection:?} since long: command {command:?}, {query:?}, {handshake:?}"
                )
            });
        }
    }

    /// Clients that have asked a leader for the members know those of its present configuration. The list goes out in the
    /// turn in which the leader follows the configuration.
    pub(super) fn lists_reach(&mut self, now: Instant, leader: usize) {
        let state = &self.members[leader];
        let late = state.standing.serving && now > state.configured;
        let members = &self.configurations.at(state.place).members;
        let members: BTreeSet<&MemberId> = members.values().map(|info| &info.name).collect();
        for (connection, place) in &state.connections {
            let Some(listed) = place.listed.as_ref().filter(|_| place.session.is_some()) else {
                continue;
            };
            let same = listed.iter().eq(members.iter().copied());
            self.verdict.demand(same || !late, Rule::ListsReach, || {
                format!("on {connection:?} they are {listed:?}, and now {members:?}")
            });
        }
    }

    /// Every server request that may be in flight was sent to the client that is there.
    fn requests_reach(&mut self, now: Instant, leader: usize) {
        let patience = self.terms.patience;
        let healed = self.healed.unwrap_or(Instant::ZERO);
        let late = |since: Instant| now.saturating_duration_since(since.max(healed)) > patience;
        for (connection, place) in &self.members[leader].connections {
            let session = place.session.as_ref().and_then(|id| self.ledger.sessions.get(id));
            let Some(session) = session.filter(|session| !session.pushes.is_empty()) else {
                continue;
            };
            let next = place.sent + 1;
            let bytes: usize = session.pushes.iter().map(|push| push.payload.len()).sum();
            // More than that waits for acknowledgements.
            let held = next > session.acknowledged + Kept::MAX_REDELIVERY as u64
                || bytes > Kept::MAX_REDELIVERY_BYTES;
            let sent_late = session.push(next).is_some_and(|push| !held && late(push.made));
            let missing = late(place.bound) && sent_late;
            self.verdict.demand(!missing, Rule::RequestsReach, || {
                let bound = place.bound;
                format!("request {next} was not sent on {connection:?}, bound since {bound:?}")
            });
        }
    }
}
