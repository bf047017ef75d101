//! A new list of members, in the middle of everything.

use super::Machine;
use crate::{Instant, config::MemberList};

impl Machine {
    /// Takes these members in place of those that were configured before.
    ///
    /// A member that is in both lists, with the same id and endpoint, is the same one: attempts at it go on, and what the
    /// machine knows of it stays. A member that is no longer listed is not asked any more, no hint leads to it, and attempts at
    /// it end without an event. If the session is connected to it, that connection stays until it ends: the member may still
    /// lead, and if it is listed again it is still the same one. The session is then continued at a member of the new list. If the machine is looking for a member and the list
    /// names a new one, that one is asked at once and begins a new round, so a caller that brings a new member in each
    /// call bears the pace of the attempts.
    pub fn update_members(&mut self, now: Instant, members: MemberList) {
        self.set_members(now, &members);
        self.config.members = members;
        self.ask_for_members(now);
    }

    /// Lets these members be asked from now on.
    pub(super) fn set_members(&mut self, now: Instant, members: &MemberList) {
        let session = self.link.as_ref().map(|link| (link.member, &*link.to));
        let added = self.members.update(members, session);
        self.callers.configured(|id| self.members.by_id(id).is_some());
        if let Some(session) = &mut self.session {
            session.believe_only(|member| self.members.get(member).is_some());
        }
        if let Some(link) = &self.link {
            self.liveness.set_can_move(self.members.has_other_than(link.member));
        }
        self.search_among(now, added);
    }
}
