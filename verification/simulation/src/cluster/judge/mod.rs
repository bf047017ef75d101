//! The judge of a replicated cluster. It sees what every member does, and keeps its own account of disks, log, sessions and
//! clients. It shares with the members only the codecs of entries and changes.
//!
//! The host reports facts in the order in which they happen. Around a call of a replica that is: `heard`, `client_said` or
//! `durable` before the call, `configuration` and `standing` right after it, and only then what the outputs lead to: `writing`,
//! `sent`, `told_client`.
//!
//! | file | what it judges |
//! | --- | --- |
//! | `rules.rs` | the list of all rules, and the verdict |
//! | `rounds.rs` | the rounds of heartbeats that show who leads |
//! | `disk.rs`, `raft.rs` | what each disk has acknowledged, and what members promise because of it |
//! | `log.rs`, `commits.rs` | every entry that was ever written, and which are committed |
//! | `standing.rs` | terms, leaders, and whether a leader may still answer |
//! | `configurations.rs`, `levels.rs` | who belongs to the cluster, and what their programs support |
//! | `copies.rs` | copies of directories, and directories that were refused |
//! | `applied.rs`, `ledger.rs`, `session.rs` | what the committed log means: a second account of sessions and commands |
//! | `clients.rs`, `told.rs` | what clients sent, and what they may be told |
//! | `queries.rs` | what a query must and must not see |
//! | `order.rs` | in which order a session's commands come into the log |
//! | `held.rs` | what becomes of session messages while no member serves |
//! | `expiry.rs` | when a session may expire |
//! | `rest.rs` | the end of a run |

mod applied;
mod clients;
mod commits;
mod configurations;
mod copies;
mod disk;
mod expiry;
mod held;
mod ledger;
mod levels;
mod log;
mod order;
mod queries;
mod raft;
mod rest;
mod rounds;
mod rules;
mod session;
mod standing;
#[cfg(test)]
mod tests;
mod told;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    time::Duration,
};

use zraft_core::Instant;
use zraft_protocol::{Nonce, Payload, RequestId, SessionId};
use zraft_replica::{
    Boot, Configuration, ConnectionId, LogEntry, RaftId, Role, Timing, View, Write,
};
use zraft_session::{Effect, Time};

use super::plan::Program;
use crate::{coverage::Coverage, judge::Violation};
use clients::Connection;
use configurations::Configurations;
use disk::DiskLog;
use expiry::WallClock;
use ledger::Ledger;
use log::Log;
use rounds::Rounds;
use rules::Verdict;

/// All rules, for the report: one that never had anything to judge is as bad as none.
pub(crate) const RULES: &[rules::Rule] = rules::Rule::ALL;

/// When something happens at a member.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At {
    /// The virtual time of the run.
    pub(crate) now: Instant,
    /// The member's monotonic clock, as its replica gets it.
    pub(crate) clock: Duration,
    /// The member's wall clock, as its replica gets it.
    pub(crate) wall: Time,
}

/// What the judge must know of the cluster's settings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) timing: Timing,
    /// A command, query or handshake that a serving leader has read is answered within this time once nothing fails any more.
    pub(crate) patience: Duration,
}

/// What a replica says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) term: u64,
    pub(crate) role: Role,
    pub(crate) serving: bool,
    pub(crate) committed: u64,
    pub(crate) last_index: u64,
    /// How far its state machine was when the replica last heard of it: the index of its view.
    pub(crate) known: u64,
}

/// One entry that a member's state machine has applied.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Applied<'a> {
    pub(crate) entry: &'a LogEntry,
    /// The commands that the application executed or rejected during the entry.
    pub(crate) executed: &'a [Executed],
    pub(crate) effects: &'a [Effect],
    /// The state after the entry.
    pub(crate) view: &'a View,
}

/// A command that reached the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Executed {
    pub(crate) session: SessionId,
    pub(crate) request: RequestId,
    pub(crate) payload: Payload,
}

/// What a member holds at the end of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rest<'a> {
    pub(crate) member: usize,
    /// The state machine's last index and the hash of its whole state.
    pub(crate) applied: u64,
    pub(crate) state: [u8; 16],
    /// All entries that its store still has, read back from the disk.
    pub(crate) entries: &'a [LogEntry],
}

