//! Writes the tables of BENCHMARKS.md, between its markers.

use std::{fmt::Write, io};

use serde_json::Value;

use super::{
    Part,
    figures::{Figure, difference, figure, ratio, rows, same},
    verdict,
};
use crate::budget;

const BEGIN: &str = "<!-- bench:begin -->";
const END: &str = "<!-- bench:end -->";

/// Writes the tables between the markers.
pub(super) fn write(tables: &str) -> io::Result<()> {
    let file = budget::root().join("BENCHMARKS.md");
    let document = std::fs::read_to_string(&file)?;
    let (before, rest) = document
        .split_once(BEGIN)
        .ok_or_else(|| io::Error::other("BENCHMARKS.md has no markers"))?;
    let (_, after) =
        rest.split_once(END).ok_or_else(|| io::Error::other("BENCHMARKS.md has no end marker"))?;
    std::fs::write(file, format!("{before}{BEGIN}\n{tables}\n{END}{after}"))
}

fn name(contender: &str) -> &str {
    match contender {
        "tcp" => "raw TCP echo",
        "zmtp" => "bare ZMTP echo",
        "zraft" => "zraft-client",
        "batch" => "zraft-client, submit_commands",
        "embedded" => "zraft-client, embedded server",
        "libzmq" => "libzmq CLIENT echo",
        other => other,
    }
}

/// Formats a number with commas and `digits` digits after the point.
fn number(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    let (whole, rest) = text.split_once('.').map_or((&text[..], ""), |(whole, rest)| (whole, rest));
    let mut out = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > usize::from(value < 0.0) && (whole.len() - place) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    if !rest.is_empty() {
        out.push('.');
        out.push_str(rest);
    }
    out
}

/// Formats a median with the minimum and the maximum.
fn spread(figure: Option<Figure>, digits: usize) -> String {
    figure.map_or_else(String::new, |Figure { median, least, most }| {
        let number = |value| number(value, digits);
        if least == most {
            number(median)
        } else {
            format!("{} ({}–{})", number(median), number(least), number(most))
        }
    })
}

fn plain(figure: Option<Figure>, digits: usize) -> String {
    figure.map_or_else(String::new, |figure| number(figure.median, digits))
}

fn table(heads: &[&str], lines: Vec<Vec<String>>) -> String {
    let mut out = format!("| {} |\n|{}\n", heads.join(" | "), " --- |".repeat(heads.len()));
    for line in lines {
        let _ = writeln!(out, "| {} |", line.join(" | "));
    }
    out
}

fn at(row: &Value, name: &str) -> String {
    match &row["at"][name] {
        Value::Number(value) => number(value.as_f64().unwrap_or(0.0), 0),
        Value::String(text) => text.clone(),
        _ => String::new(),
    }
}

/// Describes the machine and the commit with which a part was measured.
fn conditions(results: &Value, part: Part) -> String {
    let conditions = &results[part.name()]["conditions"];
    let text = |name: &str| conditions[name].as_str().unwrap_or("?").to_owned();
    format!(
        "{} cores of {}, {}, {}, commit {}; load average {} at the end, rounds: {}.\n",
        conditions["cores"],
        text("cpu"),
        text("system"),
        text("rust"),
        text("commit"),
        conditions["loadAverage"],
        conditions["rounds"],
    )
}

/// Names the commit and the machine with which a part was measured. They may differ within one table, because a report
/// keeps the parts that were not measured this time.
fn source(results: &Value, part: Part) -> String {
    let conditions = &results[part.name()]["conditions"];
    let text = |name: &str| conditions[name].as_str().unwrap_or("?");
    match conditions["cores"].as_u64() {
        Some(cores) => format!("{}, {cores} cores of {}", text("commit"), text("cpu")),
        None => "unknown".to_owned(),
    }
}

