//! How much is to be sent when, and what is measured.
//!
//! The servers answer in order, so it is enough to know when how many went: the clock is read once for all that is done at
//! once, and the same way for every contender.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

use serde_json::{Value, json};

/// Nobody sends more than this at once, however late it is.
const BURST: u64 = 1 << 16;

/// When requests begin.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// With each answer one more request goes.
    Closed {
        /// How many.
        in_flight: usize,
    },
    /// Requests begin at their times, whether or not answers come. Latencies count from then.
    Open {
        /// A second.
        rate: f64,
    },
}

/// What was measured.
#[derive(Debug)]
pub struct Sample {
    /// Answers.
    pub count: u64,
    /// The time it took.
    pub wall: Duration,
    /// Processor time of this process.
    pub cpu: Duration,
    /// In nanoseconds.
    pub latencies: Histogram<u64>,
    /// Requests that should have begun, and had no answer at the end.
    pub behind: u64,
}

impl Sample {
    /// Rates a second, times in microseconds.
    pub fn json(&self) -> Value {
        let percentile = |p: f64| self.latencies.value_at_quantile(p / 100.0) as f64 / 1000.0;
        json!({
            "count": self.count,
            "seconds": self.wall.as_secs_f64(),
            "rate": self.count as f64 / self.wall.as_secs_f64(),
            "cpu": self.cpu.as_secs_f64() * 1e6 / self.count as f64,
            "p50": percentile(50.0),
            "p99": percentile(99.0),
            "p999": percentile(99.9),
            "max": self.latencies.max() as f64 / 1000.0,
            "rss": resident() as f64 / 1024.0,
            "behind": self.behind,
        })
    }
}

/// Processor time that this process has used, user and system.
pub fn process_cpu() -> Duration {
    #[cfg(unix)]
    {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }
    #[cfg(not(unix))]
    Duration::ZERO
}

/// Load, and its measuring.
#[derive(Debug)]
pub struct Load {
    pace: Pace,
    warm_up: Duration,
    time: Duration,
    /// So many answers are enough.
    enough: u64,
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
    /// Load for that time, after warming up.
    pub fn new(pace: Pace, warm_up: Duration, time: Duration) -> Self {
        // Never fails: three digits up to a minute.
        let latencies = Histogram::new_with_bounds(1, 60_000_000_000, 3)
            .unwrap_or_else(|_| unreachable!("bounds are fixed"));
        Self {
            pace,
            warm_up,
            time,
            enough: u64::MAX,
            started: Instant::now(),
            sent: 0,
            answered: 0,
            stamps: VecDeque::new(),
            latencies,
            measured_from: None,
        }
    }

    /// Load of that many answers, without warming up.
    pub fn of_count(pace: Pace, count: u64) -> Self {
        Self { enough: count, ..Self::new(pace, Duration::ZERO, Duration::from_secs(3600)) }
    }

    /// Whether sending waits for answers only.
    pub fn is_closed(&self) -> bool {
        matches!(self.pace, Pace::Closed { .. })
    }

    /// The time begins.
    pub fn start(&mut self) {
        self.started = Instant::now();
    }

    /// How many requests are to be sent now. They count as sent.
    pub fn due(&mut self, now: Instant) -> u64 {
        let due = match self.pace {
            Pace::Closed { in_flight } => (in_flight as u64 - (self.sent - self.answered))
                .min(self.enough.saturating_sub(self.sent)),
            Pace::Open { rate } => {
                // The first begins at once.
                let should = ((now - self.started).as_secs_f64() * rate) as u64 + 1;
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
    pub fn answered(&mut self, now: Instant, mut count: u64) {
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
    pub fn is_over(&mut self, now: Instant) -> bool {
        match self.measured_from {
            None => {
                if now - self.started >= self.warm_up {
                    self.latencies.reset();
                    self.measured_from = Some((now, process_cpu(), self.answered));
                }
                false
            }
            Some((from, ..)) => now - from >= self.time || self.answered >= self.enough,
        }
    }

    /// What was measured.
    pub fn sample(self) -> Sample {
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

/// Resident memory of this process in KiB; 0 where it is not told.
pub fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_an_open_loop_a_request_is_due_at_its_moment_and_its_latency_counts_from_there() {
        let long = Duration::from_secs(60);
        let mut load = Load::new(Pace::Open { rate: 1000.0 }, Duration::ZERO, long);
        let after = |micros| Duration::from_micros(micros);
        let begin = load.started;
        assert!(!load.is_over(begin));
        assert_eq!(load.due(begin), 1);
        assert_eq!(load.due(begin + after(900)), 0);
        load.answered(begin + after(900), 1);
        // Two more whose moments were missed: they waited.
        assert_eq!(load.due(begin + after(2_500)), 2);
        load.answered(begin + after(2_600), 2);
        let took: Vec<u64> =
            load.latencies.iter_recorded().map(|value| value.value_iterated_to() / 1000).collect();
        assert_eq!(took, [600, 900, 1600]);
    }
}
