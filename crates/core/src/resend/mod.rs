//! Resending: which pending requests are sent again, and when.
//!
//! `docs/resending.md` explains the policy by a worked example. [`Resend`] is all that the rest of the machine sees of
//! it: the machine reports what was connected, written, answered and forgotten, and asks what may be sent now and
//! when to wake. Inside are three parts: [`order`] knows which requests are due, [`pace`] how long to wait and how
//! many copies may go, [`backlog`] what a resume does with the requests that were pending.

mod backlog;
mod order;
mod pace;

use std::time::Duration;

use crate::{
    ConnId, Instant, RequestKey, RequestKind,
    rng::Rng,
    tables::{requests::Requests, slab::Copies},
};
use backlog::Backlog;
pub(crate) use backlog::Resume;
use order::Order;
use pace::Pace;

/// What may be sent next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// A copy of the due request in this slot.
    Copy(u32, Limit),
    /// New work: nothing is due, or slow start holds the due requests back.
    NewWork,
    /// Nothing: new work waits for the backlog.
    Nothing,
}

/// What limits a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Slow start counts it.
    SlowStart,
    /// Nothing: the whole backlog goes at once after a resume.
    Unlimited,
}

/// The policy of resending, for one client.
#[derive(Debug)]
pub(crate) struct Resend {
    order: Order,
    pace: Pace,
    backlog: Backlog,
    /// The connection on which requests are sent now; [`ConnId::NONE`] while there is none.
    conn: ConnId,
    /// A request written before this is not a sample of the answer time: the clock jumped since, and its answer may
    /// have been there long before it was read.
    sampled_from: Instant,
}

impl Resend {
    pub(crate) fn new(resend_interval: Duration) -> Self {
        Self {
            order: Order::new(),
            pace: Pace::new(resend_interval),
            backlog: Backlog::None,
            conn: ConnId::NONE,
            sampled_from: Instant::ZERO,
        }
    }

    /// Returns the smoothed answer time, once there is a sample.
    pub(crate) fn smoothed(&self) -> Option<Duration> {
        self.pace.smoothed()
    }

    /// Returns how long an answer is awaited before its request is due.
    pub(crate) fn timeout(&self) -> Duration {
        self.pace.timeout()
    }

    // ---- what happened

    /// A session was created on this connection: nothing is pending.
    pub(crate) fn created(&mut self, conn: ConnId) {
        self.conn = conn;
    }

    /// The session was continued on this connection.
    pub(crate) fn resumed(
        &mut self,
        now: Instant,
        requests: &mut Requests,
        conn: ConnId,
        resume: Resume,
    ) {
        self.conn = conn;
        self.backlog = Backlog::after(resume, now + self.pace.await_for());
        if matches!(self.backlog, Backlog::Burst | Backlog::SlowStart) {
            self.order.all_due(requests, conn);
        }
    }

    /// The connection is gone: nothing is due until the next one. Scans all requests.
    pub(crate) fn disconnected(&mut self, requests: &mut Requests) {
        self.conn = ConnId::NONE;
        self.backlog = Backlog::None;
        self.order.clear(requests);
        self.pace.new_connection();
    }

    /// The session is gone. The smoothed answer time stays, the doubling ends. Scans all requests.
    pub(crate) fn new_session(&mut self, requests: &mut Requests) {
        self.disconnected(requests);
        self.pace.reset_doubling();
    }

    /// The socket took the last byte of a request's frame. Returns true if the request waits for its answer from now
    /// on.
    #[inline]
    pub(crate) fn written(
        &mut self,
        now: Instant,
        requests: &mut Requests,
        key: RequestKey,
        conn: ConnId,
    ) -> bool {
        self.order.written(now, requests, key, conn)
    }

    /// A request was answered on the present connection, and leaves the tables next.
    #[inline(always)]
    pub(crate) fn answered(
        &mut self,
        now: Instant,
        requests: &mut Requests,
        slot: u32,
        rng: &mut Rng,
    ) {
        let entry = requests.slab.get(slot);
        let copies = entry.copies;
        let sent_at = entry.sent_at.filter(|at| *at >= self.sampled_from);
        let sent_at = sent_at.filter(|_| entry.sent_on == self.conn);
        self.order.answered(requests, slot);
        match (sent_at, copies) {
            (Some(at), Copies::Counted) => self.pace.copy_answered(now, now - at, rng),
            (Some(at), Copies::None) => self.pace.sample(now - at),
            (None, Copies::Counted) => self.pace.copy_forgotten(),
            _ => {}
        }
        self.pace.answered();
        self.rest();
    }

    /// A request leaves the tables next, without an answer.
    pub(crate) fn forgotten(&mut self, requests: &mut Requests, slot: u32) {
        let copies = requests.slab.get(slot).copies;
        self.order.remove(requests, slot);
        if copies == Copies::Counted {
            self.pace.copy_forgotten();
        }
        self.rest();
    }

    #[inline]
    fn rest(&mut self) {
        if !self.order.any_due() {
            self.pace.nothing_due();
        }
    }

