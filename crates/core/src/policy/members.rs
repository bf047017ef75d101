//! Which member to ask next, and when: rounds, hints and backoff.

use std::{collections::HashMap, sync::Arc, time::Duration};

use zraft_protocol::MemberId;

use crate::{
    Instant,
    config::{Backoff, Member, MemberList},
    keys::MemberKey,
    rng::Rng,
};

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
    Now(MemberKey),
    /// Begin a new round then.
    At(Instant),
    /// Wait until an attempt ends or the present pause is over.
    Wait,
}

/// An attempt that ended without a session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended {
    pub(crate) member: MemberKey,
    /// The member answered it.
    pub(crate) answered: bool,
    /// The configured leader that it named, if it answered.
    pub(crate) hint: Option<MemberKey>,
}

#[derive(Debug)]
pub(crate) struct Members {
    backoff: Backoff,
    /// The configured members, in the order in which they are asked; at least one.
    members: Vec<Known>,
    /// The last key given to a member.
    keys: u64,
    /// The member tried last. It may no longer be configured.
    last: Option<MemberKey>,
    hints_in_a_row: u8,
    /// A member answered in this round, though not with a session.
    anyone_answered: bool,
    /// In this round a member denied the session, or named a leader that is already being asked for a new one: it may be long
    /// before another question has another answer.
    patient: bool,
    /// Where the next round begins; if `None`, after the member tried last.
    round_start: Option<MemberKey>,
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
    giver: Arc<Member>,
    leader_id: MemberId,
    /// It was named in the present round; otherwise in the one before.
    in_this_round: bool,
}

/// A configured member, and what is known of it.
#[derive(Debug)]
struct Known {
    key: MemberKey,
    member: Arc<Member>,
    /// It is asked only if the others do not answer.
    last_resort: bool,
    /// It was asked in this round.
    asked: bool,
    /// It gave no answer in this round, or denied the session.
    failed: bool,
    deaf_until: Option<Instant>,
    /// Losses in a row of connections on which it continued the session and served nothing.
    drops: u8,
}

impl Known {
    fn new(key: MemberKey, member: &Member) -> Self {
        Self {
            key,
            member: Arc::new(member.clone()),
            last_resort: false,
            asked: false,
            failed: false,
            deaf_until: None,
            drops: 0,
        }
    }
}

impl Members {
    pub(crate) fn new(list: &MemberList, backoff: Backoff) -> Self {
        let (down, election) = (backoff.initial, backoff.election_initial);
        let mut members = Self {
            backoff,
            members: Vec::new(),
            keys: 0,
            last: None,
            hints_in_a_row: 0,
            anyone_answered: false,
            patient: false,
            round_start: None,
            down,
            election,
            election_since: None,
            unconfigured: None,
        };
        members.update(list, None);
        members
    }

    /// Takes these members in place of those before. A member that is in both lists, with the same id and endpoint, keeps its key
    /// and what is known of it. So does the member of the session's connection, which may be listed again. Returns true if there
    /// are others; the next round begins with the first of them.
    pub(crate) fn update(
        &mut self,
        list: &MemberList,
        session: Option<(MemberKey, &Member)>,
    ) -> bool {
        let before = std::mem::take(&mut self.members).into_iter();
        let mut before: HashMap<Arc<Member>, Known> =
            before.map(|known| (Arc::clone(&known.member), known)).collect();
        let mut added = None;
        for (member, last_resort) in list.ranked() {
            let same = before.remove(member);
            let mut known = match (same, session) {
                (Some(known), _) => known,
                (None, Some((key, to))) if to == member => Known::new(key, member),
                (None, _) => {
                    self.keys += 1;
                    let key = MemberKey(self.keys);
                    added.get_or_insert(key);
                    Known::new(key, member)
                }
            };
            known.last_resort = last_resort;
            self.members.push(known);
        }
        self.round_start = added.or(self.round_start);
        let unconfigured = self.unconfigured.take();
        self.unconfigured = unconfigured.filter(|leader| {
            self.by_id(&leader.leader_id).is_none() && list.as_slice().contains(&leader.giver)
        });
        added.is_some()
    }

