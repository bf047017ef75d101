//! Leaders that members name: the client dials configured members only, and reports a leader that is not among them.

use zraft_core::{ConnId, ConnectionCause, Endpoint, Failure};
use zraft_protocol::MemberId;

use super::{Judge, Wire};

impl Judge {
    /// The machine dials a member. Returns the member's index.
    pub(crate) fn dials(&mut self, member: &MemberId, endpoint: &Endpoint) -> Option<usize> {
        let same = |index: &usize| self.terms.configured[*index].endpoint == *endpoint;
        let index = self.listed(member).filter(same);
        self.demand(index.is_some(), "only configured members are dialled", || {
            format!("{member} at {endpoint}")
        });
        index
    }

    /// Returns the index of a member of the client's present list.
    pub(super) fn listed(&self, id: &MemberId) -> Option<usize> {
        let configured = &self.terms.configured;
        self.terms.listed.iter().copied().find(|&index| configured[index].id == *id)
    }

    /// A message on this connection, which the machine must believe, names a leader.
    pub(super) fn names_leader(&mut self, id: ConnId, leader: Option<MemberId>) {
        let named = leader.as_ref().and_then(|leader| self.listed(leader));
        if let Some(named) = named {
            self.tries.hinted(named);
        }
        // An empty name names no member.
        let outsider = leader.filter(|leader| named.is_none() && !leader.as_str().is_empty());
        if let Some(outsider) = &outsider {
            self.coverage.count("leader", "not configured");
            self.outsiders.insert(outsider.clone());
        }
        if let Some(wire) = self.any_wire_mut(id) {
            wire.outsider = outsider;
        }
    }

    /// An attempt at this member failed: a rejection that names an outsider is reported with that name, and no other
    /// failure is.
    pub(super) fn leader_is_reported(&mut self, member: &MemberId, error: &ConnectionCause) {
        let asked = |attempt: &&Wire| self.terms.configured[attempt.member].id == *member;
        let named = self.attempts.iter().find(asked).and_then(|wire| wire.outsider.as_ref());
        let holds = match error {
            ConnectionCause::LeaderNotConfigured { leader_id } => named == Some(leader_id),
            ConnectionCause::NoLeader => named.is_none(),
            _ => true,
        };
        self.demand(holds, "a leader that is not configured is reported", || format!("{error:?}"));
    }

    /// connect() failed: it blames only a leader that some member named.
    pub(super) fn outsider_was_named(&mut self, failure: &Failure) {
        if let Failure::Connection {
            cause: ConnectionCause::LeaderNotConfigured { leader_id },
            ..
        } = failure
        {
            self.coverage.count("connect()", "leaderNotConfigured");
            let named = self.outsiders.contains(leader_id);
            self.demand(named, "connect() blames a leader that was named", || {
                leader_id.as_str().to_owned()
            });
        }
    }
}
