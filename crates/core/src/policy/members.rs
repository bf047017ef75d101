//! Which member to ask next, and when: rounds, hints and backoff.

use std::time::Duration;

use zraft_protocol::MemberId;

use crate::{Instant, config::Backoff, rng::Rng};

/// Hints followed in a row before the members are asked in turn again: members with old news can send a client in
/// circles.
const MAX_HINTS_IN_A_ROW: u8 = 3;
/// No hint leads back to a deaf member for this long. Other members keep hinting at it while it leads.
const DEAF_FOR: Duration = Duration::from_secs(30);
/// After this many losses in a row at a member that served nothing, the next one is asked. As many barren losses make
/// requests go one at a time, so that a request that kills a member is not carried to the next with all others.
const MAX_DROPS: u8 = 3;
/// For this long an election is asked about often; most elections are over by then.
const ELECTION_FAST: Duration = Duration::from_secs(10);
/// The growth of the pauses in an election. Slower than doubling: the answer is expected soon.
const ELECTION_GROWTH: f64 = 1.6;

/// The member to try, now or later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Try this member now.
    Now(usize),
    /// Begin a new round then.
    At(Instant),
    /// Wait until an attempt ends or the present pause is over.
    Wait,
}

/// An attempt that ended without a session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended {
    pub(crate) member: usize,
    /// The member answered it.
    pub(crate) answered: bool,
    /// The configured leader that it named, if it answered.
    pub(crate) hint: Option<usize>,
}

#[derive(Debug)]
pub(crate) struct Members {
    backoff: Backoff,
    members: Vec<Member>,
    /// The member tried last.
    last: usize,
    hints_in_a_row: u8,
    /// A member answered in this round, though not with a session.
    anyone_answered: bool,
    /// In this round a member denied the session, or named a leader that is already being asked for a new one: it may be long
    /// before another question has another answer.
    patient: bool,
    /// Where the next round begins; if `None`, after the member tried last.
    round_start: Option<usize>,
    /// The next pause after a round without any answer.
    down: Duration,
    /// The next pause after a round with an answer.
    election: Duration,
    election_since: Option<Instant>,
    unconfigured: Option<Unconfigured>,
}

/// A leader that a member named and that is not configured.
#[derive(Debug)]
struct Unconfigured {
    giver: usize,
    leader_id: MemberId,
    /// It was named in the present round; otherwise in the one before.
    in_this_round: bool,
}

#[derive(Debug, Clone, Default)]
struct Member {
    /// It was asked in this round.
    asked: bool,
    /// It gave no answer in this round, or denied the session.
    failed: bool,
    deaf_until: Option<Instant>,
    /// Losses in a row of connections on which it continued the session and served nothing.
    drops: u8,
}

impl Members {
    pub(crate) fn new(count: usize, backoff: Backoff) -> Self {
        let (down, election) = (backoff.initial, backoff.election_initial);
        Self {
            backoff,
            members: vec![Member::default(); count],
            last: count - 1,
            hints_in_a_row: 0,
            anyone_answered: false,
            patient: false,
            round_start: None,
            down,
            election,
            election_since: None,
            unconfigured: None,
        }
    }

    /// Begins the first round after connect(), and returns its first member: the first one configured.
    pub(crate) fn first(&mut self) -> Next {
        self.heard();
        for member in &mut self.members {
            member.drops = 0;
        }
        self.round_start = Some(0);
        self.begin_round(|_| false)
    }

    /// Begins a new round, and returns its first member. A member is busy if it has a connection: it is not asked again.
    pub(crate) fn begin_round(&mut self, busy: impl Fn(usize) -> bool) -> Next {
        self.forget_round();
        let count = self.members.len();
        // A member that is still being asked may yet name the same leader.
        if !(0..count).any(&busy) {
            self.unconfigured = self.unconfigured.take().filter(|leader| leader.in_this_round);
            if let Some(leader) = &mut self.unconfigured {
                leader.in_this_round = false;
            }
        }
        for member in 0..count {
            self.members[member].asked = busy(member);
        }
        let first = self.round_start.take().unwrap_or((self.last + 1) % count);
        let free = (0..count).map(|step| (first + step) % count).find(|&member| !busy(member));
        free.map_or(Next::Wait, |member| Next::Now(self.take(member)))
    }

