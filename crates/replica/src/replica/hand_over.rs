//! Giving leadership away on purpose.

use super::{Replica, STALL};
use crate::{Now, RaftId, StopReason, engine::Progress};

/// Members that are tried. The second is there for the case that the first has just died.
const ATTEMPTS: usize = 2;

/// A hand-over that is under way. Commands that come meanwhile are held: the next leader gets them from their clients,
/// or this one proposes them after the abort.
#[derive(Debug)]
pub(super) struct HandOver {
    /// The member that was asked for, if it was not tried yet.
    wanted: Option<RaftId>,
    tried: Vec<RaftId>,
    /// Stop leading even if no member takes over.
    insist: bool,
}

impl HandOver {
    fn new(wanted: Option<RaftId>, insist: bool) -> Self {
        Self { wanted, tried: Vec::new(), insist }
    }

    /// The member that is asked to take over.
    pub(super) fn successor(&self) -> Option<RaftId> {
        self.tried.last().copied()
    }
}

impl Replica {
    /// Hands leadership over, to this member or to the one with the most of the log. Tries one more member if that does
    /// not answer within an election timeout, and goes on leading if that fails, too.
    ///
    /// Does nothing on a member that does not lead.
    pub fn hand_over(&mut self, now: Now, to: Option<RaftId>) {
        self.enter(now, false, |replica| {
            replica.begin_hand_over(to, false);
            Ok(())
        });
    }

    /// Prepares the end of the process: hands leadership over, or gives it up if no member takes it, and tells the
    /// clients. The shell ends the process once [`is_shut_down`](Self::is_shut_down) says so and all outputs are done.
    ///
    /// The only voter has no successor; its clients wait until it is back.
    pub fn shut_down(&mut self, now: Now) {
        self.enter(now, false, |replica| {
            replica.closing = true;
            replica.begin_hand_over(None, true);
            if replica.lead.is_none() {
                replica.reject_held();
            }
            Ok(())
        });
    }

    /// Returns true after [`shut_down`](Self::shut_down), once this member leads no more.
    #[must_use]
    pub fn is_shut_down(&self) -> bool {
        self.closing && self.lead.is_none()
    }

    pub(super) fn begin_hand_over(&mut self, to: Option<RaftId>, insist: bool) {
        let Some(lead) = self.lead.as_mut() else { return };
        match &mut lead.hand_over {
            Some(under_way) => under_way.insist |= insist,
            None => lead.hand_over = Some(HandOver::new(to, insist)),
        }
    }

    /// Goes on with a hand-over, and begins one when this member's own write takes too long: the others still commit, but
    /// this leader applies and answers nothing. Returns true if the engine was moved.
    pub(super) fn go_on_handing_over(&mut self) -> Result<bool, StopReason> {
        let now = self.now.monotonic;
        if self.write_since.is_some_and(|since| now.saturating_sub(since) >= STALL) {
            self.begin_hand_over(None, true);
        }
        let Some(mut hand_over) = self.lead.as_mut().and_then(|lead| lead.hand_over.take()) else {
            return Ok(false);
        };
        if self.engine.is_transferring() {
            self.keep(hand_over);
            return Ok(false);
        }
        let next = hand_over.wanted.take().or_else(|| self.successor(&hand_over.tried));
        match next.filter(|_| hand_over.tried.len() < ATTEMPTS) {
            Some(next) => {
                hand_over.tried.push(next);
                self.keep(hand_over);
                self.engine.transfer(next)?;
                Ok(true)
            }
            None if hand_over.insist => {
                self.engine.step_down()?;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    fn keep(&mut self, hand_over: HandOver) {
        if let Some(lead) = self.lead.as_mut() {
            lead.hand_over = Some(hand_over);
        }
    }

    /// The voter that would win most surely. One whose disk is nearly full is the last choice.
    fn successor(&self, tried: &[RaftId]) -> Option<RaftId> {
        let fit = self.possible_successors(tried);
        fit.into_iter()
            .max_by_key(|each| (self.has_space(each.id), each.matched))
            .map(|each| each.id)
    }

    /// The voters that could take over now.
    pub(super) fn possible_successors(&self, tried: &[RaftId]) -> Vec<Progress> {
        let voters = &self.engine.configuration().voters;
        let progress = self.engine.progress().into_iter();
        let fit = progress.filter(|each| {
            each.id != self.id
                && voters.contains(&each.id)
                && self.is_active(each.id)
                && !each.installing
                && !tried.contains(&each.id)
        });
        fit.collect()
    }
}
