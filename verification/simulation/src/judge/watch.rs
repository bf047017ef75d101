//! Rules at the end of each turn: limits, counts, attempts, and that the client leaves a member that it should leave.

use std::{collections::VecDeque, time::Duration};

use zraft_core::{ConnId, Instant, Machine, StateName};

use super::{Judge, LATEST_WAKE, Stage, Terms, Wire};

/// How late a turn may be. Virtual time has no scheduler, so this only covers the rounding of timers.
pub(super) const SLACK: Duration = Duration::from_millis(1);
/// The client waits at most this long for SessionCreated, unless `connectionTimeout` is longer.
const CREATE_WAIT: Duration = Duration::from_secs(30);
/// Each byte of a message may delay a KeepAlive's answer by this much: no link in use carries less than 100 bytes a second.
pub(super) const WORTH: Duration = Duration::from_millis(10);
/// Message bytes may delay a KeepAlive's answer by no more than this: longer than the longest message takes on a slow link.
pub(super) const LONGEST_FLOW: Duration = Duration::from_secs(15 * 60);
/// Message bytes that come within this time of each other may have the KeepAlive's answer behind them.
pub(super) const FLOWING: Duration = Duration::from_secs(1);
/// A connection that was Connected for this long stands, even if nothing was answered on it.
pub(super) const STANDS: Duration = Duration::from_secs(5);
/// The client follows no hint to a deaf member for this long, unless it has asked every other member.
const DEAF_FOR: Duration = Duration::from_secs(30);
/// An attempt has this long before another member is asked beside it.
const HEDGE: Duration = Duration::from_millis(300);
/// At most this many attempts run at once.
const MOST: usize = 5;
/// Two unanswered CreateSessions are this far apart: each may leave an orphan session.
const CREATE_APART: Duration = Duration::from_secs(1);
/// With this many KeepAlives unanswered, no more are sent.
const ENOUGH: usize = 16;

/// Attempts at members, and the pauses between them.
#[derive(Debug, Default)]
pub(super) struct Tries {
    /// When a connection ended first since the last attempt began: where a pause begins at the earliest.
    pub(super) closed_at: Option<Instant>,
    /// For each of the last attempts, true if there was a pause before it. A connection that is Connected, but ends at once and unheard,
    /// counts like one that failed.
    paused: VecDeque<bool>,
    /// The members that gave no answer since the last pause or session.
    unanswering: Vec<usize>,
    /// The members asked in this round, and the one that the client left before it.
    asked: Vec<usize>,
    /// When the last attempt began, and when a connection last ended.
    opened_at: Option<Instant>,
    ended_at: Option<Instant>,
    /// Which members were asked in this round cannot be told.
    unclear: bool,
    /// The session lost its connection, and a search that began beside it goes on.
    goes_on: bool,
    /// A member that left a KeepAlive unanswered.
    deaf: Option<Deaf>,
    /// Pauses since the last answer in a session.
    pauses: u32,
    /// The leaders that members named since the last pause.
    hinted: Vec<usize>,
}

/// A member that left a KeepAlive unanswered.
#[derive(Debug)]
struct Deaf {
    member: usize,
    until: Instant,
}

impl Tries {
    /// A connection stands, or the client no longer tries.
    pub(super) fn stand(&mut self) {
        self.paused.clear();
    }

    /// The client is Disconnected, so the next connect() begins with the first round.
    pub(super) fn begin(&mut self) {
        self.stand();
        self.found_session();
        self.heard();
        self.closed_at = None;
        self.ended_at = None;
        self.opened_at = None;
    }

    /// A member answered a request or a KeepAlive: pauses are short again.
    pub(super) fn heard(&mut self) {
        self.pauses = 0;
    }

    /// A session was found. If the last attempt had had its time, a pause had begun.
    pub(super) fn ends_a_pause(&mut self, now: Instant) {
        let slow = self.opened_at.is_some_and(|at| now >= at + HEDGE);
        self.pauses += u32::from(slow || self.closed_at.is_some());
    }

    /// A session was found, or the client no longer seeks one: the next loss begins a round.
    pub(super) fn found_session(&mut self) {
        self.unanswering.clear();
        self.asked.clear();
        self.opened_at = None;
        self.closed_at = None;
        self.ended_at = None;
        self.unclear = false;
    }

