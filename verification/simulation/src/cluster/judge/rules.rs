//! The rules of a cluster, each in one sentence, and how often each was checked.

use crate::{
    coverage::{Coverage, Key},
    judge::Violation,
};

macro_rules! rules {
    ($($name:ident: $sentence:literal,)*) => {
        /// A rule that the judge checks.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Rule {
            $($name,)*
        }

        impl Rule {
            pub(crate) const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Returns the name under which the checks of the rule are counted.
            pub(crate) const fn key(self) -> Key {
                ("cluster rule", self.sentence(), "")
            }

            /// Returns the rule as a sentence.
            pub(crate) const fn sentence(self) -> &'static str {
                match self {
                    $(Self::$name => $sentence,)*
                }
            }
        }
    };
}

rules! {
    // Raft.
    OneLeader: "a term has one leader",
    NeverBack: "a member's term and commit index never fall",
    VotesOnce: "a member votes once in a term",
    VotesAnswered: "a member that hears no leader answers every request for its vote",
    DisksKeep: "a disk keeps what it has acknowledged",
    PromisesDurable: "a member promises nothing before it is durable",
    LogsMatch: "an entry of one index and term is the same in every log",
    CommittedDurable: "a committed entry is durable on a majority",
    CommittedStays: "a committed entry is never replaced",
    LeaderComplete: "a leader has every committed entry",
    NotSentAgain: "a leader sends no entry to a member that has acknowledged it",
    StallYields: "a leader whose disk stalls for a second gives leadership away",
    HandsOverFirst: "a leader does not propose its own removal",
    // Members.
    QuorumsMeet: "quorums of successive configurations meet",
    ConfigurationFollows: "a configuration follows from the log and a durable commit index",
    RemovedStays: "a removed id never acts again",
    RemovedEnds: "a member that a majority calls removed ends",
    LevelsRise: "feature level and application level never fall",
    LevelsKnown: "a level rises only to what the programs of all members support",
    CopyApart: "a copy of a member's directory is not taken for the member",
    RefusedStays: "a directory that was refused as rolled back stays refused",
    SnapshotNames: "a snapshot goes only to a member that it names",
    SnapshotCovered: "a snapshot is recorded with a commit index that covers it",
    // The state machine.
    AppliesCommitted: "a member applies every committed entry once, in order",
    StatesEqual: "members at one index have the same state",
    TimeRises: "replicated time never falls, and follows the entries",
    TimeHeld: "replicated time does not leap with a wall clock",
    TimeFollows: "replicated time follows a wall clock that has not leapt",
    SettingsFirst: "the cluster's settings are in the log before its first session",
    SettingsFollow: "settings follow the entries",
    OneEntry: "a command costs one entry",
    RunsOnce: "a command runs once, in a living session, and not below its lowest pending id",
    OnlyAsked: "only what a client sent is in the log",
    SessionsKept: "no session is lost",
    EndsForReason: "a session ends only for its reason",
    NoFalseExpiry: "a session whose client was heard in time does not expire",
    AcksBounded: "an acknowledgement reaches no further than what was sent and acknowledged",
    AcksBatched: "acknowledgements cost at most 20 entries a second",
    CommandsInOrder: "commands come into the log in the order in which they came on a connection",
    PushesNumbered: "server requests are numbered in their session without a gap",
    // What clients are told.
    HeldInTime: "a session message is held for two election timeouts at most, and below 4 s",
    HeldServed: "a member that begins to serve continues the sessions whose clients wait",
    ServesLeading: "only a leader that has applied its own first entry answers",
    CutOffSilent: "a leader that is cut off is silent after two election timeouts and a tick",
    ProofFirst: "a leader that stood still answers nothing before a round of heartbeats",
    FarewellTold: "clients of a leader that steps down are sent away",
    AnswersCommitted: "an answer is that of the committed command",
    UnknownOnly: "a command is called unknown only if its answer is gone",
    SessionsConfirmed: "a session is confirmed only to the client that asked, while it lives",
    ExpiryCommitted: "a session is called expired only after its end is committed",
    ReadsFresh: "a query sees everything that was answered before it came",
    ReadsProven: "a query or an unknown session waits for a round that began after it came",
    ReadsOwn: "a query sees the commands that came before it",
    ReadsCommitted: "a query sees committed state only",
    ReadsNotOvertaken: "commands that keep coming after a query do not hold it up",
    ListsAsked: "a list of the members goes only to a client that has asked for one",
    RequestsInOrder: "server requests come in order, without a gap, as they were made",
    AnswerFirst: "the answer to a command comes before the server requests that it made",
    NoEnd: "no message ends a client that could go on",
    // The end of a run.
    NothingWaits: "nothing waits for ever",
    RequestsReach: "server requests reach the bound client",
    ListsReach: "a client that has asked for the members is sent each later list",
    Settles: "every run heals and settles",
    RestsEqual: "members at rest are equal byte for byte",
}

/// The first violation, and how often each rule was checked.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) violation: Option<Violation>,
    checked: [u32; Rule::ALL.len()],
}

impl Verdict {
    pub(super) fn new() -> Self {
        Self { violation: None, checked: [0; Rule::ALL.len()] }
    }

    /// Checks a rule. Only the first violation counts: the others may follow from it.
    pub(super) fn demand(&mut self, holds: bool, rule: Rule, detail: impl FnOnce() -> String) {
        self.checked[rule as usize] += 1;
        if !holds && self.violation.is_none() {
            self.violation = Some(Violation { rule: rule.sentence(), detail: detail() });
        }
    }

    #[cfg(test)]
    pub(super) fn checked(&self, rule: Rule) -> u32 {
        self.checked[rule as usize]
    }

    /// Counts the checks. A rule that no run had an occasion for shows nothing.
    pub(super) fn count(&self, coverage: &mut Coverage) {
        for rule in Rule::ALL {
            let times = self.checked[*rule as usize].into();
            if times > 0 {
                let (group, what, _) = rule.key();
                coverage.add_times(group, what, times);
            }
        }
    }
}
