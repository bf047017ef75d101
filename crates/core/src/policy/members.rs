//! Which member to ask next, and when: rounds, hints and backoff.

use std::time::Duration;

use zraft_protocol::MemberId;

use crate::{Instant, config::Backoff, rng::Rng};

/// Hints followed one after the other before the members are asked in turn again.
const MAX_HINTS_IN_A_ROW: u8 = 3;
/// A member that did not answer a keep-alive is not gone back to on a hint for this long.
const DEAF_FOR: Duration = Duration::from_secs(30);
/// After this many losses in a row at a member that served nothing, the next one is asked. As many barren losses make
/// requests go one at a time, so that a request that kills a member is not carried to the next with all others.
const MAX_DROPS: u8 = 3;
/// An election is asked after often for this long.
const ELECTION_FAST: Duration = Duration::from_secs(10);

/// The member to try, now or later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Now(usize),
    /// A new round begins then.
    At(Instant),
}

/// How an attempt, or a connection that had been Connected, ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Refused, unknown, lost or silent before it gave an answer.
    NoAnswer,
    /// It answered, but not with a session. The leader it named, if it named a configured member.
    Refused { hint: Option<usize> },
}

#[derive(Debug)]
pub(crate) struct Members {
    backoff: Backoff,
    members: Vec<Member>,
    /// The one tried last.
    last: usize,
    hints_in_a_row: u8,
    anyone_answered: bool,
    /// Where the next round begins; after the last one when it is not said.
    round_start: Option<usize>,
    down: Duration,
    election: Duration,
    election_since: Option<Instant>,
    unconfigured: Option<Unconfigured>,
}

/// A leader that a member named and that is not configured.
#[derive(Debug)]
struct Unconfigured {
    giver: usize,
    leader_id: MemberId,
    /// Whether it was named in the present round, or in the one before.
    in_this_round: bool,
}

#[derive(Debug, Clone, Default)]
struct Member {
    asked: bool,
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

    /// A connect() from Disconnected: the first member, in configuration order.
    pub(crate) fn first(&mut self) -> usize {
        self.heard();
        for member in &mut self.members {
            member.drops = 0;
        }
        self.round_start = Some(0);
        self.begin_round()
    }

    /// The pause is over: the first member of a new round.
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

    /// The first answer of a session connection, or five seconds of it: the pauses start small again.
    pub(crate) fn heard(&mut self) {
        self.down = self.backoff.initial;
        self.election = self.backoff.election_initial;
        self.election_since = None;
    }

    /// `giver` named a leader that is not configured.
    pub(crate) fn named_unconfigured(&mut self, giver: usize, leader_id: MemberId) {
        self.unconfigured = Some(Unconfigured { giver, leader_id, in_this_round: true });
    }

    /// Another leader was found or named, or the search starts over.
    pub(crate) fn forget_unconfigured(&mut self) {
        self.unconfigured = None;
    }

    /// The leader that is not configured and the member that named it, in the present round or the one before.
    pub(crate) fn unconfigured(&self) -> Option<(usize, &MemberId)> {
        self.unconfigured.as_ref().map(|leader| (leader.giver, &leader.leader_id))
    }

    /// The member did not answer a keep-alive.
    pub(crate) fn deaf(&mut self, now: Instant, member: usize) {
        self.members[member].deaf_until = Some(now + DEAF_FOR);
    }

    /// The member dropped a session connection and had served nothing on it. Returns true if it did so too often in a row
    /// and others can be asked; no hint leads back to it for a while then.
    pub(crate) fn dropped(&mut self, now: Instant, member: usize) -> bool {
        let drops = &mut self.members[member].drops;
        *drops = drops.saturating_add(1);
        let captor = *drops >= MAX_DROPS && self.members.len() > 1;
        if captor {
            self.deaf(now, member);
        }
        captor
    }

    /// The member served on a session connection.
    pub(crate) fn served(&mut self, member: usize) {
        self.members[member].drops = 0;
    }

    /// An attempt ended without a session.
    pub(crate) fn after_attempt(&mut self, now: Instant, ended: Ended, rng: &mut Rng) -> Next {
        let giver = self.last;
        let hint = match ended {
            Ended::NoAnswer => {
                self.members[giver].failed = true;
                None
            }
            Ended::Refused { hint } => {
                self.anyone_answered = true;
                hint
            }
        };
        self.go_on(now, giver, hint, rng)
    }

    /// A connection that had been Connected ended, not by its own member's being gone: ask the others first.
    pub(crate) fn after_session(
        &mut self,
        now: Instant,
        member: usize,
        ended: Ended,
        rng: &mut Rng,
    ) -> Next {
        self.forget_round();
        self.take(member);
        self.after_attempt(now, ended, rng)
    }

    /// A connection that had been Connected broke: the same member first, as the first of a new round.
    pub(crate) fn same_again(&mut self, member: usize) -> usize {
        self.round_start = Some(member);
        self.begin_round()
    }

    /// A session connection ended as soon as it stood: that is a round that failed. The next one begins at `same`, or
    /// at the hint if that is usable.
    pub(crate) fn after_stillborn(
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
        self.election = pause.mul_f64(1.6).min(limit);
        half_random(pause, rng)
    }
}

/// Half of it fixed, half of it random.
fn half_random(pause: Duration, rng: &mut Rng) -> Duration {
    pause / 2 + rng.up_to(pause / 2)
}

#[cfg(test)]
mod tests;