    /// A copy of a due request was handed to the present connection.
    pub(crate) fn resent(
        &mut self,
        now: Instant,
        requests: &mut Requests,
        slot: u32,
        limit: Limit,
        rng: &mut Rng,
    ) {
        self.order.remove(requests, slot);
        let entry = requests.slab.get_mut(slot);
        entry.sent_on = self.conn;
        entry.sent_at = None;
        let earlier = entry.copies;
        entry.copies = match (limit, earlier) {
            (Limit::SlowStart, _) | (_, Copies::Counted) => Copies::Counted,
            (Limit::Unlimited, _) => Copies::Uncounted,
        };
        if limit == Limit::SlowStart {
            self.pace.resent(now, earlier != Copies::Counted, rng);
        }
    }

    /// The clock jumped: answers that come from now on to earlier requests are not samples.
    pub(crate) fn clock_jumped(&mut self, now: Instant) {
        self.sampled_from = now;
    }

    /// Starts all waits again, after a jump of the clock.
    pub(crate) fn restart_waits(&mut self, now: Instant) {
        self.order.restart_waits(now);
        self.pace.restart_waits(now);
        if let Backlog::Await(_) = self.backlog {
            self.backlog = Backlog::Await(now + self.pace.await_for());
        }
    }

    // ---- what may be sent

    /// Finds the requests that are due at `now`, and what slow start allows.
    pub(crate) fn tick(&mut self, now: Instant, requests: &mut Requests) {
        // First of all the pace: it may double the RTO, and then less is due.
        self.pace.tick(now);
        if let Backlog::Await(until) = self.backlog
            && until <= now
        {
            self.backlog = Backlog::None;
            self.order.all_due(requests, self.conn);
        }
        // A request of a burst is not due again before the whole burst was written: a slow link would otherwise carry
        // the first requests again and again.
        if self.backlog != Backlog::Burst {
            self.order.wait_longer(now, requests, Duration::from_nanos(self.pace.base()));
            self.order.find_due(now, requests, self.pace.due_after());
        }
    }

    /// Returns what may be sent next.
    pub(crate) fn next(&mut self, now: Instant, requests: &Requests) -> Turn {
        let Some(slot) = self.order.first_due(requests) else {
            if matches!(self.backlog, Backlog::Burst | Backlog::SlowStart) {
                self.backlog = Backlog::None;
            }
            return Turn::NewWork;
        };
        match self.backlog {
            Backlog::Burst => Turn::Copy(slot, Limit::Unlimited),
            _ if self.pace.may_release() || self.lowest_may_go(now, requests, slot) => {
                Turn::Copy(slot, Limit::SlowStart)
            }
            Backlog::SlowStart => Turn::Nothing,
            Backlog::None | Backlog::Await(_) => Turn::NewWork,
        }
    }

    /// Returns what may be sent next while requests go one at a time: `alone` is the request that is on the wire.
    pub(crate) fn next_alone(&self, requests: &Requests, alone: Option<RequestKey>) -> Turn {
        let alone = alone.and_then(|key| Some((key.slot, requests.slab.find(key)?.place)));
        let slot = match alone {
            Some((slot, place)) => place.is_due().then_some(slot),
            None => self.order.first_due(requests),
        };
        slot.map_or(Turn::Nothing, |slot| Turn::Copy(slot, Limit::SlowStart))
    }

    /// Returns true if only new work is left to choose from.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        !self.order.any_due() && self.backlog == Backlog::None
    }

    /// Returns true if the first due request may go beyond the allowance: once per RTO, if it is the one that holds L.
    fn lowest_may_go(&self, now: Instant, requests: &Requests, slot: u32) -> bool {
        is_lowest(requests, slot) && self.pace.lowest_may_go(now)
    }

    /// Returns when to call [`tick`](Self::tick) at the latest. `could_go` says whether the first due request could be
    /// sent, if slow start allowed it: one that waits for room in the buffer waits for the socket, not for the time.
    pub(crate) fn next_tick(
        &self,
        requests: &Requests,
        could_go: impl FnOnce(u32) -> bool,
    ) -> Option<Instant> {
        let (due, wait) = match self.backlog {
            Backlog::Burst => (None, None),
            Backlog::Await(until) => (self.next_due(requests), Some(until)),
            Backlog::None | Backlog::SlowStart => (self.next_due(requests), None),
        };
        let lowest = if self.pace.may_release() { None } else { self.pace.lowest_at() };
        let lowest = lowest.filter(|_| {
            let first = self.order.first_due(requests);
            first.is_some_and(|slot| is_lowest(requests, slot) && could_go(slot))
        });
        [due, wait, self.pace.next(), lowest].into_iter().flatten().min()
    }

    fn next_due(&self, requests: &Requests) -> Option<Instant> {
        self.order.next_due(requests, self.pace.due_after())
    }
}

/// Returns true if the due request in `slot` may go once per RTO. A command must hold L: the server cannot drop the
/// answers above it. A query is first only when no command is due.
fn is_lowest(requests: &Requests, slot: u32) -> bool {
    let entry = requests.slab.get(slot);
    match entry.kind {
        RequestKind::Command => entry.id == requests.commands.lowest(),
        RequestKind::Query => true,
    }
}
