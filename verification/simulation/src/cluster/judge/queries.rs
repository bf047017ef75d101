//! What a query must and must not see.

use std::{collections::BTreeSet, time::Duration};

use zraft_core::Instant;
use zraft_protocol::{CorrelationId, MemberId, Payload, reserved};
use zraft_replica::ConnectionId;

use super::{ClusterJudge, Member, clients::Connection, rules::Rule};

/// A query that has no answer.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) correlation: CorrelationId,
    /// The member answers it itself, without the application's state.
    pub(super) reserved: bool,
    /// The executed commands that clients knew of when it came.
    pub(super) floor: u64,
    /// Its session's commands that were not answered when it came.
    pub(super) own: Vec<u64>,
    pub(super) since: Instant,
    /// The member's clock when it came.
    pub(super) clock: Duration,
    /// The first command that came after it.
    pub(super) next: Option<u64>,
    /// The last index of the log when nothing held it up any more. It is answered before any later entry.
    pub(super) released: Option<u64>,
}

impl Query {
    pub(super) fn is_followed_by(&mut self, request: u64) {
        self.next.get_or_insert(request);
    }
}

/// The number of executed commands that a query's answer begins with. A rejected query has another answer.
fn length(result: &Payload) -> Option<u64> {
    let bytes = result.first_chunk::<8>()?;
    Some(u64::from_be_bytes(*bytes))
}

/// The members that an answer lists.
fn listed(answer: &Payload) -> Option<BTreeSet<MemberId>> {
    let members = reserved::Members::from_answer(answer).ok()?;
    Some(members.into_iter().map(|member| member.id).collect())
}

impl ClusterJudge {
    /// Notes which queries of a leader nothing holds up any more: a round that began after the query is done, the commands
    /// before it are applied, and so is one after it. Before that, a hand-over may hold back what came before the query.
    pub(super) fn release_queries(&mut self, member: usize) {
        let alone = self.is_alone(member);
        let Member { standing, rounds, connections, .. } = &mut self.members[member];
        for place in connections.values_mut() {
            let Connection { session, queries, commands, .. } = place;
            let session = session.as_ref().and_then(|id| self.ledger.sessions.get(id));
            let Some(session) = session else { continue };
            let applied = |request: &u64| {
                let outcome = session.outcomes.get(request);
                outcome.is_some_and(|outcome| outcome.index <= standing.known)
            };
            for query in queries.iter_mut().filter(|query| query.released.is_none()) {
                let proven = alone || rounds.prove_beyond(query.clock);
                let own = query.own.iter().all(|id| applied(id) || !commands.contains_key(id));
                if proven && own && query.next.as_ref().is_some_and(applied) {
                    query.released = Some(standing.last_index);
                }
            }
        }
    }

    /// A leader answers a command on a connection, whose entry has this index.
    pub(super) fn passes_queries(&mut self, member: usize, connection: ConnectionId, index: u64) {
        let name = self.name(member);
        let Some(place) = self.members[member].connections.get(&connection) else { return };
        for query in &place.queries {
            let Some(released) = query.released else { continue };
            self.verdict.demand(index <= released, Rule::ReadsNotOvertaken, || {
                format!("{name} answers the command of entry {index} before {query:?}")
            });
        }
    }

    pub(super) fn told_query(
        &mut self,
        member: usize,
        connection: ConnectionId,
        correlation: &CorrelationId,
        result: &Payload,
    ) {
        let name = self.name(member);
        let Some(place) = self.members[member].connections.get_mut(&connection) else { return };
        if correlation.as_str() == reserved::MEMBERS_CHANGED {
            let asked = place.listed.is_some();
            place.listed = listed(result);
            self.verdict.demand(asked, Rule::ListsAsked, || {
                format!("{name} lists the members on {connection:?}")
            });
            return;
        }
        let at = place.queries.iter().position(|query| query.correlation == *correlation);
        let asked = at.and_then(|at| place.queries.remove(at));
        if asked.as_ref().is_some_and(|query| query.reserved) {
            place.listed = listed(result);
        }
        let session = place.session.as_ref().and_then(|id| self.ledger.sessions.get(id));
        let (Some(query), Some(session)) = (asked, session) else {
            self.verdict.demand(false, Rule::ReadsFresh, || {
                format!("{name} answers {correlation}, which was not asked on this connection")
            });
            return;
        };
        let own = query.own.iter().find(|request| {
            let never = **request < session.lowest;
            !never && !session.outcomes.contains_key(request)
        });
        let missing = own.copied().filter(|_| !query.reserved);
        let lowest = session.lowest;
        let positions =
            query.own.iter().filter_map(|request| session.outcomes.get(request)?.position);
        let last = positions.max();
        self.verdict.demand(missing.is_none(), Rule::ReadsOwn, || {
            format!(
                "{name}: {correlation} came before command {missing:?}; the lowest id is {lowest}"
            )
        });
        let proven = self.is_proven(member, query.clock);
        self.verdict.demand(proven, Rule::ReadsProven, || {
            format!("{name}: {correlation} came at {:?}, after the last round began", query.clock)
        });
        if query.reserved {
            return;
        }
        let Some(length) = length(result) else { return };
        self.verdict.demand(length >= query.floor, Rule::ReadsFresh, || {
            format!("{name}: {correlation} saw {length} commands, and clients knew {}", query.floor)
        });
        let most = self.ledger.length;
        self.verdict.demand(length <= most, Rule::ReadsCommitted, || {
            format!("{name}: {correlation} saw {length} commands, and {most} are committed")
        });
        self.verdict.demand(last.is_none_or(|last| last < length), Rule::ReadsOwn, || {
            format!(
                "{name}: {correlation} saw {length} commands and not the earlier one at {last:?}"
            )
        });
        self.ledger.told_length = self.ledger.told_length.max(length);
    }
}
