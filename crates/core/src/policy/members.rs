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
    /// It gave no answer in this round.
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
            round_start: None,
            down,
            election,
            election_since: None,
            unconfigured: None,
        }
    }

    /// Begins the first round after connect(), and returns its first member: the first one configured.
    pub(crate) fn first(&mut self) -> usize {
        self.heard();
        for member in &mut self.members {
            member.drops = 0;
        }
        self.round_start = Some(0);
        self.begin_round()
    }

    /// Begins a new round, and returns its first member.
    pub(crate) fn begin_round(&mut self) -> usize {
        self.forget_round();
        self.unconfigured = self.unconfigured.take().filter(|leader| leader.in_this_round);
        if let Some(leader) = &mut self.unconfigured {
            leader.in_this_round = false;
        }
        let first = self.round_start.take().unwrap_or((self.last + 1) % self.members.len());
        self.take(first)
    }

    fn forget_round(&mut self) {
        self.hints_in_a_row = 0;
        self.anyone_answered = false;
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

    /// The member served on a session connection.
    pub(crate) fn served(&mut self, member: usize) {
        self.members[member].drops = 0;
    }

    /// An attempt ended without a session. `answered` says whether the member answered it; then `hint` is the
    /// configured leader that it named.
    pub(crate) fn after_attempt(
        &mut self,
        now: Instant,
        answered: bool,
        hint: Option<usize>,
        rng: &mut Rng,
    ) -> Next {
        debug_assert!(answered || hint.is_none());
        let giver = self.last;
        if answered {
            self.anyone_answered = true;
        } else {
            self.members[giver].failed = true;
        }
        self.go_on(now, giver, hint, rng)
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
        self.after_attempt(now, answered, hint, rng)
    }

    /// A session connection broke: begins a new round at the same member.
    pub(crate) fn same_again(&mut self, member: usize) -> usize {
        self.round_start = Some(member);
        self.begin_round()
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

    fn go_on(&mut self, now: Instant, giver: usize, hint: Option<usize>, rng: &mut Rng) -> Next {
        if let Some(hint) = hint.filter(|&hint| self.usable(now, giver, hint)) {
            self.hints_in_a_row = self.hints_in_a_row.saturating_add(1);
            return Next::Now(self.take(hint));
        }
        self.hints_in_a_row = 0;
        let count = self.members.len();
        let unasked =
            (1..=count).map(|step| (giver + step) % count).find(|&m| !self.members[m].asked);
        match unasked {
            Some(member) => Next::Now(self.take(member)),
            None => Next::At(now + self.pause(now, rng)),
        }
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
        let limit = if now - since < ELECTION_FAST {
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
