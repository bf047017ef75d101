//! Latencies, gathered and told.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// The longest that is told apart.
const HIGHEST: u64 = 10 * 60 * 1_000_000_000;

/// A histogram of latencies, to three digits.
#[derive(Debug, Clone)]
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(crate) fn new() -> Self {
        let mut histogram = Histogram::new_with_bounds(1, HIGHEST, 3)
            .unwrap_or_else(|_| unreachable!("bounds are right"));
        histogram.auto(true);
        Self(histogram)
    }

    pub(crate) fn record(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(HIGHEST);
        self.0.saturating_record(nanos.clamp(1, HIGHEST));
    }

    pub(crate) fn add(&mut self, other: &Self) {
        // Both have the same bounds.
        let _ = self.0.add(&other.0);
    }

    fn points(&self) -> [(&'static str, f64); 6] {
        let millis = |nanos: u64| nanos as f64 / 1e6;
        let at = |quantile| millis(self.0.value_at_quantile(quantile));
        [
            ("p50", at(0.5)),
            ("p90", at(0.9)),
            ("p99", at(0.99)),
            ("p99.9", at(0.999)),
            ("max", millis(self.0.max())),
            ("mean", self.0.mean() / 1e6),
        ]
    }

    /// In milliseconds.
    pub(crate) fn to_json(&self) -> Value {
        self.points().into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect()
    }

    pub(crate) fn to_text(&self) -> String {
        let points = self.points().map(|(name, value)| format!("{name} {value:.2} ms"));
        points.join(", ")
    }
}
