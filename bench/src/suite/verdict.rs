//! Compares the stored figures with the bounds that must hold and with the goals.

use serde_json::{Value, json};

use super::Part;
use super::figures::{Figure, difference, figure, ratio, rows, same};

/// A figure and its bounds.
#[derive(Debug)]
pub(super) struct Verdict {
    /// The part that holds the figure. Parts may come from different machines and commits.
    pub(super) part: Part,
    pub(super) what: &'static str,
    pub(super) figure: Figure,
    pub(super) digits: usize,
    at_least: bool,
    pub(super) must: Option<f64>,
    pub(super) goal: Option<f64>,
}

impl Verdict {
    /// Returns true if the median is on the right side of the bound.
    pub(super) fn keeps(&self, bound: f64) -> bool {
        match self.at_least {
            true => self.figure.median >= bound,
            false => self.figure.median <= bound,
        }
    }

    pub(super) fn bound(&self, bound: f64) -> String {
        format!("{} {bound}", if self.at_least { "at least" } else { "at most" })
    }
}

/// Returns a verdict for each bound for which there are figures.
pub(super) fn of(results: &Value) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    let mut judge = |part, what, figure: Option<Figure>, digits, at_least, must, goal| {
        if let Some(figure) = figure {
            verdicts.push(Verdict { part, what, figure, digits, at_least, must, goal });
        }
    };
    let against = |part: &str, at: Value, reference: &str, name: &str| {
        let row = find(results, part, &at)?;
        ratio(row, same(rows(results, part), row, reference)?, name)
    };
    let full = json!({ "inFlight": 1024 });
    let count = |what: &str| figure(find(results, "counts", &json!({ "what": what }))?, "value");

    let what = "codec: instructions for a request of 64 bytes and its response";
    judge(Part::Counts, what, count("codec"), 0, false, Some(400.0), None);
    let what = "core: instructions of a command with 1,000,000 pending against 1";
    judge(Part::Counts, what, count("core.growth"), 3, false, Some(1.1), None);
    let what = "1,024 in flight: rate against the bare ZMTP echo";
    let rate = against("closed", full.clone(), "zmtp", "rate");
    judge(Part::Closed, what, rate, 2, true, Some(0.5), Some(0.7));
    let of_batch = |row: &Value| {
        let batch = same(rows(results, "closed"), row, "batch")?;
        ratio(batch, same(rows(results, "closed"), row, "zmtp")?, "rate")
    };
    let batch = find(results, "closed", &full).and_then(of_batch);
    let what = "1,024 in flight by submit_commands: rate against the bare ZMTP echo";
    judge(Part::Closed, what, batch, 2, true, Some(0.85), None);
    let what = "1,024 in flight: CPU against the bare ZMTP echo";
    let cpu = against("closed", full, "zmtp", "cpu");
    judge(Part::Closed, what, cpu, 2, false, Some(2.5), Some(1.6));
    let what = "one in flight: p50 against the bare ZMTP echo";
    let one = against("closed", json!({ "inFlight": 1 }), "zmtp", "p50");
    judge(Part::Closed, what, one, 2, false, Some(1.4), Some(1.2));
    let what = "CPU against libzmq's bare echo, the worst of all numbers in flight";
    let worst = rows(results, "closed")
        .iter()
        .filter(|row| row["contender"] == "zraft")
        .filter_map(|row| ratio(row, same(rows(results, "closed"), row, "libzmq")?, "cpu"))
        .max_by(|one, other| one.median.total_cmp(&other.median));
    judge(Part::Closed, what, worst, 2, false, Some(1.0), None);
    let what = "payloads of 1 MiB: bandwidth against raw TCP";
    let large = against("payload", json!({ "payload": 1 << 20, "inFlight": 8 }), "tcp", "rate");
    judge(Part::Payload, what, large, 2, true, Some(0.35), Some(0.5));

    let many = find(results, "sessions", &json!({ "sessions": 10_000 }));
    let of_many = |name: &str| figure(many?, name);
    let what = "10,000 sessions: KiB of each when idle";
    judge(Part::Sessions, what, of_many("kib_per_session"), 1, false, Some(16.0), None);
    let what = "10,000 sessions: seconds until all are connected";
    judge(Part::Sessions, what, of_many("connect_seconds"), 1, false, Some(15.0), None);
    let what = "10,000 sessions: connected after being idle";
    judge(Part::Sessions, what, of_many("connected_after_idle"), 0, true, Some(10_000.0), None);
    let what = "10,000 sessions: reconnects";
    judge(Part::Sessions, what, of_many("reconnects"), 0, false, Some(0.0), None);
    let what =
        "10,000 sessions: the longest time between two KeepAlives of one, of keepAliveInterval";
    let late = many.and_then(|row| {
        let interval = row["rounds"][0]["keep_alive_interval"].as_f64()?;
        let of = |seconds| seconds / interval;
        let Figure { median, least, most } = figure(row, "gap_most")?;
        Some(Figure { median: of(median), least: of(least), most: of(most) })
    });
    judge(Part::Sessions, what, late, 2, false, Some(1.25), None);

    let half = rows(results, "open")
        .iter()
        .find(|row| row["contender"] == "zraft" && row["at"]["part"] == json!(0.5));
    let what = "open loop at half of the most: p99 against the bare ZMTP echo";
    let slower = half.and_then(|row| ratio(row, same(rows(results, "open"), row, "zmtp")?, "p99"));
    judge(Part::Open, what, slower, 2, false, Some(3.0), None);
    for (rate, what) in [
        (1_000.0, "1,000 requests a second: p99 more than the bare ZMTP echo's, ms"),
        (10_000.0, "10,000 requests a second: p99 more than the bare ZMTP echo's, ms"),
        (100_000.0, "100,000 requests a second: p99 more than the bare ZMTP echo's, ms"),
    ] {
        let more = rows(results, "open")
            .iter()
            .find(|row| row["contender"] == "zraft" && row["at"]["rate"] == json!(rate))
            .and_then(|row| difference(row, same(rows(results, "open"), row, "zmtp")?, "p99"))
            .map(|Figure { median, least, most }| Figure {
                median: median / 1e3,
                least: least / 1e3,
                most: most / 1e3,
            });
        judge(Part::Open, what, more, 3, false, Some(1.0), None);
    }

    let what = "60 s at full load, then idle: MiB more than after warming up";
    let memory = find(results, "memory", &json!({}));
    let rose = memory.and_then(|row| {
        let (warm, end) = (figure(row, "warm_mib")?, figure(row, "end_mib")?);
        Figure::of([end.median - warm.median])
    });
    judge(Part::Memory, what, rose, 1, false, Some(10.0), None);
    verdicts
}

