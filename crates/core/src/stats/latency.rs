//! Histograms of the time from a request's submission to its answer.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::{Instant, RequestKind};

/// Latencies are recorded in microseconds with two significant digits, which is precise enough for a tail and keeps a
/// histogram of latencies below 16 ms at 7 KiB.
const DIGITS: u8 = 2;

/// The longest latency that is told apart, in microseconds: one hour. It limits a histogram to 26 KiB.
const LONGEST: u64 = 3_600_000_000;

/// The latencies of a client's requests, by kind, since the client was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Latency {
    /// The latencies of commands.
    pub commands: Histogram,
    /// The latencies of queries.
    pub queries: Histogram,
}

impl Latency {
    /// Returns the latencies that were added since `earlier`, or `None` if `earlier` is not an earlier state of the same
    /// client's.
    pub fn since(&self, earlier: &Self) -> Option<Self> {
        let commands = self.commands.since(&earlier.commands)?;
        Some(Self { commands, queries: self.queries.since(&earlier.queries)? })
    }

    fn of(&mut self, kind: RequestKind) -> &mut Histogram {
        match kind {
            RequestKind::Command => &mut self.commands,
            RequestKind::Query => &mut self.queries,
        }
    }
}

/// How long requests took from their submission to their answer.
///
/// A latency begins when the client takes the request into its queue, so it includes the time in the queue, resends and
/// changes of the leader. It ends when the answer was read from the socket. Only requests whose callers got an answer
/// are counted: a request that failed or timed out is counted in [`Stats`](super::Stats) alone.
///
/// Values are exact to 1 % or 1 µs, whichever is more. A latency above one hour counts as one hour.
#[derive(Clone, Default, PartialEq)]
pub struct Histogram {
    /// `None` until the first latency, so that an idle client holds no memory for it.
    counts: Option<hdrhistogram::Histogram<u64>>,
}

impl Eq for Histogram {}

impl Histogram {
    /// Returns the number of latencies.
    pub fn count(&self) -> u64 {
        self.counts.as_ref().map_or(0, hdrhistogram::Histogram::len)
    }

    /// Returns the shortest latency, or `None` if there is none.
    pub fn min(&self) -> Option<Duration> {
        self.recorded().map(|counts| Duration::from_micros(counts.min()))
    }

    /// Returns the mean of the latencies, or `None` if there is none.
    pub fn mean(&self) -> Option<Duration> {
        self.recorded().map(|counts| Duration::from_nanos((counts.mean() * 1e3) as u64))
    }

    /// Returns the longest latency, or `None` if there is none.
    pub fn max(&self) -> Option<Duration> {
        self.recorded().map(|counts| Duration::from_micros(counts.max()))
    }

    /// Returns the latency that this part of all latencies does not exceed, or `None` if there is none. `quantile` runs
    /// from 0 to 1: 0.99 is the 99th percentile. A number outside counts as the nearest of the two.
    pub fn value_at_quantile(&self, quantile: f64) -> Option<Duration> {
        self.recorded()
            .map(|counts| Duration::from_micros(counts.value_at_quantile(quantile.clamp(0.0, 1.0))))
    }

    /// Returns the latencies that were added since `earlier`, or `None` if `earlier` is not an earlier state of the same
    /// histogram.
    pub fn since(&self, earlier: &Self) -> Option<Self> {
        let Some(earlier) = earlier.recorded() else { return Some(self.clone()) };
        let mut counts = self.counts.clone()?;
        counts.subtract(earlier).ok()?;
        Some(Self { counts: Some(counts) })
    }

    /// Returns count, extremes, mean and percentiles by name. The names are the same in every language; times are in
    /// milliseconds. A value is `None` if there is no latency yet.
    pub fn figures(&self) -> [(&'static str, Option<f64>); 8] {
        let millis = |time: Option<Duration>| time.map(|time| time.as_secs_f64() * 1e3);
        let at = |quantile| millis(self.value_at_quantile(quantile));
        [
            ("count", Some(self.count() as f64)),
            ("min", millis(self.min())),
            ("mean", millis(self.mean())),
            ("max", millis(self.max())),
            ("p50", at(0.5)),
            ("p90", at(0.9)),
            ("p99", at(0.99)),
            ("p999", at(0.999)),
        ]
    }

    /// Returns the histogram if it has a latency.
    fn recorded(&self) -> Option<&hdrhistogram::Histogram<u64>> {
        self.counts.as_ref().filter(|counts| !counts.is_empty())
    }

    fn record(&mut self, nanos: u64, count: u64) {
        let micros = (nanos / 1000).min(LONGEST);
        if self.counts.is_none() {
            // It grows with the longest latency.
            self.counts = hdrhistogram::Histogram::new(DIGITS).ok();
        }
        if let Some(counts) = &mut self.counts {
            // Fails only without growth.
            let _ = counts.record_n(micros, count);
        }
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.figures()).finish()
    }
}

/// The histograms of one client, shared by its machine and every [`Stats`](super::Stats) of it.
#[derive(Clone, Default)]
pub(crate) struct Shared(Arc<Mutex<Latency>>);

impl Shared {
    pub(super) fn latest(&self) -> Latency {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.latest().fmt(f)
    }
}

impl PartialEq for Shared {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.latest() == other.latest()
    }
}

impl Eq for Shared {}

/// The machine's side of the histograms.
///
/// Requests that were submitted together and answered together have the same latency, so it is counted before it is
/// recorded. Recording takes a lock, which only a reader of the histograms ever holds besides.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    shared: Shared,
    runs: [Run; 2],
}

/// Requests with the same latency.
#[derive(Debug, Clone, Copy, Default)]
struct Run {
    /// Their latency in nanoseconds.
    nanos: u64,
    count: u64,
}

impl Recorder {
    pub(super) fn shared(&self) -> Shared {
        self.shared.clone()
    }

    /// Adds the latency of a request.
    #[inline]
    pub(crate) fn answered(&mut self, kind: RequestKind, submitted_at: Instant, now: Instant) {
        let nanos = now.as_nanos().saturating_sub(submitted_at.as_nanos());
        let run = &mut self.runs[kind.index()];
        if run.nanos == nanos {
            run.count += 1;
        } else {
            let ended = std::mem::replace(run, Run { nanos, count: 1 });
            self.record(kind, ended);
        }
    }

    /// Makes every latency visible in the histograms.
    #[inline]
    pub(crate) fn publish(&mut self) {
        for kind in RequestKind::BOTH {
            let run = &mut self.runs[kind.index()];
            if run.count > 0 {
                let ended = std::mem::take(run);
                self.record(kind, ended);
            }
        }
    }

    #[inline(never)]
    fn record(&self, kind: RequestKind, run: Run) {
        if run.count > 0 {
            let mut latency = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
            latency.of(kind).record(run.nanos, run.count);
        }
    }
}
