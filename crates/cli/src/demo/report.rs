//! The result of the demo.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use bytes::Bytes;
use serde_json::{Value, json};
use zraft_client::Stats;
use zraft_test_server::Audit;

use crate::latency::Latencies;

/// A command that was answered.
#[derive(Debug)]
pub struct Acknowledged {
    /// The payload of the command. Each command has another one.
    pub payload: Bytes,
    /// The position in the log that the answer names.
    pub position: u64,
}

/// The comparison of the replicated log with the answers that the application got.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Answered commands that the log has exactly once, at the position in the answer.
    pub applied_once: u64,
    /// Executions of a command after its first.
    pub applied_twice: u64,
    /// Answered commands that the log does not have at the position in the answer.
    pub lost: u64,
    /// Commands that the log has and that were never answered.
    pub unacknowledged: u64,
}

impl Comparison {
    /// Compares the answered commands with the items of the log, in order.
    pub fn new(acknowledged: &[Acknowledged], log: &[Bytes]) -> Self {
        let mut audit = Audit::default();
        let mut numbers: HashMap<&[u8], u64> = HashMap::new();
        for (number, command) in (0..).zip(acknowledged) {
            numbers.insert(&command.payload, number);
            audit.answered(number, command.position);
        }
        let mut foreign = HashSet::new();
        let mut applied_twice = 0;
        for (position, item) in (0..).zip(log) {
            match numbers.get(&item[..]) {
                Some(number) => audit.executed(*number, position),
                None => applied_twice += u64::from(!foreign.insert(&item[..])),
            }
        }
        let findings = audit.finish();
        Self {
            applied_once: findings.applied_once,
            applied_twice: applied_twice + findings.doubled,
            lost: findings.lost,
            unacknowledged: foreign.len() as u64,
        }
    }
}

/// The result of the demo.
#[derive(Debug)]
pub struct Report {
    /// The seed of the moments at which the leader was lost.
    pub seed: u64,
    /// The number of concurrent sessions.
    pub sessions: u64,
    /// The leaders in order, from the start on.
    pub leaders: Vec<String>,
    /// The number of commands submitted.
    pub wanted: u64,
    /// The number of commands answered.
    pub acknowledged: u64,
    /// The number of commands that ended with an error.
    pub errors: u64,
    /// The statistics of each session's client.
    pub stats: Vec<Stats>,
    /// True if all members had the same state at the end, the reopened one included.
    pub members_equal: bool,
    /// The comparison of the log with the answers.
    pub comparison: Comparison,
    /// The time from the first command to the last answer.
    pub took: Duration,
    /// The times from submitting a command to its answer.
    pub latencies: Latencies,
}

impl Report {
    /// Returns true if the log equals the answered commands, no command ended with an error, and the members are equal.
    pub fn holds(&self) -> bool {
        let comparison = &self.comparison;
        comparison.applied_once == self.wanted
            && self.acknowledged == self.wanted
            && self.errors == 0
            && comparison.applied_twice == 0
            && comparison.lost == 0
            && comparison.unacknowledged == 0
            && self.members_equal
    }

    fn sum(&self, count: fn(&Stats) -> u64) -> u64 {
        self.stats.iter().map(count).sum()
    }

    fn throughput(&self) -> f64 {
        self.acknowledged as f64 / self.took.as_secs_f64()
    }

    fn leader_changes(&self) -> usize {
        self.leaders.len() - 1
    }

    /// Returns the result as one JSON object.
    pub fn to_json(&self) -> Value {
        json!({
            "seed": self.seed,
            "holds": self.holds(),
            "sessions": self.sessions,
            "leaders": self.leaders,
            "leaderChanges": self.leader_changes(),
            "reconnects": self.sum(|stats| stats.reconnects),
            "commands": self.wanted,
            "sent": self.sum(|stats| stats.sent),
            "resent": self.sum(|stats| stats.resent),
            "acknowledged": self.acknowledged,
            "appliedOnce": self.comparison.applied_once,
            "appliedTwice": self.comparison.applied_twice,
            "lost": self.comparison.lost,
            "unacknowledged": self.comparison.unacknowledged,
            "membersEqual": self.members_equal,
            "errors": self.errors,
            "seconds": self.took.as_secs_f64(),
            "commandsPerSecond": self.throughput(),
            "latencyMs": self.latencies.to_json(),
        })
    }

    /// Returns the result as a table for people.
    pub fn to_text(&self) -> String {
        let comparison = &self.comparison;
        let verdict = if self.holds() {
            "each command was applied exactly once: the replicated log equals the acknowledged commands"
        } else {
            "FAILED: the replicated log does not equal the acknowledged commands, or the members differ"
        };
        let rows = [
            ("sessions", self.sessions.to_string()),
            (
                "leader changes",
                format!("{} ({})", self.leader_changes(), self.leaders.join(" -> ")),
            ),
            ("reconnects", self.sum(|stats| stats.reconnects).to_string()),
            ("commands sent", self.sum(|stats| stats.sent).to_string()),
            ("resent", self.sum(|stats| stats.resent).to_string()),
            ("acknowledged", self.acknowledged.to_string()),
            ("applied once", comparison.applied_once.to_string()),
            ("applied twice", comparison.applied_twice.to_string()),
            ("lost", comparison.lost.to_string()),
            ("not acknowledged", comparison.unacknowledged.to_string()),
            ("errors", self.errors.to_string()),
            ("members equal", if self.members_equal { "yes" } else { "no" }.to_owned()),
            (
                "throughput",
                format!("{:.0} commands/s for {:.2} s", self.throughput(), self.took.as_secs_f64()),
            ),
            ("latency", self.latencies.to_text()),
        ];
        let mut text: String =
            rows.iter().map(|(name, value)| format!("{name:>17}  {value}\n")).collect();
        text.push_str(verdict);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acknowledged(position: u64, payload: &'static str) -> Acknowledged {
        Acknowledged { payload: Bytes::from(payload), position }
    }

    #[test]
    fn command_counts_as_applied_once_only_at_the_position_in_its_answer() {
        let answered = [
            acknowledged(0, "a"),
            acknowledged(1, "b"),
            acknowledged(3, "c"),
            acknowledged(9, "d"),
        ];
        let log = ["a", "b", "b", "x", "c", "x", "y"].map(Bytes::from);
        let expected = Comparison { applied_once: 1, applied_twice: 2, lost: 2, unacknowledged: 2 };
        assert_eq!(Comparison::new(&answered, &log), expected);
    }
}
