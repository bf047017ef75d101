//! Copies of members' directories, and directories that were refused as rolled back.

use zraft_replica::{PeerMessage, RaftId, VoteKind};

use super::{At, ClusterJudge, rules::Rule};

impl ClusterJudge {
    /// The next process at a place starts from a copy of another member's directory.
    pub(crate) fn copied(&mut self, member: usize) {
        self.make_room(member);
        self.members[member].copied = true;
    }

    /// A place gets another directory. No one has refused it yet.
    pub(crate) fn new_directory(&mut self, member: usize) {
        self.make_room(member);
        self.members[member].refused_by.clear();
        self.members[member].copied = false;
    }

    /// A replica gets a message that the process on a copied directory has sent under the member's id.
    pub(crate) fn heard_copy(
        &mut self,
        at: At,
        member: usize,
        from: RaftId,
        message: &PeerMessage,
    ) {
        self.pass(at, member);
        let name = self.name(member);
        let counts = matches!(
            message,
            PeerMessage::AppendResponse { .. }
                | PeerMessage::HeartbeatResponse { .. }
                | PeerMessage::Append { .. }
                | PeerMessage::Heartbeat { .. }
                | PeerMessage::VoteResponse { granted: true, .. }
                | PeerMessage::VoteRequest { kind: VoteKind::Vote | VoteKind::HandOver, .. }
        );
        self.verdict.demand(!counts, Rule::CopyApart, || {
            format!("{name} gets {message:?} from a copy of Raft id {from}")
        });
    }

    /// A member's directory turns out to lack what another member remembers of it.
    pub(crate) fn refused(&mut self, member: usize, by: usize) {
        let Some(state) = self.members.get_mut(member) else { return };
        if !state.refused_by.insert(by) {
            self.verdict.demand(true, Rule::RefusedStays, String::new);
        }
    }

    /// Two members have completed a handshake.
    pub(crate) fn acquainted(&mut self, one: usize, other: usize) {
        for (member, by) in [(one, other), (other, one)] {
            let Some(state) = self.members.get(member) else { return };
            if state.refused_by.is_empty() {
                continue;
            }
            let refused = state.refused_by.contains(&by);
            let name = self.name(member);
            self.verdict.demand(!refused, Rule::RefusedStays, || {
                format!("{name} is accepted by member {by}, which has refused its directory")
            });
        }
    }
}