/// Judges a cluster. Members are numbered by their place in the world; a place keeps its number when its disk is replaced and
/// its Raft id changes.
#[derive(Debug)]
pub(crate) struct ClusterJudge {
    verdict: Verdict,
    terms: Terms,
    members: Vec<Member>,
    /// What each Raft id has acknowledged, those whose disks are lost included.
    disks: BTreeMap<RaftId, DiskLog>,
    /// The newest program that each Raft id has run.
    programs: BTreeMap<RaftId, Program>,
    log: Log,
    configurations: Configurations,
    /// The leader of each term.
    leaders: BTreeMap<u64, RaftId>,
    ledger: Ledger,
    /// The hash of the whole state at an index.
    snapshots: BTreeMap<u64, [u8; 16]>,
    healed: Option<Instant>,
}

/// The process at one place.
#[derive(Debug)]
struct Member {
    id: Option<RaftId>,
    running: bool,
    /// Its disk lost what it had acknowledged.
    lost: bool,
    /// Its directory is a copy of another member's. The id is not its own, and it has none here.
    copied: bool,
    /// The members whose present processes have refused its directory as rolled back.
    refused_by: BTreeSet<usize>,
    /// The writes that its store was given and has not acknowledged.
    pending: VecDeque<Write>,
    clock: Duration,
    /// When it last went on after it had stood still, and did not look at its clock at once.
    woke: Duration,
    standing: Standing,
    /// The term in which it served last, and when it ceased to, if it has.
    served: u64,
    ceased: Option<Instant>,
    /// Its clients must have been sent away since.
    farewell: bool,
    /// The ContinueSessions that it must answer in the moment in which it began to serve.
    taken_up: Vec<(ConnectionId, Nonce)>,
    /// The members that refused it because the cluster has removed it.
    called_removed: BTreeSet<RaftId>,
    /// When those were a majority of the other voters.
    outcast: Option<Instant>,
    /// When the write under way was given to the store, and when the last one was acknowledged.
    writing_since: Duration,
    written: Duration,
    /// The last replicated time that it knew, and when, once it has stamped an entry in this life.
    stamp: Option<(Time, Duration)>,
    wall: WallClock,
    /// The place of its configuration in the list of all.
    place: usize,
    /// When it has followed that.
    configured: Instant,
    heard: BTreeMap<RaftId, Duration>,
    /// Since when it has heard no leader, with a disk that is done.
    alone_since: Duration,
    /// The candidates that it owes an answer.
    candidates: BTreeSet<RaftId>,
    /// What each member has acknowledged, and in which term of this leader.
    acknowledged: BTreeMap<RaftId, (u64, u64)>,
    rounds: Rounds,
    /// When it woke from standing still, if no round was answered since.
    proof: Option<Duration>,
    /// No session whose client was not heard since expires here before this.
    granted: Duration,
    /// Since when that holds.
    granted_at: Duration,
    /// The session timeout before its last change, and the one since.
    session_timeouts: (Duration, Duration),
    applied: u64,
    /// The newest snapshot of which it has had a whole file in this life.
    snapshot: u64,
    /// When it wrote its last Acknowledge entries as a leader, and how many of them in its term.
    acks: VecDeque<Duration>,
    acks_in_term: u64,
    serving_since: Duration,
    connections: BTreeMap<ConnectionId, Connection>,
}

impl Member {
    fn new() -> Self {
        Self {
            id: None,
            running: false,
            lost: false,
            copied: false,
            refused_by: BTreeSet::new(),
            pending: VecDeque::new(),
            clock: Duration::ZERO,
            woke: Duration::ZERO,
            standing: Standing::NEW,
            served: 0,
            ceased: None,
            farewell: false,
            taken_up: Vec::new(),
            called_removed: BTreeSet::new(),
            outcast: None,
            writing_since: Duration::ZERO,
            written: Duration::ZERO,
            stamp: None,
            wall: WallClock::default(),
            place: 0,
            configured: Instant::ZERO,
            heard: BTreeMap::new(),
            alone_since: Duration::ZERO,
            candidates: BTreeSet::new(),
            acknowledged: BTreeMap::new(),
            rounds: Rounds::default(),
            proof: None,
            granted: Duration::ZERO,
            granted_at: Duration::ZERO,
            session_timeouts: (Duration::MAX, Duration::MAX),
            applied: 0,
            snapshot: 0,
            acks: VecDeque::new(),
            acks_in_term: 0,
            serving_since: Duration::ZERO,
            connections: BTreeMap::new(),
        }
    }
}

impl Standing {
    const NEW: Self = Self {
        term: 0,
        role: Role::Follower,
        serving: false,
        committed: 0,
        last_index: 0,
        known: 0,
    };

    fn leads(&self) -> bool {
        self.role == Role::Leader
    }
}

