//! The exactly-once audit: compares the outcomes that callers were given with the commands that the cluster executed.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::journal::{Execution, Journal};

/// The findings of an [`Audit`].
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
    /// Commands in the journal whose callers were given outcome unknown, or no outcome.
    pub unknown: u64,
    /// Executions of commands that were never submitted.
    pub foreign: u64,
    /// Executions that the journal dropped before the audit read them. The audit cannot judge them.
    pub forgotten: u64,
}

impl Findings {
    /// Returns true if every promise was kept.
    pub fn hold(&self) -> bool {
        let Self { lost, doubled, denied, foreign, forgotten, .. } = *self;
        [lost, doubled, denied, foreign, forgotten] == [0; 5]
    }
}

/// A running comparison of outcomes and executions. The caller numbers its commands from 0 on.
///
/// Outcomes and executions may come in any order. Commands on which both sides agree take no memory as long as their numbers
/// are consecutive, so an audit can run beside a load of any length.
///
/// ```
/// use zraft_test_server::Audit;
///
/// let mut audit = Audit::default();
/// audit.answered(0, 0); // command 0 was answered, and the answer says: executed at position 0
/// audit.failed(1, false); // command 1 failed with "not executed"
/// // audit.read(engine.journal(), |execution| /* the command's number */);
/// audit.executed(0, 0);
/// assert!(audit.finish().hold());
/// ```
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
    /// Commands whose answer has another position than the journal.
    misplaced: HashSet<u64>,
    /// Commands executed more than once.
    doubled: HashSet<u64>,
}

impl Audit {
    /// Reads the new entries of the journal. `number` returns the number of the command that was executed, or `None` if it was
    /// never submitted.
    pub fn read(&mut self, journal: &Journal, number: impl Fn(&Execution) -> Option<u64>) {
        let first = journal.dropped();
        self.findings.forgotten += first.saturating_sub(self.next);
        self.next = self.next.max(first);
        let skip = usize::try_from(self.next - first).unwrap_or(usize::MAX);
        for execution in journal.iter().skip(skip) {
            match number(execution) {
                Some(number) => self.executed(number, execution.position),
                None => self.findings.foreign += 1,
            }
        }
        self.next = journal.executed();
    }

    /// Records that the journal has this command at this position.
    pub fn executed(&mut self, number: u64, position: u64) {
        if !self.seen.insert(number) {
            self.findings.doubled += 1;
            let compared = !self.executed.contains_key(&number) && !self.denied.contains(&number);
            if self.doubled.insert(number) && compared && !self.misplaced.contains(&number) {
                self.findings.applied_once -= 1;
            }
            return;
        }
        if self.denied.contains(&number) {
            self.findings.denied += 1;
        }
        match self.answered.remove(&number) {
            Some(answered) => self.compare(number, answered, position),
            None => {
                self.executed.insert(number, position);
            }
        }
    }

    /// Records that the caller of this command was answered with this position.
    pub fn answered(&mut self, number: u64, position: u64) {
        match self.executed.remove(&number) {
            Some(executed) => self.compare(number, position, executed),
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

    fn compare(&mut self, number: u64, answered: u64, executed: u64) {
        if answered != executed {
            self.findings.lost += 1;
            self.misplaced.insert(number);
        } else if !self.doubled.contains(&number) {
            self.findings.applied_once += 1;
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
#[allow(clippy::unwrap_used)]
mod tests {
    use zraft_protocol::{MemberId, Payload, RequestId, SessionId};

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
        let expected = Findings { doubled: 2, unknown: 2, ..Findings::default() };
        assert_eq!(findings, expected);
        assert!(!findings.hold());
    }

    #[test]
    fn command_executed_again_is_not_applied_once_whenever_it_was_answered() {
        let mut audit = Audit::default();
        audit.answered(0, 0);
        audit.executed(0, 0);
        audit.executed(0, 1);
        audit.executed(1, 2);
        audit.executed(1, 3);
        audit.answered(1, 2);
        audit.executed(1, 4);
        assert_eq!(audit.finish(), Findings { doubled: 3, ..Findings::default() });
    }

    #[test]
    fn execution_of_an_unknown_command_is_foreign() {
        let mut journal = Journal::new(8, 800);
        let session = SessionId::new("session").unwrap();
        let member = MemberId::new("node-1").unwrap();
        for payload in ["0", "other", "1"] {
            journal.record(&session, RequestId::FIRST, &Payload::new(payload).unwrap(), &member);
        }
        let mut audit = Audit::default();
        audit.answered(0, 0);
        audit.answered(1, 2);
        audit
            .read(&journal, |execution| std::str::from_utf8(&execution.payload).ok()?.parse().ok());
        let expected = Findings { applied_once: 2, foreign: 1, ..Findings::default() };
        assert_eq!(audit.finish(), expected);
        assert!(!expected.hold());
    }

    #[test]
    fn executions_that_the_journal_dropped_before_they_were_read_are_forgotten() {
        let mut journal = Journal::new(2, 800);
        let session = SessionId::new("session").unwrap();
        let member = MemberId::new("node-1").unwrap();
        let mut audit = Audit::default();
        let mut execute = |number: u64, audit: &mut Audit| {
            let payload = Payload::new(number.to_string()).unwrap();
            journal.record(&session, RequestId::FIRST, &payload, &member);
            if number % 3 == 2 {
                audit.read(&journal, |e| std::str::from_utf8(&e.payload).ok()?.parse().ok());
            }
        };
        for number in 0..6 {
            execute(number, &mut audit);
        }
        let findings = audit.finish();
        assert_eq!(findings, Findings { forgotten: 2, unknown: 4, ..Findings::default() });
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
    fn consecutive_numbers_take_no_memory() {
        let mut numbers = Numbers::default();
        for number in (0..1000).rev().chain(1000..2000) {
            assert!(numbers.insert(number));
        }
        assert_eq!((numbers.below, numbers.others.len()), (2000, 0));
        assert!(!numbers.insert(17));
    }
}
