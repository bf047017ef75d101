//! The report of a run, as JSON and as text.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Map, Value, json};
use zraft_client::{RaftClient, Stats};

use crate::{load::Outcome, numbered::findings_to_json};

/// The report of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// The name of the run.
    pub name: &'static str,
    /// The time from the first command to the last outcome.
    pub took: Duration,
    /// The outcome of the commands.
    pub outcome: Outcome,
    /// The statistics of each client at the end.
    pub stats: Vec<Stats>,
    /// How often each fault was injected.
    pub faults: BTreeMap<&'static str, u64>,
    /// Further figures of this run, by JSON key.
    pub more: Vec<(&'static str, Value)>,
}

impl Report {
    /// Returns true if all commands were answered, each was executed once, and no caller got an error.
    pub fn holds(&self) -> bool {
        self.outcome.is_flawless()
    }

    /// Returns the number of copies per request, not counting the first transmission.
    pub fn resends_per_request(&self) -> f64 {
        let sum = |count: fn(&Stats) -> u64| self.stats.iter().map(count).sum::<u64>() as f64;
        sum(|stats| stats.resent) / sum(|stats| stats.sent).max(1.0)
    }

    /// Returns the report as one JSON object.
    pub fn to_json(&self) -> Value {
        let sum = |count: fn(&Stats) -> u64| self.stats.iter().map(count).sum::<u64>();
        let errors: Map<String, Value> = self
            .outcome
            .errors
            .iter()
            .map(|(code, count)| ((*code).into(), json!(count)))
            .collect();
        let faults: Map<String, Value> =
            self.faults.iter().map(|(fault, count)| ((*fault).into(), json!(count))).collect();
        let mut object = json!({
            "run": self.name,
            "holds": self.holds(),
            "seconds": self.took.as_secs_f64(),
            "submitted": self.outcome.submitted,
            "answered": self.outcome.answered,
            "errors": errors,
            "journal": findings_to_json(self.outcome.findings),
            "faults": faults,
            "reconnects": sum(|stats| stats.reconnects),
            "sent": sum(|stats| stats.sent),
            "resent": sum(|stats| stats.resent),
            "resendsPerRequest": self.resends_per_request(),
            "latencyMs": self.outcome.latencies.to_json(),
        });
        if let Value::Object(object) = &mut object {
            object
                .extend(self.more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        }
        object
    }
}

/// Returns the statistics of each client.
pub fn stats(clients: &[RaftClient]) -> Vec<Stats> {
    clients.iter().map(RaftClient::stats).collect()
}

/// Formats a report for people: one line per figure. A nested object takes one line, a long array is only counted.
pub fn to_text(report: &Value) -> String {
    let Value::Object(object) = report else { return line(report) };
    let wide = object.keys().map(String::len).max().unwrap_or_default();
    object.iter().map(|(name, value)| format!("{name:>wide$}  {}\n", line(value))).collect()
}

fn line(value: &Value) -> String {
    let rounded = |number: f64| format!("{}", (number * 1000.0).round() / 1000.0);
    match value {
        Value::Object(object) if object.is_empty() => "none".to_owned(),
        Value::Object(object) => {
            let parts: Vec<_> =
                object.iter().map(|(name, value)| format!("{name} {}", line(value))).collect();
            parts.join(", ")
        }
        Value::Array(values) if values.len() > 10 || values.iter().any(Value::is_object) => {
            format!("{} entries", values.len())
        }
        Value::Array(values) => values.iter().map(line).collect::<Vec<_>>().join(" "),
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => {
            number.as_f64().map(rounded).unwrap_or_default()
        }
        other => other.to_string(),
    }
}
