//! What the demo found.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use bytes::Bytes;
use serde_json::{Value, json};
use zraft_client::Stats;
use zraft_test_server::Execution;

use crate::latency::Latencies;

/// A command that was answered: what it said, and the position that the answer gave.
#[derive(Debug)]
pub struct Acknowledged {
    /// The command.
    pub payload: Bytes,
    /// Where the log has it, as answered.
    pub position: u64,
}

/// The servers' journal beside what the application was told.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Acknowledged, and in the journal exactly once, where the answer said.
    pub applied_once: u64,
    /// Executions beyond the first of a command.
    pub applied_twice: u64,
    /// Acknowledged, and not in the journal, or elsewhere than the answer said.
    pub lost: u64,
    /// In the journal, and never acknowledged.
    pub unacknowledged: u64,
    /// Executions that the journal no longer holds.
    pub forgotten: u64,
}

impl Comparison {
    /// Holds the journal, of which `forgotten` executions are gone, against the acknowledged commands. Payloads differ.
    pub fn new(acknowledged: &[Acknowledged], journal: &[Execution], forgotten: u64) -> Self {
        let mut executions: HashMap<&[u8], Vec<u64>> = HashMap::new();
        for execution in journal {
            executions.entry(&execution.payload).or_default().push(execution.position);
        }
        let mut comparison = Self { forgotten, ..Self::default() };
        let mut known = HashSet::new();
        for command in acknowledged {
            known.insert(&command.payload[..]);
            match executions.get(&command.payload[..]).map(Vec::as_slice) {
                Some([position]) if *position == command.position => comparison.applied_once += 1,
                Some(positions) if positions.contains(&command.position) => {}
                _ => comparison.lost += 1,
            }
        }
        for (payload, positions) in &executions {
            comparison.applied_twice += positions.len() as u64 - 1;
            comparison.unacknowledged += u64::from(!known.contains(payload));
        }
        comparison
    }
}

/// What the demo found.
#[derive(Debug)]
pub struct Report {
    /// What it was run with.
    pub seed: u64,
    /// How many sessions were open, side by side.
    pub sessions: u64,
    /// Who led, in turn; the first before the first loss.
    pub leaders: Vec<String>,
    /// The commands submitted.
    pub wanted: u64,
    /// The commands answered.
    pub acknowledged: u64,
    /// The commands of which the application was told an error.
    pub errors: u64,
    /// Of each session's client.
    pub stats: Vec<Stats>,
    /// The journal beside the answers.
    pub comparison: Comparison,
    /// From the first command to the last answer.
    pub took: Duration,
    /// From submitting a command to its answer.
    pub latencies: Latencies,
}

impl Report {
    /// The journal equals the acknowledged commands, and the application saw no error.
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

    /// One object.
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

    /// The same, to read.
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
    fn a_command_counts_once_only_where_its_answer_said_and_nowhere_else() {
        let told = [
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
        assert_eq!(Comparison::new(&told, &journal, 0), expected);
    }
}