    /// Returns true if members were asked since the last session or sign of life.
    pub(super) fn is_under_way(&self) -> bool {
        !self.asked.is_empty()
    }

    /// A member named this leader.
    pub(super) fn hinted(&mut self, leader: usize) {
        self.hinted.retain(|hinted| *hinted != leader);
        self.hinted.push(leader);
    }

    pub(super) fn asks(&mut self, member: usize) {
        self.asked.retain(|asked| *asked != member);
        self.asked.push(member);
    }

    /// The client has a new list: an added member is asked at once, and begins a new round. If an attempt `ends` for it, a pause
    /// may begin.
    pub(super) fn new_list(&mut self, now: Instant, list: &[usize], ends: bool) {
        self.stand();
        self.unanswering.clear();
        self.deaf.take_if(|deaf| !list.contains(&deaf.member));
        if self.is_under_way() {
            self.ends_a_pause(now);
            self.ended_at = Some(now);
            self.unclear = true;
            if ends {
                self.closed_at.get_or_insert(now);
            }
        }
    }

    /// The machine closed this connection.
    pub(super) fn closes(&mut self, now: Instant, wire: &Wire) {
        if wire.blameless && !wire.stood {
            return;
        }
        self.ended_at = Some(now);
        // Where a search goes on that began beside the session's connection, that one's end begins no pause.
        if !wire.stood || !std::mem::take(&mut self.goes_on) {
            self.closed_at.get_or_insert(now);
        }
        if matches!(wire.stage, Stage::Connected | Stage::Over) || wire.blameless {
            return;
        }
        if wire.since == now {
            // It was closed in the moment in which it was opened, so its member was not asked. That happens when the search ends
            // in the turn that dialled: its end, which clears the round, is reported before the two actions.
            self.asked.pop_if(|last| *last == wire.member);
        } else if now < wire.since + HEDGE {
            self.unanswering.push(wire.member);
        }
    }

    /// A session lost its connection to this member.
    pub(super) fn lost(&mut self, now: Instant, member: usize, deaf: bool) {
        self.goes_on = !self.asked.is_empty();
        if !self.goes_on {
            self.asked = vec![member];
        }
        if deaf {
            self.deaf = Some(Deaf { member, until: now + DEAF_FOR });
        }
    }

    /// Returns true if the attempt follows a hint to a deaf member: without a pause, a member is asked as the same again, in turn, or on
    /// a hint.
    ///
    /// A member with a connection counts as asked.
    fn follows_hint_to_deaf(
        &self,
        now: Instant,
        member: usize,
        terms: &Terms,
        busy: &[usize],
    ) -> bool {
        let deaf = self.deaf.as_ref().is_some_and(|deaf| deaf.member == member && now < deaf.until);
        let Some(last) = self.asked.last().filter(|last| deaf && **last != member) else {
            return false;
        };
        let unasked = |other: &usize| !self.asked.contains(other) && !busy.contains(other);
        let listed = &terms.listed;
        let after = listed.iter().position(|listed| listed == last).map_or(0, |place| place + 1);
        let (before, from) = listed.split_at(after);
        let in_turn = from.iter().chain(before).filter(|other| unasked(other));
        let in_turn = in_turn.min_by_key(|other| terms.is_last_resort(**other));
        in_turn.is_some_and(|in_turn| *in_turn != member)
    }
}

impl Judge {
    /// A member that has a connection is not asked on another.
    pub(super) fn one_connection_each(&mut self, member: usize) {
        let mut others = self.wire.iter().chain(&self.attempts);
        let busy = others.any(|wire| wire.member == member);
        self.demand(!busy, "a member has one connection", || format!("member {}", member + 1));
    }