impl ClusterJudge {
    /// Returns the judge of a new cluster, whose members all begin with this configuration.
    pub(crate) fn new(terms: Terms, first: &Configuration) -> Self {
        Self {
            verdict: Verdict::new(),
            terms,
            members: Vec::new(),
            disks: BTreeMap::new(),
            programs: BTreeMap::new(),
            log: Log::new(),
            configurations: Configurations::new(Boot::FIRST_SNAPSHOT, first.clone()),
            leaders: BTreeMap::new(),
            ledger: Ledger::new(),
            snapshots: BTreeMap::new(),
            healed: None,
        }
    }

    /// Returns the first rule that was broken.
    pub(crate) fn violation(&self) -> Option<&Violation> {
        self.verdict.violation.as_ref()
    }

    /// Adds how often each rule was checked.
    pub(crate) fn count(&self, coverage: &mut Coverage) {
        self.verdict.count(coverage);
    }

    /// A process starts from what its disk holds. `view` is the state that it was restored to.
    pub(crate) fn started(&mut self, at: At, member: usize, id: RaftId, boot: &Boot, view: &View) {
        self.make_room(member);
        for other in &mut self.members {
            // What a process remembers of the others, it has in memory.
            other.refused_by.remove(&member);
        }
        let state = &mut self.members[member];
        let (lost, copy) = (state.lost, state.copied);
        let refused_by = std::mem::take(&mut state.refused_by);
        let interrupted = std::mem::take(&mut state.pending);
        *state = Member {
            id: (!copy).then_some(id),
            running: true,
            copied: copy,
            refused_by,
            clock: at.clock,
            wall: WallClock::started(at, boot, view),
            alone_since: at.clock,
            place: self.configurations.place_at(boot.snapshot.index),
            configured: at.now,
            session_timeouts: (view.settings.session_timeout(), view.settings.session_timeout()),
            applied: view.applied,
            ..Member::new()
        };
        if !copy {
            self.read_disk(id, boot, interrupted, lost);
        }
        self.compare_state(member, view);
    }

    fn make_room(&mut self, member: usize) {
        while self.members.len() <= member {
            self.members.push(Member::new());
        }
    }

    /// The process at a place runs this program.
    pub(crate) fn program(&mut self, member: usize, program: Program) {
        let Some(id) = self.id(member) else { return };
        let known = self.programs.entry(id).or_insert(program);
        *known = known.max(program);
    }

    /// A process ended: by a crash, by a stop, or because it was told to. All its connections are gone.
    pub(crate) fn ended(&mut self, at: At, member: usize) {
        self.check_outcast(at, member);
        let Some(state) = self.members.get_mut(member) else { return };
        state.clock = at.clock;
        state.running = false;
        state.standing = Standing { role: Role::Follower, serving: false, ..state.standing };
        state.connections.clear();
    }

    /// A process goes on that stood still. It reads what has come before its patience ends, and perhaps before it looks at its
    /// clock at all.
    pub(crate) fn goes_on(&mut self, at: At, member: usize, reads_first: bool) {
        if let Some(state) = self.members.get_mut(member) {
            state.alone_since = at.clock;
            if reads_first {
                state.woke = at.clock;
            }
        }
    }

    /// A fault took from a disk what it had acknowledged: it was wiped, rolled back or overwritten by a copy of another one.
    pub(crate) fn lost_disk(&mut self, member: usize) {
        if let Some(state) = self.members.get_mut(member) {
            state.lost = true;
        }
    }

    /// Returns true if an entry has set the cluster's settings. What members were started with is without effect then.
    pub(crate) fn settings_are_set(&self) -> bool {
        self.ledger.is_set()
    }

    /// Returns the number of voters of the newest configuration that is committed.
    pub(crate) fn voters(&self) -> usize {
        self.configurations.newest().voters.len()
    }

    /// From now on nothing fails.
    pub(crate) fn healed(&mut self, now: Instant) {
        self.healed = Some(now);
    }

    #[cfg(test)]
    fn checked(&self, rule: rules::Rule) -> u32 {
        self.verdict.checked(rule)
    }

    fn id(&self, member: usize) -> Option<RaftId> {
        self.members.get(member)?.id
    }

    fn name(&self, member: usize) -> Name {
        Name { member, id: self.id(member) }
    }
}

/// The name of a member in a violation.
#[derive(Clone, Copy, Debug)]
struct Name {
    member: usize,
    id: Option<RaftId>,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id {
            Some(id) => write!(f, "member {} (Raft id {id})", self.member),
            None => write!(f, "member {}", self.member),
        }
    }
}
