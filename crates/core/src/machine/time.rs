//! Time: the next moment at which something is to be done, and doing it.

use std::time::Duration;

use super::{Machine, State, connected::End, settle::GaveUp};
use crate::{Instant, policy::liveness::Verdict};

/// Woken this much too late, the process or the machine was stopped meanwhile.
const JUMP: Duration = Duration::from_secs(1);
/// After a jump, request deadlines wait this long for the answers that may be on their way.
const GRACE: Duration = Duration::from_secs(1);

/// The deadlines that a jump of the clock puts off, and when it may.
#[derive(Debug)]
pub(super) struct Grace {
    /// No deadline fires before then.
    until: Option<Instant>,
    /// Bytes came since deadlines were last put off. A driver that always wakes late would otherwise put them off at
    /// each wake and never fire one.
    earned: bool,
}

impl Default for Grace {
    fn default() -> Self {
        Self { until: None, earned: true }
    }
}

impl Grace {
    /// The clock jumped. A grace under way is not extended: it ends in firing what is due.
    fn begin(&mut self, now: Instant) {
        if self.until.is_none() && std::mem::take(&mut self.earned) {
            self.until = Some(now + GRACE);
        }
    }

    /// A byte came.
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
    /// When [`handle_timeout`](Self::handle_timeout) must be called at the latest. Changes with every input: a driver
    /// asks each time before it sleeps, and one that comes more than a second later than told was stopped meanwhile.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let next = self.next_timeout();
        // What should have been done before is to be done at once: the driver is late only from now on.
        self.promised.set(next.map(|next| next.max(self.latest)));
        next
    }

    fn next_timeout(&self) -> Option<Instant> {
        let deadlines = [
            self.requests.next_deadline(),
            self.waiters.iter().filter_map(|waiter| waiter.until).min(),
            self.drain_until(),
        ];
        let deadline = deadlines.into_iter().flatten().min();
        let deadline = deadline.map(|at| self.grace.until.map_or(at, |grace| at.max(grace)));
        let zmtp = self.link.as_ref().filter(|link| link.open);
        let zmtp = zmtp.and_then(|link| link.zmtp.poll_timeout());
        let jumped = self.jumped.then_some(self.latest);
        let network =
            [zmtp, self.attempt_until(), self.doubt_until(), self.next_connected(), jumped];
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
        // What waits for room in the buffer waits for the socket, not for the time.
        let room = self.link.as_ref().is_some_and(crate::link::Link::has_room);
        let ack = self.session.as_ref().and_then(|session| session.tracker.ack_due());
        [live, resend, ack.filter(|_| room)].into_iter().flatten().min()
    }

    /// Notes that the clock went on while nothing ran. What can be read is read before anything is concluded from it.
    pub(super) fn note_jump(&mut self, now: Instant) {
        self.latest = now;
        if self.promised.take().is_some_and(|at| now > at + JUMP) {
            self.jumped = true;
            // What is answered now may have been answered long ago.
            self.resend.clock_jumped(now);
        }
    }

    /// Does what is to be done at `now`. The driver reads what can be read before it calls this.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.note_jump(now);
        if std::mem::take(&mut self.jumped) {
            self.restart_timers(now);
        }
        self.network_timeouts(now);
        if self.grace.holds(now) {
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
        if let Some(link) = self.link.as_mut().filter(|link| link.open) {
            let conn = link.id;
            link.zmtp.handle_timeout(now);
            self.take_events(now, conn);
        }
        if self.doubt_until().is_some_and(|until| until <= now) {
            self.session_expired(now);
        }
        self.attempt_timeout(now);
        if matches!(self.state, State::Connected(_)) && !self.is_closing() {
            self.resend.tick(now, &mut self.requests);
            let (smoothed, timeout) = (self.resend.smoothed(), self.resend.timeout());
            match self.liveness.tick(now, smoothed, timeout) {
                Some(Verdict::KeepAliveTimeout) => self.lost(now, End::KeepAliveTimeout),
                Some(Verdict::Stalled) => self.lost(now, End::Stalled),
                Some(Verdict::Silent) => self.lost(now, End::Silent),
                None => {}
            }
        }
    }

    /// After a jump nothing is concluded from the time that passed: the network's timers begin again, and the
    /// connection is probed. But each wait begins again only once until what it waits for came: a driver that always wakes
    /// late, as under an application that blocks its thread, would otherwise never time anything out.
    fn restart_timers(&mut self, now: Instant) {
        self.grace.begin(now);
        if let Some(link) = self.link.as_mut().filter(|link| link.open) {
            link.zmtp.restart_timers(now);
        }
        self.restart_attempt(now);
        if matches!(self.state, State::Connected(_)) {
            self.liveness.restart_keep_alive(now);
            if self.liveness.restart_requests(now) {
                self.resend.restart_waits(now);
            }
        }
    }
}
