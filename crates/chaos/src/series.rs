//! Samples over any length of time, in bounded memory.

use serde_json::{Value, json};

/// Samples kept at most.
const CAPACITY: usize = 2048;

/// What happened in a stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    /// Its end, in seconds since the start.
    pub at: f64,
    /// Its length in seconds.
    pub seconds: f64,
    /// Commands answered.
    pub answered: u64,
    /// Errors seen by the application.
    pub errors: u64,
    /// The longest that an answer took, in milliseconds.
    pub slowest: f64,
    /// The memory of this process at its end, in KiB; none where the system does not tell.
    pub memory: Option<u64>,
}

impl Sample {
    /// This one and the one after it.
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

/// Samples in order. When there are too many, each two neighbours become one.
#[derive(Clone, Debug)]
pub struct Series {
    samples: Vec<Sample>,
    /// How many given samples make one that is kept.
    each: u32,
    gathered: Option<(u32, Sample)>,
}

impl Default for Series {
    fn default() -> Self {
        // All at once, so that it does not grow while memory is measured.
        Self { samples: Vec::with_capacity(CAPACITY), each: 1, gathered: None }
    }
}

impl Series {
    /// Adds one.
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

    /// What is kept.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// By how many KiB an hour the memory grows, after the first quarter of the time: the slope of the straight line that
    /// fits best. None: too few samples.
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

    /// One array for each column.
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

/// The memory that this process holds, in KiB. Linux tells.
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
    fn samples_beyond_the_limit_are_joined_and_nothing_is_lost() {
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
    fn the_slope_is_that_of_the_memory_after_the_first_quarter() {
        let grows_by_a_kib_a_second =
            series(400, |n| if n < 50 { 90_000 } else { 1000 + u64::from(n) });
        let slope = grows_by_a_kib_a_second.memory_slope().expect("there are samples");
        assert!((slope - 3600.0).abs() < 1.0, "{slope}");
        let level = series(400, |_| 5).memory_slope().expect("there are samples");
        assert!(level.abs() < 1e-6, "{level}");
        assert_eq!(series(2, |_| 5).memory_slope(), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_memory_of_this_process_is_known() {
        assert!(memory().is_some_and(|kib| kib > 100));
    }
}
