//! Time: when to wake next, what happens then, and what a jump of the clock changes.

use std::{cell::Cell, time::Duration};

use super::{Machine, State, settle::GaveUp};
use crate::{ConnId, Instant};

/// If the driver wakes later than planned by more than this, the process or the computer was stopped meanwhile. A busy
/// computer delays a timer by less.
const JUMP: Duration = Duration::from_secs(1);
/// After a jump, request deadlines wait this long for answers that may be under way: longer than a round trip.
const GRACE: Duration = Duration::from_secs(1);

/// What the machine knows about its clock.
#[derive(Debug)]
pub(super) struct Clock {
    /// When the driver was last told to wake.
    promised: Cell<Option<Instant>>,
    /// The latest time that the driver gave.
    pub(super) latest: Instant,
    /// The clock jumped, and bytes that can be read may not have been read yet.
    pub(super) jumped: bool,
    pub(super) grace: Grace,
}

impl Clock {
    pub(super) fn new(now: Instant) -> Self {
        Self { promised: Cell::new(None), latest: now, jumped: false, grace: Grace::default() }
    }
}

/// The time after a jump in which request deadlines do not fire.
#[derive(Debug)]
pub(super) struct Grace {
    /// No deadline fires before this time.
    until: Option<Instant>,
    /// Bytes came since the last grace began. A driver that always wakes late would otherwise put deadlines off at each
    /// wake and never fire one.
    earned: bool,
}

impl Default for Grace {
    fn default() -> Self {
        Self { until: None, earned: true }
    }
}

impl Grace {
    /// The clock jumped. A grace under way is not extended: deadlines fire at its end.
    fn begin(&mut self, now: Instant) {
        if self.until.is_none() && std::mem::take(&mut self.earned) {
            self.until = Some(now + GRACE);
        }
    }

    /// Bytes came, so the next jump may begin a grace.
    pub(super) fn earn(&mut self) {
        self.earned = true;
    }

    /// The probe was answered.
    pub(super) fn end(&mut self, now: Instant) {
        self.until = self.until.map(|until| until.min(now));
    }

    /// Returns true if deadlines wait at `now`.
    fn holds(&mut self, now: Instant) -> bool {
        self.until = self.until.filter(|until| now < *until);
        self.until.is_some()
    }
}

impl Machine {
    /// Returns when [`handle_timeout`](Self::handle_timeout) must be called at the latest.
    ///
    /// Every input and every output can change it, so a driver asks each time before it sleeps. If it wakes more than a
    /// second late, the machine takes that for a jump of the clock.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let next = self.next_timeout();
        // A time that has passed means "at once": the driver is late only from now on.
        self.clock.promised.set(next.map(|next| next.max(self.clock.latest)));
        next
    }

    fn next_timeout(&self) -> Option<Instant> {
        let deadlines =
            [self.requests.next_deadline(), self.callers.next_timeout(), self.drain_until()];
        let deadline = deadlines.into_iter().flatten().min();
        let deadline = deadline.map(|at| self.clock.grace.until.map_or(at, |grace| at.max(grace)));
        let links = self.link.iter().chain(self.search.links()).filter(|link| link.open);
        let zmtp = links.filter_map(|link| link.zmtp.poll_timeout()).min();
        let jumped = self.clock.jumped.then_some(self.clock.latest);
        let network = [
            zmtp,
            self.search_at(),
            self.doubt_until(),
            self.next_connected(),
            self.discovery_at(),
            jumped,
        ];
        network.into_iter().flatten().chain(deadline).min()
    }

    fn next_connected(&self) -> Option<Instant> {
        if !matches!(self.state, State::Connected(_)) || self.is_closing() {
            return None;
        }
        let live = self.liveness.next(self.resend.smoothed(), self.resend.timeout());
        // While requests go one at a time, slow start holds none back.
        let could_go = |slot: u32| !self.quarantine.one_at_a_time() && self.has_room_for(slot);
        let resend = self.resend.next_tick(&self.requests, could_go);
        // An acknowledgement that waits for room in the buffer waits for the socket, not for the time.
        let room = self.link.as_ref().is_some_and(crate::link::Link::has_room);
        let ack = self.session.as_ref().and_then(|session| session.tracker.ack_due());
        let ack = ack.filter(|_| room);
        [live, resend, ack, self.frozen_at(), self.own_query_at()].into_iter().flatten().min()
    }

    /// Notices that the clock jumped. Bytes that can be read are read before the machine concludes anything from that.
    pub(super) fn note_jump(&mut self, now: Instant) {
        self.clock.latest = now;
        if self.clock.promised.take().is_some_and(|at| now > at + JUMP) {
            self.clock.jumped = true;
            // An answer that is read now may have come long ago.
            self.resend.clock_jumped(now);
        }
    }

    /// Handles the timers that are over at `now`. The driver reads what can be read before it calls this.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.note_jump(now);
        if std::mem::take(&mut self.clock.jumped) {
            self.restart_timers(now);
        }
        self.network_timeouts(now);
        if self.clock.grace.holds(now) {
            return;
        }
        let expired = self.requests.expire(now);
        for slot in &expired {
            self.give_up_waiting(now, *slot, GaveUp::Deadline);
        }
        self.requests.give_back(expired);
        self.connect_timeouts(now);
        self.drain_timeout(now);
    }

    fn network_timeouts(&mut self, now: Instant) {
        self.zmtp_timeouts(now);
        if self.doubt_until().is_some_and(|until| until <= now) {
            self.session_expired(now, None);
        }
        self.discover(now);
        self.search_timeouts(now);
        if matches!(self.state, State::Connected(_)) && !self.is_closing() {
            self.resend.tick(now, &mut self.requests);
            let (smoothed, timeout) = (self.resend.smoothed(), self.resend.timeout());
            if let Some(loss) = self.liveness.tick(now, smoothed, timeout) {
                return self.lost(now, loss);
            }
            self.seek_beside(now);
            self.submit_own_query(now);
        }
    }

    fn zmtp_timeouts(&mut self, now: Instant) {
        // Drivers call this in each turn. Without a search it allocates nothing.
        let attempts: Vec<ConnId> = self.search.links().map(|link| link.id).collect();
        let session = self.link.as_ref().map(|link| link.id);
        for conn in session.into_iter().chain(attempts) {
            if let Some(link) = self.link_mut(conn).filter(|link| link.open) {
                link.zmtp.handle_timeout(now);
                self.take_events(now, conn);
            }
        }
    }

    /// After a jump, starts the network's timers again and probes the connection: the time that passed says nothing.
    ///
    /// Each wait starts again only once until what it waits for has come. A driver that always wakes late, as under an
    /// application that blocks its thread, would otherwise never time anything out.
    fn restart_timers(&mut self, now: Instant) {
        self.clock.grace.begin(now);
        for link in self.link.iter_mut().chain(self.search.links_mut()).filter(|link| link.open) {
            link.zmtp.restart_timers(now);
        }
        self.restart_attempts(now);
        if matches!(self.state, State::Connected(_)) {
            self.liveness.restart_keep_alive(now);
            if self.liveness.restart_requests(now) {
                self.resend.restart_waits(now);
            }
        }
    }
}