    /// A member is asked beside others only if they had their time, and beside the session's connection only if that one's
    /// member owes an answer and is silent.
    pub(super) fn beside_others(&mut self, now: Instant) {
        let count = self.attempts.len();
        self.demand(count < MOST, "at most five attempts", || format!("{count} already"));
        let tries = &self.tries;
        let ended = tries.ended_at > tries.opened_at || tries.ended_at == Some(now);
        // A driver that is late, or was stopped, may carry out two decisions at once.
        let late = !self.lateness(now).is_zero() || self.awake(now) == now;
        let early =
            count > 0 && !ended && !late && tries.opened_at.is_some_and(|at| now < at + HEDGE);
        self.demand(!early, "an attempt has 300 ms before another beside it", String::new);
        // Such a search goes on when the requests were given up: the member is still silent.
        if let Some(wire) = self.wire.as_ref().filter(|_| self.tries.asked.is_empty()) {
            let silent = now - wire.last_bytes;
            // The requests may have been given up in the turn that sought another member.
            let owes = wire.on_it > 0 || wire.left_at == Some(now);
            let frozen = owes && silent >= self.terms.heartbeat;
            let beside = wire.member;
            self.demand(frozen, "only a frozen member's session is sought elsewhere", || {
                format!("after {silent:?}")
            });
            self.tries.asks(beside);
        }
    }

    /// CreateSession is sent beside an unanswered one only after a second.
    pub(super) fn creates_apart(&mut self, now: Instant, id: ConnId) {
        let unanswered = self.attempts.iter().filter(|attempt| {
            attempt.id != id && matches!(attempt.stage, Stage::Asked { create: true, .. })
        });
        let last = unanswered.map(|attempt| attempt.asked_at).max();
        let apart = last.is_none_or(|last| now - last >= CREATE_APART);
        self.demand(apart, "CreateSessions go a second apart", || format!("{last:?}, {now:?}"));
    }

    /// The client makes another attempt. A round asks each member once and follows at most three hints in a row; then there is a pause.
    pub(super) fn tries_again(&mut self, now: Instant, member: usize) {
        let pause = self.tries.closed_at.is_none_or(|at| now - at >= self.terms.least_pause);
        self.asks_in_turn(now, member);
        let most = 4 * self.terms.listed.len() + 1;
        let tries = &mut self.tries.paused;
        tries.push_back(pause);
        if tries.len() > most {
            tries.pop_front();
            let hasty = tries.iter().all(|paused| !paused);
            self.demand(!hasty, "a round is followed by a pause", || {
                format!("{most} attempts without one")
            });
        }
    }

    /// Within a round, a member is asked once. A pause is no longer than the failed rounds before it make it.
    fn asks_in_turn(&mut self, now: Instant, member: usize) {
        let (late, awake) = (self.lateness(now), self.awake(now));
        let busy: Vec<_> = self.wire.iter().chain(&self.attempts).map(|wire| wire.member).collect();
        let (terms, tries) = (&self.terms, &mut self.tries);
        let pause = tries.closed_at.map(|at| now - at);
        // A pause also begins when the last member of a round has had its time.
        let paused = pause.is_some_and(|pause| pause >= terms.least_pause);
        let slow = tries.opened_at.is_some_and(|at| now >= at + HEDGE);
        let new_round = paused || slow;
        // After a slow attempt it may be the same round, or the next one after a pause that nothing shows.
        tries.unclear = (tries.unclear || slow) && !paused;
        if new_round {
            tries.unanswering.clear();
            tries.asked.clone_from(&busy);
        }
        let mut broken = None;
        if tries.unanswering.contains(&member) {
            broken =
                Some(("who gave no answer is not asked again in a round", format!("{member}")));
        }
        if !new_round && !tries.unclear && tries.follows_hint_to_deaf(now, member, terms, &busy) {
            broken = Some(("no hint to a deaf member is followed", format!("{member}")));
        }
        if paused {
            tries.hinted.clear();
        }
        let better = |other: &usize| !tries.asked.contains(other) && !busy.contains(other);
        if terms.is_last_resort(member)
            && !tries.unclear
            && !tries.hinted.contains(&member)
            && terms.listed[..terms.last_resort].iter().any(better)
        {
            broken = Some(("who is not on the server's list is asked last", format!("{member}")));
        }
        tries.asks(member);
        tries.opened_at = Some(now);
        tries.closed_at = None;
        let pause = pause.map(|pause| tries.ended_at.map_or(pause, |at| pause.min(now - at)));
        let beside = !self.attempts.is_empty() || self.wire.is_some();
        if let Some(pause) = pause.filter(|pause| *pause >= terms.least_pause) {
            let most = terms.first_pause.saturating_mul(1 << tries.pauses.min(16));
            let most = most.min(terms.longest_pause) + SLACK + late;
            if pause > most && !beside && tries.ended_at.is_some_and(|at| at > awake) {
                broken = Some(("pauses start short after an answer", format!("{pause:?}")));
            }
        }
        tries.pauses += u32::from(new_round);
        if let Some((rule, detail)) = broken {
            self.violated(rule, detail);
        }
    }