/// Returns all tables.
pub(super) fn tables(results: &Value) -> String {
    let mut out = String::new();
    for part in Part::ALL {
        if rows(results, part.name()).is_empty() {
            continue;
        }
        let (title, text) = match part {
            Part::Closed => ("In flight", closed(results)),
            Part::Threads => {
                ("Runtimes with two threads", against(results, part, &["threads", "inFlight"]))
            }
            Part::Mix => ("Commands and queries", against(results, part, &["mix", "inFlight"])),
            Part::Payload => ("Payloads", payload(results)),
            Part::Open => ("Open loop", open(results)),
            Part::Pending => ("Codec and machine alone", pending(results)),
            Part::Sessions => ("Sessions in one process", sessions(results)),
            Part::Memory => ("Memory under load and after it", memory(results)),
            Part::Counts => ("Counts", counts(results)),
        };
        let _ = writeln!(out, "### {title}\n\n{}\n{text}", conditions(results, part));
    }
    let judged = verdict::of(results);
    if !judged.is_empty() {
        let lines = judged.iter().map(|one| {
            let bound = |bound: Option<f64>| bound.map(|bound| one.bound(bound));
            let kept = |bound: Option<f64>| match bound.map(|bound| one.keeps(bound)) {
                Some(true) => "yes".to_owned(),
                Some(false) => "**no**".to_owned(),
                None => String::new(),
            };
            vec![
                one.what.to_owned(),
                spread(Some(one.figure), one.digits),
                bound(one.must).unwrap_or_default(),
                kept(one.must),
                bound(one.goal).unwrap_or_default(),
                kept(one.goal),
                source(results, one.part),
            ]
        });
        let heads =
            ["what", "median (least–most)", "must", "holds", "goal", "reached", "measured at"];
        let _ = writeln!(out, "### Bounds and goals\n\n{}", table(&heads, lines.collect()));
    }
    out.trim_end().to_owned()
}

fn closed(results: &Value) -> String {
    let rows = rows(results, "closed");
    let lines = rows.iter().map(|row| {
        let bare = same(rows, row, "zmtp").unwrap_or(row);
        vec![
            at(row, "inFlight"),
            name(row["contender"].as_str().unwrap_or_default()).to_owned(),
            spread(figure(row, "rate"), 0),
            spread(figure(row, "cpu"), 3),
            plain(figure(row, "p50"), 1),
            plain(figure(row, "p99"), 1),
            plain(figure(row, "p999"), 1),
            plain(ratio(row, bare, "rate"), 2),
            plain(ratio(row, bare, "cpu"), 2),
            plain(ratio(row, bare, "p50"), 2),
        ]
    });
    let heads = [
        "in flight",
        "contender",
        "requests/s",
        "CPU µs/request",
        "p50 µs",
        "p99",
        "p99.9",
        "rate : bare",
        "CPU : bare",
        "p50 : bare",
    ];
    format!(
        "{}\n![throughput against requests in flight](bench/results/throughput.svg)\n\n\
         ![CPU per request against requests in flight](bench/results/cpu.svg)\n",
        table(&heads, lines.collect()),
    )
}

fn against(results: &Value, part: Part, settings: &[&str]) -> String {
    let rows = rows(results, part.name());
    let lines = rows.iter().map(|row| {
        let bare = same(rows, row, "zmtp").unwrap_or(row);
        let mut line: Vec<String> = settings.iter().map(|setting| at(row, setting)).collect();
        line.extend([
            name(row["contender"].as_str().unwrap_or_default()).to_owned(),
            spread(figure(row, "rate"), 0),
            spread(figure(row, "cpu"), 3),
            plain(figure(row, "p50"), 1),
            plain(figure(row, "p99"), 1),
            plain(ratio(row, bare, "rate"), 2),
            plain(ratio(row, bare, "cpu"), 2),
        ]);
        line
    });
    let mut heads = settings
        .iter()
        .map(|setting| if *setting == "inFlight" { "in flight" } else { setting })
        .collect::<Vec<_>>();
    heads.extend([
        "contender",
        "requests/s",
        "CPU µs/request",
        "p50 µs",
        "p99",
        "rate : bare",
        "CPU : bare",
    ]);
    table(&heads, lines.collect())
}

