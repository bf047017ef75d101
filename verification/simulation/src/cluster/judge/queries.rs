//! What a query must and must not see.

use std::time::Duration;

use zraft_core::Instant;
use zraft_protocol::{CorrelationId, Payload};
use zraft_replica::ConnectionId;

use super::{ClusterJudge, rules::Rule};

/// A query that has no answer.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) correlation: CorrelationId,
    /// The executed commands that clients knew of when it came.
    pub(super) floor: u64,
    /// Its session's commands that were not answered when it came.
    pub(super) own: Vec<u64>,
    pub(super) since: Instant,
    /// The member's clock when it came.
    pub(super) clock: Duration,
}

/// The number of executed commands that a query's answer begins with. A rejected query has another answer.
fn length(result: &Payload) -> Option<u64> {
    let bytes = result.first_chunk::<8>()?;
    Some(u64::from_be_bytes(*bytes))
}

impl ClusterJudge {
    pub(super) fn told_query(
        &mut self,
        member: usize,
        connection: ConnectionId,
        correlation: &CorrelationId,
        result: &Payload,
    ) {
        let name = self.name(member);
        let Some(place) = self.members[member].connections.get_mut(&connection) else { return };
        let at = place.queries.iter().position(|query| query.correlation == *correlation);
        let asked = at.and_then(|at| place.queries.remove(at));
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
        let missing = own.copied();
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