/// Returns the client's row of a part with these settings.
fn find<'a>(results: &'a Value, part: &str, at: &Value) -> Option<&'a Value> {
    rows(results, part).iter().find(|row| row["contender"] == "zraft" && row["at"] == *at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(rate: f64) -> Value {
        let row = |contender: &str, rate: f64| json!({ "contender": contender, "at": { "inFlight": 1024 }, "rounds": [{ "rate": rate }] });
        json!({ "closed": { "rows": [row("zmtp", 100.0), row("zraft", rate)] } })
    }

    #[test]
    fn only_measured_figures_are_compared_with_their_bounds() {
        for (rate, must, goal) in [(40.0, false, false), (50.0, true, false), (70.0, true, true)] {
            let verdicts = of(&closed(rate));
            let [verdict] = &verdicts[..] else { panic!("{verdicts:?}") };
            assert!(verdict.what.contains("rate"));
            assert_eq!(verdict.must.map(|bound| verdict.keeps(bound)), Some(must));
            assert_eq!(verdict.goal.map(|bound| verdict.keeps(bound)), Some(goal));
        }
    }

    #[test]
    fn late_keep_alive_breaks_its_bound() {
        let at = json!({ "sessions": 10_000 });
        let round = json!({ "keep_alive_interval": 2, "gap_most": 3.0 });
        let row = json!({ "contender": "zraft", "at": at, "rounds": [round] });
        let verdicts = of(&json!({ "sessions": { "rows": [row] } }));
        let [verdict] = &verdicts[..] else { panic!("{verdicts:?}") };
        assert_eq!(
            (verdict.figure.median, verdict.must.map(|must| verdict.keeps(must))),
            (1.5, Some(false))
        );
    }
}
