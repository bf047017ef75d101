//! The result of the demo.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use bytes::Bytes;
use serde_json::{Value, json};
use zraft_client::Stats;
use zraft_test_server::{Audit, Execution};

use crate::latency::Latencies;

/// A command that was answered.
#[derive(Debug)]
pub struct Acknowledged {
    /// The payload of the command. Each command has another one.
    pub payload: Bytes,
    /// The position in the log that the answer names.
    pub position: u64,
}

/// The comparison of the cluster's journal with the answers that the application got.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Answered commands that the journal has exactly once, at the position in the answer.
    pub applied_once: u64,
    /// Executions of a command after its first.
    pub applied_twice: u64,
    /// Answered commands that the journal does not have at the position in the answer.
    pub lost: u64,
    /// Commands that the journal has and that were never answered.
    pub unacknowledged: u64,
    /// Executions that the journal has dropped.
    pub forgotten: u64,
}

impl Comparison {
    /// Compares the answered commands with a journal that has dropped `forgotten` executions.
    pub fn new(acknowledged: &[Acknowledged], journal: &[Execution], forgotten: u64) -> Self {
        let mut audit = Audit::default();
        let mut numbers: HashMap<&[u8], u64> = HashMap::new();
        for (number, command) in (0..).zip(acknowledged) {
            numbers.insert(&command.payload, number);
            audit.answered(number, command.position);
        }
        let mut foreign = HashSet::new();
        let mut applied_twice = 0;
        for execution in journal {
            match numbers.get(&execution.payload[..]) {
                Some(number) => audit.executed(*number, execution.position),
                None => applied_twice += u64::from(!foreign.insert(&execution.payload[..])),
            }
        }
        let findings = audit.finish();
        Self {
            applied_once: findings.applied_once,
            applied_twice: applied_twice + findings.doubled,
            lost: findings.lost,
            unacknowledged: foreign.len() as u64,
            forgotten,
        }
    }
}

/// The result of the demo.
#[derive(Debug)]
pub struct Report {
    /// The seed of the cluster's random choices.
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
    /// The comparison of the journal with the answers.
    pub comparison: Comparison,
    /// The time from the first command to the last answer.
    pub took: Duration,
    /// The times from submitting a command to its answer.
    pub latencies: Latencies,
}

impl Report {
    /// Returns true if the journal equals the answered commands and no command ended with an error.
    pub fn holds(&self) -> bool {
        let comparison = &self.comparison;
        comparison.applied_once == self.wanted
            && self.acknowledged == self.wanted
            && self.errors == 0
            && comparison.applied_twice == 0
            && comparison.lost == 0
            && comparison.unacknowledged == 0
            && comparison.forgotten == 0
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
            "each command was applied exactly once: the journal equals the acknowledged commands"
        } else {
            "FAILED: the journal does not equal the acknowledged commands"
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
    use zraft_protocol::{MemberId, Payload, RequestId, SessionId};

    fn execution(position: u64, payload: &'static str) -> Execution {
        Execution {
            position,
            session: SessionId::new("s").unwrap(),
            request_id: RequestId::FIRST,
            payload: Payload::new(payload).unwrap(),
            member: MemberId::new("node-1").unwrap(),
        }
    }

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
        let journal = [
            execution(0, "a"),
            execution(1, "b"),
            execution(2, "b"),
            execution(4, "c"),
            execution(5, "x"),
        ];
        let expected = Comparison {
            applied_once: 1,
            applied_twice: 1,
            lost: 2,
            unacknowledged: 1,
            forgotten: 0,
        };
        assert_eq!(Comparison::new(&answered, &journal, 0), expected);
    }
}
