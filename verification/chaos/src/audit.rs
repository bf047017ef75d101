//! The exactly-once audit: compares the outcomes that callers were given with the commands that the servers executed.
//!
//! It runs along with the load and needs little memory. Commands are numbered 0, 1, 2 and so on and carry their number
//! in their payload. The log answers each command with its position.

use std::collections::{BTreeSet, HashMap, HashSet};

use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};
use zraft_test_server::Engine;

/// The findings of an audit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Commands executed once and answered with their position in the journal.
    pub applied_once: u64,
    /// Commands answered but not in the journal, or at another position than the answer says.
    pub lost: u64,
    /// Executions beyond the first of a command.
    pub doubled: u64,
    /// Commands reported as not executed that are in the journal.
    pub denied: u64,
    /// Commands in the journal whose callers were given outcome unknown.
    pub unknown: u64,
    /// Executions that the journal dropped before the audit read them. The audit cannot judge them.
    pub forgotten: u64,
}

impl Findings {
    /// Returns true if every promise was kept.
    pub fn hold(&self) -> bool {
        let Self { lost, doubled, denied, forgotten, .. } = *self;
        [lost, doubled, denied, forgotten] == [0; 4]
    }

    /// Returns the findings as a JSON object.
    pub fn to_json(&self) -> Value {
        let Self { applied_once, lost, doubled, denied, unknown, forgotten } = *self;
        json!({
            "appliedOnce": applied_once,
            "lost": lost,
            "doubled": doubled,
            "ranThoughDenied": denied,
            "ranOfUnknownOutcome": unknown,
            "forgotten": forgotten,
        })
    }
}

/// A running comparison. Commands on which both sides agree take no memory as long as their numbers are consecutive.
#[derive(Debug, Default)]
pub struct Audit {
    findings: Findings,
    /// The next position of the journal to read.
    next: u64,
    seen: Numbers,
    /// Executed commands whose callers have no outcome yet: number and position.
    executed: HashMap<u64, u64>,
    /// Answered commands that were not yet found in the journal: number and position.
    answered: HashMap<u64, u64>,
    /// Commands reported as not executed.
    denied: HashSet<u64>,
}

impl Audit {
    /// Reads the new entries of the journal.
    pub fn read(&mut self, engine: &Engine) {
        let journal = engine.journal();
        let first = journal.executed() - journal.len() as u64;
        self.findings.forgotten += first.saturating_sub(self.next);
        self.next = self.next.max(first);
        let fresh = usize::try_from(journal.executed() - self.next).unwrap_or(usize::MAX);
        let skip = journal.len() - fresh;
        for execution in journal.iter().skip(skip) {
            let number = number(&execution.payload).unwrap_or(u64::MAX);
            self.executed(number, execution.position);
        }
    }

    /// Records that the journal has this command at this position.
    fn executed(&mut self, number: u64, position: u64) {
        self.next = position + 1;
        if !self.seen.insert(number) {
            self.findings.doubled += 1;
            return;
        }
        if self.denied.contains(&number) {
            self.findings.denied += 1;
        }
        match self.answered.remove(&number) {
            Some(answered) => self.compare(answered, position),
            None => {
                self.executed.insert(number, position);
            }
        }
    }

    /// Records that the caller of this command was answered with this position.
    pub fn answered(&mut self, number: u64, position: u64) {
        match self.executed.remove(&number) {
            Some(executed) => self.compare(position, executed),
            None => {
                self.answered.insert(number, position);
            }
        }
    }

    /// Records that the caller of this command got an error.
    pub fn failed(&mut self, number: u64, maybe_executed: bool) {
        if !maybe_executed {
            self.denied.insert(number);
            self.findings.denied += u64::from(self.seen.contains(number));
        }
    }

    fn compare(&mut self, answered: u64, executed: u64) {
        if answered == executed {
            self.findings.applied_once += 1;
        } else {
            self.findings.lost += 1;
        }
    }

    /// Returns the findings, once no command is in progress.
    pub fn finish(mut self) -> Findings {
        self.findings.lost += self.answered.len() as u64;
        let unknown = self.executed.keys().filter(|number| !self.denied.contains(number)).count();
        self.findings.unknown = unknown as u64;
        self.findings
    }
}

