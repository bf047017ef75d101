//! Roles, terms, and whether a leader may still answer.

use std::time::Duration;

use zraft_core::Instant;
use zraft_replica::{Configuration, Role, Timing};

use super::{At, ClusterJudge, Standing, rules::Rule};

/// Time that a leader did not read expires no session; the replica's constant of the same meaning.
const STALL: Duration = Duration::from_secs(1);

/// How long a leader may go on without its majority: two election timeouts and a tick, in whole ticks of the engine, which are
/// five to a heartbeat.
fn patience(timing: &Timing) -> Duration {
    let tick = timing.heartbeat / 5;
    let election = timing.election_min.as_nanos().div_ceil(tick.as_nanos());
    // At most some thousands: an election timeout is at most an hour.
    tick.saturating_mul(u32::try_from(2 * election + 1).unwrap_or(u32::MAX))
}

impl ClusterJudge {
    /// Lets a member's clock go on.
    pub(super) fn pass(&mut self, at: At, member: usize) {
        let Some(state) = self.members.get_mut(member) else { return };
        // What follows was due at the last time at which the member ran, not at the end of a pause.
        let yields = STALL + 3 * self.terms.timing.election_max;
        // Several things may happen at one time, such as all that waited for the end of a pause. The replica's standing counts
        // after the last of them: the first may be a frame that the replica has not taken yet.
        let goes_on = at.clock > state.clock;
        if goes_on && state.running {
            self.check_held(member);
        }
        let Some(state) = self.members.get_mut(member) else { return };
        let stalled = state.clock.saturating_sub(state.writing_since);
        if goes_on && !state.pending.is_empty() && state.standing.leads() {
            self.verdict.demand(stalled <= yields, Rule::StallYields, || {
                format!("member {member} leads, and its write takes {stalled:?}")
            });
        }
        self.check_outcast(at, member);
        let Some(state) = self.members.get_mut(member) else { return };
        if state.farewell && state.ceased.is_some_and(|ceased| at.now > ceased) {
            state.farewell = false;
            let bound = state.connections.iter().find(|(_, place)| place.session.is_some());
            self.verdict.demand(bound.is_none(), Rule::FarewellTold, || {
                format!("member {member} ceased to serve and keeps {bound:?}")
            });
        }
        let owed = state.candidates.first().filter(|_| goes_on && state.pending.is_empty());
        self.verdict.demand(owed.is_none(), Rule::VotesAnswered, || {
            format!(
                "member {member} hears no leader since {:?} and gives {owed:?} no answer",
                state.alone_since
            )
        });
        let stood_still = at.clock.saturating_sub(state.clock);
        if stood_still > self.terms.timing.election_max {
            // It reads what waited before it looks at its clock.
            state.alone_since = at.clock;
        }
        state.clock = at.clock;
        state.wall.read(at);
        if !state.standing.serving {
            return;
        }
        if stood_still >= STALL {
            state.grant(at.clock);
        }
        if stood_still > self.terms.timing.election_min && !self.is_alone(member) {
            self.members[member].proof = Some(at.clock);
        }
    }

    /// Returns true if a member is a majority by itself.
    pub(super) fn is_alone(&self, member: usize) -> bool {
        let state = &self.members[member];
        self.configurations.at(state.place).is_quorum(|id| Some(id) == state.id)
    }

    /// Returns true if a member's leadership was proven by a round that began at this time of its clock or later.
    pub(super) fn is_proven(&self, member: usize, since: Duration) -> bool {
        self.members[member].rounds.prove(since) || self.is_alone(member)
    }

    /// What a replica says after each call.
    pub(crate) fn standing(&mut self, at: At, member: usize, standing: Standing) {
        self.pass(at, member);
        let name = self.name(member);
        let Some(state) = self.members.get_mut(member) else { return };
        let old = std::mem::replace(&mut state.standing, standing);
        if old == standing {
            return;
        }
        if state.copied {
            self.verdict.demand(!standing.leads(), Rule::CopyApart, || {
                format!("{name} leads, and its directory is a copy")
            });
        }
        let rises = old.term <= standing.term && old.committed <= standing.committed;
        self.verdict.demand(rises, Rule::NeverBack, || {
            format!("{name}: {old:?} is followed by {standing:?}")
        });
        let removed = &self.configurations.at(state.place).removed;
        let follows = state.id.is_some_and(|id| removed.contains(&id));
        let acts = follows && standing.role != Role::Follower;
        self.verdict.demand(!acts, Rule::RemovedStays, || {
            format!("{name} follows its own removal, and is {:?}", standing.role)
        });
        let elected = standing.leads() && (!old.leads() || old.term != standing.term);
        if old.serving && (!standing.serving || elected) {
            state.ceased = Some(at.now);
            state.farewell = true;
            state.proof = None;
        }
        let begins = standing.serving && (!old.serving || elected);
        if begins {
            state.grant(at.clock);
            state.serving_since = at.clock;
            (state.served, state.ceased, state.farewell) = (standing.term, None, false);
            state.acks.clear();
            state.acks_in_term = 0;
            self.take_up(member);
        }
        if elected {
            self.elected(member, standing.term);
        }
        if begins {
            self.serves(member, standing.term);
        }
        self.claim(member, standing.committed);
        self.release_queries(member);
    }

