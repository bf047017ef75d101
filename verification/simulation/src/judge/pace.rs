//! How soon requests are sent again: not before the resend timeout, which follows the server's pace, and ever more rarely while
//! nothing is answered.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use zraft_core::Instant;

use super::{Judge, prompt::OVERTAKEN};

/// The doubling of the resend timeout stops here.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(60);

/// The answer time of the server, smoothed over the requests that were sent once.
#[derive(Debug, Default)]
pub(super) struct Pace {
    smoothed: Option<u64>,
    /// The process stood still or woke late. Which answer times count from then on depends on when the machine noticed.
    unknown: bool,
    /// What had been written for this long at this moment was due then. The timeout may be longer now.
    due: Option<(Instant, Duration)>,
}

impl Pace {
    pub(super) fn forget(&mut self) {
        self.unknown = true;
    }

    fn sample(&mut self, now: Instant, least: Duration, took: Duration) {
        if let Some(timeout) = self.timeout(least) {
            let is_later = |(at, of): (Instant, Duration)| now + of > at + timeout;
            if self.due.is_none_or(is_later) {
                self.due = Some((now, timeout));
            }
        }
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.smoothed = Some(match self.smoothed {
            None => took,
            Some(smoothed) => smoothed.saturating_mul(7).saturating_add(took) / 8,
        });
    }

    /// The resend timeout without any doubling, if it is known.
    fn timeout(&self, least: Duration) -> Option<Duration> {
        let smoothed = Duration::from_nanos(self.smoothed.unwrap_or(0));
        (!self.unknown).then(|| least.max(smoothed.saturating_mul(4)))
    }
}

/// Copies of requests on one connection.
#[derive(Debug, Default)]
pub(super) struct Copies {
    first: Option<Instant>,
    /// Commands that wait, with the place of their last copy in the order of sending.
    waiting: HashMap<u64, u64>,
    /// The places of answered commands.
    answered: BTreeSet<u64>,
    sent: u64,
}

impl Copies {
    pub(super) fn sent(&mut self, id: u64) {
        self.sent += 1;
        self.waiting.insert(id, self.sent);
    }

    pub(super) fn answered(&mut self, id: u64) {
        self.answered.extend(self.waiting.remove(&id));
    }

    /// How many commands were answered whose last copy went after that of this command.
    fn overtook(&self, id: u64) -> usize {
        self.waiting.get(&id).map_or(0, |place| self.answered.range(place + 1..).count())
    }

    /// The `number`th copy goes while nothing has been answered on the connection. Each missed answer doubles the next timeout. The
    /// jitter of the timeouts lets a copy go just before the doubling that it should wait for, so the waits from the first copy
    /// on are at least 1, 2, 2, 4, 4, 8… timeouts.
    pub(super) fn unanswered(
        &mut self,
        now: Instant,
        number: u64,
        least: Duration,
    ) -> Option<(&'static str, String)> {
        let first = *self.first.get_or_insert(now);
        let longest = LONGEST_TIMEOUT.max(least);
        let waits = (1..number).map(|n| least.saturating_mul(1 << (n / 2).min(16)).min(longest));
        let least: Duration = waits.sum();
        let rule = "the resend timeout doubles while nothing is answered";
        (now - first < least)
            .then(|| (rule, format!("copy {number} {:?} after the first", now - first)))
    }
}

impl Judge {
    /// A request is answered. Only one that was never resent, on this connection, tells how long answers take: an answer to another
    /// may be the answer to any of its copies.
    pub(super) fn sample_pace(&mut self, now: Instant, number: usize) {
        let asked = &self.requests[number];
        let here = self.wire.as_ref().is_some_and(|wire| asked.last_wire == Some(wire.id));
        if let Some(written) = asked.written_at.filter(|_| here && !asked.resent) {
            self.pace.sample(now, self.terms.resend_interval, now - written);
        }
    }

    /// A request is about to be sent. If it was sent on this connection before, its timeout has passed, now or when the
    /// timeout was shorter, or enough commands sent after it were answered.
    pub(super) fn not_resent_too_early(&mut self, now: Instant, number: usize, id: u64) {
        let Some(wire) = &mut self.wire else { return };
        let asked = &self.requests[number];
        if asked.last_wire != Some(wire.id) {
            return;
        }
        let (Some(written), Some(timeout)) =
            (asked.written_at, self.pace.timeout(self.terms.resend_interval))
        else {
            return;
        };
        let overtaken = id > 0 && wire.pace.overtook(id) >= OVERTAKEN;
        let waited = now - written;
        let was_due = self.pace.due.is_some_and(|(at, timeout)| written + timeout <= at);
        let due = waited >= timeout || was_due;
        self.demand(overtaken || due, "nothing is resent before its timeout", || {
            format!("request {number} after {waited:?}, not {timeout:?}")
        });
    }
}