    /// Begins a round beside the connection of a session that seems frozen, and returns its first member.
    pub(crate) fn beside(&mut self, member: usize) -> Next {
        self.forget_round();
        self.take(member);
        self.next_unasked(member, |_| false).map_or(Next::Wait, Next::Now)
    }

    /// The attempts of the round take long: returns the member to ask beside them.
    pub(crate) fn hedge(
        &mut self,
        now: Instant,
        busy: impl Fn(usize) -> bool,
        rng: &mut Rng,
    ) -> Next {
        if let Some(member) = self.next_unasked(self.last, &busy) {
            return Next::Now(member);
        }
        if (0..self.members.len()).all(busy) {
            return Next::Wait;
        }
        Next::At(now + self.pause(now, rng))
    }

    fn next_unasked(&mut self, from: usize, busy: impl Fn(usize) -> bool) -> Option<usize> {
        let count = self.members.len();
        let member = (1..=count)
            .map(|step| (from + step) % count)
            .find(|&member| !self.members[member].asked && !busy(member))?;
        Some(self.take(member))
    }

    fn forget_round(&mut self) {
        self.hints_in_a_row = 0;
        self.anyone_answered = false;
        self.patient = false;
        for member in &mut self.members {
            member.asked = false;
            member.failed = false;
        }
    }

    fn take(&mut self, member: usize) -> usize {
        self.members[member].asked = true;
        self.last = member;
        member
    }

    /// The session has a connection to this member: the next round begins after it.
    pub(crate) fn found(&mut self, member: usize) {
        self.last = member;
    }

    /// The first answer came on a session connection, or it stood for five seconds: the pauses start small again.
    pub(crate) fn heard(&mut self) {
        self.down = self.backoff.initial;
        self.election = self.backoff.election_initial;
        self.election_since = None;
    }

    /// `giver` named a leader that is not configured.
    pub(crate) fn named_unconfigured(&mut self, giver: usize, leader_id: MemberId) {
        self.unconfigured = Some(Unconfigured { giver, leader_id, in_this_round: true });
    }

    /// Another leader was found or named, or a new search begins.
    pub(crate) fn forget_unconfigured(&mut self) {
        self.unconfigured = None;
    }

    /// Returns the leader that is not configured and the member that named it, in the present round or the one before.
    pub(crate) fn unconfigured(&self) -> Option<(usize, &MemberId)> {
        self.unconfigured.as_ref().map(|leader| (leader.giver, &leader.leader_id))
    }

    /// The member did not answer a keep-alive.
    pub(crate) fn deaf(&mut self, now: Instant, member: usize) {
        self.members[member].deaf_until = Some(now + DEAF_FOR);
    }

    /// The member dropped a session connection and had served nothing on it. Returns true if it did so too often in a
    /// row and others can be asked; then no hint leads back to it for a while.
    pub(crate) fn dropped(&mut self, now: Instant, member: usize) -> bool {
        let drops = &mut self.members[member].drops;
        *drops = drops.saturating_add(1);
        let too_often = *drops >= MAX_DROPS && self.members.len() > 1;
        if too_often {
            self.deaf(now, member);
        }
        too_often
    }

    /// The member denies the session: it is asked again in its turn, but on no hint in this round.
    pub(crate) fn denied(&mut self, member: usize) {
        self.patient = true;
        self.members[member].failed = true;
    }

    /// The leader that was named is already being asked for a new session, and is busy.
    pub(crate) fn leader_is_busy(&mut self) {
        self.patient = true;
    }