    /// Returns all members, in the order in which they are asked.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().map(|known| &*known.member)
    }

    /// Returns a configured member.
    pub(crate) fn get(&self, key: MemberKey) -> Option<Arc<Member>> {
        self.find(key).map(|known| Arc::clone(&known.member))
    }

    /// Returns the configured member with this id.
    pub(crate) fn by_id(&self, id: &MemberId) -> Option<MemberKey> {
        self.members.iter().find(|known| known.member.id == *id).map(|known| known.key)
    }

    /// Returns true if a member other than this one is configured.
    pub(crate) fn has_other_than(&self, key: MemberKey) -> bool {
        self.members.iter().any(|known| known.key != key)
    }

    fn place(&self, key: MemberKey) -> Option<usize> {
        self.members.iter().position(|known| known.key == key)
    }

    fn find(&self, key: MemberKey) -> Option<&Known> {
        self.members.iter().find(|known| known.key == key)
    }

    fn find_mut(&mut self, key: MemberKey) -> Option<&mut Known> {
        self.members.iter_mut().find(|known| known.key == key)
    }

    /// Returns the place from which to look for the next member to ask: after this one, or the first.
    fn after(&self, key: Option<MemberKey>) -> usize {
        key.and_then(|key| self.place(key)).map_or(0, |place| (place + 1) % self.members.len())
    }

    /// Begins the first round after connect(), and returns its first member: the first one configured.
    pub(crate) fn first(&mut self) -> Next {
        self.heard();
        for member in &mut self.members {
            member.drops = 0;
        }
        self.round_start = self.members.first().map(|first| first.key);
        self.begin_round(|_| false)
    }

    /// Begins a new round, and returns its first member. A member is busy if it has a connection: it is not asked again.
    pub(crate) fn begin_round(&mut self, busy: impl Fn(MemberKey) -> bool) -> Next {
        self.forget_round();
        // A member that is still being asked may yet name the same leader.
        if !self.members.iter().any(|known| busy(known.key)) {
            self.unconfigured = self.unconfigured.take().filter(|leader| leader.in_this_round);
            if let Some(leader) = &mut self.unconfigured {
                leader.in_this_round = false;
            }
        }
        for known in &mut self.members {
            known.asked = busy(known.key);
        }
        let start = self.round_start.take().and_then(|key| self.place(key));
        let first = start.unwrap_or_else(|| self.after(self.last));
        let (before, from) = self.members.split_at(first);
        let free = best(from.iter().chain(before).filter(|known| !busy(known.key)));
        free.map_or(Next::Wait, |key| Next::Now(self.take(key)))
    }

    /// Begins a round beside the connection of a session that seems frozen, and returns its first member.
    pub(crate) fn beside(&mut self, member: MemberKey) -> Next {
        self.forget_round();
        self.take(member);
        self.next_unasked(|_| false).map_or(Next::Wait, Next::Now)
    }

    /// The attempts of the round take long: returns the member to ask beside them.
    pub(crate) fn hedge(
        &mut self,
        now: Instant,
        busy: impl Fn(MemberKey) -> bool,
        rng: &mut Rng,
    ) -> Next {
        if let Some(member) = self.next_unasked(&busy) {
            return Next::Now(member);
        }
        if self.members.iter().all(|known| busy(known.key)) {
            return Next::Wait;
        }
        Next::At(now + self.pause(now, rng))
    }

    /// Returns the next member after the one tried last that was not asked in this round.
    fn next_unasked(&mut self, busy: impl Fn(MemberKey) -> bool) -> Option<MemberKey> {
        let (before, from) = self.members.split_at(self.after(self.last));
        let unasked = from.iter().chain(before).filter(|known| !known.asked && !busy(known.key));
        let next = best(unasked)?;
        Some(self.take(next))
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

    fn take(&mut self, key: MemberKey) -> MemberKey {
        if let Some(known) = self.find_mut(key) {
            known.asked = true;
        }
        self.last = Some(key);
        key
    }

    /// The session has a connection to this member: the next round begins after it.
    pub(crate) fn found(&mut self, member: MemberKey) {
        self.last = Some(member);
    }

    /// The first answer came on a session connection, or it stood for five seconds: the pauses start small again.
    pub(crate) fn heard(&mut self) {
        self.down = self.backoff.initial;
        self.election = self.backoff.election_initial;
        self.election_since = None;
    }

    /// `giver` named a leader that is not configured.
    pub(crate) fn named_unconfigured(&mut self, giver: Arc<Member>, leader_id: MemberId) {
        self.unconfigured = Some(Unconfigured { giver, leader_id, in_this_round: true });
    }

    /// Another leader was found or named, or a new search begins.
    pub(crate) fn forget_unconfigured(&mut self) {
        self.unconfigured = None;
    }

    /// Returns the leader that is not configured and the member that named it, in the present round or the one before.
    pub(crate) fn unconfigured(&self) -> Option<(&Member, &MemberId)> {
        self.unconfigured.as_ref().map(|leader| (&*leader.giver, &leader.leader_id))
    }

    /// The member did not answer a keep-alive.
    pub(crate) fn deaf(&mut self, now: Instant, member: MemberKey) {
        if let Some(known) = self.find_mut(member) {
            known.deaf_until = Some(now + DEAF_FOR);
        }
    }

    /// The member dropped a session connection and had served nothing on it. Returns true if it did so too often in a
    /// row and others can be asked; then no hint leads back to it for a while.
    pub(crate) fn dropped(&mut self, now: Instant, member: MemberKey) -> bool {
        let others = self.has_other_than(member);
        let Some(known) = self.find_mut(member) else { return false };
        known.drops = known.drops.saturating_add(1);
        let too_often = known.drops >= MAX_DROPS && others;
        if too_often {
            self.deaf(now, member);
        }
        too_often
    }

    /// The member denies the session: it is asked again in its turn, but on no hint in this round.
    pub(crate) fn denied(&mut self, member: MemberKey) {
        self.patient = true;
        if let Some(known) = self.find_mut(member) {
            known.failed = true;
        }
    }

    /// The leader that was named is already being asked for a new session, and is busy.
    pub(crate) fn leader_is_busy(&mut self) {
        self.patient = true;
    }

    /// The member served on a session connection.
    pub(crate) fn served(&mut self, member: MemberKey) {
        if let Some(known) = self.find_mut(member) {
            known.drops = 0;
        }
    }

    /// An attempt ended without a session. `pauses` says whether a pause begins if no member of the round is left.
    pub(crate) fn after_attempt(
        &mut self,
        now: Instant,
        ended: Ended,
        busy: impl Fn(MemberKey) -> bool,
        pauses: bool,
        rng: &mut Rng,
    ) -> Next {
        let Ended { member: giver, answered, hint } = ended;
        debug_assert!(answered || hint.is_none());
        if answered {
            self.anyone_answered = true;
        } else if let Some(known) = self.find_mut(giver) {
            known.failed = true;
        }
        if let Some(hint) = hint.filter(|&hint| !busy(hint) && self.usable(now, giver, hint)) {
            self.hints_in_a_row = self.hints_in_a_row.saturating_add(1);
            return Next::Now(self.take(hint));
        }
        self.hints_in_a_row = 0;
        match self.next_unasked(busy) {
            Some(member) => Next::Now(member),
            None if pauses => Next::At(now + self.pause(now, rng)),
            None => Next::Wait,
        }
    }

    /// A session connection ended for a reason for which the others are asked first.
    pub(crate) fn after_session(
        &mut self,
        now: Instant,
        member: MemberKey,
        answered: bool,
        hint: Option<MemberKey>,
        rng: &mut Rng,
    ) -> Next {
        self.forget_round();
        self.take(member);
        self.after_attempt(now, Ended { member, answered, hint }, |_| false, true, rng)
    }

    /// A session connection broke: begins a new round at the same member.
    pub(crate) fn same_again(&mut self, member: MemberKey) -> Next {
        self.round_start = Some(member);
        self.begin_round(|_| false)
    }

    /// A session connection was short-lived, which counts as a round without any answer. The next one begins at
    /// `same`, or at the hint if that is usable.
    pub(crate) fn after_short_lived(
        &mut self,
        now: Instant,
        giver: MemberKey,
        same: Option<MemberKey>,
        hint: Option<MemberKey>,
        rng: &mut Rng,
    ) -> Next {
        self.forget_round();
        self.round_start = same.or(hint.filter(|&hint| self.usable(now, giver, hint)));
        Next::At(now + self.pause_down(rng))
    }

    /// Returns true if the hint may be followed now.
    fn usable(&self, now: Instant, giver: MemberKey, hint: MemberKey) -> bool {
        let Some(member) = self.find(hint) else { return false };
        let deaf = member.deaf_until.is_some_and(|until| now < until);
        let others_asked = self.members.iter().all(|other| other.key == hint || other.asked);
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

/// Returns the first member that is not a last resort, or the first one.
fn best<'a>(members: impl Iterator<Item = &'a Known>) -> Option<MemberKey> {
    // The first of those with the least rank.
    members.min_by_key(|known| known.last_resort).map(|known| known.key)
}

/// Returns a pause of which half is fixed and half random, so that clients do not ask in step.
fn half_random(pause: Duration, rng: &mut Rng) -> Duration {
    pause / 2 + rng.up_to(pause / 2)
}

#[cfg(test)]
mod tests;
