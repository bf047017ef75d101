//! How much is to be sent when, and what is measured.
//!
//! The servers answer in order, so it is enough to know when how many went: the clock is read once for all that is done at
//! once, and the same way for every contender.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

use super::process_cpu;

/// Nobody sends more than this at once, however late it is.
const BURST: u64 = 1 << 16;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// With each answer one more request goes.
    Closed { in_flight: usize },
    /// Requests begin at their times, whether or not answers come. Latencies count from then.
    Open { rate: f64 },
}

/// What was measured.
pub(crate) struct Sample {
    pub(crate) count: u64,
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
    /// In nanoseconds.
    pub(crate) latencies: Histogram<u64>,
    /// Requests that should have begun, and had no answer at the end.
    pub(crate) behind: u64,
}

pub(crate) struct Load {
    pace: Pace,
    warm_up: Duration,
    time: Duration,
    started: Instant,
    sent: u64,
    answered: u64,
    /// When so many were sent, of those without an answer.
    stamps: VecDeque<(Instant, u64)>,
    latencies: Histogram<u64>,
    /// The time, processor time and answers at the end of the warming up.
    measured_from: Option<(Instant, Duration, u64)>,
}

impl Load {
    pub(crate) fn new(pace: Pace, warm_up: Duration, time: Duration) -> Self {
        // Never fails: three digits up to a minute.
        let latencies = Histogram::new_with_bounds(1, 60_000_000_000, 3)
            .unwrap_or_else(|_| unreachable!("bounds are fixed"));
        Self {
            pace,
            warm_up,
            time,
            started: Instant::now(),
            sent: 0,
            answered: 0,
            stamps: VecDeque::new(),
            latencies,
            measured_from: None,
        }
    }

    /// Whether sending waits for answers only.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.pace, Pace::Closed { .. })
    }

    /// The time begins.
    pub(crate) fn start(&mut self) {
        self.started = Instant::now();
    }

    /// How many requests are to be sent now. They count as sent.
    pub(crate) fn due(&mut self, now: Instant) -> u64 {
        let due = match self.pace {
            Pace::Closed { in_flight } => in_flight as u64 - (self.sent - self.answered),
            Pace::Open { rate } => {
                let should = ((now - self.started).as_secs_f64() * rate) as u64;
                should.saturating_sub(self.sent).min(BURST)
            }
        };
        if due > 0 && self.is_closed() {
            self.stamps.push_back((now, due));
        }
        self.sent += due;
        due
    }

    /// So many answers came.
    pub(crate) fn answered(&mut self, now: Instant, mut count: u64) {
        if let Pace::Open { rate } = self.pace {
            for number in self.answered..self.answered + count {
                let begin = self.started + Duration::from_secs_f64(number as f64 / rate);
                self.latencies.saturating_record((now - begin).as_nanos() as u64);
            }
            self.answered += count;
            return;
        }
        self.answered += count;
        while count > 0 {
            let Some((begin, waiting)) = self.stamps.front_mut() else { return };
            let step = count.min(*waiting);
            self.latencies.saturating_record_n((now - *begin).as_nanos() as u64, step);
            *waiting -= step;
            count -= step;
            if *waiting == 0 {
                self.stamps.pop_front();
            }
        }
    }

    /// Whether the time is over. Ends the warming up when that is.
    pub(crate) fn is_over(&mut self, now: Instant) -> bool {
        match self.measured_from {
            None => {
                if now - self.started >= self.warm_up {
                    self.latencies.reset();
                    self.measured_from = Some((now, process_cpu(), self.answered));
                }
                false
            }
            Some((from, ..)) => now - from >= self.time,
        }
    }

    pub(crate) fn sample(self) -> Sample {
        let now = Instant::now();
        let (from, cpu, answered) = self.measured_from.unwrap_or((now, process_cpu(), 0));
        Sample {
            count: self.answered - answered,
            wall: now - from,
            cpu: process_cpu() - cpu,
            latencies: self.latencies,
            behind: self.sent - self.answered,
        }
    }
}
