//! Holds what callers were told against what the servers executed, as both go on, with little memory.
//!
//! Commands are numbered 0, 1, 2… and carry their number in their payload; the log answers each with its position.

use std::collections::{BTreeSet, HashMap, HashSet};

use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};
use zraft_test_server::Engine;

/// What was found so far, or at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Executed once, and answered with the place where the journal has it.
    pub applied_once: u64,
    /// Answered, and not in the journal, or elsewhere than the answer said.
    pub lost: u64,
    /// Executions beyond the first of a command.
    pub doubled: u64,
    /// Said not to have been executed, and in the journal.
    pub denied: u64,
    /// In the journal, and of unknown outcome for its caller.
    pub unknown: u64,
    /// Executions that the journal had no place for before they were looked at: the audit says nothing about them.
    pub forgotten: u64,
}

impl Findings {
    /// Whether every promise was kept.
    pub fn hold(&self) -> bool {
        let Self { lost, doubled, denied, forgotten, .. } = *self;
        [lost, doubled, denied, forgotten] == [0; 4]
    }

    /// The same, as an object.
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

/// A running comparison. What both sides agree upon is kept as one bit of a run of numbers.
#[derive(Debug, Default)]
pub struct Audit {
    findings: Findings,
    /// The next position to look at.
    next: u64,
    seen: Numbers,
    /// Executed, and its caller was told nothing yet: number and position.
    executed: HashMap<u64, u64>,
    /// Answered, and not found in the journal yet.
    answered: HashMap<u64, u64>,
    denied: HashSet<u64>,
}

impl Audit {
    /// Reads on in the journal.
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

    /// The journal has this command at this position.
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

    /// The caller of this command was told this position.
    pub fn answered(&mut self, number: u64, position: u64) {
        match self.executed.remove(&number) {
            Some(executed) => self.compare(position, executed),
            None => {
                self.answered.insert(number, position);
            }
        }
    }

    /// The caller of this command was told an error.
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

    /// What stands when nothing more is under way.
    pub fn finish(mut self) -> Findings {
        self.findings.lost += self.answered.len() as u64;
        let unknown = self.executed.keys().filter(|number| !self.denied.contains(number)).count();
        self.findings.unknown = unknown as u64;
        self.findings
    }
}

/// The payload of a command: its number, and as many bytes more.
pub fn payload(number: u64, padding: usize) -> Bytes {
    let mut payload = BytesMut::zeroed(size_of::<u64>() + padding);
    payload[..size_of::<u64>()].copy_from_slice(&number.to_be_bytes());
    payload.freeze()
}

/// The number in a payload, or the position in an answer.
pub fn number(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk().copied().map(u64::from_be_bytes)
}

/// A set of numbers most of which follow each other from 0 on.
#[derive(Debug, Default)]
struct Numbers {
    /// All below are in.
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

    fn found(journal: &[u64], told: impl FnOnce(&mut Audit)) -> Findings {
        let mut audit = Audit::default();
        for (position, number) in journal.iter().enumerate() {
            audit.executed(*number, position as u64);
        }
        told(&mut audit);
        audit.finish()
    }

    #[test]
    fn what_was_executed_once_where_its_answer_said_is_right_whichever_is_known_first() {
        let mut audit = Audit::default();
        audit.answered(0, 1);
        audit.executed(1, 0);
        audit.executed(0, 1);
        audit.answered(1, 0);
        assert_eq!(audit.finish(), Findings { applied_once: 2, ..Findings::default() });
    }

    #[test]
    fn an_answered_command_that_is_not_in_the_journal_is_lost() {
        let findings = found(&[], |audit| audit.answered(0, 0));
        assert_eq!(findings, Findings { lost: 1, ..Findings::default() });
    }

    #[test]
    fn an_answer_that_names_another_place_than_the_journal_is_a_loss() {
        let findings = found(&[0, 1], |audit| {
            audit.answered(0, 1);
            audit.answered(1, 1);
        });
        assert_eq!(findings, Findings { applied_once: 1, lost: 1, ..Findings::default() });
    }

    #[test]
    fn each_execution_beyond_the_first_is_counted_however_late_it_comes() {
        let findings = found(&[0, 1, 0, 2, 0], |audit| audit.answered(0, 0));
        let expected = Findings { applied_once: 1, doubled: 2, unknown: 2, ..Findings::default() };
        assert_eq!(findings, expected);
        assert!(!findings.hold());
    }

    #[test]
    fn what_was_denied_may_not_be_in_the_journal_before_or_after() {
        let mut audit = Audit::default();
        audit.executed(0, 0);
        audit.failed(0, false);
        audit.failed(1, false);
        audit.executed(1, 1);
        audit.failed(2, false);
        assert_eq!(audit.finish(), Findings { denied: 2, ..Findings::default() });
    }

    #[test]
    fn an_outcome_told_as_unknown_is_no_fault_whether_it_ran_or_not() {
        let findings = found(&[0], |audit| {
            audit.failed(0, true);
            audit.failed(1, true);
        });
        assert_eq!(findings, Findings { unknown: 1, ..Findings::default() });
        assert!(findings.hold());
    }

    #[test]
    fn a_payload_carries_its_number_however_long_it_is() {
        for padding in [0, 1, 5000] {
            let payload = payload(77, padding);
            assert_eq!((payload.len(), number(&payload)), (8 + padding, Some(77)));
        }
        assert_eq!(number(b"short"), None);
    }

    #[test]
    fn numbers_that_follow_each_other_take_no_memory() {
        let mut numbers = Numbers::default();
        for number in (0..1000).rev().chain(1000..2000) {
            assert!(numbers.insert(number));
        }
        assert_eq!((numbers.below, numbers.others.len()), (2000, 0));
        assert!(!numbers.insert(17));
    }
}