    /// A member learns in a handshake that another one calls it removed.
    pub(crate) fn called_removed(&mut self, now: Instant, member: usize, by: usize) {
        let by = self.id(by);
        let Some(state) = self.members.get_mut(member).filter(|state| !state.copied) else {
            return;
        };
        state.called_removed.extend(by);
        let voters = &self.configurations.at(state.place).voters;
        let others = voters.iter().filter(|id| Some(**id) != state.id);
        let (calls, all) = others.fold((0, 0), |(calls, all), id| {
            (calls + usize::from(state.called_removed.contains(id)), all + 1)
        });
        if 2 * calls <= all {
            return;
        }
        if state.running {
            state.outcast.get_or_insert(now);
        } else {
            // The refusal has ended it already.
            self.verdict.demand(true, Rule::RemovedEnds, String::new);
        }
    }

    /// A member ends in the moment in which a majority has called it removed.
    pub(super) fn check_outcast(&mut self, at: At, member: usize) {
        if let Some(since) = self.members.get(member).and_then(|state| state.outcast) {
            self.verdict.demand(at.now <= since, Rule::RemovedEnds, || {
                format!("a majority called member {member} removed at {since:?}, and it goes on")
            });
        }
    }

    /// A replica's configuration has changed.
    pub(crate) fn configuration(&mut self, at: At, member: usize, configuration: &Configuration) {
        self.pass(at, member);
        let name = self.name(member);
        let Some(state) = self.members.get_mut(member) else { return };
        if configuration.voters.is_empty() || state.copied {
            // It waits to be added, or has no disk in this account.
            return;
        }
        self.lists_reach(at.now, member);
        let Some(state) = self.members.get_mut(member) else { return };
        let Some((place, index)) = self.configurations.find(state.place, configuration) else {
            self.verdict.demand(false, Rule::ConfigurationFollows, || {
                format!("{name} has {configuration:?}, which no committed entry leads to")
            });
            return;
        };
        let own = state.id;
        if self.configurations.at(state.place).is_quorum(|id| Some(id) == own) {
            // Until now it needed no answer to a round.
            state.rounds.was_alone(at.clock);
        }
        (state.place, state.configured) = (place, at.now);
        // The engine also counts a round that is under way again.
        state.rounds.count(|answered| {
            configuration.is_quorum(|id| Some(id) == own || answered.contains(&id))
        });
        // Without another voter, none can lead instead.
        let alone = configuration.is_quorum(|id| Some(id) == own);
        if alone || state.proof.is_some_and(|since| state.rounds.prove(since)) {
            state.proof = None;
        }
        let disk = state.id.and_then(|id| self.disks.get(&id));
        let commit = disk.map_or(0, |disk| disk.hard.commit);
        // A snapshot brings its configuration. It counts from its installation on, because the member promises and asks
        // nothing before that is durable.
        let follows = commit >= index || state.snapshot >= index;
        self.verdict.demand(follows, Rule::ConfigurationFollows, || {
            format!(
                "{name} follows the change at {index}, and its disk says that {commit} is committed"
            )
        });
    }

    /// Checks that a member may say something to a client that only a leader knows. `by_entry` is true if an applied entry
    /// alone leads to it, whoever leads now.
    pub(super) fn may_answer(&mut self, at: At, member: usize, by_entry: bool) {
        let name = self.name(member);
        let state = &self.members[member];
        let serves = state.standing.serving || state.ceased == Some(at.now);
        let own = self.log.term(state.standing.known).is_none_or(|term| term >= state.served);
        self.verdict.demand(serves && own, Rule::ServesLeading, || {
            format!("{name} answers; {:?}", state.standing)
        });
        let patience = patience(&self.terms.timing);
        let (own, heard) = (state.id, &state.heard);
        let since = state.clock.saturating_sub(patience);
        let configuration = self.configurations.at(state.place);
        let connected = configuration
            .is_quorum(|id| Some(id) == own || heard.get(&id).is_some_and(|heard| *heard >= since));
        self.verdict.demand(connected, Rule::CutOffSilent, || {
            format!("{name} answers at {:?} and has heard {heard:?}", state.clock)
        });
        if !by_entry {
            self.verdict.demand(state.proof.is_none(), Rule::ProofFirst, || {
                format!("{name} woke at {:?} and has heard {heard:?}", state.proof)
            });
        }
    }
}
