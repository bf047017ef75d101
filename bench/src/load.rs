//! The pace of the requests, and the measurement.
//!
//! The servers answer in order, so counting requests is enough to match answers. Every contender reads the clock once per
//! batch, in the same way.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

use serde_json::{Value, json};

/// The most requests sent at once. A contender that fell behind catches up in steps, so that it also reads answers.
const BURST: u64 = 1 << 16;

/// The pace at which requests are sent.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// Each answer releases another request.
    Closed {
        /// The number of requests in flight.
        in_flight: usize,
    },
    /// Requests are due at fixed times, whether or not earlier ones are answered. Latencies count from these times.
    Open {
        /// Requests per second.
        rate: f64,
    },
}

/// The result of a measurement.
#[derive(Debug)]
pub struct Sample {
    /// The number of answers.
    pub count: u64,
    /// The duration.
    pub wall: Duration,
    /// The processor time of this process.
    pub cpu: Duration,
    /// The latencies in nanoseconds.
    pub latencies: Histogram<u64>,
    /// The number of requests that were sent and not answered at the end.
    pub behind: u64,
}

impl Sample {
    /// Returns the result as a JSON object with rates per second and times in microseconds.
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

/// Returns the processor time that this process has used, user and system time together.
pub fn process_cpu() -> Duration {
    #[cfg(unix)]
    {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }
    #[cfg(not(unix))]
    Duration::ZERO
}

/// A load and its measurement.
#[derive(Debug)]
pub struct Load {
    pace: Pace,
    warm_up: Duration,
    time: Duration,
    /// The measurement ends after this many answers.
    enough: u64,
    started: Instant,
    sent: u64,
    answered: u64,
    /// The unanswered requests: when each batch was sent, and how many of it are unanswered.
    stamps: VecDeque<(Instant, u64)>,
    latencies: Histogram<u64>,
    /// The time, the processor time and the number of answers at the end of the warm-up.
    measured_from: Option<(Instant, Duration, u64)>,
}

impl Load {
    /// Creates a load that is measured for `time` after `warm_up`.
    pub fn new(pace: Pace, warm_up: Duration, time: Duration) -> Self {
        // These bounds are valid: three digits, up to a minute.
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

    /// Creates a load that is measured for `count` answers, without a warm-up.
    pub fn of_count(pace: Pace, count: u64) -> Self {
        Self { enough: count, ..Self::new(pace, Duration::ZERO, Duration::from_secs(3600)) }
    }

    /// Returns true if requests wait for answers and not for a time.
    pub fn is_closed(&self) -> bool {
        matches!(self.pace, Pace::Closed { .. })
    }

    /// Starts the warm-up.
    pub fn start(&mut self) {
        self.started = Instant::now();
    }

    /// Returns how many requests the contender must send now. They count as sent.
    pub fn due(&mut self, now: Instant) -> u64 {
        let due = match self.pace {
            Pace::Closed { in_flight } => (in_flight as u64 - (self.sent - self.answered))
                .min(self.enough.saturating_sub(self.sent)),
            Pace::Open { rate } => {
                // The first is due at once.
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

    /// Records that `count` answers have arrived.
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

    /// Returns true if the measurement is over. Ends the warm-up when its time has passed.
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

    /// Returns the result.
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

/// Returns the resident memory of this process in KiB, or 0 if the system does not tell it.
pub fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_of_an_open_loop_is_due_at_its_time_and_its_latency_counts_from_then() {
        let long = Duration::from_secs(60);
        let mut load = Load::new(Pace::Open { rate: 1000.0 }, Duration::ZERO, long);
        let after = |micros| Duration::from_micros(micros);
        let begin = load.started;
        assert!(!load.is_over(begin));
        assert_eq!(load.due(begin), 1);
        assert_eq!(load.due(begin + after(900)), 0);
        load.answered(begin + after(900), 1);
        // Two more were due in the meantime, so their latency includes the wait.
        assert_eq!(load.due(begin + after(2_500)), 2);
        load.answered(begin + after(2_600), 2);
        let took: Vec<u64> =
            load.latencies.iter_recorded().map(|value| value.value_iterated_to() / 1000).collect();
        assert_eq!(took, [600, 900, 1600]);
    }
}