    /// The member served on a session connection.
    pub(crate) fn served(&mut self, member: usize) {
        self.members[member].drops = 0;
    }

    /// An attempt ended without a session. `pauses` says whether a pause begins if no member of the round is left.
    pub(crate) fn after_attempt(
        &mut self,
        now: Instant,
        ended: Ended,
        busy: impl Fn(usize) -> bool,
        pauses: bool,
        rng: &mut Rng,
    ) -> Next {
        let Ended { member: giver, answered, hint } = ended;
        debug_assert!(answered || hint.is_none());
        if answered {
            self.anyone_answered = true;
        } else {
            self.members[giver].failed = true;
        }
        if let Some(hint) = hint.filter(|&hint| !busy(hint) && self.usable(now, giver, hint)) {
            self.hints_in_a_row = self.hints_in_a_row.saturating_add(1);
            return Next::Now(self.take(hint));
        }
        self.hints_in_a_row = 0;
        match self.next_unasked(self.last, busy) {
            Some(member) => Next::Now(member),
            None if pauses => Next::At(now + self.pause(now, rng)),
            None => Next::Wait,
        }
    }

    /// A session connection ended for a reason for which the others are asked first.
    pub(crate) fn after_session(
        &mut self,
        now: Instant,
        member: usize,
        answered: bool,
        hint: Option<usize>,
        rng: &mut Rng,
    ) -> Next {
        self.forget_round();
        self.take(member);
        self.after_attempt(now, Ended { member, answered, hint }, |_| false, true, rng)
    }

    /// A session connection broke: begins a new round at the same member.
    pub(crate) fn same_again(&mut self, member: usize) -> Next {
        self.round_start = Some(member);
        self.begin_round(|_| false)
    }

    /// A session connection was short-lived, which counts as a round without any answer. The next one begins at
    /// `same`, or at the hint if that is usable.
    pub(crate) fn after_short_lived(
        &mut self,
        now: Instant,
        giver: usize,
        same: Option<usize>,
        hint: Option<usize>,
        rng: &mut Rng,
    ) -> Next {
        self.forget_round();
        self.round_start = same.or(hint.filter(|&hint| self.usable(now, giver, hint)));
        Next::At(now + self.pause_down(rng))
    }

    /// Returns true if the hint may be followed now.
    fn usable(&self, now: Instant, giver: usize, hint: usize) -> bool {
        let member = &self.members[hint];
        let deaf = member.deaf_until.is_some_and(|until| now < until);
        let others_asked =
            self.members.iter().enumerate().all(|(other, member)| other == hint || member.asked);
        hint != giver
            && !member.failed
            && self.hints_in_a_row < MAX_HINTS_IN_A_ROW
            && (!deaf || others_asked)
    }

    fn pause(&mut self, now: Instant, rng: &mut Rng) -> Duration {
        if self.anyone_answered { self.pause_election(now, rng) } else { self.pause_down(rng) }
    }

    fn pause_down(&mut self, rng: &mut Rng) -> Duration {
        let pause = self.down;
        self.down = (pause * 2).min(self.backoff.max.max(self.backoff.initial));
        half_random(pause, rng)
    }

    fn pause_election(&mut self, now: Instant, rng: &mut Rng) -> Duration {
        let since = *self.election_since.get_or_insert(now);
        let limit = if now - since < ELECTION_FAST && !self.patient {
            self.backoff.election_max.max(self.backoff.election_initial)
        } else {
            self.backoff.max.max(self.backoff.election_max)
        };
        let pause = self.election.min(limit);
        self.election = pause.mul_f64(ELECTION_GROWTH).min(limit);
        half_random(pause, rng)
    }
}

/// Returns a pause of which half is fixed and half random, so that clients do not ask in step.
fn half_random(pause: Duration, rng: &mut Rng) -> Duration {
    pause / 2 + rng.up_to(pause / 2)
}

#[cfg(test)]
mod tests;
