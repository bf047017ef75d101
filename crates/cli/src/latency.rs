//! A histogram of latencies.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// The longest latency that is recorded: ten minutes, longer than any request timeout in these tools.
const HIGHEST: u64 = 10 * 60 * 1_000_000_000;

/// A histogram of latencies with three significant digits.
#[derive(Debug, Clone)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

impl Latencies {
    /// Creates an empty histogram.
    pub fn new() -> Self {
        let mut histogram = Histogram::new_with_bounds(1, HIGHEST, 3)
            .unwrap_or_else(|_| unreachable!("bounds are right"));
        histogram.auto(true);
        Self(histogram)
    }

    /// Adds a latency. One of more than ten minutes counts as ten minutes.
    pub fn record(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(HIGHEST);
        self.0.saturating_record(nanos.clamp(1, HIGHEST));
    }

    /// Adds all latencies of another histogram.
    pub fn add(&mut self, other: &Self) {
        // Both have the same bounds.
        let _ = self.0.add(&other.0);
    }

    /// Returns the number of latencies.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Returns the latency that this part of all latencies, from 0 to 1, does not exceed.
    pub fn quantile(&self, part: f64) -> Duration {
        Duration::from_nanos(self.0.value_at_quantile(part))
    }

    /// Returns the reported points in milliseconds. A percentile with too few samples is `None`.
    fn points(&self) -> [(&'static str, Option<f64>); 6] {
        let millis = |nanos: u64| nanos as f64 / 1e6;
        // One in this many samples is above the percentile. With fewer samples it would just be the maximum.
        let one_of = |samples: u64| {
            let quantile = 1.0 - 1.0 / samples as f64;
            (self.count() >= samples).then(|| millis(self.0.value_at_quantile(quantile)))
        };
        let any = |value| (self.count() > 0).then_some(value);
        [
            ("p50", one_of(2)),
            ("p90", one_of(10)),
            ("p99", one_of(100)),
            ("p99.9", one_of(1000)),
            ("max", any(millis(self.0.max()))),
            ("mean", any(self.0.mean() / 1e6)),
        ]
    }

    /// Returns a JSON object of milliseconds: p50, p90, p99, p99.9, max and mean. A percentile with too few samples is null.
    pub fn to_json(&self) -> Value {
        self.points().into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect()
    }

    /// Returns the points as a line for people, without those that have too few samples.
    pub fn to_text(&self) -> String {
        let points = self.points().into_iter();
        let told = points.filter_map(|(name, value)| Some(format!("{name} {:.2} ms", value?)));
        let told = told.collect::<Vec<_>>().join(", ");
        if told.is_empty() { "no samples".to_owned() } else { told }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_in_milliseconds_and_exact_to_three_digits() {
        let mut latencies = Latencies::new();
        for millis in 1..=1000 {
            latencies.record(Duration::from_millis(millis));
        }
        let told = latencies.to_json();
        for (name, expected) in
            [("p50", 500.0), ("p90", 900.0), ("p99", 990.0), ("p99.9", 999.0), ("max", 1000.0)]
        {
            let value = told[name].as_f64().unwrap();
            assert!((value / expected - 1.0).abs() < 2e-3, "{name} {value}");
        }
    }

    #[test]
    fn part_of_the_samples_does_not_exceed_its_quantile() {
        let mut latencies = Latencies::new();
        for millis in [10, 20, 30, 40] {
            latencies.record(Duration::from_millis(millis));
        }
        assert_eq!(latencies.count(), 4);
        for (part, millis) in [(0.25, 10), (0.5, 20), (1.0, 40)] {
            assert_eq!(latencies.quantile(part).as_millis(), millis);
        }
    }

    #[test]
    fn percentile_with_too_few_samples_is_not_reported() {
        let names = ["p50", "p90", "p99", "p99.9"];
        for (count, carried) in [
            (0, 0),
            (1, 0),
            (2, 1),
            (4, 1),
            (9, 1),
            (10, 2),
            (99, 2),
            (100, 3),
            (999, 3),
            (1000, 4),
        ] {
            let mut latencies = Latencies::new();
            for millis in 0..count {
                latencies.record(Duration::from_millis(millis));
            }
            let (text, json) = (latencies.to_text(), latencies.to_json());
            for (place, name) in names.iter().enumerate() {
                let told = place < carried;
                assert_eq!(text.contains(&format!("{name} ")), told, "{count}: {text}");
                assert_eq!(json[*name].is_null(), !told, "{count}: {json}");
            }
            assert_eq!(text.contains("max"), count > 0, "{text}");
        }
    }

    #[test]
    fn sum_of_two_histograms_equals_one_histogram_of_all_samples() {
        let (mut left, mut right, mut both) =
            (Latencies::new(), Latencies::new(), Latencies::new());
        for micros in 1..500 {
            let half = if micros % 2 == 0 { &mut left } else { &mut right };
            half.record(Duration::from_micros(micros));
            both.record(Duration::from_micros(micros));
        }
        left.add(&right);
        assert_eq!(left.to_json(), both.to_json());
    }

    #[test]
    fn shortest_and_longest_durations_are_recorded() {
        let mut latencies = Latencies::new();
        latencies.record(Duration::ZERO);
        latencies.record(Duration::MAX);
        assert!(latencies.to_json()["max"].as_f64().unwrap() >= 600_000.0);
    }
}
