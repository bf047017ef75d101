//! Observation of the engine.

use zraft_protocol::{MemberId, RequestId, SessionId};
use zraft_session::Session;
use zraft_zmtp::Instant;

use super::member::Run;
use super::table::{Key, Row, number};
use super::{Engine, EngineStats, MemberIndex, PeerId};
use crate::journal::Journal;

/// A session that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionView {
    /// The session's id.
    pub id: SessionId,
    /// True if the session is bound to a connection at the leader.
    pub bound: bool,
    /// L, the lowest pending request id: the highest one of any executed command.
    pub lowest_pending: RequestId,
    /// The number of cached answers.
    pub cached_answers: usize,
    /// The number of unacknowledged server requests.
    pub unacknowledged: usize,
    /// When the session expires, unless a KeepAlive or ContinueSession extends it.
    pub expires_at: Instant,
    /// True if the session's end is in the log and not committed yet.
    pub ending: bool,
}

impl Engine {
    /// Returns the latest time that any call supplied.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Returns the members' ids in the order of the configuration.
    pub fn members(&self) -> impl ExactSizeIterator<Item = &MemberId> {
        self.members.iter().map(|member| &member.id)
    }

    /// Returns the position of a member in the configuration.
    pub fn index_of(&self, id: &str) -> Option<MemberIndex> {
        self.members.iter().position(|member| member.id.as_str() == id).map(MemberIndex)
    }

    /// Returns the leader: the member whose log commits once a majority is reachable.
    pub fn leader(&self) -> Option<MemberIndex> {
        self.leader.map(MemberIndex)
    }

    /// Returns the id of the leader.
    pub fn leader_id(&self) -> Option<&MemberId> {
        self.leader.map(|leader| &self.members[leader].id)
    }

    /// Returns true if a leader commits.
    pub fn commits(&self) -> bool {
        self.commits
    }

    /// Returns true if the member's process runs. A frozen process runs.
    pub fn is_running(&self, member: MemberIndex) -> bool {
        self.members.get(member.0).is_some_and(|member| member.run == Run::Up)
    }

    /// Returns the number of connections of a member, dropped ones included.
    pub fn connections(&self, member: MemberIndex) -> usize {
        self.members.get(member.0).map_or(0, |member| member.peers)
    }

    /// Returns true if a session is bound to a connection.
    pub fn is_bound(&self, peer: PeerId) -> bool {
        self.peers.get(&peer).is_some_and(|peer| peer.bound.is_some())
    }

    /// Returns the number of the session that is bound to a connection. It is the number in an
    /// [`Incident`](super::Incident).
    pub fn session_number(&self, peer: PeerId) -> Option<u64> {
        self.peers.get(&peer)?.bound.map(number)
    }

    /// Returns the sessions that exist, oldest first.
    pub fn sessions(&self) -> impl Iterator<Item = SessionView> + '_ {
        self.table.iter().map(|(key, row)| self.view(key, row))
    }

    /// Returns one session.
    pub fn session(&self, id: &SessionId) -> Option<SessionView> {
        let key = self.table.key(id)?;
        self.table.get(key).map(|row| self.view(key, row))
    }

    fn view(&self, key: Key, row: &Row) -> SessionView {
        let session = self.replicated.session(&row.id);
        let count = |count: fn(&Session) -> u64| session.map_or(0, count) as usize;
        SessionView {
            id: row.id.clone(),
            bound: self.bound_peer(key).is_some(),
            lowest_pending: session.map(Session::lowest_pending).unwrap_or_default(),
            cached_answers: count(Session::cached_answers),
            unacknowledged: count(Session::unacknowledged),
            expires_at: row.expires_at,
            ending: row.ending,
        }
    }

    /// Returns the journal of executed commands.
    pub fn journal(&self) -> &Journal {
        &self.replicated.journal
    }

    /// Returns the number of entries and queries that wait in the leader's log.
    pub fn waiting(&self) -> usize {
        self.log.len()
    }

    /// Returns the figures since the start.
    pub fn stats(&self) -> EngineStats {
        EngineStats { dropped_by_switch: self.drops.dropped, ..self.stats.clone() }
    }
}