fn payload(results: &Value) -> String {
    let rows = rows(results, "payload");
    let lines = rows.iter().map(|row| {
        let raw = same(rows, row, "tcp").unwrap_or(row);
        let bytes = row["at"]["payload"].as_f64().unwrap_or(0.0);
        vec![
            at(row, "payload"),
            at(row, "inFlight"),
            name(row["contender"].as_str().unwrap_or_default()).to_owned(),
            spread(figure(row, "rate"), 0),
            number(figure(row, "rate").map_or(0.0, |rate| rate.median) * bytes / 1e6, 0),
            plain(figure(row, "cpu"), 2),
            plain(figure(row, "p50"), 1),
            plain(ratio(row, raw, "rate"), 2),
        ]
    });
    let heads = [
        "bytes",
        "in flight",
        "contender",
        "requests/s",
        "MB/s each way",
        "CPU µs/request",
        "p50 µs",
        "rate : raw TCP",
    ];
    table(&heads, lines.collect())
}

fn open(results: &Value) -> String {
    let rows = rows(results, "open");
    let lines = rows.iter().map(|row| {
        let bare = same(rows, row, "zmtp").unwrap_or(row);
        let part = row["at"]["part"].as_f64();
        vec![
            at(row, "rate"),
            part.map_or_else(String::new, |part| format!("{} %", number(part * 100.0, 0))),
            name(row["contender"].as_str().unwrap_or_default()).to_owned(),
            spread(figure(row, "p50"), 1),
            spread(figure(row, "p99"), 1),
            plain(figure(row, "p999"), 1),
            plain(ratio(row, bare, "p99"), 2),
            plain(difference(row, bare, "p99"), 1),
        ]
    });
    let heads = [
        "requests/s",
        "of the closed loop's maximum",
        "contender",
        "p50 µs",
        "p99",
        "p99.9",
        "p99 : bare",
        "p99 − bare, µs",
    ];
    format!(
        "{}\n![latency against rate](bench/results/latency.svg)\n",
        table(&heads, lines.collect()),
    )
}

fn pending(results: &Value) -> String {
    let lines = rows(results, "pending").iter().map(|row| {
        let what = row["at"]["what"].as_str().unwrap_or_default();
        let pending = if what == "codec" { String::new() } else { at(row, "pending") };
        vec![what.to_owned(), pending, spread(figure(row, "nanos"), 1)]
    });
    format!(
        "{}\n![cost against pending](bench/results/pending.svg)\n",
        table(&["what", "pending", "ns each"], lines.collect()),
    )
}

fn sessions(results: &Value) -> String {
    let lines = rows(results, "sessions").iter().map(|row| {
        vec![
            at(row, "sessions"),
            spread(figure(row, "connect_seconds"), 3),
            spread(figure(row, "kib_per_session"), 1),
            plain(figure(row, "idle_cpu_percent"), 1),
            plain(figure(row, "connected_after_idle"), 0),
            plain(figure(row, "reconnects"), 0),
            plain(figure(row, "keep_alive_interval"), 0),
            spread(figure(row, "gap_p99"), 3),
            spread(figure(row, "gap_most"), 3),
            spread(figure(row, "rate"), 0),
            plain(figure(row, "cpu"), 2),
        ]
    });
    let heads = [
        "sessions",
        "all connected after, s",
        "KiB each, idle",
        "CPU when idle, % of a core",
        "connected after being idle",
        "reconnects",
        "KeepAlives every, s",
        "99 of 100 after, s",
        "all after, s",
        "commands/s",
        "CPU µs/command",
    ];
    table(&heads, lines.collect())
}

fn memory(results: &Value) -> String {
    let lines = rows(results, "memory").iter().map(|row| {
        vec![
            plain(figure(row, "requests"), 0),
            plain(figure(row, "warm_mib"), 1),
            plain(figure(row, "end_mib"), 1),
        ]
    });
    format!(
        "{}\n![resident memory against time](bench/results/memory.svg)\n",
        table(&["requests", "MiB after warm-up", "MiB at the end"], lines.collect()),
    )
}

