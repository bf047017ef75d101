//! Lists of members that the application or the server gave the client: only members of the present one are asked.

use zraft_core::Instant;

use super::{Judge, Stage};

impl Judge {
    /// Returns true if the application gave the client this list last.
    pub(crate) fn was_given(&self, list: &[usize]) -> bool {
        self.terms.given == list
    }

    /// Returns true if a member other than this one is listed.
    pub(super) fn lists_other_than(&self, member: usize) -> bool {
        self.terms.listed.iter().any(|listed| *listed != member)
    }

    /// The application gives the client this list.
    pub(crate) fn new_list(&mut self, now: Instant, list: &[usize]) {
        self.terms.given = list.to_vec();
        self.members_are(now, list, list.len());
        self.must_ask_for_members(now);
    }

    /// The client has these members from now on. Those from `last_resort` on are asked only if the others do not answer.
    pub(super) fn members_are(&mut self, now: Instant, list: &[usize], last_resort: usize) {
        self.terms.listed = list.to_vec();
        self.terms.last_resort = last_resort;
        let listed = |member: &usize| list.contains(member);
        for (member, drops) in self.drops.iter_mut().enumerate() {
            if !listed(&member) {
                *drops = 0;
            }
        }
        self.dropped_by = self.dropped_by.filter(listed);
        if let Some(session) = &mut self.session {
            session.denials.retain(|member, _| listed(member));
            session.named.retain(|member, leader| listed(member) && listed(leader));
        }
        let mut ends = false;
        for attempt in self.attempts.iter_mut().filter(|attempt| !listed(&attempt.member)) {
            attempt.blameless = true;
            ends = true;
        }
        self.tries.new_list(now, list, ends);
    }

    /// Checks that no attempt at a member goes on that is not listed.
    pub(super) fn asks_only_the_listed(&mut self) {
        let listed = &self.terms.listed;
        let removed = self
            .attempts
            .iter()
            .find(|attempt| attempt.stage != Stage::Over && !listed.contains(&attempt.member));
        if let Some(member) = removed.map(|attempt| attempt.member) {
            self.violated("an attempt at a member ends when it is removed", format!("{member}"));
        }
    }
}