    /// After a disconnect() without a later connect(), the client seeks no session.
    fn obeys_the_last_wish(&mut self, state: StateName) {
        let over = self.disconnecting.is_none() && !self.wanted;
        self.demand(!over || state == StateName::Disconnected, "the last wish counts", || {
            format!("{state:?} after the last disconnect()")
        });
    }

    /// Checks the rules at the end of a turn. Everything that could be read was read.
    pub(crate) fn look(&mut self, now: Instant, machine: &Machine) {
        self.all_answers_settled();
        self.expiry_told = false;
        let certain = std::mem::take(&mut self.expiry_certain);
        self.demand(
            !certain || self.session.is_none(),
            "a leader that keeps denying is believed",
            || "the session goes on".to_owned(),
        );
        let untold = self.session.as_mut().and_then(|session| session.untold.take());
        self.demand(untold.is_none(), "a doubt is reported when it begins", || {
            format!("the denial by member {} is not", untold.map_or(0, |member| member + 1))
        });
        let state = machine.state();
        self.obeys_the_last_wish(state);
        self.keeps_promises(now, state);
        if state == StateName::Disconnected {
            self.drops.fill(0);
            self.rejected_permanently = false;
            self.tries.begin();
            self.connect_gave_up = false;
            if self.session.take().is_some() {
                self.expired_at = None;
            }
            self.own_queries_end(now);
            let pending = self.pending;
            self.demand(pending == 0, "Disconnected with everything settled", || {
                format!("{pending} are not")
            });
        } else {
            self.expired_at = None;
        }
        let stats = machine.stats();
        let held = stats.queued + stats.in_flight + stats.detached;
        self.own_queries_held(now, held as usize, stats.queued_bytes as usize);
        self.asks_for_the_leader(now);
        self.asks_for_members(now);
        self.has_its_members(machine);
        let (own, own_bytes) = self.own.queued();
        let pending = (self.pending + own) as u64;
        let bytes = (self.pending_bytes + own_bytes) as u64;
        self.demand(held == pending, "requests are held until they settle", || {
            format!("{held} held, {pending} pending")
        });
        self.demand(stats.queued_bytes == bytes, "payloads are held until they settle", || {
            format!("{} held, {bytes} pending", stats.queued_bytes)
        });
        let (counted, told) = (stats.unknown, self.told_unknown);
        self.demand(counted == told, "an unknown outcome counts once", || {
            format!("{counted} counted, {told} told")
        });
        let queued = stats.queued as usize;
        // A renewed session puts queries that were sent back into the queue.
        let most =
            self.terms.max_queued + if self.terms.renew { self.terms.max_in_flight } else { 0 };
        let most = most + own;
        self.demand(queued <= most, "maxQueued", || format!("{queued} queued"));
        let most = self.terms.max_queued_bytes as u64;
        self.demand(bytes <= most, "maxQueuedBytes", || format!("{bytes} held"));
        self.leaves_in_time(now, state);
    }

