//! The report: a row for each load, with medians over the rounds.

use std::fmt::Write;

use serde_json::Value;

use super::Point;

/// Returns the median of a figure over the rounds, or 0 if no round has it.
pub(super) fn median(rounds: &[Value], system: &str, figure: &str) -> f64 {
    middle(rounds.iter().filter_map(|round| round[system][figure].as_f64()))
}

/// Returns the median over the rounds of one system's figure divided by another's in the same round.
fn ratio(rounds: &[Value], system: &str, other: &str, figure: &str) -> f64 {
    middle(
        rounds.iter().filter_map(|round| {
            Some(round[system][figure].as_f64()? / round[other][figure].as_f64()?)
        }),
    )
}

fn middle(figures: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = figures.collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

/// Returns the tables in Markdown.
pub(super) fn table(names: &[&str], found: &[(Point, Vec<Value>)], memory: &[Value]) -> String {
    let mut text = String::from(
        "| load | requests/s: zraft | etcd | zraft/etcd | Redis | p50 in ms: zraft | etcd | Redis | p99: zraft | etcd | Redis \
         | CPU of members in us: zraft | etcd | of client: zraft | etcd |\n",
    );
    text += &"| --- ".repeat(15);
    text += "|\n";
    let cell = |figure: f64, digits: usize| match figure {
        0.0 => String::new(),
        figure => format!("{figure:.digits$}"),
    };
    for (point, rounds) in found {
        let rate = |system| cell(median(rounds, system, "rate"), 0);
        let millis = |system, figure| cell(median(rounds, system, figure) / 1000.0, 2);
        let micros = |system, figure| cell(median(rounds, system, figure), 1);
        let cells = [
            point.name(),
            rate("zraft"),
            rate("etcd"),
            cell(ratio(rounds, "zraft", "etcd", "rate"), 2),
            rate("redis"),
            millis("zraft", "p50"),
            millis("etcd", "p50"),
            millis("redis", "p50"),
            millis("zraft", "p99"),
            millis("etcd", "p99"),
            millis("redis", "p99"),
            micros("zraft", "members_cpu"),
            micros("etcd", "members_cpu"),
            micros("zraft", "cpu"),
            micros("etcd", "cpu"),
        ];
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    let all: Vec<Value> = found.iter().flat_map(|(_, rounds)| rounds.clone()).collect();
    let _ = writeln!(
        text,
        "\nA page appended and synced: {:.0} a second, p50 {:.2} ms, p99 {:.2} ms.",
        median(&all, "disk", "rate"),
        median(&all, "disk", "p50") / 1000.0,
        median(&all, "disk", "p99") / 1000.0,
    );
    for (name, memory) in names.iter().zip(memory) {
        let _ = writeln!(
            text,
            "Memory of {name} in MiB: {} at the start, {} at the end.",
            memory["idle"], memory["end"]
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ratio_is_the_median_of_the_ratios_of_single_rounds() {
        let round =
            |zraft: f64, etcd: f64| json!({ "zraft": { "rate": zraft }, "etcd": { "rate": etcd } });
        let rounds = [round(30.0, 10.0), round(8.0, 4.0), round(50.0, 5.0)];
        assert_eq!(ratio(&rounds, "zraft", "etcd", "rate"), 3.0);
        assert_eq!(median(&rounds, "zraft", "rate"), 30.0);
    }
}