/// Returns the payload of a command: its number and `padding` further bytes.
pub fn payload(number: u64, padding: usize) -> Bytes {
    let mut payload = BytesMut::zeroed(size_of::<u64>() + padding);
    payload[..size_of::<u64>()].copy_from_slice(&number.to_be_bytes());
    payload.freeze()
}

/// Returns the number in a payload, or the position in an answer.
pub fn number(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk().copied().map(u64::from_be_bytes)
}

/// A set of numbers that is compact if most of them are consecutive from 0 on.
#[derive(Debug, Default)]
struct Numbers {
    /// All numbers below this one are in the set.
    below: u64,
    others: BTreeSet<u64>,
}

impl Numbers {
    fn insert(&mut self, number: u64) -> bool {
        if self.contains(number) {
            return false;
        }
        self.others.insert(number);
        while self.others.first() == Some(&self.below) {
            self.others.pop_first();
            self.below += 1;
        }
        true
    }

    fn contains(&self, number: u64) -> bool {
        number < self.below || self.others.contains(&number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(journal: &[u64], outcomes: impl FnOnce(&mut Audit)) -> Findings {
        let mut audit = Audit::default();
        for (position, number) in journal.iter().enumerate() {
            audit.executed(*number, position as u64);
        }
        outcomes(&mut audit);
        audit.finish()
    }

    #[test]
    fn command_executed_once_at_its_answered_position_is_right_in_either_order() {
        let mut audit = Audit::default();
        audit.answered(0, 1);
        audit.executed(1, 0);
        audit.executed(0, 1);
        audit.answered(1, 0);
        assert_eq!(audit.finish(), Findings { applied_once: 2, ..Findings::default() });
    }

    #[test]
    fn answered_command_that_is_not_in_the_journal_is_lost() {
        let findings = found(&[], |audit| audit.answered(0, 0));
        assert_eq!(findings, Findings { lost: 1, ..Findings::default() });
    }

    #[test]
    fn answer_with_another_position_than_the_journal_counts_as_lost() {
        let findings = found(&[0, 1], |audit| {
            audit.answered(0, 1);
            audit.answered(1, 1);
        });
        assert_eq!(findings, Findings { applied_once: 1, lost: 1, ..Findings::default() });
    }

    #[test]
    fn each_execution_beyond_the_first_is_counted() {
        let findings = found(&[0, 1, 0, 2, 0], |audit| audit.answered(0, 0));
        let expected = Findings { applied_once: 1, doubled: 2, unknown: 2, ..Findings::default() };
        assert_eq!(findings, expected);
        assert!(!findings.hold());
    }

    #[test]
    fn command_reported_as_not_executed_must_not_be_in_the_journal() {
        let mut audit = Audit::default();
        audit.executed(0, 0);
        audit.failed(0, false);
        audit.failed(1, false);
        audit.executed(1, 1);
        audit.failed(2, false);
        assert_eq!(audit.finish(), Findings { denied: 2, ..Findings::default() });
    }

    #[test]
    fn outcome_unknown_is_right_whether_the_command_ran_or_not() {
        let findings = found(&[0], |audit| {
            audit.failed(0, true);
            audit.failed(1, true);
        });
        assert_eq!(findings, Findings { unknown: 1, ..Findings::default() });
        assert!(findings.hold());
    }

    #[test]
    fn payload_of_any_length_carries_its_number() {
        for padding in [0, 1, 5000] {
            let payload = payload(77, padding);
            assert_eq!((payload.len(), number(&payload)), (8 + padding, Some(77)));
        }
        assert_eq!(number(b"short"), None);
    }

    #[test]
    fn consecutive_numbers_take_no_memory() {
        let mut numbers = Numbers::default();
        for number in (0..1000).rev().chain(1000..2000) {
            assert!(numbers.insert(number));
        }
        assert_eq!((numbers.below, numbers.others.len()), (2000, 0));
        assert!(!numbers.insert(17));
    }
}