    fn leaves_in_time(&mut self, now: Instant, state: StateName) {
        self.asks_only_the_listed();
        // A late driver may restart each wait once, but not again and again.
        let late = self.lateness(now);
        let times = if late.is_zero() { 1 } else { 2 };
        let terms = &self.terms;
        let awake = self.awake(now);
        let since = |at: Instant| now.saturating_duration_since(at.max(awake));
        let mut broken = None;
        let seeks =
            matches!(state, StateName::ConnectingNewSession | StateName::ConnectingExistingSession);
        if let Some(last) = self.tries.opened_at.max(self.tries.ended_at)
            && seeks
            && self.attempts.is_empty()
        {
            let idle = since(last);
            if idle > terms.longest_pause * times + late + SLACK {
                broken = Some(("a search goes on", format!("after {idle:?}")));
            }
        }
        for attempt in &self.attempts {
            let waited = since(attempt.since);
            let create = state == StateName::ConnectingNewSession && attempt.stage != Stage::Fresh;
            let most = if create {
                terms.connection_timeout + CREATE_WAIT.max(terms.connection_timeout)
            } else {
                terms.connection_timeout
            };
            // The time in which its CreateSession waits for those of the others does not count.
            let held = state == StateName::ConnectingNewSession;
            let held = CREATE_APART * if held { MOST as u32 - 1 } else { 0 };
            if attempt.stage != Stage::Over && waited > most * times + held + late + SLACK {
                broken = Some(("an attempt ends in time", format!("{waited:?}")));
            }
        }
        if let Some(wire) = &self.wire
            && wire.stage == Stage::Connected
            && !wire.close_session
        {
            let owes = wire.silence.since.filter(|_| self.lists_other_than(wire.member));
            if let Some(owes) = owes {
                let since_then = since(owes.max(wire.last_bytes).max(wire.taken_at));
                let sought = self.tries.opened_at.max(self.tries.ended_at);
                let sought = sought.map_or(since_then, |at| since_then.min(since(at)));
                let most = (terms.heartbeat + terms.longest_pause) * times + late + SLACK;
                if sought > most && self.attempts.is_empty() {
                    broken = Some((
                        "a frozen member's session is sought elsewhere",
                        format!("{sought:?}"),
                    ));
                }
            }
            let silent = since(wire.last_bytes);
            if silent > terms.heartbeat_timeout * times + late + SLACK {
                broken = Some(("a silent peer is left in time", format!("{silent:?}")));
            }
            let last = since(wire.last_keep_alive);
            if last > terms.keep_alive * 2 * times + late + SLACK && wire.keep_alives.len() < ENOUGH
            {
                broken = Some(("a KeepAlive goes in time", format!("{last:?} after the last")));
            }
            if let Some(keep_alive) = wire.keep_alives.front()
                && let Some(written) = keep_alive.written
            {
                let waited = since(written);
                let flowed = keep_alive.flowed.min(LONGEST_FLOW);
                let most = (terms.connection_timeout + flowed) * times + late + SLACK;
                if waited > most {
                    broken = Some(("a deaf member is left", format!("{waited:?}")));
                }
            }
            if let Some(keep_alive) = wire.keep_alives.iter().find(|k| k.written.is_none()) {
                let waited = since(keep_alive.sent.max(wire.taken_at));
                let most = terms.heartbeat_timeout.max(terms.connection_timeout);
                if waited > most * times + late + SLACK {
                    broken = Some(("a member that reads nothing is left", format!("{waited:?}")));
                }
            }
        }
        if let Some((rule, detail)) = broken {
            self.violated(rule, detail);
        }
    }

    /// How late everything may be while the driver wakes late: it wakes late, puts its timers off once, and wakes late again.
    pub(super) fn lateness(&self, now: Instant) -> Duration {
        if now <= self.late_until { LATEST_WAKE * 2 } else { Duration::ZERO }
    }

    /// Since when the process has run without a stop. The last wake of a driver that was late counts as the end of a stop: the
    /// waits that it may have begun again, it began again by then.
    pub(super) fn awake(&self, now: Instant) -> Instant {
        if now > self.late_until {
            self.paused_until.max(self.late_until)
        } else {
            self.paused_until
        }
    }

    /// The driver's next turn is at this time, and may be late.
    pub(crate) fn wakes_late(&mut self, at: Instant) {
        self.late_until = at;
        self.pace.forget();
    }

    /// The driver no longer wakes late.
    pub(crate) fn wakes_in_time(&mut self, now: Instant) {
        self.late_until = self.late_until.min(now);
    }

    /// At the end of the run, every request and call is over.
    pub(crate) fn finish(&mut self) {
        for (number, asked) in self.requests.iter().enumerate() {
            if asked.is_pending() {
                let detail = format!("request {number}");
                return self.violated("each request settles", detail);
            }
        }
        let waiting = self.connects.len();
        self.demand(waiting == 0, "every connect() ends", || format!("{waiting} do not"));
    }
}
