//! What a run found, to print and to keep.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Map, Value, json};
use zraft_client::{RaftClient, Stats};

use crate::load::Outcome;

/// What a run found.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was run.
    pub name: &'static str,
    /// From the first command to the last answer.
    pub took: Duration,
    /// What became of the commands.
    pub outcome: Outcome,
    /// Of each session's client, at the end.
    pub stats: Vec<Stats>,
    /// What befell, and how often.
    pub faults: BTreeMap<&'static str, u64>,
    /// Further figures.
    pub more: Vec<(&'static str, Value)>,
}

impl Report {
    /// All commands were answered, each was executed once, and no caller saw an error.
    pub fn holds(&self) -> bool {
        self.outcome.is_flawless()
    }

    /// Copies sent beyond the first of each request, per request.
    pub fn resends_per_request(&self) -> f64 {
        let sum = |count: fn(&Stats) -> u64| self.stats.iter().map(count).sum::<u64>() as f64;
        sum(|stats| stats.resent) / sum(|stats| stats.sent).max(1.0)
    }

    /// One object.
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
            "journal": self.outcome.findings.to_json(),
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

/// The figures of each client.
pub fn stats(clients: &[RaftClient]) -> Vec<Stats> {
    clients.iter().map(RaftClient::stats).collect()
}

/// An object to read: one line for each figure, those of an object within it on one line.
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