fn counts(results: &Value) -> String {
    let limits = budget::load().unwrap_or_default();
    let lines = rows(results, "counts").iter().map(|row| {
        let what = row["at"]["what"].as_str().unwrap_or_default();
        let limit = budget::limit(&limits, what);
        let digits = if what == "core.growth" { 3 } else { 1 };
        let unit = match what {
            "core.growth" => "times the instructions with 1,000,000 pending as with 1",
            "client.perThousandCommands" => "system calls per 1,000 commands, 1,024 in flight",
            "client.command" => "instructions of the client process per command, 1,024 in flight",
            "session.command" => "instructions: an entry encoded, decoded and applied",
            "leader.command" => {
                "instructions of the leader of three members per command, 64 in flight"
            }
            "follower.command" => "instructions of a follower per command, 64 in flight",
            "members.perCommand" => "log entries per command, each sent three times",
            "members.perThousandCommands" => {
                "fsyncs of three members per 1,000 commands, 64 in flight"
            }
            "codec" => "instructions: a request of 64 bytes encoded, its response decoded",
            _ => "instructions each",
        };
        vec![
            what.to_owned(),
            unit.to_owned(),
            plain(figure(row, "value"), digits),
            limit.map(|limit| number(limit, usize::from(limit.fract() > 0.0))).unwrap_or_default(),
        ]
    });
    table(&["what", "unit", "count", "budget"], lines.collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_have_commas_between_thousands() {
        assert_eq!(number(1_234_567.0, 0), "1,234,567");
        assert_eq!(number(-1_234.5, 1), "-1,234.5");
        assert_eq!(number(-123.0, 0), "-123");
        assert_eq!(number(0.25, 2), "0.25");
    }

    #[test]
    fn each_verdict_names_the_commit_and_the_machine_of_its_part() {
        let row = |contender: &str, at: Value, rate: f64| json!({ "contender": contender, "at": at, "rounds": [{ "rate": rate }] });
        let part = |at: Value, reference: &str, conditions: Value| {
            let rows = [row(reference, at.clone(), 100.0), row("zraft", at, 60.0)];
            json!({ "rows": rows, "conditions": conditions })
        };
        let new = json!({ "commit": "new", "cores": 2, "cpu": "this processor" });
        let old = json!({ "commit": "old", "cores": 64, "cpu": "another processor" });
        let mut results = json!({
            "closed": part(json!({ "inFlight": 1024 }), "zmtp", new),
            "payload": part(json!({ "payload": 1 << 20, "inFlight": 8 }), "tcp", old),
        });
        let verdicts = |results: &Value| {
            let text = tables(results);
            let (_, judged) = text.split_once("### Bounds and goals").unwrap();
            judged.lines().map(str::to_owned).collect::<Vec<_>>()
        };
        let of = |lines: &[String], what: &str| {
            lines.iter().find(|line| line.contains(what)).unwrap().clone()
        };
        let lines = verdicts(&results);
        let rate = of(&lines, "1,024 in flight: rate");
        assert!(rate.ends_with("| new, 2 cores of this processor |"), "{rate}");
        let bandwidth = of(&lines, "payloads of 1 MiB");
        assert!(bandwidth.ends_with("| old, 64 cores of another processor |"), "{bandwidth}");
        results["payload"]["conditions"] = Value::Null;
        let bandwidth = of(&verdicts(&results), "payloads of 1 MiB");
        assert!(bandwidth.ends_with("| unknown |"), "{bandwidth}");
    }

    #[test]
    fn part_is_reported_with_its_reference_and_its_machine() {
        let round =
            |rate: f64| json!({ "rate": rate, "cpu": 1.0, "p50": 1.0, "p99": 1.0, "p999": 1.0 });
        let row = |contender: &str, rates: [f64; 2]| json!({ "contender": contender, "at": { "inFlight": 64 }, "rounds": rates.map(round) });
        let results = json!({ "closed": {
            "rows": [row("zmtp", [2000.0, 4000.0]), row("zraft", [1000.0, 2000.0])],
            "conditions": { "cores": 2, "cpu": "a processor", "commit": "abc" },
        } });
        let text = tables(&results);
        assert!(text.contains("| 64 | zraft-client | 1,500 (1,000–2,000) |"), "{text}");
        assert!(text.contains("| 0.50 | 1.00 | 1.00 |"), "{text}");
        assert!(text.contains("2 cores of a processor"), "{text}");
    }
}
