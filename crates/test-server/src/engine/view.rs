//! What an observer can see.

use zraft_protocol::{MemberId, RequestId, SessionId};
use zraft_zmtp::Instant;

use super::member::Run;
use super::replicated::{Key, Session, number};
use super::{Engine, EngineStats, MemberIndex, PeerId};
use crate::journal::Journal;

/// A living session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionView {
    /// Its id.
    pub id: SessionId,
    /// Whether a connection speaks for it at the leader.
    pub bound: bool,
    /// The highest lowestPendingRequestId that was executed.
    pub lowest_pending: RequestId,
    /// How many answers are kept for it.
    pub cached_answers: usize,
    /// How many server requests wait for its acknowledgement.
    pub unacknowledged: usize,
    /// When it expires if nothing extends it.
    pub expires_at: Instant,
    /// Its end is in the log.
    pub ending: bool,
}

impl Engine {
    /// The latest time it was told.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The members' ids, in the order of the configuration.
    pub fn members(&self) -> impl ExactSizeIterator<Item = &MemberId> {
        self.members.iter().map(|member| &member.id)
    }

    /// The position of a member.
    pub fn index_of(&self, id: &str) -> Option<MemberIndex> {
        self.members.iter().position(|member| member.id.as_str() == id).map(MemberIndex)
    }

    /// The member that leads: the one whose log commits, once a majority can be had.
    pub fn leader(&self) -> Option<MemberIndex> {
        self.leader.map(MemberIndex)
    }

    /// The id of the member that leads.
    pub fn leader_id(&self) -> Option<&MemberId> {
        self.leader.map(|leader| &self.members[leader].id)
    }

    /// Whether a leader commits.
    pub fn commits(&self) -> bool {
        self.commits
    }

    /// Whether the member's process runs; a frozen one does.
    pub fn is_running(&self, member: MemberIndex) -> bool {
        self.members.get(member.0).is_some_and(|member| member.run == Run::Up)
    }

    /// How many connections are at a member, dropped ones included.
    pub fn connections(&self, member: MemberIndex) -> usize {
        self.members.get(member.0).map_or(0, |member| member.peers)
    }

    /// Whether a connection speaks for a session at its member.
    pub fn is_bound(&self, peer: PeerId) -> bool {
        self.peers.get(&peer).is_some_and(|peer| peer.bound.is_some())
    }

    /// The number of the session that a connection speaks for at its member, as in an [`Incident`](super::Incident).
    pub fn session_number(&self, peer: PeerId) -> Option<u64> {
        self.peers.get(&peer)?.bound.map(number)
    }

    /// The living sessions, oldest first.
    pub fn sessions(&self) -> impl Iterator<Item = SessionView> + '_ {
        self.replicated.sessions.iter().map(|(key, session)| self.view(*key, session))
    }

    /// One living session.
    pub fn session(&self, id: &SessionId) -> Option<SessionView> {
        let key = self.replicated.key(id)?;
        self.replicated.sessions.get(&key).map(|session| self.view(key, session))
    }

    fn view(&self, key: Key, session: &Session) -> SessionView {
        let leader = self.leader.and_then(|leader| self.members.get(leader));
        SessionView {
            id: session.id.clone(),
            bound: leader.is_some_and(|leader| leader.bindings.contains_key(&key)),
            lowest_pending: session.lowest,
            cached_answers: session.cached_answers(),
            unacknowledged: session.unacknowledged(),
            expires_at: session.expires_at,
            ending: session.ending,
        }
    }

    /// What was executed.
    pub fn journal(&self) -> &Journal {
        &self.replicated.journal
    }

    /// How many entries and queries wait in the leader's log.
    pub fn waiting(&self) -> usize {
        self.log.len()
    }

    /// What was done so far.
    pub fn stats(&self) -> EngineStats {
        EngineStats { dropped_by_switch: self.drops.dropped, ..self.stats.clone() }
    }
}
