//! Rules at the end of each turn: limits, counts, attempts, and that the client leaves a member that it should leave.

use std::{collections::VecDeque, time::Duration};

use zraft_core::{ConnId, Instant, Machine, StateName};

use super::{Judge, LATEST_WAKE, Stage};

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
/// With this many KeepAlives unanswered, no more are sent.
const ENOUGH: usize = 16;

/// Attempts at members, and the pauses between them.
#[derive(Debug, Default)]
pub(super) struct Tries {
    pub(super) closed_at: Option<Instant>,
    /// For each of the last attempts, true if there was a pause before it. A connection that is Connected, but ends at once and unheard,
    /// counts like one that failed.
    paused: VecDeque<bool>,
    /// The members that gave no answer since the last pause or session.
    unanswering: Vec<usize>,
    /// The members asked in this round, and the one that the client left before it.
    asked: Vec<usize>,
    /// The connection whose end says nothing of its member.
    pub(super) blameless: Option<ConnId>,
    /// A member that left a KeepAlive unanswered.
    deaf: Option<Deaf>,
    /// Pauses since the last answer in a session.
    pauses: u32,
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
    }

    /// A member answered a request or a KeepAlive: pauses are short again.
    pub(super) fn heard(&mut self) {
        self.pauses = 0;
    }

    /// A session was found, or the client no longer seeks one: the next loss begins a round.
    pub(super) fn found_session(&mut self) {
        self.unanswering.clear();
        self.asked.clear();
    }

    pub(super) fn asks(&mut self, member: usize) {
        self.asked.retain(|asked| *asked != member);
        self.asked.push(member);
    }

    pub(super) fn gave_no_answer(&mut self, id: ConnId, member: usize) {
        if self.blameless != Some(id) {
            self.unanswering.push(member);
        }
    }

    /// The connection was closed in the moment in which it was opened, so its member was not asked. That happens when the search
    /// ends in the turn that dialled: its end, which clears the round, is reported before the two actions.
    pub(super) fn never_asked(&mut self, member: usize) {
        self.asked.pop_if(|last| *last == member);
    }

    /// A session lost its connection to this member.
    pub(super) fn lost(&mut self, now: Instant, member: usize, deaf: bool) {
        self.asked = vec![member];
        if deaf {
            self.deaf = Some(Deaf { member, until: now + DEAF_FOR });
        }
    }

    /// Returns true if the attempt follows a hint to a deaf member: without a pause, a member is asked as the same again, in turn, or on
    /// a hint.
    fn follows_hint_to_deaf(&self, now: Instant, member: usize, members: usize) -> bool {
        let deaf = self.deaf.as_ref().is_some_and(|deaf| deaf.member == member && now < deaf.until);
        let Some(last) = self.asked.last().filter(|last| deaf && **last != member) else {
            return false;
        };
        let unasked = |other: &usize| !self.asked.contains(other);
        let mut others = (1..=members).map(|step| (last + step) % members).filter(unasked);
        let in_turn = others.next();
        in_turn.is_some_and(|in_turn| in_turn != member)
    }
}

impl Judge {
    /// The client makes another attempt. A round asks each member once and follows at most three hints in a row; then there is a pause.
    pub(super) fn tries_again(&mut self, now: Instant, member: usize) {
        self.asks_in_turn(now, member);
        let pause = self.tries.closed_at.is_none_or(|at| now - at >= self.terms.least_pause);
        let most = 4 * self.terms.members + 1;
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
        let (terms, tries) = (&self.terms, &mut self.tries);
        let pause = tries.closed_at.map(|at| now - at);
        if pause.is_none_or(|pause| pause >= terms.least_pause) {
            tries.unanswering.clear();
            tries.asked.clear();
        }
        let mut broken = None;
        if tries.unanswering.contains(&member) {
            broken =
                Some(("who gave no answer is not asked again in a round", format!("{member}")));
        }
        if tries.follows_hint_to_deaf(now, member, terms.members) {
            broken = Some(("no hint to a deaf member is followed", format!("{member}")));
        }
        tries.asks(member);
        if let Some(pause) = pause.filter(|pause| *pause >= terms.least_pause) {
            let most = terms.first_pause.saturating_mul(1 << tries.pauses.min(16));
            let most = most.min(terms.longest_pause) + SLACK + late;
            tries.pauses += 1;
            if pause > most && tries.closed_at.is_some_and(|at| at > awake) {
                broken = Some(("pauses start short after an answer", format!("{pause:?}")));
            }
        }
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
            let pending = self.pending;
            self.demand(pending == 0, "Disconnected with everything settled", || {
                format!("{pending} are not")
            });
        } else {
            self.expired_at = None;
        }
        let stats = machine.stats();
        let held = stats.queued + stats.in_flight + stats.detached;
        let (pending, bytes) = (self.pending as u64, self.pending_bytes as u64);
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
        self.demand(queued <= most, "maxQueued", || format!("{queued} queued"));
        let most = self.terms.max_queued_bytes as u64;
        self.demand(bytes <= most, "maxQueuedBytes", || format!("{bytes} held"));
        self.leaves_in_time(now, state);
    }

    fn leaves_in_time(&mut self, now: Instant, state: StateName) {
        // A late driver may restart each wait once, but not again and again.
        let late = self.lateness(now);
        let times = if late.is_zero() { 1 } else { 2 };
        let terms = &self.terms;
        let awake = self.awake(now);
        let since = |at: Instant| now.saturating_duration_since(at.max(awake));
        let Some(wire) = &self.wire else { return };
        let mut broken = None;
        if wire.stage != Stage::Connected {
            let waited = since(wire.since);
            let create = state == StateName::ConnectingNewSession && wire.stage != Stage::Fresh;
            let most = if create {
                terms.connection_timeout + CREATE_WAIT.max(terms.connection_timeout)
            } else {
                terms.connection_timeout
            };
            if wire.stage != Stage::Over && waited > most * times + late + SLACK {
                broken = Some(("an attempt ends in time", format!("{waited:?}")));
            }
        } else if !wire.close_session {
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
