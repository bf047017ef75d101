//! A time series of samples in bounded memory.

use serde_json::{Value, json};

/// The greatest number of samples kept: more than a plot can show, and about 100 KiB of memory.
const CAPACITY: usize = 2048;

/// The figures of one stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    /// The end of the stretch, in seconds since the start.
    pub at: f64,
    /// The length of the stretch in seconds.
    pub seconds: f64,
    /// The number of commands answered.
    pub answered: u64,
    /// The number of errors that callers got.
    pub errors: u64,
    /// The longest latency of an answer in milliseconds.
    pub slowest: f64,
    /// The memory of this process at the end of the stretch, in KiB; `None` if the system does not report it.
    pub memory: Option<u64>,
}

impl Sample {
    /// Merges this sample with the one after it.
    fn and(self, next: Self) -> Self {
        Self {
            at: next.at,
            seconds: self.seconds + next.seconds,
            answered: self.answered + next.answered,
            errors: self.errors + next.errors,
            slowest: self.slowest.max(next.slowest),
            memory: next.memory.max(self.memory),
        }
    }
}

/// Samples in order. When there are too many, each pair of neighbours is merged into one.
#[derive(Clone, Debug)]
pub struct Series {
    samples: Vec<Sample>,
    /// The number of pushed samples that are merged into one kept sample.
    each: u32,
    gathered: Option<(u32, Sample)>,
}

impl Default for Series {
    fn default() -> Self {
        // Allocate everything at once, so that the series does not grow while it measures memory.
        Self { samples: Vec::with_capacity(CAPACITY), each: 1, gathered: None }
    }
}

impl Series {
    /// Adds a sample.
    pub fn push(&mut self, sample: Sample) {
        let (count, sum) = match self.gathered.take() {
            Some((count, sum)) => (count + 1, sum.and(sample)),
            None => (1, sample),
        };
        if count < self.each {
            self.gathered = Some((count, sum));
            return;
        }
        self.samples.push(sum);
        if self.samples.len() == CAPACITY {
            for index in 0..CAPACITY / 2 {
                self.samples[index] = self.samples[2 * index].and(self.samples[2 * index + 1]);
            }
            self.samples.truncate(CAPACITY / 2);
            self.each *= 2;
        }
    }

    /// Returns the kept samples.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// Returns the growth of memory in KiB per hour: the slope of the best-fitting straight line, without the first
    /// quarter of the time, in which the process warms up. Returns `None` if there are too few samples.
    pub fn memory_slope(&self) -> Option<f64> {
        let end = self.samples.last()?.at;
        let points: Vec<(f64, f64)> = self
            .samples
            .iter()
            .filter(|sample| sample.at > end / 4.0)
            .filter_map(|sample| Some((sample.at / 3600.0, sample.memory? as f64)))
            .collect();
        if points.len() < 3 {
            return None;
        }
        let count = points.len() as f64;
        let mean = |value: fn(&(f64, f64)) -> f64| points.iter().map(value).sum::<f64>() / count;
        let (x, y) = (mean(|point| point.0), mean(|point| point.1));
        let above: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
        let below: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
        Some(above / below)
    }

    /// Returns a JSON object with one array per column.
    pub fn to_json(&self) -> Value {
        let column =
            |value: fn(&Sample) -> Value| -> Value { self.samples.iter().map(value).collect() };
        json!({
            "atSeconds": column(|sample| json!(sample.at)),
            "answeredPerSecond": column(|sample| json!(sample.answered as f64 / sample.seconds)),
            "errors": column(|sample| json!(sample.errors)),
            "slowestMs": column(|sample| json!(sample.slowest)),
            "memoryKib": column(|sample| json!(sample.memory)),
        })
    }
}

/// Returns the resident memory of this process in KiB. Only Linux reports it this way; elsewhere this is `None`.
pub fn memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(count: u32, memory: impl Fn(u32) -> u64) -> Series {
        let mut series = Series::default();
        for n in 1..=count {
            series.push(Sample {
                at: f64::from(n),
                seconds: 1.0,
                answered: 100,
                errors: u64::from(n == 7),
                slowest: f64::from(n),
                memory: Some(memory(n)),
            });
        }
        series
    }

    #[test]
    fn samples_beyond_the_limit_are_merged_without_loss() {
        let count = 5 * CAPACITY as u32;
        let series = series(count, |_| 1);
        let samples = series.samples();
        assert!(samples.len() < CAPACITY);
        assert_eq!(
            samples.iter().map(|sample| sample.answered).sum::<u64>(),
            u64::from(count) * 100
        );
        assert_eq!(samples.iter().map(|sample| sample.errors).sum::<u64>(), 1);
        assert!(samples.iter().all(|sample| sample.answered as f64 / sample.seconds == 100.0));
        assert_eq!(samples.last().map(|sample| sample.slowest), Some(f64::from(count)));
    }

    #[test]
    fn memory_slope_ignores_the_first_quarter() {
        let grows_by_a_kib_a_second =
            series(400, |n| if n < 50 { 90_000 } else { 1000 + u64::from(n) });
        let slope = grows_by_a_kib_a_second.memory_slope().expect("there must be enough samples");
        assert!((slope - 3600.0).abs() < 1.0, "{slope}");
        let level = series(400, |_| 5).memory_slope().expect("there must be enough samples");
        assert!(level.abs() < 1e-6, "{level}");
        assert_eq!(series(2, |_| 5).memory_slope(), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn memory_of_this_process_is_reported() {
        assert!(memory().is_some_and(|kib| kib > 100));
    }
}
